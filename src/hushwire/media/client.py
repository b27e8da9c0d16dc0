"""The controller's end of the control socket: requests with replies, events with acknowledgement."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, cast
from uuid import UUID

from hushwire.core.errors import Unavailable
from hushwire.core.personal import Personal
from hushwire.media.adoption import BridgeState
from hushwire.media.digits import DIGIT_MS, GAP_MS, send_digits
from hushwire.media.model import (
    BridgeEntry,
    BridgeReport,
    DtlsDatagram,
    Greeting,
    LegPorts,
    LegSettings,
    MediaEvent,
    MediaRefused,
    Mode,
    RecordingOrder,
    RecordingResult,
)
from hushwire.media.ports import IpAddress, LegOpening, SharedPort
from hushwire.media.sounds import EncodedSound, PlayOrder
from hushwire.media.statement import leg_fields
from hushwire.media.wire import EventType, Field, Fields, Frame, FrameReader, Kind, Op, Status, Tag, WireError, encode, u8, u16, u32, u64

ANSWER_S: Final = 5.0
DISK_ANSWER_S: Final = 20.0  # START, STOP and CLOSE wait for the spool's disk
_EVENT_TYPES: Final = frozenset(int(event) for event in EventType)


@lru_cache(64)
def _ip(raw: bytes) -> IpAddress:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)


class MediaClient:
    """One controlling connection. It lives until `closed` is set; a new connection needs a new, greater epoch.

    `on_event` is called on the loop for each event, oldest first, also for those that an earlier controller left; the
    receiver calls `acknowledge` once it has made the event durable. `on_dtls` is called for each datagram of a DTLS handshake that a leg's
    party sent; without it they are dropped.
    """

    def __init__(self, on_event: Callable[[MediaEvent], None], on_dtls: Callable[[DtlsDatagram], None] | None = None) -> None:
        self._on_event = on_event
        self._on_dtls = on_dtls
        self._waiting: dict[int, tuple[_Asked, int]] = {}
        self._next_id = 1
        self._control: _Control | None = None
        self.process_id = 0
        """Of the program that we are connected to."""
        self.closed = asyncio.Event()

    async def connect(self, path: Path, epoch: int) -> Greeting:
        """Become the controller. Raises Unavailable where nobody listens, MediaRefused (FENCED) for an old epoch."""
        try:
            _, self._control = await asyncio.get_running_loop().create_unix_connection(lambda: _Control(self._take, self._lost), str(path))
        except OSError as error:
            raise Unavailable("hushwire-media does not listen on its control socket; is it running?") from error
        self.process_id = listening_process(self._control.transport.get_extra_info("socket"))
        fields = await self._ask(Op.HELLO, [(Tag.EPOCH, u64(epoch))])
        return Greeting(
            UUID(bytes=fields.need(Tag.INSTANCE)), fields.integer(Tag.COUNT), fields.text(Tag.PROGRAM), _ip(fields.need(Tag.LOCAL_IP))
        )

    async def close(self) -> None:
        """Let go of control; bridges go on until the orphan timeout."""
        if self._control is not None:
            self._control.transport.close()
            await self.closed.wait()

    async def ping(self, timeout_s: float = ANSWER_S) -> None:
        """Return once the media process has answered."""
        await self._ask(Op.PING, timeout_s=timeout_s)

    def acknowledge(self, event_ids: Iterable[int]) -> None:
        """Let the media process forget these events. They come again with the next controller if this gets lost."""
        fields: list[Field] = [(Tag.EVENT, u32(event_id)) for event_id in event_ids if event_id]
        if fields and self._control is not None and not self.closed.is_set():
            self._send((Op.ACK, fields))

    async def open_bridge(self, bridge_id: UUID, mode: Mode = Mode.RELAY, beside: UUID | None = None) -> None:
        """Make an empty bridge, `beside` one that legs may be moved to or from. Raises MediaRefused (EXISTS, LIMIT)."""
        await self._ask(Op.OPEN_BRIDGE, _bridge(bridge_id, mode, beside))

    async def open_leg(self, bridge_id: UUID, leg: int | LegOpening) -> LegPorts:
        """Give leg 0 (agent), 1 (other party) or a further one its ports. Raises MediaRefused (NO_PORTS, EXISTS)."""
        return _ports(await self._ask(Op.OPEN_LEG, [(Tag.BRIDGE, bridge_id.bytes), *_opening(leg)]))

    async def reopen_leg(self, bridge_id: UUID, leg: int) -> LegPorts:
        """Give a leg on a shared port a pair of its own; the next `set_leg` moves what is sent. Raises MediaRefused (STATE, NO_PORTS)."""
        return _ports(await self._ask(Op.REOPEN_LEG, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg))]))

    async def shared_ports(self) -> tuple[SharedPort, ...]:
        """All shared ports and what they count."""
        fields = await self._ask(Op.GET_PORTS)
        return tuple(SharedPort.read(entry) for entry in fields.nested(Tag.SHARED_PORT))

    async def set_leg(self, bridge_id: UUID, leg: int, settings: LegSettings) -> None:
        """State where a leg's party is and how it is protected; may be repeated."""
        await self._ask(Op.SET_LEG, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg)), *leg_fields(settings)])

    async def open_call(
        self, bridge_id: UUID, mode: Mode, legs: Iterable[int | LegOpening], beside: UUID | None = None
    ) -> tuple[LegPorts, ...]:
        """A bridge with these legs, asked for in one go. Raises what the first refused request does; then no bridge stays."""
        name = (Tag.BRIDGE, bridge_id.bytes)
        opening = [(Op.OPEN_LEG, [name, *_opening(leg)]) for leg in legs]
        asked = self._begin((Op.OPEN_BRIDGE, _bridge(bridge_id, mode, beside)), *opening)
        bridge, *answers = await asked.answers
        _checked(bridge, Op.OPEN_BRIDGE)
        try:
            return tuple([_ports(_checked(answer, Op.OPEN_LEG)) for answer in answers])
        except MediaRefused:
            with suppress(MediaRefused, Unavailable):
                await self.close_bridge(bridge_id)
            raise

    def set_legs(self, bridge_id: UUID, legs: Iterable[tuple[int, LegSettings]]) -> Awaitable[None]:
        """State several legs, asked for in one go before this returns.

        Awaited, it raises what the first refused request does, after all are answered.
        """
        name = (Tag.BRIDGE, bridge_id.bytes)
        return self._set(self._begin(*((Op.SET_LEG, [name, (Tag.LEG, u8(leg)), *leg_fields(settings)]) for leg, settings in legs)))

    async def _set(self, asked: "_Asked") -> None:
        for answer in await asked.answers:
            _checked(answer, Op.SET_LEG)

    async def set_hears(self, bridge_id: UUID, leg: int, others: Iterable[int]) -> None:
        """Whom a leg hears from now on, itself never. Raises MediaRefused (NOT_FOUND, INVALID)."""
        await self._ask(Op.SET_HEARS, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg)), (Tag.HEARS, _legs(others))])

    async def set_recorded(self, bridge_id: UUID, legs: Iterable[int]) -> None:
        """Whose speech recordings of the bridge take in; at first that of legs 0 and 1."""
        await self._ask(Op.SET_RECORDED, [(Tag.BRIDGE, bridge_id.bytes), (Tag.RECORDED, _legs(legs))])

    async def close_leg(self, bridge_id: UUID, leg: int) -> BridgeReport:
        """Take a leg out of its bridge; its last counters. Raises MediaRefused (NOT_FOUND)."""
        return BridgeReport.read(await self._ask(Op.CLOSE_LEG, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg))]))

    async def move_leg(self, bridge_id: UUID, leg: int, to_bridge: UUID, to_leg: int) -> None:
        """Put a leg with ports, keys and streams into another bridge, which was opened `beside` this one or this one beside it.

        Raises MediaRefused (NOT_FOUND, EXISTS, STATE: they were not, INVALID).
        """
        fields: list[Field] = [
            (Tag.BRIDGE, bridge_id.bytes),
            (Tag.LEG, u8(leg)),
            (Tag.TO_BRIDGE, to_bridge.bytes),
            (Tag.TO_LEG, u8(to_leg)),
        ]
        await self._ask(Op.MOVE_LEG, fields)

    async def is_beside(self, bridge_id: UUID, other: UUID) -> bool:
        """Whether two bridges are on one thread, so that a leg on a shared port can be moved from one to the other.

        Raises MediaRefused (NOT_FOUND).
        """
        fields: list[Field] = [(Tag.BRIDGE, bridge_id.bytes), (Tag.TO_BRIDGE, other.bytes)]
        return bool((await self._ask(Op.IS_BESIDE, fields)).integer(Tag.ON_ONE_THREAD))

    async def send_dtls(self, bridge_id: UUID, leg: int, datagrams: Iterable[bytes]) -> None:
        """Send datagrams of a DTLS handshake to where the leg's party is now (RFC 7983: first byte 20-63; at most 1,500 bytes each).

        Raises MediaRefused: STATE where there is nowhere to send yet (no pair nominated, consent lost); DTLS's own timer tries again.
        """
        fields: list[Field] = [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg)), *((Tag.DATAGRAM, datagram) for datagram in datagrams)]
        await self._ask(Op.DTLS_SEND, fields)

    async def close_bridge(self, bridge_id: UUID, timeout_s: float = DISK_ANSWER_S) -> BridgeReport:
        """End a bridge, closing its recording first. Raises Unavailable where there is no answer for so long."""
        return BridgeReport.read(await self._ask(Op.CLOSE_BRIDGE, [(Tag.BRIDGE, bridge_id.bytes)], timeout_s))

    async def bridge(self, bridge_id: UUID) -> BridgeReport:
        """The legs' counters now."""
        return BridgeReport.read(await self._ask(Op.GET_BRIDGE, [(Tag.BRIDGE, bridge_id.bytes)]))

    async def state(self, bridge_id: UUID) -> BridgeState:
        """All that is needed to go on with a bridge of another controller; keys are never told. Raises MediaRefused (NOT_FOUND)."""
        return BridgeState.read(await self._ask(Op.GET_BRIDGE, [(Tag.BRIDGE, bridge_id.bytes)]))

    async def bridges(self) -> AsyncIterator[BridgeEntry]:
        """All bridges that the media process holds, page by page."""
        after: bytes | None = None
        while True:
            fields = await self._ask(Op.LIST_BRIDGES, [] if after is None else [(Tag.AFTER, after)])
            entries = [BridgeEntry.read(entry) for entry in fields.nested(Tag.BRIDGE_ENTRY)]
            for entry in entries:
                yield entry
            if not entries or not fields.integer(Tag.MORE):
                return
            after = entries[-1].bridge_id.bytes

    async def start_recording(self, bridge_id: UUID, order: RecordingOrder) -> None:
        """Return once the sealed file exists and its first frame is written. Raises MediaRefused (SPOOL, EXISTS, STATE)."""
        await self._ask(Op.START_RECORDING, _recording(bridge_id, order), DISK_ANSWER_S)

    async def switch_recording(self, bridge_id: UUID, order: RecordingOrder) -> RecordingResult:
        """Carry the running recording on in a new file under a new key, no packet lost between and none twice; how the old one ended.

        Raises MediaRefused (SPOOL, EXISTS, STATE); the old recording goes on then.
        """
        fields = await self._ask(Op.SWITCH_RECORDING, _recording(bridge_id, order), DISK_ANSWER_S)
        return _ended(fields)

    async def pause_recording(self, bridge_id: UUID) -> None:
        """Mark a gap; nothing is recorded until `resume_recording`. Raises MediaRefused (STATE)."""
        await self._ask(Op.PAUSE_RECORDING, [(Tag.BRIDGE, bridge_id.bytes)])

    async def resume_recording(self, bridge_id: UUID) -> None:
        """End the gap. Raises MediaRefused (STATE)."""
        await self._ask(Op.RESUME_RECORDING, [(Tag.BRIDGE, bridge_id.bytes)])

    async def stop_recording(self, bridge_id: UUID) -> RecordingResult:
        """Return once the final frame is on disk and the key is wiped. Raises MediaRefused (STATE)."""
        fields = await self._ask(Op.STOP_RECORDING, [(Tag.BRIDGE, bridge_id.bytes)], DISK_ANSWER_S)
        return _ended(fields)

    async def set_format(self, bridge_id: UUID, recording_format: bytes) -> None:
        """Write a new format entry: payload types changed while recording."""
        await self._ask(Op.SET_FORMAT, [(Tag.BRIDGE, bridge_id.bytes), (Tag.FORMAT, recording_format)])

    async def send_digits(
        self, bridge_id: UUID, leg: int, digits: Personal[str], duration_ms: int = DIGIT_MS, gap_ms: int = GAP_MS
    ) -> None:
        """Key digits towards a leg, behind those that are still being keyed.

        Raises MediaRefused (STATE where the leg takes neither events nor tones).
        """
        await self._ask(Op.SEND_DIGITS, [(Tag.BRIDGE, bridge_id.bytes), *send_digits(leg, digits, duration_ms, gap_ms)])

    async def detect_tones(self, bridge_id: UUID, leg: int, *, on: bool) -> None:
        """Listen to a leg's sound for digits, or no more."""
        await self._ask(Op.DETECT_TONES, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg)), (Tag.IS_ON, u8(on))])

    async def detect_speech(self, bridge_id: UUID, leg: int, *, on: bool) -> None:
        """Heed from now on whether a leg speaks, or no more; `LegStatistics.speech_ms` and `quiet_ms` tell. Raises MediaRefused (STATE)."""
        await self._ask(Op.DETECT_SPEECH, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg)), (Tag.IS_ON, u8(on))])

    async def set_sensitive(self, bridge_id: UUID, *, on: bool) -> None:
        """From the reply on, no digit is told and nothing recorded (a marked gap), or again."""
        await self._ask(Op.SET_SENSITIVE, [(Tag.BRIDGE, bridge_id.bytes), (Tag.IS_ON, u8(on))])

    async def load_sound(self, sound: EncodedSound) -> None:
        """Return once the sound can be played; at once where the media process has it. Raises MediaRefused (LIMIT, INVALID)."""
        for offset, part in sound.chunks():
            fields: list[Field] = [
                (Tag.SOUND, sound.id),
                (Tag.CLOCK_RATE, u32(sound.codec.clock_rate)),
                (Tag.FRAME_SAMPLES, u32(sound.frame_samples)),
                (Tag.TOTAL_BYTES, u32(len(sound.data))),
                (Tag.OFFSET, u32(offset)),
                (Tag.DATA, part),
            ]
            reply = await self._ask(Op.LOAD_SOUND, fields)
            if reply.integer(Tag.IS_WHOLE):
                return
        raise WireError("the media process did not take a sound to its end")

    async def unload_sound(self, sound_id: bytes) -> None:
        """Let the media process forget a sound; who plays it plays on. Raises MediaRefused (NOT_FOUND)."""
        await self._ask(Op.LOAD_SOUND, [(Tag.SOUND, sound_id), (Tag.UNLOAD, u8(1))])

    async def play(self, bridge_id: UUID, leg: int, order: PlayOrder) -> None:
        """Play a loaded sound to a leg; PLAY_ENDED follows. Raises MediaRefused (STATE: it is not loaded, NOT_FOUND)."""
        fields: list[Field] = [
            (Tag.BRIDGE, bridge_id.bytes),
            (Tag.LEG, u8(leg)),
            (Tag.SOUND, order.sound),
            (Tag.PLAYBACK, u32(order.playback)),
            (Tag.PAYLOAD_TYPE, u8(order.payload_type)),
            (Tag.TIMES, u32(order.times)),
            (Tag.OFFSET_MS, u32(order.offset_ms)),
            (Tag.INTERVAL_MS, u32(order.interval_ms)),
            (Tag.BEEP, u8(order.is_beep)),
        ]
        await self._ask(Op.PLAY, fields)

    async def stop_play(self, bridge_id: UUID, leg: int, playback: int) -> None:
        """Stop what was begun under this name. Raises MediaRefused (STATE: it is over already, NOT_FOUND)."""
        await self._ask(Op.STOP_PLAY, [(Tag.BRIDGE, bridge_id.bytes), (Tag.LEG, u8(leg)), (Tag.PLAYBACK, u32(playback))])

    def _send(self, *requests: tuple[Op, Iterable[Field]]) -> list[int]:
        if self._control is None or self.closed.is_set():
            raise Unavailable("hushwire-media is not connected")
        ids, data = [], []
        for op, fields in requests:
            ids.append(self._next_id)
            data.append(encode(op, self._next_id, fields))
            self._next_id = self._next_id % 0xFFFFFFFF + 1
        self._control.transport.write(b"".join(data))
        return ids

    async def _ask(self, op: Op, fields: Iterable[Field] = (), timeout_s: float = ANSWER_S) -> Fields:
        asked = self._begin((op, fields))
        silence = asyncio.get_running_loop().call_later(timeout_s, asked.fail, f"did not answer {op.name} within {timeout_s:.0f} s")
        try:
            (answer,) = await asked.answers
        finally:
            silence.cancel()
        return _checked(answer, op)

    def _begin(self, *requests: tuple[Op, Iterable[Field]]) -> "_Asked":
        """Send requests in one write. Answers need no timeout where somebody pings beside them: a dead connection fails them all."""
        ids = self._send(*requests)
        asked = _Asked(len(ids))
        for place, request_id in enumerate(ids):
            self._waiting[request_id] = asked, place
        return asked

    def _lost(self) -> None:
        self.closed.set()
        waiting, self._waiting = self._waiting, {}
        for asked, _ in waiting.values():
            asked.fail("closed the control connection")

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.REPLY:
            found = self._waiting.pop(frame.id, None)
            if found is not None:
                found[0].take(found[1], frame)
        elif frame.opcode == EventType.DTLS_DATAGRAM:
            if self._on_dtls is not None:
                self._on_dtls(DtlsDatagram.read(frame.fields))
        elif frame.opcode in _EVENT_TYPES:
            self._on_event(MediaEvent.read(frame.id, EventType(frame.opcode), frame.fields))
        elif frame.id:
            self.acknowledge([frame.id])  # an event of a later version: nothing here could handle it


