"""A file, or samples, to packets of one codec: decoded by PyAV, mixed down, brought to a telephone's loudness, encoded.

Blocking: callers run it in a thread. What is wrong with a file is said in one sentence (UnusableSound), whatever the file holds.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import av
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

from hushwire.core.errors import ConfigError
from hushwire.media.sounds import FRAME_MS, EncodedSound, SoundCodec

Samples = npt.NDArray[np.float32]
"""One channel, full scale 1.0."""

MASTER_RATE: Final = 48_000
MAX_FILE_BYTES: Final = 64 << 20
MAX_SECONDS: Final = 600
TARGET_DBFS: Final = -20.0
"""Level of what is heard as sound (RMS of the loud parts): between telephone speech (-26, ITU-T P.56) and produced music (-14)."""
PEAK_DBFS: Final = -3.0
MAX_GAIN_DB: Final = 30.0
OPUS_BIT_RATE: Final = 32_000
_BLOCK_S: Final = 0.1
_GATE_DB: Final = 10.0
_SILENCE_DBFS: Final = -60.0

# A playlist or a description of streams names other files and addresses: only formats that are nothing but their own bytes are read.
_FORMATS: Final = (
    "wav,w64,rf64,aiff,caf,au,flac,ogg,mp3,aac,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,amr,amrnb,amrwb,gsm,g722,sln,voc,wv,tta,ape"
)
_ENCODERS: Final = {SoundCodec.PCMU: "pcm_mulaw", SoundCodec.PCMA: "pcm_alaw", SoundCodec.G722: "g722", SoundCodec.OPUS: "libopus"}


class UnusableSound(ConfigError):
    """A file that can't be played; the words name it and the mend."""


def read_file(path: Path) -> Samples:
    """The sound of a file at MASTER_RATE, mixed to one channel. Raises UnusableSound."""
    try:
        if not path.is_file():
            raise UnusableSound(f"{path}: there is no such file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UnusableSound(f"{path}: has {size >> 20} MiB, a sound at most {MAX_FILE_BYTES >> 20}: shorten or compress it")
        with path.open("rb") as file:
            return read(str(path), file, most_s=MAX_SECONDS)
    except OSError as error:
        raise UnusableSound(f"{path}: can't be read ({error.strerror})") from None


def read(name: str, file: BinaryIO, *, most_s: int = MAX_SECONDS) -> Samples:
    """As `read_file`, of something that is open already; `name` is for the words of UnusableSound."""
    try:
        return _decoded(name, file, most_s)
    except av.FFmpegError as error:
        raise UnusableSound(f"{name}: is no sound that can be read ({error.strerror or type(error).__name__})") from None
    except (ValueError, OverflowError, MemoryError, UnicodeError):
        raise UnusableSound(f"{name}: is no sound that can be read") from None


def _decoded(name: str, file: BinaryIO, most_s: int) -> Samples:
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    with av.open(file, "r", container_options=options, metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise UnusableSound(f"{name}: holds no sound")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise UnusableSound(f"{name}: is of a codec that nobody here knows")
        stream.codec_context.thread_count = 1  # what decodes strangers' files may begin no threads
        resampler = AudioResampler(format="flt", layout="mono", rate=MASTER_RATE)
        blocks, count = [], 0
        for frame in container.decode(stream):
            frame.pts = None
            for part in resampler.resample(frame):
                blocks.append(part.to_ndarray().reshape(-1))
                count += len(blocks[-1])
            if count > most_s * MASTER_RATE:
                longest = f"{most_s // 60} minutes" if most_s >= 120 else f"{most_s} seconds"
                raise UnusableSound(f"{name}: is longer than {longest}: shorten it")
        blocks += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise UnusableSound(f"{name}: holds no sound")
    return np.nan_to_num(samples.astype(np.float32, copy=False), nan=0.0, posinf=0.0, neginf=0.0)


def levelled(samples: Samples) -> Samples:
    """The same sound at TARGET_DBFS, its peaks below PEAK_DBFS, so that a quiet file and a loud one are heard alike.

    The level is that of the loud parts: blocks of 100 ms within 10 dB of the mean of all that are not silent (the gate of ITU-R BS.1770,
    without its weighting, since a telephone's band is narrow). Silence stays silence.
    """
    size = int(_BLOCK_S * MASTER_RATE)
    padded = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size).astype(np.float64)
    powers = np.mean(padded**2, axis=1)
    loud = powers[powers > 10 ** (_SILENCE_DBFS / 10)]
    if not len(loud):
        return samples
    loud = loud[loud >= np.mean(loud) * 10 ** (-_GATE_DB / 10)]
    gain = min(10 ** (TARGET_DBFS / 20) / float(np.sqrt(np.mean(loud))), 10 ** (MAX_GAIN_DB / 20))
    limit = 10 ** (PEAK_DBFS / 20)
    # Peaks are bent, not cut: up to half of the limit nothing changes, above it they close in on the limit.
    scaled = samples * np.float32(gain)
    knee = limit / 2
    above = np.abs(scaled) > knee
    bent = np.sign(scaled) * (knee + (limit - knee) * np.tanh((np.abs(scaled) - knee) / (limit - knee)))
    return np.where(above, bent, scaled).astype(np.float32)


def encode(samples: Samples, codec: SoundCodec) -> EncodedSound:
    """Packets of FRAME_MS; what lacks to the last one is silence. `samples` at MASTER_RATE."""
    rate = codec.sample_rate
    size = rate * FRAME_MS // 1000
    plain = _resampled(samples, rate) if len(samples) else np.zeros(0, np.int16)
    plain = np.pad(plain, (0, -len(plain) % size)) if len(plain) else np.zeros(size, np.int16)
    return EncodedSound.of(codec, list(_payloads(plain, codec, size)))


def _resampled(samples: Samples, rate: int) -> npt.NDArray[np.int16]:
    resampler = AudioResampler(format="s16", layout="mono", rate=rate)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = MASTER_RATE
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray().reshape(-1) for part in parts]) if parts else np.zeros(0, np.int16)


def _payloads(samples: npt.NDArray[np.int16], codec: SoundCodec, size: int) -> Iterator[bytes]:
    context = av.CodecContext.create(_ENCODERS[codec], "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate = codec.sample_rate
    context.layout = "mono"
    context.format = av.AudioFormat("s16")
    context.time_base = Fraction(1, codec.sample_rate)
    count = len(samples) // size
    if codec is SoundCodec.OPUS:
        context.bit_rate = OPUS_BIT_RATE
        context.options = {"frame_duration": str(FRAME_MS), "application": "audio", "vbr": "constrained"}
        # The encoder looks ahead: its last packets come with the flush, and the first so many stand for exactly these samples.
    made = 0
    for n in range(count):
        frame = av.AudioFrame.from_ndarray(samples[n * size : (n + 1) * size].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = codec.sample_rate
        frame.pts = n * size
        for packet in context.encode(frame):
            made += 1
            yield bytes(packet)
    for packet in context.encode(None):
        if made < count:
            made += 1
            yield bytes(packet)
