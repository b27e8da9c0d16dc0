"""Phones that we did not write subscribe: baresip and PJSUA2 to messages and presence, SIPp to dialog-info; and one that never does."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from hushwire.sip import effects as sip
from hushwire.sip.message_summary import MessageCounts
from tests.databases import Databases
from tests.interop.sipp import Sipp, expect, need, receive, reply_in_dialog
from tests.polling import until
from tests.ports import free_port
from tests.services.running import HOST, World, need_program
from tests.services.test_message_waiting import Waiting, waiting

pytestmark = [pytest.mark.interop, need_program]


class OldStack(asyncio.DatagramProtocol):
    """Before a phone that gives up at a challenge with SHA-256, instead of looking for MD5 below: takes that challenge out, and no more."""

    def __init__(self, gateway_port: int) -> None:
        self.gateway = ("127.0.0.1", gateway_port)
        self.phone: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        if source != self.gateway:
            self.phone = source
            self.transport.sendto(data, self.gateway)
        elif self.phone is not None:
            self.transport.sendto(re.sub(rb"WWW-Authenticate:[^\r]*SHA-256[^\r]*\r\n", b"", data), self.phone)


def old_stack(world: World) -> AbstractAsyncContextManager[OldStack]:
    return old_stack_towards(world.port)


@asynccontextmanager
async def old_stack_towards(port: int) -> AsyncIterator[OldStack]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(lambda: OldStack(port), ("127.0.0.1", 0))
    try:
        yield made
    finally:
        transport.close()


class Said:
    """What a program writes, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.lines.append(line.decode(errors="replace").strip())

    async def hears(self, what: Callable[[str], bool], since: int = 0, timeout_s: float = 20) -> int:
        """The number of the first line since that one that says this."""

        def found() -> int | None:
            return next((at + 1 for at, line in enumerate(self.lines) if at >= since and what(line)), None)

        try:
            at = await until(found, timeout_s=timeout_s, what="the phone says it")
        except AssertionError as error:
            error.add_note("it said:\n" + "\n".join(self.lines[since:]))
            raise
        assert at is not None
        return at

    async def ends(self) -> None:
        async with asyncio.timeout(20):
            await self.process.wait()
        await self._reading


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[Said]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = Said(process)
    try:
        yield said
    finally:
        if process.returncode is None:
            process.terminate()
        await said.ends()


async def test_baresip_is_told_its_messages_and_when_a_colleague_comes(databases: Databases, tmp_path: Path) -> None:
    modules = next((path for path in Path("/usr/lib").glob("**/baresip/modules") if (path / "mwi.so").exists()), None)
    if modules is None:
        need("baresip-with-mwi")
    async with waiting(databases, tmp_path) as at, old_stack(at.world) as router:
        await at.now_hold("anna", MessageCounts(3, 1))
        folder = tmp_path / "baresip"
        folder.mkdir()
        names = ["module g711.so", *(f"module_app {name}.so" for name in ("account", "contact", "presence", "mwi", "menu"))]
        listens = f"sip_listen 127.0.0.1:{free_port()}\nnet_interface 127.0.0.1\nmodule_path {modules}\n"
        (folder / "config").write_text(listens + "\n".join(names) + "\n")
        account = f'<sip:anna@{HOST}>;auth_user=anna;auth_pass=annas-password;outbound="sip:127.0.0.1:{router.port}";regint=300;mwi=yes\n'
        (folder / "accounts").write_text(account)
        (folder / "contacts").write_text(f'"ben" <sip:ben@{HOST}>;presence=p2p\n')
        async with program("stdbuf", "-oL", need("baresip"), "-f", str(folder)) as phone:
            told = await phone.hears(lambda line: line == "Voice-Message: 3/1 (0/0)")
            await until(lambda: len(at.world.gateway.notifier.watched("presence")) == 1, timeout_s=10, what="it watches ben")
            await at.world.peer("ben")
            await phone.hears(lambda line: line.startswith(f"<sip:ben@{HOST}> changed status") and "Online" in line)
            await at.now_hold("anna", MessageCounts(0, 4))
            await phone.hears(lambda line: line == "Messages-Waiting: no", told)
        await until(lambda: at.world.gateway.notifier.told()["subscriptions"] == 0, timeout_s=10, what="it took its leave")


