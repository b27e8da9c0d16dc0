"""Frames of the control protocol of hushwire-media (native/control/PROTOCOL.md), as pure bytes in, values out."""

import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Final

from hushwire.core.errors import Unavailable
from hushwire.core.values import frozen

VERSION: Final = 1
MAX_FRAME: Final = 65_536
_HEADER: Final = struct.Struct(">BBHI")
_START: Final = struct.Struct(">IBBHI")  # the length, and the header behind it
_START_SIZE: Final = _START.size
_FIELD: Final = struct.Struct(">HH")


class WireError(Unavailable):
    """The media process sent what the protocol does not allow; the connection can't be trusted any more."""


class Kind(IntEnum):
    """What a frame is."""

    REQUEST = 0
    REPLY = 1
    EVENT = 2


class Op(IntEnum):
    """Requests; a reply repeats the number."""

    HELLO = 1
    PING = 2
    ACK = 3
    OPEN_BRIDGE = 16
    OPEN_LEG = 17
    SET_LEG = 18
    CLOSE_BRIDGE = 19
    GET_BRIDGE = 20
    LIST_BRIDGES = 21
    START_RECORDING = 32
    PAUSE_RECORDING = 33
    RESUME_RECORDING = 34
    STOP_RECORDING = 35
    SET_FORMAT = 36
    DTLS_SEND = 48
    LOAD_SOUND = 64
    PLAY = 65
    STOP_PLAY = 66
    REOPEN_LEG = 24
    GET_PORTS = 25
    SEND_DIGITS = 67
    DETECT_TONES = 68
    SET_SENSITIVE = 69
    SWITCH_RECORDING = 70
    SET_HEARS = 52
    CLOSE_LEG = 53
    SET_RECORDED = 73
    MOVE_LEG = 74
    IS_BESIDE = 82
    DETECT_SPEECH = 79


class EventType(IntEnum):
    """Events, kept by the media process until acknowledged; those with id 0 are not kept and need no acknowledgement."""

    RECORDING_CLOSED = 257
    RECORDING_FAILED = 258
    MEDIA_TIMEOUT = 259
    BRIDGE_CLOSED = 260
    LEG_SOURCE = 261
    ICE_SELECTED = 263
    CONSENT_LOST = 264
    DTLS_DATAGRAM = 265
    PLAY_ENDED = 266
    LEG_PORTS = 262
    DIGIT = 267
    QUALITY = 268
    ONE_WAY_AUDIO = 269


class Status(IntEnum):
    """Outcome of a request."""

    OK = 0
    MALFORMED = 1
    UNSUPPORTED = 2
    FENCED = 3
    NOT_FOUND = 4
    EXISTS = 5
    INVALID = 6
    STATE = 7
    NO_PORTS = 8
    SPOOL = 9
    LIMIT = 10
    STOPPING = 11


