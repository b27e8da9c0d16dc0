"""A new root key: everything opens under it and nothing under the old one, wherever a rotation was killed."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.vault import rotation
from hushwire.vault.buckets import DataKey
from hushwire.vault.keyring import Keyring
from hushwire.vault.providers import EnvironmentProvider, FileProvider
from hushwire.vault.renewal import renew_bucket
from hushwire.vault.root import BucketFolders, RootKey, open_root
from tests.databases import Databases
from tests.store.rows import add_org
from tests.vault.conftest import WHY, Vault


class _Killed(BaseException):
    pass


@pytest.fixture
async def kept(databases: Databases, tmp_path: Path) -> tuple[Vault, FileProvider, DataKey]:
    """A vault under a root key in a file, with two organisations, a renewed bucket and a key."""
    folder = tmp_path / "buckets"
    folder.mkdir(mode=0o700)
    provider = FileProvider(tmp_path / "keys" / "root")
    root = (await open_root(provider, await databases.connect("keyring"), await databases.connect("main"), secrets)).key
    vault = Vault(databases, root, folder, await add_org(await databases.connect("main", "owner"), "acme"))
    owner = await vault.keyring("owner")
    await owner.establish()
    for org in (vault.org, OrgId(uuid4())):
        await owner.create_organisation(org)
    key = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    await renew_bucket(await vault.keyring("worker"), vault.org, (await owner.current_bucket(vault.org)).id)
    return vault, provider, key


async def _rotate(vault: Vault, provider: FileProvider) -> None:
    new = provider.prepare(secrets)
    await rotation.rewrap(await vault.databases.connect("keyring"), vault.root, new, BucketFolders(vault.folder))
    provider.settle(new)
    provider.discard()


async def _assert_whole(vault: Vault, key: DataKey) -> None:
    """Every kind of wrapped value opens under the vault's root key."""
    api = await vault.keyring("api")
    assert await api.open_data_key(vault.org, "recording", key.id, WHY) == key
    await api.deployment()
    await api.org_context(vault.org)
    await api.signing_key()
    late = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    assert await api.open_data_key(vault.org, "recording", late.id, WHY) == late


async def _assert_nothing_opens(stranger: Keyring, org: OrgId, key: DataKey) -> None:
    for attempt in (stranger.deployment(), stranger.org_context(org), stranger.signing_key(),
                    stranger.open_data_key(org, "recording", key.id, WHY)):  # fmt: skip
        with pytest.raises(KeyUnavailable):
            await attempt


async def test_after_a_rotation_all_opens_under_the_new_key_and_nothing_under_the_old(
    kept: tuple[Vault, FileProvider, DataKey],
) -> None:
    vault, provider, key = kept
    index = (await (await vault.keyring("api")).org_context(vault.org)).index_key
    signing = await (await vault.keyring("api")).public_signing_keys()
    await _rotate(vault, provider)
    assert [path.name for path in provider.path.parent.iterdir()] == ["root"]
    assert provider.path.stat().st_mode & 0o777 == 0o600
    opened = await open_root(provider, await vault.databases.connect("keyring"), await vault.databases.connect("main"), secrets)
    assert not opened.is_new
    assert opened.key.fingerprint() != vault.root.fingerprint()
    await _assert_whole(replace(vault, root=opened.key), key)
    await _assert_nothing_opens(await vault.keyring("api"), vault.org, key)
    api = await replace(vault, root=opened.key).keyring("api")
    assert (await api.org_context(vault.org)).index_key == index
    assert await api.public_signing_keys() == signing


