"""Erasures of everything that a selector means: found batch by batch, entered, destroyed, proven by one receipt.

    entered --every free thing is in the ledger--> running --every entry closed--> done
                           `--> deferred (holds kept something) --released: run again as a new operation--> done

What was found stands in the ledger and is not found again, so whoever carries an operation on simply searches anew.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable, MalformedError
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit, merkle, operation_receipts, selection
from hushwire.privacy.canonical import canonical
from hushwire.privacy.erasable import KINDS, NUMBER_COLUMNS, parts_of
from hushwire.privacy.erasure import copies_unusable_by
from hushwire.privacy.operation_receipts import Item, OperationErasure
from hushwire.privacy.selection import Selector
from hushwire.services.erasure_destroying import Destroying
from hushwire.services.erasure_entering import Asked, Entering
from hushwire.services.erasure_organisation import KIND as ORGANISATION
from hushwire.services.erasure_organisation import OrganisationEnd
from hushwire.services.erasure_stopping import Stopping
from hushwire.services.phone_numbers import spellings
from hushwire.store import contacts, erasable, holds, ledger, operations
from hushwire.store.database import Connection, Database
from hushwire.store.erasable import Found, Place, Search
from hushwire.store.operations import OperationRow, Progress
from hushwire.store.recordings import Place as Listed
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import ERASURE

BATCH: Final = 2000
WITHIN_S: Final = 1.0
"""How long an answer waits for keys to be destroyed; what is left then is the worker's."""

