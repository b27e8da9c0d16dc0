"""What phones heard from some moment on, for calls whose sound goes away and comes back."""

from __future__ import annotations

import asyncio

import numpy as np

from hushwire.app.demo.correlate import correlate_with_slips
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import RATE, Voice, bundled

HEARD = 0.9
# Of a piece whose sound was coded and resampled twice on its way; other people's speech stays below 0.5.
RECORDED = 0.8
PIECE_S = 1.5


async def samples(party: Party, call: int) -> int:
    return len((await party.heard(call)).samples)


async def hears(party: Party, call: int, expected: Voice, own: Voice, *, since: int = 0, within_s: float = 20.0) -> None:
    """Waits until the newest second and a half that the party heard (after its first `since` samples) is the other's speech."""
    loop = asyncio.get_running_loop()
    until, best = loop.time() + within_s, (0.0, 0.0)
    while loop.time() < until:
        newest = (await party.heard(call)).samples[since:][-int(PIECE_S * RATE) :]
        if len(newest) < PIECE_S * RATE:
            await asyncio.sleep(0.25)
            continue
        best = likeness(newest, expected), likeness(newest, own)
        if best[0] >= HEARD and best[1] < 0.5:
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"{party.name} does not hear the other: {best[0]:.2f} like the other's speech, {best[1]:.2f} like its own")


def likeness(piece: np.ndarray, voice: Voice) -> float:
    """How well the piece fits anywhere into the speech, which is spoken in a circle."""
    speech = np.concatenate([bundled(voice), bundled(voice)])
    if not piece.any():
        return 0.0
    return correlate_with_slips(piece, speech, RATE, max_delay_ms=1000 * len(speech) / RATE).score


def holds(side: np.ndarray, rate: int, voice: Voice) -> float:
    """The best likeness of any piece of a recording's channel: a busy machine's phones stutter, and its ends are anybody's."""
    assert rate % RATE == 0
    narrow, size = side[:: rate // RATE], int(PIECE_S * RATE)
    return max(likeness(narrow[at : at + size], voice) for at in range(0, max(len(narrow) - size, 0) + 1, RATE // 2))
