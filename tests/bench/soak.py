"""Ten minutes at 70 % of the load that one core takes (840 recorded calls), with hushwire-media's memory, descriptors and ports watched.

Also the cost of a packet from 100 to 1,200 calls. Both without rtpengine beside: what is shown is that figures stay as they are.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import media

CALLS = 840
SIZES = (100, 500, 1200)


def used(pid: int, began: float) -> dict[str, int]:
    """Memory (kB), descriptors and threads of a process, so many seconds after the beginning."""
    return {
        "at_s": round(time.monotonic() - began),
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
        began = time.monotonic()
        await asyncio.sleep(5)  # warm: every call has sent and every chunk was touched once
        samples = [used(pid, began)]
        while not (await asyncio.wait({driving}, timeout=every_s))[0]:
            samples.append(used(pid, began))
        result = driving.result()
        shared = await client.shared_ports()
        lag_ms = await media.close_all(client)
        return {
            "calls": calls,
            "seconds": duration_s,
            "us_per_packet": result["us_per_packet"],
            "loss_pct": result["loss_pct"],
            "latency_us": result["latency_us"],
            "lateness_us": result["lateness_us"],
            "seal_lag_ms": lag_ms,
            "samples": samples,
            "legs": sum(port.legs for port in shared),
            "legs_after": sum(port.legs for port in await client.shared_ports()),
            "ports_free": not sum(port.legs for port in await client.shared_ports()),
            "after": used(pid, began),
        }


def flatness(build: Path, *, duration_s: float = 7, rounds: int = 2, say: Callable[[str], None] = print) -> list[dict[str, object]]:
    """Cost per packet, latency and memory from 100 to 1,200 calls, plain and recorded; the sizes by turns, since the machine drifts."""
    load = media.build_load(build)
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for case in (case for case in media.CASES if case.srtp):
            for calls in SIZES:
                result: dict[str, Any] = asyncio.run(media.run_hushwire(load, case, calls, duration_s))
                runs.setdefault((case.name, calls), []).append(result)
                say(
                    f"{case.name}, {calls} calls: {result['us_per_packet']} us/packet, loss {result['loss_pct']} %, "
                    f"{result['seal_lag_ms']} ms unsealed"
                )
    return [
        {
            "case": case,
            "calls": calls,
            "us_per_packet": statistics.median(r["us_per_packet"] for r in results),
            "p99_us": statistics.median(r["latency_us"]["p99"] for r in results),
            "loss_pct": max(r["loss_pct"] for r in results),
            "lateness_p99_us": max(r["lateness_us"]["p99"] for r in results),
            "kb_per_call": statistics.median((r["rss_kb"] - r["idle_kb"]) / calls for r in results),
            "seal_lag_ms": max(r["seal_lag_ms"] for r in results),
        }
        for (case, calls), results in runs.items()
    ]
