"""/v1/privacy/account-deletions: registered, gated, carried out by the one erasure path, in virtual time and through crashes."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from hushwire.privacy.clocks import ClockKind, State, state
from hushwire.services.account_deletions import AccountDeletions, Method
from hushwire.services.agents import Agents
from hushwire.services.notices import Notices
from hushwire.vault import tombstones
from tests.api.serving import Office, office, problem, shown
from tests.recorded import Chance, Fate, Killed
from tests.store.rows import insert

__all__ = ["office"]

WORDS = "I, Anna Berg, want my account to be deleted."


async def applied(api: httpx.AsyncClient, agent: object = "anna", **more: Any) -> dict[str, Any]:
    answer = await api.post("/v1/privacy/account-deletions", json={"agent": str(agent), "application": WORDS, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def service(office: Office, fate: Fate | None = None) -> AccountDeletions:
    """As the worker holds it."""
    house = office.house
    main, keyring = await house.main("worker", fate), await house.keyring("worker", fate)
    notices = Notices(main, keyring, office.means.clocks, house.clock, Chance())
    agents = Agents(main, keyring, house.clock)
    return AccountDeletions(main, keyring, await house.erasures("worker", fate), agents, notices, house.clock, Chance())


async def anna_with_calls(office: Office, count: int = 3) -> UUID:
    anna = await office.add_agent("anna", extension="101")
    for number in range(count):
        await office.add_call(f"+4930123456{number:02}", agent_id=anna, started_at=office.house.clock.now() - timedelta(days=1))
    return anna


async def left_of(office: Office, agent: UUID) -> int:
    """Keys of calls that still open, and rows that name the agent."""
    calls = await office.rows("SELECT count(*) AS n FROM calls WHERE agent_id = $1 OR peer_agent_id = $1", agent)
    agents = await office.rows("SELECT count(*) AS n FROM agents WHERE id = $1", agent)
    open_calls = await office.rows("SELECT count(*) AS n FROM calls WHERE sealed_with IS NOT NULL")
    return int(calls[0]["n"] + agents[0]["n"] + open_calls[0]["n"])


async def test_an_application_is_registered_sealed_clocked_and_told_and_deletes_nothing_by_itself(office: Office) -> None:
    anna = await anna_with_calls(office)
    async with office.client() as api:
        made = await applied(api)
        assert (made["state"], made["agent_id"], made["done_at"]) == ("received", str(anna), None)
        assert (await applied(api))["id"] == made["id"]
        assert shown(await api.get(f"/v1/privacy/account-deletions/{made['id']}"))["application"] == WORDS
        (clock,) = shown(await api.get("/v1/privacy/clocks", params={"kind": "account-deletion"}))["items"]
        assert (clock["id"], clock["due_at"]) == (made["clock_id"], made["due_at"])
        (notice,) = shown(await api.get("/v1/privacy/notices"))["items"]
        assert (notice["kind"], notice["about_id"]) == ("account-deletion", made["id"])
        assert await (await service(office)).carry_on() == 0
        assert (await api.get(f"/v1/agents/{anna}")).status_code == 200
    assert await left_of(office, anna) > 3
    for table in ("account_deletions", "notices", "clocks", "outbox", "audit_log"):
        for row in await office.rows(f"SELECT row_to_json(t)::text AS text FROM {table} AS t"):
            assert "Anna" not in row["text"]


async def test_once_verified_the_account_and_all_that_it_holds_is_gone_with_a_receipt_and_the_clock_ends(office: Office) -> None:
    anna = await anna_with_calls(office)
    other = await office.add_agent("ben", extension="102")
    kept = await office.add_call("+4930999999", agent_id=other)
    async with office.client() as api:
        made = await applied(api)
        office.house.clock.ahead += timedelta(days=3)
        done = shown(await api.post(f"/v1/privacy/account-deletions/{made['id']}/verify", json={"method": "email"}))
        assert (done["state"], done["method"]) == ("done", "email")
        assert shown(await api.get(f"/v1/privacy/account-deletions/{made['id']}"))["application"] is None
        problem(await api.get(f"/v1/agents/{anna}"), 404)
        clock = shown(await api.get(f"/v1/privacy/clocks/{made['clock_id']}"))
        assert (clock["outcome"], clock["late"], clock["evidence"]) == ("deleted", False, {"operation": done["operation_id"]})
        again = shown(await api.post(f"/v1/privacy/account-deletions/{made['id']}/verify", json={"method": "email"}))
        assert again == done
    assert await left_of(office, anna) == 1  # ben's
    assert (await office.rows("SELECT receipt IS NOT NULL AS proven FROM erasure_operations"))[0]["proven"]
    assert await office.means.keyring.fingerprint(office.house.org, "call", kept) is not None
    assert {row["kind"] for row in await office.rows("SELECT kind FROM notices")} == {"account-deletion", "account-deleted"}
    async with office.means.keyring_db.organisation(office.house.org) as connection:
        stones = await tombstones.of_object(connection, "agent", anna)
    assert [stone.tombstone.fields["state"] for stone in stones] == ["suspended", "removed"]
    assert [row["key_id"] for row in await office.rows("SELECT key_id FROM retired_keys")] == [UUID(made["id"])]


async def test_the_clock_of_an_application_that_nobody_verifies_is_overdue_after_15_days_of_its_receipt(office: Office) -> None:
    await office.add_agent("anna")
    received = office.house.clock.now() - timedelta(days=2)
    async with office.client() as api:
        made = await applied(api, received_at=received.isoformat())
    for days, expected in ((12.5, State.WARNED), (13.2, State.OVERDUE)):
        office.house.clock.ahead = timedelta(days=days)
        async with office.means.main.organisation(office.house.org) as connection:
            clock = await office.means.clocks.of(connection, ClockKind.ACCOUNT_DELETION, "account-deletion", UUID(made["id"]))
        assert clock is not None
        assert state(clock, office.house.clock.now()) is expected


async def test_a_legal_hold_keeps_what_it_holds_and_the_account_until_it_is_released(office: Office) -> None:
    anna = await anna_with_calls(office)
    (held,) = await office.rows("SELECT id FROM calls WHERE agent_id = $1 LIMIT 1", anna)
    hold = uuid4()
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        placed = {"reason": "claim", "authority_sealed": b"x", "placed_at": office.house.clock.now(), "placed_by": "api-key:1"}
        await insert(connection, "legal_holds", id=hold, org_id=office.house.org, scope="call", object_id=held["id"], **placed)
    async with office.client() as api:
        made = await applied(api)
        done = shown(await api.post(f"/v1/privacy/account-deletions/{made['id']}/verify", json={"method": "customer"}))
        assert done["state"] == "held"
        assert shown(await api.get(f"/v1/agents/{anna}"))["suspended"]
    assert await office.means.keyring.fingerprint(office.house.org, "call", held["id"]) is not None
    assert await (await service(office)).carry_on() == 0
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE legal_holds SET released_at = now(), released_by = 'api-key:1' WHERE id = $1", hold)
    await (await office.house.erasures("worker")).operations.again(office.house.org, UUID(done["operation_id"]))
    assert await (await service(office)).carry_on() == 1
    assert await left_of(office, anna) == 0


async def test_refused_or_withdrawn_before_the_gate_nothing_is_deleted_and_after_it_nothing_is_taken_back(office: Office) -> None:
    anna = await anna_with_calls(office, 1)
    async with office.client() as api:
        for path, body, expected in (("refuse", {"reason": "not-verified"}, "refused"), ("withdraw", None, "withdrawn")):
            made = await applied(api)
            url = f"/v1/privacy/account-deletions/{made['id']}"
            assert shown(await api.post(f"{url}/{path}", json=body))["state"] == expected
            assert shown(await api.get(f"/v1/privacy/clocks/{made['clock_id']}"))["outcome"] == expected
            assert shown(await api.get(url))["application"] is None
            problem(await api.post(f"{url}/verify", json={"method": "email"}), 409)
        assert (await api.get(f"/v1/agents/{anna}")).status_code == 200
        made = await applied(api)
        shown(await api.post(f"/v1/privacy/account-deletions/{made['id']}/verify", json={"method": "email"}))
        problem(await api.post(f"/v1/privacy/account-deletions/{made['id']}/withdraw"), 409)
        assert len(shown(await api.get("/v1/privacy/account-deletions"))["items"]) == 3
        assert len(shown(await api.get("/v1/privacy/account-deletions", params={"state": "done"}))["items"]) == 1


async def test_what_is_no_application_is_refused_and_another_organisations_is_not_there(office: Office) -> None:
    await office.add_agent("anna")
    url = "/v1/privacy/account-deletions"
    async with office.client() as api:
        for body in (
            {"agent": "nobody", "application": WORDS}, {"agent": str(uuid4()), "application": WORDS}, {"agent": "anna"},
            {"agent": "anna", "application": ""}, {"agent": "anna", "application": "x" * 20_001}, {"agent": "", "application": WORDS},
            {"agent": "anna", "application": WORDS, "received_at": "2999-01-01T00:00:00Z"},
            {"agent": "anna", "application": WORDS, "state": "verified"}, {"agent": ["anna"], "application": WORDS},
        ):  # fmt: skip
            assert "Anna" not in str(problem(await api.post(url, json=body), 422))
        made = await applied(api)
        problem(await api.post(f"{url}/{made['id']}/verify", json={"method": "guess"}), 422)
        problem(await api.post(f"{url}/{uuid4()}/verify", json={"method": "email"}), 404)
    async with office.client(slug="globex") as api:
        problem(await api.get(f"{url}/{made['id']}"), 404)
        problem(await api.post(f"{url}/{made['id']}/verify", json={"method": "email"}), 404)
        problem(await api.post(url, json={"agent": made["agent_id"], "application": WORDS}), 422)
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as api:
            problem(await api.get(url), 403)


@pytest.mark.slow
async def test_killed_between_any_two_steps_the_next_worker_finishes_it(office: Office) -> None:
    kill_at = 0
    while True:
        kill_at += 1
        agent = await office.add_agent(f"anna{kill_at}")
        await office.add_call("+4930123456", agent_id=agent, started_at=office.house.clock.now() - timedelta(days=1))
        async with office.client() as api:
            made = await applied(api, agent)
        fate = Fate(kill_at)
        dying = await service(office, fate)
        # The gate is passed in the API; all that follows may be any worker's.
        async with office.means.main.organisation(office.house.org) as connection:
            await connection.execute(
                "UPDATE account_deletions SET state = 'verified', verified_at = now(), verified_by = 'api-key:1', method = 'email'"
                " WHERE id = $1", UUID(made["id"]),
            )  # fmt: skip
        try:
            await dying.carry_on()
        except Killed:
            await (await service(office)).carry_on()
        view = await office.means.account_deletions.get(office.house.org, UUID(made["id"]))
        assert view is not None
        assert view.row.state == "done", f"killed at border {kill_at}"
        assert view.clock is not None
        assert view.clock.outcome == "deleted"
        assert await left_of(office, agent) == 0
        if fate.passed < kill_at:
            break
    assert kill_at > 15
    assert Method(view.row.method or "") is Method.EMAIL
