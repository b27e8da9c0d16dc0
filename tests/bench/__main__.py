"""`make bench`: media beside rtpengine, signalling, 50 recorded calls, the store; the figures go to docs/performance.md.

    make bench [ARGS="--only media,flat,soak,signalling,recorded,store --quick --no-write"]

A shared machine needs priority over its other work: run it as `setsid bash -c 'echo -10 > /proc/self/autogroup; exec make bench'`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT), str(ROOT / "src")]

import signalling  # noqa: E402
import soak  # noqa: E402

import media  # noqa: E402
import recorded  # noqa: E402
import store  # noqa: E402

BUILD = ROOT / "build" / "bench"
FIGURES = BUILD / "figures.json"
PAGE = ROOT / "docs" / "performance.md"

PAGE_TEXT = """\
# Figures

Measured by `make bench`, which rewrites this page. Absolute figures drift from machine to machine and hour to hour: what is compared
was run by turns in one go, and a figure is the median of its runs. Machine: {machine}. Measured {day}.

## Media

hushwire-media pinned to one core, the load generator (`tests/bench/rtpload.cpp`) to the other, loopback; a call is PCMU both ways,
100 relayed packets a second. Cost = user and system time of all threads per relayed packet. rtpengine is Debian's rtpengine-daemon in
userspace, one thread, on the same core, alternating; it records nothing in any row.

| load | calls | us/packet | rtpengine | ratio | p99 ms | rtpengine p99 ms | loss % | generator late p99 ms | kB/call |
|---|---|---|---|---|---|---|---|---|---|
{media}

p99 = added latency of the slowest hundredth. A run whose generator was late by more than 2 ms says little about latency.

## Signalling

A small client as {agents} agents (digest with SHA-256), SIPp as the carrier; a whole call is INVITE, challenge, INVITE, verdict, media
bridge, INVITE to the trunk, 180, 200, ACK, BYE, rows and events. CPU is the gateway process's alone. Post-dial delay: the agent's
first INVITE to its 180, challenge included.

| calls/s asked | finished | failed | gateway CPU ms/call | PDD p50 ms | PDD p99 ms |
|---|---|---|---|---|---|
{signalling}

## Recorded calls through the whole gateway

{recorded}

## Store

{store}
"""


def machine() -> str:
    """The processor, the number of cores and the kernel."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{cores} virtual cores ({model or platform.machine()}), Linux {platform.release().split('-')[0]}"


def page(figures: dict[str, Any]) -> str:
    """docs/performance.md from all figures measured so far."""
    return PAGE_TEXT.format(
        machine=figures["machine"],
        day=figures["day"],
        media=media_rows(figures.get("media", [])),
        agents=signalling.AGENTS,
        signalling=signalling_rows(figures.get("signalling", [])),
        recorded=recorded_text(figures.get("recorded")),
        store=store_text(figures.get("store")),
    )


def media_rows(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        ours, theirs = row["hushwire"], row["rtpengine"]
        late = max(ours["lateness_p99_us"], theirs["lateness_p99_us"]) / 1000
        lines.append(
            f"| {row['case']} | {row['calls']} | {ours['us_per_packet']:.2f} | {theirs['us_per_packet']:.2f} | {row['ratio']:.2f} "
            f"| {ours['p99_us'] / 1000:.2f} | {theirs['p99_us'] / 1000:.2f} | {ours['loss_pct']:.3f} | {late:.2f} | {ours['kb_per_call']} |"
        )
    return "\n".join(lines) or "| not measured yet | | | | | | | | | |"


def signalling_rows(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"| {r['rate']} | {r['calls']} | {r['failed']} | {r['cpu_ms_per_call']:.2f} | {r['pdd_p50_ms']:.1f} | {r['pdd_p99_ms']:.1f} |"
        for r in rows
    ]
    return "\n".join(lines) or "| not measured yet | | | | | |"


def recorded_text(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "Not measured yet."
    cpu = ", ".join(f"{name} {spent:.1f} s" for name, spent in figures["cpu_s"].items())
    return (
        f"{figures['calls']} calls at once for {figures['seconds']:g} s, SRTP from the agents, RTP to the carrier, every one recorded: "
        f"{figures['recordings']} recordings ({', '.join(figures['states'])}), the length of each within "
        f"{figures['worst_length_difference_pct']:.2f} % of its call's. Packets: {figures['packets_sent']} sent, "
        f"{figures['packets_received']} received, {figures['packets_recorded']} found in the opened recordings. "
        f"CPU over that time: {cpu}."
    )


def store_text(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "Not measured yet."
    timed = {**figures["searches"], "deletion with receipt": figures["deletions"]}
    table = "\n".join(f"| {name} | {took['p50_ms']:.1f} | {took['p99_ms']:.1f} |" for name, took in timed.items())
    singles = "\n".join(f"- {line}" for line in figures.get("once", []))
    return (
        f"{figures['calls']:,} calls with sealed numbers and {figures['recordings']:,} recordings with keys of their own, in the embedded "
        f"databases of a running `hushwire up`; asked over HTTPS, {figures['asked']} times each, pages of 50 rows, numbers opened "
        f"and each reading logged.\n\n| asked | p50 ms | p99 ms |\n|---|---|---|\n{table}\n\n{singles}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="media,signalling,recorded,store")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that it works, not for figures")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    wanted = options.only.split(",")
    if "media" in wanted:
        figures["media"] = media.run(BUILD, repeat=1 if options.quick else 3, duration_s=3 if options.quick else 8)
    if "flat" in wanted:
        figures["flat"] = soak.flatness(BUILD, duration_s=3 if options.quick else 8)
    if "soak" in wanted:
        figures["soak"] = asyncio.run(soak.run(BUILD, **({"calls": 50, "duration_s": 10, "every_s": 2} if options.quick else {})))
        print(json.dumps(figures["soak"], indent=2))
    if "signalling" in wanted:
        rates = (25, 50) if options.quick else (25, 50, 100, 150, 200, 250, 300)
        figures["signalling"] = [asdict(r) for r in asyncio.run(signalling.run(rates, 3 if options.quick else 10))]
    if "recorded" in wanted:
        figures["recorded"] = asyncio.run(recorded.run(BUILD, calls=10 if options.quick else 50, seconds=5 if options.quick else 60))
    if "store" in wanted:
        size = {"calls": 100_000, "recordings": 20_000, "asked": 50} if options.quick else {}
        figures["store"] = asyncio.run(store.run(**size))
        if not options.quick:
            few = asyncio.run(store.run(calls=200_000, recordings=store.RENEWED_AT_MOST, asked=20))
            figures["store"]["once"] += [line for line in few["once"] if "anew" in line]
    figures |= {"machine": machine(), "day": datetime.now(UTC).date().isoformat()}
    if options.quick:
        print(page(figures))
        return
    FIGURES.write_text(json.dumps(figures, indent=2))
    if not options.no_write:
        PAGE.write_text(page(figures))
        print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
