"""Legal holds: what they cover can't be erased, by anybody and by no rule, until they are released."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.personal import Personal
from hushwire.privacy import audit
from hushwire.privacy.erasable import KINDS, NUMBER_COLUMNS
from hushwire.services.phone_numbers import spellings
from hushwire.store import erasable, holds, ledger
from hushwire.store.database import Connection, Database
from hushwire.store.erasable import Search
from hushwire.store.holds import HoldRow
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

Scope = Literal["recording", "call", "message", "contact", "document", "case", "number", "agent", "range", "organisation"]
KEY_KIND: Final = "case"
_TABLE: Final = "legal_holds"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A hold to place. `object_id` of a thing or agent; `number` as typed; `since` <= began < `until` of a range."""

    scope: Scope
    reason: str
    authority: Personal[str]
    note: Personal[str] | None = None
    object_id: UUID | None = None
    number: Personal[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold with its words opened; they are None once its key is gone."""

    row: HoldRow
    authority: str | None = field(repr=False)
    note: str | None = field(repr=False)
    number: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unfit:
    """What is wrong with a wanted hold."""

    field: str
    message: str


class Holds:
    """Places, shows and releases holds."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def place(self, org_id: OrgId, wanted: Wanted, *, actor: str) -> HoldRow | Unfit:
        """In force once this returns: an erasure that was not entered before is refused."""
        now = self._clock.now()
        hold_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        indexes: list[bytes] | None = None
        if wanted.number is not None:
            keys = await self._keyring.org_context(org_id)
            async with self._main.organisation(org_id) as connection:
                found = await spellings(connection, wanted.number.reveal())
            if found is None:
                return Unfit("number", "must be a phone number such as +493023125000")
            indexes = [keys.index(column, spelling) for column in NUMBER_COLUMNS for spelling in found]
        async with self._main.organisation(org_id) as connection:
            if (unfit := await self._unfit(connection, wanted)) is not None:
                return unfit
        key = await self._keyring.new_data_key(org_id, KEY_KIND, hold_id)
        columns = Columns(key.key)

        def sealed(value: Personal[str] | None, column: str) -> bytes | None:
            return None if value is None else columns.seal(value.reveal().encode(), table=_TABLE, column=column, row=hold_id, org=org_id)

        row = HoldRow(
            id=hold_id,
            org_id=org_id,
            scope=wanted.scope,
            object_id=wanted.object_id,
            number_sealed=sealed(wanted.number, "number_sealed"),
            number_indexes=indexes,
            since=wanted.since,
            until=wanted.until,
            reason=wanted.reason,
            authority_sealed=sealed(wanted.authority, "authority_sealed") or b"",
            note_sealed=sealed(wanted.note, "note_sealed"),
            placed_at=now,
            placed_by=actor,
        )
        async with self._main.organisation(org_id) as connection:
            await ledger.lock_ledger(connection, org_id)  # an erasure under way is entered before, or sees the hold
            await holds.add(connection, row)
            await audit.append(
                connection, org_id, now, actor, "hold.placed", f"hold:{hold_id}", {"scope": wanted.scope, "reason": wanted.reason}
            )
        _log.info("hold.placed", org_id=str(org_id), hold_id=str(hold_id), scope=wanted.scope)
        return row

    async def release(self, org_id: OrgId, hold_id: UUID, *, actor: str) -> HoldRow | None:
        """Ends it; what it kept from erasure is erased by the worker. Released already: the same answer. None: there is no such hold."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if await holds.release(connection, hold_id, now, actor):
                await audit.append(connection, org_id, now, actor, "hold.released", f"hold:{hold_id}")
                _log.info("hold.released", org_id=str(org_id), hold_id=str(hold_id))
            return await holds.get(connection, hold_id)

    async def get(self, org_id: OrgId, hold_id: UUID, why: Why) -> Hold | None:
        """One hold, its words opened."""
        async with self._main.organisation(org_id) as connection:
            row = await holds.get(connection, hold_id)
        return None if row is None else (await self._opened(org_id, [row], why))[0]

    async def listed(self, org_id: OrgId, why: Why, *, after: UUID | None = None, limit: int = 50) -> tuple[list[Hold], UUID | None]:
        """A page of holds, newest first, and the id after which the next begins."""
        async with self._main.organisation(org_id) as connection:
            rows = await holds.listed(connection, after=after, limit=limit + 1)
        return await self._opened(org_id, rows[:limit], why), rows[limit - 1].id if len(rows) > limit else None

    async def _unfit(self, connection: Connection, wanted: Wanted) -> Unfit | None:
        if wanted.scope in KINDS:
            assert wanted.object_id is not None
            found = await erasable.find(connection, KINDS[wanted.scope], Search(ids=[wanted.object_id]), kinds=KINDS)
            return None if found else Unfit("id", "is nothing that the organisation has, or it was erased")
        if wanted.scope == "agent":
            known = await connection.fetchval("SELECT EXISTS (SELECT 1 FROM agents WHERE id = $1)", wanted.object_id)
            return None if known else Unfit("id", "is no agent of the organisation")
        return None

    async def _opened(self, org_id: OrgId, rows: list[HoldRow], why: Why) -> list[Hold]:
        keys = await self._keyring.open_many(org_id, KEY_KIND, [row.id for row in rows], why)

        def opened(row: HoldRow, column: str) -> str | None:
            sealed, key = getattr(row, column), keys.get(row.id)
            if sealed is None or key is None:
                return None
            return Columns(key.key).open(sealed, table=_TABLE, column=column, row=row.id, org=org_id).decode()

        return [Hold(row, opened(row, "authority_sealed"), opened(row, "note_sealed"), opened(row, "number_sealed")) for row in rows]
