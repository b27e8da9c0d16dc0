"""Clocks as rows: started and ended in the transaction of what they are about, watched by any number of workers, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog

from hushwire.core.ids import OrgId
from hushwire.privacy.clocks import RULES, Clock, ClockKind, Sense, State, state
from hushwire.projections.outbox import project
from hushwire.services.clock_watch import ClockWatch, Done
from hushwire.services.clocks import Clocks
from hushwire.store.database import Connection
from tests.recorded import Chance, Fate, House, Killed, house

__all__ = ["house"]

NOTICE = ClockKind.DATA_SUBJECT_NOTICE


@asynccontextmanager
async def inside(house: House, org: OrgId | None = None) -> AsyncIterator[Connection]:
    async with (await house.main("api")).organisation(org or house.org) as connection:
        yield connection


def clocks(house: House) -> Clocks:
    return Clocks(house.clock, Chance())


async def started(house: House, kind: ClockKind = NOTICE, subject: UUID | None = None, at: datetime | None = None) -> Clock:
    async with inside(house) as connection:
        return await clocks(house).start(connection, house.org, kind, "request", subject or uuid4(), at or house.clock.now())


async def again(house: House, row: Clock) -> Clock:
    async with inside(house) as connection:
        found = await clocks(house).get(connection, row.id)
    assert found is not None
    return found


async def watch(house: House, fate: Fate | None = None, **more: Any) -> ClockWatch:
    return ClockWatch(await house.main("worker", fate), clocks(house), **more)


async def told(house: House) -> list[str]:
    """Kinds of the clock events that were written, in order."""
    async with inside(house) as connection:
        return [row["kind"] for row in await connection.fetch("SELECT kind FROM outbox WHERE kind LIKE 'clock.%' ORDER BY xid, seq")]


async def test_a_clock_is_started_once_for_a_subject_and_a_repetition_gives_the_same_one(house: House) -> None:
    subject, begun = uuid4(), house.clock.now()
    first = await started(house, subject=subject)
    house.clock.ahead += timedelta(hours=3)
    assert await started(house, subject=subject) == first
    assert first.due_at - first.started_at == timedelta(hours=24)
    assert abs(first.started_at - begun) < timedelta(seconds=5)
    assert await started(house, ClockKind.DISPUTE, subject) != first
    assert await told(house) == ["clock.started", "clock.started"]


async def test_two_at_once_start_one_clock(house: House) -> None:
    subject = uuid4()
    found = await asyncio.gather(*(started(house, subject=subject) for _ in range(4)))
    assert len({row.id for row in found}) == 1
    assert await told(house) == ["clock.started"]


async def test_a_clock_of_a_transaction_that_fails_was_never_started(house: House) -> None:
    subject = uuid4()
    with pytest.raises(ZeroDivisionError):
        async with inside(house) as connection:
            await clocks(house).start(connection, house.org, NOTICE, "request", subject, house.clock.now())
            raise ZeroDivisionError
    async with inside(house) as connection:
        assert await clocks(house).of(connection, NOTICE, "request", subject) is None
    assert await told(house) == []


async def test_it_runs_under_the_organisations_jurisdictions_and_a_later_change_moves_no_running_clock(house: House) -> None:
    at = datetime(2026, 11, 13, 10, tzinfo=UTC)
    of_home = await started(house, ClockKind.SUB_PROCESSOR_CHANGE, at=at)
    assert (of_home.jurisdictions, of_home.due_at) == (("DE",), datetime(2026, 11, 27, 23, tzinfo=UTC))
    async with inside(house) as connection:
        await connection.execute("UPDATE orgs SET jurisdictions = '{DE,US-NY}'")
    of_both = await started(house, ClockKind.SUB_PROCESSOR_CHANGE, at=at)
    assert (of_both.jurisdictions, of_both.due_at) == (("DE", "US-NY"), datetime(2026, 12, 1, 5, tzinfo=UTC))
    assert await again(house, of_home) == of_home
    async with inside(house) as connection:
        known = await clocks(house).start(connection, house.org, NOTICE, "request", uuid4(), at, tags=["SG", "DE"])
    assert known.jurisdictions == ("DE", "US-NY", "SG")


async def test_ending_keeps_outcome_and_evidence_and_a_second_ending_changes_nothing(house: House) -> None:
    row, proof = await started(house), {"notice": str(uuid4()), "reply": 250}
    house.clock.ahead += timedelta(hours=1)
    async with inside(house) as connection:
        service = clocks(house)
        ended = await service.end(connection, house.org, NOTICE, "request", row.subject_id, outcome="notified", evidence=proof)
        second = await service.end(connection, house.org, NOTICE, "request", row.subject_id, outcome="withdrawn")
        assert await service.end(connection, house.org, NOTICE, "request", uuid4(), outcome="notified") is None
    assert ended is not None
    assert second == ended == await again(house, row)
    assert (ended.outcome, ended.evidence, ended.was_late) == ("notified", proof, False)
    assert await told(house) == ["clock.started", "clock.ended"]
    async with inside(house) as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE clocks SET outcome = 'better' WHERE id = $1", row.id)


async def test_evidence_that_names_a_person_ends_no_clock(house: House) -> None:
    row = await started(house)
    with pytest.raises(ValueError, match="evidence"):
        async with inside(house) as connection:
            await clocks(house).end(
                connection, house.org, NOTICE, "request", row.subject_id, outcome="notified", evidence={"to": "a@example.org"}
            )
    assert (await again(house, row)).ended_at is None


async def test_the_worker_warns_at_12_and_20_hours_and_alarms_at_24_each_once(house: House) -> None:
    row, look = await started(house), (await watch(house)).look
    with structlog.testing.capture_logs() as logs:
        seen = []
        for hours in (11.9, 12.1, 12.2, 19.9, 20.1, 23.9, 24.1, 30, 400):
            house.clock.ahead = timedelta(hours=hours)
            await look()
            await look()
            seen.append((len(await told(house)) - 1, state(await again(house, row), house.clock.now())))
    assert seen == [
        (0, State.RUNNING), (1, State.WARNED), (1, State.WARNED), (1, State.WARNED), (2, State.WARNED), (2, State.WARNED),
        (3, State.OVERDUE), (3, State.OVERDUE), (3, State.OVERDUE),
    ]  # fmt: skip
    assert await told(house) == ["clock.started", "clock.warned", "clock.warned", "clock.overdue"]
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("clock.warned", "warning"), ("clock.warned", "warning"), ("clock.overdue", "error"),
    ]  # fmt: skip
    assert {line["clock_id"] for line in logs} == {str(row.id)}


async def test_a_worker_that_was_away_for_a_week_alarms_once_and_warns_of_nothing_that_is_over(house: House) -> None:
    await started(house)
    house.clock.ahead += timedelta(days=7)
    assert await (await watch(house)).look() == 1
    assert await (await watch(house)).look() == 0
    assert await told(house) == ["clock.started", "clock.overdue"]


async def test_what_ends_in_time_is_never_warned_of_again_and_what_ends_late_says_so(house: House) -> None:
    soon, late = await started(house), await started(house)
    async with inside(house) as connection:
        await clocks(house).end_row(connection, soon, outcome="notified")
    house.clock.ahead += timedelta(hours=25)
    await (await watch(house)).look()
    async with inside(house) as connection:
        ended = await clocks(house).end_row(connection, late, outcome="notified")
        duties = [kind for kind, rule in RULES.items() if rule.sense is Sense.DUTY]
        assert NOTICE in duties
        assert await clocks(house).overdue(connection) == dict.fromkeys(duties, 0)
    assert ended.was_late
    assert not (await again(house, soon)).was_late
    assert await told(house) == ["clock.started", "clock.started", "clock.ended", "clock.overdue", "clock.ended"]


async def test_a_period_that_is_over_elapses_without_an_alarm(house: House) -> None:
    row = await started(house, ClockKind.SUB_PROCESSOR_CHANGE)
    house.clock.ahead += timedelta(days=40)
    with structlog.testing.capture_logs() as logs:
        await (await watch(house)).look()
    assert await told(house) == ["clock.started", "clock.elapsed"]
    assert [line["log_level"] for line in logs] == ["info"]
    assert state(await again(house, row), house.clock.now()) is State.ELAPSED
    async with inside(house) as connection:
        assert not any((await clocks(house).overdue(connection)).values())


async def test_what_happens_to_clocks_stands_in_the_audit_log(house: House) -> None:
    row = await started(house)
    house.clock.ahead += timedelta(hours=25)
    await (await watch(house)).look()
    await project(await house.main("worker"))
    async with inside(house) as connection:
        lines = await connection.fetch("SELECT action, object FROM audit_log ORDER BY position")
    assert [tuple(line) for line in lines] == [("clock.started", f"clock:{row.id}"), ("clock.overdue", f"clock:{row.id}")]


async def test_any_number_of_workers_and_a_kill_between_any_two_steps_give_each_warning_once(house: House) -> None:
    kill_at = 0
    while True:
        kill_at += 1
        row = await started(house)
        house.clock.ahead += timedelta(hours=13)
        fate = Fate(kill_at)
        try:
            await (await watch(house, fate)).look()
        except Killed:
            await asyncio.gather(*[(await watch(house)).look() for _ in range(3)])
        async with inside(house) as connection:
            events = await connection.fetchval("SELECT count(*) FROM outbox WHERE subject = $1 AND kind = 'clock.warned'", row.id)
            await clocks(house).end_row(connection, row, outcome="notified")
        assert events == 1, f"killed at border {kill_at}"
        if fate.passed < kill_at:
            break
    assert kill_at > 4


async def test_what_hushwire_does_by_itself_begins_before_the_end_is_tried_again_and_ends_the_clock(house: House) -> None:
    row, calls = await started(house, ClockKind.NUMBER_DATA), list[datetime]()

    async def erase(due: Clock) -> Done | None:
        assert due.subject_id == row.subject_id
        calls.append(house.clock.now())
        return Done("erased", {"receipt": str(uuid4())}) if len(calls) == 3 else None

    looking = await watch(house, acts={ClockKind.NUMBER_DATA: erase})
    assert row.act_at is not None
    for moment in (row.act_at - timedelta(minutes=1), row.act_at, row.act_at + timedelta(minutes=5), row.act_at + timedelta(minutes=11)):
        house.clock.ahead += moment - house.clock.now() + timedelta(seconds=5)
        await looking.look()
    assert len(calls) == 2
    house.clock.ahead += timedelta(minutes=11)
    await looking.look()
    ended = await again(house, row)
    assert (ended.outcome, ended.was_late) == ("erased", False)
    house.clock.ahead += timedelta(days=3)
    await looking.look()
    assert len(calls) == 3


async def test_an_act_that_fails_holds_up_no_other_clock(house: House) -> None:
    await started(house, ClockKind.NUMBER_DATA)
    other = await started(house)

    async def fails(_due: Clock) -> Done | None:
        raise OSError("away")

    house.clock.ahead += timedelta(days=20, hours=1)
    await (await watch(house, acts={ClockKind.NUMBER_DATA: fails})).look()
    assert (await again(house, other)).is_alarmed


@pytest.mark.parametrize("wanted", list(State))
async def test_a_list_by_state_holds_exactly_the_clocks_that_stand_so(house: House, wanted: State) -> None:
    rows = [await started(house, kind) for kind in ClockKind for _ in range(2)]
    async with inside(house) as connection:
        for row in rows[::4]:
            await clocks(house).end_row(connection, row, outcome="done")
    for hours in (0, 13, 24.5, 20 * 24, 45 * 24):
        house.clock.ahead = timedelta(hours=hours)
        async with inside(house) as connection:
            everything = await clocks(house).listed(connection, limit=200)
            found = await clocks(house).listed(connection, state=wanted, limit=200)
        assert len(everything) == len(rows)
        assert found == [row for row in everything if state(row, house.clock.now()) is wanted]
