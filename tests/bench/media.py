"""What a relayed packet costs: hushwire-media and Debian's rtpengine by turns in one run, same load, same core.

Each case sets up `calls` two-party PCMU calls, side A (127.16.x.y) SRTP or RTP, side B (127.17.x.y) RTP, and drives them with
rtpload. The relay is pinned to core 0, the generator to core 1. Prints one line a run and the ratio of the medians a case.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import rtpengine

from hushwire.core.personal import Personal
from hushwire.media.client import MediaClient
from hushwire.media.model import LegSettings, Protection, RecordingOrder, Suite
from hushwire.media.ports import LegOpening, PortWish

HERE = Path(__file__).parent
RELAY_CPU, LOAD_CPU = 0, 1
LATE_US = 2_000  # a generator that was held up longer than this says nothing about the relay
TRIES = 2
FORMAT = b'{"legs":[{"0":"PCMU/8000"},{"0":"PCMU/8000"}]}'


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load. `record` seals (hushwire); rtpengine records nothing unless the case says `pcap`."""

    name: str
    srtp: bool
    record: bool = False
    pcap: bool = False


CASES = (
    Case("RTP-RTP", srtp=False),
    Case("RTP-SRTP", srtp=True),
    Case("RTP-RTP, recorded", srtp=False, record=True),
    Case("RTP-SRTP, recorded", srtp=True, record=True),
)


@dataclass(slots=True)
class Line:
    """Results of one program in one case."""

    us_per_packet: list[float] = field(default_factory=list)
    p99_us: list[int] = field(default_factory=list)
    loss_pct: list[float] = field(default_factory=list)
    late_p99_us: list[int] = field(default_factory=list)
    kb_per_call: list[float] = field(default_factory=list)


def build_load(folder: Path) -> Path:
    """The load generator, compiled once."""
    return _built(folder, "rtpload", "-lcrypto")


def build_awake(folder: Path) -> Path:
    """What keeps a core from sleeping, compiled once."""
    return _built(folder, "awake")


def _built(folder: Path, name: str, *libraries: str) -> Path:
    program, source = folder / name, HERE / f"{name}.cpp"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["g++", "-std=c++20", "-O2", "-o", str(program), str(source), *libraries], check=True)
    return program


def addresses(call: int) -> tuple[str, str]:
    """Where the two parties of a call sit. Each has its own loopback address, all of a side one port."""
    host = f"{call // 250}.{call % 250 + 1}"
    return f"127.16.{host}:19000", f"127.17.{host}:19002"


def ahead_of_others() -> None:
    """Let this session's processes go first: the scheduler groups them by session, so that nice alone does nothing between sessions."""
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("-10")


class LoadFailed(RuntimeError):
    """The generator gave up."""


