"""Offers and answers for audio legs (RFC 3264, RFC 4568): PCMU, PCMA, G722 and telephone-event over RTP or SRTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.sdp.crypto import Crypto, Suite, parse_crypto
from hushwire.sdp.session import Attribute, Media, SdpError, Session, parse_session

__all__ = [
    "AUDIO_CODECS",
    "G722",
    "PCMA",
    "PCMU",
    "TELEPHONE_EVENT",
    "Answered",
    "Codec",
    "Crypto",
    "Direction",
    "LegMedia",
    "LocalMedia",
    "Refusal",
    "Srtp",
    "Suite",
    "accept_answer",
    "answer_offer",
    "build_offer",
]


class Direction(StrEnum):
    """Which way media flows, seen from who wrote it (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether media flows from who wrote it."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether media flows to who wrote it."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def reversed(self) -> "Direction":
        """The same stream seen from the other end."""
        return _direction(sends=self.receives, receives=self.sends)

    def narrowed(self, other: "Direction") -> "Direction":
        """What both allow."""
        return _direction(sends=self.sends and other.sends, receives=self.receives and other.receives)


def _direction(*, sends: bool, receives: bool) -> Direction:
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


class Srtp(StrEnum):
    """What a leg asks of its media: `never | optional | required`, as trunks and organisations are configured."""

    NEVER = "never"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Codec:
    """`payload_type` and the encoding of an rtpmap: `name` in its usual spelling, `rate` as SDP says it (G722/8000)."""

    payload_type: int
    name: str
    rate: int = 8000
    fmtp: str | None = None


PCMU: Final = Codec(0, "PCMU")
PCMA: Final = Codec(8, "PCMA")
G722: Final = Codec(9, "G722")
TELEPHONE_EVENT: Final = Codec(101, "telephone-event", 8000, "0-16")
AUDIO_CODECS: Final = (PCMU, PCMA, G722)

# RFC 3551 table 4: what these payload types mean without an rtpmap.
_STATIC: Final = {"0": ("PCMU", 8000), "8": ("PCMA", 8000), "9": ("G722", 8000)}
_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SECURE: Final = ("RTP/SAVP", "RTP/SAVPF")


@dataclass(frozen=True, slots=True, repr=False)
class LocalMedia:
    """Our end of a leg: where we receive, and the keys that we would send with (one for each suite that we offer or accept).

    `address` and `port` are what the peer shall send to. `session_id` stays, `version` grows by one for each changed description.
    `keys` maps a suite to 30 or 46 fresh random bytes; the media process protects what it sends under them.
    `dtmf_payload_type` is what our offers give telephone-event; an answer takes the offer's.
    """

    address: str
    port: int
    rtcp_port: int | None
    keys: Mapping[Suite, bytes]
    session_id: int
    version: int
    codecs: tuple[Codec, ...] = AUDIO_CODECS
    dtmf: bool = True
    rtcp_mux: bool = True
    dtmf_payload_type: int = TELEPHONE_EVENT.payload_type

    def __repr__(self) -> str:
        return f"LocalMedia({SHOWN})"


@dataclass(frozen=True, slots=True, repr=False)
class LegMedia:
    """What offer and answer agreed on for one leg.

    `codecs` are usable audio codecs in order of preference with the payload types of this leg; the first is the one to send.
    `address`/`port` is where the peer receives RTP, `rtcp_port` its RTCP (equal to `port` when multiplexed).
    `send_crypto` is our key for what we send, `recv_crypto` the peer's for what it sends; both None for plain RTP.
    `direction` is ours: what we may do towards the peer. `is_held` tells that the peer put us on hold.
    """

    codecs: tuple[Codec, ...]
    dtmf: Codec | None
    address: str
    port: int
    rtcp_port: int
    rtcp_mux: bool
    send_crypto: Crypto | None
    recv_crypto: Crypto | None
    direction: Direction
    is_held: bool
    ptime_ms: int = 20

    def __repr__(self) -> str:
        return f"LegMedia({SHOWN})"


class Refusal(StrEnum):
    """Why an offer can't be answered (488 with a Warning) or an answer can't be used."""

    NO_AUDIO = "no_audio"
    NO_COMMON_CODEC = "no_common_codec"
    SRTP_REQUIRED = "srtp_required"
    SRTP_NOT_ALLOWED = "srtp_not_allowed"
    NO_COMMON_CRYPTO = "no_common_crypto"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, repr=False)
