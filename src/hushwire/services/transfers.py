"""Transfers that a party asks for by REFER (RFC 3515, RFC 5589): blind to whom it names, attended to whom it talks with in another call.

A REFER is one more way out: who asks is proven by digest, whom it names is judged by the rules of the agent who asks, and only what is
allowed is rung, as a call of its own by that agent's right. Until somebody answers nothing changes for the other party; should the
agent hang up meanwhile it hears ringing, and comes back to the agent where nobody answers. What becomes of it is told by NOTIFY (RFC 3420).
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.calls import events
from hushwire.calls.call import State
from hushwire.calls.model import CallDirection, EndReason, JoinedAs, Side
from hushwire.calls.transfer import TransferKind
from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.services.call_journal import CallJournal
from hushwire.services.call_starts import CallStarts
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.elsewhere import Elsewhere
from hushwire.services.identity import Authenticator, Unknown
from hushwire.services.kept import KeptTransfer
from hushwire.services.live import Joining, LiveCall, Transfer
from hushwire.services.park import MOST_RETURNS, Park
from hushwire.services.park_words import ParkWords
from hushwire.services.replacing import ANSWERED, BROKE_OFF, Replacing
from hushwire.services.route import Refused, Route
from hushwire.services.routing import Router
from hushwire.services.snapshot import Agent
from hushwire.services.sound_library import SoundKind
from hushwire.services.sounds import Sounds
from hushwire.services.supervision import FIRST_LEG, MOST_LEGS
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey, SubscriptionId, TxId
from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request
from hushwire.sip.refer import SIPFRAG, refer_to, sipfrag
from hushwire.sip.refusals import REFUSALS, header
from hushwire.sip.subscriptions import EventName
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.transport.endpoint import SipEndpoint

KINDS: Final = frozenset({CallDirection.OUTBOUND, CallDirection.INBOUND, CallDirection.INTERNAL})
TAKEN: Final = frozenset({TransferKind.RETRIEVE, TransferKind.PICKUP, TransferKind.MOVE})
"""Not asked for by a party of the call: somebody comes of its own accord."""
_WHY: Final = {ANSWERED: EndReason.ANSWERED_ELSEWHERE, BROKE_OFF: EndReason.INTERNAL_ERROR}
"""What who came is told; of every other outcome, that its sound could not be moved."""
LONGEST_S: Final = 200
"""Of the subscription to a transfer: longer than anybody is rung."""
_ANONYMOUS: Final = NameAddr(SipUri("anonymous.invalid", "anonymous"), "Anonymous")
_log = structlog.get_logger(__name__)


class Transfers:
    """What parties of this gateway's calls ask for. `feed` gives a call's machine an event."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        authenticator: Authenticator,
        router: Router,
        starts: CallStarts,
        table: CallTable,
        tasks: CallTasks,
        sounds: Sounds,
        replacing: Replacing,
        journal: CallJournal,
        feed: Callable[[LiveCall, events.Event], None],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._endpoint = endpoint
        self._authenticator = authenticator
        self._router = router
        self._starts = starts
        self._table = table
        self._tasks = tasks
        self._sounds = sounds
        self._replacing = replacing
        self._journal = journal
        self._feed = feed
        self.park = Park(self._overdue, freed=self._freed)
        self._words = ParkWords(sounds)

    # What a party asks for.

    def refer(self, live: LiveCall, side: Side, event: sip.InDialogRequest) -> None:
        """Take a REFER that the party on `side` sent in its dialog, or say why not."""
        tx, request = event.tx, event.request
        agent = live.party(side).agent
        if agent is None:
            self._refuse(tx, "transfer-by-carrier")
            return
        identity = self._authenticator.identify(request, event.flow)
        if isinstance(identity, Unknown):
            self._endpoint.respond(tx, identity.status, headers=identity.headers)
        elif identity.agent.id != agent.id:
            self._refuse(tx, "foreign-call")
        elif not is_transferable(live):
            self._refuse(tx, "not-transferable")
        elif self._table.is_closing:
            self._refuse(tx, "closing")
        elif live.transfer is not None or live.call.state is not State.ACTIVE:
            self._refuse(tx, "being-transferred")
        else:
            self._take(live, side, identity.agent, event, identity.credential.id)

    def _take(self, live: LiveCall, side: Side, agent: Agent, event: sip.InDialogRequest, credential_id: UUID) -> None:
        try:
            wanted = refer_to(event.request)
        except ParseError:
            self._refuse(event.tx, "refer-to")
            return
        if wanted.replaces is not None:
            self._attended(live, side, agent, event, wanted.replaces.dialog)
        else:
            self._blind(live, side, agent, event, credential_id)

    # Blind.

    def _blind(self, live: LiveCall, side: Side, agent: Agent, event: sip.InDialogRequest, credential_id: UUID) -> None:
        leg = free_leg(live)
        if leg is None:
            self._refuse(event.tx, "too-many-parties")
            return
        value, shown = event.request.headers.listed("Refer-To")[0], self._shown(live, side.other)
        wanted = self._router.feature_routes.parks_at(live.route.org, value)
        if wanted is not None:
            self._take_in(live, side, agent, event, wanted)
            return
        route = self._router.successors.referred(live.route.org, agent, value, shown, leg, event.flow.remote.host, credential_id)
        if isinstance(route, Refused):
            self._endpoint.respond(event.tx, route.status, headers=[("Reason", route.reason)])
            self._starts.note_refusal(route)
            return
        transfer = live.transfer = Transfer(TransferKind.BLIND, side, agent)
        if not self._accept(live, transfer, event.tx, event.request):
            live.transfer = None
            return
        self._ring(live, transfer, route, leg)

    def keyed(self, live: LiveCall, side: Side, number: str) -> str | None:
        """Transfer to a number that the agent on `side` keyed in the call; why not, by a code of the catalogue of refusals, or None."""
        party, leg = live.party(side), free_leg(live)
        if party.agent is None or live.transfer is not None or not is_transferable(live):
            return "not-transferable"
        if leg is None or self._table.is_closing:
            return "closing" if self._table.is_closing else "too-many-parties"
        route = self._router.successors.keyed(live.route.org, party.agent, number, self._shown(live, side.other), leg, party.device_id)
        if isinstance(route, Refused):
            self._starts.note_refusal(route)
            return route.end_reason if route.verdict is None else route.verdict.reason.value
        transfer = live.transfer = Transfer(TransferKind.BLIND, side, party.agent, is_keyed=True)
        self._ring(live, transfer, route, leg)
        return None

    def _ring(self, live: LiveCall, transfer: Transfer, route: Route, leg: int) -> None:
        _log.info("transfer.begun", call_id=str(live.id), kind=transfer.kind.value)
        with self._to_its_end(live):
            transfer.successor = self._starts.succeed(route, Joining(live, leg, JoinedAs.SUCCESSOR))
            if transfer.successor is None or transfer.successor.is_ended:
                self._failed(live, transfer, 503)

    def progressed(self, successor: LiveCall, status: int) -> None:
        """Who is to take a party's place is being rung."""
        transfer = _of(successor)
        if transfer is not None and successor.joining is not None and not transfer.is_return:
            self._tell(successor.joining.host, transfer, 180 if status == 183 else status)

    def changed(self, live: LiveCall) -> None:
        """Who was to take a place answered, or is over; or a call is over in which somebody was to."""
        if live.transfer is not None and live.is_ended:
            given_up, live.transfer = live.transfer, None
            self.park.taken(live)
            self._tell(live, given_up, 487, is_final=True)
            return
        transfer = _of(live)
        if transfer is None or live.joining is None or live.transferred is not None:
            return
        host = live.joining.host
        if not live.is_ended:
            self._spawn(host, self._answered(host, transfer, live), "call-transfer")
        else:
            status = None if live.end is None else live.end.sip_status
            with self._to_its_end(host):
                self._failed(host, transfer, 480 if status is None else status)

    async def _answered(self, host: LiveCall, transfer: Transfer, successor: LiveCall) -> None:
        side = Side.CALLEE if successor.tx is None and successor.flow is None else Side.CALLER
        kind = TransferKind.RETURN if transfer.is_return else transfer.kind
        outcome = await self._replacing.replace(
            host, transfer.side, successor, side, kind=kind, by=transfer.by.id, told=lambda: self._done(host, transfer)
        )
        if outcome != "ok":
            _log.warning("transfer.not_done", call_id=str(host.id), why=outcome)
            self._feed(successor, events.Stopped(_WHY.get(outcome, EndReason.MEDIA_FAILED)))

    # Attended.

    def _attended(self, live: LiveCall, side: Side, agent: Agent, event: sip.InDialogRequest, named: DialogKey) -> None:
        transfer = Transfer(TransferKind.ATTENDED, side, agent)
        if not self._accept(live, transfer, event.tx, event.request):
            return
        found = self._own(live, agent, named)
        if found is None:
            # Whatever is wrong with it: nobody learns which dialogs there are. The REFER itself was in a dialog that is there, so it is not
            # what is answered so (RFC 5057 section 5.1: 481 would end that one).
            _log.info("transfer.refused", call_id=str(live.id), why="no such dialog of the agent's")
            self._tell(live, transfer, 481, is_final=True)
            return
        live.transfer = transfer
        _log.info("transfer.begun", call_id=str(live.id), kind=transfer.kind.value)
        self._spawn(live, self._join(live, transfer, *found), "call-transfer")

    def _own(self, live: LiveCall, agent: Agent, named: DialogKey) -> tuple[LiveCall, Side] | None:
        """The other call of this agent whose dialog is named by all three of its names, and the side of the agent in it."""
        other = self._table.by_dialog.get(named)
        side = None if other is None else other.side_of(named)
        if other is None or side is None or other is live or other.route.org.id != live.route.org.id:
            return None
        party = other.party(side)
        if party.agent is None or party.agent.id != agent.id or other.transfer is not None:
            return None
        rings = other.call.state in (State.OPENING, State.ANNOUNCING, State.RINGING) and side is Side.CALLER
        is_fit = other.joining is None and other.route.plan.direction in KINDS and not other.is_ended
        return (other, side) if is_fit and (rings or is_transferable(other)) else None

    async def _join(self, live: LiveCall, transfer: Transfer, other: LiveCall, side: Side) -> None:
        if other.call.state is not State.ACTIVE:
            self._tell(live, transfer, 180)
            await other.settled.wait()
        outcome = await self._replacing.replace(
            live,
            transfer.side,
            other,
            side.other,
            kind=transfer.kind,
            by=transfer.by.id,
            told=lambda: self._done(live, transfer),
        )
        if outcome != "ok" and live.transfer is transfer:
            _log.warning("transfer.not_done", call_id=str(live.id), why=outcome)
            self._failed(live, transfer, 480 if other.is_ended else 503)

    # Parked.

    def _take_in(self, live: LiveCall, side: Side, agent: Agent, event: sip.InDialogRequest, wanted: str) -> None:
        if self.park.choose(live.route.org.id, wanted) is None:
            self._refuse(event.tx, "slot-taken")
            return
        transfer = live.transfer = Transfer(TransferKind.PARK, side, agent)
        self._spawn(live, self._park(live, transfer, event, wanted), "call-park", event.tx)

    async def _claimed(self, live: LiveCall, wanted: str) -> str | None:
        """The slot that is this call's over all gateways."""
        org_id = live.route.org.id
        if self._elsewhere is None:
            return self.park.choose(org_id, wanted)
        return await self._elsewhere.claim(org_id, live.id, wanted, lambda slot: self.park.is_free(org_id, slot))

    def _freed(self, org_id: OrgId, live: LiveCall, slot: str) -> None:
        if self._elsewhere is not None:
            self._elsewhere.free(org_id, live.id, slot)

    async def _park(self, live: LiveCall, transfer: Transfer, event: sip.InDialogRequest, wanted: str) -> None:
        side, slot = transfer.side, await self._claimed(live, wanted)
        if slot is not None:
            self.park.keep(slot, live)
        if live.is_ended or live.transfer is not transfer:
            self.park.taken(live)
            self._refuse(event.tx, "being-transferred")
            return
        if slot is None or not self._accept(live, transfer, event.tx, event.request):
            self._refuse(event.tx, "slot-taken")
            self.park.taken(live)
            live.transfer = None
            if transfer.has_left:
                self._feed(live, events.HungUp(side))
            return
        transfer.slot = slot
        _log.info("transfer.parked", call_id=str(live.id))
        await self._words.say(live, side, slot)
        if live.is_ended or live.transfer is not transfer:
            return
        self._tell(live, transfer, 200, is_final=True, words=f"Parked at {slot}")
        self.park.put(slot, live)
        await self._replacing.stand_aside(live, side, is_gone=transfer.has_left)
        self._tasks.spawn(self._sounds.keep_company(live, side.other, SoundKind.MUSIC), "call-park")

    def _overdue(self, live: LiveCall) -> None:
        """Nobody took it in time: who parked it is rung, and can be answered for no more than so often."""
        transfer = live.transfer
        if transfer is not None and transfer.kind is TransferKind.RETRIEVE and transfer.slot is not None and not live.is_ended:
            self.park.put(transfer.slot, live)  # somebody comes for it just now; where that one does not after all it waits on
            return
        if transfer is None or transfer.kind is not TransferKind.PARK or transfer.successor is not None or live.is_ended:
            return
        transfer.returns += 1
        with self._to_its_end(live):
            if not self.ring_back(live, transfer):
                transfer.successor = None
                self._wait_in_slot(live, transfer)

    def _wait_in_slot(self, live: LiveCall, transfer: Transfer) -> None:
        transfer.is_return = False
        if transfer.returns >= MOST_RETURNS or transfer.slot is None:
            self._feed(live, events.Stopped(EndReason.NO_ANSWER))
        else:
            self.park.put(transfer.slot, live)

    # How it ends.

    @contextmanager
    def _to_its_end(self, live: LiveCall, tx: TxId | None = None) -> Iterator[None]:
        """No transfer stays open for what nobody thought of: its call ends then, and all are told. `tx`: a REFER, perhaps unanswered."""
        try:
            yield
        except Exception:
            if tx is not None:
                self._refuse(tx, "internal-error")
            if live.transfer is not None:
                self._feed(live, events.Stopped(EndReason.INTERNAL_ERROR))
            raise

    def _spawn(self, live: LiveCall, work: Coroutine[Any, Any, None], name: str, tx: TxId | None = None) -> None:
        async def to_its_end() -> None:
            with self._to_its_end(live, tx):
                await work

        self._tasks.spawn(to_its_end(), name)

    def hung_up(self, live: LiveCall, side: Side) -> bool:
        """A party's BYE: True where the call goes on without it, since somebody is to take its place."""
        transfer = live.transfer
        if transfer is None or transfer.side is not side or transfer.kind is TransferKind.PICKUP or live.call.state is not State.ACTIVE:
            return False
        if transfer.kind is TransferKind.PARK:
            transfer.has_left = True
            self._tasks.spawn(self._words.cut(live), "call-park")
        else:
            self._tasks.spawn(self._wait(live, side), "call-transfer")
        return True

    async def _wait(self, live: LiveCall, side: Side) -> None:
        await self._replacing.stand_aside(live, side, is_gone=True)
        if live.transfer is None and live.call.state is State.WAITING:
            self._feed(live, events.Stopped(EndReason.NO_ANSWER))  # it failed in the same moment: there is nobody to wait for
            return
        await self._sounds.keep_company(live, side.other, SoundKind.RINGBACK)

    def _done(self, live: LiveCall, transfer: Transfer) -> None:
        live.transfer = None
        self.park.taken(live)
        self._tell(live, transfer, 200, is_final=True)

    def _failed(self, live: LiveCall, transfer: Transfer, status: int) -> None:
        """Nobody takes the place: its party is still there, or is rung again, once."""
        self._tell(live, transfer, status, is_final=True)
        transfer.successor = None
        if live.is_ended:
            return
        is_left = live.call.state is State.WAITING and transfer.before is None  # who was to be replaced hung up meanwhile
        if transfer.kind in TAKEN and not is_left:
            live.transfer = transfer.before  # who came to take a place did not, after all
            return
        if transfer.kind is TransferKind.PARK and live.call.state is not State.ACTIVE:
            self._wait_in_slot(live, transfer)
            return
        if live.call.state is State.ACTIVE:
            live.transfer = None
            self.park.taken(live)
            _log.info("transfer.failed", call_id=str(live.id), status=status)
            if transfer.is_keyed:
                self._tasks.spawn(self._beep(live, transfer.side), "call-transfer")
            return
        if not transfer.is_return and self.ring_back(live, transfer):
            return
        live.transfer = None
        self._feed(live, events.Stopped(EndReason.NO_ANSWER))

    def ring_back(self, live: LiveCall, transfer: Transfer) -> bool:
        """Ring who asked for the transfer, to have the party back that waits; False where that can't be."""
        transfer.is_return = True
        leg, agent = free_leg(live), self._router.directory.agent(transfer.by.id)
        if leg is None or agent is None:
            return False
        route = self._router.successors.to_successor(live.route.org, agent, agent, self._shown(live, transfer.side.other), leg)
        if isinstance(route, Refused):
            return False
        _log.info("transfer.returns", call_id=str(live.id))
        transfer.successor = self._starts.succeed(route, Joining(live, leg, JoinedAs.SUCCESSOR))
        return transfer.successor is not None and not transfer.successor.is_ended

    def adopt(self, live: LiveCall, kept: KeptTransfer) -> None:
        """Go on after the end of the process that was asked: whoever was rung is no more, so that the transfer has failed."""
        agent, dialog = self._router.directory.agent(kept.by), live.dialogs.get(kept.side)
        if agent is None:
            if live.call.state is State.WAITING:
                self._feed(live, events.Stopped(EndReason.NO_ANSWER))
            return
        transfer = live.transfer = Transfer(kept.kind, kept.side, agent, told=100, slot=kept.slot)
        if kept.slot is not None and live.call.state is State.WAITING:
            transfer.kind = TransferKind.PARK
            self.park.put(kept.slot, live)
            self._tasks.spawn(self._claim_again(live, transfer, kept.slot), "call-park")
            self._tasks.spawn(self._sounds.keep_company(live, kept.side.other, SoundKind.MUSIC), "call-park")
            return
        if kept.cseq is not None and dialog is not None:
            event = EventName("refer", str(kept.cseq))
            transfer.subscription = self._endpoint.adopt_subscription(dialog, event, longest_s=LONGEST_S)
        self._failed(live, transfer, 503)

    async def _claim_again(self, live: LiveCall, transfer: Transfer, slot: str) -> None:
        """Have the slot of before again; where this gateway was away for so long that another call has it by now, any other."""
        if self._elsewhere is None:
            return
        org_id = live.route.org.id
        for wanted in (slot, ""):
            found = await self._elsewhere.claim(
                org_id, live.id, wanted, lambda one: self.park.find(org_id, one) is live or self.park.is_free(org_id, one)
            )
            if found is None:
                continue
            if live.is_ended or live.transfer is not transfer:
                self._elsewhere.free(org_id, live.id, found)
            elif found != slot:
                _log.warning("park.slot_lost", call_id=str(live.id))
                self.park.taken(live)
                transfer.slot = found
                self.park.put(found, live)
            return

    # Details.

    async def _beep(self, live: LiveCall, side: Side) -> None:
        """Who keyed a transfer hears that it came to nothing: no NOTIFY tells it."""
        end = live.call.end(side)
        if end is not None and end.agreed is not None and not live.is_ended:
            await self._sounds.play(live.id, end.terms.leg, end.agreed, SoundKind.BEEP, live.route.org)

    def _accept(self, live: LiveCall, transfer: Transfer, tx: TxId, request: Request) -> bool:
        """202, and a subscription unless it is declined (RFC 4488); False where there is no room for one."""
        if (request.headers.get("Refer-Sub") or "").strip(" \t").lower() == "false":
            self._endpoint.respond(tx, 202, headers=[("Refer-Sub", "false")])
            return True
        transfer.cseq = request.cseq.number
        transfer.subscription = self._endpoint.accept_subscription(tx, longest_s=LONGEST_S)
        self._tell(live, transfer, 100)
        return transfer.subscription is not None

    def _tell(self, live: LiveCall, transfer: Transfer, status: int, *, is_final: bool = False, words: str | None = None) -> None:
        subscription: SubscriptionId | None = transfer.subscription
        if subscription is None or status == transfer.told:
            return
        transfer.told = status
        if is_final:
            transfer.subscription = None
        reason = "noresource" if is_final else None
        self._journal.changed(live)  # the next request in the dialog must be numbered higher
        self._endpoint.notify(subscription, body=sipfrag(status, words), content_type=SIPFRAG, is_final=is_final, reason=reason)

    def _shown(self, live: LiveCall, side: Side) -> NameAddr:
        """A party as those are told who are rung to talk with it."""
        shown: Personal[str] | None = live.party(side).shown
        return _ANONYMOUS if shown is None else self._router.phones.internal_name(live.route.org, shown.reveal())

    def _refuse(self, tx: TxId, code: str) -> None:
        self._endpoint.respond(tx, REFUSALS[code].status or 500, headers=[("Reason", header(code))])


def is_transferable(live: LiveCall) -> bool:
    """Whether it is a call of two parties who both are there."""
    is_whole = live.call.state is State.ACTIVE and all(live.call.end(side) is not None for side in Side)
    return is_whole and live.joining is None and live.route.plan.direction in KINDS and not live.is_ended


def free_leg(live: LiveCall) -> int | None:
    """The number of a further leg of the call's bridge."""
    return next((leg for leg in range(FIRST_LEG, MOST_LEGS) if leg not in live.guests), None)


def _of(successor: LiveCall) -> Transfer | None:
    """What somebody is rung for; None where that is over, or another is."""
    joining = successor.joining
    if joining is None or joining.role is not JoinedAs.SUCCESSOR:
        return None
    transfer = joining.host.transfer
    return transfer if transfer is not None and transfer.successor is successor else None
