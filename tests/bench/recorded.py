"""50 recorded calls of a minute at once through the whole gateway: SIP with digest, SRTP from the agents, RTP to the carrier.

Signalling is a small client and server of our own, the packets come from rtpload. Afterwards each recording is opened as its
owner could: both legs' packets are counted against what was sent, and lengths compared with the calls'.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from provisioned import PASSWORD, Bench, cpu_seconds, running

from hushwire.app import config as configuration
from hushwire.app.demo.stack import DOMAIN
from hushwire.app.deployment import administration
from hushwire.core.ids import OrgId
from hushwire.recording.entries import EntryKind
from hushwire.recording.hwr import Identity, Reader
from media import addresses, build_load
from tests.interop.rawsip import challenges, digest, status
from tests.interop.sipp import free_port

NUMBER = "+442079460123"
SUITE = "AES_CM_128_HMAC_SHA1_80"


@dataclass
class Call:
    """Both sides of one call: where packets go and with which keys."""

    index: int
    send_key: bytes = field(default_factory=lambda: secrets.token_bytes(30))
    recv_key: bytes = b""
    agent_remote: str = ""
    trunk_remote: str = ""
    answer: str = ""
    confirmed_at: float = 0.0
    ended_at: float = 0.0

    def flows(self) -> list[str]:
        a, b = addresses(self.index)
        return [f"{a} {self.agent_remote} {self.send_key.hex()} {self.recv_key.hex()}", f"{b} {self.trunk_remote} - -"]


class Socket(asyncio.DatagramProtocol):
    """One UDP socket; every message goes to `on_message`."""

    def __init__(self, on_message: Callable[[str, tuple[str, int]], None]) -> None:
        self.on_message = on_message
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.on_message(data.decode(errors="replace"), addr)

    def send(self, text: str, to: tuple[str, int]) -> None:
        assert self.transport is not None
        self.transport.sendto(text.encode(), to)


class Carrier:
    """Answers every INVITE at once, in the order in which they come."""

    def __init__(self, calls: list[Call]) -> None:
        self._waiting = list(calls)
        self._answers: dict[str, str] = {}
        self.socket = Socket(self._on_message)

    def _on_message(self, text: str, addr: tuple[str, int]) -> None:
        if text.startswith("INVITE "):
            call_id = header(text, "Call-ID")
            if call_id not in self._answers:
                call = self._waiting.pop(0)
                call.trunk_remote = media_address(text)
                self._answers[call_id] = description(*addresses(call.index)[1].split(":"), None)
            self.socket.send(response(text, 200, "OK", self._answers[call_id]), addr)
        elif text.startswith("BYE "):
            self.socket.send(response(text, 200, "OK"), addr)


class Agent:
    """One agent with one call: calls, waits, hangs up."""

    def __init__(self, call: Call, gateway: tuple[str, int]) -> None:
        self.call, self.gateway = call, gateway
        self.name = f"agent{call.index}"
        self.call_id, self.tag, self.cseq = secrets.token_hex(8), secrets.token_hex(4), 0
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.socket = Socket(self._on_message)
        self.target = f"sip:{NUMBER}@acme.{DOMAIN}"
        self.to, self.contact = f"<{self.target}>", self.target

    def _on_message(self, text: str, addr: tuple[str, int]) -> None:
        if text.startswith("SIP/2.0 "):
            if status(text) >= 200:
                self.answers.put_nowait(text)
        elif text.startswith("BYE "):
            self.call.ended_at = time.monotonic()
            self.socket.send(response(text, 200, "OK"), addr)

    async def ask(self, method: str, uri: str, more: str = "", body: str = "") -> str:
        if method != "ACK":
            self.cseq += 1
        assert self.socket.transport is not None
        port = self.socket.transport.get_extra_info("sockname")[1]
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{secrets.token_hex(8)};rport\r\n"
            f"From: <sip:{self.name}@acme.{DOMAIN}>;tag={self.tag}\r\nTo: {self.to}\r\nCall-ID: {self.call_id}\r\n"
            f"CSeq: {self.cseq} {method}\r\nContact: <sip:{self.name}@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\n{more}{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.socket.send(text, self.gateway)
        if method == "ACK":
            return ""
        async with asyncio.timeout(10):
            return await self.answers.get()

    async def start(self) -> None:
        """An established call, or an error that tells its status."""
        host, port = addresses(self.call.index)[0].split(":")
        body = description(host, port, self.call.send_key)
        answer = await self.ask("INVITE", self.target, body=body)
        if status(answer) == 401:
            chosen = next(c for c in challenges(answer) if c["algorithm"] == "SHA-256")
            self.to = header(answer, "To")
            await self.ask("ACK", self.target)
            self.to = f"<{self.target}>"
            authorization = digest(chosen, self.name, PASSWORD, "INVITE", self.target)
            answer = await self.ask("INVITE", self.target, f"Authorization: {authorization}\r\n", body)
        if status(answer) != 200:
            raise RuntimeError(f"the call of {self.name} was answered with {status(answer)}")
        self.to = header(answer, "To")
        self.contact = re.search(r"<(.*?)>", header(answer, "Contact"))[1]  # type: ignore[index]
        await self.ask("ACK", self.contact)
        self.call.confirmed_at = time.monotonic()
        self.call.agent_remote = media_address(answer)
        inline = re.search(rf"a=crypto:\d+ {SUITE} inline:([A-Za-z0-9+/=]+)", answer)
        assert inline, "no SRTP in the answer"
        self.call.recv_key = base64.b64decode(inline[1])

    async def end(self) -> None:
        answer = await self.ask("BYE", self.contact)
        self.call.ended_at = time.monotonic()
        if status(answer) != 200:
            raise RuntimeError(f"BYE of {self.name} was answered with {status(answer)}")


def header(text: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}\s*:\s*(.*?)\r?$", text)
    assert found, f"no {name}"
    return found[1]


def media_address(text: str) -> str:
    address, port = re.search(r"c=IN IP4 (\S+)", text), re.search(r"m=audio (\d+)", text)
    assert address
    assert port
    return f"{address[1]}:{port[1]}"


def description(host: str, port: str, key: bytes | None) -> str:
    profile = "RTP/SAVP" if key else "RTP/AVP"
    crypto = f"a=crypto:1 {SUITE} inline:{base64.b64encode(key).decode()}\r\n" if key else ""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} {profile} 0\r\na=rtpmap:0 PCMU/8000\r\n"
        f"a=sendrecv\r\n{crypto}"
    )


def response(request: str, code: int, reason: str, body: str = "") -> str:
    vias = "".join(f"{line}\r\n" for line in request.split("\r\n") if re.match(r"(?i)(via|v|record-route)\s*:", line))
    to = header(request, "To")
    to += "" if ";tag=" in to else ";tag=carrier"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"SIP/2.0 {code} {reason}\r\n{vias}From: {header(request, 'From')}\r\nTo: {to}\r\nCall-ID: {header(request, 'Call-ID')}\r\n"
        f"CSeq: {header(request, 'CSeq')}\r\nContact: <sip:carrier@127.0.0.1>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    )


async def run(build: Path, *, calls: int = 50, seconds: float = 60, say: Callable[[str], None] = print) -> dict[str, Any]:
    """The whole measurement; raises AssertionError when something was lost."""
    load = build_load(build)
    listed = [Call(n) for n in range(calls)]
    carrier = Carrier(listed)
    port = free_port()
    loop = asyncio.get_running_loop()
    async with running(calls, port, record="all", srtp="required") as bench:
        await loop.create_datagram_endpoint(lambda: carrier.socket, local_addr=("127.0.0.1", port))
        agents = [Agent(call, bench.stack.sip("udp")) for call in listed]
        for agent in agents:
            await loop.create_datagram_endpoint(lambda agent=agent: agent.socket, local_addr=("127.0.0.1", 0))  # type: ignore[misc]
            await agent.start()
        say(f"recorded: {calls} calls are up")
        pids = bench.stack.children()
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        result = await talk(load, listed, seconds, pids["hushwire-media"])
        spent = {name: round(cpu_seconds(pid) - before[name], 2) for name, pid in pids.items()}
        for agent in agents:
            await agent.end()
        figures = await compare(bench, listed, result)
    figures |= {"calls": calls, "seconds": seconds, "cpu_s": spent, "loss_pct": result["loss_pct"], "latency_us": result["latency_us"]}
    say(f"recorded: {json.dumps(figures)}")
    return figures


async def talk(load: Path, calls: list[Call], seconds: float, media: int) -> dict[str, Any]:
    """Packets both ways in all calls."""
    flows = [line for call in calls for line in call.flows()]
    process = await asyncio.create_subprocess_exec(
        str(load), "--duration", str(seconds), "--warmup", "0", "--pid", str(media), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate(("\n".join(flows) + "\n").encode())
    if process.returncode:
        raise RuntimeError("rtpload failed")
    return dict(json.loads(out))


async def compare(bench: Bench, calls: list[Call], result: dict[str, Any]) -> dict[str, Any]:
    """What the recordings hold beside what the calls were."""
    api = bench.stack.api("acme/owner")
    rows: list[dict[str, Any]] = []
    for _ in range(300):
        page = await api.get("/v1/recordings?limit=200")
        rows = page["items"]
        if len(rows) >= len(calls) and all(row["state"] == "stored" for row in rows):
            break
        await asyncio.sleep(0.2)
    states = {row["state"] for row in rows}
    lengths = sorted(call.ended_at - call.confirmed_at for call in calls)
    durations = sorted(row["duration_ms"] / 1000 for row in rows)
    worst = max((abs(d - c) / c for d, c in zip(durations, lengths, strict=False)), default=1.0)
    packets = await recorded_packets(bench, rows)
    return {
        "recordings": len(rows), "states": sorted(states), "worst_length_difference_pct": round(100 * worst, 3),
        "packets_recorded": packets, "packets_sent": result.get("sent"), "packets_received": result.get("received"),
    }  # fmt: skip


async def recorded_packets(bench: Bench, rows: list[dict[str, Any]]) -> int:
    """RTP packets in all recordings, counted in the opened files with the owner's keys."""
    config = configuration.load(bench.stack.config, {})
    files = {path: path.name for path in (bench.stack.data / "store").rglob("*") if path.is_file()}
    total = 0
    async with administration(config) as means:
        async with means.main.transaction() as connection:
            org_id = OrgId(await connection.fetchval("SELECT find_org('acme')"))
        for row in rows:
            identity = UUID(row["id"])
            key = await means.keyring.open_data_key(org_id, "recording", identity)
            path = next(path for path in files if str(identity) in str(path) or identity.hex in str(path))
            reader = Reader(key.key, Identity(org_id, identity))
            frames = reader.feed(path.read_bytes())
            reader.finish()
            total += sum(entry.kind is EntryKind.RTP for frame in frames for entry in frame.entries())
    return total


if __name__ == "__main__":
    asyncio.run(run(Path("build/bench"), calls=int(sys.argv[1]), seconds=float(sys.argv[2])))
