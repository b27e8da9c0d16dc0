"""What is bounded over all gateways of a database: each tells the others how much of it its own calls have.

Calls with a carrier that has so many channels, calls of a masked session, an agent's visits to its mailbox, and whether an agent talks
who wants no second call. Told by NOTIFY, within a tenth of a second of a change, and again every few seconds; so two gateways that take
the last of something within the same tenth may both have it. While the database is away what was heard last counts: nobody takes more
than was free then.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, NodeId, TrunkId
from hushwire.services.told_counts import Place, ToldCounts, place_of, portions
from hushwire.store.database import STORE_FAILED, Database

CHANNEL: Final = "hushwire_channels"
LOOK_S: Final = 0.1
TELL_AGAIN_S: Final = 5.0
FORGET_AFTER_S: Final = 20.0
"""A gateway that is not heard for so long, while others are, has no calls any more."""
_log = structlog.get_logger(__name__)


class Counted(StrEnum):
    """What is counted, each by an id. ENGAGED is told beside the others: agents who are in a call, where further calls of theirs belong."""

    TRUNK = "trunk"
    MASKED = "masked"
    TALKING = "talking"
    VISIT = "visit"
    ENGAGED = "engaged"


Count = tuple[Counted, UUID]


class SharedCounts:
    """One gateway's view. `counted` is what its own calls have of everything that is bounded."""

    def __init__(self, db: Database, counted: Callable[[], Mapping[Count, int]], clock: Clock, node_id: NodeId) -> None:
        self._db = db
        self._counted = counted
        self._clock = clock
        self._node_id = node_id
        self._told: dict[Count, int] = {}
        self._elsewhere: ToldCounts[Count] = ToldCounts()
        self._heard: dict[NodeId, float] = {}

    def elsewhere(self, trunk_id: TrunkId) -> int:
        """How many calls other gateways have with a carrier that has so many channels."""
        return self._sum(Counted.TRUNK, trunk_id)

    def masked(self, session_id: UUID) -> int:
        """How many calls of a masked session other gateways have."""
        return self._sum(Counted.MASKED, session_id)

    def talks(self, agent_id: AgentId) -> bool:
        """Whether an agent who wants no second call talks by way of another gateway."""
        return self._sum(Counted.TALKING, agent_id) > 0

    def visits(self, agent_id: AgentId) -> int:
        """How often an agent is at its mailbox by way of other gateways."""
        return self._sum(Counted.VISIT, agent_id)

    def engaged_at(self, agent_id: AgentId) -> NodeId | None:
        """Another gateway at which an agent is in a call, where there is one that takes further calls."""
        key = (Counted.ENGAGED, agent_id)
        return next((node for node, counts in self._elsewhere.all().items() if counts.get(key)), None)

    def _sum(self, kind: Counted, id_: UUID) -> int:
        return sum(counts.get((kind, id_), 0) for counts in self._elsewhere.all().values())

    async def run(self) -> None:
        """Until cancelled."""
        await self._db.listen(CHANNEL, self._hear)
        told_at = -TELL_AGAIN_S
        while True:
            own = dict(self._counted())
            # Who tells nothing hears itself no more, and could not know of others that they are gone.
            is_due = bool(own or self._elsewhere) and self._clock.monotonic() - told_at >= TELL_AGAIN_S
            changed = dict(own) if is_due else {}
            changed |= {key: own.get(key, 0) for key in {*own, *self._told} if own.get(key, 0) != self._told.get(key, 0)}
            if changed or is_due:
                try:
                    await self._tell(changed, is_whole=is_due)
                except STORE_FAILED as error:
                    _log.debug("counts.not_told", error=type(error).__name__)
                else:
                    self._told = own
                    told_at = self._clock.monotonic() if is_due else told_at
            self._forget()
            await asyncio.sleep(LOOK_S)

    async def _tell(self, counts: Mapping[Count, int], *, is_whole: bool) -> None:
        async with self._db.transaction() as connection:
            for portion, place in portions(counts, is_whole=is_whole):
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, self._said(portion, place))

    def _said(self, counts: Mapping[Count, int], place: Place | None) -> str:
        said: dict[str, object] = {
            "node": str(self._node_id),
            "calls": {str(id_): count for (kind, id_), count in counts.items() if kind is Counted.TRUNK},
            "others": {
                f"{kind.value} {id_}": count for (kind, id_), count in counts.items() if kind not in (Counted.TRUNK, Counted.ENGAGED)
            },
            "engaged": {str(id_): count for (kind, id_), count in counts.items() if kind is Counted.ENGAGED},
        }
        return json.dumps(said if place is None else said | {"whole": place}, separators=(",", ":"))

    def _hear(self, payload: str) -> None:
        """What a gateway said. Nothing was said where the connection was made anew: the others speak again soon."""
        if not payload:
            return
        try:
            told = json.loads(payload)
            node = NodeId(UUID(told["node"]))
            counts = {(Counted.TRUNK, UUID(name)): max(0, int(count)) for name, count in told["calls"].items()}
            for name, count in told.get("others", {}).items():
                kind, _, id_ = name.partition(" ")
                counts[Counted(kind), UUID(id_)] = max(0, int(count))
            counts |= {(Counted.ENGAGED, UUID(name)): max(0, int(count)) for name, count in told.get("engaged", {}).items()}
            place = place_of(told)
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("counts.unread")
            return
        self._heard[node] = self._clock.monotonic()
        if node != self._node_id:
            self._elsewhere.hear(node, counts, place)

    def _forget(self) -> None:
        newest = self._heard.get(self._node_id)
        if newest is None:
            return
        # Who does not hear itself either is deaf: then nothing is known of the others.
        for node in [node for node, heard in self._heard.items() if newest - heard > FORGET_AFTER_S]:
            self._heard.pop(node)
            self._elsewhere.forget(node)
