"""Recordings of live calls: begun, paused and ended together with their rows.

Order: the key is committed to the keyring (it comes from the pool so), then the row is committed, then packets are sealed. So nothing is
ever recorded that could not be found and erased. Where the database is away, the row goes onto the disk in the journal instead, and is
committed before anybody can ask for an erasure again. Both directions are recorded from the answer on; early media is not.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import LocalError, Unavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId, RecordingId
from hushwire.core.personal import Personal
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused, RecordingOrder, RecordingResult, RecordingState
from hushwire.policy.model import Emergency
from hushwire.privacy.consent import Declaration
from hushwire.services.call_journal import CallJournal
from hushwire.services.call_keys import CallKeys
from hushwire.services.live import LiveCall, RecordingRun
from hushwire.services.recorded_parties import Coming, found_by
from hushwire.services.recording_law import is_emergency_recorded
from hushwire.services.records import Records, StepWrite
from hushwire.services.route import Refused, Route
from hushwire.services.sound_settings import RecordFrom
from hushwire.services.sounds import Playing, Sounds
from hushwire.store import calls as rows
from hushwire.store import greetings, voicemail
from hushwire.store.calls import CallAnswer, NewRecording, RecordingEnd, Step
from hushwire.store.database import Connection
from hushwire.store.ids import new_id
from hushwire.vault.buckets import DataKey

ROW_WAIT_S: Final = 3.0
UNWRITTEN_MOST: Final = 1000
"""So many recordings may have begun while the database is away."""
UNCONFIRMED_RETRY_S: Final = 1.0
TOLD_WAIT_S: Final = 2.0
"""How long to wait for what became of a media process that does not answer; it is known within half a second (media/link.py)."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Admitted:
    """What the transaction that wrote a recording's row said of its key. `has_begun`: it was not waited for."""

    is_so: bool = False
    has_begun: bool = False