class Answered:
    """`body` is the answer to send, `media` what it means."""

    body: bytes
    media: LegMedia


def build_offer(local: LocalMedia, srtp: Srtp, *, direction: Direction = Direction.SENDRECV) -> bytes:
    """An offer of one audio stream: RTP/AVP for `never`, RTP/SAVP with a crypto line for each of `local.keys` for `required`.

    `optional` offers RTP/SAVP too: who refuses it with 488 is offered RTP/AVP anew by the caller of this function.
    """
    is_secure = srtp is not Srtp.NEVER
    codecs = [*local.codecs, replace(TELEPHONE_EVENT, payload_type=local.dtmf_payload_type)] if local.dtmf else list(local.codecs)
    attributes = _codec_lines(codecs)
    if is_secure:
        attributes += [("crypto", item.to_attribute()) for item in _own_crypto(local)]
    attributes += _transport_lines(local, with_mux=local.rtcp_mux)
    attributes.append((direction.value, None))
    return _describe(local, Media("audio", local.port, "RTP/SAVP" if is_secure else "RTP/AVP", _formats(codecs), None, tuple(attributes)))


def answer_offer(
    offer: bytes,
    local: LocalMedia,
    srtp: Srtp,
    *,
    direction: Direction = Direction.SENDRECV,
    prefer: Sequence[str] = (),
) -> Answered | Refusal:
    """Our answer to an offer (RFC 3264 section 6): the first usable audio stream accepted, all others refused with port 0.

    `direction` is what we would like; the answer narrows it to what the offer allows. `prefer` names the codecs that the other
    leg already speaks: they come first where the offer has them. Where an offer has an SRTP stream and a plain one, SRTP is taken.
    """
    try:
        session = parse_session(offer)
    except SdpError:
        return Refusal.MALFORMED
    reason = Refusal.NO_AUDIO
    order = sorted(range(len(session.media)), key=lambda index: session.media[index].protocol not in _SECURE)
    for index in order:
        outcome = _answer_media(session, session.media[index], local, srtp, direction, prefer)
        if isinstance(outcome, Refusal):
            # The first stream's trouble is the one to tell, unless it was no audio at all.
            reason = outcome if reason is Refusal.NO_AUDIO else reason
            continue
        answer, media = outcome
        sections = [answer if at == index else _refused(section) for at, section in enumerate(session.media)]
        return Answered(_describe(local, *sections), media)
    return reason


def accept_answer(offer: bytes, answer: bytes, local: LocalMedia) -> LegMedia | Refusal:
    """What the answer to our `offer` (as sent) agreed on (RFC 3264 section 7, RFC 4568 section 5.1.3)."""
    try:
        ours = parse_session(offer).media[0]
        session = parse_session(answer)
    except (SdpError, IndexError):
        return Refusal.MALFORMED
    if not session.media or session.media[0].kind != "audio":
        return Refusal.NO_AUDIO
    media = session.media[0]
    address = session.address_of(media)
    if media.port == 0:
        return Refusal.NO_AUDIO
    # "the transport protocol in the answer MUST match" (RFC 3264 section 6): no falling back to plain RTP behind our back.
    if (media.protocol in _SECURE) != (ours.protocol in _SECURE) or media.protocol not in _SECURE + _PLAIN:
        return Refusal.SRTP_REQUIRED if ours.protocol in _SECURE else Refusal.SRTP_NOT_ALLOWED
    if address is None:
        return Refusal.MALFORMED
    offered = {codec.payload_type: codec for codec in _codecs(ours)}
    agreed = []
    for codec in _codecs(media):
        match = next((item for item in offered.values() if _same_codec(item, codec)), None)
        if match is not None:
            agreed.append(codec)
    audio = tuple(codec for codec in agreed if codec.name != TELEPHONE_EVENT.name)
    if not audio:
        return Refusal.NO_COMMON_CODEC
    send_crypto = recv_crypto = None
    if media.protocol in _SECURE:
        mine = {item.tag: item for item in _own_crypto(local)}
        theirs = [item for item in map(parse_crypto, media.all("crypto")) if item is not None]
        # Exactly one line, with the tag and the suite of one that we offered (RFC 4568 section 5.1.3).
        if len(media.all("crypto")) != 1 or not theirs or theirs[0].tag not in mine or mine[theirs[0].tag].suite is not theirs[0].suite:
            return Refusal.NO_COMMON_CRYPTO
        recv_crypto, send_crypto = theirs[0], mine[theirs[0].tag]
        if recv_crypto.key == send_crypto.key:
            return Refusal.NO_COMMON_CRYPTO
    dtmf = next((codec for codec in agreed if codec.name == TELEPHONE_EVENT.name), None)
    direction = _direction_of(Session(0, 0, "", ()), ours).narrowed(_direction_of(session, media).reversed)
    return _leg(session, media, address, audio, dtmf, send_crypto, recv_crypto, direction, ours.has("rtcp-mux"))


