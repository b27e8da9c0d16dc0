"""What of an answered call must be known to go on with it in another process. Frozen values of the machine's own, no decision.

Only a call whose parties talk is kept so: one that is being set up has no state that its parties would wait for. An exchange of
descriptions that is under way is not kept either: the request that began it is given to the adopted call once more.
"""

from hushwire.calls.model import Plan, Side, Terms
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sdp.offer_answer import Keying, LegMedia, LocalMedia


@frozen(repr=False)
class KeptEnd:
    """One party's media: what we described last, and what was agreed on last."""

    terms: Terms
    local: LocalMedia
    agreed: LegMedia | None
    keyings: tuple[Keying, ...]

    def __repr__(self) -> str:
        return f"KeptEnd({SHOWN})"


@frozen(repr=False)
class KeptCall:
    """A call as its machine stood. `plan` has the target that answered, and no other; `unmoved` still have to hear of new ports."""

    plan: Plan
    caller: KeptEnd
    callee: KeptEnd | None
    unmoved: tuple[Side, ...] = ()
    aside: Side | None = None
    """Whose party stood aside: the other one waits for who takes its place."""

    def __repr__(self) -> str:
        return f"KeptCall({SHOWN})"
