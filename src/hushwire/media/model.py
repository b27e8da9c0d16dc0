"""What is said to the media process and what it answers, as values."""

from enum import IntEnum
from typing import Final
from uuid import UUID

from hushwire.core.errors import LocalError
from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.media.digits import DigitHeard
from hushwire.media.formats import LegCodec
from hushwire.media.ports import IpAddress, PortTrouble, read_source
from hushwire.media.quality import UNKNOWN, LegQuality, SilenceCause
from hushwire.media.sounds import Played
from hushwire.media.wire import EventType, Fields, Status, Tag


class MediaRefused(LocalError):
    """The media process answered a request with an error; nothing was changed."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"hushwire-media refused: {status.name.lower()}: {message}")
        self.status = status


class Mode(IntEnum):
    """What a bridge does with packets."""

    RELAY = 0
    ECHO = 1


class Suite(IntEnum):
    """SRTP protection profiles (RFC 4568 section 6.2, RFC 6188, RFC 7714)."""

    AES_CM_128_HMAC_SHA1_80 = 1
    AES_CM_128_HMAC_SHA1_32 = 2
    AES_256_CM_HMAC_SHA1_80 = 3
    AEAD_AES_128_GCM = 4
    AEAD_AES_256_GCM = 5


@frozen
class Protection:
    """SRTP of one direction: suite and master key with salt behind it, raw."""

    suite: Suite
    key: bytes

    def __repr__(self) -> str:
        return f"Protection({self.suite.name}, <key>)"


@frozen
class IceCredentials:
    """What connectivity checks of a leg must carry (RFC 8445 section 5.3). hushwire-media is ICE-lite: it answers checks under the local
    password and makes none of its own, so it has no use for the peer's. Other values are an ICE restart."""

    local_ufrag: str
    local_password: str
    remote_ufrag: str

    def __repr__(self) -> str:
        return "IceCredentials(<secret>)"


@frozen
class LegPorts:
    """What OPEN_LEG gave: `ip` and ports to write into SDP, and the SSRC that the leg will hear. A shared port serves RTP and RTCP."""

    ip: IpAddress
    rtp_port: int
    rtcp_port: int
    ssrc: int
    is_shared: bool = False


@frozen
class LegSettings:
    """A leg as a whole statement (SET_LEG): what it does not say has its default again.

    `payload_types` maps a type received on this leg to the type sent on the other. `send` and `receive` are the media
    process's own direction: send to the party, take from the party. With `ice` the party is where its nominated check came from, and
    `remote_ip` and `remote_port` are not used (0.0.0.0 or ::, and any port). `is_dtls`: keys come by a DTLS handshake; until they are
    stated here, nothing is sent to the leg and no media is taken from it. Both want `rtcp_mux`: ICE always, DTLS for RTCP to pass.
    `codecs` are what was agreed, in order of preference: without them nothing of the leg is ever decoded, only relayed.
    """

    remote_ip: Personal[IpAddress]
    remote_port: int
    remote_rtcp_port: int | None = None
    rtcp_mux: bool = False
    sending: Protection | None = None
    receiving: Protection | None = None
    signalling_ip: Personal[IpAddress] | None = None
    learn: bool = True
    send: bool = True
    receive: bool = True
    payload_types: tuple[tuple[int, int], ...] = ()
    media_timeout_ms: int = 30_000
    clock_rate: int = 8_000
    answered: bool = False
    ice: IceCredentials | None = None
    is_dtls: bool = False
    codecs: tuple[LegCodec, ...] = ()


@frozen
class RecordingOrder:
    """What START_RECORDING needs. `format` is the JSON that playback reads (docs/hwr.md); `data_key` has 32 bytes."""

    org_id: UUID
    recording_id: UUID
    segment: int
    data_key: bytes
    file: str
    format: bytes
    anchor_us: int

    def __repr__(self) -> str:
        return f"RecordingOrder({self.recording_id}, segment={self.segment}, <key>)"


class RecordingState(IntEnum):
    """State of a recording in the media process."""

    RUNNING = 0
    PAUSED = 1
    CLOSED = 2
    FAILED = 3


@frozen
class RecordingResult:
    """A recording that ended: `digest` is the SHA-256 of the whole file; `gaps` counts packets that were not recorded.

    `seal_lag_us`: the longest that a packet of it waited to be sealed and written.
    """

    recording_id: UUID
    segment: int
    state: RecordingState
    frames: int
    size_bytes: int
    digest: bytes
    duration_ms: int
    gaps: int
    failure: int
    seal_lag_us: int = 0

    @classmethod
    def read(cls, fields: Fields) -> "RecordingResult":
        """From the fields of RECORDING_RESULT."""
        return cls(
            recording_id=UUID(bytes=fields.need(Tag.RECORDING)),
            segment=fields.integer(Tag.SEGMENT),
            state=RecordingState(fields.integer(Tag.RECORDING_STATE)),
            frames=fields.integer(Tag.FRAMES),
            size_bytes=fields.integer(Tag.BYTES),
            digest=fields.get(Tag.DIGEST) or b"",
            duration_ms=fields.integer(Tag.DURATION_MS),
            gaps=fields.integer(Tag.GAPS),
            failure=fields.integer(Tag.FAILURE),
            seal_lag_us=fields.integer(Tag.SEAL_LAG_US),
        )


_COUNTED: Final = (
    Tag.LEG, Tag.PACKETS_RECEIVED, Tag.PACKETS_SENT, Tag.LOST, Tag.JITTER_US, Tag.DROPPED_REPLAY, Tag.DROPPED_TAG, Tag.DROPPED_SOURCE,
    Tag.DROPPED_MALFORMED,
)  # fmt: skip
_COUNTED_BESIDE: Final = (
    Tag.RTCP_RECEIVED, Tag.DROPPED_UNCHECKED, Tag.DROPPED_UNKEYED, Tag.STUN_REFUSED, Tag.DTLS_REFUSED, Tag.DTLS_LIMITED, Tag.QUIET_MS,
)  # fmt: skip


