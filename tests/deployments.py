"""A whole running hushwire for tests: one `hushwire up` a session, agents' phones and carriers around it.

Tests that kill or stop something start their own (`start_deployment`).
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest
import pytest_asyncio

from hushwire.app import config as configuration
from hushwire.app.databases import Databases
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from hushwire.app.demo.stack import DOMAIN, Api, Stack
from hushwire.app.folders import Folders, account
from hushwire.app.postgres import SUPERUSER, Cluster
from hushwire.core.errors import ConfigError

from .ports import free_port

Transport = Literal["udp", "tcp", "tls"]
Kind = Literal["pjsua2", "baresip"]

BARESIP = (sys.executable, "-m", "tests.interop.baresip_phone")
TRUNK_USER, TRUNK_PASSWORD = "hushwire-trunk", "carrier-secret"

# Numbers that the regulators keep free for films and books.
ANNA_NUMBER, BEN_NUMBER, OLGA_NUMBER = "+493023125000", "+493023125001", "+493023125002"
FAR_NUMBER = "+442079460123"

PROVISIONING = f"""\
[[trunks]]
name = "carrier"
uri = "sip:127.0.0.1:{{carrier}};transport=udp"
srtp = "never"
username = "{TRUNK_USER}"
password = "{TRUNK_PASSWORD}"

