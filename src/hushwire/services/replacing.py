"""One party of a call is replaced by the party of another one: the primitive below transfers, park and pickup.

The leg that comes is moved into the call's bridge with its ports and keys (docs/adr/0027), so its party notices only whom it hears. The leg
that goes is put aside first and closed last: until the machines are told everything can be undone, and `LiveCall.exchange` tells the next
process what it would have to put right; where telling them breaks off both calls are over. The recording goes on as its next segment
between the two moves, so that nobody is heard in a segment whose row does not name them; a pause, something sensitive, and what the law
says of either party follow the party.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import structlog

from hushwire.calls import events, failures
from hushwire.calls.call import State
from hushwire.calls.effects import LegStatement
from hushwire.calls.ends import End
from hushwire.calls.model import CallDirection, EndReason, Side, Target
from hushwire.calls.transfer import SPARE, Exchange, TransferKind
from hushwire.core.errors import Unavailable
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.media.handshakes import Handshakes
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.policy.model import Emergency
from hushwire.services.call_journal import CallJournal
from hushwire.services.call_media import CallMedia
from hushwire.services.call_rights import CallRights
from hushwire.services.call_rows import CallRows
from hushwire.services.call_table import CallTable
from hushwire.services.live import LiveCall, Party, RecordingRun
from hushwire.services.live_rules import called_out
from hushwire.services.phone_targets import PhoneTargets
from hushwire.services.recorded_parties import Coming
from hushwire.services.recorder import Recorder
from hushwire.services.route import Route
from hushwire.services.snapshot import Agent
from hushwire.services.sounds import Sounds
from hushwire.sip.asserted import ANONYMOUS
from hushwire.sip.uri import NameAddr
from hushwire.store.calls import Transferred
from hushwire.transport.endpoint import SipEndpoint

PARTED_WITHIN_S: Final = 5.0
"""So long a party may take to agree to ports of its own."""
_LOOK_S: Final = 0.02
TALKING = frozenset({State.ACTIVE, State.WAITING})
ANSWERED: Final = "somebody has answered it"
"""Why a call that rang is not picked up."""
BROKE_OFF: Final = "something unexpected broke it off"
"""Why no more is known; the log says where."""
_log = structlog.get_logger(__name__)


class Replacing:
    """Replaces parties. `feed` gives a call's machine an event."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        rights: CallRights,
        phones: PhoneTargets,
        link: MediaLink,
        table: CallTable,
        media: CallMedia,
        handshakes: Handshakes,
        recorder: Recorder,
        sounds: Sounds,
        rows: CallRows,
        journal: CallJournal,
        feed: Callable[[LiveCall, events.Event], None],
    ) -> None:
        self._endpoint = endpoint
        self._rights = rights
        self._phones = phones
        self._link = link
        self._table = table
        self._media = media
        self._handshakes = handshakes
        self._recorder = recorder
        self._sounds = sounds
        self._rows = rows
        self._journal = journal
        self._feed = feed

    async def replace(
        self,
        host: LiveCall,
        side: Side,
        source: LiveCall,
        source_side: Side,
        *,
        kind: TransferKind,
        by: AgentId,
        told: Callable[[], None] = lambda: None,
    ) -> str:
        """Let the party of `source` take the place of the one on `side`; `ok`, or why not, and then nothing is changed, or both are over.

        `told` is called as it happens: what it sends goes out before the dialog of who is replaced ends.
        """
        async with _replacing(host, source):
            outcome = await self._ending(host, source, self._replace(host, side, source, source_side, kind, by, told))
            if outcome == "ok" and (leg := host.call.leg(side)) is not None:
                _log.info("call.party_replaced", call_id=str(host.id), by_call=str(source.id), kind=kind.value)
                await self._settle(host, source, leg)
            return outcome

    async def _replace(
        self,
        host: LiveCall,
        side: Side,
        source: LiveCall,
        source_side: Side,
        kind: TransferKind,
        by: AgentId,
        told: Callable[[], None],
    ) -> str:
        rings = host.call.state is State.RINGING
        if kind is TransferKind.PICKUP and not rings and self._stands(host, source):
            return ANSWERED  # while who comes was let in: nobody takes a call from who talks

        def stands() -> bool:
            is_there = source.call.end(source_side) is not None  # it may be parked meanwhile
            return is_there and self._stands(host, source) and (host.call.state is State.RINGING) is rings

        leg = host.route.callee_leg if rings else host.call.leg(side)
        party, from_leg = source.party(source_side), source.call.leg(source_side)
        if leg is None or from_leg is None or not stands():
            return "the call is over"
        if not await self._can_go(host, source, source_side, from_leg, stands):
            return ANSWERED if rings and host.call.state in TALKING else "its party did not go to ports of its own"
        route = merged(host.route, leg, party, source.route)
        if host.recording is not None and not await self._is_told(host, source, source_side, route):
            return "the announcement of the recording was not heard"
        async with self._leaving(source, host):
            if not stands():
                return ANSWERED if rings and host.call.state in TALKING else "the call is over"
            route = merged(host.route, leg, party, source.route)  # anew: it may have rung others meanwhile
            try:
                if rings:
                    self._feed(host, events.PickingUp())
                host.exchange = Exchange(leg, source.bridge_id, from_leg, is_vacant=not rings and host.call.end(side) is None)
                self._note(host)
                outcome = await self._move(host, source, host.exchange, route, (side, party), stands)
                if outcome == "ok":
                    with self._endpoint.held(), self._as_one(host, source):
                        host.exchange = None
                        self._hand_over(host, side, source, source_side, leg, route, party, kind, by, told)
                    outcome = BROKE_OFF if host.is_ended else "ok"
            finally:
                host.exchange = None
                if host.call.state is State.RINGING:
                    self._feed(host, events.RingTimeout())  # those who were rung are told that it is taken: nobody would answer
                self._note(host)
        return outcome

    @staticmethod
    async def _ending(host: LiveCall, source: LiveCall, work: Coroutine[Any, Any, str]) -> str:
        """What comes of it. What nobody thought of is an outcome too: parties wait for one, and who called this tells them."""
        try:
            return await work
        except Exception as error:
            _log.error("call.internal_error", call_id=str(host.id), exc_info=error)
            return "ok" if source.transferred is not None and not host.is_ended else BROKE_OFF

    @contextmanager
    def _as_one(self, host: LiveCall, source: LiveCall) -> Iterator[None]:
        """Both calls change in one step. Where that breaks off neither is what it was, and nobody can be untold: both are over, each
        party that is left hears BYE, and each row says why.
        """
        try:
            yield
        finally:
            newcomer, host.newcomer = host.newcomer, None
            if newcomer is not None or not source.is_ended:
                if not source.is_ended:
                    source.transferred = None
                for live in (host, source):
                    self._feed(live, events.Stopped(EndReason.INTERNAL_ERROR))
            if newcomer is not None:  # its dialog is neither call's any more
                host.left[newcomer] = None
                self._table.by_dialog.pop(newcomer, None)
                self._endpoint.bye(newcomer, headers=[("Reason", failures.ENDED_BY[EndReason.INTERNAL_ERROR])])

    async def stand_aside(self, host: LiveCall, side: Side, *, is_gone: bool) -> None:
        """The party is out of the call, and the other one waits for somebody else. `is_gone`: by its own BYE."""
        leg = host.call.leg(side)
        self._feed(host, events.StoodAside(side, is_gone))
        self._note(host)  # nothing may have been sent
        async with host.replacing:
            if leg is None or host.is_ended or host.call.state is not State.WAITING:
                return
            host.stated.pop(leg, None)
            self._handshakes.forget(host.id, leg)
            try:
                await self._link.client.close_leg(host.id, leg)
            except (MediaRefused, Unavailable) as error:
                _log.warning("call.leg_not_closed", call_id=str(host.id), why=str(error))

    async def bring(self, source: LiveCall, host: LiveCall) -> str:
        """Let the caller of `source`, with whom something of ours talks, be the caller of `host`, which waits for one; `ok`, or why not.

        Its leg, its dialog and its keys go with it: it notices no more than whom it hears.
        """
        async with _replacing(host, source):
            return await self._ending(host, source, self._bring(source, host))

    async def _bring(self, source: LiveCall, host: LiveCall) -> str:
        side, leg, from_leg = Side.CALLER, host.route.plan.caller.leg, source.call.leg(Side.CALLER)
        end = source.call.end(side)
        if end is None or from_leg is None or _is_over(source, host) or side not in source.dialogs:
            return "the call is over"
        if not await self._can_go(host, source, side, from_leg, lambda: not _is_over(source, host)):
            return "the call is over"
        async with self._leaving(source, host):
            return await self._brought(source, side, from_leg, end, host, leg)

    async def _brought(self, source: LiveCall, side: Side, from_leg: int, end: End, host: LiveCall, leg: int) -> str:
        if _is_over(source, host):
            return "the call is over"
        client = self._link.client
        try:
            await client.close_leg(host.id, leg)
            await client.move_leg(source.id, from_leg, host.id, leg)
        except (MediaRefused, Unavailable) as error:
            _log.error("call.legs_not_moved", call_id=str(host.id), why=str(error))
            return "hushwire-media did not take it"
        if _is_over(source, host):  # meanwhile
            for live in (source, host):
                self._feed(live, events.MediaFailed())
            return "the call is over"
        with self._endpoint.held(), self._as_one(host, source):
            self._handshakes.forget(host.id, leg)
            self._handshakes.move(source.id, from_leg, host.id, leg)
            _carry(source, from_leg, host, leg)
            end.terms = replace(end.terms, leg=leg)
            host.flow, host.caller_hop = source.flow, source.caller_hop
            host.newcomer = host.dialogs[side] = dialog = source.dialogs.pop(side)
            self._table.by_dialog[dialog] = host
            self._feed(source, events.Yielded(side))
            self._feed(host, events.CallerCame(end))
            if not host.is_ended:
                host.newcomer = None  # it took it
        return BROKE_OFF if host.is_ended else "ok"

    @asynccontextmanager
    async def _leaving(self, source: LiveCall, host: LiveCall) -> AsyncIterator[None]:
        """What was stated of the legs of `source` is carried out before one of them leaves for `host`. What is stated meanwhile (a phone
        may send a re-INVITE right after its answer) is carried out afterwards, where they are then, however the move came out.
        """
        held_back: list[LegStatement] = []
        try:
            async with source.stating:
                source.goes_to = host
                try:
                    yield
                finally:
                    source.goes_to, held_back, source.held_back = None, source.held_back, []
        finally:
            # Its party was told already that it is so: nobody would ever state it again.
            await asyncio.gather(*(self._state(live, held_back) for live in (source, host)))

    async def _state(self, live: LiveCall, held_back: list[LegStatement]) -> None:
        legs = [there for there in live.stated.values() if any(there.media is leg.media for leg in held_back)]
        if legs and not live.is_ended:
            for event in await self._media.state(live, legs):
                self._feed(live, event)

    # Ports.

    async def _can_go(self, host: LiveCall, source: LiveCall, side: Side, leg: int, stands: Callable[[], bool]) -> bool:
        """Whether a leg's sockets can go to the bridge of `host`. A port that many share belongs to one thread of the media process: where
        that is another one the party is asked to use a pair of ports of its own, and both are listened to until it has agreed.
        """
        try:
            if leg not in source.shared_legs or await self._link.client.is_beside(source.bridge_id, host.id):
                return True
            for moved in await self._media.part(source, leg):
                self._feed(source, moved)
            async with asyncio.timeout(PARTED_WITHIN_S):
                while source.call.is_owed(side):
                    if not stands():
                        return False
                    await asyncio.sleep(_LOOK_S)
        except (MediaRefused, Unavailable, TimeoutError) as error:
            _log.warning("call.leg_not_parted", call_id=str(source.id), error=type(error).__name__)
            return False
        return stands()

    # The law and the recording.

    async def _is_told(self, host: LiveCall, source: LiveCall, side: Side, route: Route) -> bool:
        """Whether who comes knows that the call is recorded: nobody is recorded who was not told, where telling is what was set."""
        if not self._rights.may_record(route) or not self._sounds.needs_announcement(host) or source.recording is not None:
            return True
        staying = {leg for other in Side if other is not side and (leg := source.call.leg(other)) is not None}
        return await self._sounds.announce(source, staying) or host.route.may_go_unrecorded

    async def _go_on_recording(self, host: LiveCall, route: Route, coming: Coming) -> str:
        if host.recording is None:
            return "ok"
        if not self._rights.may_record(route):
            await self._recorder.stop(host)
            return "ok"
        peer = None if route.peer_agent is None else route.peer_agent.id
        outcome = await self._recorder.continue_as(host, route.agent.id, peer, coming)
        if outcome == "ok" or not host.route.may_go_unrecorded:
            return outcome
        return await self._recorder.stop(host)

    async def _settle(self, host: LiveCall, source: LiveCall, leg: int) -> None:
        """What follows once both calls know: what was put aside goes, and the recording and all who joined follow."""
        await self._sounds.leave_alone(host)
        host.hears.pop(leg, None)
        with suppress(MediaRefused, Unavailable):  # nobody was put aside, or the bridge is closed
            await self._link.client.close_leg(host.id, SPARE)
        try:
            if host.guests:
                await self._media.arrange(host)
            if source.is_sensitive and not host.is_sensitive and not host.is_ended:
                await self._recorder.set_sensitive(host, on=True)
        except (MediaRefused, Unavailable) as error:
            _log.error("call.not_settled", call_id=str(host.id), why=str(error))
        await self._sounds.settle(host)

    # Media.

    @staticmethod
    def _stands(host: LiveCall, source: LiveCall) -> bool:
        is_there = (host.call.state in TALKING or host.call.state is State.RINGING) and source.call.state in TALKING
        return is_there and host.has_bridge and source.has_bridge and host.joining is None and not host.is_ended and not source.is_ended

    async def _move(
        self, host: LiveCall, source: LiveCall, exchange: Exchange, route: Route, coming: Coming, stands: Callable[[], bool]
    ) -> str:
        """Put the one leg aside and bring the other in, with the recording between; undone where it fails, or breaks off."""
        client, leg, from_leg = self._link.client, exchange.leg, exchange.from_leg
        is_aside = has_come = is_done = False
        was_paused = source.recording is not None and source.recording.is_paused
        before = host.recording
        try:
            try:
                if not exchange.is_vacant:
                    await client.move_leg(host.id, leg, host.id, SPARE)
                    is_aside = True
                outcome = await self._go_on_recording(host, route, coming)
                if outcome == "ok" and was_paused and host.recording is not None:
                    await self._recorder.pause(host)
                if outcome == "ok" and stands():
                    await client.move_leg(source.bridge_id, from_leg, host.id, leg)
                    has_come = True
            except (MediaRefused, Unavailable) as error:
                _log.error("call.legs_not_moved", call_id=str(host.id), why=str(error))
                outcome = "hushwire-media did not take it"
            is_done = outcome == "ok" and stands()
        finally:
            if not is_done:
                await self._move_back(host, source, exchange, before, is_aside=is_aside, has_come=has_come)
        return "ok" if is_done else outcome if outcome != "ok" else "the call is over"

    async def _move_back(
        self, host: LiveCall, source: LiveCall, exchange: Exchange, before: RecordingRun | None, *, is_aside: bool, has_come: bool
    ) -> None:
        client, leg, from_leg = self._link.client, exchange.leg, exchange.from_leg
        try:
            if has_come and not source.is_ended:
                await client.move_leg(host.id, leg, source.bridge_id, from_leg)
            elif has_come:
                await client.close_leg(host.id, leg)
            if host.recording is not None and host.recording is not before:
                await self._recorder.go_back(host)
            if is_aside:
                await client.move_leg(host.id, SPARE, host.id, leg)
        except Exception as error:  # whatever it is: nobody can say where the legs are
            if not host.is_ended:
                _log.error("call.legs_not_back", call_id=str(host.id), exc_info=error)
                self._feed(host, events.MediaFailed())
            if has_come and not source.is_ended:
                self._feed(source, events.MediaFailed())

    # What is known of both calls.

    def _hand_over(
        self,
        host: LiveCall,
        side: Side,
        source: LiveCall,
        source_side: Side,
        leg: int,
        route: Route,
        party: Party,
        kind: TransferKind,
        by: AgentId,
        told: Callable[[], None],
    ) -> None:
        """Nothing waits here: no event comes between, and the journal has both calls as they are now, or as they were."""
        end = source.call.end(source_side)
        if end is None:
            return
        from_bridge, from_leg = source.bridge_id, end.terms.leg
        self._handshakes.forget(host.id, leg)
        self._handshakes.move(from_bridge, from_leg, host.id, leg)
        _carry(source, from_leg, host, leg)
        end.terms = replace(end.terms, leg=leg, is_outside=party.agent is None)
        host.newcomer = source.dialogs.pop(source_side, None)
        source.branch_dialogs = {branch: key for branch, key in source.branch_dialogs.items() if key != host.newcomer}
        if source.joining is not None:
            host.guests.pop(source.joining.leg, None)
            source.has_bridge = False
        self._account(host, side, source, party, kind, by)
        stays = host.party(side.other)
        if side in host.dialogs:
            host.left[host.dialogs[side]] = self._journal.device(host, side)
        host.replaced[side] = replace(party, origin=party.origin or source.id)
        host.route = route
        self._media.neighbours.note(host)
        host.shown = {side: self._name(host, stays.shown), side.other: self._name(host, party.shown)}
        asked = frozenset(one for one in Side if host.party(one).agent is not None)
        told()  # as late as it can be: by now all is prepared that might fail
        self._feed(source, events.Yielded(source_side))
        if host.call.state is State.RINGING and party.hop is not None:
            name = self._name(host, party.shown) or ANONYMOUS
            target = Target(party.hop, "", ANONYMOUS, name, end.terms, device_id=source.route.device_id)
            plan = replace(host.call.plan, targets=(*host.call.plan.targets[: host.call.tried], target))
            host.route = replace(route, plan=plan)
            self._feed(host, events.PickedUp(end, target))
        else:
            self._feed(host, events.Replaced(side, end, asked))

    def _account(self, host: LiveCall, side: Side, source: LiveCall, party: Party, kind: TransferKind, by: AgentId) -> None:
        """Which row accounts for which leg from now on."""
        gone = host.replaced.get(side)
        if gone is not None and gone.origin is not None:
            self._rows.leg_ended(host, gone.origin)
        if party.origin is not None:
            self._rows.leg_moved(host, party.origin)
        ended_at = None if party.origin is None else self._rows.now()
        source.transferred = Transferred(host.id, kind.value, by, ended_at)

    def _name(self, host: LiveCall, shown: Personal[str] | None) -> NameAddr | None:
        return None if shown is None else self._phones.internal_name(host.route.org, shown.reveal())

    def _note(self, host: LiveCall) -> None:
        self._journal.changed(host)
        self._journal.commit()


