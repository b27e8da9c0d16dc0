"""Audio codecs as SDP names them (RFC 8866 sections 6.6 and 6.15): PCMU, PCMA, G722, Opus, and telephone-event beside them."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from hushwire.core.values import frozen, replace
from hushwire.sdp.session import Attribute, Media


@frozen
class Codec:
    """`payload_type` and the encoding of an rtpmap: `name` in its usual spelling, `rate` as SDP says it (G722/8000, opus/48000)."""

    payload_type: int
    name: str
    rate: int = 8000
    fmtp: str | None = None
    channels: int = 1


PCMU: Final = Codec(0, "PCMU")
PCMA: Final = Codec(8, "PCMA")
G722: Final = Codec(9, "G722")
# RFC 7587 section 7: always 48000 and two channels, whatever is spoken. Forward error correction costs nothing until packets are lost.
OPUS: Final = Codec(111, "opus", 48000, "minptime=10;useinbandfec=1", 2)
TELEPHONE_EVENT: Final = Codec(101, "telephone-event", 8000, "0-16")
# RFC 3389 section 4: silence in words, beside a codec of the same clock that knows none itself.
COMFORT_NOISE: Final = Codec(13, "CN")
AUDIO_CODECS: Final = (PCMU, PCMA, G722, OPUS)

# RFC 3551 table 4: what these payload types mean without an rtpmap.
_STATIC: Final = {"0": ("PCMU", 8000), "8": ("PCMA", 8000), "9": ("G722", 8000), "13": ("CN", 8000)}
_SAYING: Final = frozenset(("rtpmap", "fmtp", "rtcp-mux"))
_KEPT_LINES: Final = 64
_KNOWN: Final = {codec.name.lower(): codec for codec in (*AUDIO_CODECS, TELEPHONE_EVENT, COMFORT_NOISE)}
# RFC 7587 section 6.1. What stands there is the wish of who receives, so it is passed on to who sends; anything else is not.
_OPUS_PARAMETER: Final = re.compile(
    r"(?:minptime|maxplaybackrate|sprop-maxcapturerate|maxaveragebitrate)=[0-9]{1,6}|(?:stereo|sprop-stereo|cbr|useinbandfec|usedtx)=[01]"
)


def codecs_of(media: Media) -> list[Codec]:
    """The codecs of a section in its order of preference, static payload types filled in."""
    # A peer says the same of its codecs in each call; nothing else of what it says is kept.
    said = tuple([line for line in media.attributes if line[0] in _SAYING])
    if len(media.formats) + len(said) <= _KEPT_LINES:
        return list(_kept_codecs(media.formats, said))
    return list(_read_codecs(media.formats, said))


def _read_codecs(formats: tuple[str, ...], said: tuple[Attribute, ...]) -> tuple[Codec, ...]:
    maps = _by_number([value for name, value in said if name == "rtpmap" and value is not None])
    fmtps = _by_number([value for name, value in said if name == "fmtp" and value is not None])
    is_muxed = any(name == "rtcp-mux" for name, _ in said)
    found: list[Codec] = []
    for item in dict.fromkeys(formats):
        if not (item.isascii() and item.isdigit() and len(item) <= 3 and int(item) <= 127):
            continue
        if is_muxed and 64 <= int(item) <= 95:
            continue  # RFC 5761 section 4: such a packet could not be told from RTCP
        mapped = maps.get(item)
        if mapped is None:
            if item in _STATIC:
                found.append(Codec(int(item), *_STATIC[item], fmtps.get(item)))
            continue
        codec = _codec(int(item), mapped, fmtps.get(item))
        if codec is not None:
            found.append(codec)
    return tuple(found)


_kept_codecs: Final = lru_cache(256)(_read_codecs)


def _codec(payload_type: int, mapped: str, fmtp: str | None) -> Codec | None:
    name, slash, tail = mapped.partition("/")
    digits, _, channels = tail.partition("/")
    if not slash or not (digits.isascii() and digits.isdigit() and len(digits) <= 6):
        return None
    known = _KNOWN.get(name.lower())
    if channels not in (("2",) if known is OPUS else ("", "1")):
        return None
    usual = name if known is None else known.name
    # Some stacks give G722 its true rate; RFC 3551 section 4.5.2 wants 8000.
    rate = 8000 if known is G722 else int(digits)
    if known is TELEPHONE_EVENT and rate not in (8000, 48000):
        return None
    if known is COMFORT_NOISE and rate != COMFORT_NOISE.rate:
        return None  # of wider codecs, which say their silence themselves here
    if known is OPUS:
        fmtp = opus_parameters(fmtp)
    return Codec(payload_type, usual, rate, fmtp, 1 if known is None else known.channels)


def opus_parameters(fmtp: str | None) -> str | None:
    """The known parameters of an Opus fmtp line, each once, in its order; None where there is none."""
    parts = [part.strip().lower() for part in (fmtp or "").split(";")]
    kept = {part.partition("=")[0]: part for part in parts if _OPUS_PARAMETER.fullmatch(part)}
    return ";".join(kept.values()) or None


def is_event(codec: Codec) -> bool:
    """Whether it is telephone-event (RFC 4733), at whatever clock."""
    return codec.name == TELEPHONE_EVENT.name


def is_noise(codec: Codec) -> bool:
    """Whether it is comfort noise (RFC 3389)."""
    return codec.name == COMFORT_NOISE.name


def is_audio(codec: Codec) -> bool:
    """Whether speech comes in it: all but what stands beside a codec."""
    return codec.name != TELEPHONE_EVENT.name and codec.name != COMFORT_NOISE.name


def event_for(codec: Codec, events: Iterable[Codec]) -> Codec | None:
    """The telephone-event that shares a codec's clock (RFC 4733 section 2.1)."""
    for event in events:
        if event.name == TELEPHONE_EVENT.name and event.rate == codec.rate:
            return event
    return None


