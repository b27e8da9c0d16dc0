"""Does our load generator say what another one says? The same calls through hushwire-media, both by turns.

The other program takes flows as JSON lines (`id`, `local`, `remote`, `send_key`, `recv_key` in base64) and gives one JSON object
with `loss_pct`, `a_to_b` and `b_to_a` (their `latency_us`), `sut.us_per_packet` and `generator.pacing_late_us`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

import media

CALLS = 300


def run(build: Path, beside: Path, *, rounds: int = 5, duration_s: float = 5) -> dict[str, Any]:
    """Medians of what both say of cost, latency and loss."""
    load = media.build_load(build)
    case = next(case for case in media.CASES if case.srtp and not case.record)
    runs: dict[str, list[dict[str, float]]] = {"tests/bench/rtpload.cpp": [], "an independent load generator": []}
    for _ in range(rounds):
        for name, results in runs.items():
            results.append(asyncio.run(one(load if "rtpload" in name else None, beside, case, duration_s)))
    by = {name: {key: statistics.median(r[key] for r in results) for key in results[0]} for name, results in runs.items()}
    ours, theirs = (figures["us_per_packet"] for figures in by.values())
    return {"calls": CALLS, "rounds": rounds, "by": by, "difference": ours / theirs - 1}


async def one(load: Path | None, beside: Path, case: media.Case, duration_s: float) -> dict[str, float]:
    """One run of one generator (`load`, or else the other one)."""
    async with media.hushwire_media() as (pid, client, _):
        flows = await media.hushwire_flows(client, case, CALLS)
        if load is not None:
            r: dict[str, Any] = await asyncio.to_thread(media.drive, load, pid, flows, duration_s)
            return {
                "us_per_packet": r["us_per_packet"], "p50_us": r["latency_us"]["p50"], "p99_us": r["latency_us"]["p99"],
                "loss_pct": r["loss_pct"], "late_us": r["lateness_us"]["p99"],
            }  # fmt: skip
        r = await asyncio.to_thread(drive_other, beside, pid, flows, duration_s)
        ways = [r[way]["latency_us"] for way in ("a_to_b", "b_to_a")]
        return {
            "us_per_packet": r["sut"]["us_per_packet"], "p50_us": statistics.mean(way["p50"] for way in ways),
            "p99_us": max(way["p99"] for way in ways), "loss_pct": r["loss_pct"], "late_us": r["generator"]["pacing_late_us"]["p99"],
        }  # fmt: skip


def drive_other(beside: Path, pid: int, flows: list[str], duration_s: float) -> dict[str, Any]:
    """Its JSON."""
    lines = []
    for number, flow in enumerate(flows):
        local, remote, *keys = flow.split()
        sent, received = (None if key == "-" else base64.b64encode(bytes.fromhex(key)).decode() for key in keys)
        lines.append(json.dumps({"id": number, "local": local, "remote": remote, "send_key": sent, "recv_key": received}))
    done = subprocess.run(
        [beside, "--flows", "-", "--duration", str(duration_s), "--warmup", "2", "--sut-pid", str(pid), "--cpu", str(media.LOAD_CPU)],
        input="\n".join(lines) + "\n",
        start_new_session=True,
        preexec_fn=media.ahead_of_others,
        text=True,
        capture_output=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
