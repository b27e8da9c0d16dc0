"""A Linphone in a process of its own, driven by the same JSON lines as `hushwire.app.demo.softphone`.

It is Debian's linphone-daemon: told what to do by lines, telling what happens by paragraphs of `Name: value`. Its microphone and its
loudspeaker are two sinks of a PulseAudio server of its own; what is played to the one it says, what it plays to the other it hears.
"""

import asyncio
import base64
import itertools
import os
import shutil
import signal
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from tests.interop.commanded import CommandedPhone, serve

RATE = 8000
"""Of what the tests give us to say, and of what we tell that we heard."""

PROMPT = "daemon-linphone>"
PACED_BYTES = 2 * RATE // 20
RAW = ("--raw", f"--rate={RATE}", "--channels=1", "--format=s16le", "--latency-msec=40")
STATES = {
    "LinphoneCallOutgoingRinging": "early",
    "LinphoneCallOutgoingEarlyMedia": "early",
    "LinphoneCallStreamsRunning": "confirmed",
    "LinphoneCallReleased": "disconnected",
}
# Ports of its own choosing, no video, nobody's address book, and nothing asked of the network beside its proxy.
SETTINGS = """\
[sip]
root_ca={ca}
verify_server_certs=1
verify_server_cn=1
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
guess_hostname=0
use_ipv6=0
[video]
enabled=0
capture=0
display=0
automatically_initiate=0
automatically_accept=0
[sound]
echocancellation=0
ec_filter=none
[rtp]
audio_rtp_port=-1
[misc]
config-uri={link}
"""


