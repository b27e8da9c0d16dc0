"""Phones that we did not write text each other through the gateway: PJSUA2 and baresip, both ways, long and in any letters."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.databases import Databases
from tests.interop.sipp import need
from tests.interop.test_subscriptions import Said, old_stack, program
from tests.polling import until
from tests.ports import free_port
from tests.services.running import HOST, World, need_program
from tests.services.texts import TextPhone, texting

pytestmark = [pytest.mark.interop, need_program]
LONG = "Ein langer Text mit Grüßen, 漢字 und 👋, der in kein Datagramm passt. " * 20


class Baresip:
    """A baresip that is told by its control port what to do. Whom it texts stands in its file of contacts."""

    def __init__(self, said: Said, writer: asyncio.StreamWriter) -> None:
        self.said = said
        self._writer = writer

    def text(self, words: str) -> None:
        command = json.dumps({"command": "message", "params": words}, ensure_ascii=False).encode()
        self._writer.write(b"%d:%s," % (len(command), command))


@asynccontextmanager
async def baresip(world: World, folder: Path, user: str, to: str, proxy: int, transport: str = "udp") -> AsyncIterator[Baresip]:
    modules = next((path for path in Path("/usr/lib").glob("**/baresip/modules") if (path / "ctrl_tcp.so").exists()), None)
    if modules is None:
        need("baresip-with-ctrl_tcp")
    folder.mkdir()
    control = free_port()
    listens = f"sip_listen 127.0.0.1:{free_port()}\nnet_interface 127.0.0.1\nmodule_path {modules}\nctrl_tcp_listen 127.0.0.1:{control}\n"
    names = ["module stdio.so", "module g711.so", *(f"module_app {name}.so" for name in ("account", "contact", "ctrl_tcp", "menu"))]
    (folder / "config").write_text(listens + "\n".join(names) + "\n")
    way = f"sip:127.0.0.1:{proxy};transport={transport}"
    (folder / "accounts").write_text(f'<sip:{user}@{HOST}>;auth_user={user};auth_pass={user}s-password;outbound="{way}";regint=300\n')
    (folder / "contacts").write_text(f'"{to}" <sip:{to}@{HOST}>\n')
    (folder / "current_contact").write_text(f"sip:{to}@{HOST}")
    async with program("stdbuf", "-oL", need("baresip"), "-f", str(folder)) as said:
        await until(lambda: registered(world, user), timeout_s=20, what="baresip registered")
        _, writer = await asyncio.open_connection("127.0.0.1", control)
        try:
            yield Baresip(said, writer)
        finally:
            writer.close()


def registered(world: World, user: str) -> int:
    return world.gateway.registrations.count(world.organisation.by_username[user].id)


class Pjsua:
    """A PJSUA2 that is told what to text."""

    def __init__(self, said: Said) -> None:
        self.said = said

    def text(self, to: str, words: str) -> None:
        assert self.said.process.stdin is not None
        self.said.process.stdin.write(json.dumps({"to": f"sip:{to}@{HOST}", "text": words}).encode() + b"\n")

    async def hears(self, since: int = 0, **wanted: object) -> int:
        def is_it(line: str) -> bool:
            return line.startswith("{") and wanted.items() <= json.loads(line).items()

        return await self.said.hears(is_it, since)


@asynccontextmanager
async def pjsua(world: World, user: str) -> AsyncIterator[Pjsua]:
    proxy = f"127.0.0.1:{world.port}"
    command = (sys.executable, "-m", "tests.interop.pjsua_texter", "--user", user, "--host", HOST, "--password", f"{user}s-password")
    async with program(*command, "--proxy", proxy) as said:
        phone = Pjsua(said)
        await phone.hears(event="registration", status=200)
        yield phone


async def test_pjsua2_and_baresip_text_each_other_long_and_in_any_letters(databases: Databases, tmp_path: Path) -> None:
    async with (
        texting(databases, tmp_path) as (world, _),
        old_stack(world) as router,
        pjsua(world, "anna") as anna,
        baresip(world, tmp_path / "ben", "ben", "anna", router.port) as ben,
    ):
        anna.text("102", "Hallo Ben, schöne Grüße 👋")
        await ben.said.hears(lambda line: "Hallo Ben, schöne Grüße 👋" in line and f"anna@{HOST}" in line)
        await anna.hears(event="status", status=200)
        ben.text("Hallo Anna, 漢字")
        await anna.hears(event="text", sender=f"<sip:ben@{HOST}>", text="Hallo Anna, 漢字", type="text/plain")
        anna.text("ben", LONG)
        # It takes all parts, and shows those that fit 512 bytes.
        await ben.said.hears(lambda line: line.endswith(f'{LONG[-40:]}"'))
        assert (await (await TextPhone.open(world, "sue")).text("anna", LONG)).status == 200
        await until(lambda: LONG in "".join(texts_of(anna.said)), what="the long text is there to its end")
        assert len(texts_of(anna.said)) > 2, "in parts, since it came and went by datagrams"


def texts_of(said: Said) -> list[str]:
    told = [json.loads(line) for line in said.lines if line.startswith("{")]
    return [one["text"] for one in told if one["event"] == "text"]


async def test_pjsua2_gets_what_baresip_texted_while_it_was_away(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _), old_stack(world) as router:
        async with baresip(world, tmp_path / "ben", "ben", "anna", router.port) as ben:
            for number in range(3):
                ben.text(f"Nummer {number}")
            await until(lambda: _wait(world, 3), what="they are stored")
        async with pjsua(world, "anna") as anna:
            at = 0
            for number in range(3):
                at = await anna.hears(at, event="text", text=f"Nummer {number}")
        await until(lambda: _wait(world, 0), what="none waits any more")


async def _wait(world: World, count: int) -> bool:
    return len(await world.rows("text_deliveries", "message_id")) == count


async def test_pjsua2_is_told_why_a_text_is_refused(databases: Databases, tmp_path: Path) -> None:
    async with texting(databases, tmp_path) as (world, _), pjsua(world, "anna") as anna:
        anna.text("0035315242000", "Irland")
        await anna.hears(event="status", status=403)
        anna.text("112", "Hilfe")
        await anna.hears(event="status", status=403)
        assert await world.rows("messages") == []
