"""What offers and answers are made of: our end of a leg, what was agreed for it, and why nothing was. Frozen values, no decision."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sdp.codecs import AUDIO_CODECS, Codec
from hushwire.sdp.crypto import Crypto, Suite
from hushwire.sdp.dtls import LocalDtls, RemoteDtls
from hushwire.sdp.ice import IceCredentials


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
        return _REVERSED[self]

    def narrowed(self, other: "Direction") -> "Direction":
        """What both allow."""
        return _NARROWED[self, other]


def _direction(*, sends: bool, receives: bool) -> Direction:
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


_REVERSED: Final = {one: _direction(sends=one.receives, receives=one.sends) for one in Direction}
_NARROWED: Final = {
    (one, other): _direction(sends=one.sends and other.sends, receives=one.receives and other.receives)
    for one in Direction
    for other in Direction
}


class Srtp(StrEnum):
    """What a leg asks of its media: `never | optional | required`, as trunks and organisations are configured."""

    NEVER = "never"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Keying(StrEnum):
    """By which means an offer of ours would have the media protected."""

    SDES = "sdes"  # RTP/SAVP with a crypto line for each suite (RFC 4568), and a fingerprint where we have one
    BEST_EFFORT = "best-effort"  # RTP/AVP with the same lines: who knows them protects, who does not talks in the clear
    DTLS = "dtls"  # UDP/TLS/RTP/SAVP with a fingerprint (RFC 5763)
    WEBRTC = "webrtc"  # UDP/TLS/RTP/SAVPF with a fingerprint, ICE-lite, BUNDLE of one section and RTCP multiplexed (RFC 8829)


@frozen(repr=False)
class LocalMedia:
    """Our end of a leg: where we receive, and the keys that we would send with (one for each suite that we offer or accept).

    `address` and `port` are what the peer shall send to. `session_id` stays, `version` grows by one for each changed description.
    `keys` maps a suite to fresh random bytes, `Suite.key_bytes` of them; the media process protects what it sends under them. No keys:
    no SDES. `dtls` is what a handshake with us would prove, `ice` our credentials for checks; each None where we do not do it.
    `events` are the telephone-events, and the comfort noise, that our offers have; None: one telephone-event for each clock of `codecs`.
    An answer takes the offer's: telephone-events with `dtmf`, comfort noise with `noise`.
    """

    address: str
    port: int
    rtcp_port: int | None
    keys: Mapping[Suite, bytes]
    session_id: int
    version: int
    codecs: tuple[Codec, ...] = AUDIO_CODECS
    dtmf: bool = True
    noise: bool = True
    rtcp_mux: bool = True
    events: tuple[Codec, ...] | None = None
    dtls: LocalDtls | None = None
    ice: IceCredentials | None = None

    def __repr__(self) -> str:
        return f"LocalMedia({SHOWN})"


@frozen(repr=False)
class AgreedIce:
    """The credentials that checks on this leg must bear: ours, and the peer's (RFC 8445 section 7)."""

    local: IceCredentials
    remote: IceCredentials

    def __repr__(self) -> str:
        return f"AgreedIce({SHOWN})"


@frozen(repr=False)
class LegMedia:
    """What offer and answer agreed on for one leg.

    `codecs` are usable audio codecs in order of preference with the payload types of this leg; the first is the one to send.
    `dtmf` is the telephone-event of that codec's clock; `events` are all that were agreed on (RFC 4733 section 2.5.1.2: one for each
    clock rate in use), and comfort noise (RFC 3389) where that was.
    `address`/`port` is where the peer receives RTP, `rtcp_port` its RTCP (equal to `port` when multiplexed).
    `send_crypto` is our key for what we send, `recv_crypto` the peer's for what it sends; both None for plain RTP and where a DTLS
    handshake shall make them: then `dtls` says whom to expect. With `ice`, only a check under its credentials says where the peer is.
    `direction` is ours: what we may do towards the peer. `is_held` tells that the peer put us on hold. `ssrcs` are the
    synchronisation sources that the peer announced, to be believed only where nothing better is known.
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
    events: tuple[Codec, ...] = ()
    dtls: RemoteDtls | None = None
    ice: AgreedIce | None = None
    ssrcs: tuple[int, ...] = ()

    @property
    def is_protected(self) -> bool:
        """Whether the media is SRTP, or nothing at all until it is."""
        return self.send_crypto is not None or self.dtls is not None

    @property
    def clock_rate(self) -> int:
        """RTP clock of the codec to send, in Hz (G722 says 8000, RFC 3551 section 4.5.2; Opus 48000, RFC 7587 section 4.1)."""
        return self.codecs[0].rate if self.codecs else 8000

    def __repr__(self) -> str:
        return f"LegMedia({SHOWN})"


class Refusal(StrEnum):
    """Why an offer can't be answered (488 with a Warning) or an answer can't be used."""

    NO_AUDIO = "no_audio"
    NO_COMMON_CODEC = "no_common_codec"
    SRTP_REQUIRED = "srtp_required"
    SRTP_NOT_ALLOWED = "srtp_not_allowed"
    NO_COMMON_CRYPTO = "no_common_crypto"
    NO_FINGERPRINT = "no_fingerprint"
    MALFORMED = "malformed"


@frozen(repr=False)
class Answered:
    """`body` is the answer to send, `media` what it means."""

    body: bytes
    media: LegMedia
