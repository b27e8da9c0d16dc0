"""A bridge as a controller finds it that did not open it: enough to go on with the call, and never a key."""

from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.media.model import BridgeReport, Mode, RecordingState, Suite
from hushwire.media.ports import IpAddress
from hushwire.media.wire import Fields, Tag


def _ip(raw: bytes) -> IpAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


def _place(fields: Fields, ip: Tag, port: Tag) -> Personal[tuple[IpAddress, int]] | None:
    raw = fields.get(ip)
    return None if raw is None else Personal((_ip(raw), fields.integer(port)))


@frozen
class LegState:
    """A leg. `digest` is that of `statement.settings_digest`, None where the leg was never stated.

    `remote` is what signalling said, `source` where media really comes from and goes to. `send_suite` and `receive_suite` tell that the
    leg is SRTP; going on with its present keys takes somebody who still has them, else new ones are agreed on by re-INVITE.
    """

    leg: int
    rtp_port: int
    rtcp_port: int
    ssrc: int
    digest: bytes | None
    remote: Personal[tuple[IpAddress, int]] | None
    source: Personal[tuple[IpAddress, int]] | None
    rtcp_mux: bool
    send_suite: Suite | None
    receive_suite: Suite | None
    sends: bool
    receives: bool
    learns: bool
    payload_types: tuple[tuple[int, int], ...]
    media_timeout_ms: int
    clock_rate: int

    @classmethod
    def read(cls, fields: Fields) -> "LegState":
        """From the fields of LEG_STATE."""
        pairs = fields.get(Tag.PAYLOAD_TYPES) or b""
        send_suite, receive_suite = fields.integer(Tag.SEND_SUITE), fields.integer(Tag.RECV_SUITE)
        return cls(
            leg=fields.integer(Tag.LEG),
            rtp_port=fields.integer(Tag.RTP_PORT),
            rtcp_port=fields.integer(Tag.RTCP_PORT),
            ssrc=fields.integer(Tag.SSRC),
            digest=fields.get(Tag.SETTINGS_DIGEST),
            remote=_place(fields, Tag.REMOTE_IP, Tag.REMOTE_PORT),
            source=_place(fields, Tag.SOURCE_IP, Tag.SOURCE_PORT),
            rtcp_mux=bool(fields.integer(Tag.RTCP_MUX)),
            send_suite=Suite(send_suite) if send_suite else None,
            receive_suite=Suite(receive_suite) if receive_suite else None,
            sends=bool(fields.integer(Tag.SEND, 1)),
            receives=bool(fields.integer(Tag.RECEIVE, 1)),
            learns=bool(fields.integer(Tag.LEARN, 1)),
            payload_types=tuple(zip(pairs[::2], pairs[1::2], strict=True)),
            media_timeout_ms=fields.integer(Tag.MEDIA_TIMEOUT_MS, 30_000),
            clock_rate=fields.integer(Tag.CLOCK_RATE, 8_000),
        )


@frozen
class RunningRecording:
    """The recording that a bridge is under."""

    recording_id: UUID
    segment: int
    is_paused: bool
    file: str


@frozen
class BridgeState:
    """A bridge: its legs by number, their counters, its recording. `is_sensitive` while digits and sound are kept from everybody."""

    mode: Mode
    legs: dict[int, LegState]
    report: BridgeReport
    recording: RunningRecording | None
    is_sensitive: bool

    @classmethod
    def read(cls, fields: Fields) -> "BridgeState":
        """From the reply to GET_BRIDGE."""
        recording = fields.get(Tag.RECORDING)
        legs = [LegState.read(leg) for leg in fields.nested(Tag.LEG_STATE)]
        return cls(
            mode=Mode(fields.integer(Tag.MODE)),
            legs={leg.leg: leg for leg in legs},
            report=BridgeReport.read(fields),
            recording=None
            if recording is None
            else RunningRecording(
                UUID(bytes=recording),
                fields.integer(Tag.SEGMENT),
                fields.integer(Tag.RECORDING_STATE) == RecordingState.PAUSED,
                fields.text(Tag.FILE),
            ),
            is_sensitive=bool(fields.integer(Tag.IS_SENSITIVE)),
        )
