"""Conferences: agents of an organisation dial a room's number, and all who are in the room hear each other.

A room is there as long as somebody is in it. It is a call of its own (a row, a bridge, a recording where calls are recorded), and so is
each member's; a member is a leg of the room's bridge. Nobody is called out of a room, so no trunk is reached from one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hushwire.calls import events
from hushwire.calls.model import EndReason, JoinedAs
from hushwire.core.ids import OrgId
from hushwire.services.call_starts import CallStarts
from hushwire.services.live import Joining, LiveCall
from hushwire.services.route import Route
from hushwire.sip.effects import TxId
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request

MOST_MEMBERS: Final = 16


class Conferences:
    """This gateway's rooms. `feed` gives a call's machine an event."""

    def __init__(self, starts: CallStarts, feed: Callable[[LiveCall, events.Event], None]) -> None:
        self._starts = starts
        self._feed = feed
        self._rooms: dict[tuple[OrgId, str], LiveCall] = {}

    def enter(self, tx: TxId, request: Request, flow: Flow, route: Route) -> None:
        """An agent dialled a room: it is opened where nobody is in it yet."""
        name = (route.org.id, route.room or "")
        room = self._rooms.get(name)
        if room is None or room.is_ended:
            room = self._rooms[name] = self._starts.room(route)
        leg = next((leg for leg in range(MOST_MEMBERS) if leg not in room.guests), None)
        if leg is None:
            self._starts.decline(tx, "conference-full")
            return
        plan = replace(route.plan, caller=replace(route.plan.caller, leg=leg), is_recorded=False, joins=leg)
        self._starts.member(tx, request, flow, replace(route, plan=plan), Joining(room, leg, JoinedAs.MEMBER))

    def left(self, room: LiveCall) -> None:
        """A member's leg is closed: the last one ends the room."""
        if room.route.plan.is_room and not room.guests and not room.is_ended:
            self._feed(room, events.Stopped(EndReason.EVERYBODY_LEFT))
        for name in [name for name, known in self._rooms.items() if known.is_ended]:
            del self._rooms[name]