# --------------------------------------------------------------------------------------------------------- answering


def _answer_media(
    session: Session, media: Media, local: LocalMedia, srtp: Srtp, direction: Direction, prefer: Sequence[str]
) -> tuple[Media, LegMedia] | Refusal:
    address = session.address_of(media)
    if media.kind != "audio" or media.port == 0 or media.protocol not in _PLAIN + _SECURE:
        return Refusal.NO_AUDIO
    if address is None:
        return Refusal.MALFORMED
    recv_crypto = _choose_crypto(media, local) if srtp is not Srtp.NEVER else None
    # Phones whose SRTP is "optional" offer RTP/AVP with crypto lines (pjsua, Linphone, Yealink) and understand them in the answer.
    is_secure = media.protocol in _SECURE or recv_crypto is not None
    if is_secure and srtp is Srtp.NEVER:
        return Refusal.SRTP_NOT_ALLOWED
    if not is_secure and srtp is Srtp.REQUIRED:
        return Refusal.SRTP_REQUIRED
    usable = [(mine, codec) for codec in _codecs(media) for mine in local.codecs if _same_codec(mine, codec)]
    if not usable:
        return Refusal.NO_COMMON_CODEC
    wishes = [name.lower() for name in prefer]
    audio = [replace(codec, name=mine.name) for mine, codec in usable]
    audio.sort(key=lambda codec: wishes.index(codec.name.lower()) if codec.name.lower() in wishes else len(wishes))
    dtmf = next((codec for codec in _codecs(media) if codec.name == TELEPHONE_EVENT.name), None) if local.dtmf else None
    send_crypto = None
    if is_secure:
        if recv_crypto is None:
            return Refusal.NO_COMMON_CRYPTO
        # The answer carries the tag of the line that it accepts, with a key of its own (RFC 4568 section 5.1.2).
        send_crypto = Crypto(recv_crypto.tag, recv_crypto.suite, local.keys[recv_crypto.suite])
    agreed = direction.narrowed(_direction_of(session, media).reversed)
    with_mux = media.has("rtcp-mux") and local.rtcp_mux
    codecs = [*audio, dtmf] if dtmf is not None else audio
    attributes = _codec_lines(codecs)
    if send_crypto is not None:
        attributes.append(("crypto", send_crypto.to_attribute()))
    attributes += _transport_lines(local, with_mux=with_mux)
    ptime = media.first("ptime")
    if ptime is not None and ptime.isascii() and ptime.isdigit() and 10 <= int(ptime[:4]) <= 60:
        attributes.append(("ptime", ptime[:4]))
    attributes.append((agreed.value, None))
    answer = Media("audio", local.port, media.protocol, _formats(codecs), None, tuple(attributes))
    return answer, _leg(session, media, address, tuple(audio), dtmf, send_crypto, recv_crypto, agreed, local.rtcp_mux)


def _leg(
    session: Session,
    media: Media,
    address: str,
    audio: tuple[Codec, ...],
    dtmf: Codec | None,
    send_crypto: Crypto | None,
    recv_crypto: Crypto | None,
    direction: Direction,
    may_mux: bool,
) -> LegMedia:
    mux = media.has("rtcp-mux") and may_mux
    # Old phones hold with c=0.0.0.0 (RFC 3264 section 8.4): nothing can be sent there.
    is_blackhole = address in ("0.0.0.0", "::")
    if is_blackhole:
        direction = direction.narrowed(Direction.RECVONLY)
    ptime = media.first("ptime")
    return LegMedia(
        codecs=audio,
        dtmf=dtmf,
        address=address,
        port=media.port,
        rtcp_port=media.port if mux else _rtcp_port(media),
        rtcp_mux=mux,
        send_crypto=send_crypto,
        recv_crypto=recv_crypto,
        direction=direction,
        is_held=is_blackhole or not _direction_of(session, media).receives,
        ptime_ms=int(ptime) if ptime is not None and ptime.isascii() and ptime.isdigit() and len(ptime) < 4 and int(ptime) >= 10 else 20,
    )


