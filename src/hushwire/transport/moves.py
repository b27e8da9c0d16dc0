"""Where the peers of ended or abandoned flows are now: a device that registered again over another connection keeps its calls."""

from collections import OrderedDict
from typing import Final

from hushwire.sip.flow import Flow

_MOST: Final = 16384
_MOST_STEPS: Final = 16


class Moves:
    """Old flow to new flow, the newest `_MOST` of them. Both are of one transport: what was protected stays so, and Via stays true."""

    __slots__ = ("moved",)

    def __init__(self) -> None:
        self.moved: OrderedDict[Flow, Flow] = OrderedDict()
        """Each flow that moved, and where it went."""

    def note(self, old: Flow, new: Flow) -> bool:
        """What is meant for `old` goes by `new` from now on; False where that may not be."""
        if old == new or old.transport is not new.transport:
            return False
        # A peer that came back to where it was: nothing may point in a circle.
        self.moved.pop(new, None)
        self.moved[old] = new
        self.moved.move_to_end(old)
        if len(self.moved) > _MOST:
            self.moved.popitem(last=False)
        return True

    def now(self, flow: Flow) -> Flow:
        """The flow that leads to the peer now."""
        moved = self.moved
        for _ in range(_MOST_STEPS):
            newer = moved.get(flow)
            if newer is None:
                return flow
            flow = newer
        return flow

    def __bool__(self) -> bool:
        return bool(self.moved)
