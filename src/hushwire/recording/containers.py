"""Blocks of stereo samples to a streamed file: WAV, FLAC or Ogg/Opus. Nothing is written anywhere: bytes come back."""

import struct
from enum import StrEnum
from typing import Final, Protocol, cast

import av
import numpy as np
import numpy.typing as npt

Stereo = npt.NDArray[np.int16]
"""Shape (frames, 2): agent left, other party right."""

OPUS_BIT_RATE: Final = 48_000
_UNKNOWN_SIZE: Final = 0xFFFF_FFFF


class AudioFormat(StrEnum):
    """What a recording can be played as."""

    OGG = "ogg"
    FLAC = "flac"
    WAV = "wav"

    @property
    def media_type(self) -> str:
        """For the Content-Type header."""
        return {"ogg": "audio/ogg; codecs=opus", "flac": "audio/flac", "wav": "audio/wav"}[self.value]


class Container(Protocol):
    """A file in the making."""

    def add(self, block: Stereo) -> bytes:
        """The bytes that this block adds; the first call's begin with the header."""
        ...

    def close(self) -> bytes:
        """The last bytes."""
        ...


def container(audio_format: AudioFormat, rate: int, frames: int | None) -> Container:
    """A container for `frames` frames at `rate`; None: the length isn't known before the end."""
    match audio_format:
        case AudioFormat.WAV:
            return Wav(rate, frames)
        case AudioFormat.FLAC:
            return Flac(rate, frames)
        case AudioFormat.OGG:
            return Encoded("ogg", "libopus", rate, OPUS_BIT_RATE)


def wav_header(rate: int, frames: int | None) -> bytes:
    """The 44 bytes before the samples of a stereo file."""
    size = None if frames is None or frames * 4 + 36 > _UNKNOWN_SIZE else frames * 4
    return b"".join(
        (
            b"RIFF",
            struct.pack("<I", _UNKNOWN_SIZE if size is None else size + 36),
            b"WAVEfmt ",
            struct.pack("<IHHIIHH", 16, 1, 2, rate, rate * 4, 4, 16),
            b"data",
            struct.pack("<I", _UNKNOWN_SIZE if size is None else size),
        )
    )


class Wav:
    """16-bit PCM. With a known length the sizes in the header are right; else they are the customary "unknown"."""

    def __init__(self, rate: int, frames: int | None) -> None:
        self._header = wav_header(rate, frames)

    def add(self, block: Stereo) -> bytes:
        """See Container."""
        header, self._header = self._header, b""
        return header + block.astype("<i2", copy=False).tobytes()

    def close(self) -> bytes:
        """See Container."""
        header, self._header = self._header, b""
        return header


class Encoded:
    """A codec and muxer of FFmpeg, written to memory and drained block by block."""

    def __init__(self, muxer: str, codec: str, rate: int, bit_rate: int | None = None) -> None:
        self._rate = rate
        self._sink = _Sink()
        options = {"page_duration": "200000"} if muxer == "ogg" else {}
        self._output = av.open(self._sink, "w", format=muxer, options=options)
        self._stream = cast(av.AudioStream, self._output.add_stream(codec, rate=rate, layout="stereo"))
        if bit_rate is not None:
            self._stream.bit_rate = bit_rate
        self._position = 0

    def add(self, block: Stereo) -> bytes:
        """See Container."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += len(block)
        self._output.mux(self._stream.encode(frame))
        return self._sink.drain()

    def close(self) -> bytes:
        """See Container."""
        if not self._position:  # a muxer needs one packet to write its header
            self.add(np.zeros((self._rate // 50, 2), np.int16))
        self._output.mux(self._stream.encode(None))
        self._output.close()
        return self._sink.drain()


class Flac:
    """FLAC whose STREAMINFO tells the length where it is known, so that players show it and can seek."""

    def __init__(self, rate: int, frames: int | None) -> None:
        self._encoded = Encoded("flac", "flac", rate)
        self._frames = frames
        self._head: bytearray | None = bytearray()

    def add(self, block: Stereo) -> bytes:
        """See Container."""
        return self._with_length(self._encoded.add(block))

    def close(self) -> bytes:
        """See Container."""
        return self._with_length(self._encoded.close())

    def _with_length(self, data: bytes) -> bytes:
        if self._head is None:
            return data
        self._head += data
        if len(self._head) < _STREAMINFO_END:
            return b""
        head, self._head = self._head, None
        if self._frames is not None and self._frames < 1 << 36:
            # RFC 9639 section 8.2: the low 36 bits of the eight bytes that also hold rate, channels and sample size
            (fields,) = struct.unpack_from(">Q", head, _STREAMINFO_LENGTH_AT)
            struct.pack_into(">Q", head, _STREAMINFO_LENGTH_AT, fields & ~((1 << 36) - 1) | self._frames)
        return bytes(head)


_STREAMINFO_LENGTH_AT: Final = 4 + 4 + 10
_STREAMINFO_END: Final = 4 + 4 + 34


class _Sink:
    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def drain(self) -> bytes:
        drained = b"".join(self._parts)
        self._parts.clear()
        return drained
