"""Instructions of hushwire-media for a relayed packet, with one worker thread and with two.

Worker threads share nothing that is written, so a second one must not make a packet dearer. Time says little about that on a
machine with two cores, one of which makes the load; cachegrind counts instructions (of the program, not of the kernel). A load of
two lengths is counted, and what both have in common (start, set-up, end) falls out of the difference.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from pathlib import Path

import media

CALLS = 60
SHORT_S, LONG_S = 2.0, 8.0


def run(build: Path) -> dict[str, float]:
    """Instructions per relayed packet by number of workers."""
    load = media.build_load(build)
    case = next(case for case in media.CASES if case.srtp and not case.record)
    found = {}
    for workers in (1, 2):
        (short, few), (long, many) = (asyncio.run(counted(load, case, workers, s)) for s in (SHORT_S, LONG_S))
        found[str(workers)] = (long - short) / (many - few)
        print(f"{workers} worker(s): {found[str(workers)]:,.0f} instructions a packet ({few} and {many} packets)")
    return found


async def counted(load: Path, case: media.Case, workers: int, duration_s: float) -> tuple[int, int]:
    """Instructions of a whole run, and packets relayed in it."""
    with tempfile.TemporaryDirectory(prefix="hw-bench-") as name:
        log = Path(name) / "log"
        # It starts itself anew where this is not set, and nobody would count the new one. The sandbox lets it open no file later on,
        # so the sum is taken from the log, which is open from the start.
        under = (
            "env",
            "LD_BIND_NOW=1",
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            f"--log-file={log}",
        )
        async with media.hushwire_media(under=under, options=("--workers", str(workers))) as (pid, client, _):
            flows = await media.hushwire_flows(client, case, CALLS)
            await asyncio.to_thread(media.drive, load, pid, flows, duration_s)
            packets = 0
            async for entry in client.bridges():
                packets += sum(leg.packets_sent for leg in (await client.bridge(entry.bridge_id)).legs)
        total = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text())
        if total is None:
            raise subprocess.SubprocessError(f"nothing was counted: {log.read_text()[-500:]}")
        return int(total[1].replace(",", "")), packets