[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
allowed_countries = ["DE", "GB"]
record = "all"
agent_srtp = "required"
limits = "off"

[[orgs.agents]]
username = "anna"
role = "agent"
extension = "101"
caller_id = "{ANNA_NUMBER}"
sip_password = "anna's secret"

[[orgs.agents]]
username = "ben"
role = "agent"
extension = "102"
caller_id = "{BEN_NUMBER}"
sip_password = "ben's secret"

[[orgs.agents]]
username = "sue"
role = "supervisor"
extension = "103"
sip_password = "sue's secret"

[[orgs.numbers]]
number = "{ANNA_NUMBER}"
to = "anna"

[[orgs.numbers]]
number = "{BEN_NUMBER}"
to = "ben"

[[orgs.api_keys]]
name = "owner"
role = "owner"

[[orgs]]
slug = "soft"
name = "Soft"
home_country = "DE"
residency = "eu"
allowed_countries = ["DE", "GB"]
record = "none"
agent_srtp = "optional"
limits = "off"

[[orgs.agents]]
username = "olga"
role = "agent"
extension = "201"
caller_id = "{OLGA_NUMBER}"
sip_password = "olga's secret"

[[orgs.numbers]]
number = "{OLGA_NUMBER}"
to = "olga"

[[orgs.api_keys]]
name = "owner"
role = "owner"
"""

_PASSWORDS = {"anna": "anna's secret", "ben": "ben's secret", "olga": "olga's secret", "sue": "sue's secret"}
_SLUGS = {"anna": "acme", "ben": "acme", "olga": "soft", "sue": "acme"}


@dataclass
class Deployment:
    """A running hushwire, and the port that its trunk's carrier is expected at."""

    stack: Stack
    carrier_port: int
    authorities: AsyncExitStack = field(default_factory=AsyncExitStack)

    def api(self, slug: str = "acme") -> Api:
        return self.stack.api(f"{slug}/owner")

    def proxy(self, transport: Transport) -> str:
        host, port = self.stack.sip(transport)
        return f"sip:{host}:{port};transport={transport}"

    @asynccontextmanager
    async def phone(
        self,
        agent: str,
        *,
        kind: Kind = "pjsua2",
        transport: Transport = "udp",
        srtp: str = "mandatory",
        password: str | None = None,
        registers: bool = True,
        through: tuple[str, int] | None = None,
        **options: Any,
    ) -> AsyncIterator[Party]:
        """An agent's softphone, registered unless told otherwise; `through` is a middlebox that its signalling takes (UDP)."""
        if kind == "baresip":
            need_module("baresip")
            options["program"] = BARESIP
            # baresip's port 0 means 5060.
            options.setdefault("port", free_port())
        else:
            need_module("pjsua2")
        if transport == "tls":
            options["ca"] = str(self.stack.authority)
        speech = options.pop("speech", bundled(AGENT))
        account_options = {
            key: options.pop(key) for key in ("srtp_suites", "codecs", "expires_s", "username", "rtcp_mux") if key in options
        }
        party = await Party.start(agent, transport=transport, speech=speech, **options, **_codecs(account_options))
        async with party:
            slug = _SLUGS[agent]
            proxy = self.proxy(transport) if through is None else f"sip:{through[0]}:{through[1]};transport=udp"
            fields: dict[str, Any] = {
                "uri": f"sip:{agent}@{slug}.{DOMAIN}",
                "proxy": f"{proxy};lr" if kind == "pjsua2" else proxy,
                "username": agent,
                "password": password or _PASSWORDS[agent],
                "srtp": srtp,
                **account_options,
            }
            if registers:
                fields["registrar"] = f"sip:{slug}.{DOMAIN};transport={transport}"
            await party.tell("account", **fields)
            if registers and password is None:
                event = await party.expect("registration")
                assert event["status"] == 200, event
            yield party

    @asynccontextmanager
    async def carrier(
        self,
        *,
        srtp: str = "off",
        srtp_suites: Sequence[str] = (),
        opened: Mapping[str, Any] | None = None,
        account: Mapping[str, Any] | None = None,
        **policy: Any,
    ) -> AsyncIterator[Party]:
        """A PJSUA2 carrier at the trunk's address: UDP, plain RTP and G.711 unless told otherwise.

        `opened` and `account` are further fields of `Phone.do_open` and `Phone.do_account`.
        """
        need_module("pjsua2")
        options = {"transport": "udp", "port": self.carrier_port, "speech": bundled(CARRIER), **(opened or {})}
        party = await Party.start("carrier", **options)
        async with party:
            bind = options.get("bind", "127.0.0.1")
            uri = f"sip:carrier@{bind}:{options['port']};transport={options['transport']}"
            await party.tell("account", uri=uri, srtp=srtp, srtp_suites=list(srtp_suites), bind=bind, **(account or {}))
            await party.tell("policy", **{"status": 200, "ring_s": 0.1, **policy})
            yield party

    def uri(self, user: str, slug: str = "acme") -> str:
        return f"sip:{user}@{slug}.{DOMAIN}"

    @asynccontextmanager
    async def database(self, name: Literal["main", "keyring"]) -> AsyncIterator[asyncpg.Connection]:
        """The database as PostgreSQL's own superuser, whom no row level security binds: for looking only."""
        config = configuration.load(self.stack.config, {})
        databases = Databases(config, Folders(config.data.dir), account(config.run.user))
        cluster = databases.clusters[0 if name == "main" else 1]
        assert isinstance(cluster, Cluster)
        connection = await asyncpg.connect(cluster.dsn(SUPERUSER))
        try:
            yield connection
        finally:
            await connection.close()


def need_module(name: str) -> None:
    """Skips the test where a Python package is missing; in CI that is a failure."""
    if importlib.util.find_spec(name) is None:
        if os.environ.get("CI"):
            pytest.fail(f"the package {name} is not installed")
        pytest.skip(f"the package {name} is not installed")


@asynccontextmanager
async def start_deployment(*, more: str = "", provisioning: str = PROVISIONING, config: str | None = None) -> AsyncIterator[Deployment]:
    """A fresh hushwire in a temporary folder, provisioned; ended and removed afterwards.

    `config`: its whole configuration, with `{data}` and `{domain}` to be filled in; `more`: what the usual one has besides.
    """
    from hushwire.app.supervisor import media_program

    try:
        media_program()
    except ConfigError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="hushwire-test-"))
    folder.chmod(0o711)
    if config is not None:
        (folder / "hushwire.toml").write_text(config.format(data=folder / "data", domain=DOMAIN))
    try:
        running = Deployment(await Stack.start(folder, more=more), free_port())
        try:
            await running.stack.apply(provisioning.format(carrier=running.carrier_port))
            yield running
        finally:
            await running.stack.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment() -> AsyncIterator[Deployment]:
    async with start_deployment() as running:
        yield running


def _codecs(account_options: dict[str, Any]) -> dict[str, Any]:
    return {"codecs": account_options["codecs"]} if "codecs" in account_options else {}
