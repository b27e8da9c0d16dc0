"""A whole gateway in the test's own process, on real databases and a real hushwire-media, with SIP peers around it."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest

from hushwire.app.config import Config, load
from hushwire.app.folders import Folders
from hushwire.app.gateway import Gateway
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.app.wiring import Wired
from hushwire.calls.ends import fresh_keys
from hushwire.core.ids import NodeId
from hushwire.sdp.offer_answer import Codec, Direction, LegMedia, LocalMedia, Refusal, Srtp, accept_answer, answer_offer, build_offer
from hushwire.services.provisioning import Provisioning
from hushwire.services.provisioning_specs import AgentSpec, Desired, GroupSpec, NumberSpec, OrgSpec, TrunkSpec
from hushwire.services.snapshot import Organisation
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey, InviteId
from hushwire.sip.flow import Target, Transport
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr, SipUri, parse_sip_uri
from hushwire.store import fraud
from hushwire.store.database import Database
from hushwire.store.provisioning import OrgRow
from hushwire.transport.endpoint import EndpointConfig, Listen, SipEndpoint
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from tests.databases import Databases
from tests.polling import until

DOMAIN = "voice.example.org"
HOST = f"acme.{DOMAIN}"
ANNA_NUMBER = "+493023125000"
GROUP_NUMBER = "+493023125600"
FAR_NUMBER = "+493023125999"
NODE = NodeId(UUID(int=7))
ROOT = RootKey(bytes(range(32)))
PROGRAM = shutil.which("hushwire-media") or str(Path(sys.executable).parent / "hushwire-media")
E = TypeVar("E")


class _Wired(Wired):
    """Nobody waits on a pipe here."""

    def ready(self, addresses: Any = None) -> None:
        pass


def specs(carrier_port: int, **org: Any) -> Desired:
    row = replace(OrgRow("acme", "Acme", "DE", "eu", "all", "required", False, "refuse", None, ("DE", "GB"), ()), **org)
    anna = AgentSpec("anna", "agent", "101", ANNA_NUMBER, "annas-password", False)
    ben = AgentSpec("ben", "agent", "102", None, "bens-password", False)
    sue = AgentSpec("sue", "supervisor", "103", None, "sues-password", False)
    trunk = TrunkSpec("carrier", f"sip:127.0.0.1:{carrier_port};transport=udp", "never", None, None, (), "auto")
    numbers = (NumberSpec(ANNA_NUMBER, "anna"), NumberSpec(GROUP_NUMBER, None, group="sales"))
    sales = GroupSpec("sales", "600", "parallel", 60, False, ("anna", "ben"))
    support = GroupSpec("support", "601", "serial", 5, False, ("anna", "ben", "sue"))
    return Desired((trunk,), (OrgSpec(row, (anna, ben, sue), numbers, (), groups=(sales, support)),))


async def _nothing() -> None:
    pass


@dataclass
class MediaProgram:
    """One hushwire-media."""

    folder: Path
    options: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None

    @property
    def socket(self) -> Path:
        return Folders(self.folder).media_socket

    async def start(self) -> None:
        (self.folder / "spool").mkdir(exist_ok=True)
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            PROGRAM, "--socket", str(self.socket), "--spool", str(self.folder / "spool"), "--address", "127.0.0.1", *self.options,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stderr is not None
        while b"media.ready" not in (line := await self.process.stderr.readline()):
            assert line, "hushwire-media ended"
        self._reading = asyncio.create_task(self._read(self.process.stderr))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while await stream.readline():
            pass

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        await self._reading

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
            await self._reading


@dataclass
class World:
    """Databases, the media program, and what is needed to start gateways on them."""

    databases: Databases
    folder: Path
    media: MediaProgram
    provisioning: Provisioning
    owner: Database
    carrier: "Peer"
    gateway: Gateway
    wired: Wired
    task: asyncio.Task[None]
    peers: list["Peer"] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.gateway.endpoint.addresses[Transport.UDP].port

    @property
    def organisation(self) -> Organisation:
        """The gateway's newest snapshot of the only organisation."""
        found = self.gateway.directory.default_organisation
        assert found is not None
        return found

    async def peer(self, user: str | None = None, transport: Transport = Transport.UDP) -> "Peer":
        """A phone; registered where a user is named."""
        phone = await Peer.open(self.port)
        self.peers.append(phone)
        if user is not None:
            await phone.register(user)
        return phone

    async def rows(self, table: str, order: str = "id") -> list[asyncpg.Record]:
        """All rows, seen as the cluster's administrator."""
        connection = await asyncpg.connect(self.databases.dsn("main", "administrator"))
        try:
            return await connection.fetch(f"SELECT * FROM {table} ORDER BY {order}")
        finally:
            await connection.close()

    async def limit(self, level: str = "each-agent", subject: UUID | None = None, **bounds: Any) -> None:
        """Set limits of calls (policy/limits.py), and wait until the gateway obeys them."""
        org = self.organisation
        said = {name.replace("_", "-"): bound for name, bound in bounds.items()}
        async with self.owner.organisation(org.id) as connection:
            assert await fraud.put_limits(connection, org.id, level, subject or org.id, said, SystemClock().now())
        await until(lambda: self.organisation.rules.version > org.rules.version, what="the gateway knows the limits")

    async def row(self, table: str, **wanted: Any) -> asyncpg.Record:
        """The only row, once its columns are these."""

        async def found() -> asyncpg.Record | None:
            rows = await self.rows(table)
            return rows[0] if len(rows) == 1 and all(rows[0][name] == value for name, value in wanted.items()) else None

        result = await until(found, what=f"the row of {table} with {wanted}")
        assert result is not None
        return result

    async def restart(self, **environ: str) -> None:
        """A new gateway on the same folder and databases, after the old one was dropped without a word (as kill -9 leaves it)."""
        self.gateway, self.wired, self.task = await start_gateway(self.databases, self.folder, **environ)

    async def abandon(self) -> None:
        """End the gateway as kill -9 would: no BYE, no rows, and no journal of its calls."""
        self.gateway.calling.table.calls.clear()
        for path in self.wired.folders.journal.iterdir():
            path.unlink()
        self.wired.stop.set()
        await self.task

    async def kill(self) -> None:
        """End the gateway as kill -9 would: it says and writes nothing from now on."""
        self.gateway.journal.close()
        # What the media process says meanwhile is for the next gateway: to this one its bridges would look like nobody's.
        self.gateway.orphans._end_all = _nothing  # type: ignore[method-assign]
        self.gateway.calling.table.calls.clear()
        self.wired.stop.set()
        await self.task


