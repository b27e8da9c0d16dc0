"""A conference's room: a bridge without parties of its own. Its members are calls that join it; it stays until it is stopped.

NEW -> OPENING -> ACTIVE -> ENDED
"""

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.model import Plan
from hushwire.core.clock import Random


class Room(Call):
    """One room. `plan.is_room`: it has no leg."""

    def __init__(self, plan: Plan, random: Random) -> None:
        if not plan.is_room:
            raise ValueError("a room has no parties of its own")
        super().__init__(plan, b"", random)

    def _opened(self, event: events.MediaOpened) -> None:
        self.state = State.ACTIVE
        self._do(effects.Answered(None))
