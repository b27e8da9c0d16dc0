"""Questions for what a gateway has no key for: answered by turns over organisations, whatever is wrong with one of them."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import pytest

from hushwire.core.errors import Unfinished
from hushwire.core.ids import OrgId
from hushwire.services.sealed_readings import Answerer
from hushwire.store.database import Connection
from tests.polling import until
from tests.recorded import House, house

__all__ = ["house"]


@dataclass(frozen=True)
class Question:
    id: UUID
    org_id: OrgId


@dataclass
class Rows:
    """Rows of questions, in memory."""

    open: list[Question] = field(default_factory=list)
    answers: dict[UUID, str] = field(default_factory=dict)

    async def ask(self, _connection: Connection, question: Question, /) -> None:
        self.open.append(question)

    async def take(self, _connection: Connection, question_id: UUID, /) -> str | None:
        return self.answers.pop(question_id, None)

    async def forget(self, _connection: Connection, question_id: UUID, /) -> None:
        self.open = [question for question in self.open if question.id != question_id]

    async def waiting(self, _connection: Connection, /) -> list[tuple[OrgId, UUID]]:
        return [(question.org_id, question.id) for question in self.open]

    async def left(self, _connection: Connection, _before: datetime, /) -> list[tuple[OrgId, UUID]]:
        return []

    async def get(self, _connection: Connection, question_id: UUID, /) -> Question | None:
        return next((question for question in self.open if question.id == question_id), None)

    async def answer(self, connection: Connection, question_id: UUID, _at: datetime, given: str, /) -> None:
        await self.forget(connection, question_id)
        self.answers[question_id] = given


async def test_a_long_answer_to_one_organisation_holds_up_no_other_and_one_that_fails_is_told_of_at_the_end(house: House) -> None:
    rows, go, begun = Rows(), asyncio.Event(), list[int]()
    long = [Question(UUID(int=n), house.org) for n in range(3)]
    other = [Question(UUID(int=n), OrgId(UUID(int=99))) for n in range(10, 13)]
    rows.open = [*long, *other]

    async def give(question: Question) -> str:
        begun.append(question.id.int)
        if question is long[0]:
            await go.wait()
        if question is other[1]:
            raise ValueError
        return "said"

    answerer = Answerer(await house.main("worker"), rows, give, house.clock, "readings")
    answering = asyncio.create_task(answerer.answer_all())
    await until(lambda: rows.answers.keys() == {other[0].id})
    assert begun == [0, 10], "one of each at a time"
    go.set()
    with pytest.raises(Unfinished, match="1 ValueError"):
        await answering
    assert rows.answers.keys() == {question.id for question in (*long, other[0], other[2])}
    assert rows.open == [other[1]]
