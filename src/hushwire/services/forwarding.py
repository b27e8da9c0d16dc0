"""What an agent wants done with calls that it does not take, and how far a call that goes on has come. Values, no decision about ways."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from hushwire.calls.diversion import DiversionReason
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen

VOICEMAIL: Final = "voicemail"
"""The destination that is the agent's own mailbox, whatever anybody is called."""
MOST_DIVERSIONS: Final = 5
"""So often a call goes on at most, what carriers told of included; each agent diverts it once."""
SHORTEST_RING_S: Final = 5
LONGEST_RING_S: Final = 120
_DESTINATION: Final = re.compile(r"[A-Za-z0-9+][A-Za-z0-9+._-]{0,63}", re.ASCII)


@frozen
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
    """How long phones ring before the call goes to `no_answer`; None: as long as those of agents do."""
    do_not_disturb: bool = False
    call_waiting: bool = True
    """Whether a call rings while the agent is in another; else the agent is busy to it."""

    @property
    def not_rung(self) -> DiversionReason | None:
        """Why no phone of the agent is to be rung, whatever it does; None where they are."""
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
            case DiversionReason.DEFLECTION:
                return None  # the phone names it

    def destinations(self) -> dict[str, str]:
        """Those that are set, by the setting's name."""
        named = {name: getattr(self, name) for name in ("always", "busy", "no_answer", "unavailable")}
        return {name: value.reveal() for name, value in named.items() if value is not None}

    def to_json(self) -> bytes | None:
        """For the sealed column; None where all is as it is by default."""
        said = {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) != item.default}
        words = {name: value.reveal() if isinstance(value, Personal) else value for name, value in said.items()}
        return json.dumps(words, separators=(",", ":"), sort_keys=True).encode() if words else None


def from_json(data: str | None) -> Forwarding:
    """What `to_json` wrote; what this version does not know of it is passed over."""
    return of_values(json.loads(data)) if data else Forwarding()


def of_values(said: Mapping[str, str | int | bool | None]) -> Forwarding:
    """The settings that these words say; what is left out is as by default."""
    known = {item.name for item in fields(Forwarding)}
    values = {name: Personal(value) if isinstance(value, str) else value for name, value in said.items() if name in known}
    return Forwarding(**{name: value for name, value in values.items() if value is not None})  # type: ignore[arg-type]


def is_destination(text: str) -> bool:
    """Whether it looks like an extension, a user name or a number; the verdict says whether it may be called."""
    return _DESTINATION.fullmatch(text) is not None


@frozen
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
