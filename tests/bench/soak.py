"""Ten minutes at 70 % of the load that one core takes (840 recorded calls), with hushwire-media's memory, descriptors and ports watched.

Without rtpengine beside: what is shown is that figures stay as they are.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import media

CALLS = 840


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
