"""What a call costs the gateway: 20 agents with digest on one side, SIPp as the carrier on the other, whole calls.

INVITE, challenge, INVITE with credentials, verdict, bridge, INVITE to the trunk, 180, 200, ACK, BYE; rows and events included.
The post-dial delay runs from the agent's first INVITE to its 180, the challenge included.

`beside` measures Asterisk in the same way, by turns with the gateway, each with one core to itself and to whatever else runs there.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import asterisk
from provisioned import Bench, cpu_seconds, running
from sipclient import AgentCall, Wire

from tests.interop.sipp import Sipp, answer, invite_received, receive, reply_in_dialog, sdp
from tests.ports import free_port

AGENTS = 20
HOLD_MS = 200
MEASURED_CPU = 0
"""The core of what is measured beside Asterisk; the carrier, the agents and the databases may use all of them."""

CARRIER = [
    invite_received(), answer(180, "Ringing"), answer(200, "OK", sdp=sdp(), retransmit=True), receive("ACK"), receive("BYE"),
    reply_in_dialog(200, "OK"),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured: its process, where it takes calls (UDP), and at which port of 127.0.0.1 its carrier is expected."""

    pid: int
    address: tuple[str, int]
    carrier_port: int


def gateway_of(bench: Bench) -> Measured:
    """The gateway of a running hushwire."""
    return Measured(bench.stack.children()["gateway"], bench.stack.sip("udp"), bench.carrier_port)


@dataclass(frozen=True, slots=True)
class Result:
    """One rate: how many calls a second were asked for and finished, what they cost and how long they took to ring."""

    rate: int
    calls: int
    failed: int
    seconds: float
    cpu_ms_per_call: float
    pdd_p50_ms: float
    pdd_p99_ms: float

    @property
    def is_clean(self) -> bool:
        """No call failed, and they finished at the rate that was asked for."""
        return self.failed == 0 and self.calls / self.seconds >= 0.9 * self.rate


async def one_rate(measured: Measured, folder: Path, rate: int, seconds: float) -> Result:
    """`rate` calls a second for `seconds`."""
    calls = int(rate * seconds)
    wire = Wire()
    await wire.open()
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    failures: list[str] = []

    async def whole_call(number: int) -> None:
        call = AgentCall(wire, measured.address, f"agent{number % AGENTS}", "127.0.0.1:6000", None)
        try:
            await call.start()
            delays.append(1000 * ((call.rang_at or call.confirmed_at) - call.began))
            await asyncio.sleep(HOLD_MS / 1000)
            await call.end()
        except (TimeoutError, RuntimeError) as error:
            failures.append(str(error) or "no answer")

    async with await Sipp.start(folder, CARRIER, port=measured.carrier_port, calls=10 * calls, timeout_s=600, echo=False, traces=False):
        before, began = cpu_seconds(measured.pid), loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
                group.create_task(whole_call(number))
        took = loop.time() - began - HOLD_MS / 1000
        await asyncio.sleep(1)  # rows and events of the last calls are part of the price
        spent = cpu_seconds(measured.pid) - before
    wire.close()
    delays.sort()
    done = calls - len(failures)
    return Result(
        rate, done, len(failures), round(took, 2), round(1000 * spent / max(1, done), 3),
        round(statistics.median(delays), 2) if delays else -1, round(delays[int(0.99 * len(delays))], 2) if delays else -1,
    )  # fmt: skip


async def run(
    rates: tuple[int, ...] = (25, 50, 100, 150, 200, 250), seconds: float = 8, say: Callable[[str], None] = print
) -> list[Result]:
    """All rates up to the first that is not clean, after a short warm-up."""
    results = []
    with tempfile.TemporaryDirectory(prefix="hushwire-bench-sipp-") as name:
        async with running(AGENTS, free_port(), record="none", srtp="optional") as bench:
            gateway = gateway_of(bench)
            await one_rate(gateway, Path(name) / "warmup", 20, 2)
            for rate in rates:
                result = await one_rate(gateway, Path(name) / str(rate), rate, seconds)
                say(f"signalling {result}")
                results.append(result)
                if not result.is_clean:
                    break
    return results


@dataclass(frozen=True, slots=True)
class Pair:
    """Both at one rate, in the same round."""

    hushwire: Result
    asterisk: Result


async def beside(
    root: Path, rates: tuple[int, ...] = (50, 100, 200, 250), seconds: float = 8, rounds: int = 3, say: Callable[[str], None] = print
) -> list[Pair]:
    """Each rate in each round, hushwire and Asterisk by turns; who begins changes from round to round."""
    asterisk.unpacked(root)
    port, carrier_port = free_port(), free_port()
    pairs = []
    with tempfile.TemporaryDirectory(prefix="hushwire-bench-sipp-") as name:
        async with (
            running(AGENTS, free_port(), record="none", srtp="optional") as bench,
            asterisk.running(root, AGENTS, port, carrier_port) as pid,
        ):
            both = {"hushwire": gateway_of(bench), "asterisk": Measured(pid, ("127.0.0.1", port), carrier_port)}
            for which, measured in both.items():
                await one_rate(measured, Path(name) / f"{which}-warmup", 20, 2)
                pin(measured.pid)
            for turn in range(rounds):
                for rate in rates:
                    order = sorted(both, reverse=turn % 2 == 0)
                    results = {which: await one_rate(both[which], Path(name) / f"{which}-{turn}-{rate}", rate, seconds) for which in order}
                    pair = Pair(**results)
                    say(f"beside Asterisk {pair}")
                    pairs.append(pair)
    return pairs


def pin(pid: int) -> None:
    """All threads of a process on the measured core."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {MEASURED_CPU})


if __name__ == "__main__":
    print(json.dumps([asdict(result) for result in asyncio.run(run())], indent=2))
