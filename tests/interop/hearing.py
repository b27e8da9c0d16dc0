"""What phones hear of each other, told piece by piece: a busy machine's phones stutter, so that a test waits for a clean piece.

A piece is clean when it is the other's speech, at the other's volume, and nothing of one's own. What was lost on the way is counted
apart (`lost_nothing`): a phone conceals single packets so well that no likeness tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hushwire.app.demo.correlate import correlate_with_slips
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import RATE, Voice, bundled
from tests.polling import until

Samples = NDArray[np.int16]
Speech = Voice | Samples
"""Somebody's speech, which is spoken in a circle; samples are at the rate of the phone that hears them."""

HEARD: Final = 0.9
# Of a piece whose sound was coded and resampled twice on its way; other people's speech stays below 0.5.
RECORDED: Final = 0.8
UNHEARD: Final = 0.5
PIECE_S: Final = 1.5
LEVEL_DB: Final = 3.0
"""How much louder or softer than it was spoken a piece may be: half the amplitude is 6 dB."""
QUIETEST: Final = 300.0
"""Root mean square of a piece that says something: speech has 2,250, the pauses in it next to nothing."""
LOST: Final = 0.02
"""Of the packets of a call, on a loopback where none needs to be lost; a kernel may drop some of a process that stood still."""

ENOUGH: Final = 40
"""Packets, of which a loss can be told."""


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """One end of a call: whose phone it is, the call's number there, and what that phone says."""

    party: Party
    call: int
    says: Speech


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a speech a piece fits best: how well (0 to 1), and how much louder it is than there (dB)."""

    score: float
    louder_db: float


async def samples(party: Party, call: int) -> int:
    return len((await party.heard(call)).samples)


async def hear_each_other(
    one: End, other: End, *, heard: float = HEARD, within_s: float = 30.0, fits: Callable[[Any, Samples], bool] = lambda *_: True
) -> None:
    """Waits until each end hears what the other says, and makes sure that no packet between them was lost.

    `fits` is what else is wanted of what was said and of the piece that was heard.
    """
    await asyncio.gather(
        *(
            hears(
                end.party, end.call, there.says, end.says,
                heard=heard, within_s=within_s, fits=lambda piece, said=there.says: fits(said, piece),
            )
            for end, there in ((one, other), (other, one))
        )
    )  # fmt: skip
    for end in (one, other):
        await lost_nothing(end.party, end.call)


async def hears(
    party: Party,
    call: int,
    expected: Speech,
    own: Speech,
    *,
    since: int = 0,
    heard: float = HEARD,
    within_s: float = 30.0,
    fits: Callable[[Samples], bool] = lambda _: True,
) -> None:
    """Waits until the newest second and a half that the party heard (after its first `since` samples) is the other's speech.

    `heard` is the likeness that it takes, `fits` what else is wanted of that piece.
    """
    loop = asyncio.get_running_loop()
    end, tried = loop.time() + within_s, "it heard less than a piece"
    while loop.time() < end:
        sound = await party.heard(call)
        size = int(PIECE_S * sound.rate)
        newest = sound.samples[since:][-size:]
        if len(newest) == size:
            found = place(newest, expected, sound.rate)
            tried = f"{found.score:.2f} like the other's speech, {found.louder_db:+.1f} dB"
            if found.score >= heard and abs(found.louder_db) <= LEVEL_DB and rms(newest) >= QUIETEST and fits(newest):
                echo = place(newest, own, sound.rate).score
                tried += f", {echo:.2f} like its own"
                if echo < UNHEARD:
                    return
        await asyncio.sleep(0.25)
    raise AssertionError(f"{party.name} does not hear the other: {tried}")


async def goes_on(party: Party, call: int, seconds: float = PIECE_S, *, within_s: float = 15.0) -> None:
    """Waits until the newest that the party heard from now on is somebody's speech, whoever's it is, and has not stopped."""
    before = await samples(party, call)

    async def is_heard() -> bool:
        new = (await party.heard(call)).samples[before:][-int(seconds * RATE) :]
        return len(new) == int(seconds * RATE) and rms(new) >= QUIETEST and bool(np.abs(new[-RATE // 2 :]).max() > 200)

    await until(is_heard, timeout_s=within_s, every_s=0.25, what=f"{party.name} goes on hearing somebody")


async def lost_nothing(party: Party, call: int) -> None:
    """What reached this phone has no gaps in its sequence numbers; baresip counts them only for its own reports and is not asked.

    PJSUA2 begins to count anew where a call was held: enough of it is waited for.
    """

    async def counted() -> tuple[int, int] | None:
        stats = (await party.tell("stats", call=call))["stats"]
        if stats is None or "received" not in stats:
            return 0, 0
        packets, lost = stats["received"]["packets"], stats["received"]["lost"]
        return (packets, lost) if packets >= ENOUGH else None

    packets, lost = await until(counted, every_s=0.25, what=f"{party.name} takes in {ENOUGH} packets")
    assert lost <= LOST * packets, f"{party.name} missed {lost} packets and took in {packets}"


def place(piece: Samples, speech: Speech, rate: int = RATE) -> Place:
    """Where the piece fits best into the speech."""
    if isinstance(speech, Voice):
        assert rate == RATE, "bundled speech is narrow"
        speech = bundled(speech)
    if not piece.any():
        return Place(0.0, 0.0)
    circle = np.concatenate([speech, speech])
    match = correlate_with_slips(piece, circle, rate, max_delay_ms=1000 * len(circle) / rate)
    at = round(match.delay_ms * rate / 1000)
    spoken = circle[max(at, 0) : max(at, 0) + len(piece)]
    return Place(match.score, 20 * float(np.log10(rms(piece) / max(rms(spoken), 1.0))))


def rms(sound: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0


def likeness(piece: Samples, voice: Speech, rate: int = RATE) -> float:
    """How well the piece fits anywhere into the speech."""
    return place(piece, voice, rate).score


def holds(side: Samples, rate: int, voice: Voice) -> float:
    """The best likeness of any piece of a recording's channel: a busy machine's phones stutter, and its ends are anybody's."""
    assert rate % RATE == 0
    narrow, size = side[:: rate // RATE], int(PIECE_S * RATE)
    return max(likeness(narrow[at : at + size], voice) for at in range(0, max(len(narrow) - size, 0) + 1, RATE // 2))
