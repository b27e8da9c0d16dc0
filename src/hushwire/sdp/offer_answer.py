"""Offers and answers for audio legs (RFC 3264): one stream, in the clear, under SDES keys, or behind DTLS as SIP and WebRTC have it."""

from collections.abc import Sequence
from typing import Final

from hushwire.core.values import frozen, replace
from hushwire.sdp import bundle
from hushwire.sdp.bundle import Transport
from hushwire.sdp.codecs import (
    AUDIO_CODECS,
    G722,
    OPUS,
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    Codec,
    codec_lines,
    codecs_of,
    event_for,
    events_beside,
    formats,
    is_audio,
    is_event,
    is_noise,
)
from hushwire.sdp.crypto import Crypto, Suite
from hushwire.sdp.dtls import dtls_lines, offer_role
from hushwire.sdp.ice import ice_lines
from hushwire.sdp.model import Answered, Direction, Keying, LegMedia, LocalMedia, Refusal, Srtp
from hushwire.sdp.protection import PLAIN, SECURE, Protection, accept_protection, answer_protection, own_crypto
from hushwire.sdp.session import Attribute, Media, SdpError, Session, parse_session

_DIRECTIONS: Final = tuple((direction.value, direction) for direction in Direction)

__all__ = [
    "AUDIO_CODECS",
    "G722",
    "OPUS",
    "PCMA",
    "PCMU",
    "TELEPHONE_EVENT",
    "Answered",
    "Codec",
    "Crypto",
    "Direction",
    "Keying",
    "LegMedia",
    "LocalMedia",
    "Refusal",
    "Srtp",
    "Suite",
    "accept_answer",
    "answer_offer",
    "build_offer",
    "offer_of",
    "understood",
]

MAX_SSRCS = 8


def build_offer(local: LocalMedia, srtp: Srtp, *, direction: Direction = Direction.SENDRECV, keying: Keying = Keying.SDES) -> bytes:
    """The bytes of `offer_of`."""
    return offer_of(local, srtp, direction=direction, keying=keying).to_bytes()


def offer_of(local: LocalMedia, srtp: Srtp, *, direction: Direction = Direction.SENDRECV, keying: Keying = Keying.SDES) -> Session:
    """An offer of one audio stream: RTP/AVP for `never`, else what `keying` says, made of `local`'s keys or `local.dtls` (and `.ice`).

    `optional` offers protection too: who refuses it with 488 is offered less by the caller of this function. Raises ValueError where
    `local` lacks what the keying needs.
    """
    codecs = local.codecs
    if local.events is not None:
        codecs += tuple(codec for codec in local.events if is_noise(codec) or local.dtmf)
    elif local.dtmf:
        codecs += events_beside(codecs)
    lines = codec_lines(codecs)
    protocol, session_lines = "RTP/AVP", list[Attribute]()
    is_webrtc = srtp is not Srtp.NEVER and keying is Keying.WEBRTC
    if srtp is not Srtp.NEVER and keying in (Keying.SDES, Keying.BEST_EFFORT):
        protocol = "RTP/SAVP" if keying is Keying.SDES else "RTP/AVP"
        lines += [("crypto", item.to_attribute()) for item in own_crypto(local)]
        if keying is Keying.SDES and local.dtls is not None:
            # Phones that only know DTLS take RTP/SAVP too and answer with a fingerprint (baresip 3): the answer decides.
            lines += dtls_lines(local.dtls, offer_role(local.dtls.role))
    elif srtp is not Srtp.NEVER:
        if local.dtls is None:
            raise ValueError("an offer of DTLS needs a certificate's fingerprint")
        protocol = "UDP/TLS/RTP/SAVPF" if is_webrtc else "UDP/TLS/RTP/SAVP"
        lines += dtls_lines(local.dtls, offer_role(local.dtls.role))
    if is_webrtc:
        if local.ice is None:
            raise ValueError("an offer to a browser needs ICE credentials")
        session_lines = [("group", f"BUNDLE {bundle.OUR_MID}"), ("ice-lite", None)]
        lines += [("mid", bundle.OUR_MID), *ice_lines(local.ice, local.address, local.port), ("rtcp-mux", None)]
    else:
        lines += _rtcp_lines(local, with_mux=local.rtcp_mux)
    lines.append((direction.value, None))
    return _describe(local, [Media("audio", local.port, protocol, formats(codecs), None, tuple(lines))], session_lines)