@pytest.mark.parametrize("border", range(1, 8))
async def test_a_rotation_killed_anywhere_leaves_a_keyring_that_opens_under_the_key_that_the_next_start_takes(
    kept: tuple[Vault, FileProvider, DataKey], monkeypatch: pytest.MonkeyPatch, border: int
) -> None:
    vault, provider, key = kept
    passed = 0

    def step() -> None:
        nonlocal passed
        passed += 1
        if passed == border:
            raise _Killed

    def around(function: Any) -> Any:
        def run(*arguments: Any, **more: Any) -> Any:
            step()
            return function(*arguments, **more)

        return run

    from hushwire.vault import providers

    with monkeypatch.context() as killing:
        killing.setattr(providers.os, "replace", around(providers.os.replace))
        killing.setattr(rotation, "_deployment", around(rotation._deployment))
        killing.setattr(rotation, "_organisations", around(rotation._organisations))
        killing.setattr(FileProvider, "settle", around(FileProvider.settle))
        killing.setattr(providers, "_destroy", around(providers._destroy))
        try:
            await _rotate(vault, provider)
            is_killed = False
        except _Killed:
            is_killed = True
    assert is_killed
    keyring, main = await vault.databases.connect("keyring"), await vault.databases.connect("main")
    opened = await open_root(provider, keyring, main, secrets)
    await _assert_whole(replace(vault, root=opened.key), key)
    provider.discard()
    # And it can be done again, to the end.
    await _rotate(replace(vault, root=opened.key), provider)
    opened = await open_root(provider, keyring, main, secrets)
    await _assert_whole(replace(vault, root=opened.key), key)
    assert [path.name for path in provider.path.parent.iterdir() if path.suffix != ".making"] == ["root"]


async def test_an_older_copy_of_the_keyring_is_opened_with_the_previous_key_as_long_as_that_is_there(
    kept: tuple[Vault, FileProvider, DataKey],
) -> None:
    vault, provider, key = kept
    new = provider.prepare(secrets)
    provider.settle(new)
    assert {path.name for path in provider.path.parent.iterdir()} == {"root", "root.previous"}
    opened = await open_root(provider, await vault.databases.connect("keyring"), await vault.databases.connect("main"), secrets)
    assert opened.key.fingerprint() == vault.root.fingerprint()
    await _assert_whole(vault, key)
    current = provider.load()
    assert current is not None
    assert current.fingerprint() == vault.root.fingerprint()


async def test_a_rotation_from_a_key_that_is_not_the_keyrings_changes_nothing(kept: tuple[Vault, FileProvider, DataKey]) -> None:
    vault, _, key = kept
    keyring = await vault.databases.connect("keyring")
    with pytest.raises(KeyUnavailable):
        await rotation.rewrap(keyring, RootKey(bytes(32)), RootKey(bytes(range(32))), BucketFolders(vault.folder))
    await _assert_whole(vault, key)


async def test_with_the_environment_both_variables_are_read_and_the_keyring_says_which_counts(
    kept: tuple[Vault, FileProvider, DataKey],
) -> None:
    vault, _, key = kept
    new = RootKey(secrets.token_bytes(32))
    keyring, main = await vault.databases.connect("keyring"), await vault.databases.connect("main")
    both = EnvironmentProvider({"HUSHWIRE_ROOT_KEY": vault.root.to_text(), "HUSHWIRE_ROOT_KEY_NEW": new.to_text()})
    assert (await open_root(both, keyring, main, secrets)).key.fingerprint() == vault.root.fingerprint()
    with pytest.raises(ConfigError, match="HUSHWIRE_ROOT_KEY_NEW"):
        EnvironmentProvider({"HUSHWIRE_ROOT_KEY": vault.root.to_text()}).prepare(secrets)
    await rotation.rewrap(keyring, vault.root, both.prepare(secrets), BucketFolders(vault.folder))
    opened = await open_root(both, keyring, main, secrets)
    assert opened.key.fingerprint() == new.fingerprint()
    await _assert_whole(replace(vault, root=opened.key), key)
    with pytest.raises(KeyUnavailable, match="another deployment"):
        await open_root(EnvironmentProvider({"HUSHWIRE_ROOT_KEY": vault.root.to_text()}), keyring, main, secrets)


async def test_a_new_signing_key_signs_at_once_and_the_old_one_stays_published(vault: Vault) -> None:
    api = await vault.keyring("api")
    old, _ = await api.signing_key()
    made = await rotation.rotate_signing(await vault.databases.connect("keyring"), vault.root.opener_wrap())
    assert (await api.signing_key())[0] == made
    first, second = await api.public_signing_keys()
    assert (first.id, second.id, second.retired_at) == (old, made, None)
    assert first.retired_at is not None
    await (await vault.keyring("owner")).establish()
    assert (await api.signing_key())[0] == made
