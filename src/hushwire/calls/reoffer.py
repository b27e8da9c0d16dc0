"""One re-INVITE through the call: what a party offers anew is passed on where the other party must know, else answered at once.

The other party must know when the direction changes (hold, resume) or no codec is shared any more. A party that can't be reached for a
moment does not stop a hold: it is granted on our side, and the media process sends nothing to who is held. With `holds_with_music` a hold
stays between its party and us: the other party's dialog is left as it is, and it hears music.
"""

from typing import Final

from hushwire.calls import effects
from hushwire.calls.effects import Effect
from hushwire.calls.ends import End, shared
from hushwire.calls.model import Side
from hushwire.sdp.offer_answer import Direction, LegMedia, Refusal

MOST_RETRIES: Final = 3
"""So often an offer of ours that met one of the party's own is made again."""


class Reoffer:
    """An exchange that `side` began under `tx`. `there` is None in an echo call."""

    __slots__ = (
        "_holds_with_music",
        "_is_resting",
        "_offer",
        "_retries",
        "_wish",
        "awaits_ack",
        "has_changed",
        "here",
        "is_done",
        "side",
        "there",
        "tx",
        "tx_open",
    )

    def __init__(self, side: Side, tx: int, here: End, there: End | None, *, holds_with_music: bool = False) -> None:
        self._holds_with_music = holds_with_music
        self.side = side
        self.tx = tx
        self.here = here
        self.there = there
        self.tx_open = True
        self.awaits_ack = False
        self.is_done = False
        self.has_changed = False
        self._offer = b""
        self._retries = 0
        self._is_resting = False  # until its time comes: another exchange's time is none of its business
        self._wish: LegMedia | None = None

    @classmethod
    def begun_by_us(cls, side: Side, here: End, there: End) -> "Reoffer":
        """An exchange that brings the other party to what `here` has agreed to; nobody waits for our answer."""
        made = cls(side, 0, here, there)
        made.tx_open = False
        return made

    def pass_on(self) -> list[Effect]:
        """Offer what `here` has agreed to to the other party. Only for `begun_by_us`."""
        wish = self.here.agreed
        if self.there is None or wish is None:
            return self._done([])
        self._wish = wish
        return self._pass_on(self.there, wish)

    def begin(self, offer: bytes) -> list[Effect]:
        """Answer, or offer to the other party first. Without an offer (RFC 3264 section 5) ours goes into the 2xx."""
        if not offer:
            self.awaits_ack = True
            self.tx_open = False
            return [effects.RespondReinvite(self.tx, 200, self.here.offer(self.here.agreed))]
        wish = self.here.read(offer)
        if isinstance(wish, Refusal):
            return self._refuse(488)
        self._offer, self._wish = offer, wish
        if self.there is None or not self._concerns(self.there, wish):
            return self._answer(wish.direction)
        return self._pass_on(self.there, wish)

    def retry(self) -> list[Effect]:
        """Offer it to the other party once more: the time for that has come."""
        if self.there is None or self._wish is None or not self._is_resting:
            return []
        self._is_resting = False
        return self._pass_on(self.there, self._wish)

    def reanswered(self, status: int, body: bytes, retry_after_s: float | None = None) -> list[Effect]:
        """The other party's final response."""
        there, wish = self.there, self._wish
        if there is None or wish is None:
            return self._done([])
        if 200 <= status < 300 and there.take_answer(body) is None:
            self.has_changed = True
            direction = Direction.SENDRECV if there.agreed is None else there.agreed.direction.reversed
            return self._answer(wish.direction if self._holds_with_music else direction)
        if retry_after_s is not None and self._retries < MOST_RETRIES:
            # RFC 3261 section 14.1: ours met theirs. Who waits for us does not have to know.
            self._retries += 1
            self._is_resting = True
            return [effects.ArmRetry(self.side.other, retry_after_s)]
        if status == 491:
            return self._refuse(491)
        if there.agreed is not None and (shared(wish, there.agreed) or self._is_transcoded):
            return self._answer(wish.direction)
        return self._refuse(488)

    def acknowledged(self, body: bytes) -> list[Effect]:
        """The ACK to a 2xx that held our offer."""
        self.awaits_ack = False
        before = self.here.agreed
        if not body or self.here.take_answer(body) is not None:
            return self._done([])
        self.has_changed = True
        after = self.here.agreed
        if self.there is None or after is None or before is None or not self._concerns(self.there, after):
            return self._done([])
        self._wish = after
        return self._pass_on(self.there, after)

    @property
    def _is_transcoded(self) -> bool:
        """The call goes on between codecs that the two don't share."""
        here, there = self.here.agreed, None if self.there is None else self.there.agreed
        return here is not None and there is not None and not shared(here, there)

    def _concerns(self, there: End, wish: LegMedia) -> bool:
        if there.agreed is None:
            return False
        if not shared(wish, there.agreed) and not self._is_transcoded:
            return True
        return not self._holds_with_music and wish.direction.reversed is not there.agreed.direction

    def _pass_on(self, there: End, wish: LegMedia) -> list[Effect]:
        direction = Direction.SENDRECV if self._holds_with_music else wish.direction.reversed
        # Where the two share no codec already, each keeps its own.
        like = there.agreed if self._is_transcoded and there.agreed is not None and not shared(wish, there.agreed) else wish
        return [effects.SendReinvite(self.side.other, there.offer(like, direction=direction))]

    def _answer(self, direction: Direction) -> list[Effect]:
        if not self.tx_open:
            return self._done([])
        like = None if self.there is None else self.there.agreed
        body = self.here.answer(self._offer, like, direction=direction)
        if isinstance(body, Refusal):
            return self._refuse(488)
        self.has_changed = True
        self.tx_open = False
        return self._done([effects.RespondReinvite(self.tx, 200, body)])

    def _refuse(self, status: int) -> list[Effect]:
        if not self.tx_open:
            return self._done([])
        self.tx_open = False
        return self._done([effects.RespondReinvite(self.tx, status)])

    def _done(self, steps: list[Effect]) -> list[Effect]:
        self.is_done = True
        return steps
