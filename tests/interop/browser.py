"""A page in Chromium with one RTCPeerConnection that speaks a tone and listens; the test carries its descriptions."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.polling import until

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip

# The tone is made by the page itself, so that its frequency is known; what comes is looked at by an analyser.
SCRIPT = """
window.phone = class {
  constructor(hertz) {
    this.context = new AudioContext({sampleRate: 48000});
    const sink = this.context.createMediaStreamDestination();
    const tone = new OscillatorNode(this.context, {frequency: hertz});
    const gain = new GainNode(this.context, {gain: 0.5});
    tone.connect(gain).connect(sink); tone.start();
    this.track = sink.stream.getAudioTracks()[0]; this.stream = sink.stream;
    this.analyser = new AnalyserNode(this.context, {fftSize: 32768, smoothingTimeConstant: 0});
    this.pc = new RTCPeerConnection();
    this.pc.ontrack = event => {
      const stream = event.streams[0] || new MediaStream([event.track]);
      // Chromium gives a remote track to WebAudio only where an element plays it too.
      this.element = new Audio(); this.element.srcObject = stream; this.element.muted = true; this.element.play();
      this.context.createMediaStreamSource(stream).connect(this.analyser);
    };
  }
  prefer(codec) {
    const all = RTCRtpReceiver.getCapabilities('audio').codecs;
    const wanted = all.filter(c => [codec, 'audio/telephone-event'].some(n => n.toLowerCase() === c.mimeType.toLowerCase()));
    for (const transceiver of this.pc.getTransceivers()) transceiver.setCodecPreferences(wanted);
  }
  async settle(description) {
    await this.pc.setLocalDescription(description);
    if (this.pc.iceGatheringState !== 'complete')
      await new Promise(done => this.pc.onicegatheringstatechange = () => this.pc.iceGatheringState === 'complete' && done());
    return this.pc.localDescription.sdp;
  }
  async offer(codec, restart) {
    if (!this.pc.getSenders().length) this.pc.addTrack(this.track, this.stream);
    this.prefer(codec);
    return this.settle(await this.pc.createOffer({iceRestart: !!restart}));
  }
  async takeAnswer(sdp) { await this.pc.setRemoteDescription({type: 'answer', sdp}); }
  async answer(sdp, codec) {
    await this.pc.setRemoteDescription({type: 'offer', sdp});
    if (!this.pc.getSenders().some(s => s.track)) this.pc.addTrack(this.track, this.stream);
    this.prefer(codec);
    return this.settle(await this.pc.createAnswer());
  }
  loudest() {
    const bins = new Float32Array(this.analyser.frequencyBinCount);
    this.analyser.getFloatFrequencyData(bins);
    let best = 1;
    for (let i = 1; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
    return bins[best] < -60 ? 0 : best * this.context.sampleRate / this.analyser.fftSize;
  }
  async stats() {
    const found = {};
    for (const item of (await this.pc.getStats()).values()) {
      if (item.type === 'inbound-rtp') found.inbound = {packets: item.packetsReceived, lost: item.packetsLost, codec: item.codecId};
      if (item.type === 'outbound-rtp') found.outbound = {packets: item.packetsSent};
      if (item.type === 'remote-inbound-rtp') found.remote = {lost: item.packetsLost, rtt: item.roundTripTime};
      if (item.type === 'transport')
        found.transport = {dtls: item.dtlsState, cipher: item.srtpCipher, role: item.dtlsRole, ice: item.iceState};
      if (item.type === 'codec') found.codec = item.mimeType;
    }
    return found;
  }
};
"""


class BrowserPhone:
    """The page's phone."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def offer(self, codec: str, *, restart: bool = False) -> str:
        return str(await self._page.evaluate("([codec, restart]) => here.offer(codec, restart)", [f"audio/{codec}", restart]))

    async def take_answer(self, sdp: str) -> None:
        await self._page.evaluate("sdp => here.takeAnswer(sdp)", sdp)

    async def answer(self, sdp: str, codec: str) -> str:
        return str(await self._page.evaluate("([sdp, codec]) => here.answer(sdp, codec)", [sdp, f"audio/{codec}"]))

    async def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._page.evaluate("() => here.stats()")
        return found

    async def state(self) -> str:
        return str(await self._page.evaluate("() => here.pc.connectionState"))

    async def hears(self, hertz: float) -> None:
        """Returns once the page hears this tone."""

        async def is_heard() -> bool:
            return abs(float(await self._page.evaluate("() => here.loudest()")) - hertz) < 8

        await until(is_heard, timeout_s=30, what=f"the page hears {hertz} Hz")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without pages."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            await asyncio.shield(browser.close())


@asynccontextmanager
async def browser_phone(hertz: float) -> AsyncIterator[BrowserPhone]:
    """A phone in a browser of its own that speaks a tone of `hertz`."""
    async with chromium() as browser:
        page = await browser.new_page()
        await page.add_script_tag(content=SCRIPT)
        await page.evaluate("hertz => { window.here = new phone(hertz); }", hertz)
        yield BrowserPhone(page)