def events_beside(audio: Sequence[Codec]) -> tuple[Codec, ...]:
    """The telephone-events to offer beside these codecs: one for each clock, under payload types that are free."""
    taken = {codec.payload_type for codec in audio}
    free = (number for number in (*range(101, 128), *range(96, 101)) if number not in taken)
    rates = dict.fromkeys(codec.rate for codec in audio)
    return tuple(replace(TELEPHONE_EVENT, payload_type=number, rate=rate) for rate, number in zip(rates, free, strict=False))


def noise_beside(audio: Sequence[Codec]) -> tuple[Codec, ...]:
    """The comfort noise to offer beside these codecs: none where all of them say silence themselves, as Opus does."""
    return (COMFORT_NOISE,) if any(codec.rate == COMFORT_NOISE.rate for codec in audio) else ()


def codec_lines(codecs: Sequence[Codec]) -> list[Attribute]:
    """Their rtpmap and fmtp lines."""
    lines: list[Attribute] = []
    for codec in codecs:
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        lines.append(("rtpmap", f"{codec.payload_type} {codec.name}/{codec.rate}{channels}"))
        if is_event(codec):
            lines.append(("fmtp", f"{codec.payload_type} {TELEPHONE_EVENT.fmtp}"))
        elif codec.name == OPUS.name:
            lines.append(("fmtp", f"{codec.payload_type} {codec.fmtp or OPUS.fmtp}"))
    return lines


def formats(codecs: Sequence[Codec]) -> tuple[str, ...]:
    """Their payload types, as an m= line has them."""
    return tuple([str(codec.payload_type) for codec in codecs])


def _by_number(values: Iterable[str]) -> dict[str, str]:
    """Values of the form `number rest` by their number; the first counts."""
    found: dict[str, str] = {}
    for value in values:
        number, _, rest = value.partition(" ")
        found.setdefault(number, rest.strip())
    return found
