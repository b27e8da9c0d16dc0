"""What the calls' machines want, carried out: SIP sent, media stated, rows written."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, assert_never

import structlog

from hushwire.calls import effects, events
from hushwire.calls.model import EndReason, JoinedAs, Side
from hushwire.core.clock import Clock
from hushwire.core.values import replace
from hushwire.media.model import BridgeReport
from hushwire.services import emergencies
from hushwire.services.call_journal import CallJournal
from hushwire.services.call_keys import CallKeys
from hushwire.services.call_media import CallMedia
from hushwire.services.call_rows import CallRows
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.diversion import Diverting, Nowhere, Onward, TakeMessage
from hushwire.services.live import Joining, LiveCall, end_state
from hushwire.services.quality_counts import QualityCounts
from hushwire.services.recorder import Recorder
from hushwire.services.ring_groups import LONGEST_IN_TURN_S
from hushwire.services.shaken import Shaken
from hushwire.services.sounds import Sounds
from hushwire.services.trunk_attempts import TrunkAttempts
from hushwire.sip import effects as sip
from hushwire.sip import geolocation
from hushwire.sip.asserted import ANONYMOUS
from hushwire.sip.effects import TxId
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr
from hushwire.sip.useragent import SDP
from hushwire.store.calls import CallAnswer, CallEnd
from hushwire.transport.endpoint import SipEndpoint

SILENT_DEVICE_S: Final = 8.0
_log = structlog.get_logger(__name__)


class CallEffects:
    """Carries out effects. `feed` gives a call's machine what comes of them; `on_left` is told of a call that a guest has left,
    `on_successor` of one who is to take a party's place and is there, or is over, and of a call that is over while somebody was to."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        table: CallTable,
        tasks: CallTasks,
        media: CallMedia,
        keys: CallKeys,
        sounds: Sounds,
        recorder: Recorder,
        rows: CallRows,
        journal: CallJournal,
        quality_counts: QualityCounts,
        attempts: TrunkAttempts,
        diverting: Diverting,
        shaken: Shaken,
        clock: Clock,
        feed: Callable[[LiveCall, events.Event], None],
        on_left: Callable[[LiveCall], None],
        on_successor: Callable[[LiveCall], None],
    ) -> None:
        self._endpoint = endpoint
        self._table = table
        self._tasks = tasks
        self._media = media
        self._keys = keys
        self._sounds = sounds
        self._recorder = recorder
        self._rows = rows
        self._journal = journal
        self._quality_counts = quality_counts
        self._attempts = attempts
        self._diverting = diverting
        self._shaken = shaken
        self._clock = clock
        self._feed = feed
        self._on_left = on_left
        self.on_answered_ourselves: Callable[[LiveCall], None] = lambda _live: None
        """Told of a call that something of ours answered."""
        self.on_caller_there: Callable[[LiveCall, int | None], Awaitable[list[events.Event]]] = _nobody
        """Asked whom a call that we began is to ring, now that its caller is there."""
        self.lets_in: Callable[[LiveCall, LiveCall], Awaitable[bool]] = _everybody
        """Asked before a member of a conference hears and is heard there."""
        self._on_successor = on_successor
        self.on_ended: Callable[[LiveCall], None] = lambda _live: None
        """Told of each call that is over."""

    def carry_out(self, live: LiveCall, effect: effects.Effect) -> None:
        """One effect."""
        match effect:
            case effects.OpenMedia():
                opening = self._media.open if live.renewal is None else self._media.reopen
                self._tasks.spawn(self.fed(live, opening(live, effect)), "call-media")
            case effects.SetLegs():
                self._tasks.spawn(self.fed(live, self._media.state(live, effect.legs)), "call-legs")
            case effects.Respond():
                self._respond(live, effect)
            case effects.SendInvite():
                self._invite(live, effect)
            case effects.SendCancel():
                invite = live.invites.get(effect.branch)
                if invite is not None:
                    self._endpoint.cancel(invite, headers=_reasons(effect.reason))
            case effects.RespondReinvite():
                live.reoffer = None
                self._endpoint.respond(TxId(effect.tx), effect.status, body=effect.body)
            case effects.SendReinvite():
                self._reinvite(live, effect)
            case effects.ArmRetry():
                live.retries[effect.side] = asyncio.get_running_loop().call_later(
                    effect.seconds, self._feed, live, events.RetryDue(effect.side)
                )
            case effects.SendBye():
                dialog = live.dialogs.get(effect.side)
                if dialog is not None:
                    self._endpoint.bye(dialog, headers=_reasons(effect.reason))
            case effects.Succeed():
                self._succeed(live, effect)
            case effects.ByeBranch():
                dialog = live.branch_dialogs.get(effect.branch)
                if dialog is not None:
                    self._endpoint.bye(dialog)
            case effects.ArmRing():
                self._stop_ringing(live)
                loop = asyncio.get_running_loop()
                live.ring = loop.call_later(effect.seconds, self._feed, live, events.RingTimeout())
            case effects.DisarmRing():
                self._stop_ringing(live)
            case effects.AskDiversion():
                self._stop_ringing(live)
                self._tasks.spawn(self.fed(live, self._divert(live, effect)), "call-diversion")
            case effects.CallerThere():
                self._stop_ringing(live)
                self._tasks.spawn(self.fed(live, self._caller_there(live, effect.branch)), "call-destination")
            case effects.Answered():
                self._media.taken(live, live.route.answered_by(live.call.winner))
                self._answered(live)
            case effects.FormatChanged():
                self.format_changed(live)
            case effects.Announce():
                self._tasks.spawn(self.fed(live, self._announce(live)), "call-announcement")
            case effects.Ring():
                self._tasks.spawn(self._sounds.ring(live, effect.media), "call-ringing")
            case effects.StopRinging():
                self._stop_sounds(live)
            case effects.MediaRenewed():
                self._renewed(live)
            case effects.Ended():
                self._ended(live, effect)
            case _:
                assert_never(effect)

    async def fed(self, live: LiveCall, work: Coroutine[Any, Any, events.Event | list[events.Event] | None]) -> None:
        """Do this, and give the call's machine what comes of it."""
        outcome = await work
        for event in outcome if isinstance(outcome, list) else [outcome]:
            if event is not None:
                self._feed(live, event)

    async def _caller_there(self, live: LiveCall, branch: int | None) -> list[events.Event]:
        try:
            return await self.on_caller_there(live, branch)
        except Exception as error:
            _log.error("call.internal_error", exc_info=error)  # the caller waits for this
            return [events.Stopped(EndReason.INTERNAL_ERROR)]

    async def _announce(self, live: LiveCall) -> events.Event:
        try:
            await self._sounds.announce_early(live)
        except Exception as error:
            _log.error("call.internal_error", exc_info=error)  # the call waits for this; who was not told is told at answer
        return events.Announced()

    async def _divert(self, live: LiveCall, asked: effects.AskDiversion) -> list[events.Event]:
        deflected, live.deflected = live.deflected, None
        if live.route.group is not None and self._clock.monotonic() - live.started >= LONGEST_IN_TURN_S:
            return [events.NotDiverted()]
        try:
            answer = self._diverting.answer(live.id, live.route, live.call.tried, asked.reason, deflected)
            match answer:
                case Onward():
                    return await self._go_on(live, answer)
                case TakeMessage() if live.joining is not None:
                    return [events.NotDiverted()]  # nobody is there yet to leave one
                case TakeMessage():
                    return await self._take_message(live, answer)
                case Nowhere(diversions):
                    if diversions:
                        live.route = replace(live.route, diversions=(*live.route.diversions, *diversions))
                        self._rows.diverted(live)
                    return [events.NotDiverted()]
                case _:
                    assert_never(answer)
        except Exception as error:
            _log.error("call.internal_error", exc_info=error)  # the caller waits for this
            return [events.NotDiverted()]

    async def _take_message(self, live: LiveCall, taken: TakeMessage) -> list[events.Event]:
        """Nobody is on the callee's leg any more; who calls gets an answer of ours."""
        moved = await self._media.turn(live, taken.route)
        if moved is None:
            return [events.NotDiverted()]
        _log.info("call.diverted", call_id=str(live.id), reason=taken.route.diversions[-1].reason.value, leads_out=False)
        self._rows.diverted(live)
        self._journal.changed(live)
        return [*moved, taken.event]

    async def _go_on(self, live: LiveCall, onward: Onward) -> list[events.Event]:
        known = len(live.route.diversions)
        moved = await self._media.turn(live, onward.route)
        if moved is None:
            return [events.NotDiverted()]
        if len(onward.route.diversions) > known:
            last = onward.route.diversions[-1]
            _log.info("call.diverted", call_id=str(live.id), reason=last.reason.value, leads_out=last.leads_out)
            self._rows.diverted(live)
            self._journal.changed(live)
        return [*moved, onward.event]

    def facts_changed(self, live: LiveCall) -> None:
        """Write how the legs are protected, where that is not what was written before."""
        facts = live.legs()
        if facts != live.facts and live.answered_at is not None:
            live.facts = facts
            self._rows.legs(live, *facts)

    def format_changed(self, live: LiveCall) -> None:
        """A party agreed to other media: the row, the recording and the sounds follow."""
        self.facts_changed(live)
        recorded = live if live.joining is None else live.joining.host
        if recorded.recording is not None:
            self._tasks.spawn(self._recorder.set_format(recorded), "recording-format")
        self._tasks.spawn(self._sounds.settle(live), "call-sounds")

    def stop_renewal(self, live: LiveCall) -> None:
        """Wait no longer for another bridge."""
        if live.renewal is not None:
            live.renewal.cancel()
            live.renewal = None

    def _respond(self, live: LiveCall, effect: effects.Respond) -> None:
        if live.tx is None:
            return  # we rang, and nobody called
        dialog = self._endpoint.respond(live.tx, effect.status, body=effect.body, headers=_reasons(effect.reason))
        if effect.status >= 200:
            self._table.by_tx.pop(live.tx, None)
        if dialog is not None and effect.status < 300:
            if live.route.through is not None and Side.CALLER not in live.dialogs:
                self._endpoint.ua.move(dialog, live.route.through)  # the flow may be a connection that ends before the call
            live.dialogs[Side.CALLER] = dialog
            self._table.by_dialog[dialog] = live

    def _invite(self, live: LiveCall, effect: effects.SendInvite) -> None:
        target = effect.target
        if not self._attempts.begin(live, effect.branch):
            self._feed(live, events.Rejected(effect.branch, 503, is_silent=True))
            return
        body, content_type, told = effect.body, SDP, self._shaken.headers(live, effect.branch)
        # Made here, not with the target: what is kept of a call holds no address.
        where = emergencies.where(live, effect.branch, self._clock.now()) if live.is_emergency else None
        silence_s = SILENT_DEVICE_S if target.silence_s is None else target.silence_s
        if where is not None:
            live.located[effect.branch] = effect
            silence_s = emergencies.silence_s(live, effect.branch, silence_s)
            name = f"{live.id}/{effect.branch}"
            body, content_type, lines = geolocation.beside(effect.body, where.reveal(), name, target.from_.sip_uri.host)
            told = (*told, *lines)
        invite = self._endpoint.invite(
            hop=target.hop,
            uri=target.uri,
            from_=target.from_,
            to=target.to,
            body=body,
            content_type=content_type,
            headers=told,
            credentials=target.credentials,
            max_forwards=live.max_forwards,
            silence_s=silence_s,
            progress_s=target.progress_s,
        )
        live.invites[effect.branch] = invite
        self._table.by_invite[invite] = (live, effect.branch)

    def without_location(self, live: LiveCall, branch: int, event: sip.Rejected) -> bool:
        """Ask a carrier again at once, by plain SDP, where it may have failed for the document beside it; False where it did not."""
        sent = live.located.pop(branch, None)
        if sent is None or live.is_ended or not live.call.awaits(branch) or not emergencies.fails_for_document(live, branch, event):
            return False
        _log.warning(
            "call.location_not_taken", call_id=str(live.id), trunk=live.route.trunks[branch].name,  # type: ignore[union-attr]
            status=event.status, error=emergencies.location_error(event.response),
        )  # fmt: skip
        live.unlocated.add(branch)
        self._invite(live, sent)
        return True

    def _succeed(self, live: LiveCall, effect: effects.Succeed) -> None:
        before = live.dialogs.pop(effect.side, None)
        if before is not None:
            self._table.by_dialog.pop(before, None)
            live.left.setdefault(before, None)
            self._endpoint.bye(before, headers=_reasons(effect.reason))
        if live.newcomer is not None:
            live.dialogs[effect.side] = live.newcomer
            self._table.by_dialog[live.newcomer] = live
            live.newcomer = None

    def _reinvite(self, live: LiveCall, effect: effects.SendReinvite) -> None:
        dialog = live.dialogs.get(effect.side)
        who, lines = self._identity(live, effect.side)
        request = None if dialog is None else self._endpoint.reinvite(dialog, body=effect.body, headers=lines, identity=who)
        if request is None:
            # Theirs is under way (RFC 3261 section 14.1), as if they had said so.
            self._feed(live, events.Reanswered(effect.side, 491, b""))
        else:
            self._table.by_request[request] = (live, effect.side)

    def _answered(self, live: LiveCall) -> None:
        self._stop_ringing(live)
        self._stop_sounds(live)
        live.answered_at, live.answered = self._clock.now(), self._clock.monotonic()
        live.settled.set()
        live.facts = agent, peer = live.legs()
        self._media.choice.answered(live)
        _log.info("call.answered", call_id=str(live.id), agent_media=agent.get("media"), peer_media=peer.get("media"))
        peer_agent = None if live.route.peer_agent is None else live.route.peer_agent.id
        trunk = None if live.route.trunk is None else live.route.trunk.id
        devices = live.devices_that_answered()
        live.answer = answer = CallAnswer(live.id, live.answered_at, peer_agent, agent, peer, trunk, *devices, agent_id=live.route.agent.id)
        if live.call.plan.answered_by is not None:
            self._recorder.answered_unrecorded(live, answer)
            self.on_answered_ourselves(live)
            return
        if live.recording_key is None:
            self._recorder.answered_unrecorded(live, answer)
        else:
            self._tasks.spawn(self._record(live, answer), "call-answered")
        if live.joining is not None and live.joining.role is JoinedAs.SUCCESSOR:
            self._on_successor(live)
        elif live.joining is not None:
            self._tasks.spawn(self.fed(live, self._joined(live, live.joining)), "call-joined")

    @staticmethod
    def _identity(live: LiveCall, side: Side) -> tuple[NameAddr | None, tuple[Line, ...]]:
        """Who an agent talks with since its other party was replaced (RFC 4916, RFC 3325). The network behind a carrier is not told."""
        if side not in live.shown or live.party(side).agent is None:
            return None, ()
        shown = live.shown[side]
        if shown is None:
            return ANONYMOUS, (("P-Asserted-Identity", str(ANONYMOUS)), ("Privacy", "id"))
        return shown, (("P-Asserted-Identity", str(shown)),)

    def _own(self, live: LiveCall, report: BridgeReport | None) -> BridgeReport | None:
        """The figures of the call's own legs: those who joined it have rows of their own."""
        if report is None or live.joining is not None:
            return report
        wanted = live.route.plan.legs
        legs = tuple([leg for leg in report.legs if leg.leg in wanted])
        return report if len(legs) == len(report.legs) else replace(report, legs=legs)

    async def _joined(self, live: LiveCall, joining: Joining) -> events.Event | None:
        """The party of another call's leg is there: it hears and is heard as it was asked for, and that is written down."""
        host = joining.host
        is_told = joining.role is JoinedAs.MEMBER and host.route.plan.is_recorded and self._sounds.needs_announcement(live)
        if is_told and not await self._sounds.announce(live):
            # Nobody is recorded who was not told: until then it neither hears nor is heard.
            return events.Stopped(EndReason.NO_RECORDING)
        if joining.role is JoinedAs.MEMBER and not await self.lets_in(live, host):
            return events.Stopped(EndReason.NO_RECORDING)
        joining.is_in = True
        if not await self._media.arrange(host):
            return events.MediaFailed()
        _log.info("call.joined", call_id=str(live.id), joined=str(host.id), role=joining.role.value)
        self._rows.joined(live, joining)
        await self._recorder.set_format(host)
        return None

    async def _record(self, live: LiveCall, answer: CallAnswer) -> None:
        await self._recorder.answered(live, answer)
        if live.segments and not live.is_ended:
            self._journal.changed(live)
            self._journal.commit()

    def _renewed(self, live: LiveCall) -> None:
        _log.info("call.media_renewed", call_id=str(live.id))
        self.stop_renewal(live)
        self.format_changed(live)
        self._tasks.spawn(self._recorder.renewed(live), "recording-renewed")

    def _ended(self, live: LiveCall, effect: effects.Ended) -> None:
        live.is_ended = True
        live.opened.set()
        live.settled.set()
        self.on_ended(live)
        reason = effect.reason.value
        self._attempts.ended(live, reason)
        self._stop_ringing(live)
        self.stop_renewal(live)
        for retry in live.retries.values():
            retry.cancel()
        if live.answering is not None:
            live.answering.over()
        self._table.forget_parties(live)
        for guest in list(live.guests.values()):
            self._feed(guest, events.Stopped(EndReason.JOINED_ENDED))
        duration_ms = None if live.answered is None else round((self._clock.monotonic() - live.answered) * 1000)
        _log.info("call.ended", call_id=str(live.id), reason=reason, status=effect.status, duration_ms=duration_ms)
        # What the rows will say at least, wherever we die from now on.
        state = end_state(effect.reason, was_answered=live.answered is not None)
        live.end = CallEnd(
            live.id,
            state,
            self._clock.now(),
            duration_ms,
            effect.status,
            reason,
            None,
            transferred=live.transferred,
            took_parties_in=bool(live.replaced),
        )
        if live.transfer is not None or (live.joining is not None and live.joining.role is JoinedAs.SUCCESSOR):
            self._on_successor(live)
        self._tasks.spawn(self._close(live, effect, duration_ms), "call-close")

    async def _close(self, live: LiveCall, effect: effects.Ended, duration_ms: int | None) -> None:
        """Close the bridge, then write how the call and its recording ended, together."""
        ended_at = self._clock.now()
        async with live.working:
            report = self._own(live, await self._media.close(live))
            self._sounds.forget(live.id)
            self._keys.give_back(live)
            run, live.recording = live.recording, None
            if run is not None and report is None and live.has_bridge:
                # It may still hold the key: the row stays live until it, or its successor, says otherwise (the orphans' business).
                _log.warning("recording.end_unknown", call_id=str(live.id), recording_id=str(run.id))
                live.recordings.discard(run.id)
                live.is_end_unknown, run = True, None
            if report is not None and live.answered is not None:
                self._quality_counts.note_call(report)
            written = self._rows.end(live, effect, ended_at, duration_ms, report, run, self._attempts.facts(live))
            self._journal.soon(live)  # what it sounded like; that it is over was written before anybody was told
            if live.ended_recording is not None:
                self._journal.commit()
        try:
            if await written and live.recording_events:
                self._recorder.acknowledge(live)
        finally:
            self._table.calls.pop(live.id, None)
            self._journal.over(live)
            if live.joining is not None:
                self._on_left(live.joining.host)

    def _stop_sounds(self, live: LiveCall) -> None:
        if self._sounds.knows(live.id):
            self._tasks.spawn(self._sounds.stop_ringing(live), "call-ringing")

    def _stop_ringing(self, live: LiveCall) -> None:
        if live.ring is not None:
            live.ring.cancel()
            live.ring = None


async def _everybody(_live: LiveCall, _room: LiveCall) -> bool:
    return True


async def _nobody(_live: LiveCall, _branch: int | None) -> list[events.Event]:
    return [events.NotDiverted()]


def _reasons(value: str | None) -> tuple[Line, ...]:
    return () if value is None else (("Reason", value),)
