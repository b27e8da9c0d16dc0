"""The database goes away in the middle of a window: what was claimed and never committed is sent once, and no late answer is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

import pytest
import smpp34

from hushwire.services import message_ahead, message_carrier, message_runs
from hushwire.store import message_parts
from hushwire.store.database import Connection
from hushwire.store.message_parts import Claimed, PartRef, Settled
from tests.polling import until
from tests.ports import free_port
from tests.recorded import House, house
from tests.services.message_texts import carrying, numbers
from tests.store.rows import add_org

__all__ = ["house"]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[smpp34.Server, int]]:
    server = smpp34.Server("127.0.0.1", (port := free_port()), system_id="smsc")
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


async def within(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def test_what_was_claimed_as_the_database_went_away_is_sent_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, settle = message_parts.claim, message_parts.settle
    tried: list[set[tuple[UUID, int]]] = []
    second_failed, arrived, written = asyncio.Event(), asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def claiming(
        connection: Connection, run_id: UUID, centre_id: UUID, parts: Sequence[tuple[PartRef, bytes]], now: datetime
    ) -> list[Claimed]:
        tried.append({(ref.message_id, ref.part) for ref, _ in parts})
        if len(tried) == 1:  # two turns at once; the one that began first fails last
            await second_failed.wait()
        if len(tried) <= 2:
            raise OSError("away")
        return await claim(connection, run_id, centre_id, parts, now)

    async def settling(connection: Connection, run_id: UUID, settled: Sequence[Settled], now: datetime) -> list[tuple[Settled, int]]:
        is_first = not written.is_set() and any((one.message_id, one.part) in tried[0] for one in settled)
        if is_first:  # a slow commit: whatever else is written at that time has been
            await within(arrived, 2)
        found = await settle(connection, run_id, settled, now)
        if is_first:
            written.set()
        return found

    async def answer(server: smpp34.Server) -> None:
        held = []
        while True:
            event = await server.next()
            seen.append(event.destination_addr)
            arrived.set()
            held.append(event)
            await within(written, 5)
            while held:
                held.pop().accept(f"{len(seen)}-{len(held)}")

    monkeypatch.setattr(message_parts, "claim", claiming)
    monkeypatch.setattr(message_parts, "settle", settling)
    async with serving() as (server, port), carrying(house) as here:
        await here.provision(port, window=10, answer_within_s=30)
        await here.start()
        assert isinstance(await server.next(), smpp34.Esme)
        await here.bound()
        ids = await here.send(*numbers(10))
        (carrier,) = here.carriers.carriers
        await until(lambda: len(tried) == 2 and carrier._outcomes)
        second_failed.set()
        await until(lambda: len(carrier._outcomes) == len(ids))
        here.carriers.woken()  # as by every message that is accepted meanwhile
        answering = asyncio.create_task(answer(server))
        try:
            await here.is_state(ids, "submitted")
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        assert set(Counter(seen).values()) == {1}


async def test_a_late_answer_is_written_though_it_is_not_written_yet_that_nobody_knew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, late = message_parts.settle, message_parts.late
    is_away, calls, told = True, 0, asyncio.Event()

    async def settling(connection: Connection, run_id: UUID, settled: Sequence[Settled], now: datetime) -> list[tuple[Settled, int]]:
        nonlocal calls
        if is_away:
            raise OSError("away")
        calls += 1
        if calls == 2:  # of two turns at once the other one is through first
            await within(told, 3)
        return await settle(connection, run_id, settled, now)

    async def answered_late(connection: Connection, settled: Sequence[Settled], now: datetime) -> list[tuple[Settled, int]]:
        try:
            return await late(connection, settled, now)
        finally:
            told.set()

    monkeypatch.setattr(message_parts, "settle", settling)
    monkeypatch.setattr(message_parts, "late", answered_late)
    async with serving() as (server, port), carrying(house) as here:
        await here.provision(port, window=2, answer_within_s=1)
        await here.start()
        assert isinstance(await server.next(), smpp34.Esme)
        await here.bound()
        ids = await here.send(*numbers(2))
        events = [await server.next() for _ in ids]
        (carrier,) = here.carriers.carriers
        await until(lambda: carrier.counts.unknown == 2)
        for number, event in enumerate(events):
            event.accept(f"{number}")
        await until(lambda: carrier.counts.submitted == 2)
        is_away = False
        await here.is_state(ids, "submitted", timeout_s=15)


async def test_rows_of_one_organisation_that_can_not_be_read_or_written_hold_up_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_runs, "PUT_OFF_FOR", timedelta(seconds=0.3))
    for module in (message_ahead, message_carrier):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.3)
    owner = await house.main("owner")
    other = await add_org(owner, "globex")

    async def refuse(when: str | None) -> None:
        async with owner.transaction() as connection:
            await connection.execute("DROP TRIGGER IF EXISTS refusing ON message_parts")
            if when is not None:
                no = "BEGIN RAISE EXCEPTION ''not this one''; END"
                await connection.execute(f"CREATE OR REPLACE FUNCTION refusing() RETURNS trigger LANGUAGE plpgsql AS '{no}'")
                await connection.execute(
                    "CREATE TRIGGER refusing BEFORE UPDATE ON message_parts FOR EACH ROW"
                    f" WHEN (NEW.org_id = '{house.org}' AND {when}) EXECUTE FUNCTION refusing()"
                )

    async with serving() as (server, port), carrying(house) as here:
        await here.provision(port, window=8)
        # Nothing of the one can be opened, nor can it be written that it waits.
        here.texts.unreadable = {house.org}
        await refuse("true")
        mine = await here.send_before(*numbers(30))
        theirs = await here.send_before(*numbers(30), org=other)
        await here.start()
        assert isinstance(await server.next(), smpp34.Esme)

        async def take() -> None:
            for number in range(10**6):
                (await server.next()).accept(f"{number}")

        taking = asyncio.create_task(take())
        try:
            await here.is_state(theirs, "submitted", org=other)
            # What of the one is answered can't be written.
            here.texts.unreadable = set()
            await refuse("NEW.state = 'submitted'")

            async def some_left() -> bool:
                return "sending" in (await here.states()).values()

            await until(some_left, timeout_s=20)
            theirs = await here.send(*numbers(30), org=other)
            await here.is_state(theirs, "submitted", org=other)
            assert set((await here.states()).values()) <= {"queued", "sending"}
            await refuse(None)
            await here.is_state(mine, "submitted", timeout_s=40)
        finally:
            taking.cancel()
