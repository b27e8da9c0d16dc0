"""Whether an agent's phones are to be rung at all now, by its own settings and by whether it is in a call."""

from collections.abc import Callable

from hushwire.calls.diversion import DiversionReason
from hushwire.core.ids import AgentId
from hushwire.services.snapshot import Agent
from hushwire.sip import refusals


class Availability:
    """Of the agents of this gateway, in this moment."""

    def __init__(self) -> None:
        self.is_talking: Callable[[AgentId], bool] = lambda _agent: False
        """Whether an agent is in a call."""

    def not_rung(self, agent: Agent) -> DiversionReason | None:
        """Why no phone of an agent is to be rung; None where they are."""
        wish = agent.forwarding
        if wish.not_rung is None and not wish.call_waiting and self.is_talking(agent.id):
            return DiversionReason.USER_BUSY
        return wish.not_rung

    def is_left_alone(self, agent: Agent) -> bool:
        """Whether calls of a group pass an agent by."""
        wish = agent.forwarding
        return wish.do_not_disturb or (not wish.call_waiting and self.is_talking(agent.id))


def not_taken(not_rung: DiversionReason | None, otherwise: str) -> tuple[int, str, str]:
    """Status, Reason and the row's word for a call that rings nobody and goes nowhere."""
    if not_rung is DiversionReason.USER_BUSY:
        return 486, refusals.header("busy"), "busy"
    return 480, refusals.header("do-not-disturb" if not_rung is DiversionReason.DO_NOT_DISTURB else otherwise), "unavailable"
