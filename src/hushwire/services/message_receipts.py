"""Receipts to their parts: by the centre's id, and for parts whose answer never came by whom they were for.

A receipt may come before the answer to its message is committed, on another link, to another node. Such a one is kept, and looked at again
with the answer and every few seconds.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, Unavailable
from hushwire.core.ids import OrgId
from hushwire.services.carriage import Bodies, Change, PartState
from hushwire.services.message_runs import KEEP_RECEIPTS, MOST
from hushwire.sms.smpp.receipts import Fate
from hushwire.store import message_parts
from hushwire.store.database import Connection, Database
from hushwire.store.message_parts import PartRef, Receipt

STATES: Final[dict[Fate, PartState]] = {
    Fate.PENDING: "submitted",
    Fate.DELIVERED: "delivered",
    Fate.EXPIRED: "expired",
    Fate.FAILED: "failed",
}
TOPIC: Final = "message-receipts"
"""Who keeps receipts for another process to look at tells it so."""
_SETTLES_AFTER: Final = timedelta(seconds=2)
_PAGES: Final = 20
_log = structlog.get_logger(__name__)


class Receipts:
    """One centre's receipts."""

    def __init__(self, centre_id: UUID, main: Database, bodies: Bodies, clock: Clock) -> None:
        self._centre_id = centre_id
        self._main = main
        self._bodies = bodies
        self._clock = clock

    async def take(self, receipts: Sequence[Receipt]) -> frozenset[int]:
        """Write what they say; the places of those that are committed when this returns. Raises Unavailable."""
        latest = {one.receipt_id: one for one in receipts if one.state != "submitted"}
        pending = {one.receipt_id: one for one in receipts if one.state == "submitted"}
        everything = [*pending.values(), *latest.values()]
        async with self._main.transaction() as connection:
            found = await self._parts_of(connection, everything)
            early = {**pending, **latest}
            if left := [one for one in early.values() if one.receipt_id not in found]:
                await message_parts.keep_early(connection, self._centre_id, left)
        left_out = await self._conclude([(found[one.receipt_id], one) for one in everything if one.receipt_id in found])
        return frozenset(place for place, one in enumerate(receipts) if one.receipt_id not in left_out)

    async def look_again(self, *, at_once: bool = False) -> int:
        """Receipts that came early, once what they are about can be told; and those that nothing is found for go. Returns how many.

        `at_once`: also those that came a moment ago, as when they are told of by the process that kept them. Each is looked at once,
        so that what can't be written keeps none of the others from it.
        """
        now, count, after = self._clock.now(), 0, ""
        before = now + _SETTLES_AFTER if at_once else now - _SETTLES_AFTER
        for _ in range(_PAGES):
            async with self._main.transaction() as connection:
                kept = await message_parts.early_ones(connection, self._centre_id, before, after, MOST)
                found = await self._parts_of(connection, kept)
            told = [(found[one.receipt_id], one) for one in kept if one.receipt_id in found]
            left_out = await self._conclude(told)
            async with self._main.transaction() as connection:
                await message_parts.take_early(
                    connection, self._centre_id, [one.receipt_id for _, one in told if one.receipt_id not in left_out]
                )
            count += len(told)
            if len(kept) < MOST:
                break
            after = kept[-1].receipt_id
        async with self._main.transaction() as connection:
            await message_parts.forget_receipts(connection, now - KEEP_RECEIPTS)
        return count

    async def settled_with(self, connection: Connection, org_id: OrgId, receipt_ids: dict[str, tuple[UUID, int]]) -> None:
        """In the transaction that writes answers: what was said of these parts before."""
        early = await message_parts.take_early(connection, self._centre_id, list(receipt_ids))
        await self._write(connection, org_id, [(PartRef(org_id, *receipt_ids[one.receipt_id]), one) for one in early])

    async def _parts_of(self, connection: Connection, receipts: Sequence[Receipt]) -> dict[str, PartRef]:
        found = await message_parts.of_receipts(connection, self._centre_id, [one.receipt_id for one in receipts])
        missing = [one for one in receipts if one.receipt_id not in found]
        if not missing:
            return found
        doubtful = await message_parts.unanswered(connection, self._centre_id, list({one.destination_index for one in missing}))
        for one in sorted(missing, key=lambda one: one.at):
            parts = doubtful.get(one.destination_index, [])
            # One that is under way now may be the one that is meant: its answer will tell.
            if parts and all(is_unknown for _, is_unknown in parts):
                found[one.receipt_id] = parts.pop(0)[0]
        return found

    async def _conclude(self, told: Sequence[tuple[PartRef, Receipt]]) -> set[str]:
        """Write them, an organisation at a time; the ids of those of organisations whose rows can't be written now."""
        left_out: set[str] = set()
        by_org: dict[OrgId, list[tuple[PartRef, Receipt]]] = defaultdict(list)
        for ref, one in told:
            by_org[ref.org_id].append((ref, one))
        for org_id, some in by_org.items():
            try:
                async with self._main.organisation(org_id) as connection:
                    await self._write(connection, org_id, some)
            except Unavailable:
                raise
            except (HushwireError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.error("message_receipt.not_written", org_id=str(org_id), receipts=len(some), error=type(error).__name__)
                left_out |= {one.receipt_id for _, one in some}
        return left_out

    async def _write(self, connection: Connection, org_id: OrgId, told: Sequence[tuple[PartRef, Receipt]]) -> None:
        # One statement changes a row once: of several receipts about one part the last one counts, and one that ends it most of all.
        last: dict[PartRef, Receipt] = {}
        for ref, one in told:
            if ref not in last or last[ref].state == "submitted":
                last[ref] = one
        if not last:
            return
        now = self._clock.now()
        changed = await message_parts.conclude(connection, [(ref, one.state, one.error, one.receipt_id) for ref, one in last.items()], now)
        changes = [
            Change(ref.message_id, ref.part, _state(one.state), one.error, one.at, parts)
            for ref, one in last.items()
            if (parts := changed.get((ref.message_id, ref.part))) is not None
        ]
        if changes:
            await self._bodies.advance(connection, org_id, changes)


def _state(text: str) -> PartState:
    return next(state for state in STATES.values() if state == text)
