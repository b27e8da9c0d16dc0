"""`make bench`: media beside rtpengine, signalling, registrations, 50 recorded calls, the store; the figures go to docs/performance.md.

    make bench [ARGS="--only media,flat,soak,threads,agreement,signalling,asterisk,registering,recorded,store,verdict,sms --quick"]

`agreement` compares the load generator with another one, whose program is named by `--beside`. `asterisk` is signalling beside Asterisk,
which it unpacks into build/ (60 MB).

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

import agreement  # noqa: E402
import asterisk  # noqa: E402
import flat  # noqa: E402
import page  # noqa: E402
import registering  # noqa: E402
import signalling  # noqa: E402
import soak  # noqa: E402
import threads  # noqa: E402
import verdict  # noqa: E402

import media  # noqa: E402
import recorded  # noqa: E402
import sms  # noqa: E402
import store  # noqa: E402

BUILD = ROOT / "build" / "bench"
FIGURES = BUILD / "figures.json"
PAGE = ROOT / "docs" / "performance.md"


def machine() -> str:
    """The processor, the number of cores and the kernel."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{cores} virtual cores ({model or platform.machine()}), Linux {platform.release().split('-')[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="media,signalling,registering,recorded,store,verdict")
    parser.add_argument("--beside", type=Path, metavar="PROGRAM", help="the load generator to compare ours with")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that it works, not for figures")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    wanted = options.only.split(",")
    if "media" in wanted:
        figures["media"] = media.run(BUILD, repeat=1 if options.quick else 3, duration_s=3 if options.quick else 8)
    if "flat" in wanted:
        figures["flat"] = flat.run(BUILD, **({"duration_s": 3, "rounds": 1} if options.quick else {}))
    if "soak" in wanted:
        figures["soak"] = asyncio.run(soak.run(BUILD, **({"calls": 50, "duration_s": 10, "every_s": 2} if options.quick else {})))
    if "threads" in wanted:
        figures["threads"] = threads.run(BUILD)
    if "agreement" in wanted:
        if options.beside is None:
            parser.error("agreement needs --beside PROGRAM")
        figures["agreement"] = agreement.run(BUILD, options.beside, rounds=1 if options.quick else 5)
    if "signalling" in wanted:
        rates = (25, 50) if options.quick else (25, 50, 100, 150, 200, 250, 300)
        figures["signalling"] = [asdict(r) for r in asyncio.run(signalling.run(rates, 3 if options.quick else 10))]
    if "asterisk" in wanted:
        size = {"rates": (25,), "seconds": 3, "rounds": 1} if options.quick else {}
        root = ROOT / "build" / "asterisk"
        pairs = asyncio.run(signalling.beside(root, **size))
        figures["asterisk"] = {"version": asterisk.version(root), "pairs": [asdict(pair) for pair in pairs]}
    if "registering" in wanted:
        sizes = registering.QUICK if options.quick else registering.WHOLE
        figures["registering"] = [asdict(asyncio.run(registering.run(**size))) for size in sizes]
    if "recorded" in wanted:
        figures["recorded"] = asyncio.run(recorded.run(BUILD, calls=10 if options.quick else 50, seconds=5 if options.quick else 60))
    if "store" in wanted:
        size = {"calls": 100_000, "recordings": 20_000, "asked": 50} if options.quick else {}
        figures["store"] = asyncio.run(store.run(**size))
        if not options.quick:
            few = asyncio.run(store.run(calls=200_000, recordings=store.RENEWED_AT_MOST, asked=20))
            figures["store"]["once"] += [line for line in few["once"] if "anew" in line]
    if "verdict" in wanted:
        figures["verdict"] = verdict.run()
    if "sms" in wanted:
        figures["sms"] = asyncio.run(sms.run(**({"messages": 1000, "loaded_s": 10, "kills": 2} if options.quick else {})))
    figures |= {"machine": machine(), "day": datetime.now(UTC).date().isoformat()}
    for name, text in page.TEXTS.items():
        if name in figures:
            print(f"\n{name}\n\n{text(figures[name])}")
    if not options.quick:
        FIGURES.write_text(json.dumps(figures, indent=2))
        if not options.no_write:
            print(f"written into {PAGE}: {', '.join(page.write(PAGE, figures))}")


if __name__ == "__main__":
    main()
