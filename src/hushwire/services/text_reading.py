"""Messages on their way to a phone: opened by the worker, whom alone keys obey, and read by the gateway that asked, once.

As with voicemail by phone (services/voicemail_reading.py): the gateway makes a key pair for each question, the worker opens the messages
by the same path as the API (the access log says whose phone they go to), and seals them to that key. No disk holds them in clear.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
import structlog

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, OrgId, uuid7
from hushwire.services.message_bodies import MessageBodies
from hushwire.store import text_deliveries as table
from hushwire.store.database import Database
from hushwire.store.text_deliveries import READ_CHANNEL, Question
from hushwire.vault.handing_over import Receiver, seal_to
from hushwire.vault.seal import context
from hushwire.vault.unseal import Why

WAIT_S: Final = 10.0
LOOK_S: Final = 0.5
LEFT_AFTER: Final = timedelta(seconds=60)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """One message as it is brought. `remote`: who wrote it, as its row has it."""

    remote: str = field(repr=False)
    text: str = field(repr=False)
    at: datetime


class TextAsking:
    """The gateway's share."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random
        self._waiting: dict[UUID, asyncio.Event] = {}
        self._listens = False

    async def read(
        self, org_id: OrgId, agent_id: AgentId, message_ids: list[UUID], *, wait_s: float = WAIT_S
    ) -> dict[UUID, Said | None] | None:
        """What these messages of an agent say, None where one can't be opened now; without those that are gone.

        None where no worker answers.

        The question is gone afterwards, whatever becomes of it.
        """
        now = self._clock.now()
        receiver, question_id = Receiver(), uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        question = Question(question_id, org_id, agent_id, tuple(message_ids), receiver.public, now)
        bell = self._waiting[question_id] = asyncio.Event()
        try:
            if not self._listens:
                await self._main.listen(READ_CHANNEL, self._told)
                self._listens = True
            async with self._main.organisation(org_id) as connection:
                await table.ask(connection, question)
            async with asyncio.timeout(wait_s):
                answer = await self._answer(question, bell)
        except TimeoutError:
            async with self._main.organisation(org_id) as connection:
                await table.forget(connection, question_id)
            return None
        finally:
            del self._waiting[question_id]
        said = orjson.loads(receiver.open(answer, _place(question_id, org_id, agent_id)))
        return {
            UUID(one["id"]): Said(one["remote"], one["text"], datetime.fromisoformat(one["at"])) if "text" in one else None for one in said
        }

    async def _answer(self, question: Question, bell: asyncio.Event) -> bytes:
        while True:
            bell.clear()
            async with self._main.organisation(question.org_id) as connection:
                answer = await table.take(connection, question.id)
            if answer is not None:
                return answer
            try:
                async with asyncio.timeout(LOOK_S):
                    await bell.wait()
            except TimeoutError:
                continue

    def _told(self, payload: str) -> None:
        for question_id, bell in self._waiting.items():
            if payload in ("", str(question_id)):
                bell.set()


class TextAnswering:
    """The worker's share."""

    def __init__(self, main: Database, bodies: MessageBodies, clock: Clock) -> None:
        self._main = main
        self._bodies = bodies
        self._clock = clock

    async def answer_all(self) -> int:
        """Answers what waits, and drops what was left behind; returns how many were answered."""
        async with self._main.transaction() as connection:
            waiting = await table.waiting(connection)
            left = await table.left(connection, self._clock.now() - LEFT_AFTER)
        for org_id, question_id in left:
            async with self._main.organisation(org_id) as connection:
                await table.forget(connection, question_id)
        answered = 0
        for org_id, question_id in waiting:
            if (org_id, question_id) not in left:
                try:
                    answered += await self._answer(org_id, question_id)
                except Exception as error:
                    # Who asked gives up by itself, and asks again.
                    _log.error("text.not_read", org_id=str(org_id), error=type(error).__name__)
        return answered

    async def _answer(self, org_id: OrgId, question_id: UUID) -> bool:
        async with self._main.organisation(org_id) as connection:
            question = await table.get(connection, question_id)
        if question is None:
            return False
        why = Why(f"agent:{question.agent_id}", purposes.MESSAGE_DELIVERY)
        found = await self._bodies.texts(org_id, question.message_ids, why)
        said = [
            {"id": str(message_id)}
            if one is None
            else {"id": str(message_id), "remote": one.remote.reveal(), "text": one.text.reveal(), "at": one.at.isoformat()}
            for message_id, one in found.items()
        ]
        sealed = seal_to(question.public_key, orjson.dumps(said), _place(question_id, org_id, question.agent_id))
        async with self._main.organisation(org_id) as connection:
            await table.answer(connection, question_id, self._clock.now(), sealed)
        return True


def _place(question_id: UUID, org_id: OrgId, agent_id: AgentId) -> bytes:
    return context("text-reading", question_id, org_id, agent_id)
