"""A baresip softphone in a process of its own, driven by the same JSON lines as `hushwire.app.demo.softphone`.

baresip's state is process-global, and a misspelt option is ignored silently: tests assert on what came of it.
"""

import asyncio
import base64
import time
from typing import Any

import numpy as np
from baresip import Account, Config
from baresip.call import Call
from baresip.errors import BaresipError
from baresip.events import Event, StackEvent
from baresip.runtime import Runtime
from baresip.stats import CallStats
from baresip.ua import UserAgent

from tests.interop.commanded import CommandedPhone, serve

RATE = 8000
"""Of what the tests give us to say, and of what we tell that we heard."""

PROFILE = {"off": (), "mandatory": ("mediaenc=srtp-mand",), "dtls": ("mediaenc=dtls_srtp",)}


def vars_of(stats: CallStats) -> dict[str, Any]:
    """What baresip itself counted."""
    names = ("rtt_ms", "tx_packets", "rx_packets", "tx_lost", "rx_lost", "tx_jitter_ms", "rx_jitter_ms")
    return {name: getattr(stats, name) for name in names}


class Phone(CommandedPhone):
    refusals = (BaresipError, LookupError, ValueError)

    def __init__(self, writer: int) -> None:
        super().__init__(writer)
        self._runtime = Runtime()
        self._agent: UserAgent | None = None
        self._calls: dict[int, Call] = {}
        self._heard: dict[int, bytearray] = {}
        self._began: dict[int, list[float]] = {}
        self._shapes: dict[int, tuple[int, int]] = {}
        self._talking: set[int] = set()
        self._policy: dict[str, Any] = {"status": 200}
        self._speech = b""

    async def do_open(self, command: dict[str, Any]) -> dict[str, Any]:
        self._speech = base64.b64decode(command.get("speech", ""))
        port = int(command.get("port", 0))
        extra = f"sip_listen 127.0.0.1:{port}\n" if port else ""
        if command.get("ca"):
            extra += f"sip_cafile {command['ca']}\nsip_verify_server yes\n"
        extra += "jitter_buffer_type fixed\njitter_buffer_delay 4-20\n"
        self._transport = command.get("transport", "udp")
        await self._runtime.start(Config(net_interface="127.0.0.1", extra_config_text=extra, native_log_level="warning"))
        return {"address": f"127.0.0.1:{port}"}

    async def do_account(self, command: dict[str, Any]) -> None:
        user, _, domain = command["uri"].removeprefix("sip:").partition("@")
        account = Account(
            user=user,
            domain=domain,
            password=command.get("password", ""),
            auth_user=command.get("username"),
            registrar=command.get("proxy"),
            transport=self._transport,
            reg_interval=300 if command.get("registrar") else 0,
            extra_params=(*PROFILE[command.get("srtp", "off")], *(("rtcp_mux=yes",) if command.get("rtcp_mux") else ())),
            audio_codecs=tuple(command.get("codecs", ("pcmu", "pcma"))),
        )
        self._agent = await UserAgent.create(self._runtime, account)
        self._agent.on_incoming(self._incoming)
        if command.get("registrar"):
            try:
                await self._agent.register()
                self.say({"event": "registration", "status": 200})
            except BaresipError as error:
                self.say({"event": "registration", "status": getattr(error, "status", 0) or 0, "reason": str(error)})

    async def do_policy(self, command: dict[str, Any]) -> None:
        self._policy = command

    async def do_call(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._agent is not None
        call = await self._agent.dial(command["to"])
        return {"call": self._adopt(call)}

    async def do_hangup(self, command: dict[str, Any]) -> None:
        await self._calls[command["call"]].hangup()

    async def do_hold(self, command: dict[str, Any]) -> None:
        await self._calls[command["call"]].hold()

    async def do_resume(self, command: dict[str, Any]) -> None:
        await self._calls[command["call"]].resume()

    async def do_transfer(self, command: dict[str, Any]) -> None:
        """Tells by an event what came of it: baresip waits for that."""
        call, other = self._calls[command["call"]], self._calls.get(command.get("replaces", 0))
        self._start(self._transfer(call.transfer(command["to"]) if other is None else call.attended_transfer(other)))

    async def _transfer(self, work: Any) -> None:
        try:
            await work
            self.say({"event": "transferred", "status": 200})
        except BaresipError as error:
            self.say({"event": "transferred", "status": getattr(error, "status", 0) or 0, "reason": str(error)})

    async def do_dtmf(self, command: dict[str, Any]) -> None:
        await self._calls[command["call"]].send_dtmf(command["digits"])

    async def do_heard(self, command: dict[str, Any]) -> dict[str, Any]:
        number = command["call"]
        ear, mouth = self._began[number]
        pcm = told(bytes(self._heard[number]), *self._shapes.get(number, (RATE, 1)))
        return {"pcm": base64.b64encode(pcm).decode(), "rate": RATE, "ear_began": ear, "mouth_began": mouth}

    async def do_stats(self, command: dict[str, Any]) -> dict[str, Any]:
        stats = self._calls[command["call"]].final_stats
        return {"stats": None if stats is None else vars_of(stats)}

    async def close(self) -> None:
        await super().close()
        await self._runtime.close()

    def _incoming(self, call: Call) -> None:
        number = self._adopt(call)
        self.say({"event": "incoming", "call": number, "from": call.peer or ""})
        self._start(self._meet(call))

    async def _meet(self, call: Call) -> None:
        await asyncio.sleep(float(self._policy.get("ring_s", 0)))
        status = int(self._policy.get("status", 200))
        if status == 200:
            await call.answer()
        elif status:
            await call.reject()

    def _adopt(self, call: Call) -> int:
        number = len(self._calls) + 1
        self._calls[number] = call
        self._heard[number] = bytearray()
        self._began[number] = [0.0, 0.0]
        call.on(lambda event: self._on_event(number, event))
        call.on_rtcp(lambda stats: self.say({"event": "rtcp", "call": number, **vars_of(stats)}))
        call.on_dtmf(lambda digit: self.say({"event": "dtmf", "call": number, "digit": digit.digit}))
        return number

    def _on_event(self, number: int, event: StackEvent) -> None:
        state = {
            Event.CALL_RINGING: "early",
            Event.CALL_PROGRESS: "early",
            Event.CALL_ESTABLISHED: "confirmed",
            Event.CALL_CLOSED: "disconnected",
        }.get(event.event)
        if event.event is Event.CALL_MENC:
            self.say({"event": "encrypted", "call": number, "text": event.text})
        if event.event is Event.CALL_REMOTE_SDP:
            self.say({"event": "remote-sdp", "call": number, "text": event.text})
        if state is None:
            return
        text = event.text or ""
        status = int(text[:3]) if text[:3].isdigit() else 0
        self.say({"event": "state", "call": number, "state": state, "status": status, "reason": text})
        has_media = state == "confirmed" or event.event is Event.CALL_PROGRESS
        if has_media and number not in self._talking:
            self._talking.add(number)
            self._start(self._talk(number))

    async def _talk(self, number: int) -> None:
        """Speaks in a circle and keeps what comes, at the pace of the stack's own clock."""
        audio, at = self._calls[number].audio, 0
        speech, shaped = b"", (0, 0)
        while True:
            try:
                info = audio.info()
                if info.tx_ready and shaped != (info.tx_sample_rate, info.tx_channels):
                    shaped = (info.tx_sample_rate, info.tx_channels)
                    speech = spoken(self._speech or bytes(320), *shaped)
                piece_size = info.tx_sample_rate // 50 * 2 * info.tx_channels
                # About 60 ms ahead: enough for a busy machine, short enough to keep the delay small.
                while audio.info().tx_ready and audio.info().tx_buffered < 3 * piece_size:
                    piece = (speech[at : at + piece_size] + speech)[:piece_size]
                    at = (at + audio.write(piece)) % len(speech)
                    self._began[number][1] = self._began[number][1] or time.monotonic()
                if data := audio.read(1 << 18):
                    self._began[number][0] = self._began[number][0] or time.monotonic()
                    self._heard[number] += data
                    self._shapes[number] = (info.rx_sample_rate, info.rx_channels)
            except BaresipError:
                if number in self._calls and self._calls[number].state.value == "closed":
                    return
            await asyncio.sleep(0.005)


def spoken(pcm: bytes, rate: int, channels: int) -> bytes:
    """What the tests gave us, as a call's codec takes it."""
    samples = np.frombuffer(pcm, np.int16)
    count = len(samples) * rate // RATE
    shaped = np.interp(np.arange(count) * RATE / rate, np.arange(len(samples)), samples).astype(np.int16)
    return np.repeat(shaped, channels).tobytes()


def told(pcm: bytes, rate: int, channels: int) -> bytes:
    """What a call's codec gave us, at our rate."""
    samples = np.frombuffer(pcm[: len(pcm) // (2 * channels) * 2 * channels], np.int16).reshape(-1, channels).mean(axis=1)
    step = rate // RATE
    whole = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1)
    return whole.astype(np.int16).tobytes()


if __name__ == "__main__":
    asyncio.run(serve(Phone))
