"""Text messages over one link, window 50, to npm's `smpp` as message centre: by the bulk endpoint, receipts, all of hushwire on one core,
received, minutes of load with an eye on memory, kill -9 twenty times.

The centre, the databases and the client that hands messages in share the machine with hushwire; CPU time is that of hushwire's own
processes, and what is pinned to one core are these. The kills are of a `hushwire sms` that is started anew at once: under a supervisor
twenty of them are ten minutes of growing pauses.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from provisioned import cpu_seconds

from tests.databases import drop_databases, fresh_databases, scratch_cluster
from tests.deployments import Deployment, start_deployment
from tests.interop.message_centre import MessageCentre, message_centre, texting
from tests.polling import until
from tests.recorded import House, made_house
from tests.services.message_roles import accept, role
from tests.services.message_texts import Carrying, numbers

AT_ONCE = 1000
NUMBER = "+493023125000"
PER_KILL = 400
WINDOW = 50
OURS = ("api", "sms", "worker", "gateway", "media")
"""The processes of `hushwire up`, without the databases."""
WARM = 1000
"""So many first: connections are made and statements planned once."""
LOAD_PER_S = 800
PARTS = "SELECT state, count(*) AS n FROM message_parts GROUP BY state"


async def counts(running: Deployment) -> dict[str, int]:
    """The parts by their states."""
    async with running.database("main") as connection:
        return {row["state"]: row["n"] for row in await connection.fetch(PARTS)}


async def hand_in(running: Deployment, first: int, count: int) -> int:
    """`count` messages by the bulk endpoint; returns how many were accepted."""
    accepted = 0
    for start in range(first, first + count, AT_ONCE):
        numbers = [{"to": f"+49151{start + n:08}"} for n in range(min(AT_ONCE, first + count - start))]
        said = await running.api().post("/v1/messages/bulk", {"text": "hello there", "from": NUMBER, "recipients": numbers})
        accepted += said["accepted"]
    return accepted


async def all_are(running: Deployment, state: str, count: int, within_s: float) -> float:
    """When all were in that state (monotonic)."""
    until = time.monotonic() + within_s
    while (found := await counts(running)).get(state, 0) < count:
        if time.monotonic() > until:
            raise AssertionError(f"{found} instead of {count} {state}")
        await asyncio.sleep(0.05)
    return time.monotonic()


async def reported(smsc: MessageCentre, what: str, count: int) -> None:
    """Returns when the centre has counted so many."""
    while (await smsc.ask("report"))[what] < count:  # noqa: ASYNC110 (another process's count)
        await asyncio.sleep(0.05)


async def run(*, messages: int = 10_000, loaded_s: float = 180.0, kills: int = 20) -> dict[str, Any]:
    """The figures of one run."""
    async with (
        message_centre(policy={"receipt": "tlv", "quiet": True}) as smsc,
        start_deployment(provisioning=texting(smsc.port, NUMBER, f"window = {WINDOW}")) as running,
    ):
        await smsc.event("bind")
        pids = {name: pid for name, pid in running.stack.children().items() if name in OURS}
        await hand_in(running, 90_000_000, WARM)
        await all_are(running, "delivered", WARM, 60)
        cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
        begun = time.monotonic()
        accepted = await hand_in(running, 0, messages)
        accepting_s = time.monotonic() - begun
        await reported(smsc, "messages", accepted + WARM)
        submitting_s = time.monotonic() - begun
        done = await all_are(running, "delivered", accepted + WARM, 300)
        used = {name: cpu_seconds(pids[name]) - before for name, before in cpu.items()}
        pinned = await on_one_core(running, smsc, pids.values(), messages)
        received = await inbound(running, smsc, messages)
        memory = await loaded(running, smsc, loaded_s)
    return {
        "messages": accepted,
        "accepted_per_s": accepted / accepting_s,
        "submitted_per_s": accepted / submitting_s,
        "receipts_per_s": accepted / (done - begun),
        "cpu_us": {name: 1e6 * seconds / accepted for name, seconds in used.items()},
        "pinned_per_s": pinned,
        **received,
        **memory,
        "kills": await killed(kills) if kills else None,
    }


async def on_one_core(running: Deployment, smsc: MessageCentre, pids: Iterable[int], count: int) -> float | None:
    """Messages a second, accepted and submitted, with all of hushwire's processes on one core together; None where there is but one.

    The databases and the centre keep every core, that one too.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        return None
    threads = [int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    before = await smsc.ask("report")
    for thread in threads:
        os.sched_setaffinity(thread, {min(cores)})
    begun = time.monotonic()
    accepted = await hand_in(running, 30_000_000, count)
    await reported(smsc, "messages", before["messages"] + accepted)
    took = time.monotonic() - begun
    for thread in threads:
        os.sched_setaffinity(thread, cores)
    await all_are(running, "delivered", before["messages"] + accepted, 300)
    return accepted / took


async def inbound(running: Deployment, smsc: MessageCentre, count: int) -> dict[str, float]:
    """Messages to a number of ours, 100 of them unacknowledged at a time."""
    before = (await smsc.ask("report"))["acknowledged"]
    begun = time.monotonic()
    smsc.do("load", count=count, first=491520000000, to="493023125000", text="hello there", window=100)
    await reported(smsc, "acknowledged", before + count)
    took = time.monotonic() - begun
    async with running.database("main") as connection:
        rows = await connection.fetchval("SELECT count(*) FROM messages WHERE direction = 'inbound'")
    return {"inbound_per_s": count / took, "inbound_lost": count - rows}


async def loaded(running: Deployment, smsc: MessageCentre, duration_s: float) -> dict[str, float]:
    """The memory of `sms` (MB) while messages go out and come in for minutes: once it is under load, at its most, and at the end."""
    pid = running.stack.children()["sms"]
    before = (await counts(running))["delivered"]
    smsc.do("load", count=int(duration_s * LOAD_PER_S / 4), first=491530000000, to="493023125000", text="hello there", window=20)
    begun, handed, seen = time.monotonic(), 0, []
    while (now := time.monotonic() - begun) < duration_s:
        # A thousand at a time, as the rate has it, and never more than two thousand ahead of the receipts.
        if handed <= now * LOAD_PER_S and handed - ((await counts(running))["delivered"] - before) <= AT_ONCE:
            handed += await hand_in(running, 10_000_000 + handed, AT_ONCE)
        seen.append(resident_mb(pid))
        await asyncio.sleep(0.2)
    rate = ((await counts(running))["delivered"] - before) / duration_s
    await all_are(running, "delivered", before + handed, 300)
    settled = seen[len(seen) // 4 :]
    return {"loaded_s": duration_s, "loaded_per_s": rate, "mb_first": settled[0], "mb_most": max(settled), "mb_last": settled[-1]}


def resident_mb(pid: int) -> float:
    """What a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def killed(kills: int) -> dict[str, int]:
    """kill -9 of the process that holds the link, again and again while it sends, each at a moment of chance; it begins anew at once.

    What is in doubt after a kill and was not before it: parts that were being sent, and those whose answer never came.
    """
    folder = Path(tempfile.mkdtemp(prefix="hushwire-bench-"))
    scratch = ExitStack()
    try:
        databases = await fresh_databases(await asyncio.to_thread(scratch.enter_context, scratch_cluster()))
        try:
            return await _killed(await made_house(databases, folder), kills)
        finally:
            await drop_databases(databases)
    finally:
        await asyncio.to_thread(scratch.close)
        shutil.rmtree(folder, ignore_errors=True)


async def _killed(house: House, kills: int) -> dict[str, int]:
    here = Carrying(house)

    async def counted() -> dict[str, int]:
        async with (await house.main("worker")).organisation(house.org) as connection:
            return {row["state"]: row["n"] for row in await connection.fetch(PARTS)}

    def in_doubt(counts: dict[str, int]) -> int:
        return counts.get("sending", 0) + counts.get("unknown", 0)

    most = accepted = 0
    async with message_centre(policy={"receipt": "tlv", "quiet": True}) as smsc:
        await here.provision(smsc.port, window=WINDOW, unknown_after_s=8, when_unknown="resend")
        centre = await here.centre_id()
        for _ in range(kills):
            accepted += len(await accept(house, centre, numbers(PER_KILL, 4915100000000 + accepted)))
            before, had = in_doubt(await counted()), (await smsc.ask("report"))["messages"]
            wanted = had + random.randrange(PER_KILL // 10, PER_KILL)

            async def has_sent(wanted: int = wanted) -> bool:
                return bool((await smsc.ask("report"))["messages"] >= wanted)

            async with role(house):  # which ends by SIGKILL
                await until(has_sent, timeout_s=90, every_s=0.005)
                await asyncio.sleep(random.uniform(0.0, 0.02))
            most = max(most, in_doubt(await counted()) - before)
        async with role(house):

            async def is_over() -> bool:
                return await counted() == {"delivered": accepted}

            await until(is_over, timeout_s=300, every_s=0.2, what="all delivered")
        report = await smsc.ask("report")
    return {"kills": kills, "most_in_doubt": most, "lost": accepted - report["distinct"], "doubled": report["doubled"]}
