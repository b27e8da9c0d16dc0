"""The codecs of a leg as the media process takes them (CODEC of native/control/PROTOCOL.md)."""

import struct
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Final

from hushwire.core.values import frozen


class CodecName(IntEnum):
    """Codecs that the media process knows."""

    PCMU = 1
    PCMA = 2
    G722 = 3
    OPUS = 4
    COMFORT_NOISE = 5
    TELEPHONE_EVENT = 6


_BY_SDP_NAME = {
    "pcmu": CodecName.PCMU,
    "pcma": CodecName.PCMA,
    "g722": CodecName.G722,
    "opus": CodecName.OPUS,
    "cn": CodecName.COMFORT_NOISE,
    "telephone-event": CodecName.TELEPHONE_EVENT,
}

_RATES: Final[dict[CodecName, tuple[int, ...]]] = {name: (48_000,) if name is CodecName.OPUS else (8_000,) for name in CodecName}
_RATES[CodecName.TELEPHONE_EVENT] = (8_000, 16_000, 32_000, 48_000)
MAX_CODECS: Final = 16


@frozen
class LegCodec:
    """One codec agreed for a leg. `ptime_ms` is the packet time that the party wishes to receive, 10 to 120 ms.

    `wants_fec` and `may_pause` are useinbandfec and usedtx of RFC 7587. `clock_rate` is that of the RTP time stamps (8,000 for G.722).
    """

    name: CodecName
    payload_type: int
    clock_rate: int = 8_000
    ptime_ms: int = 20
    wants_fec: bool = False
    may_pause: bool = False

    def to_bytes(self) -> bytes:
        """The value of a CODEC field."""
        flags = int(self.wants_fec) | int(self.may_pause) << 1
        return struct.pack(">BBBBI", self.payload_type, self.name, self.ptime_ms, flags, self.clock_rate)


def leg_codecs(agreed: Iterable[tuple[int, str, int, str | None]], ptime_ms: int) -> tuple[LegCodec, ...]:
    """From what SDP says: payload type, encoding name, rate as in the rtpmap, fmtp. What the media process does not know is left out."""
    return _leg_codecs(tuple(agreed), ptime_ms)


@lru_cache(256)
def _leg_codecs(agreed: tuple[tuple[int, str, int, str | None], ...], ptime_ms: int) -> tuple[LegCodec, ...]:
    codecs: dict[int, LegCodec] = {}
    for payload_type, name, rate, fmtp in agreed:
        known = _BY_SDP_NAME.get(name.lower())
        if known is None or rate not in _RATES[known] or payload_type in codecs or len(codecs) == MAX_CODECS:
            continue
        parameters = {item.strip().replace(" ", "").lower() for item in (fmtp or "").split(";")}
        codecs[payload_type] = LegCodec(
            known,
            payload_type,
            clock_rate=rate,
            ptime_ms=min(max(ptime_ms, 10), 120),
            wants_fec=known is CodecName.OPUS and "useinbandfec=1" in parameters,
            may_pause=known is CodecName.OPUS and "usedtx=1" in parameters,
        )
    return tuple(codecs.values())
