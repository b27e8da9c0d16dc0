"""What a call costs the gateway: SIPp as 20 agents with digest on one side, SIPp as the carrier on the other, whole calls.

INVITE, challenge, INVITE with credentials, verdict, bridge, INVITE to the trunk, 180, 200, ACK, BYE; rows and events included.
The post-dial delay runs from the agent's first INVITE to its 180, the challenge included.
"""

from __future__ import annotations

import asyncio
import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provisioned import PASSWORD, Bench, cpu_seconds, running

from hushwire.app.demo.stack import DOMAIN
from tests.interop.sipp import Sipp, answer, free_port, invite_received, receive, reply_in_dialog, sdp

AGENTS = 20
HOLD_MS = 200

CALLER = f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="agent">
<send retrans="500" start_rtd="pdd"><![CDATA[

INVITE sip:+442079460123@acme.{DOMAIN} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@acme.{DOMAIN}>;tag=[call_number]a
To: <sip:+442079460123@acme.{DOMAIN}>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:[field0]@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

{sdp()}

]]></send>
<recv response="100" optional="true"/>
<recv response="401" auth="true"/>
<send><![CDATA[

ACK sip:+442079460123@acme.{DOMAIN} SIP/2.0
[last_Via:]
From: <sip:[field0]@acme.{DOMAIN}>;tag=[call_number]a
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[

INVITE sip:+442079460123@acme.{DOMAIN} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@acme.{DOMAIN}>;tag=[call_number]a
To: <sip:+442079460123@acme.{DOMAIN}>
Call-ID: [call_id]
CSeq: 2 INVITE
Contact: <sip:[field0]@[local_ip]:[local_port]>
[authentication username=[field0] password={PASSWORD}]
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

{sdp()}

]]></send>
<recv response="100" optional="true"/>
<recv response="183" optional="true"/>
<recv response="180" rtd="pdd"/>
<recv response="200" rrs="true"/>
<send><![CDATA[

ACK [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@acme.{DOMAIN}>;tag=[call_number]a
[last_To:]
Call-ID: [call_id]
CSeq: 2 ACK
[routes]
Max-Forwards: 70
Content-Length: 0

]]></send>
<pause milliseconds="{HOLD_MS}"/>
<send retrans="500"><![CDATA[

BYE [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@acme.{DOMAIN}>;tag=[call_number]a
[last_To:]
Call-ID: [call_id]
CSeq: 3 BYE
[routes]
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""

CARRIER = [
    invite_received(), answer(180, "Ringing"), answer(200, "OK", sdp=sdp(), retransmit=True), receive("ACK"), receive("BYE"),
    reply_in_dialog(200, "OK"),
]  # fmt: skip


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


async def one_rate(bench: Bench, folder: Path, rate: int, seconds: float) -> Result:
    """`rate` calls a second for `seconds`."""
    calls = int(rate * seconds)
    folder.mkdir()
    users = folder / "users.csv"
    users.write_text("SEQUENTIAL\n" + "".join(f"agent{n}\n" for n in range(AGENTS)))
    scenario = folder / "agent.xml"
    scenario.write_text(CALLER)
    host, port = bench.stack.sip("udp")
    gateway = bench.stack.children()["gateway"]
    async with await Sipp.start(
        folder / "carrier", CARRIER, port=bench.carrier_port, calls=10 * calls, timeout_s=600, echo=False, traces=False
    ):
        before, loop = cpu_seconds(gateway), asyncio.get_running_loop()
        began = loop.time()
        caller = await asyncio.create_subprocess_exec(
            "sipp", f"{host}:{port}", "-sf", str(scenario), "-inf", str(users), "-i", "127.0.0.1", "-p", str(free_port()),
            "-r", str(rate), "-m", str(calls), "-nostdin", "-nd", "-trace_rtt", "-rtt_freq", "1", "-trace_stat", "-fd", "1",
            "-stf", str(folder / "stat.csv"), "-timeout", f"{int(seconds * 3 + 40)}s", "-l", str(max(1000, 10 * rate)),
            cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await caller.wait()
        took = loop.time() - began - HOLD_MS / 1000
        spent = cpu_seconds(gateway) - before
    with (folder / "stat.csv").open() as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    done, failed = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
    delays = sorted(rtt_ms(folder))
    return Result(
        rate, done, failed, round(took, 2), round(1000 * spent / max(1, done), 3),
        round(statistics.median(delays), 2) if delays else -1, round(delays[int(0.99 * len(delays))], 2) if delays else -1,
    )  # fmt: skip


def rtt_ms(folder: Path) -> list[float]:
    """The post-dial delays that SIPp wrote."""
    found = []
    for path in folder.glob("*_rtt.csv"):
        with path.open() as file:
            for row in csv.DictReader(file, delimiter=";"):
                found.append(float(row["response_time_ms"].replace(",", ".")))
    return found


async def run(
    rates: tuple[int, ...] = (25, 50, 100, 150, 200, 250), seconds: float = 8, say: Callable[[str], None] = print
) -> list[Result]:
    """All rates up to the first that is not clean, after a short warm-up."""
    results = []
    with tempfile.TemporaryDirectory(prefix="hushwire-bench-sipp-") as name:
        async with running(AGENTS, free_port(), record="none", srtp="optional") as bench:
            await one_rate(bench, Path(name) / "warmup", 20, 2)
            for rate in rates:
                result = await one_rate(bench, Path(name) / str(rate), rate, seconds)
                say(f"signalling {result}")
                results.append(result)
                if not result.is_clean:
                    break
    return results


if __name__ == "__main__":
    print(json.dumps([asdict(result) for result in asyncio.run(run())], indent=2))