class _Control(asyncio.Protocol):
    """The connection itself: `take` is called with each frame, `lost` once it has ended."""

    transport: asyncio.Transport

    def __init__(self, take: Callable[[Frame], None], lost: Callable[[], None]) -> None:
        self._take = take
        self._lost = lost
        self._frames = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is of no common class

    def data_received(self, data: bytes) -> None:
        """Hand on the frames that are whole now."""
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except WireError:
            self.transport.abort()  # told to everybody who waits

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._lost()


class _Asked:
    """Requests that went out in one write. `answers` are their replies in order, once the last of them is there."""

    __slots__ = ("_left", "_replies", "answers")

    def __init__(self, count: int) -> None:
        self.answers: asyncio.Future[list[Frame]] = asyncio.get_running_loop().create_future()
        self._replies: list[Frame | None] = [None] * count
        self._left = count

    def take(self, place: int, frame: Frame) -> None:
        """One of the replies."""
        self._replies[place] = frame
        self._left -= 1
        if not self._left and not self.answers.done():
            self.answers.set_result([reply for reply in self._replies if reply is not None])

    def fail(self, how: str) -> None:
        """There will be none: `how` says what hushwire-media did."""
        if not self.answers.done():
            self.answers.set_exception(Unavailable(f"hushwire-media {how}"))
            self.answers.exception()  # known to be looked at, even where nobody waits for it any more


