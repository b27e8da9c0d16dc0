"""What a gateway may know for a moment and has no key for: it asks, the worker answers, sealed to a key that was made for the question.

The question stands in a row until its answer is taken or nobody waits for it any more; the row's answer is opened by no key that outlives
the question. What is asked, and what the worker looks at before it answers, is the affair of each kind of reading.
"""

import asyncio
from collections.abc import Awaitable, Callable, Set
from datetime import datetime, timedelta
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.store.database import Connection, Database

LOOK_S: Final = 0.5
AT_ONCE: Final = 4
"""So many organisations' questions are answered at once."""
LEFT_AFTER: Final = timedelta(seconds=60)
"""Nobody waits for an answer so long: who asked is gone."""


class Asked(Protocol):
    """What is the same of every question."""

    @property
    def id(self) -> UUID: ...

    @property
    def org_id(self) -> OrgId: ...


Q = TypeVar("Q", bound=Asked)
A = TypeVar("A")


class Rows(Protocol[Q, A]):
    """The rows of one kind: a module of the store."""

    async def ask(self, connection: Connection, question: Q, /) -> None: ...

    async def take(self, connection: Connection, question_id: UUID, /) -> A | None: ...

    async def forget(self, connection: Connection, question_id: UUID, /) -> None: ...

    async def waiting(self, connection: Connection, /) -> list[tuple[OrgId, UUID]]: ...

    async def left(self, connection: Connection, before: datetime, /) -> list[tuple[OrgId, UUID]]: ...

    async def get(self, connection: Connection, question_id: UUID, /) -> Q | None: ...

    async def answer(self, connection: Connection, question_id: UUID, at: datetime, given: A, /) -> None: ...


class Asker(Generic[Q, A]):
    """The gateway's share. `channel`: where the database tells of answers, by the question's id."""

    def __init__(self, main: Database, rows: Rows[Q, A], channel: str) -> None:
        self._main = main
        self._rows = rows
        self._channel = channel
        self._waiting: dict[UUID, asyncio.Event] = {}
        self._listens = False

    async def answer(self, question: Q, wait_s: float) -> A | None:
        """What the worker says; None where none answers in time. The question is gone afterwards."""
        bell = self._waiting[question.id] = asyncio.Event()
        try:
            if not self._listens:
                await self._main.listen(self._channel, self._told)
                self._listens = True
            async with self._main.organisation(question.org_id) as connection:
                await self._rows.ask(connection, question)
            async with asyncio.timeout(wait_s):
                return await self._taken(question, bell)
        except TimeoutError:
            async with self._main.organisation(question.org_id) as connection:
                await self._rows.forget(connection, question.id)
            return None
        finally:
            del self._waiting[question.id]

    async def _taken(self, question: Q, bell: asyncio.Event) -> A:
        while True:
            bell.clear()
            async with self._main.organisation(question.org_id) as connection:
                answer = await self._rows.take(connection, question.id)
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


class Answerer(Generic[Q, A]):
    """The worker's share. `give` makes the answer to one question; `task` names the round in the log."""

    def __init__(self, main: Database, rows: Rows[Q, A], give: Callable[[Q], Awaitable[A]], clock: Clock, task: str) -> None:
        self._main = main
        self._rows = rows
        self._give = give
        self._clock = clock
        self._task = task
        self._places = asyncio.Semaphore(AT_ONCE)

    async def answer_all(self) -> int:
        """Answers what waits, and drops what was left behind; returns how many were answered.

        By turns: of each organisation its oldest question, several at once, then what waits then. So a long message of one is no reason
        for another's callers to wait, nor are its many. Raises Unfinished where some could not be answered, once the others were: who
        asked gives up by itself, and asks again.
        """
        async with self._main.transaction() as connection:
            left = await self._rows.left(connection, self._clock.now() - LEFT_AFTER)
        for org_id, question_id in left:
            async with self._main.organisation(org_id) as connection:
                await self._rows.forget(connection, question_id)
        answered, broken, tried = 0, list[BaseException](), set(left)
        while turn := await self._turn(tried):
            tried.update(turn)
            done = await asyncio.gather(*(for_each([one], self._at_once, self._task) for one in turn), return_exceptions=True)
            answered += sum(one for one in done if isinstance(one, int))
            broken += [one for one in done if isinstance(one, BaseException)]
        if broken:
            raise broken[0]
        return answered

    async def _turn(self, tried: Set[tuple[OrgId, UUID]]) -> list[tuple[OrgId, UUID]]:
        """The oldest question of each organisation that is not among these."""
        async with self._main.transaction() as connection:
            waiting = await self._rows.waiting(connection)
        oldest = dict[OrgId, UUID]()
        for org_id, question_id in waiting:
            if (org_id, question_id) not in tried:
                oldest.setdefault(org_id, question_id)
        return list(oldest.items())

    async def _at_once(self, question: tuple[OrgId, UUID]) -> bool:
        async with self._places:
            return await self._answer(*question)

    async def _answer(self, org_id: OrgId, question_id: UUID) -> bool:
        async with self._main.organisation(org_id) as connection:
            question = await self._rows.get(connection, question_id)
        if question is None:
            return False
        given = await self._give(question)
        async with self._main.organisation(org_id) as connection:
            await self._rows.answer(connection, question_id, self._clock.now(), given)
        return True
