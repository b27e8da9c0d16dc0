"""Calls: events of SIP and media go to each call's pure machine, and its effects are carried out here.

One thing at a time: events that come while effects are being carried out wait in a queue, so a machine never sees itself half done.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, assert_never
from uuid import UUID

import structlog

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.model import EndReason, Side
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import CallId, NodeId, uuid7
from hushwire.media.certificates import Certificates
from hushwire.media.dtls import Failure
from hushwire.media.handshakes import Handshakes
from hushwire.media.link import MediaLink
from hushwire.media.model import DtlsDatagram, MediaEvent
from hushwire.media.wire import EventType
from hushwire.services.call_keys import CallKeys
from hushwire.services.call_media import CallMedia
from hushwire.services.call_quality import leg_name
from hushwire.services.call_rows import CallRows
from hushwire.services.identity import Authenticator, Unknown
from hushwire.services.live import LiveCall
from hushwire.services.quality_counts import QualityCounts
from hushwire.services.recorder import Recorder
from hushwire.services.records import Records
from hushwire.services.routing import Refused, Route, Router
from hushwire.services.sound_library import SoundLibrary
from hushwire.services.sounds import Playing, Sounds
from hushwire.services.spoken_refusals import SpokenRefusals
from hushwire.sip import effects as sip
from hushwire.sip.digits import TYPES as INFO_TYPES
from hushwire.sip.digits import parse_info
from hushwire.sip.effects import Cause, DialogKey, InviteId, RequestId, TxId
from hushwire.sip.flow import Flow
from hushwire.sip.headers import Line
from hushwire.sip.message import Request, Response
from hushwire.store.calls import CallAnswer
from hushwire.transport.endpoint import SipEndpoint
from hushwire.vault.buckets import DataKey
from hushwire.vault.pool import KeyPool

SILENT_DEVICE_S: Final = 8.0
SILENT_TRUNK_S: Final = 16.0
RENEW_WITHIN_S: Final = 15.0
"""How long after the loss of the media process both parties must have agreed to another bridge; then the call ends."""
SDP_TYPE: Final = "application/sdp"
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
        max_calls: int = 2000,
        renews_media: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._router = router
        self._authenticator = authenticator
        self._link = link
        self._records = records
        self._clock = clock
        self._random = random
        self._max_calls = max_calls
        self._renews_media = renews_media
        self._certificates = Certificates(clock)
        self._handshakes = Handshakes(lambda bridge, leg, datagrams: link.client.send_dtls(bridge, leg, datagrams), self)
        self._media = CallMedia(link, self._handshakes)
        self.keys = CallKeys(pool)
        self.sounds = Sounds(link, library, self._announced)
        self.recorder = Recorder(
            link, records, self.keys, clock, random, node_id, self._recording_impossible, router.may_record, self.sounds
        )
        self.spoken = SpokenRefusals(endpoint, link, self._handshakes, self._certificates, self.sounds, random, self._new_id)
        self.quality_counts = QualityCounts()
        self._rows = CallRows(records, self.recorder, node_id)
        self._calls: dict[CallId, LiveCall] = {}
        self._by_tx: dict[TxId, LiveCall] = {}
        self._by_invite: dict[InviteId, tuple[LiveCall, int]] = {}
        self._by_dialog: dict[DialogKey, LiveCall] = {}
        self._by_request: dict[RequestId, tuple[LiveCall, Side]] = {}
        self._queue: deque[sip.Event | _Item] = deque()
        self._is_draining = False
        self._is_closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------------------------------------ what is there

    @property
    def live(self) -> Iterable[LiveCall]:
        """Calls that are not over yet."""
        return self._calls.values()

    def find(self, call_id: CallId) -> LiveCall | None:
        """A call that is not over yet."""
        live = self._calls.get(call_id)
        return None if live is None or live.is_ended else live

    def knows(self, call_id: CallId) -> bool:
        """Whether a bridge of this name is ours to end: that of a call which is not wholly closed yet, or of a refusal being spoken."""
        return call_id in self._calls or self.spoken.knows(call_id)

    def find_recording(self, recording_id: UUID) -> LiveCall | None:
        """The call that is being recorded under this id."""
        return next((live for live in self._calls.values() if live.recording is not None and live.recording.id == recording_id), None)

    # ------------------------------------------------------------------------------------------------------------- inputs

    def on_sip(self, event: sip.Event) -> None:
        """Take an event of the SIP engine that concerns calls."""
        self._queue.append(event)
        self._drain()

    def feed(self, live: LiveCall, event: events.Event) -> None:
        """Give a call's machine an event."""
        self._queue.append((live, event))
        self._drain()

    def hang_up(self, live: LiveCall, reason: EndReason = EndReason.HANGUP) -> None:
        """End a call from our side."""
        self.feed(live, events.Stopped(reason))

    def obey_directory(self) -> None:
        """What changed of agents and numbers holds for calls under way too.

        Those of a suspended agent end, with BYE to both sides; the recording of who objected to it ends, and the call goes on.
        """
        for live in list(self._calls.values()):
            if live.is_ended:
                continue
            if self._router.is_barred(live.route):
                _log.info("call.barred", call_id=str(live.id))
                self.hang_up(live, EndReason.SUSPENDED)
            elif live.recording is not None and not self._router.may_record(live.route):
                self._spawn(self.recorder.objected(live), "recording-objected")

    def media_lost(self, *, is_gone: bool) -> None:
        """Every call's sound is lost. What becomes of the calls is decided here, by `[media] on_loss`.

        Both parties are told by BYE; or else, where the program is gone and the call was answered, by re-INVITE as soon as another run
        of it answers. Only a media process that is gone is known to record no more.
        """
        for live in list(self._calls.values()):
            live.has_bridge = live.has_bridge and not is_gone
            if is_gone and self._renews_media and live.call.state is State.ACTIVE:
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
        loop = asyncio.get_running_loop()
        live.renewal = loop.call_later(RENEW_WITHIN_S, self.feed, live, events.Stopped(EndReason.MEDIA_LOST))
        self.feed(live, events.MediaLost())

    def _renewed(self, live: LiveCall) -> None:
        _log.info("call.media_renewed", call_id=str(live.id))
        self._stop_renewal(live)
        self._format_changed(live)
        self._spawn(self.recorder.renewed(live), "recording-renewed")

    def _stop_renewal(self, live: LiveCall) -> None:
        if live.renewal is not None:
            live.renewal.cancel()
            live.renewal = None

    async def stop_recordings(self) -> None:
        """End every recording, since nobody can reach this node to pause or erase it; the calls go on as their organisations allow."""
        running = [live for live in self._calls.values() if live.recording is not None and not live.is_ended]
        await asyncio.gather(*(self.recorder.cut_off(live) for live in running))

    async def close(self, timeout_s: float) -> None:
        """Take no more calls, end those that there are with BYE on both sides, and see their rows written."""
        self._is_closing = True
        self.spoken.end_all()
        for live in list(self._calls.values()):
            self.feed(live, events.Stopped(EndReason.SHUTDOWN))
        end = asyncio.get_running_loop().time() + timeout_s
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        left = await self._records.drain(max(0.1, end - asyncio.get_running_loop().time()))
        if left:
            _log.error("records.lost", count=left, why="the database did not take them before the process had to end")

    def _drain(self) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        try:
            while self._queue:
                item = self._queue.popleft()
                try:
                    if isinstance(item, tuple):
                        self._handle(*item)
                    else:
                        self._sip(item)
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

    # ---------------------------------------------------------------------------------------------------------------- SIP

    def _sip(self, event: sip.Event) -> None:
        match event:
            case sip.RequestReceived():
                self._request(event.tx, event.request, event.flow)
            case sip.CancelReceived():
                live = self._by_tx.pop(event.tx, None)
                if live is not None:
                    self._cancelled(live)
                else:
                    self.spoken.cancelled(event.tx)
            case sip.Progress():
                found = self._by_invite.get(event.invite)
                if found is not None:
                    self._handle(found[0], events.Progressed(found[1], event.response.status, _sdp(event.response)))
            case sip.Accepted():
                self._accepted(event)
            case sip.Rejected():
                found = self._by_invite.pop(event.invite, None)
                if found is not None:
                    is_silent = event.cause in (Cause.TIMEOUT, Cause.TRANSPORT)
                    self._handle(found[0], events.Rejected(found[1], event.status, is_silent))
            case sip.AckReceived():
                self._in_dialog(event.dialog, lambda side: events.Acknowledged(side, _sdp(event.request)))
            case sip.DialogEnded():
                self._in_dialog(event.dialog, events.HungUp)
            case sip.DialogTimedOut():
                self._in_dialog(event.dialog, events.NeverAcknowledged)
            case sip.InDialogRequest():
                self._in_dialog_request(event)
            case sip.Responded():
                asked = self._by_request.pop(event.request, None)
                if asked is not None:
                    body = b"" if event.response is None else _sdp(event.response)
                    self._handle(asked[0], events.Reanswered(asked[1], event.status, body))
            case _:
                assert_never(event)

    def _in_dialog(self, dialog: DialogKey, make: Callable[[Side], events.Event]) -> None:
        live = self._by_dialog.get(dialog)
        side = None if live is None else live.side_of(dialog)
        if live is not None and side is not None:
            self._handle(live, make(side))

    def _in_dialog_request(self, event: sip.InDialogRequest) -> None:
        live = self._by_dialog.get(event.dialog)
        side = None if live is None else live.side_of(event.dialog)
        if live is None or side is None:
            self._endpoint.respond(event.tx, 481)
        elif event.request.method == "INVITE":
            if event.request.body and event.request.content_type != SDP_TYPE:
                self._endpoint.respond(event.tx, 415, headers=[("Accept", SDP_TYPE)])
            else:
                self._handle(live, events.Reoffered(side, event.tx, event.request.body))
        elif event.request.method == "INFO":
            self._keyed(live, side, event)
        else:
            self._endpoint.respond(event.tx, 405 if event.request.method == "UPDATE" else 501)

    def _keyed(self, live: LiveCall, side: Side, event: sip.InDialogRequest) -> None:
        """A key by INFO: the other party hears it as its own leg takes digits."""
        keyed = parse_info(event.request.content_type, event.request.body)
        if keyed is None:
            # RFC 6086 section 4.2.2: a package or a body that is not known here.
            self._endpoint.respond(event.tx, 415, headers=[("Accept", ", ".join(INFO_TYPES))])
            return
        self._endpoint.respond(event.tx, 200)
        end = live.call.end(side.other)
        if end is not None and live.has_bridge:
            self._spawn(self._media.key(live, end.terms.leg, keyed), "call-digits")

    def _accepted(self, event: sip.Accepted) -> None:
        found = self._by_invite.pop(event.invite, None)
        if found is None or found[0].is_ended:
            self._endpoint.bye(event.dialog)
            return
        live, branch = found
        live.branch_dialogs[branch] = event.dialog
        if live.call.state is State.RINGING:
            live.dialogs[Side.CALLEE] = event.dialog
            self._by_dialog[event.dialog] = live
        self._handle(live, events.Accepted(branch, _sdp(event.response)))

    def _request(self, tx: TxId, request: Request, flow: Flow) -> None:
        trunk = self._router.trunk_of(flow, request)
        known = None
        if trunk is None:
            identity = self._authenticator.identify(request)
            if isinstance(identity, Unknown):
                self._endpoint.respond(tx, identity.status, headers=identity.headers)
                return
            known = identity
        if request.method != "INVITE":
            self._endpoint.respond(tx, 501)
            return
        if request.body and request.content_type != SDP_TYPE:
            self._endpoint.respond(tx, 415, headers=[("Accept", SDP_TYPE)])
            return
        if self._is_closing or len(self._calls) >= self._max_calls or not self._link.is_up:
            self._endpoint.respond(tx, 503, headers=[("Retry-After", "5"), _reason("The gateway takes no calls now", 503)])
            return
        route: Route | Refused | None = None
        if known is not None:
            route = self._router.from_agent(known.org, known.agent, request, flow)
        elif trunk is not None:
            route = self._router.from_trunk(trunk, request, flow)
        match route:
            case None:
                self._endpoint.respond(tx, 404, headers=[_reason("No such number here", 404)])
            case Refused():
                self._refuse(tx, request, flow, route)
            case Route():
                self._begin(tx, request, flow, route)

    def _refuse(self, tx: TxId, request: Request, flow: Flow, refused: Refused) -> None:
        """Answer at once, or once the reason was spoken; the row follows."""
        if self.spoken.may_speak(request, refused):
            self._spawn(self.spoken.begin(tx, request, flow, refused), "call-refusal")
        else:
            self._endpoint.respond(tx, refused.status, headers=[("Reason", refused.reason)])
        key = self.keys.take(refused.org.id, "call")
        if key is None:
            self._spawn(self._note_refusal_with_key(refused), "call-refused")
        else:
            self._note_refusal(refused, key)

    async def _note_refusal_with_key(self, refused: Refused) -> None:
        self._note_refusal(refused, await self.keys.for_refusal(refused.org.id))

    def _note_refusal(self, refused: Refused, key: DataKey | None) -> None:
        call_id = self._new_id() if key is None else CallId(key.id)
        self._rows.refused(call_id, refused, key, self._clock.now())
        _log.info(
            "call.refused",
            call_id=str(call_id),
            direction=refused.direction.value,
            status=refused.status,
            reason=refused.end_reason if refused.verdict is None else refused.verdict.reason.value,
        )

    # -------------------------------------------------------------------------------------------------------- a call begins

    def _begin(self, tx: TxId, request: Request, flow: Flow, route: Route) -> None:
        certificate = self._certificates.current
        call = Call(route.plan, request.body, self._random, certificate.fingerprint)
        hops = request.max_forwards if request.max_forwards is not None else 70
        live = LiveCall(self._new_id(), route, call, flow, tx, self._clock.now(), self._clock.monotonic(), max(0, hops - 1), certificate)
        self._by_tx[tx] = live
        if self.keys.fill(live):
            self._start(live)
        else:
            self._spawn(self._start_with_keys(live), "call-keys")

    async def _start_with_keys(self, live: LiveCall) -> None:
        await self.keys.wait(live)
        if live.is_ended:
            self.keys.give_back(live)
        elif self._is_closing:
            self._endpoint.respond(live.tx, 503, headers=[_reason("The gateway takes no calls now", 503)])
        else:
            self._start(live)

    def _start(self, live: LiveCall) -> None:
        route = live.route
        if live.key is not None:
            live.id = CallId(live.key.id)
        if self._router.is_barred(route):
            # Suspended while the call waited for its keys.
            self.keys.give_back(live)
            self._by_tx.pop(live.tx, None)
            self._endpoint.respond(live.tx, 403, headers=[_reason("The agent is suspended", 403)])
            self._rows.unstarted(live, self._clock.now(), EndReason.SUSPENDED, 403)
            live.is_ended = True
            return
        if route.plan.is_recorded and live.recording_key is None:
            # No committed key, no recording: the organisation decides whether there is a call then.
            _log.error("recording.impossible", call_id=str(live.id), org_id=str(route.org.id), why="no key")
            if not route.may_go_unrecorded:
                self._by_tx.pop(live.tx, None)
                self._endpoint.respond(live.tx, 503, headers=[_reason("Recording is not possible", 503)])
                self._rows.unstarted(live, self._clock.now(), EndReason.NO_RECORDING, 503)
                live.is_ended = True
                return
        self._calls[live.id] = live
        self._rows.begin(live)
        _log.info("call.started", call_id=str(live.id), direction=route.plan.direction.value, targets=len(route.plan.targets))
        for effect in live.call.start():
            self._do(live, effect)

    def _cancelled(self, live: LiveCall) -> None:
        if live.call.state is State.NEW:
            live.is_ended = True
            self._rows.unstarted(live, self._clock.now(), EndReason.CANCELLED, 487)
            return
        self._handle(live, events.Cancelled())

    # ------------------------------------------------------------------------------------------------------------ effects

    def _handle(self, live: LiveCall, event: events.Event) -> None:
        for effect in live.call.handle(event):
            try:
                self._do(live, effect)
            except Exception as error:
                # The others must still happen: a BYE that can't be sent must not keep the bridge, or the other party, for ever.
                _log.error("call.internal_error", exc_info=error)
                if not live.is_ended and not isinstance(event, events.Stopped):
                    self._queue.append((live, events.Stopped(EndReason.INTERNAL_ERROR)))

    def _do(self, live: LiveCall, effect: effects.Effect) -> None:
        match effect:
            case effects.OpenMedia():
                opening = self._media.open if live.renewal is None else self._media.reopen
                self._spawn(self._fed(live, opening(live, effect)), "call-media")
            case effects.SetLegs():
                self._spawn(self._fed(live, self._media.state(live, effect.legs)), "call-legs")
            case effects.Respond():
                self._respond(live, effect)
            case effects.SendInvite():
                self._invite(live, effect)
            case effects.SendCancel():
                invite = live.invites.get(effect.branch)
                if invite is not None:
                    self._endpoint.cancel(invite, headers=_reasons(effect.reason))
            case effects.RespondReinvite():
                self._endpoint.respond(TxId(effect.tx), effect.status, body=effect.body)
            case effects.SendReinvite():
                self._reinvite(live, effect)
            case effects.SendBye():
                dialog = live.dialogs.get(effect.side)
                if dialog is not None:
                    self._endpoint.bye(dialog, headers=_reasons(effect.reason))
            case effects.ByeBranch():
                dialog = live.branch_dialogs.get(effect.branch)
                if dialog is not None:
                    self._endpoint.bye(dialog)
            case effects.ArmRing():
                loop = asyncio.get_running_loop()
                live.ring = loop.call_later(effect.seconds, self.feed, live, events.RingTimeout())
            case effects.Answered():
                self._answered(live)
            case effects.FormatChanged():
                self._format_changed(live)
            case effects.Ring():
                self._spawn(self.sounds.ring(live, effect.media), "call-ringing")
            case effects.StopRinging():
                self._spawn(self.sounds.stop_ringing(live), "call-ringing")
            case effects.MediaRenewed():
                self._renewed(live)
            case effects.Ended():
                self._ended(live, effect)
            case _:
                assert_never(effect)

    def _respond(self, live: LiveCall, effect: effects.Respond) -> None:
        dialog = self._endpoint.respond(live.tx, effect.status, body=effect.body, headers=_reasons(effect.reason))
        if effect.status >= 200:
            self._by_tx.pop(live.tx, None)
        if dialog is not None and effect.status < 300:
            live.dialogs[Side.CALLER] = dialog
            self._by_dialog[dialog] = live

    def _invite(self, live: LiveCall, effect: effects.SendInvite) -> None:
        target = effect.target
        invite = self._endpoint.invite(
            hop=target.hop,
            uri=target.uri,
            from_=target.from_,
            to=target.to,
            body=effect.body,
            headers=target.headers,
            credentials=target.credentials,
            max_forwards=live.max_forwards,
            silence_s=SILENT_TRUNK_S if live.call.to_trunk else SILENT_DEVICE_S,
        )
        live.invites[effect.branch] = invite
        self._by_invite[invite] = (live, effect.branch)

    def _reinvite(self, live: LiveCall, effect: effects.SendReinvite) -> None:
        dialog = live.dialogs.get(effect.side)
        request = None if dialog is None else self._endpoint.reinvite(dialog, body=effect.body)
        if request is None:
            # Theirs is under way (RFC 3261 section 14.1), as if they had said so.
            self._queue.append((live, events.Reanswered(effect.side, 491, b"")))
        else:
            self._by_request[request] = (live, effect.side)

    def _answered(self, live: LiveCall) -> None:
        self._stop_ringing(live)
        self._spawn(self.sounds.stop_ringing(live), "call-ringing")
        live.answered_at, live.answered = self._clock.now(), self._clock.monotonic()
        live.facts = agent, peer = live.legs()
        self._media.choice.answered(live)
        _log.info("call.answered", call_id=str(live.id), agent_media=agent.get("media"), peer_media=peer.get("media"))
        peer_agent = None if live.route.peer_agent is None else live.route.peer_agent.id
        answer = CallAnswer(live.id, live.answered_at, peer_agent, agent, peer)
        self._spawn(self.recorder.answered(live, answer), "call-answered")

    def _facts_changed(self, live: LiveCall) -> None:
        facts = live.legs()
        if facts != live.facts and live.answered_at is not None:
            live.facts = facts
            self._rows.legs(live, *facts)

    def _format_changed(self, live: LiveCall) -> None:
        self._facts_changed(live)
        if live.recording is not None:
            self._spawn(self.recorder.set_format(live), "recording-format")
        self._spawn(self.sounds.settle(live), "call-sounds")

    def _announced(self, live: LiveCall, playing: Playing) -> None:
        self.recorder.announced(live, playing)

    def _recording_impossible(self, live: LiveCall) -> None:
        if not live.route.may_go_unrecorded:
            self.feed(live, events.Stopped(EndReason.NO_RECORDING))

    # ---------------------------------------------------------------------------------------------------------- a call ends

    def _stop_ringing(self, live: LiveCall) -> None:
        if live.ring is not None:
            live.ring.cancel()
            live.ring = None

    def _ended(self, live: LiveCall, effect: effects.Ended) -> None:
        live.is_ended = True
        self._stop_ringing(live)
        self._stop_renewal(live)
        self._by_tx.pop(live.tx, None)
        for invite in live.invites.values():
            self._by_invite.pop(invite, None)
        for dialog in (*live.dialogs.values(), *live.branch_dialogs.values()):
            self._by_dialog.pop(dialog, None)
        duration_ms = None if live.answered is None else round((self._clock.monotonic() - live.answered) * 1000)
        _log.info("call.ended", call_id=str(live.id), reason=effect.reason.value, status=effect.status, duration_ms=duration_ms)
        self._spawn(self._close(live, effect, duration_ms), "call-close")

    async def _close(self, live: LiveCall, effect: effects.Ended, duration_ms: int | None) -> None:
        """Close the bridge, then write how the call and its recording ended, together."""
        ended_at = self._clock.now()
        async with live.working:
            report = await self._media.close(live)
            self.sounds.forget(live.id)
            self.keys.give_back(live)
            run, live.recording = live.recording, None
            if run is not None and report is None and live.has_bridge:
                # It may still hold the key: the row stays live until it, or its successor, says otherwise (the orphans' business).
                _log.warning("recording.end_unknown", call_id=str(live.id), recording_id=str(run.id))
                live.is_end_unknown, run = True, None
            if report is not None and live.answered is not None:
                self.quality_counts.note_call(report)
            written = self._rows.end(live, effect, ended_at, duration_ms, report, run)
        try:
            if await written and live.recording_events:
                self.recorder.acknowledge(live)
        finally:
            self._calls.pop(live.id, None)

    # -------------------------------------------------------------------------------------------------------------- media

    def media_event(self, event: MediaEvent) -> bool:
        """An event of the media process; False where no call here has to do with it (the orphans' business)."""
        live = self._calls.get(CallId(event.bridge_id))
        if live is None and self.spoken.knows(event.bridge_id):
            self.sounds.ended(event)
            if event.type is EventType.ICE_SELECTED:
                self.spoken.reached(event.bridge_id)
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
                    self._spawn(self._end_if_silent(live), "call-silent")
            case EventType.BRIDGE_CLOSED:
                live.has_bridge = False
                self.feed(live, events.Stopped(EndReason.MEDIA_LOST))
            case EventType.DIGIT:
                _log.debug("call.digit", call_id=str(live.id), leg=event.leg)
            case EventType.PLAY_ENDED:
                if self.sounds.ended(event):
                    return True
            case EventType.LEG_SOURCE:
                live.silent_legs.discard(-1 if event.leg is None else event.leg)
                if event.leg is not None and event.source is not None:
                    self._media.choice.heard(live, event.leg, event.source)
            case EventType.LEG_PORTS:
                # Before the answer a party may be silent; the media process tells it again, two seconds after.
                if event.leg is not None and live.call.state is State.ACTIVE:
                    self._spawn(self._fed(live, self._media.move(live, event.leg, event.trouble)), "call-ports")
            case EventType.ICE_SELECTED:
                if event.leg is not None:
                    self._media.reached(live, event.leg)
            case EventType.QUALITY:
                if live.quality.note(event.quality) and not live.is_ended:
                    self._rows.quality(live)
                return True
            case EventType.ONE_WAY_AUDIO:
                return self._not_heard(live, event)
            case EventType.CONSENT_LOST:
                # RFC 7675 section 5.1: nothing is sent there any more. The party may come back by another way, else silence ends the call.
                _log.warning("call.consent_lost", call_id=str(live.id), leg=event.leg)
        self._link.acknowledge(event.id)
        return True

    def _not_heard(self, live: LiveCall, event: MediaEvent) -> bool:
        """A party is not heard, or is again; acknowledged once that is written."""
        if event.leg is None or event.silence is None or live.is_ended:
            self._link.acknowledge(event.id)
            return True
        leg = leg_name(event.leg)
        live.quality.note_silence(event.leg, event.silence)
        self.quality_counts.note_one_way(event.leg, event.silence)
        _log.warning("call.one_way_audio", call_id=str(live.id), leg=leg, cause=event.silence.words)
        written = self._rows.one_way(live, self._clock.now(), leg, event.silence.words)
        written.add_done_callback(lambda _: self._link.acknowledge(event.id))
        return True

    def dtls_datagram(self, arrived: DtlsDatagram) -> None:
        """Something of a party's DTLS handshake."""
        self._handshakes.datagram(arrived)

    def keyed(self, bridge_id: UUID, leg: int) -> None:
        """A leg's party proved who it is: from now on its media flows."""
        if self.spoken.knows(bridge_id):
            self._spawn(self.spoken.keyed(bridge_id), "call-keyed")
            return
        live, keys = self._calls.get(CallId(bridge_id)), self._handshakes.keys(bridge_id, leg)
        if live is None or live.is_ended or keys is None:
            return
        live.suites[leg] = keys.sending.suite
        self._spawn(self._fed(live, self._media.state(live, (live.stated[leg],))), "call-keyed")
        self._facts_changed(live)

    def not_keyed(self, bridge_id: UUID, leg: int, failure: Failure) -> None:
        """A leg's party is not who its signalling says, or can't be reached: a call without protection is none."""
        self.spoken.not_keyed(bridge_id)
        live = self._calls.get(CallId(bridge_id))
        if live is not None and not live.is_ended:
            _log.warning("call.not_protected", call_id=str(live.id), leg=leg, reason=failure.value)
            self.feed(live, events.Stopped(EndReason.NOT_PROTECTED))

    def _recording_closed(self, live: LiveCall, event: MediaEvent) -> None:
        live.recording_events.append(event.id)
        result = event.report.recording
        # While the call is being closed, or a stop waits for its reply, that reply brings the same and the row is written once.
        if live.is_ended or live.working.locked() or result is None:
            return
        if live.recording is not None and live.recording.id == result.recording_id:
            live.recording = None
            _log.error("recording.ended_early", call_id=str(live.id), failure=result.failure)
            self.recorder.write_end(live.route.org.id, live, result)
            self._spawn(self.sounds.settle(live), "call-sounds")
            self._recording_impossible(live)
        else:  # a segment before, or one whose reply was lost; its row is closed once, however often it is told
            self.recorder.write_end(live.route.org.id, live, result)

    async def _end_if_silent(self, live: LiveCall) -> None:
        """Nobody is there any more, and nobody would ever say so."""
        if await self._media.is_silent(live):
            self.feed(live, events.Stopped(EndReason.MEDIA_TIMEOUT))

    # ------------------------------------------------------------------------------------------------------------ details

    async def _fed(self, live: LiveCall, work: Coroutine[Any, Any, events.Event | None]) -> None:
        event = await work
        if event is not None:
            self.feed(live, event)

    def _new_id(self) -> CallId:
        return CallId(uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10)))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception as error:
        _log.error("call.internal_error", task=name, exc_info=error)


def _sdp(message: Request | Response) -> bytes:
    return message.body if message.content_type == SDP_TYPE else b""


def _reason(text: str, status: int) -> Line:
    return ("Reason", f'SIP;cause={status};text="{text}"')


def _reasons(value: str | None) -> tuple[Line, ...]:
    return () if value is None else (("Reason", value),)
