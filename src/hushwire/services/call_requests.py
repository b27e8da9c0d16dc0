"""Asking for a call in an agent's name: a row, the gateway that takes it, and what became of it.

The number stands in the row, sealed, until a gateway takes it; where none does in time the request is withdrawn, so that no phone rings
when nobody waits for it any more. A gateway takes a request once: what it took is never begun a second time.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId, uuid7
from hushwire.privacy import audit
from hushwire.services.call_actions import KeyReused, Once
from hushwire.services.refusals import CATALOGUE, Explained
from hushwire.store import call_requests as table
from hushwire.store import idempotency, search
from hushwire.store.call_requests import DONE_CHANNEL, CallRequest
from hushwire.store.database import Connection, Database
from hushwire.vault.keyring import Keyring, OrgKeys

TAKEN_WITHIN_S: Final = 3.0
TOLD_WITHIN_S: Final = 6.0
NOBODY: Final = "closing"
"""The catalogue's code where no gateway takes calls."""
_PLACE: Final = {"table": "call_requests", "column": "destination_sealed"}


@dataclass(frozen=True, slots=True)
class Begun:
    """The agent's phones ring."""

    call_id: CallId


@dataclass(frozen=True, slots=True)
class Taken:
    """A gateway has it and has not said yet what became of it."""

    request_id: UUID


@dataclass(frozen=True, slots=True)
class NotBegun:
    """It was refused, for a reason of the catalogue."""

    why: Explained


@dataclass(frozen=True, slots=True)
class NoAgent:
    """The organisation has no such agent."""


Outcome = Begun | Taken | NotBegun | NoAgent | KeyReused


@dataclass(frozen=True, slots=True)
class Room:
    """The conference into which a number is called, and the gateway that holds it."""

    id: CallId
    node: NodeId


class CallRequests:
    """The API's side."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._waiting: dict[asyncio.Event, str] = {}

    async def listen(self) -> None:
        """Hear at once what became of requests; without it that is seen at the end of the wait."""
        await self._main.listen(DONE_CHANNEL, self._ring)

    async def ask(
        self,
        org_id: OrgId,
        agent_id: AgentId,
        to: str,
        *,
        actor: str,
        answers_itself: bool = False,
        is_telemarketing: bool = False,
        room: Room | None = None,
        once: Once | None = None,
    ) -> Outcome:
        """Ask for a call, and wait until it is begun or refused. With `once`, a request that is repeated waits for the same call."""
        now = self._clock.now()
        request_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        keys = await self._keyring.org_context(org_id)
        if once is not None:
            # It stands for a number, and numbers can all be tried: a keyed hash, as in services/once.py.
            once = replace(once, request_hash=keys.index("idempotency.request_hash", once.request_hash.hex()))
        wanted = CallRequest(
            request_id,
            org_id,
            agent_id,
            sealed(keys, request_id, to),
            answers_itself,
            is_telemarketing,
            None if room is None else room.id,
            None if room is None else room.node,
        )
        bell = asyncio.Event()
        self._waiting[bell] = str(request_id)
        try:
            async with self._main.organisation(org_id) as connection:
                entered = await self._enter(connection, wanted, actor, once)
            if not isinstance(entered, UUID):
                return entered
            self._waiting[bell] = str(entered)
            return await self._outcome_of(org_id, entered, bell, once)
        finally:
            del self._waiting[bell]

    async def room(self, org_id: OrgId, call_id: CallId) -> Room | None:
        """The conference that a call is, and its gateway; None where it is none, or over."""
        async with self._main.organisation(org_id) as connection:
            call = await search.get_call(connection, call_id)
        is_room = call is not None and call.direction == "conference" and call.joined_call_id is None and call.state == "active"
        return Room(call_id, NodeId(call.node_id)) if call is not None and is_room else None

    async def _enter(self, connection: Connection, wanted: CallRequest, actor: str, once: Once | None) -> UUID | NoAgent | KeyReused:
        now = self._clock.now()
        if once is not None:
            kept = await idempotency.begin(connection, wanted.org_id, once.key, once.request_hash, {"request": str(wanted.id)}, now)
            if kept is not None:
                return UUID(kept.response["request"]) if kept.request_hash == once.request_hash else KeyReused()
        if not await table.is_agent(connection, wanted.agent_id):
            if once is not None:
                await idempotency.forget(connection, once.key)
            return NoAgent()
        await table.ask(connection, wanted, now, TAKEN_WITHIN_S)
        action = "call.begin" if wanted.room_id is None else "conference.invite"
        await audit.append(connection, wanted.org_id, now, actor, action, f"agent:{wanted.agent_id}", {"request": str(wanted.id)})
        return wanted.id

    async def _outcome_of(self, org_id: OrgId, request_id: UUID, bell: asyncio.Event, once: Once | None) -> Outcome:
        begun_at = self._clock.monotonic()
        is_taken = False
        while True:
            bell.clear()
            waited_s = self._clock.monotonic() - begun_at
            async with self._main.organisation(org_id) as connection:
                found = await table.done(connection, request_id)
                if found is None and not is_taken and waited_s >= TAKEN_WITHIN_S:
                    if await table.withdraw(connection, request_id, NOBODY, self._clock.now()):
                        if once is not None:
                            await idempotency.forget(connection, once.key)  # nothing was done: it may be asked for again
                        return NotBegun(CATALOGUE[NOBODY])
                    is_taken = True
            if found is not None and found.outcome == "ok" and found.call_id is not None:
                return Begun(found.call_id)
            if found is not None:
                return NotBegun(CATALOGUE.get(found.outcome) or CATALOGUE["internal-error"])
            if waited_s >= TOLD_WITHIN_S:
                return Taken(request_id)
            until_s = TOLD_WITHIN_S if is_taken else TAKEN_WITHIN_S
            try:
                async with asyncio.timeout(max(0.01, until_s - waited_s)):
                    await bell.wait()
            except TimeoutError:
                continue

    def _ring(self, payload: str) -> None:
        for bell, request_id in self._waiting.items():
            if payload in ("", request_id):
                bell.set()


def sealed(keys: OrgKeys, request_id: UUID, to: str) -> bytes:
    """The number for the row."""
    return keys.operational.seal(to.encode("utf-8", "surrogatepass"), row=request_id, org=keys.org_id, **_PLACE)


def opened(keys: OrgKeys, request_id: UUID, value: bytes) -> str:
    """What `sealed` closed."""
    return keys.operational.open(value, row=request_id, org=keys.org_id, **_PLACE).decode("utf-8", "surrogatepass")
