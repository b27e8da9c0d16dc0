"""Two people's speech: espeak-ng where it is installed, else a small file bundled here that was made with it."""

import io
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000
LEVEL: Final = 9000.0


@dataclass(frozen=True, slots=True)
class Voice:
    """Who says what: an espeak-ng voice, its speed in words a minute, and the sentence; `file` is the bundled copy."""

    file: str
    voice: str
    words_per_minute: int
    text: str


AGENT: Final = Voice(
    "agent.ogg",
    "en-us+f3",
    165,
    "Good morning, this is the agent. The quick brown fox jumps over the lazy dog, while seven wizards quietly box with a jovial judge. "
    "Please tell me how I may help you with your order today.",
)
CARRIER: Final = Voice(
    "carrier.ogg",
    "en-gb-scotland+m3",
    140,
    "Hello, I am calling about the parcel that never came. She sells sea shells by the shore, and nobody there knows where my blue "
    "umbrella went. Could you look it up again, if you please?",
)


def speak(voice: Voice) -> NDArray[np.int16]:
    """The sentence at 8 kHz, silence trimmed, at one common level. Different machines may give slightly different sound."""
    program = shutil.which("espeak-ng")
    if program is None:
        return bundled(voice)
    done = subprocess.run(
        [program, "-v", voice.voice, "-s", str(voice.words_per_minute), "--stdout", voice.text],
        capture_output=True,
        timeout=20,
        check=False,
    )
    # An espeak-ng without its voice data ends with an error or says nothing.
    return _prepare(done.stdout) if done.returncode == 0 and len(done.stdout) > RATE else bundled(voice)


def bundled(voice: Voice) -> NDArray[np.int16]:
    """The copy that comes with the package."""
    return _prepare(resources.files(__package__).joinpath(voice.file).read_bytes())


def _prepare(audio: bytes) -> NDArray[np.int16]:
    samples = _decode(audio).astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > 200)
    if len(loud):
        samples = samples[loud[0] : loud[-1] + 1]
    peak_free = np.sqrt(np.mean(samples * samples)) or 1.0
    return np.clip(samples * (LEVEL / 4 / peak_free), -32000, 32000).astype(np.int16)


def _decode(audio: bytes) -> NDArray[np.int16]:
    pieces = []
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(io.BytesIO(audio), "r") as container:
        for frame in container.decode(audio=0):
            pieces += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
        pieces += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    return np.concatenate(pieces).astype(np.int16) if pieces else np.zeros(0, dtype=np.int16)
