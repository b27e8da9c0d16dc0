"""What an agent wants done with calls that it does not take, and how far a call that goes on has come. Values, no decision about ways."""

from dataclasses import dataclass
from typing import Final

from hushwire.calls.diversion import DiversionReason
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal

VOICEMAIL: Final = "voicemail"
"""The destination that is the agent's own mailbox, whatever anybody is called."""
MOST_DIVERSIONS: Final = 5
"""So often a call goes on at most, what carriers told of included; each agent diverts it once."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """An agent's settings. Each destination is an extension, a user name, a number as the agent dials it, or VOICEMAIL; None: no
    diversion then.

    `unavailable` (no phone is registered, or none can be reached) is as `no_answer` where it is not set. Do not disturb: no phone is
    rung, and the call goes where it would if all were busy.
    """

    always: Personal[str] | None = None
    busy: Personal[str] | None = None
    no_answer: Personal[str] | None = None
    unavailable: Personal[str] | None = None
    no_answer_after_s: int | None = None
    """How long phones ring; None: as long as those of agents do."""
    do_not_disturb: bool = False

    @property
    def not_rung(self) -> DiversionReason | None:
        """Why no phone of the agent is to be rung; None where they are."""
        if self.always is not None:
            return DiversionReason.UNCONDITIONAL
        return DiversionReason.DO_NOT_DISTURB if self.do_not_disturb else None

    def to(self, reason: DiversionReason) -> Personal[str] | None:
        """Where a call goes on to that was not taken for this reason."""
        match reason:
            case DiversionReason.UNCONDITIONAL:
                return self.always
            case DiversionReason.USER_BUSY | DiversionReason.DO_NOT_DISTURB:
                return self.busy
            case DiversionReason.NO_ANSWER:
                return self.no_answer
            case DiversionReason.UNAVAILABLE:
                return self.unavailable or self.no_answer


@dataclass(frozen=True, slots=True)
class Diversion:
    """An agent's phones did not take the call, or were not to be rung, and it went on. `refused`: why it did not, in a word."""

    agent_id: AgentId
    reason: DiversionReason
    leads_out: bool = False
    refused: str | None = None

    def facts(self) -> dict[str, str | bool | None]:
        """For the row and the API."""
        return {
            "agent": str(self.agent_id),
            "reason": self.reason.value,
            "leads_out": self.leads_out,
            "refused": self.refused,
        }
