"""Texts as the fraud breaker counts them, in the transactions that accept them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from hushwire.core.ids import AgentId, OrgId
from hushwire.policy.breaker import Level, Signal
from hushwire.services.fraud_alarms import FraudAlarms
from hushwire.services.fraud_texts import Over, TextCounters, TextUse
from hushwire.store import fraud
from hushwire.store.database import Database
from tests.databases import Databases
from tests.services.location import build

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Desk:
    """Whoever accepts texts, as the api role."""

    db: Database
    org: OrgId
    anna: AgentId

    async def accept(self, parts: int, *, agent: bool = False, micros: int = 0, at: datetime = NOON) -> Over | None:
        counters = TextCounters(lambda _now: uuid4())
        over: Over | None = None
        try:
            async with self.db.organisation(self.org) as connection:
                use = TextUse(self.anna if agent else None, parts, micros)
                over = await counters.count(connection, self.org, [use], at)
                if over is not None:
                    raise LookupError
        except LookupError:
            assert over is not None
            async with self.db.organisation(self.org) as connection:
                await counters.tell(connection, self.org, over, at)
        return over

    async def limit(self, level: str, **bounds: Any) -> None:
        said = {name.replace("_", "-"): bound for name, bound in bounds.items()}
        async with self.db.organisation(self.org) as connection:
            await fraud.put_limits(connection, self.org, level, self.org, said, NOON)

    async def alarms(self) -> list[tuple[str, str, UUID | None, int]]:
        async with self.db.organisation(self.org) as connection:
            rows = await fraud.alarms(connection, standing=True, agent_id=None, before=None, limit=9)
        return [(row.level, row.signal, row.agent_id, row.times) for row in rows]


@pytest.fixture
async def desk(databases: Databases, tmp_path: Path) -> Desk:
    world = await build(databases, tmp_path)
    await world.directory.load()
    org = world.directory.default_organisation
    assert org is not None
    return Desk(await databases.connect("main", "api"), org.id, org.by_username["anna"].id)


async def test_parts_of_an_agents_minute_are_bounded_by_default_and_the_minute_slides(desk: Desk) -> None:
    assert await desk.accept(300, agent=True) is None
    over = await desk.accept(1, agent=True)
    assert over is not None
    assert (over.level, over.signal, over.seen) == (Level.AGENT, Signal.TEXTS, 301.0)
    assert await desk.accept(1000) is None, "a program's are the organisation's alone"
    half = NOON + timedelta(seconds=90)
    assert await desk.accept(150, agent=True, at=half) is None
    assert await desk.accept(1, agent=True, at=half) is not None
    assert await desk.accept(300, agent=True, at=NOON + timedelta(minutes=5)) is None
    assert await desk.alarms() == [("agent", "texts-per-minute", desk.anna, 2)]


async def test_what_is_accepted_at_once_is_counted_together(desk: Desk) -> None:
    await desk.limit("organisation", texts_per_day={"most": 10})
    found = await asyncio.gather(*(desk.accept(3) for _ in range(6)))
    assert found.count(None) == 3
    assert await desk.accept(1) is None
    assert await desk.alarms() == [("organisation", "texts-per-day", None, 3)]
    assert await desk.accept(10, at=NOON + timedelta(days=1)) is None


async def test_a_days_estimated_spend_is_bounded_and_a_limit_that_warns_refuses_nothing(desk: Desk) -> None:
    await desk.limit("organisation", text_spend_per_day={"most": 1.5}, texts_per_day={"most": 1, "action": "warn"})
    assert await desk.accept(2, micros=1_500_000) is None
    over = await desk.accept(1, micros=1)
    assert over is not None
    assert over.signal is Signal.TEXT_SPEND
    assert sorted(await desk.alarms()) == [("organisation", "text-spend-per-day", None, 1), ("organisation", "texts-per-day", None, 1)]


async def test_a_false_alarm_of_texts_is_undone_and_the_day_begins_anew(desk: Desk) -> None:
    await desk.limit("organisation", texts_per_day={"most": 5})
    now = datetime.now(UTC)
    assert await desk.accept(6, at=now) is not None
    async with desk.db.organisation(desk.org) as connection:
        [row] = await fraud.alarms(connection, standing=True, agent_id=None, before=None, limit=9)
    alarms = FraudAlarms(desk.db, None, _Clock(lambda: now))  # type: ignore[arg-type]
    undone = await alarms.undo(desk.org, row.id, actor="api-key:1")
    assert undone is not None
    assert undone.row.undone_at is not None
    assert await desk.accept(5, at=now) is None
    assert await desk.alarms() == []


@dataclass
class _Clock:
    now: Callable[[], datetime]
