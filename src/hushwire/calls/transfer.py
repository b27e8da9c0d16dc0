"""Words of transfers that rows, the journal and services share."""

from enum import StrEnum
from uuid import UUID

from hushwire.core.values import frozen


class TransferKind(StrEnum):
    """How a party's place came to be taken. Rows carry it."""

    BLIND = "blind"
    ATTENDED = "attended"
    RETURN = "return"  # whom the party was transferred to did not take it: it is with who transferred it again
    PARK = "park"
    RETRIEVE = "retrieve"
    PICKUP = "pickup"
    MOVE = "move"  # from one of an agent's devices to another


@frozen
class Exchange:
    """Legs on their way: the one of `leg` is put aside, and `from_leg` of another bridge comes in its place."""

    leg: int
    from_bridge: UUID
    from_leg: int
    is_vacant: bool = False
    """Nobody had to be put aside: the place is empty."""


SPARE = 15
"""The number of a leg that is put aside while another takes its place."""
