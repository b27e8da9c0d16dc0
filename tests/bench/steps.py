"""How many functions the gateway calls for one whole call, and for one REGISTER that refreshes: a figure that no busy machine changes.

    python tests/bench/steps.py [--calls 50] [--phones 100] [--top 40] [--save FILE]

What the gateway does beside them in the same time is counted too, and taken off. A generator counts each time that it goes on, a coroutine
each time that it is woken. By package, then by function; built-in functions count where they are called.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provisioned import Bench, running
from registering import Phone, registered
from signalling import CARRIER, HOLD_MS
from sipclient import AgentCall, Wire, response

from tests.interop.sipp import Sipp
from tests.ports import free_port

PER_S = 25.0
Counts = Counter[tuple[str, str]]


async def counted(pid: int, folder: Path, work: Callable[[], Awaitable[object]]) -> Counts:
    """What the process called meanwhile, by callee and caller."""
    place = folder / f"{pid}.json"
    place.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    await work()
    os.kill(pid, signal.SIGUSR2)
    async with asyncio.timeout(60):
        while not place.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return Counter({(callee, caller or ""): count for callee, caller, count in json.loads(place.read_text())})


async def calls(bench: Bench, wire: Wire, number: int) -> None:
    """So many whole calls, and the time in which their rows are written."""

    async def one(n: int) -> None:
        call = AgentCall(wire, bench.stack.sip("udp"), f"agent{n % 20}", "127.0.0.1:6000", None)
        await call.start()
        await asyncio.sleep(HOLD_MS / 1000)
        await call.end()

    async with asyncio.TaskGroup() as group:
        for n in range(number):
            group.create_task(one(n))
            await asyncio.sleep(1 / PER_S)
    await asyncio.sleep(1)


async def run(made: int, phones: int) -> dict[str, Counts]:
    """Counts of one call and of one refresh, each as a share of all that were made."""
    with tempfile.TemporaryDirectory(prefix="hushwire-bench-steps-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        os.environ["STEPS_FOLDER"] = name
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent / "counting"), os.environ.get("PYTHONPATH", "")]).rstrip(":")
        async with running(max(20, phones), free_port(), record="none", srtp="optional") as bench:
            pid = bench.stack.children()["gateway"]
            wire = Wire(lambda text, to: wire.send(response(text, 200, "OK"), to))
            await wire.open()
            registering = [Phone(f"agent{n}") for n in range(phones)]

            async def refresh() -> None:
                await registered(registering, wire, bench.stack.sip("udp"), 4 * PER_S)
                await asyncio.sleep(1)

            async with await Sipp.start(folder, CARRIER, port=bench.carrier_port, calls=10 * made, timeout_s=600, echo=False, traces=False):
                await calls(bench, wire, 10)
                idle = await counted(pid, folder, lambda: asyncio.sleep(4))
                whole = await counted(pid, folder, lambda: calls(bench, wire, made))
            await refresh()
            await refresh()  # by the first one the gateway learns how a phone writes
            again = await counted(pid, folder, refresh)
            wire.close()
    took_s, took_again_s = made / PER_S + HOLD_MS / 1000 + 1, phones / (4 * PER_S) + 1
    return {"call": _each(whole, idle, took_s, made), "refresh": _each(again, idle, took_again_s, phones)}


def _each(counts: Counts, idle: Counts, took_s: float, number: int) -> Counts:
    """Thousandths of one."""
    left = Counter({key: round(1000 * (count - idle[key] * took_s / 4) / number) for key, count in counts.items()})
    return Counter({key: count for key, count in left.items() if count > 0})


def package(name: str) -> str:
    """Where a function belongs: a package of hushwire's, a library, or `built in`."""
    if ":" not in name:
        return "built in"
    path = name.rsplit(":", 2)[0]
    for mark in ("/hushwire/", "/site-packages/"):
        if mark in path:
            return path.rsplit(mark, 1)[1].split("/")[0]
    return "python" if "/" in path else path


def short(name: str) -> str:
    """A function's name without the folders before it."""
    for mark in ("/hushwire/", "/site-packages/", "/python3.11/"):
        name = name.rsplit(mark, 1)[-1]
    return name


def show(counts: Counts, top: int) -> None:
    """What of it is whose, and the functions that are called most; of each the three that call it most."""
    print(f"  {sum(counts.values()) / 1000:.0f} in all")
    by_package: Counter[str] = Counter()
    by_function: Counter[str] = Counter()
    for (callee, caller), count in counts.items():
        where = package(callee)
        by_package[f"{package(caller)}, built in" if where == "built in" else where] += count
        by_function[callee] += count
    for where, count in by_package.most_common(24):
        print(f"  {count / 1000:8.1f} {where}")
    for callee, count in by_function.most_common(top):
        callers = Counter({caller: n for (one, caller), n in counts.items() if one == callee})
        told = ", ".join(f"{short(caller)} {n / 1000:.1f}" for caller, n in callers.most_common(3))
        print(f"  {count / 1000:8.1f} {short(callee)}  < {told}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--phones", type=int, default=100)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--save", type=Path, help="where to write all of it as JSON")
    given = parser.parse_args()
    found = asyncio.run(run(given.calls, given.phones))
    if given.save is not None:
        given.save.write_text(json.dumps({what: [[*key, n] for key, n in counts.items()] for what, counts in found.items()}))
    for what, counts in found.items():
        print(f"one {what}")
        show(counts, given.top)
