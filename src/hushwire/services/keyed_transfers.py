"""Transfers that an agent keys in a call: `[features] transfer_by_keys`, a number, and # (off unless it is set).

Only telephone-events of an agent's own leg count, never tones: whoever is on the far side can play these, and what an agent's phone
sends by itself comes under its keys. From the code on the other party hears nothing of that leg, so it is not told the number; a refusal
is spoken to the agent alone. It is one more way out, judged as channel `dtmf` (services/transfers.py does the rest).
"""

import asyncio

import structlog

from hushwire.calls.keyed_transfer import PAUSE_S, Began, GaveUp, KeyedTransfer, Wanted
from hushwire.calls.model import Side
from hushwire.core.clock import Clock
from hushwire.core.errors import Unavailable
from hushwire.media.digits import DigitHeard, HeardAs
from hushwire.media.link import MediaLink
from hushwire.media.model import MediaRefused
from hushwire.services.call_media import CallMedia
from hushwire.services.call_tasks import CallTasks
from hushwire.services.live import LiveCall
from hushwire.services.sound_library import SoundKind
from hushwire.services.sounds import Sounds
from hushwire.services.transfers import Transfers, is_transferable

_log = structlog.get_logger(__name__)


class KeyedTransfers:
    """This gateway's. No `code`: nothing is read."""

    def __init__(
        self, code: str | None, transfers: Transfers, link: MediaLink, media: CallMedia, sounds: Sounds, tasks: CallTasks, clock: Clock
    ) -> None:
        self._code = code
        self._transfers = transfers
        self._link = link
        self._media = media
        self._sounds = sounds
        self._tasks = tasks
        self._clock = clock

    def heard(self, live: LiveCall, leg: int, digit: DigitHeard) -> None:
        """A key of a leg."""
        if self._code is None or digit.heard_as is not HeardAs.EVENT or live.transfer is not None or not is_transferable(live):
            return
        side = next((side for side in Side if live.call.leg(side) == leg and live.party(side).agent is not None), None)
        if side is None:
            return
        reader = live.keyed.setdefault(side, KeyedTransfer(self._code))
        if (pause := live.key_pauses.pop(side, None)) is not None:
            pause.cancel()
        match reader.key(digit.digit.reveal(), self._clock.monotonic()):
            case Began():
                self._tasks.spawn(self._hush(live, side), "transfer-keys")
            case GaveUp():
                self._tasks.spawn(self._let_hear(live), "transfer-keys")
            case Wanted(number):
                self._tasks.spawn(self._transfer(live, side, number.reveal()), "transfer-keys")
        if reader.is_reading:
            live.key_pauses[side] = asyncio.get_running_loop().call_later(PAUSE_S, self._paused, live, reader)

    def _paused(self, live: LiveCall, reader: KeyedTransfer) -> None:
        reader.give_up()
        self._tasks.spawn(self._let_hear(live), "transfer-keys")

    async def _transfer(self, live: LiveCall, side: Side, number: str) -> None:
        await self._let_hear(live)
        why = self._transfers.keyed(live, side, number)
        if why is None or live.is_ended:
            return
        end = live.call.end(side)
        if end is not None and end.agreed is not None:
            await self._sounds.play(live.id, end.terms.leg, end.agreed, SoundKind.REFUSAL, live.route.org, reason=why)

    async def _hush(self, live: LiveCall, side: Side) -> None:
        """The other party hears nothing of this one, keys included."""
        other = live.call.leg(side.other)
        if other is None or live.is_ended:
            return
        async with live.arranging:
            try:
                await self._link.client.set_hears(live.id, other, ())
                live.hears[other] = frozenset()
            except (MediaRefused, Unavailable) as error:
                _log.warning("transfer.keys_heard", call_id=str(live.id), why=str(error))

    async def _let_hear(self, live: LiveCall) -> None:
        if not live.is_ended and live.has_bridge:
            await self._media.arrange(live)