@asynccontextmanager
async def _replacing(host: LiveCall, source: LiveCall) -> AsyncIterator[None]:
    """Nobody else replaces a party of either meanwhile. In the order of their ids: two may want each other's parties in one moment."""
    first, second = sorted((host, source), key=lambda live: live.id)
    async with first.replacing, second.replacing:
        yield


def _is_over(*calls: LiveCall) -> bool:
    return any(live.is_ended for live in calls)


def _carry(source: LiveCall, from_leg: int, host: LiveCall, leg: int) -> None:
    """What is known of a leg goes with it."""
    host.stated.pop(leg, None)
    host.suites.pop(leg, None)
    if (stated := source.stated.pop(from_leg, None)) is not None:
        host.stated[leg] = replace(stated, leg=leg)
    if (suite := source.suites.pop(from_leg, None)) is not None:
        host.suites[leg] = suite
    for there, here in (
        (source.reachable, host.reachable),
        (source.shared_legs, host.shared_legs),
        (source.silent_legs, host.silent_legs),
        (source.heard_early, host.heard_early),
    ):
        here.discard(leg)
        if from_leg in there:
            there.discard(from_leg)
            here.add(leg)


def merged(route: Route, leg: int, party: Party, source: Route) -> Route:
    """The route of a call in which `party`, who came by `source`, has this leg: who is in it, who pays, and whom the law asks about."""
    agent = party.agent if leg == 0 and party.agent is not None else route.agent
    peer = party.agent if leg == 1 else route.peer_agent
    there = {one.id for one in (agent, peer) if one is not None}
    payers = {one.id: one for one in (*route.payers, *source.payers, *_paying(route), *_paying(source)) if one.id not in there}
    is_emergency = isinstance(source.verdict, Emergency) and not isinstance(route.verdict, Emergency)
    return replace(
        route,
        agent=agent,
        peer_agent=peer,
        # Who picks up a group's call has answered it for the group.
        group=None,
        rung=(),
        callees=(),
        payers=tuple(payers.values()),
        # Who comes from within was let out by nobody.
        let_out=route.let_out if party.trunk is None else (*route.let_out, *source.forwarded_by),
        further_trunks=route.further_trunks if party.trunk is None else (*route.further_trunks, party.trunk),
        others=route.others if party.number is None else (*route.others, party.number),
        called_later=route.called_later if party.trunk is None else (*route.called_later, *called_out(source)),
        places=(*route.places, *(place for place in party.places if place not in route.places)),
        verdict=source.verdict if is_emergency else route.verdict,
    )


def _paying(route: Route) -> tuple[Agent, ...]:
    """By whose right the call left for a carrier."""
    if route.leads_out:
        payer = route.org.by_id.get(route.diversions[-1].agent_id)
        return () if payer is None else (payer,)
    return (route.agent,) if route.plan.direction is CallDirection.OUTBOUND else ()
