"""What calls ask of the media process, with its refusals turned into what the machine understands."""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine, Iterable
from typing import Any, Final

import structlog

from hushwire.calls import effects, events
from hushwire.calls.call import State
from hushwire.calls.effects import LegStatement
from hushwire.calls.hearing import hearing, recorded
from hushwire.calls.model import Ports, Side
from hushwire.core.errors import Unavailable
from hushwire.core.values import replace
from hushwire.media.adoption import BridgeState
from hushwire.media.handshakes import Handshakes
from hushwire.media.link import MediaLink
from hushwire.media.model import BridgeReport, LegSettings, MediaRefused, Mode
from hushwire.media.ports import PortTrouble
from hushwire.media.statement import settings_digest
from hushwire.media.wire import Status
from hushwire.services.live import Joining, LiveCall, settings
from hushwire.services.port_choice import PortChoice
from hushwire.services.route import Route
from hushwire.services.side_by_side import SideBySide
from hushwire.sip.digits import Keyed

CLOSE_WAIT_S: Final = 2.0
SILENT_MS: Final = 20_000
_log = structlog.get_logger(__name__)


class CallMedia:
    """Bridges of calls."""

    def __init__(self, link: MediaLink, handshakes: Handshakes, choice: PortChoice) -> None:
        self.choice = choice
        self._link = link
        self._handshakes = handshakes
        self.neighbours = SideBySide()

    async def open(self, live: LiveCall, effect: effects.OpenMedia) -> events.Event | None:
        """Open the bridge; None where the call ended before that."""
        async with live.working:
            if live.is_ended:
                return None
            if live.joining is not None:
                return await self._join(live, live.joining)
            try:
                mode = Mode.ECHO if effect.is_echo else Mode.RELAY
                legs = self.choice.openings(live, live.call.caller_offer)
                ports = await self._link.client.open_call(live.id, mode, legs, self.neighbours.place(live))
            except (MediaRefused, Unavailable) as error:
                _log.error("call.no_media", call_id=str(live.id), why=str(error))
                return events.MediaFailed()
            live.has_bridge = True
            live.opened.set()
            live.shared_legs = {leg for leg, given in zip(effect.legs, ports, strict=True) if given.is_shared}
            return events.MediaOpened(tuple(Ports(str(leg.ip), leg.rtp_port, leg.rtcp_port) for leg in ports))

    async def _join(self, live: LiveCall, joining: Joining) -> events.Event:
        """A further leg of another call's bridge, with ports of its own."""
        try:
            if joining.host.is_ended:
                raise Unavailable("the call that it joins is over")
            given = await self._link.client.open_leg(joining.host.id, joining.leg)
        except (MediaRefused, Unavailable) as error:
            _log.error("call.no_media", call_id=str(live.id), why=str(error))
            return events.MediaFailed()
        live.has_bridge = True
        return events.MediaOpened((Ports(str(given.ip), given.rtp_port, given.rtcp_port),))

    async def _dismiss(self, live: LiveCall, found: BridgeState) -> None:
        """Who had joined the call in another process is gone with it: its parties are alone again."""
        guests = sorted(set(found.legs) - set(live.route.plan.legs))
        try:
            for leg in guests:
                await self._link.client.close_leg(live.id, leg)
            for leg, others in sorted(hearing(live.route.plan.legs, {}).items()) if guests else ():
                if leg not in found.legs:
                    continue  # its party stood aside
                await self._link.client.set_hears(live.id, leg, others)
            if guests:
                await self._link.client.set_recorded(live.id, recorded(live.route.plan.legs, {}))
        except (MediaRefused, Unavailable) as error:
            _log.error("call.guests_not_dismissed", call_id=str(live.id), why=str(error))

    async def arrange(self, live: LiveCall) -> bool:
        """Tell the media process who hears whom and who is recorded, as its guests are in the call now; False where it did not take it."""
        async with live.arranging:
            guests = {leg: guest.joining.role for leg, guest in live.guests.items() if guest.joining and guest.joining.is_in}
            parties = live.route.plan.legs if live.call.legs() else ()
            wanted = hearing(parties, guests, is_sensitive=live.is_sensitive)
            taken_in = recorded(parties, guests)
            usual = hearing(parties, {})
            try:
                for leg, others in sorted(wanted.items()):
                    if live.hears.get(leg, usual.get(leg)) != others:
                        await self._link.client.set_hears(live.id, leg, others)
                        live.hears[leg] = others
                if live.recorded != taken_in:
                    await self._link.client.set_recorded(live.id, taken_in)
                    live.recorded = taken_in
            except (MediaRefused, Unavailable) as error:
                if live.is_ended or not live.has_bridge:
                    return True
                _log.error("call.not_arranged", call_id=str(live.id), why=str(error))
                return False
            return True

    def taken(self, live: LiveCall, route: Route) -> None:
        """Somebody has taken the call: by this route, whoever was rung."""
        if route is not live.route:
            live.route = route
            self.neighbours.note(live)

    async def turn(self, live: LiveCall, route: Route) -> list[events.Event] | None:
        """Let the callee's leg serve somebody else, by this route; what of it the call's machine must hear. None where that failed.

        A shared port was chosen by whom it was opened for: who comes next is found on a pair of its own.
        """
        leg = live.route.callee_leg
        async with live.working:
            if live.is_ended:
                return None
            self._handshakes.forget(live.bridge_id, leg)
            live.stated.pop(leg, None)
            live.suites.pop(leg, None)
            live.reachable.discard(leg)
            if live.has_bridge and leg in live.shared_legs:
                live.shared_legs.discard(leg)
                try:
                    given = await self._link.client.reopen_leg(live.id, leg)
                except (MediaRefused, Unavailable) as error:
                    _log.error("call.ports_not_moved", call_id=str(live.id), leg=leg, why=str(error))
                    return None
                moved: list[events.Event] = [events.PortsMoved(leg, Ports(str(given.ip), given.rtp_port, given.rtcp_port))]
            else:
                moved = []
        if live.joining is not None:
            live.route = route
            return moved
        live.route = route
        self.neighbours.note(live)
        return moved

    async def reopen(self, live: LiveCall, effect: effects.OpenMedia) -> events.Event | None:
        """Open the call's bridge in the media process that comes after the one that died, once it answers; the caller bounds it."""
        while not self._link.is_up:
            if live.is_ended:
                return None
            await asyncio.sleep(0.05)
        opened = await self.open(live, effect)
        if live.is_sensitive and isinstance(opened, events.MediaOpened):
            try:
                await self._link.client.set_sensitive(live.id, on=True)
            except (MediaRefused, Unavailable) as error:
                _log.error("call.not_sensitive_again", call_id=str(live.id), why=str(error))
                return events.MediaFailed()
        return opened

    def state(self, live: LiveCall, legs: Collection[LegStatement]) -> Coroutine[Any, Any, list[events.Event]]:
        """State the legs, with the keys that their handshakes have made; MediaFailed where that was not possible while the call lives.

        The statement is under way when this returns, not only when it is awaited: a party that gets its answer right after may send
        its first packet, a ClientHello perhaps, within a millisecond. A leg that can't stay on its shared port has moved in the end,
        and its party is to be told.
        """
        live.stated |= {leg.leg: leg for leg in legs}
        if live.goes_to is not None:
            live.held_back += legs
            return _nothing()
        if live.exchange is not None:
            return self._state_later(live, legs)
        stating: Awaitable[None]
        try:
            stating = self._link.client.set_legs(live.bridge_id, [(leg.leg, self._settings(live, leg)) for leg in legs])
        except Unavailable as error:
            stating = asyncio.get_running_loop().create_future()
            stating.set_exception(error)
        return self._stated(live, legs, stating)

    async def _state_later(self, live: LiveCall, legs: Collection[LegStatement]) -> list[events.Event]:
        """Legs are being moved, and one of these may be nowhere for a moment: who goes answers a re-INVITE of before. What still holds
        then is stated once they are where they belong.
        """
        async with live.replacing:
            left = [leg for leg in legs if live.stated.get(leg.leg) is leg]
        return await self.state(live, left) if left and not live.is_ended else []

    async def _stated(self, live: LiveCall, legs: Collection[LegStatement], stating: Awaitable[None]) -> list[events.Event]:
        async with live.stating:
            return await self._carried_out(live, legs, stating)

    async def _carried_out(self, live: LiveCall, legs: Collection[LegStatement], stating: Awaitable[None]) -> list[events.Event]:
        moved: list[events.Event] = []
        try:
            try:
                await stating
            except MediaRefused as error:
                if error.status is not Status.EXISTS or live.is_ended:
                    raise
                moved += await self._part(live, legs)
        except (MediaRefused, Unavailable) as error:
            if live.is_ended:
                return []
            _log.error("call.legs_not_set", call_id=str(live.id), why=str(error))
            return [events.MediaFailed()]
        for leg in legs:
            if leg.media.ice is None or leg.leg in live.reachable:
                self._handshakes.begin(live.bridge_id, leg.leg)
            if self.choice.needs_own(live, leg):
                moved += await self.move(live, leg.leg, None)
        return moved

    async def _part(self, live: LiveCall, legs: Iterable[LegStatement]) -> list[events.Event]:
        """Another leg of a shared port has a party's address: this one moves to a pair of its own, and states itself again."""
        moved: list[events.Event] = []
        for leg in legs:
            try:
                await self._link.client.set_leg(live.bridge_id, leg.leg, self._settings(live, leg))
            except MediaRefused as error:
                if error.status is not Status.EXISTS:
                    raise
                moved += await self.move(live, leg.leg, PortTrouble.AMBIGUOUS)
                await self._link.client.set_leg(live.bridge_id, leg.leg, self._settings(live, leg))
        return moved

    async def adopt(self, live: LiveCall, legs: Iterable[LegStatement], found: BridgeState) -> list[events.Event]:
        """State the legs of a bridge that another process opened, where it was not told the same already."""
        live.stated |= {leg.leg: leg for leg in legs}
        self.neighbours.place(live)
        await self._dismiss(live, found)
        known = {number: leg.digest for number, leg in found.legs.items()}
        changed = [leg for leg in legs if known.get(leg.leg) != settings_digest(self._settings(live, leg))]
        if changed:
            _log.info("call.legs_stated_anew", call_id=str(live.id), legs=len(changed))
        return await self.state(live, changed) if changed else []

    async def move(self, live: LiveCall, leg: int, trouble: PortTrouble | None) -> list[events.Event]:
        """Give a leg a pair of its own instead of its shared port; its party has to hear of it. Nothing where it has one already.

        No `trouble`: its party can't take RTCP on the port of RTP.
        """
        if live.is_ended or leg not in live.shared_legs:
            return []
        live.shared_legs.discard(leg)
        self.choice.troubled(live, leg, trouble)
        _log.info("call.ports_moved", call_id=str(live.id), leg=leg, why="no-rtcp-mux" if trouble is None else trouble.name.lower())
        try:
            given = await self._link.client.reopen_leg(live.bridge_id, leg)
        except (MediaRefused, Unavailable) as error:
            _log.warning("call.ports_not_moved", call_id=str(live.id), leg=leg, why=str(error))
            return []
        return [events.PortsMoved(leg, Ports(str(given.ip), given.rtp_port, given.rtcp_port))]

    async def part(self, live: LiveCall, leg: int) -> list[events.Event]:
        """Give a leg a pair of its own since it is to go where its shared port can't; its party has to hear of it. Its device is
        not to blame: its next call is on a shared port again.
        """
        live.shared_legs.discard(leg)
        _log.info("call.ports_moved", call_id=str(live.id), leg=leg, why="transfer")
        try:
            given = await self._link.client.reopen_leg(live.bridge_id, leg)
        except (MediaRefused, Unavailable) as error:
            _log.warning("call.ports_not_moved", call_id=str(live.id), leg=leg, why=str(error))
            return []
        return [events.PortsMoved(leg, Ports(str(given.ip), given.rtp_port, given.rtcp_port))]

    def _settings(self, live: LiveCall, leg: LegStatement) -> LegSettings:
        remote = leg.media.dtls
        if remote is None or live.is_ended:
            self._handshakes.forget(live.bridge_id, leg.leg)
            return settings(leg, answered=_is_answered(live))
        keys = self._handshakes.expect(live.bridge_id, leg.leg, remote, live.certificate)
        if keys is None:
            live.suites.pop(leg.leg, None)
        return settings(leg, keys, answered=_is_answered(live))

    def reached(self, live: LiveCall, leg: int) -> None:
        """The leg's party chose its way to us: a ClientHello of ours has somewhere to go."""
        live.reachable.add(leg)
        self._handshakes.begin(live.bridge_id, leg)

    async def close(self, live: LiveCall) -> BridgeReport | None:
        """Close the bridge, and its recording with it; None where nothing can be learnt of it any more.

        `live.has_bridge` stays where it may still be open: the media process did not answer.
        """
        if live.joining is not None:
            return await self._leave(live, live.joining)
        self._handshakes.forget(live.id)
        self.neighbours.forget(live)
        loop = asyncio.get_running_loop()
        end = loop.time() + CLOSE_WAIT_S
        while live.has_bridge:
            left_s = end - loop.time()
            if left_s <= 0:
                _log.error("call.bridge_not_closed", call_id=str(live.id))
                break
            try:
                return await self._link.client.close_bridge(live.id, left_s)
            except MediaRefused as error:
                live.has_bridge = error.status is not Status.NOT_FOUND
                break
            except Unavailable:
                # The connection comes back within moments, or `media_lost` says that the bridge is gone.
                await asyncio.sleep(0.05)
        return None

    async def _leave(self, live: LiveCall, joining: Joining) -> BridgeReport | None:
        """Take the leg out of the other call's bridge; its figures."""
        host, leg = joining.host, joining.leg
        self._handshakes.forget(host.id, leg)
        try:
            report = await self._link.client.close_leg(host.id, leg) if live.has_bridge else None
        except (MediaRefused, Unavailable):
            report = None  # the bridge is closed, and the leg with it
        live.has_bridge = False
        host.guests.pop(leg, None)
        host.hears.pop(leg, None)
        if not host.is_ended:
            await self.arrange(host)
        return None if report is None else replace(report, legs=tuple(replace(one, leg=0) for one in report.legs))

    async def key(self, live: LiveCall, leg: int, keyed: Keyed) -> None:
        """Key towards a leg. A leg that takes neither events nor tones does not hear it, and the call goes on."""
        try:
            await self._link.client.send_digits(live.bridge_id, leg, keyed.digit, keyed.duration_ms)
        except (MediaRefused, Unavailable) as error:
            _log.warning("call.digit_not_sent", call_id=str(live.id), leg=leg, why=str(error))

    def note_silence(self, live: LiveCall, leg: int | None) -> bool:
        """A leg is silent: whether all are now, where each should be heard (so not on hold)."""
        if leg is None or live.is_ended or live.answering is not None:
            return False  # what of ours talks to the caller ends the call itself
        media = [item for item in (live.call.media(side) for side in Side) if item is not None]
        if any(item.is_held or not item.direction.receives for item in media):
            return False
        live.silent_legs.add(leg)
        _log.warning("call.silent", call_id=str(live.id), leg=leg)
        return len(live.silent_legs) == len(live.route.plan.legs)

    async def is_silent(self, live: LiveCall) -> bool:
        """Whether really nobody is there: a silence is told when it begins, but not when it ends."""
        try:
            report = await self._link.client.bridge(live.bridge_id)
        except (MediaRefused, Unavailable):
            return False
        own = [leg for leg in report.legs if leg.leg in live.route.plan.legs]
        live.silent_legs = {leg.leg for leg in own if leg.silent_ms is None or leg.silent_ms >= SILENT_MS}
        return len(live.silent_legs) == len(own)


async def _nothing() -> list[events.Event]:
    return []


def _is_answered(live: LiveCall) -> bool:
    """Whether the call is answered, by its machine: legs are stated before the answer is noted, since it leaves right after."""
    return live.answered is not None or live.call.state is State.ACTIVE
