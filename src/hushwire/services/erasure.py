"""The one erasure path, up to the receipt. What follows it (sweeping, renewal) is in `erasure_upkeep`.

    match await erasures.erase(org_id, recording_id, actor="api-key:...", reason="customer-request"):
        case Erased(receipt): ...         # 200, and the same bytes each time it is asked again
        case Pending(retry_after_s): ...  # 503, Retry-After: the ledger holds it, the worker carries it out
        case Held(hold_id, reason): ...   # 409: nothing was changed; its release runs the erasure
        case NoRecording(): ...           # 404

    operation = await erasures.erase_matching(org_id, Selector(number=Personal("+493023125000")), actor=..., reason=...)
    operation.receipt                     # version 2, once every key is destroyed; else the worker goes on: ask `operation(...)` again

`erase_object` is `erase` for a thing of any kind of the register (`privacy/erasable.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import Unavailable
from hushwire.core.ids import OrgId, RecordingId
from hushwire.privacy import selection
from hushwire.privacy.canonical import canonical
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.erasure import Step, next_step
from hushwire.privacy.selection import Selector
from hushwire.services.erasure_destroying import Destroying
from hushwire.services.erasure_entering import Asked, Entering
from hushwire.services.erasure_operations import WITHIN_S, Operation, Operations, containing, with_parts
from hushwire.services.erasure_organisation import KIND as ORGANISATION
from hushwire.services.erasure_organisation import OrganisationEnd
from hushwire.services.erasure_stopping import Stopping
from hushwire.store import erasable, holds, ledger, operations
from hushwire.store.database import Connection, Database
from hushwire.store.erasable import Found, Search
from hushwire.store.ledger import LedgerEntry
from hushwire.store.operations import OperationRow
from hushwire.vault.keyring import Keyring

RETRY_AFTER_S: Final = 5
WAIT_S: Final = 5.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """Unreadable from now on: the receipt's canonical bytes."""

    receipt: bytes
    ledger_id: UUID


@dataclass(frozen=True, slots=True)
class Pending:
    """Entered, so it will be done, and nothing is given out any more; but a live recording didn't confirm yet, or a store is away."""

    ledger_id: UUID
    retry_after_s: int = RETRY_AFTER_S


@dataclass(frozen=True, slots=True)
class Held:
    """A legal hold keeps it: nothing was changed. The refused erasure is noted (`operation_id`) and runs when the hold is released."""

    hold_id: UUID
    reason: str
    operation_id: UUID


@dataclass(frozen=True, slots=True)
class NoRecording:
    """The organisation has no such recording, or no such thing of another kind."""


Outcome = Erased | Pending | Held | NoRecording


