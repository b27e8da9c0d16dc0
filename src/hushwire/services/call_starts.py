"""How calls begin: who asks, by which route, with which keys; and what is answered and written where none begins."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.guest import Guest
from hushwire.calls.model import EndReason
from hushwire.calls.originated import Originated
from hushwire.calls.room import Room
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, CallId, NodeId
from hushwire.core.values import replace
from hushwire.media.certificates import Certificate, Certificates
from hushwire.media.link import MediaLink
from hushwire.policy.model import Emergency
from hushwire.services.call_journal import CallJournal
from hushwire.services.call_keys import CallKeys
from hushwire.services.call_rows import CallRows
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.feature_settings import FeatureSettings
from hushwire.services.features import Dialled
from hushwire.services.handing_over import Bearer
from hushwire.services.identity import Authenticator, Known, Unknown
from hushwire.services.live import Joining, LiveCall, Wanted
from hushwire.services.route import Refused, Route, Wish
from hushwire.services.routing import Router
from hushwire.services.shaken import Shaken
from hushwire.services.sounds import Sounds
from hushwire.services.spoken_refusals import SpokenRefusals
from hushwire.sip import refusals
from hushwire.sip.effects import TxId
from hushwire.sip.flow import Flow
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.reason import Reason, is_answered_elsewhere
from hushwire.sip.refusals import REFUSALS
from hushwire.transport.endpoint import SipEndpoint
from hushwire.vault.buckets import DataKey

SDP_TYPE: Final = "application/sdp"
MAX_FORWARDS: Final = 70
"""RFC 3261 section 8.1.1.6."""
_log = structlog.get_logger(__name__)


class CallStarts:
    """Begins calls. `handle` gives a call's machine an event; `carry_out` does what it wants.

    `enter` takes who dials a conference; `on_left` is told of a call that one did not join after all,
    `on_successor` of who was to take a party's place and can't.
    """

    def __init__(
        self,
        endpoint: SipEndpoint,
        router: Router,
        authenticator: Authenticator,
        link: MediaLink,
        table: CallTable,
        tasks: CallTasks,
        keys: CallKeys,
        rows: CallRows,
        sounds: Sounds,
        journal: CallJournal,
        spoken: SpokenRefusals,
        settings: FeatureSettings,
        shaken: Shaken,
        certificates: Certificates,
        clock: Clock,
        random: Random,
        new_id: Callable[[], CallId],
        handle: Callable[[LiveCall, events.Event], None],
        carry_out: Callable[[LiveCall, effects.Effect], None],
        enter: Callable[[TxId, Request, Flow, Route], None],
        on_left: Callable[[LiveCall], None],
        on_successor: Callable[[LiveCall], None],
        take: Callable[[TxId, Request, Flow, Route, Dialled], None],
        bearer: Callable[[Request, Flow], Bearer | None] = lambda _request, _flow: None,
        engaged_at: Callable[[AgentId], NodeId | None] = lambda _agent: None,
        hand_over: Callable[[TxId, Flow, Known, NodeId, Callable[[], None]], bool] = lambda _tx, _flow, _known, _node, _otherwise: False,
        is_locked: Callable[[LiveCall], bool] = lambda _live: False,
    ) -> None:
        self._endpoint = endpoint
        self._router = router
        self._authenticator = authenticator
        self._link = link
        self._table = table
        self._tasks = tasks
        self._keys = keys
        self._rows = rows
        self._sounds = sounds
        self._journal = journal
        self._spoken = spoken
        self._settings = settings
        self._shaken = shaken
        self._certificates = certificates
        self._clock = clock
        self._random = random
        self._new_id = new_id
        self._handle = handle
        self._carry_out = carry_out
        self._enter = enter
        self._on_left = on_left
        self._on_successor = on_successor
        self._take = take
        self._bearer = bearer
        self._engaged_at = engaged_at
        self._hand_over = hand_over
        self._is_locked = is_locked

    def request(self, tx: TxId, request: Request, flow: Flow) -> None:
        """A request outside any dialog."""
        bearer = self._bearer(request, flow)
        trunk = None if bearer is not None else self._router.inbound.trunk_of(flow)
        known = None if bearer is None else bearer.known
        if trunk is None and known is None:
            identity = self._authenticator.identify(request, flow)
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
        # However many calls there are, one for help has its place.
        is_full = self._table.is_full and not (known is not None and self._router.calls_for_help(known.org, request, flow))
        if self._table.is_closing or is_full or not self._link.is_up:
            self._endpoint.respond(tx, 503, headers=[("Retry-After", "5"), _reason("closing")])
            return
        if known is not None:
            self._from_agent(tx, request, flow, known, bearer)
        elif trunk is not None:
            self._follow(tx, request, flow, self._router.inbound.from_trunk(trunk, request, flow))

    def _from_agent(
        self, tx: TxId, request: Request, flow: Flow, known: Known, bearer: Bearer | None = None, *, may_go: bool = True
    ) -> None:
        may_go = may_go and bearer is None and not known.credential.is_locked
        if may_go and self._goes_elsewhere(tx, request, flow, known):
            return
        seen = flow if bearer is None else bearer.seen
        route = self._router.from_agent(known.org, known.agent, request, seen, known.credential)
        if isinstance(route, Route) and (route.device_id is None or bearer is not None):
            route = replace(route, device_id=known.credential.id, through=None if bearer is None else bearer.through)
        self._follow(tx, request, flow, route, seen)

    def _follow(self, tx: TxId, request: Request, flow: Flow, route: Route | Refused | Wish | None, seen: Flow | None = None) -> None:
        """`seen`: as what who calls is seen, where it comes by way of another gateway."""
        match route:
            case None:
                self._endpoint.respond(tx, 404, headers=[_reason("no-such-number")])
            case Refused():
                self._refuse(tx, request, seen or flow, route)
            case Wish():
                self._tasks.spawn(self._settings.begin(tx, request, flow, route), "call-setting")
            case Route() if self._table.is_draining and not isinstance(route.verdict, Emergency):
                self._endpoint.respond(tx, 503, headers=[("Retry-After", "5"), _reason("draining")])
            case Route() if route.place is not None:
                self._take(tx, request, flow, route, route.place)
            case Route() if route.room is not None:
                self._enter(tx, request, flow, route)
            case Route():
                self._begin(tx, request, flow, route)

    def _goes_elsewhere(self, tx: TxId, request: Request, flow: Flow, known: Known) -> bool:
        """An agent's further call begins at the gateway that has the one that it is in: so it can transfer from one to the other."""
        node_id = self._engaged_at(known.agent.id)
        if node_id is None or self._table.is_talking(known.agent.id):
            return False
        if not self._router.may_begin_elsewhere(known.org, known.agent, request, flow):
            return False
        return self._hand_over(tx, flow, known, node_id, lambda: self._from_agent(tx, request, flow, known, may_go=False))

    def join(self, route: Route, joining: Joining) -> bool:
        """Ring somebody to join another call; False where the gateway takes no calls now."""
        if self._table.is_closing or self._table.is_full or not self._link.is_up:
            return False
        call = Guest(route.plan, self._random, self._certificates.current.fingerprint)
        live = self._made(route, call, None, None, MAX_FORWARDS, joining)
        joining.host.guests[joining.leg] = live
        self._start(live)
        return True

    async def originate(self, route: Route, wanted: Wanted) -> LiveCall | None:
        """Begin a call in an agent's name: its own phones ring. None where the gateway takes no calls now.

        It is begun, or over, when this returns, and has the name that it keeps.
        """
        if self.is_closed_to(route):
            return None
        call = Originated(route.plan, self._random, self._certificates.current.fingerprint)
        live = self._made(route, call, None, None, MAX_FORWARDS)
        live.wanted = wanted
        if self._keys.fill(live):
            self._start(live)
        else:
            await self._start_with_keys(live)
        return None if self._table.is_closing else live

    async def call_in(self, route: Route, joining: Joining) -> LiveCall | None:
        """Ring somebody to become a member of a conference; None where the gateway takes no calls now. As `originate`."""
        if self.is_closed_to(route) or joining.host.is_ended:
            return None
        live = self._made(route, Guest(route.plan, self._random, self._certificates.current.fingerprint), None, None, MAX_FORWARDS, joining)
        joining.host.guests[joining.leg] = live
        if self._keys.fill(live):
            self._start(live)
        else:
            await self._start_with_keys(live)
        return live

    def is_closed_to(self, route: Route) -> bool:
        """Whether no such call is begun here now."""
        is_emergency = isinstance(route.verdict, Emergency)
        return self._table.is_closing or self._table.is_full or not self._link.is_up or (self._table.is_draining and not is_emergency)

    def succeed(self, route: Route, joining: Joining) -> LiveCall | None:
        """Ring somebody to take a party's place; None where the gateway takes no calls now."""
        if self._table.is_closing or self._table.is_full or not self._link.is_up:
            return None
        call = Guest(route.plan, self._random, self._certificates.current.fingerprint)
        live = self._made(route, call, None, None, MAX_FORWARDS, joining)
        joining.host.guests[joining.leg] = live
        self._start_soon(live)
        return live

    def take_place(self, tx: TxId, request: Request, flow: Flow, route: Route, joining: Joining) -> LiveCall:
        """Answer who comes to take a party's place."""
        live = self._called(tx, request, flow, route, joining)
        joining.host.guests[joining.leg] = live
        self._start_soon(live)
        return live

    def room(self, route: Route) -> LiveCall:
        """Open a conference's room for who dialled it first; `settled` is set once it stands, or will not."""
        plan = replace(route.plan, is_room=True)
        live = self._made(replace(route, plan=plan, device_id=None), Room(plan, self._random), None, None, MAX_FORWARDS)
        self._start_soon(live)
        return live

    def member(self, tx: TxId, request: Request, flow: Flow, route: Route, joining: Joining) -> None:
        """Answer who dialled a conference, once its room stands."""
        live = self._called(tx, request, flow, route, joining)
        joining.host.guests[joining.leg] = live
        self._tasks.spawn(self._start_member(live, joining.host), "call-member")

    async def _start_member(self, live: LiveCall, room: LiveCall) -> None:
        await room.settled.wait()
        if not room.is_ended:
            self._start_soon(live)
        elif not live.is_ended:
            self._unstarted(live, EndReason.MEDIA_FAILED, "conference-failed")

    def decline(self, tx: TxId, code: str) -> None:
        """Refuse an INVITE of which nothing was begun, for one of the reasons of `sip.refusals`."""
        self._endpoint.respond(tx, REFUSALS[code].status or 500, headers=[_reason(code)])

    def cancelled(self, live: LiveCall, said: tuple[Reason, ...] = ()) -> None:
        """The caller gave up, perhaps before the call had begun."""
        if live.call.state is State.NEW:
            self._give_up(live, EndReason.ANSWERED_ELSEWHERE if is_answered_elsewhere(said) else EndReason.CANCELLED, 487)
            return
        self._handle(live, events.Cancelled(said))

    def stopped(self, live: LiveCall, why: EndReason) -> None:
        """We end it before it has begun: it waits for keys, or for who vouches for its caller's number."""
        if not live.is_ended:
            said = REFUSALS.get(why.value)
            self._unstarted(live, why, why.value if said is not None and (said.status or 0) >= 300 else "unavailable")

    def _refuse(self, tx: TxId, request: Request, flow: Flow, refused: Refused) -> None:
        """Answer at once, or once the reason was spoken; the row follows."""
        if self._spoken.may_speak(request, refused):
            self._tasks.spawn(self._spoken.begin(tx, request, flow, refused), "call-refusal")
        else:
            self._endpoint.respond(tx, refused.status, headers=[("Reason", refused.reason)])
        self.note_refusal(refused)

    def note_refusal(self, refused: Refused) -> None:
        """Write the row of what was refused; its agent may ask for it."""
        self._settings.access.refused(refused)
        key = self._keys.take(refused.org.id, "call")
        if key is None:
            self._tasks.spawn(self._note_refusal_with_key(refused), "call-refused")
        else:
            self._note_refusal(refused, key)

    async def _note_refusal_with_key(self, refused: Refused) -> None:
        self._note_refusal(refused, await self._keys.for_refusal(refused.org.id))

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

    def _begin(self, tx: TxId, request: Request, flow: Flow, route: Route) -> None:
        live = self._called(tx, request, flow, route)
        verifying = self._shaken.begin(live)
        if verifying is None:
            self._start_soon(live)
        else:
            self._tasks.spawn(self._start_verified(live, verifying), "call-verified")

    async def _start_verified(self, live: LiveCall, verifying: Coroutine[Any, Any, None]) -> None:
        """Begin once it is known whether the caller's number is vouched for, or was waited for long enough."""
        await verifying
        if live.is_ended:
            return
        if self._table.is_closing:
            self._answer(live, "closing")
            self._forget(live)
        else:
            self._start_soon(live)

    def _called(self, tx: TxId, request: Request, flow: Flow, route: Route, joining: Joining | None = None) -> LiveCall:
        certificate = self._certificates.current
        call = Call(route.plan, request.body, self._random, certificate.fingerprint)
        hops = request.max_forwards
        left = max(0, (MAX_FORWARDS if hops is None else hops) - 1)
        live = self._table.by_tx[tx] = self._made(route, call, flow, tx, left, joining, certificate)
        live.invite = request
        return live

    def _made(
        self,
        route: Route,
        call: Call,
        flow: Flow | None,
        tx: TxId | None,
        hops: int,
        joining: Joining | None = None,
        certificate: Certificate | None = None,
    ) -> LiveCall:
        now, begun = self._clock.now(), self._clock.monotonic()
        return LiveCall(self._new_id(), route, call, flow, tx, now, begun, hops, certificate or self._certificates.current, joining=joining)

    def _start_soon(self, live: LiveCall) -> None:
        if self._keys.fill(live):
            self._start(live)
        else:
            self._tasks.spawn(self._start_with_keys(live), "call-keys")

    async def _start_with_keys(self, live: LiveCall) -> None:
        await self._keys.wait(live)
        if live.is_ended:
            self._keys.give_back(live)
        elif self._table.is_closing:
            self._answer(live, "closing")
            self._forget(live)
        else:
            self._start(live)

    def _start(self, live: LiveCall) -> None:
        route = live.route
        if live.key is not None:
            live.id = CallId(live.key.id)
        if self._is_locked(live):
            self._keys.give_back(live)
            self._unstarted(live, EndReason.CREDENTIAL_LOCKED, "credential-locked")
            return
        if self._router.rights.is_barred(route):
            # Suspended while the call waited for its keys.
            self._keys.give_back(live)
            self._unstarted(live, EndReason.SUSPENDED, "suspended")
            return
        if route.plan.is_recorded and live.recording_key is None:
            # No committed key, no recording: the organisation decides whether there is a call then.
            _log.error("recording.impossible", call_id=str(live.id), org_id=str(route.org.id), why="no key")
            if not route.may_go_unrecorded:
                self._unstarted(live, EndReason.NO_RECORDING, "no-recording")
                return
        self._table.calls[live.id] = live
        self._rows.begin(live)
        _log.info("call.started", call_id=str(live.id), direction=route.plan.direction.value, targets=len(route.plan.targets))
        announces = self._router.rights.may_record(route) and self._sounds.announces_first(live)
        for effect in live.call.start(announces=announces):
            self._carry_out(live, effect)
        self._journal.changed(live)

    def _unstarted(self, live: LiveCall, why: EndReason, code: str) -> None:
        self._answer(live, code)
        self._give_up(live, why, REFUSALS[code].status or 500)

    def _give_up(self, live: LiveCall, why: EndReason, status: int) -> None:
        """It is over before anything was opened for it; its INVITE is answered."""
        self._rows.unstarted(live, self._clock.now(), why, status)
        self._forget(live)

    def _forget(self, live: LiveCall) -> None:
        live.is_ended = True
        live.opened.set()
        live.settled.set()
        if live.joining is not None:
            live.joining.host.guests.pop(live.joining.leg, None)
            self._on_left(live.joining.host)
            self._on_successor(live)

    def _answer(self, live: LiveCall, code: str) -> None:
        if live.tx is not None:
            self._table.by_tx.pop(live.tx, None)
            self._endpoint.respond(live.tx, REFUSALS[code].status or 500, headers=[_reason(code)])


def _reason(code: str) -> Line:
    return ("Reason", refusals.header(code))