def _refused(media: Media) -> Media:
    """A stream that we don't take (RFC 3264 section 6): port 0, the offer's protocol and formats."""
    return Media(media.kind, 0, media.protocol, media.formats)


def _describe(local: LocalMedia, *media: Media) -> bytes:
    return Session(local.session_id, local.version, local.address, media, local.address).to_bytes()


def _own_crypto(local: LocalMedia) -> list[Crypto]:
    """Our lines in order of preference, tagged from 1: the same for offer and answer of one LocalMedia."""
    suites = [suite for suite in Suite if suite in local.keys]
    return [Crypto(tag, suite, local.keys[suite]) for tag, suite in enumerate(suites, 1)]


def _choose_crypto(media: Media, local: LocalMedia) -> Crypto | None:
    """The offerer's first line that we can use (RFC 4568 section 5.1.2: "the most preferred"); never our own key reflected."""
    for value in media.all("crypto"):
        found = parse_crypto(value)
        if found is not None and found.suite in local.keys and found.key != local.keys[found.suite]:
            return found
    return None


# ---------------------------------------------------------------------------------------------------------- details


def _codecs(media: Media) -> list[Codec]:
    """The codecs of a section in its order of preference, static payload types filled in."""
    maps: dict[str, str] = {}
    for value in media.all("rtpmap"):
        number, _, encoding = value.partition(" ")
        maps.setdefault(number, encoding.strip())
    fmtps: dict[str, str] = {}
    for value in media.all("fmtp"):
        number, _, parameters = value.partition(" ")
        fmtps.setdefault(number, parameters.strip())
    found: list[Codec] = []
    for item in media.formats:
        if not (item.isascii() and item.isdigit() and len(item) <= 3 and int(item) <= 127):
            continue
        mapped = maps.get(item)
        if mapped is None:
            if item in _STATIC:
                found.append(Codec(int(item), *_STATIC[item], fmtps.get(item)))
            continue
        name, slash, tail = mapped.partition("/")
        digits, _, channels = tail.partition("/")
        if not slash or not (digits.isascii() and digits.isdigit() and len(digits) <= 6) or channels not in ("", "1"):
            continue
        lower = name.lower()
        usual = next((codec.name for codec in (*AUDIO_CODECS, TELEPHONE_EVENT) if codec.name.lower() == lower), name)
        # Some stacks give G722 its true rate; RFC 3551 section 4.5.2 wants 8000.
        rate = 8000 if usual == G722.name else int(digits)
        if usual == TELEPHONE_EVENT.name and rate != 8000:
            continue
        found.append(Codec(int(item), usual, rate, fmtps.get(item)))
    return found


def _same_codec(mine: Codec, theirs: Codec) -> bool:
    return mine.name == theirs.name and mine.rate == theirs.rate


def _codec_lines(codecs: Sequence[Codec]) -> list[Attribute]:
    lines: list[Attribute] = []
    for codec in codecs:
        lines.append(("rtpmap", f"{codec.payload_type} {codec.name}/{codec.rate}"))
        if codec.name == TELEPHONE_EVENT.name:
            lines.append(("fmtp", f"{codec.payload_type} {TELEPHONE_EVENT.fmtp}"))
    return lines


def _formats(codecs: Sequence[Codec]) -> tuple[str, ...]:
    return tuple(str(codec.payload_type) for codec in codecs)


def _transport_lines(local: LocalMedia, *, with_mux: bool) -> list[Attribute]:
    lines: list[Attribute] = []
    if local.rtcp_port is not None and not (with_mux and local.rtcp_port == local.port):
        lines.append(("rtcp", str(local.rtcp_port)))
    if with_mux:
        lines.append(("rtcp-mux", None))
    return lines


def _direction_of(session: Session, media: Media) -> Direction:
    """The section's direction, else the session's, else sendrecv (RFC 8866 section 6.7)."""
    for direction in Direction:
        if media.has(direction.value):
            return direction
    for direction in Direction:
        if session.has(direction.value):
            return direction
    return Direction.SENDRECV


def _rtcp_port(media: Media) -> int:
    """`a=rtcp` (RFC 3605), else the next port. Its address is not believed: RTCP goes where RTP goes."""
    value = media.first("rtcp")
    if value is not None:
        digits = value.partition(" ")[0]
        if digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536:
            return int(digits)
    return min(media.port + 1, 65535)