class Erasures:
    """The one erasure path: api and worker both walk it."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random, *, ends_organisations: bool = False) -> None:
        """`ends_organisations`: as the worker, whose role may destroy the keys of one; others enter the wish, and wait."""
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._entering = Entering(keyring, random)
        self._stopping = Stopping(main, clock, random)
        self._destroying = Destroying(main, keyring, clock, random)
        self.organisations = OrganisationEnd(main, keyring, clock, random, self._entering)
        end = self.organisations if ends_organisations else None
        self.operations = Operations(main, keyring, clock, random, self._entering, self._stopping, self._destroying, end)

    async def listen(self) -> None:
        """Hear nodes' confirmations at once; without it they are seen at the end of the wait."""
        await self._stopping.listen()

    # One thing.

    async def erase(self, org_id: OrgId, recording_id: RecordingId, *, actor: str, reason: str, wait_s: float = WAIT_S) -> Outcome:
        """Erases for good. Idempotent: asked again, the answer is the same receipt.

        Raises Unavailable only if nothing was entered in the ledger.
        """
        entered = await self._enter(org_id, recording_id, actor, reason)
        if not isinstance(entered, LedgerEntry):
            return entered
        try:
            return await self.advance(entered, wait_s=wait_s)
        except Unavailable:
            _log.warning("erasure.delayed", org_id=str(org_id), ledger_id=str(entered.id))
            return Pending(entered.id)

    async def erase_object(
        self, org_id: OrgId, kind: str, object_id: UUID, *, actor: str, reason: str, note: str | None = None, wait_s: float = WAIT_S
    ) -> Outcome:
        """Erases a thing of any kind, and what is part of it. Idempotent, like `erase`; raises as it does."""
        if kind == "recording":
            return await self.erase(org_id, RecordingId(object_id), actor=actor, reason=reason, wait_s=wait_s)
        selector = Selector(objects={kind: [object_id]})
        async with self._main.organisation(org_id) as connection:
            known = await ledger.by_object(connection, kind, object_id)
            found = [] if known else await erasable.find(connection, KINDS[kind], Search(ids=[object_id]), kinds=KINDS)
            if known is None and not found:
                return NoRecording()
            if found and found[0].hold_id is not None:
                return await self._defer(connection, org_id, selector, found[0].hold_id, actor, reason)
        if known is None:
            begun = await self.operations.begin(org_id, selector, actor=actor, reason=reason, note=note)
            try:
                await self.operations.run(org_id, begun.id, within_s=wait_s, selector=selector)
            except Unavailable:
                _log.warning("erasure.delayed", org_id=str(org_id), operation_id=str(begun.id))
                return Pending(begun.id)
        async with self._main.organisation(org_id) as connection:
            known = await ledger.by_object(connection, kind, object_id)
            if known is None:
                # A hold came in between: what it kept is deferred already.
                found = await erasable.find(connection, KINDS[kind], Search(ids=[object_id]), kinds=KINDS)
                if not found or found[0].hold_id is None:
                    return NoRecording()
                return await self._defer(connection, org_id, selector, found[0].hold_id, actor, reason)
        return await self._answer(known)

    async def advance(self, entry: LedgerEntry, *, wait_s: float = 0.0) -> Erased | Pending:
        """Carries an entry on to its receipt, from wherever it stands."""
        if next_step(entry) is Step.STOP and not await self._stopping.stop(entry.org_id, [entry], wait_s):
            return Pending(entry.id)
        if entry.unreadable_at is None:
            async with self._main.organisation(entry.org_id) as connection:
                with_it = await ledger.caused_by(connection, entry.id)
            receipt = (await self._destroying.destroy(entry.org_id, [entry, *with_it])).get(entry.id)
            if receipt is not None:
                return Erased(receipt, entry.id)
            async with self._main.organisation(entry.org_id) as connection:
                entry = await ledger.get(connection, entry.id) or entry
        return await self._answer(entry)

    async def advance_all(self, org_id: OrgId, entries: Sequence[LedgerEntry]) -> int:
        """Carries entries on as far as goes without waiting; returns how many are unreadable now."""
        entries = [entry for entry in entries if entry.kind != ORGANISATION]  # its operation carries it on
        waiting = [entry for entry in entries if entry.stopped_at is None]
        await self._stopping.stop(org_id, waiting, 0.0)
        async with self._main.organisation(org_id) as connection:
            stopped = await ledger.stopped_among(connection, [entry.id for entry in entries])
        if stopped:
            await self._destroying.destroy(org_id, stopped)
        return len(stopped)

    async def receipt(self, org_id: OrgId, recording_id: RecordingId) -> bytes | None:
        """The receipt of an erased recording, if there is one."""
        return await self.receipt_of(org_id, "recording", recording_id)

    async def receipt_of(self, org_id: OrgId, kind: str, object_id: UUID) -> bytes | None:
        """The receipt of an erased thing of any kind: its own, or the proof that it is among those of an operation."""
        async with self._main.organisation(org_id) as connection:
            entry = await ledger.by_object(connection, kind, object_id)
        if entry is None:
            return None
        answer = await self._answer(entry)
        return answer.receipt if isinstance(answer, Erased) else None

    async def receipt_by_id(self, org_id: OrgId, wanted: UUID) -> bytes | None:
        """A receipt by its own id, an operation's, or the id of what was erased."""
        async with self._main.organisation(org_id) as connection:
            operation = await operations.get(connection, wanted)
            entry = await ledger.get(connection, wanted) or await ledger.by_any_object(connection, wanted)
        if operation is not None:
            return None if operation.receipt is None else canonical(operation.receipt)
        answer = None if entry is None else await self._answer(entry)
        return answer.receipt if isinstance(answer, Erased) else None

    # Everything that a selector means.

    async def erase_matching(
        self, org_id: OrgId, selector: Selector, *, actor: str, reason: str, note: str | None = None, within_s: float = WITHIN_S
    ) -> Operation:
        """Erases what the selector means: whatever no hold keeps now, the rest when its hold is released.

        Answers after `within_s` at most (and a batch), with all keys destroyed where that is possible; the worker does the rest. Raises
        MalformedError for a selector that can't be meant, Unavailable only if nothing was entered.
        """
        if selector.scope == ORGANISATION:
            row, salt = await self.organisations.begin(org_id, actor=actor, reason=reason)
            begun = Operation(row, {}, salt)
        else:
            begun = await self.operations.begin(org_id, selector, actor=actor, reason=reason, note=note)
        try:
            await self.operations.run(org_id, begun.id, within_s=within_s, selector=selector)
        except Unavailable:
            _log.warning("erasure.delayed", org_id=str(org_id), operation_id=str(begun.id))
            return begun
        view = await self.operations.view(org_id, begun.id)
        assert view is not None
        return Operation(view.row, view.counts, begun.selector_salt)

    async def operation(self, org_id: OrgId, operation_id: UUID) -> Operation | None:
        """An operation and its progress."""
        return await self.operations.view(org_id, operation_id)

    # Steps.

    async def _enter(self, org_id: OrgId, recording_id: RecordingId, actor: str, reason: str) -> LedgerEntry | Held | NoRecording:
        """The ledger row, committed: before it nothing is destroyed, after it nothing is given out."""
        async with self._main.organisation(org_id) as connection:
            if (known := await ledger.by_recording(connection, recording_id)) is not None:
                return known
            await ledger.lock_ledger(connection, org_id)
            if (known := await ledger.by_recording(connection, recording_id)) is not None:
                return known
            found = await erasable.find(connection, KINDS["recording"], Search(ids=[recording_id]), kinds=KINDS, lock=True)
            if not found:
                return NoRecording()
            if (hold_id := _hold(found)) is not None:
                return await self._defer(connection, org_id, Selector(objects={"recording": [recording_id]}), hold_id, actor, reason)
            parts = [each for each in await with_parts(connection, found) if each.id != recording_id]
            documents, _ = await containing(connection, [*found, *parts])
            causes = {each.id: recording_id for each in [*parts, *documents]}
            asked = Asked(self._clock.now(), actor, reason)
            entry, *_ = await self._entering.enter(connection, org_id, asked, [*found, *parts, *documents], causes)
        _log.info("erasure.entered", org_id=str(org_id), ledger_id=str(entry.id), recording_id=str(recording_id))
        return entry

    async def _answer(self, entry: LedgerEntry) -> Erased | Pending:
        if entry.receipt is not None:
            return Erased(canonical(entry.receipt), entry.id)
        if entry.unreadable_at is None or entry.operation_id is None:
            return Pending(entry.id)
        receipt = await self.operations.item_receipt(entry.org_id, entry.operation_id, entry.object_id)
        return Pending(entry.id) if receipt is None else Erased(receipt, entry.id)

    async def _defer(self, connection: Connection, org_id: OrgId, selector: Selector, hold_id: UUID, actor: str, reason: str) -> Held:
        """Notes a refused erasure, once for each hold; nothing else is changed."""
        code = await holds.reason_of(connection, hold_id)
        known = await operations.deferred_like(connection, hold_id, selector.plain())
        if known is not None:
            return Held(hold_id, code, known)
        now = self._clock.now()
        row = OperationRow(
            id=self._entering.new_id(now),
            org_id=org_id,
            scope=selector.scope,
            state="deferred",
            requested_at=now,
            actor=actor,
            reason=reason,
            selector=selector.plain(),
            selector_sealed=None,
            selector_commitment=selection.commitment(self._random.token_bytes(32), selector),
            note_sealed=None,
            planned_at=now,
            unreadable_at=None,
            done_at=None,
            deferred=sum(len(ids) for ids in selector.objects.values()),
            follows=None,
            receipt=None,
        )
        await operations.add(connection, row)
        await operations.defer(connection, org_id, row.id, [hold_id], now)
        _log.info("erasure.held", org_id=str(org_id), operation_id=str(row.id), hold_id=str(hold_id))
        return Held(hold_id, code, row.id)


def _hold(found: list[Found]) -> UUID | None:
    return next((each.hold_id for each in found if each.hold_id is not None), None)
