"""aiortc, a WebRTC stack that we did not write, against our SDP, DTLS and media: both directions, both codecs, both roles."""

import asyncio
import fractions
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpsender import RTCRtpSender
from av import AudioFrame

from hushwire.media.dtls import Failure
from hushwire.media.model import Mode
from hushwire.sdp.dtls import Setup
from tests.interop.webrtc_leg import BROWSER, PLAIN, PlainPhone, Samples, Side, bridge, loudest
from tests.polling import until
from tests.services.running import need_program

pytestmark = [pytest.mark.interop, need_program]

RATE = 48000


class Sine(MediaStreamTrack):
    """A tone at the pace of the clock."""

    kind = "audio"

    def __init__(self, hertz: float) -> None:
        super().__init__()
        self._hertz, self._at, self._began = hertz, 0, 0.0

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        self._began = self._began or loop.time()
        await asyncio.sleep(max(0.0, self._began + self._at / RATE - loop.time()))
        times = np.arange(self._at, self._at + RATE // 50) / RATE
        samples = (12000 * np.sin(2 * np.pi * self._hertz * times)).astype(np.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = self._at, RATE, fractions.Fraction(1, RATE)
        self._at += RATE // 50
        return frame


class Peer:
    """A WebRTC peer that speaks a tone and keeps what it hears."""

    def __init__(self, hertz: float, codec: str) -> None:
        self.connection = RTCPeerConnection()
        self._codec = codec
        self._hertz = hertz
        self.heard: list[Samples] = []
        self.rate = RATE
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", lambda track: self._tasks.append(asyncio.create_task(self._listen(track))))

    def speak(self) -> None:
        self.connection.addTrack(Sine(self._hertz))

    def prefer(self) -> None:
        names = {f"audio/{self._codec}".lower()}
        capabilities = RTCRtpSender.getCapabilities("audio").codecs
        for transceiver in self.connection.getTransceivers():
            transceiver.setCodecPreferences([item for item in capabilities if item.mimeType.lower() in names])

    async def offer(self) -> str:
        self.speak()
        self.prefer()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def take_answer(self, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def answer(self, sdp: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        self.speak()
        self.prefer()
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self.connection.localDescription.sdp

    async def hears(self, hertz: float) -> None:
        def is_heard() -> bool:
            if len(self.heard) < 60:
                return False
            return abs(loudest(np.concatenate(self.heard[-50:]), self.rate) - hertz) < 8

        await until(is_heard, timeout_s=20, what=f"aiortc hears {hertz} Hz")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.connection.close()

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            assert isinstance(frame, AudioFrame)
            self.rate = frame.sample_rate
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels)).mean(axis=1)
            self.heard.append(samples.astype(np.float64))


@asynccontextmanager
async def peer(hertz: float, codec: str) -> AsyncIterator[Peer]:
    made = Peer(hertz, codec)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def phone(side: Side, codec: str, hertz: float) -> AsyncIterator[PlainPhone]:
    made = PlainPhone(side, codec, hertz)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("codec", ["opus", "PCMU"])
async def test_a_peer_that_offers_and_a_plain_phone_hear_each_other(tmp_path: Path, codec: str) -> None:
    async with bridge(tmp_path, terms=(BROWSER, PLAIN)) as made, peer(440, codec) as there, phone(made.sides[1], codec, 880) as plain:
        offer = await there.offer()
        offered = made.sides[0].end.read(offer.encode())
        assert not isinstance(offered, str), offered
        await plain.meet(offered)
        await there.take_answer(await made.sides[0].answer(offer, made.sides[1].media))
        await made.sides[0].keyed()
        assert made.sides[0].media.codecs[0].name == codec
        await asyncio.gather(there.hears(880), plain.hears(440))
        report = await made.report()
        assert all(leg.packets_received > 50 and leg.packets_sent > 50 for leg in report.legs)


@pytest.mark.parametrize("role", [Setup.ACTPASS, Setup.ACTIVE, Setup.PASSIVE])
async def test_a_peer_that_answers_hears_its_own_echo_in_whichever_role_it_takes(tmp_path: Path, role: Setup) -> None:
    async with bridge(tmp_path, Mode.ECHO, (BROWSER,)) as made, peer(600, "opus") as there:
        side = made.sides[0]
        if role is not Setup.ACTPASS:
            assert side.end.local.dtls is not None
            # The role that we offer decides the peer's.
            side.end.local = replace(side.end.local, dtls=replace(side.end.local.dtls, role=role))
        answer = await there.answer(side.end.offer().decode())
        await side.take_answer(answer)
        await side.keyed()
        assert side.media.dtls is not None
        if role is not Setup.ACTPASS:
            assert side.media.dtls.is_client is (role is Setup.ACTIVE)
        await there.hears(600)


async def test_two_peers_hear_each_other_under_two_handshakes(tmp_path: Path) -> None:
    terms = (BROWSER, replace(BROWSER, leg=1))
    async with bridge(tmp_path, terms=terms) as made, peer(500, "opus") as one, peer(700, "opus") as two:
        offer = await one.offer()
        offered = made.sides[0].end.read(offer.encode())
        assert not isinstance(offered, str), offered
        await made.sides[1].take_answer(await two.answer(made.sides[1].end.offer(offered).decode()))
        await one.take_answer(await made.sides[0].answer(offer, made.sides[1].media))
        await asyncio.gather(*(side.keyed() for side in made.sides.values()))
        await asyncio.gather(one.hears(700), two.hears(500))


async def test_a_peer_whose_description_names_another_certificate_gets_no_keys_and_nothing_of_it_is_relayed(tmp_path: Path) -> None:
    async with bridge(tmp_path, terms=(BROWSER, PLAIN)) as made, peer(440, "PCMU") as there, phone(made.sides[1], "PCMU", 880) as plain:
        offer = await there.offer()
        lines = offer.splitlines()
        swapped = "\r\n".join("a=fingerprint:sha-256 " + ":".join(["5A"] * 32) if "fingerprint:sha-256" in line else line for line in lines)
        kept = [line for line in swapped.split("\r\n") if "sha-384" not in line and "sha-512" not in line]
        forged = "\r\n".join(kept) + "\r\n"
        offered = made.sides[0].end.read(forged.encode())
        assert not isinstance(offered, str), offered
        await plain.meet(offered)
        await there.take_answer(await made.sides[0].answer(forged, made.sides[1].media))
        await until(lambda: made.failures.get(0) is not None, timeout_s=20, what="the handshake failed")
        assert made.failures[0] is Failure.FINGERPRINT
        report = await made.report()
        assert [leg.packets_sent for leg in report.legs] == [0, 0]
        assert plain.heard == []
        assert there.heard == []
