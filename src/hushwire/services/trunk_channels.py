"""A carrier's channels are shared by all gateways of a database: each tells the others how many of its calls are with which carrier.

Told by NOTIFY, within a tenth of a second of a change, and again every few seconds; so two gateways that take a last channel within the
same tenth may both have it. While the database is away what was heard last counts: nobody takes more than was free then.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError
from hushwire.core.ids import NodeId, TrunkId
from hushwire.services.directory import Directory
from hushwire.store.database import Database

CHANNEL: Final = "hushwire_channels"
LOOK_S: Final = 0.1
TELL_AGAIN_S: Final = 5.0
FORGET_AFTER_S: Final = 20.0
"""A gateway that is not heard for so long, while others are, has no calls any more."""
_PORTION: Final = 100
"""Trunks of one notification, which may have 8,000 bytes."""
AWAY: Final = (LocalError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_log = structlog.get_logger(__name__)


class TrunkChannels:
    """One gateway's view. `in_use` counts its own calls of every trunk."""

    def __init__(
        self, db: Database, directory: Directory, in_use: Callable[[], Mapping[TrunkId, int]], clock: Clock, node_id: NodeId
    ) -> None:
        self._db = db
        self._directory = directory
        self._in_use = in_use
        self._clock = clock
        self._node_id = node_id
        self._told: dict[TrunkId, int] = {}
        self._elsewhere: dict[NodeId, dict[TrunkId, int]] = {}
        self._heard: dict[NodeId, float] = {}

    def elsewhere(self, trunk_id: TrunkId) -> int:
        """How many calls other gateways have with a carrier."""
        return sum(calls.get(trunk_id, 0) for calls in self._elsewhere.values())

    async def run(self) -> None:
        """Until cancelled."""
        await self._db.listen(CHANNEL, self._hear)
        told_at = -TELL_AGAIN_S
        while True:
            limited = {trunk.id for trunk in self._directory.trunks if trunk.channels is not None}
            own = {trunk_id: count for trunk_id, count in self._in_use().items() if trunk_id in limited} if limited else {}
            is_due = bool(limited) and self._clock.monotonic() - told_at >= TELL_AGAIN_S
            changed = own if is_due else {}
            changed |= {trunk_id: own.get(trunk_id, 0) for trunk_id in {*own, *self._told} if own.get(trunk_id) != self._told.get(trunk_id)}
            if changed or is_due:
                try:
                    await self._tell(changed)
                except AWAY as error:
                    _log.debug("trunk.channels_not_told", error=type(error).__name__)
                else:
                    self._told = own
                    told_at = self._clock.monotonic() if is_due else told_at
            self._forget()
            await asyncio.sleep(LOOK_S)

    async def _tell(self, calls: Mapping[TrunkId, int]) -> None:
        named = [(str(trunk_id), count) for trunk_id, count in calls.items()]
        portions = [named[at : at + _PORTION] for at in range(0, len(named), _PORTION)] or [[]]
        async with self._db.transaction() as connection:
            for portion in portions:
                told = json.dumps({"node": str(self._node_id), "calls": dict(portion)}, separators=(",", ":"))
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, told)

    def _hear(self, payload: str) -> None:
        """What a gateway said. Nothing was said where the connection was made anew: the others speak again soon."""
        if not payload:
            return
        try:
            told = json.loads(payload)
            node = NodeId(UUID(told["node"]))
            calls = {TrunkId(UUID(name)): max(0, int(count)) for name, count in told["calls"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("trunk.channels_unread")
            return
        self._heard[node] = self._clock.monotonic()
        if node != self._node_id:
            self._elsewhere.setdefault(node, {}).update(calls)

    def _forget(self) -> None:
        newest = self._heard.get(self._node_id)
        if newest is None:
            return
        # Who does not hear itself either is deaf: then nothing is known of the others.
        for node in [node for node, heard in self._heard.items() if newest - heard > FORGET_AFTER_S]:
            self._heard.pop(node)
            self._elsewhere.pop(node, None)
