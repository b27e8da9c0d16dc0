"""What a packet costs from 100 to 1,200 calls, with the relay's core left to itself and kept awake.

Few calls leave a core asleep most of the time, and what wakes up finds its caches cold, whatever it is. So every size is measured twice,
the second time with a process on the relay's core that does nothing whenever the core would sleep (awake.cpp), and rtpengine likewise.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import media

SIZES = (100, 500, 1200)
RTPENGINE_SIZES = (100, 500)  # more is not relayed without loss

Run = Callable[[Sequence[str]], dict[str, Any]]


def run(build: Path, *, duration_s: float = 7, rounds: int = 2, say: Callable[[str], None] = print) -> list[dict[str, object]]:
    """Cost per packet, latency and memory, plain and recorded; one row a load and size. Sizes go by turns, since the machine drifts."""
    load, awake = media.build_load(build), str(media.build_awake(build))
    under = {"asleep": (), "awake": (awake, str(media.RELAY_CPU))}
    results: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for _ in range(rounds):
        for name, calls, measure in _loads(load, duration_s):
            for core, program in under.items():
                result = measure(program)
                results.setdefault((name, calls), {}).setdefault(core, []).append(result)
                say(
                    f"{name}, {calls} calls, core {'kept awake' if program else 'left to itself'}: {result['us_per_packet']} us/packet, "
                    f"loss {result['loss_pct']} %, {result.get('seal_lag_ms', 0)} ms unsealed"
                )
    return [
        {"case": name, "calls": calls, **{core: _medians(of, calls) for core, of in by.items()}} for (name, calls), by in results.items()
    ]


def _loads(load: Path, duration_s: float) -> Iterator[tuple[str, int, Run]]:
    """Name, calls, and what measures it once."""
    for case in (case for case in media.CASES if case.srtp):
        for calls in SIZES:
            yield case.name, calls, partial(_ours, load, case, calls, duration_s)
    plain = next(case for case in media.CASES if case.srtp and not case.record)
    for calls in RTPENGINE_SIZES:
        yield f"rtpengine, {plain.name}", calls, partial(_theirs, load, plain, calls, duration_s)


def _ours(load: Path, case: media.Case, calls: int, duration_s: float, under: Sequence[str]) -> dict[str, Any]:
    return asyncio.run(media.run_hushwire(load, case, calls, duration_s, under=under))


def _theirs(load: Path, case: media.Case, calls: int, duration_s: float, under: Sequence[str]) -> dict[str, Any]:
    return media.run_rtpengine(load, case, calls, duration_s, under=under)


def _medians(results: list[dict[str, Any]], calls: int) -> dict[str, object]:
    return {
        "us_per_packet": statistics.median(r["us_per_packet"] for r in results),
        "p99_us": statistics.median(r["latency_us"]["p99"] for r in results),
        "loss_pct": max(r["loss_pct"] for r in results),
        "lateness_p99_us": max(r["lateness_us"]["p99"] for r in results),
        "kb_per_call": statistics.median((r["rss_kb"] - r["idle_kb"]) / calls for r in results),
        "seal_lag_ms": max(r.get("seal_lag_ms", 0) for r in results),
    }
