"""POST /v1/calls: whose agent's phones ring, and what is answered when a gateway takes it, refuses it, or is not there."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from hushwire.core.ids import OrgId
from hushwire.services.call_requests import opened
from hushwire.store import call_requests as table
from hushwire.store.call_requests import CHANNEL, CallRequest
from tests.api.serving import Office, problem

NUMBER = "+493023125111"
CALL = uuid4()


@asynccontextmanager
async def gateway(office: Office, outcome: str = "ok") -> AsyncIterator[list[CallRequest]]:
    """One that takes requests; yields what it took."""
    database = await office.house.main("gateway")
    taken: list[CallRequest] = []
    woken = asyncio.Event()
    await database.listen(CHANNEL, lambda _: woken.set())

    async def work() -> None:
        while True:
            await woken.wait()
            woken.clear()
            async with database.transaction() as connection:
                found = await table.open_for(connection, office.house.node)
            for org_id, request_id in found:
                async with database.organisation(OrgId(org_id)) as connection:
                    wanted = await table.take(connection, request_id, office.house.node, office.house.clock.now())
                    assert wanted is not None
                    taken.append(wanted)
                    call_id = CALL if outcome == "ok" else None
                    await table.finish(connection, request_id, outcome, call_id, office.house.clock.now())  # type: ignore[arg-type]

    task = asyncio.create_task(work())
    try:
        yield taken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_gateway_is_asked_for_the_call_once_and_its_id_is_told(office: Office) -> None:
    agent = await office.add_agent("anna")
    keys = await (await office.house.keyring("gateway")).org_context(office.house.org)
    async with gateway(office) as taken, office.client("supervisor") as api:
        for name in ("anna", str(agent)):
            body = {"agent": name, "to": NUMBER, "auto_answer": True}
            for _ in range(2):
                answer = await api.post("/v1/calls", json=body, headers={"Idempotency-Key": name})
                assert answer.status_code == 201, answer.text
                assert answer.headers["Location"] == f"/v1/calls/{CALL}"
                assert answer.json() == {"id": str(CALL), "state": "ringing"}
        problem(await api.post("/v1/calls", json={"agent": "anna", "to": "101"}, headers={"Idempotency-Key": "anna"}), 422)
    assert [(one.agent_id, one.answers_itself, one.is_telemarketing) for one in taken] == [(agent, True, False)] * 2
    assert opened(keys, taken[0].id, taken[0].destination_sealed) == NUMBER
    rows = await office.rows("SELECT destination_sealed FROM call_requests")
    assert [row["destination_sealed"] for row in rows] == [None, None], "the number is in no row once somebody has it"
    logged = await office.rows("SELECT action, object FROM audit_log ORDER BY position")
    assert [(row["action"], row["object"]) for row in logged] == [("call.begin", f"agent:{agent}")] * 2


async def test_what_is_refused_is_a_problem_in_the_words_of_the_catalogue(office: Office) -> None:
    await office.add_agent("anna")
    for code, status in (("country", 403), ("invalid", 422), ("agent-not-reached", 409), ("closing", 503), ("concurrent-calls", 403)):
        async with gateway(office, code), office.client() as api:
            said = problem(await api.post("/v1/calls", json={"agent": "anna", "to": NUMBER}), status)
            (known,) = [one for one in (await api.get("/v1/refusals")).json()["items"] if one["code"] == code]
        assert (said["type"], said["detail"], said["reason"]) == (known["type"], known["explanation"], code)


async def test_nobody_calls_in_the_name_of_who_is_not_there_or_is_a_neighbours(office: Office) -> None:
    agent = await office.add_agent("anna")
    async with gateway(office) as taken, office.client(slug="globex") as theirs, office.client("auditor") as auditor:
        for name in (str(agent), "anna", str(UUID(int=1))):
            problem(await theirs.post("/v1/calls", json={"agent": name, "to": NUMBER}, headers={"Idempotency-Key": name}), 422)
        problem(await auditor.post("/v1/calls", json={"agent": "anna", "to": NUMBER}), 403)
    assert not taken
    assert not await office.rows("SELECT 1 FROM call_requests")


async def test_somebody_is_called_into_a_conference_that_stands_by_the_gateway_that_holds_it(office: Office) -> None:
    agent = await office.add_agent("anna")
    room, over, call = [
        await office.add_call(direction=direction, state=state)
        for direction, state in (("conference", "active"), ("conference", "ended"), ("outbound", "active"))
    ]
    body = {"agent": "anna", "to": NUMBER}
    async with gateway(office) as taken, office.client("supervisor") as api, office.client(slug="globex") as theirs:
        answer = await api.post(f"/v1/calls/{room}/participants", json=body)
        assert (answer.status_code, answer.json()["id"]) == (201, str(CALL))
        for nothing in (over, call, uuid4()):
            problem(await api.post(f"/v1/calls/{nothing}/participants", json=body), 404)
        problem(await theirs.post(f"/v1/calls/{room}/participants", json=body), 404)
    ((one),) = taken
    assert (one.agent_id, one.room_id, one.node_wanted) == (agent, room, office.house.node)
    async with gateway(office, "not-in-conference"), office.client() as api:
        assert problem(await api.post(f"/v1/calls/{room}/participants", json=body), 403)["reason"] == "not-in-conference"


async def test_what_is_kept_under_an_idempotency_key_is_no_hash_that_numbers_could_be_tried_against(office: Office) -> None:
    agent, body = await office.add_agent("anna"), {"agent": "anna", "to": NUMBER}
    room = await office.add_call(direction="conference", state="active")
    async with gateway(office) as taken, office.client("supervisor") as api:
        for path in ("/v1/calls", f"/v1/calls/{room}/participants"):
            for _ in range(2):
                assert (await api.post(path, json=body, headers={"Idempotency-Key": path})).status_code == 201
    assert len(taken) == 2
    kept = {bytes(row["request_hash"]) for row in await office.rows("SELECT request_hash FROM idempotency")}
    asked = ("call", str(agent), "00", NUMBER), ("invite", str(room), str(agent), NUMBER)
    callers = [str(row["id"]) for row in await office.rows("SELECT id FROM api_keys")]
    tried = {hashlib.sha256("\0".join((caller, *said)).encode()).digest() for caller in callers for said in asked}
    assert len(kept) == 2
    assert not kept & tried