def answer_offer(
    offer: bytes | Session,
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
    chosen = _choose(offer, local, srtp, direction, prefer)
    if isinstance(chosen, Refusal):
        return chosen
    session, index, agreed = chosen
    try:
        sections = [_answer(agreed, local) if at == index else bundle.refused(section) for at, section in enumerate(session.media)]
    except SdpError:
        return Refusal.MALFORMED  # of a section that we don't take
    return Answered(_describe(local, sections, _session_lines(session, agreed.offered, agreed.media)).to_bytes(), agreed.media)


def understood(offer: bytes | Session, local: LocalMedia, srtp: Srtp) -> LegMedia | Refusal:
    """What `answer_offer` would agree on, without an answer."""
    chosen = _choose(offer, local, srtp, Direction.SENDRECV, ())
    return chosen if isinstance(chosen, Refusal) else chosen[2].media


def _choose(
    offer: bytes | Session, local: LocalMedia, srtp: Srtp, direction: Direction, prefer: Sequence[str]
) -> tuple[Session, int, "_Agreed"] | Refusal:
    """The section of an offer that we take, its place among the others, and what is agreed on for it."""
    try:
        session = parse_session(offer) if isinstance(offer, bytes) else offer
        reason = Refusal.NO_AUDIO
        places = range(len(session.media))
        for index in places if len(places) == 1 else sorted(places, key=lambda place: session.media[place].protocol not in SECURE):
            agreed = _agree(session, session.media[index], local, srtp, direction, prefer)
            if not isinstance(agreed, Refusal):
                return session, index, agreed
            # The first stream's trouble is the one to tell, unless it was no audio at all.
            reason = agreed if reason is Refusal.NO_AUDIO else reason
    except SdpError:
        return Refusal.MALFORMED
    return reason


def accept_answer(offer: bytes | Session, answer: bytes, local: LocalMedia) -> LegMedia | Refusal:
    """What the answer to our `offer` (as sent) agreed on (RFC 3264 section 7)."""
    try:
        ours = (parse_session(offer) if isinstance(offer, bytes) else offer).media[0]
        session = parse_session(answer)
        if not session.media or session.media[0].kind != "audio":
            return Refusal.NO_AUDIO
        media = session.media[0]
        if media.port == 0:
            return Refusal.NO_AUDIO
        transport = Transport(session, (media,))
        protection = accept_protection(ours, transport, media, local)
    except (SdpError, IndexError):
        return Refusal.MALFORMED
    if isinstance(protection, Refusal):
        return protection
    address = session.address_of(media)
    if address is None:
        return Refusal.MALFORMED
    offered = codecs_of(ours)
    known = {(codec.name, codec.rate) for codec in offered}
    agreed = [codec for codec in codecs_of(media) if (codec.name, codec.rate) in known]
    audio = tuple([codec for codec in agreed if is_audio(codec)])
    if not audio:
        return Refusal.NO_COMMON_CODEC
    events = tuple([codec for codec in agreed if not is_audio(codec)])
    direction = _direction_of(None, ours).narrowed(_direction_of(session, media).reversed)
    return _leg(transport, media, address, audio, events, protection, direction, ours.has("rtcp-mux"))


# --------------------------------------------------------------------------------------------------------- answering


@frozen(repr=False)
class _Agreed:
    """What is agreed on for the section `offered`."""

    offered: Media
    media: LegMedia
    protection: Protection
    with_mux: bool
    direction: Direction


def _agree(session: Session, media: Media, local: LocalMedia, srtp: Srtp, direction: Direction, prefer: Sequence[str]) -> _Agreed | Refusal:
    address = session.address_of(media)
    if media.kind != "audio" or not bundle.is_open(session, media) or media.protocol not in PLAIN + SECURE:
        return Refusal.NO_AUDIO
    if address is None:
        return Refusal.MALFORMED
    transport = bundle.transport_of(session, media)
    with_mux = transport.has("rtcp-mux") and local.rtcp_mux
    protection = answer_protection(transport, media, local, srtp, with_mux=with_mux)
    if isinstance(protection, Refusal):
        return protection
    offered = codecs_of(media)
    known = {(mine.name, mine.rate) for mine in local.codecs}
    audio = [codec for codec in offered if is_audio(codec) and (codec.name, codec.rate) in known]
    if not audio:
        return Refusal.NO_COMMON_CODEC
    if prefer and len(audio) > 1:
        wishes = [name.lower() for name in prefer]
        audio.sort(key=lambda codec: wishes.index(codec.name.lower()) if codec.name.lower() in wishes else len(wishes))
    clocks = {codec.rate for codec in audio}
    beside = [codec for codec in offered if not is_audio(codec) and codec.rate in clocks]
    events = [codec for codec in beside if (local.dtmf if is_event(codec) else local.noise)]
    agreed = direction.narrowed(_direction_of(session, media).reversed)
    leg = _leg(transport, media, address, tuple(audio), tuple(events), protection, agreed, local.rtcp_mux)
    return _Agreed(media, leg, protection, with_mux, agreed)


def _answer(agreed: _Agreed, local: LocalMedia) -> Media:
    """Our section that says so."""
    audio, events, protection, offered = agreed.media.codecs, agreed.media.events, agreed.protection, agreed.offered
    # What we ask of the peer (fmtp) is what the other party asks of who sends to it, where that is known.
    asked = {(mine.name, mine.rate): mine.fmtp for mine in reversed(local.codecs)}
    wanted = [_asking(codec, asked[codec.name, codec.rate]) for codec in audio]
    lines = codec_lines([*wanted, *events])
    lines += protection.lines
    mid = bundle.mid_of(offered)
    if mid is not None:
        lines.insert(0, ("mid", mid))
    lines += [("rtcp-mux", None)] if protection.ice is not None else _rtcp_lines(local, with_mux=agreed.with_mux)
    ptime = offered.first("ptime")
    if ptime is not None and ptime.isascii() and ptime.isdigit() and 10 <= int(ptime[:4]) <= 60:
        lines.append(("ptime", ptime[:4]))
    lines.append((agreed.direction.value, None))
    return Media("audio", local.port, offered.protocol, formats([*audio, *events]), None, tuple(lines))


def _asking(codec: Codec, fmtp: str | None) -> Codec:
    return codec if codec.fmtp == fmtp else replace(codec, fmtp=fmtp)


def _session_lines(session: Session, media: Media, agreed: LegMedia) -> list[Attribute]:
    lines: list[Attribute] = []
    mid = bundle.mid_of(media)
    if mid is not None and bundle.bundle_of(session, media):
        lines.append(("group", f"BUNDLE {mid}"))
    if agreed.ice is not None:
        lines.append(("ice-lite", None))
    return lines


def _leg(
    transport: Transport,
    media: Media,
    address: str,
    audio: tuple[Codec, ...],
    events: tuple[Codec, ...],
    protection: Protection,
    direction: Direction,
    may_mux: bool,
) -> LegMedia:
    mux = transport.has("rtcp-mux") and may_mux
    # Old phones hold with c=0.0.0.0 (RFC 3264 section 8.4): nothing can be sent there. With ICE it only means that nobody knows yet.
    is_blackhole = address in ("0.0.0.0", "::") and protection.ice is None
    if is_blackhole:
        direction = direction.narrowed(Direction.RECVONLY)
    ptime = media.first("ptime")
    return LegMedia(
        codecs=audio,
        dtmf=event_for(audio[0], events),
        address=address,
        port=media.port,
        rtcp_port=media.port if mux else _rtcp_port(media),
        rtcp_mux=mux,
        send_crypto=protection.send_crypto,
        recv_crypto=protection.recv_crypto,
        direction=direction,
        is_held=is_blackhole or not _direction_of(transport.session, media).receives,
        ptime_ms=int(ptime) if ptime is not None and ptime.isascii() and ptime.isdigit() and len(ptime) < 4 and int(ptime) >= 10 else 20,
        events=events,
        dtls=protection.dtls,
        ice=protection.ice,
        ssrcs=_ssrcs(media),
    )


def _describe(local: LocalMedia, media: Sequence[Media], attributes: Sequence[Attribute] = ()) -> Session:
    return Session(local.session_id, local.version, local.address, tuple(media), local.address, attributes=tuple(attributes))


# ---------------------------------------------------------------------------------------------------------- details


def _rtcp_lines(local: LocalMedia, *, with_mux: bool) -> list[Attribute]:
    lines: list[Attribute] = []
    if local.rtcp_port is not None and not (with_mux and local.rtcp_port == local.port):
        lines.append(("rtcp", str(local.rtcp_port)))
    if with_mux:
        lines.append(("rtcp-mux", None))
    return lines


def _ssrcs(media: Media) -> tuple[int, ...]:
    """The synchronisation sources that `a=ssrc` lines name (RFC 5576 section 4.1), each once."""
    values = media.all("ssrc")
    if not values:
        return ()
    numbers = [value.partition(" ")[0] for value in values]
    found = dict.fromkeys(int(text) for text in numbers if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 32)
    return tuple(found)[:MAX_SSRCS]


def _direction_of(session: Session | None, media: Media) -> Direction:
    """The section's direction, else the session's, else sendrecv (RFC 8866 section 6.7)."""
    for place in (media, session):
        said = {name for name, _ in place.attributes} if place is not None else ()
        for name, direction in _DIRECTIONS:
            if name in said:
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