KEY_KIND: Final = "case"
_LOOK_EACH_S: Final = 0.05
_TABLE: Final = "erasure_operations"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it stands. `selector_salt`: opens the commitment of its receipt; told once, to who asked."""

    row: OperationRow
    counts: dict[str, Progress]
    selector_salt: bytes | None = None

    @property
    def id(self) -> UUID:
        """Also the id of its receipt."""
        return self.row.id

    @property
    def receipt(self) -> bytes | None:
        """The canonical bytes, once every key is destroyed."""
        return None if self.row.receipt is None else canonical(self.row.receipt)

    @property
    def is_unreadable(self) -> bool:
        """Whether everything that is free is unreadable, and proven so."""
        return self.row.unreadable_at is not None


class Operations:
    """Runs operations: the API for as long as somebody waits, the worker to the end."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        clock: Clock,
        random: Random,
        entering: Entering,
        stopping: Stopping,
        destroying: Destroying,
        end: OrganisationEnd | None,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._entering = entering
        self._stopping = stopping
        self._destroying = destroying
        self._end = end

    async def begin(
        self,
        org_id: OrgId,
        selector: Selector,
        *,
        actor: str,
        reason: str,
        note: str | None = None,
        follows: OperationRow | None = None,
    ) -> Operation:
        """Enters the operation, committed; nothing is destroyed yet. Raises MalformedError for a selector that can't be meant."""
        scope = selector.scope
        now, salt = self._clock.now(), self._random.token_bytes(32)
        operation_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        await self._check(org_id, selector)
        number = None if selector.number is None else selector.number.reveal()
        plain = selector.plain()
        selector_sealed = note_sealed = None
        if number is not None or note is not None:
            key = await self._keyring.new_data_key(org_id, KEY_KIND, operation_id)
            columns = Columns(key.key)
            if number is not None:
                hidden = json.dumps({"number": number, "salt": salt.hex()}).encode()
                selector_sealed = columns.seal(hidden, table=_TABLE, column="selector_sealed", row=operation_id, org=org_id)
            if note is not None:
                note_sealed = columns.seal(note.encode(), table=_TABLE, column="note_sealed", row=operation_id, org=org_id)
        row = OperationRow(
            id=operation_id,
            org_id=org_id,
            scope=scope,
            state="entered",
            requested_at=now,
            actor=actor,
            reason=reason,
            selector=plain,
            selector_sealed=selector_sealed,
            selector_commitment=selection.commitment(salt, selector),
            note_sealed=note_sealed,
            planned_at=None,
            unreadable_at=None,
            done_at=None,
            deferred=0,
            follows=None if follows is None else follows.id,
            receipt=None,
        )
        async with self._main.organisation(org_id) as connection:
            if follows is not None:
                before = await operations.get(connection, follows.id, for_update=True)
                if before is None or before.state != "deferred":
                    raise MalformedError("somebody else runs it again already")
                await operations.close(connection, follows.id, now)
            await operations.add(connection, row)
            fields: audit.Fields = {"scope": scope, "reason": reason, "follows": str(follows.id) if follows else None}
            await audit.append(connection, org_id, now, actor, "erasure.requested", f"erasure:{operation_id}", fields)
        _log.info("erasure.operation_entered", org_id=str(org_id), operation_id=str(operation_id), scope=scope)
        return Operation(row, {}, salt)

    async def run(self, org_id: OrgId, operation_id: UUID, *, within_s: float | None = None, selector: Selector | None = None) -> None:
        """Carries it on: to the receipt, or as far as `within_s` allows. Safe to repeat, and to run twice at once.

        `selector`: what was asked for, where the caller still knows it.
        """
        until = None if within_s is None else self._clock.monotonic() + within_s
        row = await self._row(org_id, operation_id)
        if row.scope == ORGANISATION:
            await self._run_end(row, until)
            return
        if row.planned_at is None:
            meant = selector or (await self._meant(row))[0]
            if not await self._plan(row, meant, until):
                return
        async with self._main.organisation(org_id) as connection:
            live = await ledger.of_operation(connection, operation_id, step="stop")
        if live:
            await self._stopping.stop(org_id, live, 0.0 if until is None else max(0.0, until - self._clock.monotonic()))
        while True:
            async with self._main.organisation(org_id) as connection:
                waiting = await ledger.of_operation(connection, operation_id, step="destroy", limit=BATCH)
            if not waiting:
                break
            await self._destroying.destroy(org_id, waiting)
        await self._prove(row)

    async def _run_end(self, row: OperationRow, until: float | None) -> None:
        """The end of an organisation: the worker's to carry out; others wait for it."""
        if row.state != "running":
            return
        if self._end is not None:
            await self._end.run(row)
        while self._end is None and until is not None and row.unreadable_at is None and self._clock.monotonic() < until:
            await asyncio.sleep(_LOOK_EACH_S)
            row = await self._row(row.org_id, row.id)

    async def again(self, org_id: OrgId, operation_id: UUID) -> UUID | None:
        """Runs a deferred operation again, since a hold was released: as a new one, with what was meant then and no more."""
        row = await self._row(org_id, operation_id)
        async with self._main.organisation(org_id) as connection:
            hold_id = await operations.released_hold(connection, operation_id)
        if row.state != "deferred" or hold_id is None:
            return None
        if row.scope == ORGANISATION:
            if self._end is None:
                return None
            begun_row, _ = await self._end.begin(org_id, actor=f"hold-release:{hold_id}", reason=row.reason, follows=row)
            await self.run(org_id, begun_row.id)
            return begun_row.id
        selector, note = await self._meant(row)
        if not selector.objects:
            selector = replace(selector, until=row.requested_at if selector.until is None else min(selector.until, row.requested_at))
        try:
            begun = await self.begin(org_id, selector, actor=f"hold-release:{hold_id}", reason=row.reason, note=note, follows=row)
        except MalformedError:
            return None
        await self.run(org_id, begun.id, selector=selector)
        return begun.id

    async def view(self, org_id: OrgId, operation_id: UUID) -> Operation | None:
        """The operation and its progress."""
        async with self._main.organisation(org_id) as connection:
            row = await operations.get(connection, operation_id)
            if row is None:
                return None
            counts = await operations.progress(connection, [operation_id])
        return Operation(row, counts[operation_id])

    async def listed(self, org_id: OrgId, *, after: Listed | None = None, limit: int = 50) -> list[Operation]:
        """Newest first."""
        async with self._main.organisation(org_id) as connection:
            rows = await operations.listed(connection, after=after, limit=limit)
            counts = await operations.progress(connection, [row.id for row in rows])
        return [Operation(row, counts[row.id]) for row in rows]

    async def item_receipt(self, org_id: OrgId, operation_id: UUID, object_id: UUID) -> bytes | None:
        """The proof that one thing is among those of an operation; None before the operation has its receipt."""
        async with self._main.organisation(org_id) as connection:
            row = await operations.get(connection, operation_id)
            items = await ledger.items(connection, operation_id)
        if row is None or row.receipt is None:
            return None
        made = [Item(*item) for item in items]
        return canonical(await asyncio.to_thread(operation_receipts.item_receipt, row.receipt, made, object_id))

    async def number_indexes(self, org_id: OrgId, typed: str) -> list[bytes] | None:
        """Every blind index under which a number may stand; None if it is no number."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            found = await spellings(connection, typed)
        return None if found is None else [keys.index(column, spelling) for column in NUMBER_COLUMNS for spelling in found]

    async def forget(self, org_id: OrgId, operation_id: UUID) -> None:
        """Destroys what an operation that is over itself held of the person. Safe to repeat."""
        await self._forget(await self._row(org_id, operation_id))

    # Planning.

    async def _check(self, org_id: OrgId, selector: Selector) -> None:
        if selector.number is not None and await self.number_indexes(org_id, selector.number.reveal()) is None:
            raise MalformedError("this is no phone number")
        if not set(selector.objects) <= set(KINDS) or not (selector.kinds or frozenset()) <= set(KINDS):
            raise MalformedError("a kind of thing that is unknown here")

    async def _plan(self, row: OperationRow, selector: Selector, until: float | None) -> bool:
        """Enters and destroys what is found, batch by batch; True once nothing free is left to be found."""
        indexes: Sequence[bytes] = ()
        if selector.number is not None:
            indexes = await self.number_indexes(row.org_id, selector.number.reveal()) or ()
        elif selector.contact is not None:
            async with self._main.organisation(row.org_id) as connection:
                indexes = await contacts.number_indexes(connection, selector.contact)
        wanted = selection.searches(selector, indexes, row.requested_at)
        asked = Asked(row.requested_at, row.actor, row.reason, row.id)
        for kind, search in wanted.items():
            after: Place | None = None
            while True:
                if until is not None and self._clock.monotonic() > until:
                    return False
                async with self._main.organisation(row.org_id) as connection:
                    await ledger.lock_ledger(connection, row.org_id)
                    found = await erasable.find(
                        connection,
                        KINDS[kind],
                        search,
                        kinds=KINDS,
                        after=after,
                        limit=BATCH,
                        is_held=await _free_only(connection),
                        lock=True,
                    )
                    things = found if selector.without_parts else await with_parts(connection, found)
                    documents, causes = await containing(connection, things)
                    entries = await self._entering.enter(connection, row.org_id, asked, [*things, *documents], causes)
                if not found:
                    break
                after = (found[-1].began_at, found[-1].id)
                if stopped := [entry for entry in entries if entry.stopped_at is not None]:
                    await self._destroying.destroy(row.org_id, stopped)
        await self._note_planned(row, wanted, indexes if selector.kinds is None else ())
        return True

    async def _note_planned(self, row: OperationRow, wanted: dict[str, Search], indexes: Sequence[bytes]) -> None:
        """Everything free stands in the ledger. `indexes`: of a person all of whose things were meant: no log finds them by these."""
        now = self._clock.now()
        async with self._main.organisation(row.org_id) as connection:
            await ledger.lock_ledger(connection, row.org_id)
            await erasable.forget_indexes(connection, indexes)
            if indexes and (words := await holds.released_with(connection, indexes)):
                await self._keyring.destroy_data_keys(row.org_id, KEY_KIND, words)
                await holds.forget_words(connection, words)
            held: list[Found] = []
            if await erasable.any_hold(connection):
                for kind, search in wanted.items():
                    held += await erasable.find(connection, KINDS[kind], search, kinds=KINDS, is_held=True)
            if held:
                keeping = {each.hold_id for each in held if each.hold_id is not None}
                await operations.defer(connection, row.org_id, row.id, keeping, now)
            await operations.note_planned(connection, row.id, now, len(held))

    async def _meant(self, row: OperationRow) -> tuple[Selector, str | None]:
        """The selector and the note of an operation that still has them."""
        number = note = None
        if row.has_key:
            key = await self._keyring.open_data_key(row.org_id, KEY_KIND, row.id, ERASURE)
            columns = Columns(key.key)
            if row.selector_sealed is not None:
                hidden = columns.open(row.selector_sealed, table=_TABLE, column="selector_sealed", row=row.id, org=row.org_id)
                number = json.loads(hidden)["number"]
            if row.note_sealed is not None:
                note = columns.open(row.note_sealed, table=_TABLE, column="note_sealed", row=row.id, org=row.org_id).decode()
        if row.selector is None:
            raise KeyUnavailable("the operation has forgotten what was asked for: it is over")
        return selection.read(row.selector, number), note

    # Proving.

    async def _prove(self, row: OperationRow) -> None:
        """The receipt, once every entry is unreadable; then the selector is forgotten, unless a hold's release will need it."""
        key_id, key = await self._keyring.signing_key()
        async with self._main.organisation(row.org_id) as connection:
            current = await operations.get(connection, row.id, for_update=True)
            if current is None or current.planned_at is None or await ledger.is_any_readable(connection, row.id):
                return
            if current.receipt is None:
                now = max(self._clock.now(), row.requested_at)
                items = [Item(*item) for item in await ledger.items(connection, row.id)]
                statement = await asyncio.to_thread(_statement, current, items, now)
                head = await audit.append(
                    connection,
                    row.org_id,
                    now,
                    row.actor,
                    "erasure.unreadable",
                    f"erasure:{row.id}",
                    {
                        "receipt_id": str(row.id),
                        "root": statement.root.hex(),
                        "items": statement.items,
                        "deferred": statement.deferred,
                        "reason": row.reason,
                    },
                )
                statement = replace(statement, audit_position=head.position, audit_head=head.hash)
                await operations.note_receipt(connection, row.id, now, canonical(operation_receipts.sign(statement, key_id, key)))
                _log.info("erasure.operation_unreadable", org_id=str(row.org_id), operation_id=str(row.id), items=statement.items)
        if row.follows is not None:
            await self.forget(row.org_id, row.follows)
        if current.state != "deferred":
            await self._forget(current)

    async def _forget(self, row: OperationRow) -> None:
        """Destroys what the operation itself held of the person."""
        if row.selector is None:
            return
        if row.has_key:
            await self._keyring.destroy_data_key(row.org_id, KEY_KIND, row.id)
        async with self._main.organisation(row.org_id) as connection:
            await operations.forget_selector(connection, row.id)

    async def _row(self, org_id: OrgId, operation_id: UUID) -> OperationRow:
        async with self._main.organisation(org_id) as connection:
            row = await operations.get(connection, operation_id)
        assert row is not None  # operations are never deleted
        return row


