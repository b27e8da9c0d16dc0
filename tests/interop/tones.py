"""Phones that each speak in a tone of their own, so that it can be told who hears whom where several speak at once."""

from __future__ import annotations

import asyncio

import numpy as np

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import RATE
from tests.native.sound import level_db

HEARD_DB, UNHEARD_DB = -35.0, -50.0


def tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    """To be spoken in a circle: a whole number of turns."""
    turns = round(hz * seconds)
    return (8000 * np.sin(2 * np.pi * turns / seconds * np.arange(int(seconds * RATE)) / RATE)).astype(np.int16)


async def hears(party: Party, call: int, heard: tuple[float, ...], unheard: tuple[float, ...] = (), *, within_s: float = 20.0) -> None:
    """Waits until the newest second that the party heard holds these tones and not those."""
    loop = asyncio.get_running_loop()
    until, levels = loop.time() + within_s, dict[float, float]()
    while loop.time() < until:
        newest = (await party.heard(call)).samples[-RATE:]
        if len(newest) == RATE:
            levels = {hz: level_db(newest, hz, RATE) for hz in (*heard, *unheard)}
            if all(levels[hz] > HEARD_DB for hz in heard) and all(levels[hz] < UNHEARD_DB for hz in unheard):
                return
        await asyncio.sleep(0.25)
    raise AssertionError(f"{party.name} should hear {heard} and not {unheard}: {levels}")
