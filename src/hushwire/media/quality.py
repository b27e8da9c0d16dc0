"""How a leg sounds, as the media process says it: every five seconds, at the end of a call, and when a party is not heard."""

from enum import IntEnum
from typing import Final

from hushwire.core.values import frozen
from hushwire.media.wire import Fields, Tag


class SilenceCause(IntEnum):
    """Why a party is not heard, as far as the media process can tell (docs/quality.md)."""

    OVER = 0
    NOTHING_CAME = 1
    WRONG_TAG = 2
    SOURCE_REFUSED = 3
    UNREADABLE = 4
    STOPPED = 5
    NOT_HEARD = 6

    @property
    def words(self) -> str:
        """As rows and events name it."""
        return self.name.lower().replace("_", "-")


@frozen
class LegQuality:
    """Of five seconds, or (in LEG_STATS) the means of a whole call with its worst five seconds. None: not known.

    Losses are shares of 1; `mos_received` is how the party sounds at hushwire, `mos_heard` how the call sounds to the party (ITU-T G.107).
    """

    leg: int
    jitter_ms: float
    round_trip_ms: float | None = None
    loss_received: float | None = None
    loss_reported: float | None = None
    remote_jitter_ms: float | None = None
    burst_ratio: float | None = None
    mos_received: float | None = None
    mos_heard: float | None = None
    round_trip_max_ms: float | None = None
    jitter_max_ms: float | None = None
    mos_received_worst: float | None = None
    mos_heard_worst: float | None = None

    @classmethod
    def read(cls, fields: Fields) -> "LegQuality":
        """From the fields of LEG_QUALITY or LEG_STATS."""
        leg, jitter_us = fields.integers((Tag.LEG, Tag.JITTER_US))
        return cls(leg, jitter_us / 1000, *fields.numbers(_MEASURED))


# In the order of LegQuality, with the units that each is told in.
_MEASURED: Final = (
    (Tag.ROUND_TRIP_US, 1000), (Tag.LOSS_RECEIVED, 10_000), (Tag.LOSS_REPORTED, 10_000), (Tag.REMOTE_JITTER_US, 1000),
    (Tag.BURST_RATIO, 100), (Tag.MOS_RECEIVED, 100), (Tag.MOS_HEARD, 100), (Tag.ROUND_TRIP_MAX_US, 1000), (Tag.JITTER_MAX_US, 1000),
    (Tag.MOS_RECEIVED_WORST, 100), (Tag.MOS_HEARD_WORST, 100),
)  # fmt: skip
UNKNOWN: Final = LegQuality(leg=0, jitter_ms=0.0)
