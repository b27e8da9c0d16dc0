"""A running hushwire with many agents, for the benches."""

import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hushwire.app.demo.stack import Stack

PASSWORD = "bench-password"
AT_ONCE = 1000
LIMITS = """[limits]
requests_per_second = 100000
requests_per_second_per_credential = 10000
connections_per_source = 100000
"""
HEAD = """\
[[trunks]]
name = "carrier"
uri = "sip:127.0.0.1:{carrier};transport=udp"
srtp = "never"
[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
allowed_countries = ["DE", "GB"]
record = "{record}"
agent_srtp = "{srtp}"
limits = "off"
[[orgs.api_keys]]
name = "owner"
role = "owner"
"""
AGENT = """\
[[orgs.agents]]
username = "agent{n}"
role = "agent"
extension = "{extension}"
caller_id = "+493023125000"
sip_password = "{password}"
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """The running hushwire and the port at which its carrier is expected."""

    stack: Stack
    carrier_port: int


@asynccontextmanager
async def running(agents: int, carrier_port: int, *, record: str, srtp: str) -> AsyncIterator[Bench]:
    """`hushwire up` in a temporary folder with `agents` agents agent0, agent1 ... of one organisation."""
    folder = Path(tempfile.mkdtemp(prefix="hushwire-bench-"))
    folder.chmod(0o711)
    stack = await Stack.start(folder, more=LIMITS)
    try:
        head = HEAD.format(carrier=carrier_port, record=record, srtp=srtp)
        for first in range(0, agents, AT_ONCE):  # what was declared before is kept
            some = range(first, min(agents, first + AT_ONCE))
            await stack.apply(head + "".join(AGENT.format(n=n, extension=1000 + n, password=PASSWORD) for n in some))
        yield Bench(stack, carrier_port)
    finally:
        await stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    return time.clock_gettime(~pid << 3 | 2)  # the clock of another process, to the nanosecond (clock_getcpuclockid(3))