class Tag(IntEnum):
    """Fields."""

    STATUS = 1
    MESSAGE = 2
    EPOCH = 3
    INSTANCE = 4
    COUNT = 5
    PROGRAM = 6
    EVENT = 7
    BRIDGE = 8
    LEG = 9
    MODE = 10
    RTP_PORT = 11
    RTCP_PORT = 12
    LOCAL_IP = 13
    SSRC = 14
    REMOTE_IP = 20
    REMOTE_PORT = 21
    REMOTE_RTCP_PORT = 22
    RTCP_MUX = 23
    SEND_SUITE = 24
    SEND_KEY = 25
    RECV_SUITE = 26
    RECV_KEY = 27
    SIGNALLING_IP = 28
    LEARN = 29
    SEND = 30
    RECEIVE = 31
    PAYLOAD_TYPES = 32
    MEDIA_TIMEOUT_MS = 33
    CLOCK_RATE = 34
    ORG = 40
    RECORDING = 41
    SEGMENT = 42
    DATA_KEY = 43
    FILE = 44
    ANCHOR_US = 45
    FORMAT = 46
    FRAMES = 50
    BYTES = 51
    DIGEST = 52
    DURATION_MS = 53
    RECORDING_STATE = 54
    GAPS = 55
    RECORDING_RESULT = 56
    FAILURE = 57
    LEG_STATS = 60
    REASON = 61
    BRIDGE_ENTRY = 62
    MORE = 63
    AFTER = 64
    PACKETS_RECEIVED = 70
    BYTES_RECEIVED = 71
    PACKETS_SENT = 72
    BYTES_SENT = 73
    LOST = 74
    JITTER_US = 75
    DROPPED_REPLAY = 76
    DROPPED_TAG = 77
    DROPPED_SOURCE = 78
    DROPPED_MALFORMED = 79
    DROPPED_DISABLED = 80
    DROPPED_UNSENT = 81
    RTCP_RECEIVED = 82
    RTCP_SENT = 83
    SILENT_MS = 84
    REMOTE_LOST = 85
    ICE_LOCAL_UFRAG = 110
    ICE_LOCAL_PASSWORD = 111
    ICE_REMOTE_UFRAG = 112
    KEYING = 113
    DATAGRAM = 114
    STUN_RECEIVED = 115
    STUN_ANSWERED = 116
    STUN_REFUSED = 117
    STUN_LIMITED = 118
    STUN_REPEATED = 119
    DROPPED_UNCHECKED = 120
    DROPPED_UNKEYED = 121
    DTLS_RECEIVED = 122
    DTLS_SENT = 123
    DTLS_REFUSED = 124
    DTLS_LIMITED = 125
    SOUND = 140
    FRAME_SAMPLES = 141
    TOTAL_BYTES = 142
    OFFSET = 143
    DATA = 144
    IS_WHOLE = 145
    UNLOAD = 146
    PLAYBACK = 147
    PAYLOAD_TYPE = 148
    TIMES = 149
    OFFSET_MS = 150
    INTERVAL_MS = 151
    BEEP = 152
    PLAY_END = 153
    SENT_MS = 154
    PORTS = 100
    IS_SHARED = 101
    CAUSE = 102
    SHARED_PORT = 103
    PACKETS = 104
    STRANGERS = 105
    UNPROVEN = 106
    OVER_BUDGET = 107
    DROPPED_BUDGET = 108
    DROPPED_RTCP_BUDGET = 230
    DIGITS = 160
    DIGIT_MS = 161
    GAP_MS = 162
    IS_ON = 163
    HEARD_AS = 164
    CODEC = 130
    ANSWERED = 170
    LEG_QUALITY = 171
    ROUND_TRIP_US = 172
    LOSS_RECEIVED = 173
    LOSS_REPORTED = 174
    REMOTE_JITTER_US = 175
    BURST_RATIO = 176
    MOS_RECEIVED = 177
    MOS_HEARD = 178
    ROUND_TRIP_MAX_US = 179
    JITTER_MAX_US = 180
    MOS_RECEIVED_WORST = 181
    MOS_HEARD_WORST = 182
    SILENCE_CAUSE = 183
    LEG_STATE = 200
    SETTINGS_DIGEST = 201
    SOURCE_IP = 202
    SOURCE_PORT = 203
    IS_SENSITIVE = 204
    HEARS = 131
    RECORDED = 220
    TO_BRIDGE = 221
    TO_LEG = 222
    BESIDE = 223
    ON_ONE_THREAD = 275
    SEAL_LAG_US = 240
    SPEECH_MS = 260
    QUIET_MS = 261


Field = tuple[Tag, bytes]

# One byte, and two, four and eight bytes big-endian.
u8: Final[Callable[[int], bytes]] = struct.Struct(">B").pack
u16: Final[Callable[[int], bytes]] = struct.Struct(">H").pack
u32: Final[Callable[[int], bytes]] = struct.Struct(">I").pack
u64: Final[Callable[[int], bytes]] = struct.Struct(">Q").pack


# How a frame of so many bytes was laid out last: the next one most likely is the same, and read in one step, not field by field.
_Layout = tuple[struct.Struct, tuple[int, ...], tuple[int, ...]]
_LAYOUTS: Final[dict[int, _Layout]] = {}
_MOST_LAYOUTS: Final = 256
_MANY_FIELDS: Final = 4


def _learn(size: int, fields: list[tuple[int, bytes]]) -> None:
    if len(_LAYOUTS) < _MOST_LAYOUTS or size in _LAYOUTS:
        lengths = tuple([len(value) for _, value in fields])
        form = struct.Struct(">" + "".join([f"HH{length}s" for length in lengths]))
        _LAYOUTS[size] = form, tuple([tag for tag, _ in fields]), lengths


