"""What a customer tells its processor, and what it puts on file: instructions, acknowledged policies, safeguards of transfers."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.store import agreement as table
from hushwire.store.agreement import InstructionRow, PolicyRow, SafeguardRow
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

_TABLE: Final = "instructions"


@dataclass(frozen=True, slots=True)
class InstructionView:
    """One version with its text; None where it was erased."""

    row: InstructionRow
    text: str | None = field(repr=False)


class Instructions:
    """One organisation's word, versioned. Nothing of it is ever changed; the newest counts."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def give(self, org_id: OrgId, text: str, *, actor: str) -> InstructionRow:
        """A new version."""
        now = self._clock.now()
        instruction_id = self._new_id(now)
        key = await self._keyring.new_data_key(org_id, "case", instruction_id)
        sealed = Columns(key.key).seal(text.encode(), table=_TABLE, column="text_sealed", row=instruction_id, org=org_id)
        async with self._main.organisation(org_id) as connection:
            version = await table.add_instruction(connection, org_id, instruction_id, sealed, actor, now)
            await audit.append(connection, org_id, now, actor, "instruction.given", f"instruction:{instruction_id}", {"version": version})
        return InstructionRow(instruction_id, version, sealed, actor, now)

    async def listed(self, org_id: OrgId, why: Why) -> list[InstructionView]:
        """Every version, newest first."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.instructions(connection)
        keys = await self._keyring.open_many(org_id, "case", [row.id for row in rows], why)

        def text(row: InstructionRow) -> str | None:
            key = keys.get(row.id)
            if key is None:
                return None
            return Columns(key.key).open(row.text_sealed, table=_TABLE, column="text_sealed", row=row.id, org=org_id).decode()

        return [InstructionView(row, text(row)) for row in rows]

    async def policies(self, org_id: OrgId) -> list[PolicyRow]:
        """Every published text, and whether it was acknowledged."""
        async with self._main.organisation(org_id) as connection:
            return await table.policies(connection)

    async def acknowledge(self, org_id: OrgId, policy_id: UUID, *, actor: str) -> PolicyRow | None:
        """The customer has taken note of a text; None if there is no such text. Safe to repeat."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if await table.acknowledge_policy(connection, policy_id, actor, now):
                await audit.append(connection, org_id, now, actor, "policy.acknowledged", f"policy:{policy_id}")
            return next((row for row in await table.policies(connection) if row.id == policy_id), None)

    async def safeguards(self, org_id: OrgId) -> list[SafeguardRow]:
        """Everything on file."""
        async with self._main.organisation(org_id) as connection:
            return await table.safeguards(connection)

    async def file_safeguard(
        self, org_id: OrgId, country: str, kind: str, document_digest: bytes, expires_at: datetime | None, *, actor: str
    ) -> SafeguardRow:
        """Put a signed safeguard for transfers to a country on file."""
        now = self._clock.now()
        row = SafeguardRow(self._new_id(now), country, kind, document_digest, actor, now, expires_at, None)
        async with self._main.organisation(org_id) as connection:
            await table.add_safeguard(connection, org_id, row)
            fields = {"country": country, "kind": kind, "digest": document_digest.hex()}
            await audit.append(connection, org_id, now, actor, "safeguard.filed", f"safeguard:{row.id}", fields)
        return row

    async def withdraw_safeguard(self, org_id: OrgId, safeguard_id: UUID, *, actor: str) -> bool:
        """It counts no more; False if there is none such in force."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await table.withdraw_safeguard(connection, safeguard_id, now):
                return False
            await audit.append(connection, org_id, now, actor, "safeguard.withdrawn", f"safeguard:{safeguard_id}")
        return True

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
