"""Messages on their way to a phone: opened by the worker, whom alone keys obey, and read by the gateway that asked, once.

As with voicemail by phone (services/voicemail_reading.py): the gateway makes a key pair for each question, the worker opens the messages
by the same path as the API (the access log says whose phone they go to), and seals them to that key. No disk holds them in clear.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, OrgId, uuid7
from hushwire.services.message_bodies import MessageBodies
from hushwire.services.sealed_readings import Answerer, Asker
from hushwire.store import text_deliveries as table
from hushwire.store.database import Database
from hushwire.store.text_deliveries import READ_CHANNEL, Question
from hushwire.vault.handing_over import Receiver, seal_to
from hushwire.vault.seal import context
from hushwire.vault.unseal import Why

WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Said:
    """One message as it is brought. `remote`: who wrote it, as its row has it."""

    remote: str = field(repr=False)
    text: str = field(repr=False)
    at: datetime


class TextAsking:
    """The gateway's share."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._asker: Asker[Question, bytes] = Asker(main, table, READ_CHANNEL)
        self._clock = clock
        self._random = random

    async def read(
        self, org_id: OrgId, agent_id: AgentId, message_ids: list[UUID], *, wait_s: float = WAIT_S
    ) -> dict[UUID, Said | None] | None:
        """What these messages of an agent say, None where one can't be opened now; without those that are gone.

        None where no worker answers.
        """
        now = self._clock.now()
        receiver, question_id = Receiver(), uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        question = Question(question_id, org_id, agent_id, tuple(message_ids), receiver.public, now)
        answer = await self._asker.answer(question, wait_s)
        if answer is None:
            return None
        said = orjson.loads(receiver.open(answer, _place(question)))
        return {
            UUID(one["id"]): Said(one["remote"], one["text"], datetime.fromisoformat(one["at"])) if "text" in one else None for one in said
        }


class TextAnswering:
    """The worker's share."""

    def __init__(self, main: Database, bodies: MessageBodies, clock: Clock) -> None:
        self._bodies = bodies
        self.answer_all = Answerer(main, table, self._given, clock, "text-readings").answer_all

    async def _given(self, question: Question) -> bytes:
        why = Why(f"agent:{question.agent_id}", purposes.MESSAGE_DELIVERY)
        found = await self._bodies.texts(question.org_id, question.message_ids, why)
        said = [
            {"id": str(message_id)}
            if one is None
            else {"id": str(message_id), "remote": one.remote.reveal(), "text": one.text.reveal(), "at": one.at.isoformat()}
            for message_id, one in found.items()
        ]
        return seal_to(question.public_key, orjson.dumps(said), _place(question))


def _place(question: Question) -> bytes:
    return context("text-reading", question.id, question.org_id, question.agent_id)
