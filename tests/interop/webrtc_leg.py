"""Our side of a WebRTC leg without SIP: the real SDP, DTLS and media code, driven as the gateway drives it; and plain RTP beside it.

The test carries descriptions between a peer (a browser, aiortc) and `Side`.
"""

import asyncio
import fractions
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import av
import numpy as np
import numpy.typing as npt

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.calls.effects import LegStatement
from hushwire.calls.ends import End, payload_map
from hushwire.calls.model import Ports, Terms
from hushwire.media.certificates import Certificate, Certificates
from hushwire.media.client import MediaClient
from hushwire.media.dtls import Failure
from hushwire.media.handshakes import Handshakes
from hushwire.media.model import BridgeReport, LegPorts, MediaEvent, Mode
from hushwire.media.wire import EventType
from hushwire.sdp.offer_answer import Answered, Keying, LegMedia, LocalMedia, Srtp, answer_offer
from hushwire.services.live import settings
from tests.native.call import parse, rtp
from tests.polling import until
from tests.services.running import MediaProgram

Samples = npt.NDArray[np.float64]
CODECS = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw", "opus": "libopus"}


@dataclass
class Bridge:
    """A running hushwire-media with one bridge, and what it told."""

    client: MediaClient
    certificate: Certificate
    id: UUID = field(default_factory=uuid4)
    events: list[MediaEvent] = field(default_factory=list)
    failures: dict[int, Failure] = field(default_factory=dict)
    sides: dict[int, "Side"] = field(default_factory=dict)
    handshakes: Handshakes = field(init=False)

    def __post_init__(self) -> None:
        self.handshakes = Handshakes(self.client.send_dtls, self)

    def take(self, event: MediaEvent) -> None:
        self.events.append(event)
        if event.type is EventType.ICE_SELECTED and event.leg is not None:
            self.sides[event.leg].reached()

    def keyed(self, bridge_id: UUID, leg: int) -> None:
        self.sides[leg].restate()

    def not_keyed(self, bridge_id: UUID, leg: int, failure: Failure) -> None:
        self.failures[leg] = failure

    async def report(self) -> BridgeReport:
        return await self.client.bridge(self.id)


class Side:
    """One leg as the gateway holds it. `offer`, `take_answer` and `answer` are carried out at once."""

    def __init__(self, bridge: Bridge, leg: int, ports: LegPorts, terms: Terms) -> None:
        self.bridge, self.leg = bridge, leg
        self.end = End(terms, Ports(str(ports.ip), ports.rtp_port, ports.rtcp_port), SystemRandom(), bridge.certificate.fingerprint)
        self.is_reached = False
        self._tasks: set[asyncio.Task[None]] = set()
        bridge.sides[leg] = self

    @property
    def media(self) -> LegMedia:
        assert self.end.agreed is not None
        return self.end.agreed

    async def answer(self, offer: str, like: LegMedia | None = None) -> str:
        body = self.end.answer(offer.encode(), like)
        assert isinstance(body, bytes), body
        await self.state()
        return body.decode()

    async def take_answer(self, answer: str) -> None:
        refusal = self.end.take_answer(answer.encode())
        assert refusal is None, refusal
        await self.state()

    async def state(self) -> None:
        """State both legs as they stand: payload types follow the other one."""
        for side in self.bridge.sides.values():
            await side._state()

    async def _state(self) -> None:
        if self.end.agreed is None:
            return
        other = self.bridge.sides.get(1 - self.leg)
        there = None if other is None else other.end.agreed
        pairs = () if there is None else payload_map(self.media, there)
        statement = LegStatement(self.leg, self.media, self.end.terms.signalling_address, pairs)
        keys = None
        if self.media.dtls is not None:
            keys = self.bridge.handshakes.expect(self.bridge.id, self.leg, self.media.dtls, self.bridge.certificate)
        await self.bridge.client.set_leg(self.bridge.id, self.leg, settings(statement, keys))
        if self.media.ice is None or self.is_reached:
            self.bridge.handshakes.begin(self.bridge.id, self.leg)

    def reached(self) -> None:
        self.is_reached = True
        self.bridge.handshakes.begin(self.bridge.id, self.leg)

    def restate(self) -> None:
        task = asyncio.create_task(self._state())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def keyed(self) -> None:
        def is_over() -> bool:
            return self.bridge.handshakes.keys(self.bridge.id, self.leg) is not None or self.leg in self.bridge.failures

        await until(is_over, timeout_s=20, what="the handshake is over")
        assert self.leg not in self.bridge.failures, self.bridge.failures


