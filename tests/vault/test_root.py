"""The root key: made once, never over existing data, and refused with words that help when it is wrong or missing."""

import base64
import os
import secrets
import stat
from pathlib import Path

import pytest

from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.vault.keyring import Keyring
from hushwire.vault.providers import EnvironmentProvider, FileProvider
from hushwire.vault.root import RoleKeys, RootKey, open_root
from tests.databases import Databases
from tests.store.rows import add_org


async def test_a_fresh_deployment_gets_a_new_key_of_mode_0600_and_keeps_it(databases: Databases, tmp_path: Path) -> None:
    keyring, main = await databases.connect("keyring"), await databases.connect("main")
    provider = FileProvider(tmp_path / "keys" / "root")
    first = await open_root(provider, keyring, main, secrets)
    assert first.is_new
    assert stat.S_IMODE(provider.path.stat().st_mode) == 0o600
    second = await open_root(provider, keyring, main, secrets)
    assert not second.is_new
    assert second.key.fingerprint() == first.key.fingerprint()


async def test_a_missing_root_key_is_refused_with_what_to_do_and_none_is_made(databases: Databases, tmp_path: Path) -> None:
    keyring, main = await databases.connect("keyring"), await databases.connect("main")
    provider = FileProvider(tmp_path / "root")
    await open_root(provider, keyring, main, secrets)
    provider.path.unlink()
    with pytest.raises(KeyUnavailable, match=r"is missing.*safe copy"):
        await open_root(provider, keyring, main, secrets)
    assert not provider.path.exists()


async def test_the_root_key_of_another_deployment_is_refused(databases: Databases, tmp_path: Path) -> None:
    keyring, main = await databases.connect("keyring"), await databases.connect("main")
    await open_root(FileProvider(tmp_path / "root"), keyring, main, secrets)
    other = FileProvider(tmp_path / "other")
    other.create(secrets)
    with pytest.raises(KeyUnavailable, match="another deployment"):
        await open_root(other, keyring, main, secrets)


async def test_an_empty_keyring_beside_a_main_database_with_data_is_refused(databases: Databases, tmp_path: Path) -> None:
    keyring, main = await databases.connect("keyring"), await databases.connect("main")
    await add_org(main, "acme")
    with pytest.raises(KeyUnavailable, match="newest keyring"):
        await open_root(FileProvider(tmp_path / "root"), keyring, main, secrets)
    assert not (tmp_path / "root").exists()


async def test_a_keyring_that_lost_its_fingerprint_is_refused(databases: Databases, tmp_path: Path) -> None:
    keyring, main = await databases.connect("keyring"), await databases.connect("main")
    provider = FileProvider(tmp_path / "root")
    opened = await open_root(provider, keyring, main, secrets)
    await Keyring(keyring, opened.key.role_keys(opener=True, buckets=tmp_path)).establish()
    async with keyring.transaction() as connection:
        await connection.execute("DELETE FROM root_key")
    with pytest.raises(KeyUnavailable):
        await open_root(provider, keyring, main, secrets)


@pytest.mark.parametrize("text", ["", "hushwire-root-1", "hushwire-root-1 AAAA", "%%%", base64.b64encode(bytes(31)).decode()])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "root"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyUnavailable, match="32 bytes in base64"):
        FileProvider(path).load()


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    provider = FileProvider(tmp_path / "root")
    provider.create(secrets)
    provider.path.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="chmod 600"):
        provider.load()


def test_the_environment_gives_a_key_and_never_makes_one() -> None:
    key = RootKey(secrets.token_bytes(32))
    loaded = EnvironmentProvider({"HUSHWIRE_ROOT_KEY": key.to_text()}).load()
    assert loaded is not None
    assert loaded.fingerprint() == key.fingerprint()
    assert EnvironmentProvider({}).load() is None
    with pytest.raises(ConfigError, match="HUSHWIRE_ROOT_KEY"):
        EnvironmentProvider({}).create(secrets)


def test_a_role_is_given_its_share_through_a_pipe_and_the_gateways_has_no_opener(tmp_path: Path) -> None:
    key = RootKey(secrets.token_bytes(32))
    for keys in (key.role_keys(opener=False, buckets=tmp_path), key.role_keys(opener=True, buckets=tmp_path)):
        read, write = os.pipe()
        os.write(write, keys.to_json())
        os.close(write)
        assert RoleKeys.from_fd(read) == keys
    gateway = key.role_keys(opener=False, buckets=tmp_path)
    assert gateway.opener is None
    assert gateway.buckets is None
    assert len({key.role_wrap(), key.opener_wrap(), key.fingerprint()}) == 3


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"role": 1}', b'{"role": "%"}', b"\xff"])
def test_a_pipe_without_keys_is_refused(data: bytes) -> None:
    with pytest.raises(KeyUnavailable):
        RoleKeys.from_json(data)


def test_keys_never_stand_in_a_repr() -> None:
    key = RootKey(bytes(range(32)))
    keys = key.role_keys(opener=True)
    for shown in (repr(key), repr(keys), str(keys)):
        assert repr(keys.role) not in shown
        assert key.to_text() not in shown