@frozen
class LegStatistics:
    """Counters of one leg (RFC 3550 A.3, A.8). `silent_ms` is None where nothing was ever taken in."""

    leg: int
    packets_received: int
    packets_sent: int
    lost: int
    jitter_us: int
    dropped_replay: int
    dropped_tag: int
    dropped_source: int
    dropped_malformed: int
    silent_ms: int | None
    rtcp_received: int = 0
    dropped_unchecked: int = 0  # media from where no valid ICE check came from
    dropped_unkeyed: int = 0  # media before the keys of a DTLS leg
    stun_refused: int = 0
    dtls_refused: int = 0  # from where no handshake may begin
    dtls_limited: int = 0
    quality: LegQuality = UNKNOWN
    speech_ms: int | None = None  # said since `detect_speech`; None where nobody listens for it
    quiet_ms: int = 0  # since the last of it, or since `detect_speech`

    @classmethod
    def read(cls, fields: Fields) -> "LegStatistics":
        """From the fields of LEG_STATS."""
        silent, speech = fields.get(Tag.SILENT_MS), fields.get(Tag.SPEECH_MS)
        leg, received, sent, lost, jitter_us, replay, tag, source, malformed = fields.integers(_COUNTED)
        rtcp, unchecked, unkeyed, stun_refused, dtls_refused, dtls_limited, quiet_ms = fields.integers(_COUNTED_BESIDE)
        return cls(
            leg,
            received,
            sent,
            lost,
            jitter_us,
            replay,
            tag,
            source,
            malformed,
            None if silent is None else int.from_bytes(silent, "big"),
            rtcp,
            unchecked,
            unkeyed,
            stun_refused,
            dtls_refused,
            dtls_limited,
            LegQuality.read(fields),
            None if speech is None else int.from_bytes(speech, "big"),
            quiet_ms,
        )


@frozen
class BridgeReport:
    """Statistics of a bridge, and the recording's end where one was running."""

    legs: tuple[LegStatistics, ...]
    recording: RecordingResult | None

    @classmethod
    def read(cls, fields: Fields) -> "BridgeReport":
        """From a reply or event that carries LEG_STATS and, perhaps, RECORDING_RESULT."""
        result = fields.nested(Tag.RECORDING_RESULT)
        return cls(
            tuple([LegStatistics.read(leg) for leg in fields.nested(Tag.LEG_STATS)]), RecordingResult.read(result[0]) if result else None
        )


@frozen
class BridgeEntry:
    """A bridge that the media process holds, and its running recording."""

    bridge_id: UUID
    mode: Mode
    recording_id: UUID | None

    @classmethod
    def read(cls, fields: Fields) -> "BridgeEntry":
        """From the fields of BRIDGE_ENTRY."""
        recording = fields.get(Tag.RECORDING)
        return cls(
            UUID(bytes=fields.need(Tag.BRIDGE)), Mode(fields.integer(Tag.MODE)), None if recording is None else UUID(bytes=recording)
        )


@frozen
class DtlsDatagram:
    """What a leg's party sent of its DTLS handshake. Not kept: one that gets lost is sent again by the party, as DTLS does."""

    bridge_id: UUID
    leg: int
    data: bytes

    @classmethod
    def read(cls, fields: Fields) -> "DtlsDatagram":
        """From a DTLS_DATAGRAM event."""
        return cls(UUID(bytes=fields.need(Tag.BRIDGE)), fields.integer(Tag.LEG), fields.need(Tag.DATAGRAM))


@frozen
class MediaEvent:
    """Something that happened, kept by the media process until it is acknowledged.

    `leg` is set for the events that concern one: MEDIA_TIMEOUT, LEG_SOURCE, ICE_SELECTED, CONSENT_LOST, DIGIT, PLAY_ENDED, LEG_PORTS;
    `report` for the events that carry results; `played` for PLAY_ENDED; `source` for LEG_SOURCE and ICE_SELECTED; `trouble` for LEG_PORTS;
    `quality` for QUALITY, which is not kept (id 0); `silence` for ONE_WAY_AUDIO.
    """

    id: int
    type: EventType
    bridge_id: UUID
    leg: int | None
    report: BridgeReport
    digit: DigitHeard | None = None
    played: Played | None = None
    source: Personal[tuple[IpAddress, int]] | None = None
    trouble: PortTrouble | None = None
    quality: tuple[LegQuality, ...] = ()
    silence: SilenceCause | None = None

    @classmethod
    def read(cls, event_id: int, event_type: EventType, fields: Fields) -> "MediaEvent":
        """From an event frame."""
        leg = fields.get(Tag.LEG)
        return cls(
            event_id,
            event_type,
            UUID(bytes=fields.need(Tag.BRIDGE)),
            None if leg is None else int.from_bytes(leg, "big"),
            BridgeReport.read(fields),
            DigitHeard.read(fields) if event_type is EventType.DIGIT else None,
            Played.read(fields),
            read_source(fields),
            PortTrouble(fields.integer(Tag.CAUSE)) if event_type is EventType.LEG_PORTS else None,
            tuple(LegQuality.read(leg) for leg in fields.nested(Tag.LEG_QUALITY)),
            SilenceCause(fields.integer(Tag.SILENCE_CAUSE)) if event_type is EventType.ONE_WAY_AUDIO else None,
        )


@frozen
class Greeting:
    """Answer to HELLO: which run of the program this is, and how many bridges it holds."""

    instance: UUID
    bridges: int
    program: str
    local_ip: IpAddress
