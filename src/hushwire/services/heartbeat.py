"""A gateway's signs of life, and what follows where it can give none.

An erasure waits for the node that records. A node unseen for `NODE_IS_DEAD_AFTER` is not waited for: so one that is cut off from the
database, but lives, must have ended its recordings by then. Where the database itself is down nobody can ask for an erasure: recordings
go on, and the time unseen counts from the database's start on (`store/recordings.py`).
"""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import NodeId
from hushwire.media.link import MediaLink
from hushwire.services.calling import Calling
from hushwire.services.trunks import Trunks
from hushwire.store import nodes, trunk_states
from hushwire.store.database import STORE_FAILED, Database

HEARTBEAT_S: Final = 5.0
ANSWER_S: Final = 5.0
RETRY_S: Final = 1.0
CUT_OFF_AFTER_S: Final = 60.0
DOWN_FOR_S: Final = 3600.0
"""So long recordings go on without the database, where it is down for everybody."""
_log = structlog.get_logger(__name__)


class Heartbeat:
    """One gateway's."""

    def __init__(
        self,
        db: Database,
        link: MediaLink,
        calling: Calling,
        trunks: Trunks,
        clock: Clock,
        node_id: NodeId,
        started_at: datetime,
        *,
        sip: str | None = None,
        registrar: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self._db = db
        self._link = link
        self._calling = calling
        self._trunks = trunks
        self._clock = clock
        self._node_id = node_id
        self._started_at = started_at
        self._sip = sip
        self._registrar = registrar
        self._seen = self._down = clock.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # What counts is when it was sent: the database may note it any time later.
            sent = self._clock.monotonic()
            try:
                async with asyncio.timeout(ANSWER_S), self._db.transaction() as connection:
                    quality = json.dumps(self._calling.quality_counts.told())
                    await nodes.beat(
                        connection,
                        self._node_id,
                        self._started_at,
                        self._link.instance,
                        quality,
                        sip=self._sip,
                        registrar=json.dumps(self._registrar()),
                    )
                    await trunk_states.tell(connection, self._node_id, self._trunks.told(self._node_id))
            except STORE_FAILED as error:
                unseen_s = self._clock.monotonic() - self._seen
                _log.warning("node.unseen", error=type(error).__name__, unseen_s=round(unseen_s))
                if is_down(error):
                    self._down = sent
                # What no answer tells is whether others reach the database.
                if self._clock.monotonic() - max(self._seen, self._down) >= CUT_OFF_AFTER_S or unseen_s >= DOWN_FOR_S:
                    await self._calling.stop_recordings()
                await asyncio.sleep(RETRY_S)
            else:
                self._seen = sent
                await asyncio.sleep(HEARTBEAT_S)


def is_down(error: BaseException) -> bool:
    """Whether the database serves nobody: nothing listens where it should, or it says itself that it starts or ends."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, ConnectionRefusedError | FileNotFoundError | asyncpg.CannotConnectNowError)
