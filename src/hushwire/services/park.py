"""Parked calls: one party waits with music in a numbered slot until somebody of the organisation takes the call there.

Slots are the organisation's over all gateways (services/elsewhere.py); here are those whose calls this gateway holds.

Who parks does so by REFER to the code (the lowest free slot) or to a slot's own number; the NOTIFY says which it became. Dialling a
slot's number takes the call. Nobody came in time: who parked it is rung again, and where that one does not answer the call waits on.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hushwire.core.ids import CallId, OrgId
from hushwire.services.live import LiveCall

SLOTS: Final = 99
PARKED_S: Final = 120.0
"""How long a call waits before who parked it is rung again."""
MOST_RETURNS: Final = 3
"""So often; then the call ends."""


class Park:
    """This gateway's slots. `overdue` is told of a call that nobody took in time, `freed` of one that left its slot."""

    def __init__(
        self,
        overdue: Callable[[LiveCall], None],
        parked_s: float = PARKED_S,
        freed: Callable[[OrgId, LiveCall, str], None] = lambda _org, _live, _slot: None,
    ) -> None:
        self._overdue = overdue
        self._freed = freed
        self.parked_s = parked_s
        self._slots: dict[tuple[OrgId, str], LiveCall] = {}
        self._timers: dict[LiveCall, asyncio.TimerHandle] = {}

    def is_free(self, org_id: OrgId, slot: str) -> bool:
        """Whether it is a slot, and no call of this gateway is in it."""
        return slot.isascii() and slot.isdigit() and 1 <= len(slot) <= 2 and self.find(org_id, slot) is None

    def choose(self, org_id: OrgId, wanted: str = "") -> str | None:
        """A slot that is free here: the one that is wanted, else the lowest. None where there is none."""
        slots = [wanted] if wanted else [str(number) for number in range(1, SLOTS + 1)]
        return next((slot for slot in slots if self.is_free(org_id, slot)), None)

    def held(self) -> set[CallId]:
        """The calls that are in slots."""
        return {live.id for live in self._slots.values() if not live.is_ended}

    def keep(self, slot: str, live: LiveCall) -> None:
        """The slot is this call's, which is about to be in it."""
        self._slots[live.route.org.id, slot] = live

    def put(self, slot: str, live: LiveCall) -> None:
        """The call is in this slot, and its time begins, perhaps anew."""
        self.keep(slot, live)
        self._stop(live)
        self._timers[live] = asyncio.get_running_loop().call_later(self.parked_s, self._overdue, live)

    def find(self, org_id: OrgId, slot: str) -> LiveCall | None:
        """The call in a slot of the organisation; of another one's slots nobody learns anything."""
        live = self._slots.get((org_id, slot))
        return None if live is None or live.is_ended else live

    def taken(self, live: LiveCall) -> None:
        """The call is in no slot any more."""
        self._stop(live)
        for key in [key for key, parked in self._slots.items() if parked is live]:
            del self._slots[key]
            self._freed(key[0], live, key[1])

    def _stop(self, live: LiveCall) -> None:
        timer = self._timers.pop(live, None)
        if timer is not None:
            timer.cancel()
