"""Messages brought to an agent's phones by MESSAGE (RFC 3428): to all of them at once, and taken as brought by the first that takes it.

Rows say what waits (store/text_deliveries.py); a gateway looks when one is told of, when a phone of the agent registers with it, and now
and then. It claims what is due, asks for what it says, and brings it in order. Where no phone takes it, it is tried again ever later,
and at once when another phone comes. A phone that refuses a text for good is not asked to take that one again, and gets the later ones.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, OrgId
from hushwire.core.rounds import for_each
from hushwire.services.bindings import Bindings
from hushwire.services.directory import Directory
from hushwire.services.message_bodies import told
from hushwire.services.message_waiting import Send
from hushwire.services.registration import Device
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.text_reading import Said, TextAsking
from hushwire.sip import text as texts
from hushwire.sip.effects import RequestId, Responded
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr, SipUri, escape_user
from hushwire.store import messages, outbox
from hushwire.store import text_deliveries as table
from hushwire.store.database import STORE_FAILED, Database
from hushwire.store.text_deliveries import CHANNEL, Due

SILENCE_S: Final = 8.0
BATCH: Final = 5
LEASE: Final = timedelta(seconds=60)
"""Longer than a batch can take: a try ends at the first message that no phone takes."""
BACK_OFF: Final = tuple(timedelta(seconds=s) for s in (30, 120, 600, 3600))
LOOK_S: Final = 15.0
MOST_AT_ONCE: Final = 100
MOST_REFUSED: Final = 10_000
"""Texts of which is remembered which phones refused them; a phone that is forgotten is asked once more."""
_NOT_NOW: Final = frozenset((408, 423, 429, 480, 486, 487, 491, 600))
"""Of 4xx and 6xx those that say nothing of the text (RFC 3261 sections 21.4 and 21.6): it is tried again."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Brought:
    """A text as a phone is to show it. `at`: when it was said, for one that comes later."""

    sender: NameAddr = field(repr=False)
    text: str = field(repr=False)
    at: datetime | None = None


class Taking(Enum):
    """What became of a text that was brought to an agent's phones."""

    TAKEN = "taken"
    REFUSED = "refused"
    """A phone that is there does not want it, and none took it: it waits for another phone, and holds up no later one."""
    NOT_NOW = "not now"


