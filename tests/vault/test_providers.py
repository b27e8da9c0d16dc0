"""A provider whose key only an external service opens: the interface suffices, over a real socket to a real process."""

import base64
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hushwire.core.errors import KeyUnavailable, Unavailable
from hushwire.vault import rotation
from hushwire.vault.keyring import Keyring
from hushwire.vault.providers import FileProvider, KmsProvider, Wrapped
from hushwire.vault.root import BucketFolders, open_root
from tests.databases import Databases


@dataclass(frozen=True, slots=True)
class SocketKms:
    """The client's side: what somebody who connects a real service has to write."""

    port: int

    @property
    def where(self) -> str:
        return "the test service"

    def wrap(self, secret: bytes, place: bytes) -> Wrapped:
        told = self.ask(do="wrap", data=_text(secret), place=_text(place))
        return Wrapped(told["key_id"], base64.b64decode(told["data"]))

    def unwrap(self, wrapped: Wrapped, place: bytes) -> bytes:
        told = self.ask(do="unwrap", key_id=wrapped.key_id, data=_text(wrapped.data), place=_text(place))
        if "refused" in told:
            raise KeyUnavailable(f"{self.where} does not open it")
        return base64.b64decode(told["data"])

    def ask(self, **asked: str) -> dict[str, str]:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection, connection.makefile("rwb") as file:
                file.write(json.dumps(asked).encode() + b"\n")
                file.flush()
                told: dict[str, str] = json.loads(file.readline())
                return told
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self.where} does not answer ({type(error).__name__})") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def service() -> Iterator[tuple[SocketKms, subprocess.Popen[str]]]:
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("kms_service.py"))], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield SocketKms(int(process.stdout.readline())), process
    process.kill()
    process.wait()
    process.stdout.close()


Service = tuple[SocketKms, subprocess.Popen[str]]


async def test_a_root_key_behind_a_service_is_made_opened_and_rotated_like_any_other(
    service: Service, databases: Databases, tmp_path: Path
) -> None:
    kms, _ = service
    keyring, main = await databases.connect("keyring"), await databases.connect("main")
    provider = KmsProvider(tmp_path / "keys" / "root", kms=kms)
    made = await open_root(provider, keyring, main, secrets)
    assert made.is_new
    (tmp_path / "buckets").mkdir()
    await Keyring(keyring, made.key.role_keys(opener=True, buckets=tmp_path / "buckets")).establish()
    assert made.key.to_bytes() not in provider.path.read_bytes()
    assert base64.b64encode(made.key.to_bytes()) not in provider.path.read_bytes()
    assert provider.path.stat().st_mode & 0o777 == 0o600
    assert (await open_root(provider, keyring, main, secrets)).key.fingerprint() == made.key.fingerprint()

    new = provider.prepare(secrets)
    await rotation.rewrap(keyring, made.key, new, BucketFolders(tmp_path / "buckets"))
    assert (await open_root(provider, keyring, main, secrets)).key.fingerprint() == new.fingerprint()
    provider.discard()
    assert [path.name for path in provider.path.parent.iterdir()] == ["root"]


def test_the_services_own_key_can_be_rotated_and_the_root_key_stays_the_same(service: Service, tmp_path: Path) -> None:
    kms, _ = service
    provider = KmsProvider(tmp_path / "root", kms=kms)
    key = provider.create(secrets)
    assert json.loads(provider.path.read_text())["key_id"] == "test-key/1"
    kms.ask(do="rotate")
    loaded = provider.load()
    assert loaded is not None
    assert loaded.fingerprint() == key.fingerprint()
    provider.wrap_anew()
    assert json.loads(provider.path.read_text())["key_id"] == "test-key/2"
    loaded = provider.load()
    assert loaded is not None
    assert loaded.fingerprint() == key.fingerprint()


def test_a_service_that_is_away_or_refuses_is_told_apart_and_no_key_is_made(service: Service, tmp_path: Path) -> None:
    kms, process = service
    provider = KmsProvider(tmp_path / "root", kms=kms)
    provider.create(secrets)
    whole = provider.path.read_text()
    told = json.loads(whole)
    for harm in (whole[:-5], "{}", json.dumps(told | {"wrapped": "AAAA"}), json.dumps(told | {"key_id": "test-key/9"})):
        provider.path.write_text(harm)
        with pytest.raises(KeyUnavailable):
            provider.load()
    provider.path.write_text(whole)
    process.kill()
    process.wait()
    with pytest.raises(Unavailable):
        provider.load()
    assert FileProvider(tmp_path / "none").load() is None
