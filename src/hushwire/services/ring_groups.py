"""Ring groups: an extension that several agents answer. Values; which phones ring says group_ringing.py."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId

RING_TOGETHER_S: Final = 60
"""How long all members are rung at once, by default."""
RING_IN_TURN_S: Final = 20
"""And each, one after the other."""
LONGEST_IN_TURN_S: Final = 300
"""Once a call has rung for so long, no further member is rung."""


class Strategy(StrEnum):
    """In which order members are rung. Rows and the provisioning file carry the word."""

    PARALLEL = "parallel"  # all at once
    SERIAL = "serial"  # one after the other, in the order of the list


@dataclass(frozen=True, slots=True)
class RingGroup:
    """One group. `ring_s` is how long all are rung, or each in turn. Members' own forwarding counts only where `follows_forwarding`."""

    id: UUID
    name: str
    extension: str
    strategy: Strategy
    ring_s: int
    follows_forwarding: bool
    members: tuple[AgentId, ...]