class Recorder:
    """Begins and ends recordings. `on_impossible` is told of a call that should be recorded and can't be.

    `may_record` says whether the far side of a call may be recorded, asked when a recording is to begin; `may_take_message` the same of who
    speaks into a mailbox. `sounds` announce recordings,
    and follow them with their beep.
    """

    def __init__(
        self,
        link: MediaLink,
        records: Records,
        keys: CallKeys,
        clock: Clock,
        random: Random,
        node_id: NodeId,
        on_impossible: Callable[[LiveCall], None],
        may_record: Callable[[Route], bool],
        may_take_message: Callable[[Route], bool],
        sounds: Sounds,
        journal: CallJournal,
    ) -> None:
        self._link = link
        self._journal = journal
        self._unwritten = 0
        self._records = records
        self._keys = keys
        self._clock = clock
        self._random = random
        self._node_id = node_id
        self._on_impossible = on_impossible
        self._may_record = may_record
        self._may_take_message = may_take_message
        self._sounds = sounds
        self._tasks: set[asyncio.Task[None]] = set()

    # Beginning.

    async def answered(self, live: LiveCall, answer: CallAnswer) -> None:
        """Write the answer; with a key, the recording's row in the same transaction, and then record.

        An announced recording begins once the announcement was heard, where it is set so. Without announcement there is none.
        """
        if live.recording_key is not None and self._may_record(live.route) and self._sounds.lacks_announcement(live):
            if live.route.org.sounds.record_from is RecordFrom.ANSWER:
                await self._record(live, answer)
                if live.recording is not None and not await self._sounds.announce(live, live.heard_early):
                    await self._not_announced(live)
                return
            self._write_answer(live, answer, None)
            if await self._sounds.announce(live, live.heard_early):
                await self._record(live, None)
            else:
                await self._not_announced(live)
            return
        await self._record(live, answer)

    async def take_message(self, live: LiveCall) -> bool:
        """Record who calls for a mailbox, a message or its owner's greeting; False, and a line in the log, where that can't be."""
        if not self._may_take_message(live.route):
            _log.info("voicemail.not_recorded", call_id=str(live.id), why="the caller objected, or is a minor")
            return False
        key, live.recording_key = live.recording_key, None
        key = key or await self._keys.made(live.route.org.id, "recording")
        if key is None:
            _log.error("voicemail.not_recorded", call_id=str(live.id), why="no recording key is ready")
            return False
        async with live.working:
            if not _is_talking(live) or live.recording is not None:
                live.recording_key = key
                self._keys.give_back(live)
                return False
            return await self._begin(live, key, None)

    def answered_unrecorded(self, live: LiveCall, answer: CallAnswer) -> None:
        """Write the answer of a call that is not to be recorded, or of which what of ours answered decides what is recorded, and when."""
        self._write_answer(live, answer, None)

    async def _record(self, live: LiveCall, answer: CallAnswer | None) -> None:
        key, live.recording_key = live.recording_key, None
        if key is None:
            if answer is not None:
                self._write_answer(live, answer, None)
            return
        async with live.working:
            if live.is_ended or not self._may_record(live.route):
                live.recording_key = key
                self._keys.give_back(live)
                if answer is not None:
                    self._write_answer(live, answer, None)
                return
            await self._begin(live, key, answer)
        if not self._may_record(live.route):
            await self.objected(live)  # while it began

    async def _not_announced(self, live: LiveCall) -> None:
        """Nobody is recorded who was not told, where telling is what the organisation set."""
        if live.is_ended:
            return
        await self.objected(live)
        self._keys.give_back(live)
        self._on_impossible(live)

    async def start(self, live: LiveCall) -> str:
        """Record from now on, on demand, and announced where that is set; `ok`, or why not."""
        if live.answering is not None:
            return "a message is recorded by itself, and nothing else of such a call"
        if live.route.org.record == "none":
            return "recording is switched off for this organisation"
        if isinstance(live.route.verdict, Emergency) and not is_emergency_recorded(live.route.org):
            return "emergency calls are not recorded here"
        if not self._may_record(live.route):
            if not live.route.org.may_record(live.route.places):
                return "all parties must agree to a recording there, and the organisation declares no consent"
            return "the other party is not recorded: it objected, or is a minor"
        if not _is_talking(live):
            return "the call is not answered"
        if live.recording is None and self._sounds.needs_announcement(live) and not await self._sounds.announce(live):
            return "the announcement could not be played"
        async with live.working:
            if not _is_talking(live):
                return "the call is not answered"
            if live.recording is not None:
                return "ok"
            key = self._keys.take(live.route.org.id, "recording")
            if key is None:
                return "no recording key is ready"
            return "ok" if await self._begin(live, key, None) else "the recording could not be begun"

    async def _begin(self, live: LiveCall, key: DataKey, answer: CallAnswer | None) -> bool:
        """The row, then the recording. A key that its customer's custody no longer admits is changed for another, once."""
        begun = await self._begin_with(live, key, answer)
        if begun is not None:
            return begun
        another = await self._keys.instead_of(live.route.org.id, key)
        if another is not None and (begun := await self._begin_with(live, another, None)) is not None:
            return begun
        _log.error("recording.not_begun", call_id=str(live.id), why="the customer's custody admits none of the keys that are ready")
        if not live.is_ended:
            self._on_impossible(live)
        return False

    async def _begin_with(self, live: LiveCall, key: DataKey, answer: CallAnswer | None) -> bool | None:
        """True once it records, False if it could not be begun, None where the key came too late and nothing was begun."""
        run = _run(key, live.segments)
        peer = live.route.peer_agent
        live.recording = run
        live.recordings.add(run.id)
        admitted = await self._admit(live, answer, self._row(live, run, live.route.agent.id, None if peer is None else peer.id))
        if admitted is None:
            _log.error("recording.not_begun", call_id=str(live.id), why="its row could not be written")
            live.recording = None
            self._fail(live, run)
            return False
        if live.recording is not run:
            return False  # `lost` took it: it goes on as the next segment
        if not admitted:
            live.recording = None
            return None
        try:
            await self._link.client.start_recording(live.id, self._order(live, run))
        except (MediaRefused, Unavailable) as error:
            if isinstance(error, Unavailable):
                await self._until_told(live, run)
            if live.recording is not run:
                return False
            _log.error("recording.not_begun", call_id=str(live.id), why=str(error))
            live.recording = None
            self._fail(live, run)
            if isinstance(error, Unavailable):
                self._spawn(self._end_unconfirmed(live), "recording-unconfirmed")
            return False
        run.is_running = True
        live.segments = run.segment + 1
        self._settle_beep(live)
        return True

    async def _until_told(self, live: LiveCall, run: RecordingRun) -> None:
        """Until the media process answers again, or has been declared dead: then `lost` took the recording."""
        end = asyncio.get_running_loop().time() + TOLD_WAIT_S
        while live.recording is run and not live.is_ended and not self._link.is_up:
            if asyncio.get_running_loop().time() > end:
                return
            await asyncio.sleep(0.02)

    def _row(
        self, live: LiveCall, run: RecordingRun, agent_id: AgentId, peer_agent_id: AgentId | None, coming: Coming | None = None
    ) -> NewRecording:
        far, further = found_by(live, coming)
        return NewRecording(
            id=RecordingId(run.id),
            call_id=live.id,
            agent_id=agent_id,
            peer_agent_id=peer_agent_id,
            node_id=self._node_id,
            segment=run.segment,
            remote_index=far,
            further_indexes=further,
            spool_name=run.spool_name,
            region=live.route.org.residency,
            # Who speaks into a mailbox, or makes its greeting, was told that it is recorded, and need not.
            lawful_basis=(Declaration.ANNOUNCED if _is_spoken_to_us(live.route) else live.route.org.consent).lawful_basis,
            started_at=self._clock.now(),
            key_fingerprint=run.key.fingerprint,
            custody=run.key.custody,
            custody_version=run.key.custody_version,
            key_good_until=run.key.good_until,
        )

    async def _admit(self, live: LiveCall, answer: CallAnswer | None, new: NewRecording) -> bool | None:
        """Commit the row: True if its key is good, False where the customer's custody does not admit it, None where it was not written."""
        admitted = _Admitted()
        written = self._write_answer(live, answer, new, admitted)
        end = asyncio.get_running_loop().time() + ROW_WAIT_S
        away = asyncio.ensure_future(self._records.away.wait())
        try:
            await asyncio.wait((written, away), timeout=ROW_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            away.cancel()
        if not written.done() and self._begins_unwritten(live, new):
            admitted.has_begun = True
            written.add_done_callback(lambda _: self._written_late(live, new))
            return True
        await asyncio.wait((written,), timeout=max(0.0, end - asyncio.get_running_loop().time()))
        return admitted.is_so if written.done() and written.result() else None

    def _begins_unwritten(self, live: LiveCall, new: NewRecording) -> bool:
        """Whether the recording may begin with its row in the journal alone, since the database is away.

        Not where a customer holds the key: what the customer decided meanwhile is not known. No message or
        greeting, which are in no mailbox without a row of theirs. And not beyond a number.
        """
        if live.route.mailbox is not None or new.custody != "hushwire" or self._unwritten >= UNWRITTEN_MOST or live.is_ended:
            return False
        live.unwritten[new.id] = new
        if not self._journal.secure(live):
            del live.unwritten[new.id]
            return False
        self._unwritten += 1
        _log.warning("recording.begun_unwritten", call_id=str(live.id), count=self._unwritten)
        return True

    def _written_late(self, live: LiveCall, new: NewRecording) -> None:
        self._unwritten -= 1
        live.unwritten.pop(new.id, None)
        if not live.is_ended:
            self._journal.changed(live)

    def _order(self, live: LiveCall, run: RecordingRun) -> RecordingOrder:
        return RecordingOrder(
            org_id=live.route.org.id,
            recording_id=run.id,
            segment=run.segment,
            data_key=run.key.key,
            file=run.spool_name,
            format=live.recording_format(),
            anchor_us=int(self._clock.now().timestamp() * 1_000_000),
        )

    def _settle_beep(self, live: LiveCall) -> None:
        self._spawn(self._sounds.settle(live), "recording-beep")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_unconfirmed(self, live: LiveCall) -> None:
        """End what the media process may have begun without our hearing of it: nobody could pause it, or wipe its key."""
        while True:
            async with live.working:
                if live.is_ended or live.recording is not None:
                    return
                try:
                    await self._link.client.stop_recording(live.id)
                    _log.warning("recording.unconfirmed_ended", call_id=str(live.id))
                    return
                except MediaRefused:
                    return
                except Unavailable:
                    pass
            await asyncio.sleep(UNCONFIRMED_RETRY_S)

    def _write_answer(
        self, live: LiveCall, answer: CallAnswer | None, recording: NewRecording | None, admitted: "_Admitted | None" = None
    ) -> asyncio.Future[bool]:
        org_id = live.route.org.id
        answered = [] if answer is None else [self.event(live, EventKind.CALL_ANSWERED, answer.answered_at)]
        if recording is None:
            assert answer is not None
            return self._records.write(org_id, "call.answered", StepWrite(Step.ANSWER, rows.answered(answer), answered))
        started = [self.event(live, EventKind.RECORDING_STARTED, self._clock.now(), recording=recording.id)]

        async def write(connection: Connection) -> list[DomainEvent]:
            if answer is not None:
                await rows.answer(connection, answer)
            has_begun = admitted is not None and admitted.has_begun
            is_begun = await rows.begin_recording(connection, org_id, recording, has_begun=has_begun)
            if is_begun and live.route.mailbox is not None and _is_spoken_to_us(live.route):
                begin = voicemail.begin if live.route.takes_message else greetings.begin
                await begin(connection, org_id, recording.id, live.route.mailbox.id, recording.started_at)
            if admitted is not None:
                admitted.is_so = is_begun
            return answered + started if is_begun else answered

        kind = "call.answered" if answer else "recording.begin"
        return self._records.write(org_id, kind, write, at_once=True)

    def _fail_row(self, live: LiveCall, run: RecordingRun) -> None:
        now = self._clock.now()
        recording_id = RecordingId(run.id)
        self._records.write(live.route.org.id, "recording.failed", lambda connection: rows.fail_recording(connection, recording_id, now))

    def _fail(self, live: LiveCall, run: RecordingRun) -> None:
        self._fail_row(live, run)
        if not live.is_ended:
            self._on_impossible(live)

    # While it runs.

    async def continue_as(
        self, live: LiveCall, agent_id: AgentId, peer_agent_id: AgentId | None = None, coming: Coming | None = None
    ) -> str:
        """Carry the recording on as its next segment, for whom the call goes on with (a transfer: `coming`); `ok`, or why not.

        The segment has a row, a key and a file of its own; each packet is in exactly one of the two. Where it can't be begun the
        present segment goes on.
        """
        async with live.working:
            run = live.recording
            if run is None or not run.is_running or live.is_ended:
                return "nothing is being recorded"
            key = await self._keys.made(live.route.org.id, "recording")
            if key is None:
                return "no recording key is ready"
            further = _run(key, run.segment + 1, is_paused=run.is_paused)
            live.recordings.add(further.id)
            if not await self._admit(live, None, self._row(live, further, agent_id, peer_agent_id, coming)):
                _log.error("recording.not_continued", call_id=str(live.id), why="its row could not be written, or its key is not admitted")
                self._fail_row(live, further)
                return "the next segment could not be begun"
            try:
                result = await self._link.client.switch_recording(live.id, self._order(live, further))
            except MediaRefused as error:
                _log.error("recording.not_continued", call_id=str(live.id), why=str(error))
                self._fail_row(live, further)
                return "the next segment could not be begun"
            except Unavailable:
                # Which of the two runs is not known. The row of each stays live until the media process says how it ended, or that it runs.
                _log.error("recording.continued_unconfirmed", call_id=str(live.id))
                self._spawn(self._settle(live, run, further), "recording-settle")
                return "hushwire-media did not answer"
            live.recording = further
            further.is_running = True
            live.segments = further.segment + 1
            self._settle_beep(live)
            await asyncio.shield(self.write_end(live.route.org.id, live, result))
            return "ok"

    async def _settle(self, live: LiveCall, before: RecordingRun, further: RecordingRun) -> None:
        """Find out which segment is recorded after an answer that was lost."""
        while True:
            async with live.working:
                if live.is_ended or live.recording is not before:
                    return
                try:
                    runs = {entry.bridge_id: entry.recording_id async for entry in self._link.client.bridges()}
                except Unavailable:
                    pass
                else:
                    if runs.get(live.id) == further.id:
                        live.recording, further.is_running = further, True
                        live.segments = further.segment + 1
                        self.put_right(live)  # who was to come may not have
                    elif runs.get(live.id) == before.id:
                        self._fail_row(live, further)
                    return
            await asyncio.sleep(UNCONFIRMED_RETRY_S)

    async def go_back(self, live: LiveCall) -> None:
        """Who was to come did not: carry the recording on with whom the call has, in a segment that names them, or end it."""
        if live.is_ended:
            return
        peer = live.route.peer_agent
        if await self.continue_as(live, live.route.agent.id, None if peer is None else peer.id) != "ok":
            await self.objected(live)
            self._on_impossible(live)

    def name_parties(self, live: LiveCall) -> None:
        """Let what is being recorded be found by the numbers of all who are in the call now."""
        if live.recording is None:
            return
        recording_id, (far, further) = RecordingId(live.recording.id), found_by(live)
        indexes = further if far is None else (far, *further)
        if indexes:
            org_id = live.route.org.id
            self._records.write(org_id, "recording.parties", lambda connection: rows.add_parties(connection, recording_id, indexes))

    async def take_in(self, live: LiveCall, number: Personal[str]) -> bool:
        """Let what is being recorded be found by the number of who comes into the call; False where that could not be written."""
        if live.recording is None:
            return True
        recording_id, index = RecordingId(live.recording.id), live.route.org.keys.index("calls.remote", number.reveal())
        org_id = live.route.org.id
        written = self._records.write(
            org_id, "recording.parties", lambda connection: rows.add_parties(connection, recording_id, (index,)), at_once=True
        )
        try:
            async with asyncio.timeout(ROW_WAIT_S):
                return await asyncio.shield(written)
        except TimeoutError:
            return False

    def put_right(self, live: LiveCall) -> None:
        """The same, and by its agents: the segment may have been begun for somebody who did not come after all."""
        self.name_parties(live)
        if live.recording is None:
            return
        recording_id, agent, peer = RecordingId(live.recording.id), live.route.agent.id, live.route.peer_agent
        peer_id = None if peer is None else peer.id
        self._records.write(
            live.route.org.id,
            "recording.agents",
            lambda connection: rows.set_recorded_agents(connection, recording_id, agent, peer_id),
        )

    async def pause(self, live: LiveCall) -> str:
        """Leave a marked gap from now on; `ok`, or why not."""
        async with live.working:
            run = live.recording
            if run is None or not run.is_running:
                return "nothing is being recorded"
            if not run.is_paused:
                await self._link.client.pause_recording(live.id)
                run.is_paused = True
                self._settle_beep(live)
            return "ok"

    async def resume(self, live: LiveCall) -> str:
        """Go on after a pause; `ok`, or why not."""
        async with live.working:
            run = live.recording
            if run is None and (lost := live.lost_recording) is not None and lost.is_paused:
                live.lost_recording = None
                return "ok" if await self._begin_further(live) else "the next segment could not be begun"
            if run is None or not run.is_running:
                return "nothing is being recorded"
            if run.is_paused:
                await self._link.client.resume_recording(live.id)
                run.is_paused = False
                self._settle_beep(live)
            return "ok"

    async def set_sensitive(self, live: LiveCall, *, on: bool) -> str:
        """From now on neither a digit is told nor anything recorded (a marked gap), or again; also for recordings that begin later."""
        async with live.working:
            if not live.has_bridge:
                return "the call has no sound yet"
            await self._link.client.set_sensitive(live.id, on=on)
            live.is_sensitive = on
            self._settle_beep(live)
            return "ok"

    async def stop(self, live: LiveCall) -> str:
        """End the recording while the call goes on; returns when its key is wiped and its row closed. `ok`, or why not."""
        async with live.working:
            if live.recording is None:
                return "ok"
            await asyncio.shield(await self._end(live))
            return "ok"

    async def objected(self, live: LiveCall) -> None:
        """End the recording of somebody who is not to be recorded any more; the call goes on, whatever the organisation's setting."""
        try:
            await self.stop(live)
        except (MediaRefused, Unavailable) as error:
            _log.error("recording.not_ended", call_id=str(live.id), why=str(error))

    def lost(self, live: LiveCall) -> None:
        """The media process died: what was recorded plays up to its last whole frame, and its row says so."""
        run, live.recording = live.recording, None
        if run is None:
            return
        live.lost_recording = run
        live.segments = max(live.segments, run.segment + 1)
        _log.error("recording.cut_short", call_id=str(live.id), recording_id=str(run.id), why="the media process died")
        end = RecordingEnd(RecordingId(run.id), self._clock.now())
        event = self.event(live, EventKind.RECORDING_CLOSED, end.ended_at, recording=end.id, crashed=True)

        async def write(connection: Connection) -> list[DomainEvent]:
            return [event] if await rows.close_recording(connection, end) else []

        self._records.write(live.route.org.id, "recording.closed", write, at_once=True)

    async def renewed(self, live: LiveCall) -> None:
        """The call goes on with another media process: so does its recording, as the next segment. What was paused waits for `resume`."""
        async with live.working:
            lost = live.lost_recording
            if lost is None or lost.is_paused or live.is_ended or live.recording is not None:
                return
            live.lost_recording = None
            if self._may_record(live.route):
                await self._begin_further(live)

    async def _begin_further(self, live: LiveCall) -> bool:
        key = self._keys.take(live.route.org.id, "recording")
        if key is None:
            _log.error("recording.not_continued", call_id=str(live.id), why="no recording key is ready")
            self._on_impossible(live)
            return False
        return await self._begin(live, key, None)

    async def cut_off(self, live: LiveCall) -> None:
        """End the recording while the database is away: its row is closed once it is back. What can't be ended now is tried again."""
        async with live.working:
            run = live.recording
            if run is None or live.is_ended:
                return
            try:
                await self._end(live)
            except (MediaRefused, Unavailable) as error:
                _log.error("recording.not_cut_off", call_id=str(live.id), why=str(error))
                return
        _log.error("recording.cut_off", call_id=str(live.id), recording_id=str(run.id), why="the database is away for too long")
        self._on_impossible(live)

    async def _end(self, live: LiveCall) -> asyncio.Future[bool]:
        result = await self._link.client.stop_recording(live.id)
        live.recording = None
        self._settle_beep(live)
        return self.write_end(live.route.org.id, live, result)

    async def set_format(self, live: LiveCall) -> None:
        """Tell a running recording that payload types mean something else now."""
        async with live.working:
            if live.recording is not None and live.recording.is_running:
                try:
                    await self._link.client.set_format(live.id, live.recording_format())
                except (MediaRefused, Unavailable) as error:
                    _log.warning("recording.format_not_set", call_id=str(live.id), why=str(error))

    # Ending.

    def write_end(self, org_id: OrgId, live: LiveCall, result: RecordingResult) -> asyncio.Future[bool]:
        """Close the row of a recording that ended while its call goes on; events of it are acknowledged after the commit."""
        end = recording_end(result, self._clock.now())
        event = self.event(live, EventKind.RECORDING_CLOSED, end.ended_at, recording=end.id)

        async def write(connection: Connection) -> list[DomainEvent]:
            return [event] if await rows.close_recording(connection, end) else []

        written = self._records.write(org_id, "recording.closed", write, at_once=True)
        written.add_done_callback(lambda _: self.acknowledge(live))
        return written

    def acknowledge(self, live: LiveCall) -> None:
        """The rows of this call's closed recordings are committed: the media process may forget them."""
        events, live.recording_events = live.recording_events, []
        try:
            self._link.acknowledge(*events)
        except LocalError:
            _log.debug("media.not_acknowledged", call_id=str(live.id))  # they come again

    def event(
        self, live: LiveCall, kind: EventKind, at: datetime, *, recording: UUID | None = None, **fields: str | int | bool | None
    ) -> DomainEvent:
        """A fact about the call, or about a recording of it, for the outbox."""
        agent_id = live.route.parties[0]
        facts = {"direction": live.route.plan.direction, "agent": None if agent_id is None else str(agent_id), **fields}
        if recording is not None:
            facts["call"] = str(live.id)
        return self.fact(live.route.org.id, kind, recording or live.id, at, facts)

    def fact(self, org_id: OrgId, kind: EventKind, subject: UUID, at: datetime, facts: dict[str, str | int | bool | None]) -> DomainEvent:
        """A fact for the outbox, with an id of its own."""
        identity = new_id(int(at.timestamp() * 1000), self._random.token_bytes(10))
        return DomainEvent(identity, org_id, kind, subject, at, facts)

    def announced(self, live: LiveCall, playing: Playing) -> None:
        """Keep the evidence that the announcement was heard to its end on a leg; the media process forgets it after the commit."""
        event_id, played = playing.event_id, playing.ended.result()
        event = self.event(
            live,
            EventKind.ANNOUNCEMENT_PLAYED,
            self._clock.now(),
            leg="agent" if playing.leg == 0 else "peer",
            when="before" if playing.is_early else "answer",
            announcement=playing.sound.digest.hex(),
            duration_ms=played.sent_ms,
        )

        async def write(_connection: Connection) -> list[DomainEvent]:
            return [event]

        written = self._records.write(live.route.org.id, "announcement.played", write, at_once=True)
        if event_id is not None:
            live.recording_events.append(event_id)
            written.add_done_callback(lambda _: self.acknowledge(live))

    def refusal(self, call_id: CallId, refused: Refused, at: datetime) -> DomainEvent:
        """CallRefused, for a call that never was one."""
        identity = new_id(int(at.timestamp() * 1000), self._random.token_bytes(10))
        reason = refused.end_reason if refused.verdict is None else refused.verdict.reason.value
        facts: dict[str, str | int | bool | None] = {"direction": refused.direction.value, "status": refused.status, "reason": reason}
        if refused.agent is not None:
            facts["agent"] = str(refused.agent.id)
        return DomainEvent(identity, refused.org.id, EventKind.CALL_REFUSED, call_id, at, facts)


def _run(key: DataKey, segment: int, *, is_paused: bool = False) -> RecordingRun:
    return RecordingRun(key, segment, f"{key.id}-{segment}.hwr", is_paused=is_paused)


def _is_spoken_to_us(route: Route) -> bool:
    return route.takes_message or route.makes_greeting


def _is_talking(live: LiveCall) -> bool:
    return not live.is_ended and live.answered_at is not None


def recording_end(result: RecordingResult, at: datetime) -> RecordingEnd:
    """The row's end for what the media process reports; without a final frame it counts as crashed, and its prefix plays."""
    if result.state is not RecordingState.CLOSED or not result.digest:
        return RecordingEnd(RecordingId(result.recording_id), at)
    return RecordingEnd(RecordingId(result.recording_id), at, result.duration_ms, result.frames, result.size_bytes, result.digest)
