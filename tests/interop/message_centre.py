"""A message centre of npm's `smpp` package, as a child process: what it shall do, and what happened to it."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.polling import until

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "build" / "smsc" / "node_modules"
PROGRAM = Path(__file__).parent / "smsc" / "smsc.cjs"
PROVISIONING = """\
[[message_centres]]
name = "smsc"
system_id = "esme"
password = "secret"
links = [{{{{ host = "127.0.0.1", port = {port}, tls = false }}}}]
{more}
[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
allowed_countries = ["DE"]
limits = "off"
[[orgs.agents]]
username = "anna"
[[orgs.numbers]]
number = "{ours}"
to = "anna"
[[orgs.api_keys]]
name = "owner"
role = "owner"
"""


def texting(port: int, ours: str, more: str = "") -> str:
    """What `start_deployment` provisions: an agent who texts from the number `ours` by the centre at `port`; `more`: keys of it."""
    return PROVISIONING.format(port=port, ours=ours, more=more)


def need_centre() -> None:
    """Skips the test where the package was not installed; in CI that is a failure."""
    if not (MODULES / "smpp").exists() or shutil.which("node") is None:
        missing = "the message centre is not installed: run `make build/smsc/node_modules/smpp/package.json`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@dataclass
class MessageCentre:
    """The running centre. `said`: every line that it printed."""

    process: asyncio.subprocess.Process
    port: int
    said: list[dict[str, Any]] = field(default_factory=list)

    def do(self, what: str, **fields: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **fields}).encode() + b"\n")

    def policy(self, **fields: Any) -> None:
        self.do("policy", policy=fields)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["event"] == name]

    async def event(self, name: str, count: int = 1, timeout_s: float = 20.0) -> dict[str, Any]:
        """The `count`-th event of that name, once it is there."""
        await until(lambda: len(self.events(name)) >= count, timeout_s=timeout_s, what=f"{count} x {name}")
        return self.events(name)[count - 1]

    async def ask(self, what: str) -> dict[str, Any]:
        """`report` or `taken`, as of now."""
        before = len(self.events(what))
        self.do(what)
        return await self.event(what, before + 1)


@asynccontextmanager
async def message_centre(port: int = 0, **given: Any) -> AsyncIterator[MessageCentre]:
    """One that listens, on any free port or on this one."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(PROGRAM),
        json.dumps({"port": port, **given}),
        env={**os.environ, "NODE_PATH": str(MODULES)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())
    centre = MessageCentre(process, first["port"])

    async def read() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            centre.said.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield centre
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(reading, return_exceptions=True)
