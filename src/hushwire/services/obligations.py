"""What is owed and not done, of all organisations together, in numbers: for /readyz, /metrics and `hushwire doctor`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hushwire.privacy.clocks import ClockKind
from hushwire.services.clocks import Clocks
from hushwire.store import notices
from hushwire.store.database import Connection

GRACE: Final = timedelta(minutes=5)
"""A notice that was queued this long ago and is not sent counts as unsent."""

UNSENT: Final = ("queued", "unaddressed", "failed")


@dataclass(frozen=True, slots=True)
class Standing:
    """Overdue duties by kind; notices that wait by state."""

    overdue: Mapping[ClockKind, int]
    unsent: Mapping[str, int]

    @property
    def overdue_clocks(self) -> int:
        """All of them."""
        return sum(self.overdue.values())

    @property
    def unsent_notices(self) -> int:
        """All of them."""
        return sum(self.unsent.values())


async def standing(connection: Connection, clocks: Clocks) -> Standing:
    """How it stands now; in any transaction."""
    before = clocks.clock.now() - GRACE
    return Standing(
        overdue=await clocks.overdue(connection),
        unsent={state: await notices.count(connection, state, before) for state in UNSENT},
    )