class Phone(CommandedPhone):
    refusals = (LookupError, ValueError, RuntimeError)

    def __init__(self, writer: int) -> None:
        super().__init__(writer)
        self._folder = Path(tempfile.mkdtemp(prefix="linphone-"))
        self._processes: list[Process] = []
        self._heard = bytearray()
        self._began: dict[int, tuple[int, float]] = {}
        self._policy: dict[str, Any] = {"status": 200}
        self._wanted = ""
        self._turn = asyncio.Lock()
        self._daemon: Process | None = None

    async def do_open(self, command: dict[str, Any]) -> dict[str, Any]:
        self._ca = command.get("ca", "")
        socket = self._folder / "sounds"
        sinks = [f"module-null-sink sink_name={name} rate={RATE} channels=1 format=s16le" for name in ("ear", "mouth")]
        loaded = [f"module-native-protocol-unix auth-anonymous=1 socket={socket}", *sinks]
        self._env = {
            **os.environ, "HOME": str(self._folder), "PULSE_SERVER": f"unix:{socket}", "PULSE_SINK": "ear", "PULSE_SOURCE": "mouth.monitor",
        } | {f"XDG_{name}_HOME": str(self._folder) for name in ("DATA", "CONFIG", "CACHE", "RUNTIME")}  # fmt: skip
        for place in (".local/share/linphone", "linphone"):
            (self._folder / place).mkdir(parents=True, exist_ok=True)
        options = ("-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "--log-target=stderr")
        await self._run("pulseaudio", *options, *(f"--load={module}" for module in loaded))
        async with asyncio.timeout(15):
            while not socket.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
        ear = await self._run("parec", "--device=ear.monitor", *RAW)
        mouth = await self._run("pacat", "--playback", "--device=mouth", *RAW)
        self._start(self._listen(ear))
        self._start(self._speak(mouth, base64.b64decode(command.get("speech", "")) or bytes(PACED_BYTES)))
        return {"address": ""}

    async def do_account(self, command: dict[str, Any]) -> None:
        """`link`: where Linphone itself gets its account from (remote provisioning)."""
        (self._folder / "linphonerc").write_text(SETTINGS.format(ca=self._ca, link=command["link"]))
        log = ("--log", command["log"]) if "log" in command else ()
        self._daemon = await self._run("linphone-daemon", "--config", str(self._folder / "linphonerc"), *log)
        self._start(self._read(self._daemon))

    async def do_policy(self, command: dict[str, Any]) -> None:
        self._policy = command

    async def do_call(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"call": int(await self._asked(f"call {command['to']}", "Id"))}

    async def do_hangup(self, command: dict[str, Any]) -> None:
        await self._asked(f"terminate {command['call']}")

    async def do_hold(self, command: dict[str, Any]) -> None:
        await self._asked(f"call-pause {command['call']}")

    async def do_resume(self, command: dict[str, Any]) -> None:
        await self._asked(f"call-resume {command['call']}")

    async def do_transfer(self, command: dict[str, Any]) -> None:
        await self._asked(f"call-transfer {command['call']} {command['to']}")

    async def do_dtmf(self, command: dict[str, Any]) -> None:
        for digit in command["digits"]:
            await self._asked(f"dtmf {digit}")

    async def do_heard(self, command: dict[str, Any]) -> dict[str, Any]:
        at, began = self._began[command["call"]]
        return {"pcm": base64.b64encode(self._heard[at:]).decode(), "rate": RATE, "ear_began": began, "mouth_began": began}

    async def do_stats(self, _command: dict[str, Any]) -> dict[str, Any]:
        return {"stats": None}  # linphone-daemon counts no packets

    async def close(self) -> None:
        if self._daemon is not None and self._daemon.returncode is None and self._daemon.stdin is not None:
            self._daemon.stdin.write(b"quit\n")  # its account is taken back, its calls end
            try:
                async with asyncio.timeout(3):
                    await self._daemon.wait()
            except TimeoutError:
                pass  # it is ended below
        await super().close()
        for process in reversed(self._processes):
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, *words: str) -> Process:
        process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=self._env)
        self._processes.append(process)
        return process

    async def _listen(self, ear: Process) -> None:
        assert ear.stdout is not None
        while data := await ear.stdout.read(1 << 16):
            self._heard += data

    async def _speak(self, mouth: Process, speech: bytes) -> None:
        """In a circle, as fast as it is said."""
        assert mouth.stdin is not None
        for at in itertools.count(0, PACED_BYTES):
            start = at % len(speech)
            mouth.stdin.write((speech[start : start + PACED_BYTES] + speech)[:PACED_BYTES])
            await mouth.stdin.drain()

    async def _asked(self, line: str, wanted: str = "Status") -> str:
        """What linphone-daemon answers to a line under this name. Raises RuntimeError with its reason where it refuses."""
        if self._daemon is None or self._daemon.stdin is None:
            raise RuntimeError("it has no account yet")
        async with self._turn:
            self._wanted = wanted
            self._answer = asyncio.get_running_loop().create_future()
            self._daemon.stdin.write(line.encode() + b"\n")
            async with asyncio.timeout(10):
                return await self._answer

    async def _read(self, daemon: Process) -> None:
        """Its answers begin with a status, what it tells by itself with the kind of event; both are lines of a name and a value."""
        assert daemon.stdout is not None
        is_answer, event = False, ""
        async for line in daemon.stdout:
            name, _, value = line.decode(errors="replace").removeprefix(PROMPT).strip().partition(": ")
            match name:
                case "Status":
                    is_answer = value == "Ok"
                    if is_answer and self._wanted == name:
                        self._answered(value)
                case "Reason":
                    if not self._answer.done():
                        self._answer.set_exception(RuntimeError(value))
                case "Event-type":
                    is_answer = False
                case "Event":
                    event = value
                case "Id" if is_answer and self._wanted == name:
                    self._answered(value)
                case "Id" if event:
                    self._happened(int(value), event)
                    event = ""

    def _answered(self, value: str) -> None:
        if not self._answer.done():
            self._answer.set_result(value)

    def _happened(self, call: int, event: str) -> None:
        if event == "LinphoneCallIncomingReceived":
            self.say({"event": "incoming", "call": call, "from": ""})
            if self._policy["status"]:
                self._start(self._meet(call, int(self._policy["status"])))
        elif event == "LinphoneCallStreamsRunning":
            self._began.setdefault(call, (len(self._heard), time.monotonic()))
        elif event == "LinphoneCallPaused":
            self.say({"event": "held", "call": call})
        if (state := STATES.get(event)) is not None:
            self.say({"event": "state", "call": call, "state": state, "status": 0, "reason": event})

    async def _meet(self, call: int, status: int) -> None:
        await self._asked(f"answer {call}" if status == 200 else f"terminate {call}")


if __name__ == "__main__":
    asyncio.run(serve(Phone))
