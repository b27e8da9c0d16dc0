"""Calls: events of SIP and media go to each call's pure machine, and its effects are carried out.

One thing at a time: events that come while effects are being carried out wait in a queue, so a machine never sees itself half done.
What a SIP event means is found in `call_signalling`, how a call begins in `call_starts`, what a machine wants is done in `call_effects`,
and what the media process says is heard in `call_media_events`; here they are joined, and the queue is kept.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls import events
from hushwire.calls.call import State
from hushwire.calls.effects import SetLegs
from hushwire.calls.model import EndReason
from hushwire.calls.voicemail import Lengths
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import CallId, NodeId
from hushwire.media.adoption import BridgeState
from hushwire.media.certificates import Certificates
from hushwire.media.dtls import Failure
from hushwire.media.handshakes import Handshakes
from hushwire.media.link import MediaLink
from hushwire.media.model import DtlsDatagram, MediaEvent
from hushwire.services.call_effects import CallEffects
from hushwire.services.call_journal import CallJournal, DeviceAt
from hushwire.services.call_keys import CallKeys
from hushwire.services.call_media import CallMedia
from hushwire.services.call_media_events import CallMediaEvents
from hushwire.services.call_rows import CallRows
from hushwire.services.call_signalling import CallSignalling
from hushwire.services.call_starts import CallStarts
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.conferences import Conferences
from hushwire.services.diversion import Diverting
from hushwire.services.elsewhere import Elsewhere
from hushwire.services.feature_settings import FeatureSettings
from hushwire.services.features import Dialled
from hushwire.services.greeting_calls import GreetingCalls
from hushwire.services.greetings import Greetings
from hushwire.services.handing_over import HandingOver
from hushwire.services.identity import Authenticator
from hushwire.services.kept import Kept
from hushwire.services.keyed_transfers import KeyedTransfers
from hushwire.services.live import LiveCall
from hushwire.services.live_rules import is_ruled_out
from hushwire.services.mailbox_calls import MailboxCalls
from hushwire.services.mailboxes import NoMailboxes
from hushwire.services.originating import Originating
from hushwire.services.own_greetings import OwnGreetings
from hushwire.services.port_choice import PortChoice
from hushwire.services.quality_counts import QualityCounts
from hushwire.services.recorder import Recorder
from hushwire.services.records import Records
from hushwire.services.replacing import Replacing
from hushwire.services.route import Route
from hushwire.services.routing import Router
from hushwire.services.shaken import Shaken
from hushwire.services.shared_counts import SharedCounts
from hushwire.services.sound_library import SoundLibrary
from hushwire.services.sounds import Playing, Sounds
from hushwire.services.spoken_refusals import SpokenRefusals
from hushwire.services.supervision import Supervision
from hushwire.services.takeovers import Takeovers
from hushwire.services.transfers import Transfers
from hushwire.services.trunk_attempts import TrunkAttempts
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.unheard_answers import UnheardAnswers
from hushwire.services.voicemail import Voicemail
from hushwire.services.voicemail_boxes import VoicemailBoxes
from hushwire.services.voicemail_reading import Asking
from hushwire.sip import effects as sip
from hushwire.sip.effects import TxId
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request
from hushwire.store.ids import new_id
from hushwire.transport.endpoint import SipEndpoint
from hushwire.vault.journal import Journal
from hushwire.vault.pool import KeyPool

RENEW_WITHIN_S: Final = 15.0
"""How long after the loss of the media process both parties must have agreed to another bridge; then the call ends."""
_LOOK_S: Final = 0.1
_log = structlog.get_logger(__name__)

_Item = tuple[LiveCall, events.Event]


class Calling:
    """All calls of this gateway."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        router: Router,
        authenticator: Authenticator,
        link: MediaLink,
        records: Records,
        pool: KeyPool,
        clock: Clock,
        random: Random,
        node_id: NodeId,
        *,
        library: SoundLibrary,
        trunks: TrunkStates,
        max_calls: int = 2000,
        renews_media: bool = False,
        agent_ports: str = "auto",
        journal: Journal | None = None,
        device_at: DeviceAt = lambda _agent, _flow: None,
        shaken: Shaken | None = None,
        counts: SharedCounts | None = None,
        mailboxes: VoicemailBoxes | None = None,
        asking: Asking | None = None,
        greetings: Greetings | None = None,
        lengths: Lengths | None = None,
        most_messages: int = 200,
        elsewhere: Elsewhere | None = None,
        handing: HandingOver | None = None,
        transfer_code: str | None = None,
    ) -> None:
        shaken = shaken or Shaken()
        self._endpoint = endpoint
        self._link = link
        self._router = router
        self._records = records
        self._clock = clock
        self._random = random
        self._renews_media = renews_media
        self.keys = CallKeys(pool)
        self.sounds = Sounds(link, library, self._announced)
        self.quality_counts = QualityCounts()
        self.table = CallTable(max_calls)
        self.handshakes = Handshakes(lambda bridge, leg, datagrams: link.client.send_dtls(bridge, leg, datagrams), self)
        self.certificates = certificates = Certificates(clock)
        self.journal = CallJournal(journal, endpoint, self.handshakes, device_at)
        self.recorder = Recorder(
            link,
            records,
            self.keys,
            clock,
            random,
            node_id,
            self._recording_impossible,
            router.rights.may_record,
            router.rights.may_take_message,
            self.sounds,
            self.journal,
        )
        self._spoken = SpokenRefusals(endpoint, link, self.handshakes, certificates, self.sounds, random, self._new_id)
        self._tasks = CallTasks()
        self.unheard = UnheardAnswers(link, self._tasks, self.feed)
        self._media = media = CallMedia(link, self.handshakes, PortChoice(agent_ports))
        self._rows = rows = CallRows(records, self.recorder, self.journal, clock, node_id, (lengths or Lengths()).least_s)
        attempts = TrunkAttempts(trunks, clock)
        diverting = Diverting(router, self.table.out_for)
        self._effects = CallEffects(
            endpoint,
            self.table,
            self._tasks,
            media,
            self.keys,
            self.sounds,
            self.recorder,
            rows,
            self.journal,
            self.quality_counts,
            attempts,
            diverting,
            shaken,
            clock,
            self.feed,
            self._left,
            self._successor,
        )
        self.voicemail = Voicemail(
            link,
            self.sounds,
            self.recorder,
            self._tasks,
            mailboxes or NoMailboxes(),
            clock,
            self.feed,
            router.rights.may_take_message,
            lengths or Lengths(),
            most_messages,
        )
        self._effects.on_answered_ourselves = self._answered_ourselves
        self._mailbox_calls = (
            None if mailboxes is None or asking is None else MailboxCalls(link, self.sounds, self._tasks, mailboxes, asking, self.feed)
        )
        self._greeting_calls: GreetingCalls | None = None
        if self._mailbox_calls is not None and greetings is not None:
            self._greeting_calls = GreetingCalls(link, self._mailbox_calls, self.recorder, self._tasks, greetings)
            self.voicemail.own = OwnGreetings(self._mailbox_calls, greetings)
        diverting.no_mailbox = self.voicemail.why_not
        router.availability.is_talking = lambda agent: self.table.is_talking(agent) or (counts is not None and counts.talks(agent))
        router.masked.calls = lambda session: self.table.masked(session) + (0 if counts is None else counts.masked(session))
        router.feature_routes.visits = lambda agent: self.table.visits(agent) + (0 if counts is None else counts.visits(agent))
        starts = CallStarts(
            endpoint,
            router,
            authenticator,
            link,
            self.table,
            self._tasks,
            self.keys,
            rows,
            self.sounds,
            self.journal,
            self._spoken,
            FeatureSettings(endpoint, records, self._spoken, clock, random),
            shaken,
            certificates,
            clock,
            random,
            self._new_id,
            self._handle,
            self._effects.carry_out,
            self._enter,
            self._left,
            self._successor,
            self._take,
            lambda request, flow: self._takeovers.bearer(request, flow),
            lambda agent: None if counts is None else counts.engaged_at(agent),
            lambda tx, flow, known, node, otherwise: (
                handing is not None and handing.over(tx, flow, known.agent.id, known.credential.id, node, otherwise)
            ),
            lambda live: self.is_locked(live),
        )
        self._starts = starts
        self.conferences = Conferences(
            router,
            starts,
            self.recorder,
            self.feed,
            self._tasks,
            lambda tx: endpoint.unanswered(tx) is not None,
            elsewhere,
            handing,
        )
        self._effects.lets_in = self.conferences.lets_in
        self.supervision = Supervision(router, starts, media, rows, self.feed)
        replacing = Replacing(
            endpoint,
            router.rights,
            router.phones,
            link,
            self.table,
            media,
            self.handshakes,
            self.recorder,
            self.sounds,
            rows,
            self.journal,
            self.feed,
        )
        self.originating = Originating(router, starts, media, replacing, self.feed)
        self._effects.on_caller_there = self.originating.caller_there
        self.originating.is_locked = lambda live: self.is_locked(live)
        if self._mailbox_calls is not None:
            self._mailbox_calls.call_back = self.originating.call_back
        self.transfers = Transfers(
            endpoint,
            authenticator,
            router,
            starts,
            self.table,
            self._tasks,
            self.sounds,
            replacing,
            self.journal,
            self.feed,
            elsewhere,
        )
        self._keyed_transfers = KeyedTransfers(transfer_code, self.transfers, link, media, self.sounds, self._tasks, clock)
        self._takeovers = Takeovers(
            endpoint,
            authenticator,
            router,
            starts,
            self.table,
            self.transfers.park,
            router.feature_routes.is_on,
            self._tasks,
            elsewhere,
            handing,
        )
        self._signalling = CallSignalling(
            endpoint,
            self.table,
            self._tasks,
            media,
            self.journal,
            starts,
            self._spoken,
            attempts,
            self._effects,
            self.transfers,
            self._takeovers,
            self._handle,
        )
        self._media_events = CallMediaEvents(
            link,
            self.table,
            self._tasks,
            self._effects,
            media,
            self.handshakes,
            self.sounds,
            self._spoken,
            self.recorder,
            rows,
            self.quality_counts,
            clock,
            self.feed,
            self._recording_impossible,
            self._keyed_transfers,
        )
        self.is_locked: Callable[[LiveCall], bool] = lambda _live: False
        """Whether the fraud breaker has locked what a call goes on by."""
        self._queue: deque[sip.Event | _Item] = deque()
        self._is_draining = False

    # ------------------------------------------------------------------------------------------------------ what is there

    @property
    def takes_calls(self) -> bool:
        """Whether calls are begun here now."""
        return not (self.table.is_closing or self.table.is_draining or self.table.is_full) and self._link.is_up

    @property
    def live(self) -> Iterable[LiveCall]:
        """Calls that are not over yet."""
        return self.table.calls.values()

    def find(self, call_id: CallId) -> LiveCall | None:
        """A call that is not over yet."""
        live = self.table.calls.get(call_id)
        return None if live is None or live.is_ended else live

    def knows(self, call_id: CallId) -> bool:
        """Whether a bridge of this name is ours to end: that of a call which is not wholly closed yet, or of a refusal being spoken."""
        return call_id in self.table.calls or self._spoken.knows(call_id)

    def find_recording(self, recording_id: UUID) -> LiveCall | None:
        """The call that is being recorded under this id, or was, and is not wholly closed yet."""
        return next((live for live in self.table.calls.values() if recording_id in live.recordings), None)

    def on_ended(self, told: Callable[[LiveCall], None]) -> None:
        """Have somebody told of each call as soon as it is over."""
        self._effects.on_ended = told

    # ------------------------------------------------------------------------------------------------------------- inputs

    def on_sip(self, event: sip.Event) -> None:
        """Take an event of the SIP engine that concerns calls."""
        self._queue.append(event)
        self._drain()

    def feed(self, live: LiveCall, event: events.Event) -> None:
        """Give a call's machine an event."""
        self._queue.append((live, event))
        self._drain()

    def media_event(self, event: MediaEvent) -> bool:
        """An event of the media process; False where no call here has to do with it (the orphans' business)."""
        return self._media_events.take(event)

    def dtls_datagram(self, arrived: DtlsDatagram) -> None:
        """Something of a party's DTLS handshake."""
        self.handshakes.datagram(arrived)

    def keyed(self, bridge_id: UUID, leg: int) -> None:
        """A leg's party proved who it is."""
        self._media_events.keyed(bridge_id, leg)
        self.kept_anew(self.find(CallId(bridge_id)))

    def not_keyed(self, bridge_id: UUID, leg: int, failure: Failure) -> None:
        """A leg's party did not, and will not."""
        self._media_events.not_keyed(bridge_id, leg, failure)

    def kept_anew(self, live: LiveCall | None) -> None:
        """Something of a call changed that no event of its machine tells: keys of a handshake, a recording that began or ended."""
        if live is not None:
            self.journal.changed(live)
            self.journal.commit()

    def hang_up(self, live: LiveCall, reason: EndReason = EndReason.HANGUP) -> None:
        """End a call from our side."""
        if live.call.state is State.NEW:
            self._starts.stopped(live, reason)
            return
        self.feed(live, events.Stopped(reason))

    def obey_directory(self) -> None:
        """What changed of agents and numbers holds for calls under way too.

        Those of a suspended agent or a revoked device end, with BYE to both sides, and so do those to where nobody may call any more, if
        the change was to hold for them (services/live_rules.py); the recording of who objected to it ends, and the
        call goes on.
        """
        for live in list(self.table.calls.values()):
            if live.is_ended:
                continue
            self.supervision.obey(live)
            if self.is_locked(live):
                _log.info("call.cut", call_id=str(live.id), why="locked")
                self.hang_up(live, EndReason.CREDENTIAL_LOCKED)
            elif self._router.rights.is_barred(live.route, live.credentials()):
                _log.info("call.barred", call_id=str(live.id))
                self.hang_up(live, EndReason.SUSPENDED)
            elif is_ruled_out(self._router.directory, self._router.verdicts, live):
                _log.info("call.ruled_out", call_id=str(live.id))
                self.hang_up(live, EndReason.RULES_CHANGED)
            elif live.recording is not None and not self._router.rights.may_record(live.route):
                self._tasks.spawn(self.recorder.objected(live), "recording-objected")

    def media_lost(self, *, is_gone: bool) -> None:
        """Every call's sound is lost. What becomes of the calls is decided here, by `[media] on_loss`.

        Both parties are told by BYE; or else, where the program is gone and the call was answered, by re-INVITE as soon as another run
        of it answers. Only a media process that is gone is known to record no more.
        """
        for live in list(self.table.calls.values()):
            live.has_bridge = live.has_bridge and not is_gone
            if is_gone and self._renews_media and live.call.state is State.ACTIVE and _is_renewable(live):
                self._renew(live)
            else:
                self.feed(live, events.Stopped(EndReason.MEDIA_LOST))

    def _renew(self, live: LiveCall) -> None:
        """Go on without a bridge until there is a new one; not for long."""
        _log.warning("call.media_renewing", call_id=str(live.id))
        self.sounds.forget(live.id)
        self.recorder.lost(live)
        live.silent_legs.clear()
        live.stated.clear()
        live.hears, live.recorded = {}, frozenset({0, 1})
        loop = asyncio.get_running_loop()
        live.renewal = loop.call_later(RENEW_WITHIN_S, self.feed, live, events.Stopped(EndReason.MEDIA_LOST))
        self.feed(live, events.MediaLost())

    def adopt(self, live: LiveCall, kept: Kept, found: BridgeState | None) -> None:
        """Go on with a call of the process before this one; `found` is its bridge, None where that is gone."""
        self.table.calls[live.id] = live
        for dialog in live.dialogs.values():
            self.table.by_dialog[dialog] = live
        for keyed in () if kept.talk is None else kept.talk.handshakes:
            self.handshakes.adopt(live.id, keyed.leg, keyed.remote, live.certificate, keyed.keys)
            live.suites[keyed.leg] = keyed.keys.sending.suite
        live.facts = live.legs()
        self.journal.changed(live)
        live.unwritten = {each.id: each for each in kept.unwritten}
        self.write_again(kept).add_done_callback(lambda _: live.unwritten.clear())
        if found is None:
            if self._renews_media:
                self._renew(live)
            else:
                self.feed(live, events.Stopped(EndReason.MEDIA_LOST))
            return
        for effect in live.call.resume():
            if isinstance(effect, SetLegs):
                self._tasks.spawn(self._effects.fed(live, self._media.adopt(live, effect.legs, found)), "call-adopted")
            else:
                self._effects.carry_out(live, effect)
        self._tasks.spawn(self.sounds.settle(live), "call-sounds")
        if live.call.plan.answered_by is not None:
            self._answered_ourselves(live)

    def write_again(self, kept: Kept) -> asyncio.Future[bool]:
        """Have the rows of a call of the process before this one say all that they should."""
        return self._rows.again(kept)

    async def stop_recordings(self) -> None:
        """End every recording, since nobody can reach this node to pause or erase it; the calls go on as their organisations allow."""
        running = [live for live in self.table.calls.values() if live.recording is not None and not live.is_ended]
        await asyncio.gather(*(self.recorder.cut_off(live) for live in running))

    async def drain(self, timeout_s: float, hurry: asyncio.Event) -> int:
        """Take no new calls but emergency ones, and return when those that there are have ended, or time is up, or `hurry` is set.

        What is left then is told. Within calls everything goes on: hold, transfer, conferences.
        """
        self.table.is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.table.calls and not hurry.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_S):
                            await hurry.wait()
        return len(self.table.calls)

    async def close(self, timeout_s: float) -> None:
        """Take no more calls, end those that there are with BYE on both sides, and see their rows written."""
        self.table.is_closing = True
        self._spoken.end_all()
        for live in list(self.table.calls.values()):
            self.feed(live, events.Stopped(EndReason.SHUTDOWN))
        end = asyncio.get_running_loop().time() + timeout_s
        await self._tasks.wait(timeout_s)
        left = await self._records.drain(max(0.1, end - asyncio.get_running_loop().time()))
        if left:
            _log.error("records.lost", count=left, why="the database did not take them before the process had to end")

    # ---------------------------------------------------------------------------------------------------------- the queue

    def _drain(self) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        try:
            # Nobody reads an answer before the journal has what follows from it.
            with self._endpoint.held():
                while self._queue:
                    item = self._queue.popleft()
                    try:
                        if isinstance(item, tuple):
                            self._handle(*item)
                        else:
                            self._signalling.take(item)
                    except Exception as error:
                        # Whatever one message does to us, the other calls go on. No words: they may hold a peer's bytes.
                        _log.error("call.internal_error", exc_info=error)
                        self._stop_broken(item)
        finally:
            self._is_draining = False

    def _stop_broken(self, item: sip.Event | _Item) -> None:
        if isinstance(item, tuple):
            live, event = item
            if not live.is_ended and not isinstance(event, events.Stopped):
                self._queue.append((live, events.Stopped(EndReason.INTERNAL_ERROR)))
        elif isinstance(item, sip.RequestReceived):
            self._endpoint.respond(item.tx, 500)

    def _handle(self, live: LiveCall, event: events.Event) -> None:
        wanted = live.call.handle(event)
        if wanted or live.call.state is State.ENDED:
            self.journal.changed(live)
        for effect in wanted:
            try:
                self._effects.carry_out(live, effect)
            except Exception as error:
                # The others must still happen: a BYE that can't be sent must not keep the bridge, or the other party, for ever.
                _log.error("call.internal_error", exc_info=error)
                if not live.is_ended and not isinstance(event, events.Stopped):
                    self._queue.append((live, events.Stopped(EndReason.INTERNAL_ERROR)))

    # ------------------------------------------------------------------------------------------------------------ details

    def _answered_ourselves(self, live: LiveCall) -> None:
        self.voicemail.answered(live)
        if self._mailbox_calls is not None:
            self._mailbox_calls.answered(live)
        if self._greeting_calls is not None:
            self._greeting_calls.answered(live)
        if live.answering is None:
            self.feed(live, events.Stopped(EndReason.INTERNAL_ERROR))  # nothing of ours knows what to say

    def _announced(self, live: LiveCall, playing: Playing) -> None:
        self.recorder.announced(live, playing)

    def _enter(self, tx: TxId, request: Request, flow: Flow, route: Route) -> None:
        self.conferences.enter(tx, request, flow, route)

    def _left(self, host: LiveCall) -> None:
        self.conferences.left(host)

    def _take(self, tx: TxId, request: Request, flow: Flow, route: Route, place: Dialled) -> None:
        self._takeovers.dialled(tx, request, flow, route, place)

    def _successor(self, live: LiveCall) -> None:
        self.transfers.changed(live)

    def _recording_impossible(self, live: LiveCall) -> None:
        if not live.route.may_go_unrecorded:
            self.feed(live, events.Stopped(EndReason.NO_RECORDING))

    def _new_id(self) -> CallId:
        return CallId(new_id(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10)))


def _is_renewable(live: LiveCall) -> bool:
    """Whether the parties can be told of another bridge: of two, who both have dialogs with us."""
    return live.joining is None and not live.route.plan.is_room and live.call.plan.answered_by is None
