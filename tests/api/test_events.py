"""/v1/events: what happens, in order and without gaps, from where a reader left off; each key its own share, and never a neighbour's."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest

from hushwire.api import event_stream
from hushwire.core.events import EventKind
from hushwire.services.erasure_expiry import expire
from hushwire.services.event_feed import MOST_PER_KEY
from tests.api.serving import Office, problem
from tests.api.test_webhooks import happens
from tests.polling import until

Told = tuple[int, str, dict[str, Any]]


async def read(response: httpx.Response) -> AsyncIterator[Told]:
    """The events of a stream, as WHATWG HTML (section 9.2.6) reads them."""
    said: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            said[name] = value.removeprefix(" ")
        else:
            if "data" in said:
                yield int(said["id"]), said["event"], json.loads(said["data"])
            said = {}


async def followed(api: httpx.AsyncClient, after: int | None, most: int, query: str = "") -> list[Told]:
    """So many events, by as many streams as it takes."""
    found: list[Told] = []
    async with asyncio.timeout(20):
        while len(found) < most:
            headers = {} if after is None else {"Last-Event-ID": str(after)}
            async with api.stream("GET", f"/v1/events{query}", headers=headers) as response:
                assert response.status_code == 200
                assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
                async for told in read(response):
                    found.append(told)
                    after = told[0]
    return found


async def test_a_reader_that_comes_back_again_and_again_misses_nothing_and_hears_nothing_twice(office: Office) -> None:
    async with office.client() as api:

        async def writing() -> list[str]:
            return [str((await happens(office, EventKind.CALL_ENDED))[0].id) for _ in range(30)]

        written, told = await asyncio.gather(writing(), followed(api, 0, 30))
    assert [said["id"] for _, _, said in told] == written
    assert [position for position, _, _ in told] == list(range(1, 31))
    assert {kind for _, kind, _ in told} == {"call.ended"}


async def test_an_event_says_ids_and_states_and_a_reader_without_a_place_hears_what_comes_from_now_on(office: Office) -> None:
    await happens(office, EventKind.CALL_STARTED)
    async with office.client() as api:
        task = asyncio.create_task(followed(api, None, 1))
        events = []
        while not task.done():
            events += await happens(office, EventKind.CALL_ENDED)
            await asyncio.wait({task}, timeout=0.1)
        ((position, kind, said), *_) = await task
    event = events[position - 2]
    assert said == {
        "id": str(event.id), "position": position, "type": kind, "timestamp": event.at.isoformat(),
        "data": {"subject": str(event.subject), "state": "ended"},
    }  # fmt: skip


async def test_each_key_hears_what_its_role_may_read_and_of_that_what_it_asks_for(office: Office) -> None:
    kinds = (
        EventKind.CALL_ENDED,
        EventKind.RECORDING_STORED,
        EventKind.REQUEST_RECEIVED,
        EventKind.SUPERVISION_STARTED,
        EventKind.CALL_STARTED,
    )
    await happens(office, *kinds, org=office.other)
    await happens(office, *kinds)
    async with office.client() as owner, office.client("auditor") as auditor, office.client("agent") as agent:
        assert [told[1] for told in await followed(owner, 0, 5)] == [kind.value for kind in kinds]
        assert [told[1] for told in await followed(owner, 0, 2, "?kinds=call.*")] == ["call.ended", "call.started"]
        assert [told[1] for told in await followed(owner, 0, 2, "?kinds=call.started,recording.stored")] == [
            "recording.stored",
            "call.started",
        ]
        assert [told[1] for told in await followed(auditor, 0, 3)] == ["call.ended", "recording.stored", "call.started"]
        problem(await agent.get("/v1/events"), 403)
        for wrong in ("?kinds=calls", "?kinds=", "?kinds=call.ended,"):
            problem(await owner.get(f"/v1/events{wrong}"), 422)
        for place in ("x", "-1", "1.5", "9" * 20):
            problem(await owner.get("/v1/events", headers={"Last-Event-ID": place}), 422)


async def test_a_reader_whose_place_is_gone_is_told_so_and_goes_on_with_the_oldest_that_is_there(office: Office) -> None:
    await happens(office, EventKind.CALL_STARTED, EventKind.CALL_ENDED)
    office.house.clock.ahead += timedelta(days=8)
    await happens(office, EventKind.CALL_DIVERTED)
    await expire(await office.house.main("worker"), office.house.clock)
    async with office.client() as api:
        told = await followed(api, 0, 2)
    assert [(position, kind) for position, kind, _ in told] == [(2, "missed"), (3, "call.diverted")]
    assert told[0][2] == {"oldest": 3}


async def test_a_key_has_so_many_streams_at_once_and_one_that_is_left_makes_room(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office.means.events, "_longest_s", 60.0)
    async with office.client(limits=httpx.Limits(max_connections=20)) as api, office.client("admin") as other:
        async with AsyncExitStack() as streams:
            for _ in range(MOST_PER_KEY):
                await streams.enter_async_context(api.stream("GET", "/v1/events"))
            answer = problem(await api.get("/v1/events"), 429)
            assert answer["status"] == 429
            async with other.stream("GET", "/v1/events") as response:
                assert response.status_code == 200

        async def has_room() -> bool:
            async with api.stream("GET", "/v1/events") as again:
                return again.status_code == 200

        await until(has_room)


async def test_a_reader_that_takes_nothing_more_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STALLED_S", 0.01)
    never, left, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b": quiet\n\n"
        finally:
            closed.set()

    async def receive() -> dict[str, Any]:
        await never.wait()
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await never.wait()  # as a server waits that can't write

    places = ExitStack()
    places.callback(left.set)
    async with asyncio.timeout(10):
        await event_stream.EventStream(chunks(), places)({"type": "http"}, receive, send)
    assert left.is_set()
    assert closed.is_set()


async def test_a_stream_ends_with_its_key(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office.means.events, "_longest_s", 60.0)
    async with office.client("auditor") as api, api.stream("GET", "/v1/events") as response:
        assert response.status_code == 200
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            await connection.execute("UPDATE api_keys SET revoked_at = now() WHERE role = 'auditor'")
        await happens(office, EventKind.CALL_ENDED)
        async with asyncio.timeout(10):
            assert [told async for told in read(response)] == []
