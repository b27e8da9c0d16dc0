"""Calls that other gateways hold and that agents take by dialling: parked ones, those that ring at a colleague's phones, conferences.

Slots and rooms are the organisation's over all gateways: who parks a call has its slot as a row before anybody is told of it, and so has
who opens a room. While the database is away they are this gateway's own, as it knows them, and rows follow.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.privacy.erasure import NODE_IS_DEAD_AFTER
from hushwire.services.neighbours import Neighbours
from hushwire.services.park import SLOTS
from hushwire.services.records import Records
from hushwire.sip.effects import DialogKey
from hushwire.store import parked as rows
from hushwire.store import rooms
from hushwire.store.database import STORE_FAILED, Connection, Database

PATIENCE_S: Final = 2.0
"""So long somebody who parks or takes a call waits for the database."""
_log = structlog.get_logger(__name__)


class Elsewhere:
    """One gateway's view of what the others hold. `name_of` is what a ringing call is picked up by (services/pickup_names.py)."""

    def __init__(
        self, db: Database, records: Records, neighbours: Neighbours, node_id: NodeId, name_of: Callable[[CallId], DialogKey]
    ) -> None:
        self._db = db
        self._records = records
        self._neighbours = neighbours
        self._node_id = node_id
        self._name_of = name_of

    # Slots.

    async def claim(self, org_id: OrgId, call_id: CallId, wanted: str, is_free: Callable[[str], bool]) -> str | None:
        """The slot that is the call's from now on: the one that is wanted, else the lowest. None where it is taken, or all are.

        `is_free` tells which are free at this gateway.
        """
        choice = [wanted] if wanted else [str(number) for number in range(1, SLOTS + 1)]
        try:
            async with asyncio.timeout(PATIENCE_S), self._db.organisation(org_id) as connection:
                taken = await rows.taken(connection, self._node_id, NODE_IS_DEAD_AFTER)
                for slot in choice:
                    # Others park at the same time: who has the row has the slot.
                    if slot not in taken and is_free(slot):
                        parked = (self._node_id, call_id)
                        if await rows.claim(connection, org_id, slot, parked, NODE_IS_DEAD_AFTER) and is_free(slot):
                            return slot
                return None
        except STORE_FAILED as error:
            _log.warning("park.slot_unwritten", error=type(error).__name__)
            slot = next((slot for slot in choice if is_free(slot)), "")
            if slot:
                self._claim_later(org_id, call_id, slot)
            return slot or None

    def _claim_later(self, org_id: OrgId, call_id: CallId, slot: str) -> None:
        async def write(connection: Connection) -> None:
            await rows.claim(connection, org_id, slot, (self._node_id, call_id), NODE_IS_DEAD_AFTER)

        self._records.write(org_id, "parked", write)

    def free(self, org_id: OrgId, call_id: CallId, slot: str) -> None:
        """The call is in its slot no more."""

        async def write(connection: Connection) -> None:
            await rows.free(connection, slot, self._node_id, call_id)

        self._records.write(org_id, "parked", write, at_once=True)

    async def tidy(self, held: Callable[[], Collection[CallId]]) -> None:
        """Free what the process before this one held and this one does not."""
        async with self._db.transaction() as connection:
            found = await rows.of_node(connection, self._node_id)
        for org_id, call_id in found:
            if call_id not in held():
                async with self._db.organisation(org_id) as connection:
                    await rows.forget(connection, self._node_id, call_id)

    # Rooms.

    async def room(self, org_id: OrgId, room: str, opening: UUID, silent: NodeId | None = None) -> NodeId | None:
        """The gateway whose the room is, by another one's row or by ours of this `opening`; None where it is ours.

        `silent` said nothing to who was handed over to it: it has the room no more.
        """
        try:
            async with asyncio.timeout(PATIENCE_S), self._db.organisation(org_id) as connection:
                found = await rooms.claim(connection, org_id, room, opening, self._node_id, NODE_IS_DEAD_AFTER, silent)
        except STORE_FAILED as error:
            _log.warning("room.unwritten", error=type(error).__name__)

            async def write(connection: Connection) -> None:
                await rooms.claim(connection, org_id, room, opening, self._node_id, NODE_IS_DEAD_AFTER)

            self._records.write(org_id, "room", write)
            return None
        return None if found == self._node_id else found

    def close_room(self, org_id: OrgId, opening: UUID) -> None:
        """The room is over."""

        async def write(connection: Connection) -> None:
            await rooms.free(connection, opening)

        self._records.write(org_id, "room", write, at_once=True)

    async def close_rooms_but(self, is_open: Callable[[UUID], bool]) -> None:
        """Take away the rows of rooms that ended with the process before this one."""
        async with self._db.transaction() as connection:
            found = await rooms.of_node(connection, self._node_id)
        for org_id, opening in found:
            if not is_open(opening):
                self.close_room(org_id, opening)

    # Where a call is.

    async def parked(self, org_id: OrgId, slot: str) -> NodeId | None:
        """The gateway that holds the call in a slot; None where nobody waits there, or it can't be known now."""
        return next((one.node_id for one in await self._slots(org_id) if one.slot == slot), None)

    async def ringing(self, org_id: OrgId, agent_id: AgentId) -> NodeId | None:
        """The gateway of the oldest call that rings at an agent's phones; of a group's call rows don't say whose phones ring."""
        rung = await self._rung(org_id)
        own = [node_id for _, node_id, called in rung if called == agent_id]
        return next(iter([*own, *(node_id for _, node_id, called in rung if called is None)]), None)

    async def named(self, org_id: OrgId, agent_id: AgentId, dialog: DialogKey, *, picks_up: bool) -> NodeId | None:
        """The gateway that may have the dialog that an agent names: of a colleague's call that rings, or of one of its own.

        Dialogs are written down nowhere: of its own calls the newest one's gateway is asked.
        """
        if picks_up:
            for call_id, node_id, _ in await self._rung(org_id):
                if self.is_name(dialog, call_id):
                    return node_id
        try:
            async with asyncio.timeout(PATIENCE_S), self._db.organisation(org_id) as connection:
                found = await rows.talking(connection, agent_id, self._neighbours.nodes)
        except STORE_FAILED as error:
            _log.warning("elsewhere.unread", error=type(error).__name__)
            return None
        return found[0] if found else None

    def is_name(self, dialog: DialogKey, call_id: CallId) -> bool:
        """Whether a call that rings is picked up by this name; phones read whose side is whose in both ways."""
        name = self._name_of(call_id)
        return dialog in (name, DialogKey(name.call_id, name.remote_tag, name.local_tag))

    async def _slots(self, org_id: OrgId) -> list[rows.Parked]:
        try:
            async with asyncio.timeout(PATIENCE_S), self._db.organisation(org_id) as connection:
                return await rows.elsewhere(connection, self._neighbours.nodes)
        except STORE_FAILED as error:
            _log.warning("elsewhere.unread", error=type(error).__name__)
            return []

    async def _rung(self, org_id: OrgId) -> list[tuple[CallId, NodeId, AgentId | None]]:
        try:
            async with asyncio.timeout(PATIENCE_S), self._db.organisation(org_id) as connection:
                return await rows.ringing(connection, self._neighbours.nodes)
        except STORE_FAILED as error:
            _log.warning("elsewhere.unread", error=type(error).__name__)
            return []