async def start_gateway(
    databases: Databases, folder: Path, node: NodeId = NODE, **environ: str
) -> tuple[Gateway, Wired, asyncio.Task[None]]:
    config: Config = load(None, {"HUSHWIRE_DATA__DIR": str(folder), "HUSHWIRE_SIP__LISTEN": '["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]',
                                 "HUSHWIRE_SIP__DOMAIN": DOMAIN, "HUSHWIRE_LIMITS__REQUESTS_PER_SECOND": "10000",
                                 "HUSHWIRE_LIMITS__REQUESTS_PER_SECOND_PER_CREDENTIAL": "10000", **environ})  # fmt: skip
    keys = ROOT.role_keys(opener=False)
    keyring_db = await databases.connect("keyring", "gateway")
    wired = _Wired(
        role="gateway", config=config, folders=Folders(folder), node_id=node, clock=SystemClock(), random=SystemRandom(), keys=keys,
        main=await databases.connect("main", "gateway", max_size=8), keyring_db=keyring_db, keyring=Keyring(keyring_db, keys),
    )  # fmt: skip
    gateway = Gateway(wired)
    task = asyncio.create_task(gateway.run())
    await until(lambda: task.done() or gateway.is_ready, timeout_s=15, what="the gateway is ready")
    if task.done():
        task.result()
    return gateway, wired, task


@asynccontextmanager
async def running(
    databases: Databases, folder: Path, *media_options: str, environ: dict[str, str] | None = None, **org: Any
) -> AsyncIterator[World]:
    buckets = folder / "buckets"
    buckets.mkdir()
    main, keyring_db = await databases.connect("main"), await databases.connect("keyring")
    owner = Keyring(keyring_db, ROOT.role_keys(opener=True, buckets=buckets))
    await owner.establish()
    provisioning = Provisioning(main, owner, SystemClock(), SystemRandom(), DOMAIN)
    carrier = await Peer.open(0)
    await provisioning.apply(specs(carrier.local_port, **org))
    media = MediaProgram(folder, media_options)
    await media.start()
    try:
        gateway, wired, task = await start_gateway(databases, folder, **environ or {})
    except BaseException:
        await carrier.endpoint.close()
        await media.stop()
        raise
    world = World(databases, folder, media, provisioning, main, carrier, gateway, wired, task)
    carrier.gateway_port = world.port
    try:
        yield world
    finally:
        world.wired.stop.set()
        await asyncio.gather(world.task, return_exceptions=True)
        for peer in (carrier, *world.peers):
            await peer.endpoint.close()
        await media.stop()


def local_media(port: int = 40000, *, keys: bool = True, codecs: tuple[Codec, ...] | None = None, version: int = 1) -> LocalMedia:
    made = LocalMedia("127.0.0.1", port, port + 1, fresh_keys(SystemRandom()) if keys else {}, 1, version)
    return made if codecs is None else replace(made, codecs=codecs)