def _walk(data: bytes) -> list[tuple[int, bytes]]:
    """All fields in order. Raises WireError."""
    found, at, end = list[tuple[int, bytes]](), 0, len(data)
    while at < end:
        begin = at + _FIELD.size
        if begin > end:
            raise WireError("a field of the media process is torn")
        tag, length = _FIELD.unpack_from(data, at)
        at = begin + length
        if at > end:
            raise WireError("a field of the media process is torn")
        found.append((tag, data[begin:at]))
    return found


class Fields:
    """The fields of a frame. Unknown tags are skipped, as the protocol asks."""

    __slots__ = ("_again", "_first")

    def __init__(self, data: bytes) -> None:
        usual = _LAYOUTS.get(len(data))
        if usual is not None:
            struct_, tags, lengths = usual
            found = struct_.unpack(data)
            if found[::3] == tags and found[1::3] == lengths:
                self._first: dict[int, bytes] = dict(zip(tags, found[2::3], strict=True))
                self._again: tuple[tuple[int, bytes], ...] = ()
                return
        self._first, again = {}, []
        walked = _walk(data)
        for tag, value in walked:
            if tag in self._first:
                again.append((tag, value))
            else:
                self._first[tag] = value
        self._again = tuple(again)
        if len(walked) >= _MANY_FIELDS and not again:
            _learn(len(data), walked)

    def get(self, tag: Tag) -> bytes | None:
        """The first value, or None."""
        return self._first.get(tag)

    def need(self, tag: Tag) -> bytes:
        """The first value. Raises WireError where it is missing."""
        value = self._first.get(tag)
        if value is None:
            raise WireError(f"the media process left out {tag.name}")
        return value

    def integer(self, tag: Tag, absent: int = 0) -> int:
        """The value as an unsigned integer of whatever width it has."""
        value = self._first.get(tag)
        return absent if value is None else int.from_bytes(value, "big")

    def integers(self, tags: tuple[Tag, ...]) -> list[int]:
        """The values of several tags as unsigned integers; 0 where one is missing."""
        first, read = self._first, int.from_bytes
        return [read(first[tag], "big") if tag in first else 0 for tag in tags]

    def numbers(self, units: tuple[tuple[Tag, int], ...]) -> list[float | None]:
        """The values of several tags, each divided by how many of its units make one; None where one is missing."""
        first, read = self._first, int.from_bytes
        return [read(first[tag], "big") / unit if tag in first else None for tag, unit in units]

    def text(self, tag: Tag) -> str:
        """The value as text; empty where it is missing."""
        return self._first.get(tag, b"").decode("utf-8", "replace")

    def nested(self, tag: Tag) -> list["Fields"]:
        """Each value of a repeated tag, read as fields."""
        value = self._first.get(tag)
        if value is None:
            return []
        return [Fields(value), *[Fields(other) for known, other in self._again if known == tag]]


@frozen
class Frame:
    """One frame, its length field taken off."""

    kind: Kind
    opcode: int
    id: int
    fields: Fields


def encode(op: Op, request_id: int, fields: Iterable[Field] = ()) -> bytes:
    """A request as bytes, its length in front. Raises ValueError where it would not fit a frame."""
    body = b"".join([_FIELD.pack(tag, len(value)) + value for tag, value in fields])
    length = _HEADER.size + len(body)
    if length > MAX_FRAME:
        raise ValueError("a request must fit one frame")
    return _START.pack(length, VERSION, Kind.REQUEST, op, request_id) + body


_KINDS: Final = {int(Kind.REPLY): Kind.REPLY, int(Kind.EVENT): Kind.EVENT}


class FrameReader:
    """Cuts a byte stream into frames, however it arrives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises WireError where the stream breaks the protocol."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, end = 0, len(data)
        while end - at >= _START_SIZE:
            length, version, number, opcode, frame_id = _START.unpack_from(data, at)
            if not _HEADER.size <= length <= MAX_FRAME:
                raise WireError("the media process sent a frame of impossible length")
            if end - at < 4 + length:
                break
            if version != VERSION:
                raise WireError("the media process speaks another version of the control protocol: install both from one wheel")
            kind = _KINDS.get(number)
            if kind is None:
                raise WireError("the media process sent neither reply nor event")
            at += 4 + length
            yield Frame(kind, opcode, frame_id, Fields(data[at - 4 - length + _START_SIZE : at]))
        self._rest = data[at:]
