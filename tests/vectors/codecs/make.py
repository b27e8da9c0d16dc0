"""Makes the vectors of this folder with FFmpeg's codecs (through PyAV): another implementation of the same Recommendations.

`tests/native/test_codecs.py` makes them again and compares; `native/tests/test_codec.cpp` compares our own codecs with them.
"""

from pathlib import Path

import av
import numpy as np

HERE = Path(__file__).parent
RATES = {"g722": 16_000, "pcm_mulaw": 8_000, "pcm_alaw": 8_000}


def signal(rate: int) -> np.ndarray:
    """Two seconds: silence, a sweep, noise, tones at full scale, and steps; the same in every run."""
    noise = np.random.RandomState(722).randint(-32768, 32768, rate // 2)
    t = np.arange(rate // 2) / rate
    sweep = 12_000 * np.sin(2 * np.pi * (50 * t + (rate / 2 - 100) * t**2))
    tones = 16_383 * (np.sin(2 * np.pi * 1000 * t) + np.sin(2 * np.pi * 0.35 * rate * t))
    steps = np.where(np.arange(rate // 4) // 37 % 2, 32_767, -32_768)
    return np.concatenate([np.zeros(rate // 8), sweep, noise, tones, steps, np.zeros(rate // 8)]).astype("<i2")


def encode(codec: str, pcm: np.ndarray) -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.sample_rate, context.format, context.layout = RATES[codec], "s16", "mono"
    context.open()
    data = b""
    for at in range(0, len(pcm), 320):
        frame = av.AudioFrame.from_ndarray(pcm[at : at + 320].reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts = RATES[codec], at
        data += b"".join(bytes(packet) for packet in context.encode(frame))
    return data + b"".join(bytes(packet) for packet in context.encode(None))


def decode(codec: str, data: bytes) -> np.ndarray:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = RATES[codec], "mono"
    context.open()
    frames = [frame for at in range(0, len(data), 160) for frame in context.decode(av.Packet(data[at : at + 160]))]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype("<i2")


def vectors() -> dict[str, bytes]:
    """File name -> content."""
    files: dict[str, bytes] = {}
    for codec in RATES:
        pcm = signal(RATES[codec])
        coded = encode(codec, pcm)
        files |= {f"{codec}.coded": coded, f"{codec}.out": decode(codec, coded).tobytes()}
        if codec == "g722":  # G.711's choices at ties differ between implementations: only its decoding is compared
            files[f"{codec}.in"] = pcm.tobytes()
    return files


if __name__ == "__main__":
    for name, data in vectors().items():
        (HERE / name).write_bytes(data)
