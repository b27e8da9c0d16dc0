"""Sounds for the media process: which codecs they come in, what is loaded (LOAD_SOUND) and what is played (PLAY), as values."""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import field
from enum import IntEnum, StrEnum
from typing import Final

from hushwire.core.values import frozen
from hushwire.media.wire import Fields, Tag

FRAME_MS: Final = 20
"""How much sound one packet holds."""

CHUNK_BYTES: Final = 60_000
"""Of a sound's data in one LOAD_SOUND: a frame of the protocol holds 65,536 bytes."""

_PARAMETERS: Final = struct.Struct(">II")
_LENGTH: Final = struct.Struct(">H")


class SoundCodec(StrEnum):
    """What a leg may be sent, by its RTP name."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    G722 = "G722"
    OPUS = "opus"

    @property
    def sample_rate(self) -> int:
        """Of the sound that goes into the encoder, Hz."""
        return {"PCMU": 8_000, "PCMA": 8_000, "G722": 16_000, "opus": 48_000}[self.value]

    @property
    def clock_rate(self) -> int:
        """Of RTP time stamps, Hz: 8,000 for G722 too (RFC 3551 section 4.5.2)."""
        return 48_000 if self is SoundCodec.OPUS else 8_000

    @classmethod
    def named(cls, name: str) -> "SoundCodec | None":
        """The codec of an rtpmap's name, whatever its case; None for one that sounds are not made in."""
        return next((codec for codec in cls if codec.value.lower() == name.lower()), None)


@frozen
class EncodedSound:
    """A sound in one codec: `data` holds each packet's payload behind its length (u16). `id` names exactly this, everywhere."""

    codec: SoundCodec
    duration_ms: int
    data: bytes = field(repr=False)
    id: bytes = field(repr=False)

    @classmethod
    def of(cls, codec: SoundCodec, payloads: Sequence[bytes]) -> "EncodedSound":
        """From one payload for each FRAME_MS."""
        data = b"".join(_LENGTH.pack(len(payload)) + payload for payload in payloads)
        clock = _PARAMETERS.pack(codec.clock_rate, codec.clock_rate * FRAME_MS // 1000)
        return cls(codec, FRAME_MS * len(payloads), data, hashlib.sha256(clock + data).digest())

    @classmethod
    def from_data(cls, codec: SoundCodec, data: bytes) -> "EncodedSound":
        """What `data` of another one held. Raises ValueError where it is none."""
        payloads, at = [], 0
        while at < len(data):
            length = int.from_bytes(data[at : at + _LENGTH.size], "big")
            at += _LENGTH.size + length
            if not length or at > len(data):
                raise ValueError("the data of a sound is torn")
            payloads.append(data[at - length : at])
        return cls.of(codec, payloads)

    @property
    def frame_samples(self) -> int:
        """Steps of the RTP clock from one packet to the next."""
        return self.codec.clock_rate * FRAME_MS // 1000

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """(offset, part of `data`), in order."""
        for offset in range(0, len(self.data), CHUNK_BYTES):
            yield offset, self.data[offset : offset + CHUNK_BYTES]

    def payloads(self) -> list[bytes]:
        """The packets' payloads."""
        found, at = [], 0
        while at < len(self.data):
            (length,) = _LENGTH.unpack_from(self.data, at)
            at += _LENGTH.size + length
            found.append(self.data[at - length : at])
        return found


@frozen
class PlayOrder:
    """What PLAY asks for. `playback` is the controller's name for it; PLAY_ENDED repeats it.

    `times` 0 plays until STOP_PLAY. `interval_ms` is from one beginning to the next; in the pauses the leg hears what it hears otherwise.
    `is_beep` plays over whatever else is played to the leg, which goes on below.
    """

    playback: int
    sound: bytes = field(repr=False)
    payload_type: int = 0
    times: int = 1
    offset_ms: int = 0
    interval_ms: int = 0
    is_beep: bool = False


class PlayEnd(IntEnum):
    """Why a sound is not played any more."""

    FINISHED = 1
    STOPPED = 2
    REPLACED = 3
    LEG_CLOSED = 4


@frozen
class Played:
    """What PLAY_ENDED tells: `sent_ms` of the sound were sent, all times together."""

    playback: int
    end: PlayEnd
    sent_ms: int

    @classmethod
    def read(cls, fields: Fields) -> "Played | None":
        """From the fields of PLAY_ENDED; None where they are another event's."""
        if fields.get(Tag.PLAYBACK) is None:
            return None
        return cls(fields.integer(Tag.PLAYBACK), PlayEnd(fields.integer(Tag.PLAY_END)), fields.integer(Tag.SENT_MS))
