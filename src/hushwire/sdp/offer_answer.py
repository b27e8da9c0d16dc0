"""Offers and answers for audio legs (RFC 3264, RFC 4568): PCMU, PCMA, G722 and telephone-event over RTP or SRTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hushwire.core.personal import SHOWN


class Direction(StrEnum):
    """Which way media flows, seen from who wrote it (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Suite(StrEnum):
    """SDES crypto suites (RFC 4568 section 6.2, RFC 6188), in our order of preference."""

    AES_256_CM_HMAC_SHA1_80 = "AES_256_CM_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"


class Srtp(StrEnum):
    """What a leg asks of its media: `never | optional | required`, as trunks and organisations are configured."""

    NEVER = "never"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, repr=False)
class Crypto:
    """One SDES key: `key` is master key and salt, 30 or 46 bytes."""

    tag: int
    suite: Suite
    key: bytes


@dataclass(frozen=True, slots=True)
class Codec:
    """`payload_type` and the encoding of an rtpmap: `name` in its usual spelling, `rate` as SDP says it (G722/8000)."""

    payload_type: int
    name: str
    rate: int = 8000
    fmtp: str | None = None


PCMU = Codec(0, "PCMU")
PCMA = Codec(8, "PCMA")
G722 = Codec(9, "G722")
TELEPHONE_EVENT = Codec(101, "telephone-event", 8000, "0-16")
AUDIO_CODECS = (PCMU, PCMA, G722)


@dataclass(frozen=True, slots=True, repr=False)
class LocalMedia:
    """Our end of a leg: where we receive, and the keys that we would send with (one for each suite that we offer or accept).

    `address` and `port` are what the peer shall send to. `session_id` stays, `version` grows by one for each changed description.
    `keys` maps a suite to 30 or 46 fresh random bytes; the media process protects what it sends under them.
    """

    address: str
    port: int
    rtcp_port: int | None
    keys: dict[Suite, bytes]
    session_id: int
    version: int
    codecs: tuple[Codec, ...] = AUDIO_CODECS
    dtmf: bool = True
    rtcp_mux: bool = True


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
    raise NotImplementedError


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
    leg already speaks: they come first where the offer has them.
    """
    raise NotImplementedError


def accept_answer(offer: bytes, answer: bytes, local: LocalMedia) -> LegMedia | Refusal:
    """What the answer to our `offer` (as sent) agreed on (RFC 3264 section 7, RFC 4568 section 5.1.3)."""
    raise NotImplementedError
