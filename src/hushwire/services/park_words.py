"""Who parks a call hears where: "parked at", then the slot's digits, while it is still in the call. The NOTIFY says the same afterwards.

Phones that hold the other party before they transfer, as many do, listen to nothing then: they have the NOTIFY alone, and at once.
"""

from typing import Final

from hushwire.calls.model import Side
from hushwire.services.live import LiveCall
from hushwire.services.sound_library import PARKED, SoundKind
from hushwire.services.sounds import Playing, Sounds

PATIENCE_S: Final = 1.0
"""How long after its own length a word may take: nobody is kept in a call by words that can't be sent."""


class ParkWords:
    """The words that are being said now."""

    def __init__(self, sounds: Sounds) -> None:
        self._sounds = sounds
        self._said: dict[LiveCall, Playing | None] = {}

    async def say(self, live: LiveCall, side: Side, slot: str) -> None:
        """Say the slot to the party on `side`; returns once it was said, or can't be."""
        end, org = live.call.end(side), live.route.org
        words = (PARKED, *slot)
        if end is None or end.agreed is None or not end.agreed.direction.sends:
            return
        if not all(self._sounds.library.has(SoundKind.PARK, org.slug, word) for word in words):
            return
        self._said[live] = None
        try:
            for word in words:
                one = await self._sounds.play(live.bridge_id, end.terms.leg, end.agreed, SoundKind.PARK, org, reason=word)
                if live.is_ended or live not in self._said:
                    return
                if one is None:
                    return
                self._said[live] = one
                await self._sounds.wait(one, PATIENCE_S)
                if live not in self._said or not one.was_heard:
                    return
        finally:
            self._said.pop(live, None)

    async def cut(self, live: LiveCall) -> None:
        """Who parked it hung up: there is nobody to be told."""
        one = self._said.pop(live, None)
        if one is not None:
            await self._sounds.stop(one)
