"""The api role as a process has it: bound, served over TLS, ended at once."""

import asyncio
import json
import os
import ssl
import time
from pathlib import Path

import httpx
import pytest

from hushwire.app import certificates
from hushwire.app import config as configuration
from hushwire.app.api import bound, own_hosts, run
from hushwire.app.config import Config, Listen
from hushwire.app.folders import Folders, prepare
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.app.wiring import READY_FD, Wired
from hushwire.core.errors import ConfigError
from tests.recorded import House, house

__all__ = ["house"]


def configured(folder: Path, **variables: str) -> Config:
    return configuration.load(None, {"HUSHWIRE_CONFIG": "", "HUSHWIRE_DATA__DIR": str(folder), **variables})


async def test_it_serves_over_tls_says_where_and_ends_within_two_seconds_of_being_asked(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path / "data", HUSHWIRE_API__LISTEN="https://127.0.0.1:0")
    folders = Folders(config.data.dir)
    prepare(folders, None)
    made = certificates.ensure(config, folders, None, SystemClock().now())
    reading, writing = os.pipe()
    monkeypatch.setenv(READY_FD, str(writing))
    wired = Wired(
        role="api", config=config, folders=folders, node_id=house.node, clock=SystemClock(), random=SystemRandom(),
        keys=house.root.role_keys(opener=True, buckets=house.folder / "buckets"), main=await house.main("api"),
        keyring_db=await house.db("keyring", "api"), keyring=await house.keyring("api"),
    )  # fmt: skip
    serving = asyncio.create_task(run(wired))
    said = await asyncio.to_thread(os.read, reading, 4096)
    os.close(reading)
    (address,) = json.loads(said)["api"]
    assert made.authority is not None
    trusted = ssl.create_default_context(cafile=made.authority)
    async with httpx.AsyncClient(verify=trusted, base_url=address, timeout=60) as api:
        ready = await api.get("/readyz")
        assert ready.status_code == 200
        assert ready.headers["strict-transport-security"].startswith("max-age=")
        old = ssl.create_default_context(cafile=made.authority)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with httpx.AsyncClient(verify=old, base_url=address, timeout=60) as outdated:
            with pytest.raises(httpx.ConnectError):
                await outdated.get("/readyz")
        # The client's connection stays open: ending does not wait for it.
        started = time.monotonic()
        wired.stop.set()
        await serving
        assert time.monotonic() - started < 2


def test_an_address_that_is_taken_is_a_mistake_with_its_mend() -> None:
    first = bound(Listen(scheme="http", host="127.0.0.1", port=0))
    try:
        with pytest.raises(ConfigError, match="choose another"):
            bound(Listen(scheme="http", host="127.0.0.1", port=first.getsockname()[1]))
    finally:
        first.close()


def test_own_hosts_are_the_domain_the_callers_own_name_and_the_listening_addresses(tmp_path: Path) -> None:
    listed = json.dumps(["udp://0.0.0.0:5070", "tls://192.0.2.1:0", "tcp://[2001:db8::1]:5062"])
    config = configured(tmp_path, HUSHWIRE_SIP__LISTEN=listed, HUSHWIRE_SIP__DOMAIN="pbx.test", HUSHWIRE_MEDIA__ADVERTISE="198.51.100.9")
    status = tmp_path / "status.json"
    own = own_hosts(config, "acme", status)
    assert own.names == {"pbx.test", "acme.pbx.test"}
    assert own.addresses == {"192.0.2.1", "2001:db8::1", "198.51.100.9"}
    assert own.ports == {5070, 5062}
    status.write_text(json.dumps({"roles": {"gateway": {"addresses": {"sip": ["udp://0.0.0.0:5070", "tls://192.0.2.1:40001"]}}}}))
    assert own_hosts(config, "acme", status).ports == {5070, 5062, 40001}
