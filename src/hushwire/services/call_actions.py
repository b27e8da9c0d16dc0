"""Asking the node that holds a call to do something with it: a row, a wake-up, and the wait for its outcome."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import CallId, OrgId, uuid7
from hushwire.privacy import audit
from hushwire.store import commands, idempotency, search
from hushwire.store.database import Connection, Database

WAIT_S: Final = 5.0
OVER: Final = "the call is over"

Action = Literal[
    "hangup",
    "recording.pause",
    "recording.resume",
    "recording.stop",
    "recording.start",
    "sensitive.on",
    "sensitive.off",
    "supervise.listen",
    "supervise.whisper",
    "supervise.barge",
    "supervise.leave",
]


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key, and the hash of the request that it stands for."""

    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The node did it."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class Accepted:
    """The node has it, or will see it; it has not answered yet."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """It can't be done now: the call is over, or the node says why not."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoCall:
    """The organisation has no such call."""


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The Idempotency-Key was used for another request."""


Outcome = Done | Accepted | Refused | NoCall | KeyReused


class CallActions:
    """Commands to live calls."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random
        self._waiting: dict[asyncio.Event, str] = {}

    async def listen(self) -> None:
        """Hear outcomes at once; without it they are seen at the end of the wait."""
        await self._main.listen("hushwire_done", self._ring)

    async def ask(
        self,
        org_id: OrgId,
        call_id: CallId,
        action: Action,
        *,
        actor: str,
        details: Mapping[str, str] | None = None,
        once: Once | None = None,
        wait_s: float = WAIT_S,
    ) -> Outcome:
        """Ask for `action` and wait for its outcome; who asked, and the `details`, stand in the audit log.

        With `once`, a request that is repeated waits for the same command.
        """
        now = self._clock.now()
        command_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        bell = asyncio.Event()
        self._waiting[bell] = str(command_id)
        try:
            async with self._main.organisation(org_id) as connection:
                entered = await self._enter(connection, org_id, call_id, action, actor, command_id, details, once)
            if not isinstance(entered, UUID):
                return entered
            self._waiting[bell] = str(entered)
            return await self._outcome_of(org_id, entered, bell, wait_s)
        finally:
            del self._waiting[bell]

    async def _enter(
        self,
        connection: Connection,
        org_id: OrgId,
        call_id: CallId,
        action: Action,
        actor: str,
        command_id: UUID,
        details: Mapping[str, str] | None,
        once: Once | None,
    ) -> UUID | Refused | NoCall | KeyReused:
        """Write the command, once; the id of the command whose outcome is the answer."""
        call = await search.get_call(connection, call_id)
        if call is None:
            return NoCall()
        now = self._clock.now()
        if once is not None:
            kept = await idempotency.begin(connection, org_id, once.key, once.request_hash, {"command": str(command_id)}, now)
            if kept is not None and kept.request_hash != once.request_hash:
                return KeyReused()
            if kept is not None:
                reason = kept.response.get("reason")
                return Refused(reason) if reason else UUID(kept.response["command"])
        if call.state not in ("ringing", "active"):
            if once is not None:
                await idempotency.finish(connection, once.key, 409, {"reason": OVER})
            return Refused(OVER)
        given = None if details is None else {**details, "actor": actor}
        await commands.ask(connection, command_id, org_id, call.node_id, call_id, action, now, given)
        noted = {"command": str(command_id), **(details or {})}
        await audit.append(connection, org_id, now, actor, f"call.{action}", f"call:{call_id}", noted)
        return command_id

    async def _outcome_of(self, org_id: OrgId, command_id: UUID, bell: asyncio.Event, wait_s: float) -> Outcome:
        until = self._clock.monotonic() + wait_s
        while True:
            bell.clear()
            async with self._main.organisation(org_id) as connection:
                outcome = await commands.outcome(connection, command_id)
            if outcome is not None:
                return Done(command_id) if outcome == "ok" else Refused(outcome)
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                return Accepted(command_id)
            try:
                async with asyncio.timeout(left_s):
                    await bell.wait()
            except TimeoutError:
                continue

    def _ring(self, payload: str) -> None:
        for bell, command_id in self._waiting.items():
            if payload in ("", command_id):
                bell.set()