async def _free_only(connection: Connection) -> bool | None:
    """False: only what no hold keeps. None where there is no hold at all, which spares the look."""
    return False if await erasable.any_hold(connection) else None


async def with_parts(connection: Connection, found: Sequence[Found]) -> list[Found]:
    """What was found, after the parts that fall with it."""
    parts: dict[UUID, Found] = {}
    for kind in {each.kind for each in found}:
        wholes = [each.id for each in found if each.kind == kind]
        for part in parts_of(kind):
            for each in await erasable.find(connection, part, Search(parts_of=(kind, wholes)), kinds=KINDS, lock=True):
                parts[each.id] = each
    known = parts.keys()
    return [*parts.values(), *(each for each in found if each.id not in known)]


async def containing(connection: Connection, things: Sequence[Found]) -> tuple[list[Found], dict[UUID, UUID]]:
    """The documents that fall because they contain one of these things, and because of which."""
    causes = await erasable.documents_with(connection, things)
    new = causes.keys() - {each.id for each in things}
    if not new:
        return [], {}
    found = await erasable.find(connection, KINDS["document"], Search(ids=new), kinds=KINDS, lock=True)
    return found, {each.id: causes[each.id] for each in found}


def _statement(row: OperationRow, items: Sequence[Item], now: datetime) -> OperationErasure:
    counts: dict[str, int] = {}
    for item in items:
        counts[item.kind] = counts.get(item.kind, 0) + 1
    return OperationErasure(
        receipt_id=row.id,
        org_id=row.org_id,
        scope=row.scope,
        selector_commitment=row.selector_commitment,
        counts=counts,
        items=len(items),
        deferred=row.deferred,
        ledger_first=items[0].ledger_position if items else 0,
        ledger_last=items[-1].ledger_position if items else 0,
        root=merkle.root([operation_receipts.leaf(item) for item in items]),
        audit_position=0,
        audit_head=b"",
        requested_at=row.requested_at,
        unreadable_at=now,
        copies_unusable_by=copies_unusable_by(row.requested_at, now),
    )