class Peer:
    """A phone or carrier: an endpoint of our own engine, its events in order."""

    def __init__(self, gateway_port: int) -> None:
        self.gateway_port = gateway_port
        self.events: asyncio.Queue[sip.Event] = asyncio.Queue()
        config = EndpointConfig((Listen(Transport.UDP, "127.0.0.1", 0),), rate_per_s=1e6, burst=1e6, product="peer")
        self.endpoint = SipEndpoint(config, SystemClock(), SystemRandom(), self.events.put_nowait)
        self.user = "somebody"
        self.credentials: Credentials | None = None
        self.offer = b""
        self.local: LocalMedia | None = None

    @classmethod
    async def open(cls, gateway_port: int) -> "Peer":
        made = cls(gateway_port)
        await made.endpoint.start()
        return made

    @property
    def local_port(self) -> int:
        return self.endpoint.addresses[Transport.UDP].port

    @property
    def hop(self) -> Target:
        return Target(Transport.UDP, "127.0.0.1", self.gateway_port)

    async def expect(self, kind: type[E], timeout_s: float = 30.0) -> E:
        """The next event, which must be of this kind."""
        async with asyncio.timeout(timeout_s):
            event = await self.events.get()
        assert isinstance(event, kind), f"expected {kind.__name__}, got {event}"
        return event

    async def ends(self, timeout_s: float = 30.0) -> sip.DialogEnded:
        """The end of a call, whatever is asked before it: who sends no sound for 2 s is sent a re-INVITE."""
        async with asyncio.timeout(timeout_s):
            while not isinstance(event := await self.events.get(), sip.DialogEnded):
                assert isinstance(event, sip.RequestReceived), event
        return event

    async def register(self, user: str, expires: int = 300, credentials: Credentials | None = None, instance: str | None = None) -> int:
        self.user, self.credentials = user, credentials or Credentials(user, f"{user}s-password")
        contact = NameAddr(SipUri("127.0.0.1", user, self.local_port))
        if instance is not None:
            contact = contact.with_param("+sip.instance", instance)
        name = NameAddr(SipUri(HOST, user))
        self.endpoint.send("REGISTER", hop=self.hop, uri=SipUri(HOST), from_=name, to=name, contact=contact,
                           credentials=self.credentials, headers=[("Expires", str(expires))])  # fmt: skip
        return (await self._answered()).status

    async def _answered(self, timeout_s: float = 30.0) -> sip.Responded:
        """The next answer; what comes before it, as texts do that waited for this phone, is left for who expects it."""
        before: list[sip.Event] = []
        async with asyncio.timeout(timeout_s):
            while not isinstance(event := await self.events.get(), sip.Responded):
                before.append(event)
        for one in before:
            self.events.put_nowait(one)
        return event

    def invite(self, to: str, *, srtp: Srtp = Srtp.REQUIRED, body: bytes | None = None, local: LocalMedia | None = None,
               headers: Iterable[Line] = ()) -> InviteId:  # fmt: skip
        """Call; the offer is kept for `answer_of`."""
        self.local = local or local_media(keys=srtp is not Srtp.NEVER)
        self.offer = build_offer(self.local, srtp) if body is None else body
        uri = parse_sip_uri(to if to.startswith("sip:") else f"sip:{to}@{HOST}")
        return self.endpoint.invite(hop=self.hop, uri=uri, from_=NameAddr(SipUri(HOST, self.user)), to=NameAddr(uri), body=self.offer,
                                    credentials=self.credentials, headers=headers)  # fmt: skip

    def answer_of(self, response: Any) -> LegMedia:
        """What the response's answer agreed on."""
        assert self.local is not None
        media = accept_answer(self.offer, response.body, self.local)
        assert not isinstance(media, Refusal), media
        return media

    def accept(self, event: sip.RequestReceived, *, srtp: Srtp = Srtp.NEVER, local: LocalMedia | None = None,
               direction: Direction = Direction.SENDRECV) -> tuple[DialogKey, LegMedia]:  # fmt: skip
        """Answer an INVITE with 200; the dialog and what was agreed on."""
        local = local or local_media(41000, keys=srtp is not Srtp.NEVER)
        outcome = answer_offer(event.request.body, local, srtp, direction=direction)
        assert not isinstance(outcome, Refusal), outcome
        dialog = self.endpoint.respond(event.tx, 200, body=outcome.body)
        assert dialog is not None
        return dialog, outcome.media


async def until_ended(peer: Peer) -> sip.DialogEnded:
    """These peers send no sound, so that hushwire may ask them to use other ports before the call ends."""
    async with asyncio.timeout(10):
        while not isinstance(event := await peer.events.get(), sip.DialogEnded):
            assert isinstance(event, sip.InDialogRequest)
            assert event.request.method == "INVITE"
            peer.endpoint.respond(event.tx, 491)
    return event


def facts(row: asyncpg.Record, column: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(row[column])
    return loaded


need_program = pytest.mark.skipif(not Path(PROGRAM).exists(), reason="hushwire-media is not built: run `make setup`")
