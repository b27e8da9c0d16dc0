"""How long phones ring, and whether something is set for calls that nobody takes."""

from typing import Final

from hushwire.calls.diversion import DiversionReason
from hushwire.services.snapshot import Agent

RING_AGENT_S: Final = 60.0
RING_TRUNK_S: Final = 120.0


def takes_over(agent: Agent, reason: DiversionReason) -> bool:
    """Whether something is set for calls that an agent does not take for this reason."""
    return agent.forwarding.to(reason) is not None


def ring_s(agent: Agent) -> float:
    """How long an agent's phones ring."""
    seconds = agent.forwarding.no_answer_after_s
    return RING_AGENT_S if seconds is None or not takes_over(agent, DiversionReason.NO_ANSWER) else float(seconds)