@asynccontextmanager
async def bridge(folder: Path, mode: Mode = Mode.RELAY, terms: tuple[Terms, ...] = ()) -> AsyncIterator[Bridge]:
    """A program with an open bridge and a side for each of `terms`, leg 0 first."""
    program = MediaProgram(folder)
    await program.start()
    made: list[Bridge] = []
    client = MediaClient(lambda event: made[0].take(event), lambda datagram: made[0].handshakes.datagram(datagram))
    made.append(Bridge(client, Certificates(SystemClock()).current))
    try:
        await client.connect(program.socket, 1)
        ports = await client.open_call(made[0].id, mode, range(len(terms)))
        for leg, (where, term) in enumerate(zip(ports, terms, strict=True)):
            Side(made[0], leg, where, term)
        yield made[0]
    finally:
        made[0].handshakes.forget(made[0].id)
        await client.close()
        await program.stop()


BROWSER = Terms(0, Srtp.REQUIRED, None, (Keying.WEBRTC,))
PLAIN = Terms(1, Srtp.NEVER, None)
PROTECTED = Terms(1, Srtp.REQUIRED, None)


# ---------------------------------------------------------------------------------------------------------- plain parties


class Tone:
    """A sine of `hertz` in 20 ms packets of a codec."""

    def __init__(self, codec: str, hertz: float) -> None:
        self.rate = 48000 if codec == "opus" else 8000
        self._hertz, self._at = hertz, 0
        self._encoder = av.AudioCodecContext.create(CODECS[codec], "w")
        self._encoder.sample_rate, self._encoder.layout, self._encoder.format = self.rate, "mono", "s16"

    def payloads(self) -> list[bytes]:
        """The next 20 ms, once the encoder gives them."""
        count = self.rate // 50
        times = (np.arange(self._at, self._at + count)) / self.rate
        samples = (12000 * np.sin(2 * np.pi * self._hertz * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self._at, fractions.Fraction(1, self.rate)
        self._at += count
        return [bytes(packet) for packet in self._encoder.encode(frame)]


def decoded(codec: str, payloads: list[bytes]) -> tuple[Samples, int]:
    """What these packets say, and its sample rate."""
    decoder = av.AudioCodecContext.create(CODECS[codec], "r")
    decoder.sample_rate, decoder.layout = 48000 if codec == "opus" else 8000, "mono"
    pieces = [frame.to_ndarray().astype(np.float64) for payload in payloads for frame in decoder.decode(av.Packet(payload))]
    joined = np.concatenate([piece.reshape(-1) if piece.shape[0] == 1 else piece.mean(axis=0) for piece in pieces])
    return joined, decoder.sample_rate


def loudest(samples: Samples, rate: int) -> float:
    """The frequency in Hz that a sound holds most of."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum[1:]) + 1) * rate / len(samples)


class PlainPhone:
    """A party of plain RTP that speaks a tone and keeps what it hears."""

    def __init__(self, side: Side, codec: str, hertz: float) -> None:
        self.side, self.codec = side, codec
        self._tone = Tone(codec, hertz)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.heard: list[bytes] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def meet(self, like: LegMedia) -> None:
        """Answers our offer, which has the codecs of the browser's leg, with its one codec; and begins to talk."""
        (codec,) = [item for item in like.codecs if item.name == self.codec]
        offer = self.side.end.offer(like)
        local = LocalMedia("127.0.0.1", self._socket.getsockname()[1], None, {}, 5, 1, codecs=(codec,), dtmf=False)
        outcome = answer_offer(offer, local, Srtp.NEVER)
        assert isinstance(outcome, Answered), outcome
        await self.side.take_answer(outcome.body.decode())
        self._socket.connect((outcome.media.address, outcome.media.port))
        self._type = outcome.media.codecs[0].payload_type
        self._tasks = [asyncio.create_task(self._talk()), asyncio.create_task(self._listen())]

    async def hears(self, hertz: float, packets: int = 60) -> None:
        """Returns once it heard this tone for a while."""

        def is_heard() -> bool:
            recent = self.heard[-packets:]
            if len(recent) < packets:
                return False
            samples, rate = decoded(self.codec, recent)
            return abs(loudest(samples[rate // 5 :], rate) - hertz) < 8

        await until(is_heard, timeout_s=20, what=f"the phone hears {hertz} Hz")

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._socket.close()

    async def _talk(self) -> None:
        loop, number = asyncio.get_running_loop(), 0
        began = loop.time()
        while True:
            for payload in self._tone.payloads():
                number += 1
                await loop.sock_sendall(self._socket, rtp(number, number * self._tone.rate // 50, 99, payload, pt=self._type))
            await asyncio.sleep(max(0.0, began + number * 0.02 - loop.time()))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self._socket, 2048)
            if 128 <= data[0] <= 191 and not 192 <= data[1] <= 223:
                packet = parse(data)
                if packet.pt == self._type:
                    self.heard.append(packet.payload)
