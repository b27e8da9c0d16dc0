"""Offers that we make the parties of a call by ourselves, one at a time: of other ports, to refresh the session, and to a party that was
held by one who is gone."""

from collections.abc import Callable, Iterable
from enum import StrEnum

from hushwire.calls import effects
from hushwire.calls.effects import Effect
from hushwire.calls.ends import End
from hushwire.calls.model import Side
from hushwire.calls.reoffer import MOST_RETRIES
from hushwire.sdp.offer_answer import Direction


class Fate(StrEnum):
    """What became of an offer."""

    GONE = "gone"  # RFC 3261 section 12.2.1.2: there is no such dialog over there
    AGAIN = "again"  # it met one of the party's own, and is made again after a while
    LATER = "later"  # the same, once what is under way there is over
    TAKEN = "taken"  # or refused: a party that refuses other ports keeps what it had
    RESUMED = "resumed"  # as taken, by a party that was held by one who is gone


class OwnOffers:
    """Who is owed an offer, and who was made one and has not answered yet (`asked`)."""

    __slots__ = ("_due", "_resumed", "_retries", "asked")

    def __init__(self, due: Iterable[Side] = ()) -> None:
        self._due = list(due)
        self._resumed: set[Side] = set()
        self._retries = 0
        self.asked: Side | None = None

    @property
    def owed(self) -> tuple[Side, ...]:
        """Whoever has yet to agree."""
        return (*self._due, *(() if self.asked is None else (self.asked,)))

    def owe(self, side: Side, *, resumes: bool = False) -> None:
        """Offer this party what is agreed anew, once its turn comes; `resumes`: to hear and be heard, whatever was agreed."""
        if resumes:
            self._resumed.add(side)
        if side not in self._due:
            self._due.append(side)

    def resumes(self, side: Side) -> bool:
        """Whether the party is to hear and be heard again."""
        return side in self._resumed

    def forget(self, side: Side) -> None:
        """The party is gone."""
        self._due = [one for one in self._due if one is not side]
        self._resumed.discard(side)
        if self.asked is side:
            self.asked = None

    def settle(self) -> None:
        """All is offered anew anyway."""
        self._due, self.asked = [], None

    def next(self, end_of: Callable[[Side], End | None]) -> list[Effect]:
        """The next offer, where none is under way."""
        if not self._due or self.asked is not None:
            return []
        side = self._due.pop(0)
        end = end_of(side)
        if end is None or end.agreed is None:
            return []
        self.asked = side
        direction = Direction.SENDRECV if side in self._resumed else end.agreed.direction
        return [effects.SendReinvite(side, end.offer(end.agreed, direction=direction))]

    def answered(self, side: Side, status: int, retry_after_s: float | None) -> Fate:
        """The final response of who was asked."""
        self.asked = None
        if status in (408, 481):
            self._resumed.discard(side)
            return Fate.GONE
        if retry_after_s is not None and self._retries < MOST_RETRIES:
            self._retries += 1
            self._due.append(side)
            return Fate.AGAIN
        if status == 491 and retry_after_s is None:
            self._due.append(side)
            return Fate.LATER
        was_held = side in self._resumed
        self._resumed.discard(side)
        self._retries = 0
        return Fate.RESUMED if was_held else Fate.TAKEN
