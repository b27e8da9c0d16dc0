"""What an earlier run left behind: bridges that still relay, calls whose rows say that they go on, recordings that nobody will close.

After kill -9 of the gateway the media process relays and records on. The next gateway closes those bridges and finishes the rows: the
parties' dialogs are unknown to it. Bridges of ours that nobody here knows (a close that was lost with its connection) end the same way.
"""

import asyncio
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.model import EndReason
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import Unavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import CallId, NodeId, OrgId, RecordingId, uuid7
from hushwire.media.link import MediaLink
from hushwire.media.model import BridgeReport, MediaEvent, MediaRefused, RecordingResult
from hushwire.media.wire import EventType
from hushwire.services.call_quality import of_report
from hushwire.services.calling import Calling
from hushwire.services.recorder import recording_end
from hushwire.store import calls, outbox, recordings
from hushwire.store.calls import CallEnd, RecordingEnd
from hushwire.store.database import STORE_FAILED, Connection, Database

RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)


class Orphans:
    """Ends what no call here belongs to."""

    def __init__(self, db: Database, link: MediaLink, calling: Calling, clock: Clock, random: Random, node_id: NodeId) -> None:
        self._db = db
        self._link = link
        self._calling = calling
        self._clock = clock
        self._random = random
        self._node_id = node_id
        self._events: list[MediaEvent] = []
        self._wake = asyncio.Event()
        self._reports: dict[UUID, BridgeReport] = {}

    def look(self) -> None:
        """There may be orphans: the gateway or the media process has just started."""
        self._wake.set()

    def media_event(self, event: MediaEvent) -> None:
        """An event that no call here has to do with."""
        if event.report.recording is None:
            self._link.acknowledge(event.id)
            if event.type is EventType.MEDIA_TIMEOUT:
                self._wake.set()  # a bridge that is silent and nobody's: its close was lost on the way
            return
        self._events.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled: look when told, and again while something stands in the way."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._end_all()
            except STORE_FAILED as error:
                _log.warning("orphans.delayed", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _end_all(self) -> None:
        # Which calls and recordings were live before the bridges are looked at: whatever begins meanwhile is nobody's orphan.
        async with self._db.transaction() as connection:
            live_calls = await calls.live(connection, self._node_id)
            live_recordings = await recordings.live(connection, self._node_id)
        is_known = await self._close_bridges()
        results: dict[UUID, RecordingResult] = {}
        events, self._events = self._events, []
        for report in (*(event.report for event in events), *self._reports.values()):
            if report.recording is not None:
                results[report.recording.recording_id] = report.recording
        try:
            for org_id, recording_id in live_recordings if is_known else ():
                if self._calling.find_recording(recording_id) is None:
                    await self._end_recording(org_id, recording_id, results.get(recording_id))
            for org_id, call_id in live_calls:
                if not self._calling.knows(call_id):
                    await self._end_call(org_id, call_id)
            if not is_known:
                raise Unavailable("the media process has not said what it still records")
        except STORE_FAILED:
            self._events = events + self._events
            raise
        self._link.acknowledge(*(event.id for event in events))
        self._reports.clear()

    async def _close_bridges(self) -> bool:
        """False where the media process does not answer: it may still be recording, so no recording's end may be believed."""
        try:
            client = self._link.client
            async for entry in client.bridges():
                if self._calling.knows(CallId(entry.bridge_id)):
                    continue
                _log.info("orphan.bridge_closed", call_id=str(entry.bridge_id), was_recording=entry.recording_id is not None)
                try:
                    self._reports[entry.bridge_id] = await client.close_bridge(entry.bridge_id)
                except MediaRefused:
                    continue  # it ended by itself between the two requests
        except Unavailable:
            _log.warning("orphans.media_away")
            return False
        return True

    async def _end_recording(self, org_id: OrgId, recording_id: RecordingId, result: RecordingResult | None) -> None:
        now = self._clock.now()
        end = RecordingEnd(recording_id, now) if result is None else recording_end(result, now)

        async with self._db.organisation(org_id) as connection:
            if await calls.close_recording(connection, end):
                await self._tell(connection, org_id, EventKind.RECORDING_CLOSED, recording_id, {"crashed": end.digest is None})
                _log.info("orphan.recording_closed", recording_id=str(recording_id), is_whole=end.digest is not None)

    async def _end_call(self, org_id: OrgId, call_id: CallId) -> None:
        now = self._clock.now()
        async with self._db.organisation(org_id) as connection:
            row = await calls.get_live(connection, call_id)
            if row is None:
                return
            duration_ms = None if row.answered_at is None else round((now - row.answered_at).total_seconds() * 1000)
            report = self._reports.get(row.bridge_id) if row.bridge_id is not None else None
            reason = EndReason.ORPHANED.value
            end = CallEnd(call_id, "ended", now, duration_ms, None, reason, of_report(report))
            if await calls.end(connection, end):
                await self._tell(connection, org_id, EventKind.CALL_ENDED, call_id, {"reason": reason, "duration_ms": duration_ms})
                _log.info("call.ended", call_id=str(call_id), reason=reason)

    async def _tell(
        self, connection: Connection, org_id: OrgId, kind: EventKind, subject: UUID, fields: dict[str, str | int | bool | None]
    ) -> None:
        now = self._clock.now()
        identity = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        await outbox.add(connection, DomainEvent(identity, org_id, kind, subject, now, fields))