def drive(load: Path, pid: int, flows: list[str], duration_s: float) -> dict[str, object]:
    """Run the load; the JSON that it prints, and the relay's resident memory."""
    command = ["taskset", "-c", str(LOAD_CPU), str(load), "--duration", str(duration_s), "--warmup", "2", "--pid", str(pid)]
    done = subprocess.run(
        command,
        input="\n".join(flows) + "\n",
        start_new_session=True,
        preexec_fn=ahead_of_others,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise LoadFailed(f"{done.stderr.strip()} (the relay is {'there' if Path(f'/proc/{pid}').exists() else 'gone'})")
    result: dict[str, object] = json.loads(done.stdout)
    result["rss_kb"] = resident_kb(pid)
    return result


def quiet(measure: Callable[[], dict[str, object]], say: Callable[[str], None]) -> dict[str, object]:
    """A run during which the generator kept its pace; the last one, marked, where the machine never was quiet enough."""
    for left in range(TRIES - 1, -1, -1):
        result = measure()
        late = result["lateness_us"]
        assert isinstance(late, dict)
        result["is_noisy"] = int(late["p99"]) > LATE_US
        if not result["is_noisy"] or not left:
            return result
        say(f"  (thrown away: the generator was {int(late['p99'])} us late at p99)")
    raise AssertionError("unreachable")


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@asynccontextmanager
async def hushwire_media(*, under: Sequence[str] = (), options: Sequence[str] = ()) -> AsyncIterator[tuple[int, MediaClient, Path]]:
    """hushwire-media pinned to one core, with a controller; `under` another program, with further options."""
    program = shutil.which("hushwire-media", path=str(Path(sys.executable).parent)) or shutil.which("hushwire-media")
    if program is None:
        raise RuntimeError("hushwire-media is not built: run `make setup`")
    with tempfile.TemporaryDirectory(prefix="hw-bench-") as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        process = subprocess.Popen(
            ["taskset", "-c", str(RELAY_CPU), *under, program, *options,
             "--socket", str(folder / "media.sock"), "--spool", str(folder / "spool"),
             "--address", "127.0.0.1", "--ports", "30000-59999"],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=ahead_of_others,
        )  # fmt: skip
        assert process.stderr is not None
        drain = None
        client = MediaClient(lambda event: client.acknowledge([event.id]))
        try:
            for line in process.stderr:
                if "media.ready" in line:
                    break
            else:
                raise RuntimeError("hushwire-media did not start")
            drain = asyncio.create_task(asyncio.to_thread(process.stderr.read))
            await client.connect(folder / "media.sock", epoch=1)
            alive = asyncio.create_task(keep_alive(client))
            try:
                yield process.pid, client, folder
            except LoadFailed as failure:
                # Whether it fell by itself or was killed is seen here only, and in its last words.
                await asyncio.sleep(0.5)
                if (code := process.poll()) is not None:
                    raise RuntimeError(f"hushwire-media ended with {code}: {(await drain)[-500:]}") from failure
                raise
            finally:
                alive.cancel()
            await client.close()
        finally:
            process.terminate()
            process.wait(20)
            if drain is not None:
                await drain


async def keep_alive(client: MediaClient) -> None:
    """A controller that says nothing for a minute is taken for dead, and its bridges end."""
    while True:
        await client.ping()
        await asyncio.sleep(10)


async def hushwire_flows(client: MediaClient, case: Case, calls: int) -> list[str]:
    """Set the calls up; the two flow lines of each."""
    flows = []
    for call in range(calls):
        bridge, (a, b) = uuid4(), addresses(call)
        await client.open_bridge(bridge)
        to_a = await client.open_leg(bridge, LegOpening(0, PortWish.BY_KEY if case.srtp else PortWish.BY_ADDRESS))
        to_b = await client.open_leg(bridge, LegOpening(1, PortWish.BY_ADDRESS))
        in_key, out_key = secrets.token_bytes(30), secrets.token_bytes(30)
        a_ip, a_port = a.split(":")
        b_ip, b_port = b.split(":")
        suite = Suite.AES_CM_128_HMAC_SHA1_80
        await client.set_leg(
            bridge, 0,
            LegSettings(
                Personal(IPv4Address(a_ip)), int(a_port), rtcp_mux=True,
                sending=Protection(suite, out_key) if case.srtp else None, receiving=Protection(suite, in_key) if case.srtp else None,
            ),
        )  # fmt: skip
        await client.set_leg(bridge, 1, LegSettings(Personal(IPv4Address(b_ip)), int(b_port), rtcp_mux=True))
        if case.record:
            order = RecordingOrder(uuid4(), uuid4(), 0, secrets.token_bytes(32), f"{bridge}.hwr", FORMAT, time.time_ns() // 1000)
            await client.start_recording(bridge, order)
        keys = (in_key.hex(), out_key.hex()) if case.srtp else ("-", "-")
        flows += [f"{a} {to_a.ip}:{to_a.rtp_port} {keys[0]} {keys[1]}", f"{b} {to_b.ip}:{to_b.rtp_port} - -"]
    return flows


async def run_hushwire(load: Path, case: Case, calls: int, duration_s: float, *, under: Sequence[str] = ()) -> dict[str, object]:
    """One run through hushwire-media, `under` another program."""
    async with hushwire_media(under=under) as (pid, client, _):
        idle_kb = resident_kb(pid)
        flows = await hushwire_flows(client, case, calls)
        result = await asyncio.to_thread(drive, load, pid, flows, duration_s)
        result["idle_kb"] = idle_kb
        result["seal_lag_ms"] = await close_all(client)
        return result


async def close_all(client: MediaClient) -> int:
    """Close every bridge; the longest that a packet of a recording waited for its sealing, in milliseconds."""
    ids = [entry.bridge_id async for entry in client.bridges()]
    worst_us = 0
    for at in range(0, len(ids), 50):
        for report in await asyncio.gather(*(client.close_bridge(bridge) for bridge in ids[at : at + 50])):
            worst_us = max(worst_us, report.recording.seal_lag_us if report.recording else 0)
    return round(worst_us / 1000)


def run_rtpengine(load: Path, case: Case, calls: int, duration_s: float, *, under: Sequence[str] = ()) -> dict[str, object]:
    """One run through rtpengine, `under` another program."""
    with (
        tempfile.TemporaryDirectory(prefix="hw-bench-") as folder,
        rtpengine.running(RELAY_CPU, Path(folder) if case.pcap else None, ahead_of_others, under) as engine,
    ):
        idle_kb = resident_kb(engine.pid)
        flows = []
        for call in range(calls):
            a, b = addresses(call)
            key = secrets.token_hex(30) if case.srtp else None
            to_a, to_b = engine.bridge(f"call{call}", a, b, key, None, record=case.pcap)
            flows += [f"{a} {to_a.address} {key or '-'} {to_a.key or '-'}", f"{b} {to_b.address} - -"]
        result = drive(load, engine.pid, flows, duration_s)
        result["idle_kb"] = idle_kb
        return result


def note(line: Line, result: dict[str, object], calls: int) -> None:
    """Add one run's figures."""
    latency, late = result["latency_us"], result["lateness_us"]
    assert isinstance(latency, dict)
    assert isinstance(late, dict)
    line.us_per_packet.append(float(str(result["us_per_packet"])))
    line.p99_us.append(int(latency["p99"]))
    line.late_p99_us.append(int(late["p99"]))
    line.loss_pct.append(float(str(result["loss_pct"])))
    line.kb_per_call.append((int(str(result["rss_kb"])) - int(str(result["idle_kb"]))) / calls)


def run(
    build: Path, *, calls: int = 500, repeat: int = 3, duration_s: float = 8, say: Callable[[str], None] = print
) -> list[dict[str, object]]:
    """All cases, the two programs alternating. One row a case for docs/performance.md."""
    load = build_load(build)
    rows: list[dict[str, object]] = []
    for case in CASES:
        ours, theirs = Line(), Line()
        for _ in range(repeat):
            note(ours, quiet(lambda case=case: asyncio.run(run_hushwire(load, case, calls, duration_s)), say), calls)  # type: ignore[misc]
            note(theirs, quiet(lambda case=case: run_rtpengine(load, case, calls, duration_s), say), calls)  # type: ignore[misc]
            say(f"{case.name}: hushwire-media {ours.us_per_packet[-1]:.2f} us/packet, rtpengine {theirs.us_per_packet[-1]:.2f}")
        row: dict[str, object] = {"case": case.name, "calls": calls}
        for name, line in (("hushwire", ours), ("rtpengine", theirs)):
            row[name] = {
                "us_per_packet": statistics.median(line.us_per_packet),
                "p99_us": statistics.median(line.p99_us),
                "loss_pct": max(line.loss_pct),
                "lateness_p99_us": max(line.late_p99_us),
                "kb_per_call": round(statistics.median(line.kb_per_call), 1),
            }
        row["ratio"] = round(statistics.median(ours.us_per_packet) / statistics.median(theirs.us_per_packet), 3)
        say(f"{case.name}: ratio {row['ratio']}")
        rows.append(row)
    return rows


if __name__ == "__main__":
    print(json.dumps(run(Path("build/bench")), indent=2))
