"""What the media process says about calls: recordings, silence, sounds, ports, quality, and parties that proved who they are."""

from collections.abc import Callable
from uuid import UUID

import structlog

from hushwire.calls import events
from hushwire.calls.call import State
from hushwire.calls.model import EndReason
from hushwire.core.clock import Clock
from hushwire.core.values import replace
from hushwire.media.dtls import Failure
from hushwire.media.handshakes import Handshakes
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaEvent
from hushwire.media.wire import EventType
from hushwire.services.call_effects import CallEffects
from hushwire.services.call_media import CallMedia
from hushwire.services.call_quality import leg_name
from hushwire.services.call_rows import CallRows
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.keyed_transfers import KeyedTransfers
from hushwire.services.live import LiveCall
from hushwire.services.quality_counts import QualityCounts
from hushwire.services.recorder import Recorder
from hushwire.services.sounds import Sounds
from hushwire.services.spoken_refusals import SpokenRefusals

_log = structlog.get_logger(__name__)


class CallMediaEvents:
    """Finds the call that an event of the media process concerns. `feed` gives its machine what it should know.

    `on_unrecorded` is told of a call whose recording ended before the call did.
    """

    def __init__(
        self,
        link: MediaLink,
        table: CallTable,
        tasks: CallTasks,
        effects: CallEffects,
        media: CallMedia,
        handshakes: Handshakes,
        sounds: Sounds,
        spoken: SpokenRefusals,
        recorder: Recorder,
        rows: CallRows,
        quality_counts: QualityCounts,
        clock: Clock,
        feed: Callable[[LiveCall, events.Event], None],
        on_unrecorded: Callable[[LiveCall], None],
        keyed: KeyedTransfers,
    ) -> None:
        self._link = link
        self._table = table
        self._tasks = tasks
        self._effects = effects
        self._media = media
        self._handshakes = handshakes
        self._sounds = sounds
        self._spoken = spoken
        self._recorder = recorder
        self._rows = rows
        self._quality_counts = quality_counts
        self._clock = clock
        self._feed = feed
        self._on_unrecorded = on_unrecorded
        self._keyed = keyed

    def take(self, event: MediaEvent) -> bool:
        """An event of the media process; False where no call here has to do with it (the orphans' business)."""
        live = self._table.find(event.bridge_id, event.leg)
        if live is None and self._spoken.knows(event.bridge_id):
            self._sounds.ended(event)
            if event.type is EventType.ICE_SELECTED:
                self._spoken.reached(event.bridge_id)
            self._link.acknowledge(event.id)
            return True
        if live is None or (live.is_end_unknown and event.report.recording is not None):
            return False
        match event.type:
            case EventType.RECORDING_CLOSED | EventType.RECORDING_FAILED:
                self._recording_closed(live, event)
                return True
            case EventType.MEDIA_TIMEOUT:
                if self._media.note_silence(live, event.leg):
                    self._tasks.spawn(self._end_if_silent(live), "call-silent")
            case EventType.BRIDGE_CLOSED:
                live.has_bridge = False
                self._feed(live, events.Stopped(EndReason.MEDIA_LOST))
            case EventType.DIGIT:
                _log.debug("call.digit", call_id=str(live.id), leg=event.leg)
                if live.answering is not None and event.digit is not None:
                    live.answering.press(event.digit.digit.reveal())
                elif event.leg is not None and event.digit is not None:
                    self._keyed.heard(live, event.leg, event.digit)
            case EventType.PLAY_ENDED:
                if self._sounds.ended(event):
                    return True
            case EventType.LEG_SOURCE:
                live.silent_legs.discard(-1 if event.leg is None else event.leg)
                if event.leg is not None and event.source is not None:
                    self._media.choice.heard(live, event.leg, event.source)
            case EventType.LEG_PORTS:
                # Before the answer a party may be silent; the media process tells it again, two seconds after.
                if event.leg is not None and live.call.state is State.ACTIVE:
                    self._tasks.spawn(self._effects.fed(live, self._media.move(live, event.leg, event.trouble)), "call-ports")
            case EventType.ICE_SELECTED:
                if event.leg is not None:
                    self._media.reached(live, event.leg)
            case EventType.QUALITY:
                self._note_quality(live, event)
                return True
            case EventType.ONE_WAY_AUDIO:
                return self._not_heard(live, event)
            case EventType.CONSENT_LOST:
                # RFC 7675 section 5.1: nothing is sent there any more. The party may come back by another way, else silence ends the call.
                _log.warning("call.consent_lost", call_id=str(live.id), leg=event.leg)
        self._link.acknowledge(event.id)
        return True

    def keyed(self, bridge_id: UUID, leg: int) -> None:
        """A leg's party proved who it is: from now on its media flows."""
        if self._spoken.knows(bridge_id):
            self._tasks.spawn(self._spoken.keyed(bridge_id), "call-keyed")
            return
        live, keys = self._table.find(bridge_id, leg), self._handshakes.keys(bridge_id, leg)
        if live is None or live.is_ended or keys is None:
            return
        live.suites[leg] = keys.sending.suite
        self._tasks.spawn(self._effects.fed(live, self._media.state(live, (live.stated[leg],))), "call-keyed")
        self._effects.facts_changed(live)

    def not_keyed(self, bridge_id: UUID, leg: int, failure: Failure) -> None:
        """A leg's party is not who its signalling says, or can't be reached: a call without protection is none."""
        self._spoken.not_keyed(bridge_id)
        live = self._table.find(bridge_id, leg)
        if live is not None and not live.is_ended:
            _log.warning("call.not_protected", call_id=str(live.id), leg=leg, reason=failure.value)
            self._feed(live, events.Stopped(EndReason.NOT_PROTECTED))

    def _note_quality(self, live: LiveCall, event: MediaEvent) -> None:
        """Each leg's figures belong to the call whose leg it is: who joins another call is the agent of its own."""
        for one in (live, *live.guests.values()):
            own = tuple(leg for leg in event.quality if leg.leg in one.route.plan.legs)
            if one.joining is not None:
                own = tuple(replace(leg, leg=0) for leg in own)
            if own and one.quality.note(own) and not one.is_ended:
                self._rows.quality(one)

    def _not_heard(self, live: LiveCall, event: MediaEvent) -> bool:
        """A party is not heard, or is again; acknowledged once that is written."""
        if event.leg is None or event.silence is None or live.is_ended:
            self._link.acknowledge(event.id)
            return True
        leg = leg_name(event.leg) if live.joining is None else leg_name(0)
        live.quality.note_silence(event.leg, event.silence)
        self._quality_counts.note_one_way(event.leg, event.silence)
        _log.warning("call.one_way_audio", call_id=str(live.id), leg=leg, cause=event.silence.words)
        written = self._rows.one_way(live, self._clock.now(), leg, event.silence.words)
        written.add_done_callback(lambda _: self._link.acknowledge(event.id))
        return True

    def _recording_closed(self, live: LiveCall, event: MediaEvent) -> None:
        live.recording_events.append(event.id)
        result = event.report.recording
        # While the call is being closed, or a stop waits for its reply, that reply brings the same and the row is written once.
        if live.is_ended or live.working.locked() or result is None:
            return
        if live.recording is not None and live.recording.id == result.recording_id:
            live.recording = None
            _log.error("recording.ended_early", call_id=str(live.id), failure=result.failure)
            self._recorder.write_end(live.route.org.id, live, result)
            self._tasks.spawn(self._sounds.settle(live), "call-sounds")
            self._on_unrecorded(live)
        else:  # a segment before, or one whose reply was lost; its row is closed once, however often it is told
            self._recorder.write_end(live.route.org.id, live, result)

    async def _end_if_silent(self, live: LiveCall) -> None:
        """Nobody is there any more, and nobody would ever say so."""
        if await self._media.is_silent(live):
            self._feed(live, events.Stopped(EndReason.MEDIA_TIMEOUT))
