"""A keyring that is set up: root key, deployment keys, one organisation, and a view of it for each role."""

import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest

from hushwire.core.ids import OrgId
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import BucketFolders, RootKey
from hushwire.vault.unseal import AccessLog, Why
from tests.databases import Databases, RoleName
from tests.recorded import Chance, HouseClock
from tests.store.rows import add_org

WHY = Why("api-key:7", "customer-service")


@dataclass(frozen=True, slots=True)
class Vault:
    databases: Databases
    root: RootKey
    folder: Path
    org: OrgId
    second: Path | None = None

    async def keyring(self, role: RoleName) -> Keyring:
        """A fresh view, with nothing cached."""
        keys = self.root.role_keys(opener=role != "gateway", buckets=BucketFolders(self.folder, self.second))
        return Keyring(await self.databases.connect("keyring", role), keys, None if role == "gateway" else await self.log(role))

    async def log(self, role: RoleName) -> AccessLog:
        return AccessLog(await self.databases.connect("main", role), HouseClock(), Chance())

    async def noted(self, org: OrgId | None = None) -> list[tuple[str, str, str]]:
        """The rows of the access log: actor, purpose, object."""
        async with (await self.databases.connect("main", "owner")).organisation(org or self.org) as connection:
            return [tuple(row) for row in await connection.fetch("SELECT actor, purpose, object FROM access_log ORDER BY at, id")]


@pytest.fixture
async def vault(databases: Databases, tmp_path: Path) -> Vault:
    folder = tmp_path / "buckets"
    folder.mkdir(mode=0o700)
    org = await add_org(await databases.connect("main", "owner"), "acme")
    made = Vault(databases, RootKey(secrets.token_bytes(32)), folder, org)
    keyring = await made.keyring("owner")
    await keyring.establish()
    await keyring.create_organisation(made.org)
    return made