def pjsua(at: Waiting, user: str, *more: str) -> tuple[str, ...]:
    proxy = f"127.0.0.1:{at.world.port}"
    return (sys.executable, "-m", "tests.interop.pjsua_watcher", "--user", user, "--host", HOST, "--password", f"{user}s-password",
            "--proxy", proxy, *more)  # fmt: skip


async def test_pjsua2_is_told_its_messages_and_that_a_colleague_is_on_the_phone(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        at.world.gateway.notifier._packages["presence"].interval_s = 0.1  # type: ignore[misc]
        await at.now_hold("anna", MessageCounts(2, 8))
        async with program(*pjsua(at, "anna", "--mwi", "--buddy", "ben")) as phone:
            await phone.hears(lambda line: "Voice-Message: 2/8" in line)
            await phone.hears(
                lambda line: line.startswith('{"event": "presence"') and not json.loads(line)["online"] and "ACTIVE" in line.upper()
            )
            ben = await at.world.peer("ben")
            online = await phone.hears(lambda line: line.startswith('{"event": "presence"') and json.loads(line)["online"])
            ben.invite("03023125999")
            incoming = await at.world.carrier.expect(sip.RequestReceived)
            await phone.hears(
                lambda line: line.startswith('{"event": "presence"') and "on the phone" in json.loads(line)["note"].lower(), online
            )
            at.world.carrier.endpoint.respond(incoming.tx, 486)
            await at.now_hold("anna", MessageCounts(0, 10))
            await phone.hears(lambda line: "Voice-Message: 0/10" in line)
            assert phone.process.stdin is not None
            phone.process.stdin.close()
            await phone.ends()
        await until(lambda: at.world.gateway.notifier.told()["subscriptions"] == 0, timeout_s=10, what="it took its leave")


async def test_pjsua2_takes_its_messages_without_having_subscribed(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at:
        await at.now_hold("anna", MessageCounts(1, 0))
        async with program(*pjsua(at, "anna")) as phone:
            first = await phone.hears(lambda line: "Voice-Message: 1/0" in line)
            assert at.world.gateway.notifier.told()["subscriptions"] == 0
            await at.now_hold("anna", MessageCounts(0, 1))
            await phone.hears(lambda line: "Voice-Message: 0/1" in line, first)


def _subscribe(cseq: int, expires_s: int, *, tag: str = "", auth: bool = False) -> str:
    lines = [
        f"SUBSCRIBE sip:101@{HOST} SIP/2.0",
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport",
        f"From: <sip:ben@{HOST}>;tag=[call_number]w",
        f"To: <sip:101@{HOST}>{tag}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} SUBSCRIBE",
        "Contact: <sip:ben@[local_ip]:[local_port]>",
        "Max-Forwards: 70",
        "Event: dialog",
        "Accept: application/dialog-info+xml",
        f"Expires: {expires_s}",
        *(["[authentication username=ben password=bens-password]"] if auth else []),
        "Content-Length: 0",
    ]
    return '<send retrans="500">\n<![CDATA[\n\n' + "\n".join(lines) + "\n\n\n]]>\n</send>"


def _notified(state: str) -> str:
    return receive("NOTIFY").replace(
        "/>",
        f"""><action>
  <ereg regexp="{state}" search_in="hdr" header="Subscription-State:" check_it="true" assign_to="state"/>
  <ereg regexp="state=.full." search_in="body" check_it="true" assign_to="document"/>
</action></recv>""",
    )


async def test_twenty_sipp_phones_subscribe_refresh_and_leave(databases: Databases, tmp_path: Path) -> None:
    async with waiting(databases, tmp_path) as at, old_stack(at.world) as router:
        await at.world.peer("anna")
        leg = [expect(200), _notified("active"), reply_in_dialog(200, "OK")]
        scenario = [_subscribe(1, 600), expect(401, auth=True), _subscribe(2, 600, auth=True), *leg]
        scenario += [_subscribe(3, 900, tag="[peer_tag_param]"), *leg, _subscribe(4, 0, tag="[peer_tag_param]")]
        scenario += [expect(200), _notified("terminated"), reply_in_dialog(200, "OK"), '<Reference variables="state,document"/>']
        sipp = await Sipp.start(
            tmp_path / "sipp",
            scenario,
            port=free_port(),
            towards=("127.0.0.1", router.port),
            calls=20,
            echo=False,
            options=("-r", "20", "-auth_uri", f"101@{HOST}"),
        )
        await sipp.succeeded()
        told = at.world.gateway.notifier.told()
        assert (told["subscriptions"], told["notified"]) == (0, 60)
