"""A carrier's links at work on real rows, with texts that stand beside them instead of being kept."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from hushwire.core.errors import Unavailable
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.personal import Personal
from hushwire.services.carriage import Change, Inbound
from hushwire.services.message_carriers import Means, MessageCarriers
from hushwire.services.message_runs import Run
from hushwire.services.provisioning_centres import CentreSpec, apply_centres
from hushwire.sms.text.segmentation import Segment, Style
from hushwire.store import message_parts
from hushwire.store.database import Connection
from hushwire.transport.lookups import Lookups
from hushwire.transport.message_link import BackOff
from tests.polling import until
from tests.recorded import Chance, House

SENDER = "+493023125000"


@dataclass(frozen=True)
class Text:
    source: Personal[str]
    destination: Personal[str]
    parts: tuple[Segment, ...]


@dataclass
class Texts:
    """Bodies and Inbox: what is to be sent, what changed, and what came in."""

    messages: dict[UUID, Text] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    received: list[Inbound] = field(default_factory=list)
    refused: set[bytes] = field(default_factory=set)
    is_away: bool = False
    unreadable: set[OrgId] = field(default_factory=set)
    """Organisations whose rows the database does not give out."""
    may_commit: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_commit.set()

    async def open(self, org_id: OrgId, message_ids: Sequence[UUID], style: Style) -> Mapping[UUID, Text]:
        if org_id in self.unreadable:
            raise asyncpg.DataCorruptedError("not this row")
        return {one: self.messages[one] for one in message_ids if one in self.messages}

    async def advance(self, connection: Connection, org_id: OrgId, changes: Sequence[Change]) -> None:
        assert len({(change.message_id, change.part) for change in changes}) == len(changes)
        self.changes += changes

    async def receive(self, centre_id: UUID, texts: Sequence[Inbound]) -> frozenset[int]:
        await self.may_commit.wait()
        if self.is_away:
            raise Unavailable("away")
        taken = [place for place, text in enumerate(texts) if text.payload.reveal() not in self.refused]
        self.received += [texts[place] for place in taken]
        return frozenset(taken)


@dataclass
class Carrying:
    """The carriers of one process, the rows that they work on, and what they told."""

    house: House
    texts: Texts = field(default_factory=Texts)
    carriers: MessageCarriers = None  # type: ignore[assignment]
    run: Run = None  # type: ignore[assignment]
    beating: asyncio.Task[None] | None = None
    failures: list[BaseException] = field(default_factory=list)
    there: set[UUID] = field(default_factory=set)
    """The carriers by https that answer when they are asked."""

    async def stop(self) -> None:
        """Leave the centres. A process that was taken for dead meanwhile has ended its beats itself."""
        if self.beating is not None:
            self.beating.cancel()
            await asyncio.gather(self.beating, return_exceptions=True)
            await self.carriers.stop()

    async def asked(self, ids: Collection[UUID]) -> set[UUID]:
        return self.there & set(ids)

    async def provision(self, port: int, *, name: str = "smsc", links: Sequence[Mapping[str, Any]] = ({},), **said: Any) -> None:
        """A carrier whose links lead to this port unless they say otherwise."""
        password, prefixes = said.pop("password", "secret"), said.pop("prefixes", ())
        made = [{"host": "127.0.0.1", "port": port, "tls": False, **link} for link in links]
        settings = {"system_id": "esme", "enquire_every_s": 1, "answer_within_s": 2, "links": made, **said}
        owner = await self.house.db("main", "owner")
        keys = await (await self.house.keyring("owner")).deployment()
        async with owner.transaction() as connection:
            spec = CentreSpec(name, "smpp", 0, 1, prefixes, settings, password)
            await apply_centres(connection, [spec], keys, self.house.clock.now(), Chance(), prune=False)

    async def start(self, verified: ssl.SSLContext | None = None, pinned: ssl.SSLContext | None = None) -> None:
        """A process that holds the links, after whatever was there before."""
        house, clock = self.house, self.house.clock
        main, keyring = await house.main("worker"), await house.keyring("worker")
        tls = ssl.create_default_context()
        means = Means(Lookups(), clock, Chance(), verified or tls, pinned or tls, BackOff(0.05, 0.2, 0.1))
        self.run = Run(uuid7(int(clock.now().timestamp() * 1000), secrets.token_bytes(10)), house.node, main, clock)
        self.carriers = MessageCarriers(means, self.run, main, keyring, self.texts, self.texts, self.failures.append, self.asked)
        await self.run.begin()
        if self.beating is not None:
            self.beating.cancel()  # of one that was killed
        self.beating = asyncio.create_task(self.run.keep_beating())
        await self.carriers.upkeep()
        await self.carriers.follow()

    async def centre_id(self, name: str = "smsc") -> UUID:
        async with (await self.house.main("worker")).transaction() as connection:
            found: UUID = await connection.fetchval("SELECT id FROM message_centres WHERE name = $1", name)
        return found

    async def bound(self, links: int = 1) -> None:
        await until(lambda: sum(link.is_bound for one in self.carriers.carriers for link in one.links) >= links, what="links bound")

    async def send(self, *numbers: str, **more: Any) -> list[UUID]:
        """`send_before`, told to the links at once."""
        ids = await self.send_before(*numbers, **more)
        self.carriers.woken()
        return ids

    async def send_before(
        self, *numbers: str, text: bytes = b"hello", expires_at: datetime | None = None, parts: int = 1, **more: Any
    ) -> list[UUID]:
        """Messages to these numbers, put into the outbox in one transaction."""
        ids = [uuid7(int(self.house.clock.now().timestamp() * 1000), secrets.token_bytes(10)) for _ in numbers]
        for one, number in zip(ids, numbers, strict=True):
            segments = tuple(Segment(text, more.get("coding", 0), more.get("udh", False), more.get("sar")) for _ in range(parts))
            self.texts.messages[one] = Text(Personal(more.get("source", SENDER)), Personal(number), segments)
        centre, now, org = await self.centre_id(), self.house.clock.now(), more.get("org", self.house.org)
        async with (await self.house.main("worker")).organisation(org) as connection:
            await connection.executemany(
                "INSERT INTO messages (id, org_id, direction, channel, state, created_at, parts)"
                " VALUES ($1, $2, 'outbound', 'sms', 'queued', $3, $4)",
                [(one, org, now, parts) for one in ids],
            )
            others = dict.fromkeys(ids, more.get("others", ()))
            await message_parts.enqueue_all(connection, org, [(one, parts, centre) for one in ids], now, expires_at, others)
        return ids

    async def states(self, org: OrgId | None = None) -> dict[UUID, str]:
        async with (await self.house.main("worker")).organisation(org or self.house.org) as connection:
            rows = await connection.fetch("SELECT message_id, state FROM message_parts")
        return {row["message_id"]: row["state"] for row in rows}

    async def is_state(self, ids: Sequence[UUID], state: str, *, timeout_s: float = 20.0, org: OrgId | None = None) -> None:
        """Wait until all these messages are in that state."""

        async def are() -> bool:
            states = await self.states(org)
            return all(states[one] == state for one in ids)

        await until(are, timeout_s=timeout_s, what=f"state {state}")

    async def pass_time(self, seconds: float) -> None:
        """Move the clocks, and do what is due: a process whose last beat is too long ago sends nothing."""
        self.house.clock.ahead += timedelta(seconds=seconds)
        await self.run.beat()
        await self.carriers.upkeep()

    def errors(self, message_id: UUID) -> list[str | None]:
        return [change.error for change in self.texts.changes if change.message_id == message_id]


@asynccontextmanager
async def carrying(house: House) -> AsyncIterator[Carrying]:
    """One that is stopped at the end; nothing unexpected may have happened."""
    made = Carrying(house)
    try:
        yield made
    finally:
        await made.stop()
    assert not made.failures, made.failures


def numbers(count: int, first: int = 493000000000) -> list[str]:
    return [f"+{first + number}" for number in range(count)]
