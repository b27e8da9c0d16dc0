"""Where a call may stand, and what it does with an event in each state: a table, so that it can be looked at as one."""

from enum import StrEnum
from typing import Any, Final

from hushwire.calls import events


class State(StrEnum):
    """Where a call stands."""

    NEW = "new"
    OPENING = "opening"
    SUMMONING = "summoning"
    ANNOUNCING = "announcing"
    RINGING = "ringing"
    DIVERTING = "diverting"
    OFFERING = "offering"
    ACTIVE = "active"
    RENEWING = "renewing"
    WAITING = "waiting"
    ENDED = "ended"


LIVE: Final = frozenset(set(State) - {State.NEW, State.ENDED})

STEPS: Final[dict[tuple[State, type[Any]], str]] = {
    (State.OPENING, events.MediaOpened): "_opened",
    (State.OPENING, events.MediaFailed): "_failed",
    (State.OPENING, events.Cancelled): "_cancelled",
    (State.OPENING, events.Stopped): "_stopped",
    (State.SUMMONING, events.MediaFailed): "_failed",
    (State.SUMMONING, events.Accepted): "_accepted",
    (State.SUMMONING, events.CallerCame): "_came",
    (State.SUMMONING, events.Rejected): "_rejected",
    (State.SUMMONING, events.RingTimeout): "_nobody_answered",
    (State.SUMMONING, events.PortsMoved): "_ports_moved",
    (State.SUMMONING, events.Stopped): "_stopped",
    (State.ANNOUNCING, events.MediaFailed): "_failed",
    (State.ANNOUNCING, events.Announced): "_announced",
    (State.ANNOUNCING, events.Reoffered): "_reoffered_early",
    (State.ANNOUNCING, events.PortsMoved): "_ports_moved",
    (State.ANNOUNCING, events.Cancelled): "_cancelled",
    (State.ANNOUNCING, events.Stopped): "_stopped",
    (State.RINGING, events.MediaFailed): "_failed",
    (State.RINGING, events.Progressed): "_progressed",
    (State.RINGING, events.Accepted): "_accepted",
    (State.RINGING, events.Rejected): "_rejected",
    (State.RINGING, events.Reoffered): "_reoffered_early",
    (State.RINGING, events.RingTimeout): "_nobody_answered",
    (State.RINGING, events.Cancelled): "_cancelled",
    (State.RINGING, events.Stopped): "_stopped",
    (State.DIVERTING, events.Diverted): "_diverted",
    (State.DIVERTING, events.NotDiverted): "_not_diverted",
    (State.DIVERTING, events.Reoffered): "_reoffered_early",
    (State.DIVERTING, events.AnsweredHere): "_answered_here",
    (State.DIVERTING, events.MediaFailed): "_failed",
    (State.DIVERTING, events.PortsMoved): "_ports_moved",
    (State.DIVERTING, events.Cancelled): "_cancelled",
    (State.DIVERTING, events.Stopped): "_stopped",
    (State.OFFERING, events.MediaFailed): "_failed",
    (State.OFFERING, events.Acknowledged): "_answered_by_ack",
    (State.OFFERING, events.HungUp): "_hung_up",
    (State.OFFERING, events.NeverAcknowledged): "_never_acknowledged",
    (State.OFFERING, events.Stopped): "_stopped",
    (State.ACTIVE, events.MediaFailed): "_failed",
    (State.ACTIVE, events.Reoffered): "_reoffered",
    (State.ACTIVE, events.Reanswered): "_reanswered",
    (State.ACTIVE, events.RetryDue): "_retry_due",
    (State.ACTIVE, events.Acknowledged): "_acknowledged",
    (State.ACTIVE, events.RefreshDue): "_refresh_due",
    (State.RINGING, events.PortsMoved): "_ports_moved",
    (State.OFFERING, events.PortsMoved): "_ports_moved",
    (State.ACTIVE, events.PortsMoved): "_ports_moved",
    (State.ACTIVE, events.HungUp): "_hung_up",
    (State.ACTIVE, events.NeverAcknowledged): "_never_acknowledged",
    (State.ACTIVE, events.Stopped): "_stopped",
    (State.ACTIVE, events.MediaLost): "_lost",
    (State.RINGING, events.PickingUp): "_picking_up",
    (State.RINGING, events.PickedUp): "_picked_up",
    (State.ACTIVE, events.Replaced): "_replaced",
    (State.ACTIVE, events.StoodAside): "_stood_aside",
    (State.ACTIVE, events.Yielded): "_yielded",
    (State.WAITING, events.Replaced): "_replaced",
    (State.WAITING, events.Yielded): "_yielded",
    (State.WAITING, events.MediaFailed): "_failed",
    (State.WAITING, events.Reoffered): "_reoffered",
    (State.WAITING, events.Reanswered): "_reanswered",
    (State.WAITING, events.RetryDue): "_retry_due",
    (State.WAITING, events.Acknowledged): "_acknowledged",
    (State.WAITING, events.RefreshDue): "_refresh_due",
    (State.WAITING, events.PortsMoved): "_ports_moved",
    (State.WAITING, events.HungUp): "_hung_up",
    (State.WAITING, events.NeverAcknowledged): "_never_acknowledged",
    (State.WAITING, events.Stopped): "_stopped",
    (State.RENEWING, events.MediaOpened): "_reopened",
    (State.RENEWING, events.MediaFailed): "_failed",
    (State.RENEWING, events.MediaLost): "_failed",
    (State.RENEWING, events.Reanswered): "_renewed",
    (State.RENEWING, events.RetryDue): "_renew_again",
    (State.RENEWING, events.HungUp): "_hung_up",
    (State.RENEWING, events.NeverAcknowledged): "_never_acknowledged",
    (State.RENEWING, events.Stopped): "_stopped",
}
"""The method of `Call` that takes an event; where none stands, an event crossed another one and is of no use any more."""
