"""50 recorded calls of a minute at once through the whole gateway: SIP with digest, SRTP from the agents, RTP to the carrier.

Signalling is a small client and server of our own, the packets come from rtpload. Afterwards each recording is opened as its
owner could: both legs' packets are counted against what was sent, and lengths compared with the calls'.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from provisioned import Bench, cpu_seconds, running
from sipclient import AgentCall, Wire, description, header, media_address, response

from hushwire.app import config as configuration
from hushwire.app.deployment import administration
from hushwire.core.ids import OrgId
from hushwire.recording.entries import EntryKind
from hushwire.recording.hwr import Identity, Reader
from hushwire.vault.unseal import INTEGRITY
from media import addresses, build_load
from tests.ports import free_port


@dataclass
class Call:
    """Both sides of one call: where packets go and with which keys."""

    index: int
    agent: AgentCall | None = None
    trunk_remote: str = ""

    def flows(self) -> list[str]:
        """Its two lines for rtpload."""
        assert self.agent is not None
        assert self.agent.send_key is not None
        a, b = addresses(self.index)
        return [f"{a} {self.agent.remote} {self.agent.send_key.hex()} {self.agent.recv_key.hex()}", f"{b} {self.trunk_remote} - -"]

    @property
    def length_s(self) -> float:
        """From the answer to the end."""
        assert self.agent is not None
        return self.agent.ended_at - self.agent.confirmed_at


class Carrier:
    """Answers every INVITE at once, in the order in which they come."""

    def __init__(self, calls: list[Call]) -> None:
        self._waiting = list(calls)
        self._answers: dict[str, str] = {}
        self.wire = Wire(self._on_message)

    def _on_message(self, text: str, addr: tuple[str, int]) -> None:
        if text.startswith("INVITE "):
            call_id = header(text, "Call-ID")
            if call_id not in self._answers:
                call = self._waiting.pop(0)
                call.trunk_remote = media_address(text)
                self._answers[call_id] = description(*addresses(call.index)[1].split(":"), None)
            self.wire.send(response(text, 200, "OK", self._answers[call_id]), addr)
        elif text.startswith("BYE "):
            self.wire.send(response(text, 200, "OK"), addr)


async def run(build: Path, *, calls: int = 50, seconds: float = 60, say: Callable[[str], None] = print) -> dict[str, Any]:
    """The whole measurement; raises AssertionError when something was lost."""
    load = build_load(build)
    listed = [Call(n) for n in range(calls)]
    carrier = Carrier(listed)
    port = free_port()
    async with running(calls, port, record="all", srtp="required") as bench:
        await carrier.wire.open(port)
        wire = Wire()
        await wire.open()
        for call in listed:
            media = addresses(call.index)[0]
            call.agent = AgentCall(wire, bench.stack.sip("udp"), f"agent{call.index}", media, secrets.token_bytes(30))
            await call.agent.start()
        say(f"recorded: {calls} calls are up")
        pids = bench.stack.children()
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        result = await talk(load, listed, seconds, pids["hushwire-media"])
        spent = {name: round(cpu_seconds(pid) - before[name], 2) for name, pid in pids.items()}
        for call in listed:
            assert call.agent is not None
            await call.agent.end()
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
    lengths = sorted(call.length_s for call in calls)
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
            key = await means.keyring.open_data_key(org_id, "recording", identity, INTEGRITY)
            path = next(path for path in files if str(identity) in str(path) or identity.hex in str(path))
            reader = Reader(key.key, Identity(org_id, identity))
            frames = reader.feed(path.read_bytes())
            reader.finish()
            total += sum(entry.kind is EntryKind.RTP for frame in frames for entry in frame.entries())
    return total


if __name__ == "__main__":
    asyncio.run(run(Path("build/bench"), calls=int(sys.argv[1]), seconds=float(sys.argv[2])))
