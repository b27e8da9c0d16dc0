"""Recordings of networks at their worst: loss, jitter, stalls, reordering, repetition, drift, leaps, restarts, pauses, changing codecs."""

import random
import secrets
import struct

import numpy as np

from hushwire.recording import entries
from hushwire.recording.entries import Entry
from tests.recording.test_playback import encoded, speech

NAMES = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}


def leg(chance: random.Random, number: int, seconds: float, *, codecs: tuple[int, ...]) -> list[Entry]:
    """One leg's packets as they arrived."""
    sounds = {
        codec: encoded(speech(seconds, chance.randrange(1 << 30), 16000 if codec == 9 else 8000), NAMES[codec][:4]) for codec in codecs
    }
    drift = 1 + chance.uniform(-400, 400) / 1e6
    ssrc, sequence, timestamp = chance.randrange(1 << 32), chance.randrange(1 << 16), chance.randrange(1 << 32)
    codec, made, stalled_until, lost_until = codecs[0], list[Entry](), 0.0, 0
    for n in range(int(seconds * 50)):
        fate = chance.random()
        if fate < 0.001:
            ssrc, sequence, timestamp = chance.randrange(1 << 32), chance.randrange(1 << 16), chance.randrange(1 << 32)
        elif fate < 0.0015:
            timestamp += chance.choice([-50_000, 77_000, 1 << 31])
        elif fate < 0.002:
            sequence += 20_000
        elif fate < 0.004:
            codec = chance.choice(codecs)
        elif fate < 0.005:
            stalled_until = n * 0.02 + chance.uniform(0.2, 12)
        elif fate < 0.01:
            lost_until = n + chance.choice([1, 2, 5, 50, 400])
        payload = sounds[codec][160 * n : 160 * n + 160]
        sequence, timestamp = (sequence + 1) & 0xFFFF, (timestamp + 160) & 0xFFFFFFFF
        if n < lost_until or chance.random() < 0.01 or not payload:
            continue
        arrival = max(n * 0.02 / drift + chance.expovariate(1 / 0.01), min(stalled_until, seconds))
        packet = struct.pack(">BBHII", 0x80, codec, sequence, timestamp, ssrc) + payload
        made.append(entries.rtp(number, round(arrival * 10_000), packet))
        if chance.random() < 0.01:
            made.append(entries.rtp(number, round((arrival + 0.05) * 10_000), packet))
    return made


def recording(seed: int, seconds: float, codecs: tuple[int, ...]) -> tuple[list[Entry], float]:
    """Entries of both legs with pauses and changed formats, and the recording's length in seconds."""
    chance = random.Random(seed)
    content = [entry for number in (0, 1) for entry in leg(chance, number, seconds, codecs=codecs)]
    for _ in range(chance.randrange(3)):
        start = chance.uniform(0, seconds - 12)
        end = start + chance.uniform(0.1, 10)
        content = [entry for entry in content if not start * 10_000 <= entry.time < end * 10_000]
        content += [entries.pause(round(start * 10_000)), entries.resume(round(end * 10_000))]
    content.append(entries.formats([NAMES] * 2, round(chance.uniform(0, seconds) * 10_000)))
    content.append(entries.rtp(chance.randrange(2), 10_000, secrets.token_bytes(30)))
    length = max(seconds, max(entry.time for entry in content) / 10_000)
    return content, int(length * 1000) / 1000


def samples(wav: bytes) -> "np.ndarray[tuple[int, int], np.dtype[np.int16]]":
    """The stereo samples of a WAV file of ours."""
    return np.frombuffer(wav[44:], "<i2").reshape(-1, 2)