def _checked(answer: Frame, op: Op) -> Fields:
    """A reply's fields. Raises MediaRefused where it says no."""
    status = answer.fields.integer(Tag.STATUS)
    if answer.opcode != op:
        raise WireError("the media process answered another request")
    if status:
        raise MediaRefused(Status(status), answer.fields.text(Tag.MESSAGE))
    return answer.fields


def _bridge(bridge_id: UUID, mode: Mode, beside: UUID | None) -> list[Field]:
    fields: list[Field] = [(Tag.BRIDGE, bridge_id.bytes), (Tag.MODE, u8(mode))]
    return fields if beside is None else [*fields, (Tag.BESIDE, beside.bytes)]


def _legs(legs: Iterable[int]) -> bytes:
    return u16(sum(1 << leg for leg in set(legs)))


def _opening(leg: int | LegOpening) -> list[Field]:
    if isinstance(leg, int):
        return [(Tag.LEG, u8(leg))]
    fields: list[Field] = [(Tag.LEG, u8(leg.leg)), (Tag.PORTS, u8(leg.ports))]
    if leg.signalling_ip is not None:
        fields.append((Tag.SIGNALLING_IP, leg.signalling_ip.reveal().packed))
    if leg.remote is not None:
        ip, port = leg.remote
        fields += [(Tag.REMOTE_IP, ip.reveal().packed), (Tag.REMOTE_PORT, u16(port))]
    return fields


def _ports(fields: Fields) -> LegPorts:
    rtp, rtcp = fields.integer(Tag.RTP_PORT), fields.integer(Tag.RTCP_PORT)
    return LegPorts(_ip(fields.need(Tag.LOCAL_IP)), rtp, rtcp, fields.integer(Tag.SSRC), rtp == rtcp)


def _ended(fields: Fields) -> RecordingResult:
    result = BridgeReport.read(fields).recording
    if result is None:
        raise WireError("the media process left out RECORDING_RESULT")
    return result


def _recording(bridge_id: UUID, order: RecordingOrder) -> list[Field]:
    return [
        (Tag.BRIDGE, bridge_id.bytes),
        (Tag.ORG, order.org_id.bytes),
        (Tag.RECORDING, order.recording_id.bytes),
        (Tag.SEGMENT, u32(order.segment)),
        (Tag.DATA_KEY, order.data_key),
        (Tag.FILE, order.file.encode("ascii")),
        (Tag.FORMAT, order.format),
        (Tag.ANCHOR_US, u64(order.anchor_us)),
    ]


def listening_process(connected: socket.socket) -> int:
    """The id of the process that listens at the other end (unix(7), SO_PEERCRED)."""
    return int(struct.unpack("iII", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
