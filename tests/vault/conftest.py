"""A keyring that is set up: root key, deployment keys, one organisation, and a view of it for each role."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from hushwire.core.ids import OrgId
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from tests.databases import Databases, RoleName


@dataclass(frozen=True, slots=True)
class Vault:
    databases: Databases
    root: RootKey
    folder: Path
    org: OrgId

    async def keyring(self, role: RoleName) -> Keyring:
        """A fresh view, with nothing cached."""
        return Keyring(await self.databases.connect("keyring", role), self.root.role_keys(opener=role != "gateway", buckets=self.folder))


@pytest.fixture
async def vault(databases: Databases, tmp_path: Path) -> Vault:
    folder = tmp_path / "buckets"
    folder.mkdir(mode=0o700)
    made = Vault(databases, RootKey(secrets.token_bytes(32)), folder, OrgId(uuid4()))
    keyring = await made.keyring("owner")
    await keyring.establish()
    await keyring.create_organisation(made.org)
    return made
