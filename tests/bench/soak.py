"""Ten minutes at 70 % of the load that one core takes (840 recorded calls), with hushwire-media's memory, descriptors and ports watched.

Also the cost of a packet from 100 to 1,200 calls. Both without rtpengine beside: what is shown is that figures stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import media

CALLS = 840
SIZES = (100, 500, 1200)


def used(pid: int) -> dict[str, int]:
    """Memory (kB), descriptors and threads of a process."""
    return {
        "rss_kb": media.resident_kb(pid),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
    }


async def run(build: Path, *, calls: int = CALLS, duration_s: float = 600, every_s: float = 30) -> dict[str, object]:
    """The load for so long; what was used at the beginning, in between and at the end, and after all calls were closed."""
    load = media.build_load(build)
    case = next(case for case in media.CASES if case.srtp and case.record)
    async with media.hushwire_media() as (pid, client, _):
        flows = await media.hushwire_flows(client, case, calls)
        driving = asyncio.create_task(asyncio.to_thread(media.drive, load, pid, flows, duration_s))
        await asyncio.sleep(5)  # warm: every call has sent and every chunk was touched once
        samples = [used(pid)]
        while not (await asyncio.wait({driving}, timeout=every_s))[0]:
            samples.append(used(pid))
        result = driving.result()
        shared = await client.shared_ports()
        async for entry in client.bridges():
            await client.close_bridge(entry.bridge_id)
        return {
            "calls": calls,
            "seconds": duration_s,
            "us_per_packet": result["us_per_packet"],
            "loss_pct": result["loss_pct"],
            "latency_us": result["latency_us"],
            "lateness_us": result["lateness_us"],
            "samples": samples,
            "legs": sum(port.legs for port in shared),
            "legs_after": sum(port.legs for port in await client.shared_ports()),
            "after": used(pid),
        }


def flatness(build: Path, *, duration_s: float = 8, say: Callable[[str], None] = print) -> list[dict[str, object]]:
    """Cost per packet, latency and memory from 100 to 1,200 calls, plain and recorded."""
    load = media.build_load(build)
    rows = []
    for case in (case for case in media.CASES if case.srtp):
        for calls in SIZES:
            result = asyncio.run(media.run_hushwire(load, case, calls, duration_s))
            kb = (int(str(result["rss_kb"])) - int(str(result["idle_kb"]))) / calls
            rows.append({"case": case.name, "calls": calls, "kb_per_call": round(kb, 1)} | result)
            say(f"{case.name}, {calls} calls: {result['us_per_packet']} us/packet, loss {result['loss_pct']} %, {kb:.1f} kB a call")
    return rows
