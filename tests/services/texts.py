"""What tests of texts share: a whole gateway, the worker's share beside it, and phones that text."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hushwire.app.sources import SystemRandom
from hushwire.services.message_bodies import MessageBodies
from hushwire.services.text_reading import TextAnswering
from hushwire.sip import effects as sip
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri, parse_sip_uri
from hushwire.transport.endpoint import SipEndpoint
from tests.databases import Databases
from tests.recorded import House
from tests.services.running import HOST, NODE, ROOT, Peer, World, running


@asynccontextmanager
async def answering_worker(world: World) -> AsyncIterator[House]:
    """A worker that opens texts for gateways."""
    house = House(world.databases, ROOT, world.folder, world.organisation.id, NODE)
    main = await house.main("worker")
    bodies = MessageBodies(main, await house.keyring("worker"), house.clock, SystemRandom())
    reading, bell = TextAnswering(main, bodies, house.clock), asyncio.Event()
    await main.listen("hushwire_work", lambda _topic: bell.set())

    async def work() -> None:
        while True:
            bell.clear()
            await reading.answer_all()
            await bell.wait()

    task = asyncio.create_task(work())
    try:
        yield house
    finally:
        task.cancel()
        assert not (await asyncio.gather(task, return_exceptions=True)) or task.cancelled(), task


@asynccontextmanager
async def texting(databases: Databases, folder: Path, **more: Any) -> AsyncIterator[tuple[World, House]]:
    """A gateway and such a worker."""
    async with running(databases, folder, **more) as world, answering_worker(world) as house:
        yield world, house


class TextPhone:
    """A phone that texts, by our own engine; `status` is what it answers to a text. What it got is in `texts`."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.status = 200
        self.refuses: dict[bytes, int] = {}
        """What it answers to texts of these words."""
        self.texts: asyncio.Queue[Request] = asyncio.Queue()
        self.responses: asyncio.Queue[sip.Responded] = asyncio.Queue()
        self._sorting = asyncio.create_task(self._sort())

    @classmethod
    async def open(cls, world: World, user: str, *, port: int | None = None, instance: str | None = None) -> "TextPhone":
        """Registered, at this gateway or the one of that port."""
        peer = await Peer.open(port or world.port)
        world.peers.append(peer)
        assert await peer.register(user, instance=instance) == 200
        return cls(peer)

    @property
    def endpoint(self) -> SipEndpoint:
        return self.peer.endpoint

    async def _sort(self) -> None:
        while True:
            event = await self.peer.events.get()
            if isinstance(event, sip.RequestReceived) and event.request.method == "MESSAGE":
                self.texts.put_nowait(event.request)
                if status := self.refuses.get(event.request.body, self.status):
                    self.endpoint.respond(event.tx, status)
            elif isinstance(event, sip.Responded):
                self.responses.put_nowait(event)

    async def text(
        self, to: str, body: str | bytes, content_type: str = "text/plain", headers: tuple[Line, ...] = (), **more: Any
    ) -> sip.Responded:
        """The answer to a text."""
        peer = self.peer
        uri = parse_sip_uri(to if to.startswith("sip:") else f"sip:{to}@{HOST}")
        data = body if isinstance(body, bytes) else body.encode()
        self.endpoint.send(
            "MESSAGE", hop=peer.hop, uri=uri, from_=NameAddr(SipUri(HOST, peer.user)), to=NameAddr(uri), body=data,
            content_type=content_type, credentials=peer.credentials, headers=headers, **more,
        )  # fmt: skip
        async with asyncio.timeout(20):
            return await self.responses.get()

    async def got(self, timeout_s: float = 10) -> Request:
        """The next text."""
        async with asyncio.timeout(timeout_s):
            return await self.texts.get()

    async def register(self, expires_s: int = 300) -> None:
        """Register again, or with 0 leave."""
        peer = self.peer
        contact, name = NameAddr(SipUri("127.0.0.1", peer.user, peer.local_port)), NameAddr(SipUri(HOST, peer.user))
        self.endpoint.send(
            "REGISTER", hop=peer.hop, uri=SipUri(HOST), from_=name, to=name, contact=contact, credentials=peer.credentials,
            headers=[("Expires", str(expires_s))],
        )  # fmt: skip
        async with asyncio.timeout(10):
            assert (await self.responses.get()).status == 200


def said(request: Request) -> tuple[str, str]:
    """Who wrote it, and what."""
    return str(request.from_.uri), request.body.decode()


def reason(answer: sip.Responded) -> str:
    """The words of the Reason header."""
    assert answer.response is not None
    return answer.response.headers.get("Reason") or ""