class TextDelivery:
    """The messages that one gateway brings."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        bindings: Bindings,
        devices: Callable[[AgentId], Sequence[Device]],
        send: Send,
        asking: TextAsking,
        clock: Clock,
        random: Random,
    ) -> None:
        self._db = db
        self._directory = directory
        self._bindings = bindings
        self._devices = devices
        self._send = send
        self._asking = asking
        self._clock = clock
        self._random = random
        self._responses: dict[RequestId, asyncio.Future[int]] = {}
        self._known: dict[AgentId, frozenset[UUID]] = {}
        self._came: set[AgentId] = set()
        self._told_of: set[AgentId] = set()
        self._serving: dict[AgentId, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[Taking]] = set()
        self._refused: dict[UUID, set[Hashable]] = {}
        """Phones that want a message no more, by message."""
        self._wake = asyncio.Event()
        self.brought = 0
        """Messages that a phone took since the start."""

    # To the phones.

    async def bring(self, org: Organisation, agent: Agent, message_id: UUID, what: Brought) -> Taking:
        """Send it to all of the agent's phones that did not refuse it. The others go on being told when the first has it."""
        tasks = {
            asyncio.create_task(self._to_device(org, agent, device, message_id, what), name="text")
            for device in self._willing(agent.id, message_id)
        }  # fmt: skip
        self._others |= tasks
        for task in tasks:
            task.add_done_callback(self._others.discard)
        is_refused = False
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            results = {task.result() for task in done}
            is_refused |= Taking.REFUSED in results
            if Taking.TAKEN in results:
                self.brought += 1
                return Taking.TAKEN
        return Taking.REFUSED if is_refused else Taking.NOT_NOW

    def _willing(self, agent_id: AgentId, message_id: UUID) -> list[Device]:
        refused = self._refused.get(message_id, ())
        return [device for device in self._devices(agent_id) if _named(device) not in refused]

    def responded(self, event: Responded) -> bool:
        """Whether it is the answer to a MESSAGE of these."""
        future = self._responses.pop(event.request, None)
        if future is None:
            return False
        if not future.done():
            future.set_result(event.status)
        return True

    async def _to_device(self, org: Organisation, agent: Agent, device: Device, message_id: UUID, what: Brought) -> Taking:
        name = NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(agent.username.reveal())))
        headers: list[Line] = [("Route", value) for value in device.routes]
        if what.at is not None:
            headers.append(texts.date_line(what.at))
        pieces = [what.text]
        if not device.hop.transport.is_reliable or not device.source.transport.is_reliable:
            pieces = texts.parts(
                what.text, texts.room_of(str(device.contact), str(device.contact), str(what.sender), str(name), *device.routes)
            )
        for piece in pieces:
            request = self._send(
                "MESSAGE", hop=device.hop, uri=device.contact, from_=what.sender, to=name, headers=headers,
                body=piece.encode(), content_type=texts.CONTENT_TYPE, silence_s=SILENCE_S,
            )  # fmt: skip
            future = self._responses[request] = asyncio.get_running_loop().create_future()
            status = await future
            if (400 <= status < 500 or status >= 600) and status not in _NOT_NOW:
                self._remember(message_id, device)
                return Taking.REFUSED
            if not 200 <= status < 300:
                return Taking.NOT_NOW
        return Taking.TAKEN

    def _remember(self, message_id: UUID, device: Device) -> None:
        _log.info("text.refused_by_phone", message_id=str(message_id))
        self._refused.setdefault(message_id, set()).add(_named(device))
        if len(self._refused) > MOST_REFUSED:
            del self._refused[next(iter(self._refused))]

    # What waits.

    def registrations_changed(self, agent_id: AgentId) -> None:
        """Devices of an agent came or went."""
        now_there = frozenset(place.row_id for place in self._bindings.own_of(agent_id))
        before = self._known.get(agent_id, frozenset())
        if now_there:
            self._known[agent_id] = now_there
        else:
            self._known.pop(agent_id, None)
        if now_there - before:
            self._came.add(agent_id)
            self._wake.set()

    async def run(self) -> None:
        """Bring what waits, until cancelled."""
        await self._db.listen(CHANNEL, self._told)
        next_look = float("-inf")
        try:
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                is_look = now >= next_look
                if is_look:
                    next_look = now + LOOK_S
                await self._turn(is_look=is_look)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.05, next_look - self._clock.monotonic())):
                        await self._wake.wait()
        finally:
            for task in (*self._serving.values(), *self._others):
                task.cancel()

    async def _turn(self, *, is_look: bool) -> None:
        came, told_of = self._came, self._told_of
        self._came, self._told_of = set(), set()
        try:
            for agent_id in came:
                agent = self._directory.agent(agent_id)
                if agent is not None:
                    async with self._db.organisation(agent.org_id) as connection:
                        await table.hurry(connection, agent_id, self._clock.now())
            asked = list(self._known) if is_look else [one for one in came | told_of if one in self._known]
            if not asked:
                return
            async with self._db.transaction() as connection:
                due = await table.due(connection, asked, self._clock.now())
        except STORE_FAILED as error:
            _log.warning("texts.unread", error=type(error).__name__)
            self._came |= came
            self._told_of |= told_of
            await asyncio.sleep(1.0)
            self._wake.set()
            return
        for org_id, agent_id in due:
            if agent_id in self._serving:
                self._told_of.add(agent_id)  # looked at once more when that is through
            elif len(self._serving) < MOST_AT_ONCE:
                self._serving[agent_id] = asyncio.create_task(self._serve(org_id, agent_id), name="texts")

    async def _serve(self, org_id: OrgId, agent_id: AgentId) -> None:
        try:
            while await self._batch(org_id, agent_id):
                pass
        except STORE_FAILED as error:
            _log.warning("texts.delayed", org_id=str(org_id), error=type(error).__name__)
        except Exception as error:
            _log.error("texts.internal_error", org_id=str(org_id), exc_info=error)
        finally:
            del self._serving[agent_id]
            if agent_id in self._told_of:
                self._wake.set()

    async def _batch(self, org_id: OrgId, agent_id: AgentId) -> bool:
        """Bring some of an agent's messages; whether there may be more to bring now."""
        org, agent = self._directory.organisation(org_id), self._directory.agent(agent_id)
        if org is None or agent is None or not self._devices(agent_id):
            return False
        now = self._clock.now()
        async with self._db.organisation(org_id) as connection:
            claimed = await table.claim(connection, agent_id, now, now + LEASE, BATCH)
        if not claimed:
            return False
        # What each phone that is there has refused is not even opened: it waits for another one.
        unwanted = [one for one in claimed if not self._willing(agent_id, one.message_id)]
        for one in unwanted:
            await self._put_back(org_id, agent_id, [one.message_id], one.attempts)
        wanted = [one for one in claimed if one not in unwanted]
        said = await self._asking.read(org_id, agent_id, [one.message_id for one in wanted]) if wanted else {}
        if said is None:
            await self._put_back(org_id, agent_id, [one.message_id for one in wanted], wanted[0].attempts)
            return False
        for place, one in enumerate(wanted):
            found = said.get(one.message_id)
            is_shut = found is None and one.message_id in said
            taking = Taking.TAKEN if found is None else await self.bring(org, agent, one.message_id, self._shown(org, one, found))
            if taking is Taking.NOT_NOW:
                await self._put_back(org_id, agent_id, [each.message_id for each in wanted[place:]], one.attempts)
                return False
            if is_shut or taking is Taking.REFUSED:
                await self._put_back(org_id, agent_id, [one.message_id], one.attempts)
            else:
                await self.settle(org_id, agent_id, one.message_id, is_internal=one.sender_id is not None and found is not None)
        return True

    async def settle(self, org_id: OrgId, agent_id: AgentId, message_id: UUID, *, is_internal: bool) -> None:
        """A message was brought, or is gone: nobody tries it any more, and a colleague's counts as delivered."""
        now = self._clock.now()
        self._refused.pop(message_id, None)
        async with self._db.organisation(org_id) as connection:
            await table.remove(connection, agent_id, [message_id])
            if is_internal and (advanced := await messages.conclude(connection, message_id, "delivered", None, now)) is not None:
                await outbox.add(connection, told(org_id, advanced, now, self._random))

    async def not_taken(self, org_id: OrgId, agent_id: AgentId, message_id: UUID) -> None:
        """No phone took a message that was brought as soon as it was written."""
        await self._put_back(org_id, agent_id, [message_id], 1)

    async def _put_back(self, org_id: OrgId, agent_id: AgentId, left: Sequence[UUID], attempts: int) -> None:
        due_at = self._clock.now() + BACK_OFF[min(attempts, len(BACK_OFF)) - 1]
        async with self._db.organisation(org_id) as connection:
            await table.later(connection, agent_id, left, due_at)

    def _shown(self, org: Organisation, one: Due, said: Said) -> Brought:
        """As the phone shows it: a colleague under its present name, a number as it would be dialled."""
        colleague = None if one.sender_id is None else self._directory.agent(one.sender_id)
        user = said.remote if colleague is None else colleague.username.reveal()
        return Brought(NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(user))), said.text, said.at)

    def _told(self, payload: str) -> None:
        if not payload:
            self._told_of |= set(self._known)  # the connection was lost: something may have been missed
        else:
            with suppress(ValueError):
                self._told_of.add(AgentId(UUID(payload)))
        self._wake.set()


def _named(device: Device) -> Hashable:
    """What tells a phone from the agent's others for as long as it stays registered."""
    return device.row_id or (device.credential_id, device.instance, device.contact)


async def expire(main: Database, clock: Clock, random: Random) -> int:
    """Give up what no phone came for in time; a colleague's text has expired then. The worker's, each minute; returns how many."""
    now = clock.now()
    async with main.transaction() as connection:
        organisations = await table.overdue(connection, now)

    async def give_up(org_id: OrgId) -> int:
        given_up = 0
        async with main.organisation(org_id) as connection:
            for message_id, is_internal in await table.expire(connection, now):
                given_up += 1
                if is_internal and (advanced := await messages.conclude(connection, message_id, "expired", None, now)) is not None:
                    await outbox.add(connection, told(org_id, advanced, now, random))
        return given_up

    return await for_each(organisations, give_up, "texts-overdue")
