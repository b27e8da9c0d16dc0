"""/v1/agents/{id}/forwarding: set, judged at once, sealed, and told to the gateways."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.api.serving import Office, problem, shown

AT = {"always": None, "busy": None, "no_answer": None, "unavailable": None, "no_answer_after_s": None}
DEFAULT = {**AT, "do_not_disturb": False, "call_waiting": True}


def path(agent: UUID) -> str:
    return f"/v1/agents/{agent}/forwarding"


async def test_what_is_set_is_shown_sealed_in_the_row_and_raises_the_rules_version(office: Office) -> None:
    agent = await office.add_agent("anna")
    (before,) = await office.rows("SELECT rules_version FROM orgs")
    wanted = {"busy": "+49-30-23125999", "no_answer": "+493023125998", "no_answer_after_s": 15, "call_waiting": False}
    async with office.client() as api:
        assert shown(await api.get(path(agent))) == DEFAULT
        said = shown(await api.put(path(agent), json=wanted))
        assert said == {**DEFAULT, **wanted}
        assert shown(await api.get(path(agent))) == said
    (row,) = await office.rows("SELECT forwarding_sealed FROM agents")
    assert row["forwarding_sealed"] is not None
    assert b"23125" not in row["forwarding_sealed"]
    assert (await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"] > before["rules_version"]
    assert [one["action"] for one in await office.rows("SELECT action FROM audit_log")] == ["agent.rectified"]
    async with office.client() as api:
        assert shown(await api.put(path(agent), json={})) == DEFAULT
    assert (await office.rows("SELECT forwarding_sealed FROM agents"))[0]["forwarding_sealed"] is None


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"always": "+33142685300"}, "allowed countries"),
        ({"busy": "112"}, "emergency"),
        ({"no_answer": "anna"}, "the agent itself"),
        ({"unavailable": "sip:x@y"}, "extension"),
        ({"always": ""}, "extension"),
        ({"no_answer_after_s": 1}, ""),
        ({"everything": "102"}, ""),
    ],
)
async def test_what_could_never_be_reached_is_refused_with_the_reason_and_changes_nothing(
    office: Office, wanted: dict[str, Any], said: str
) -> None:
    agent = await office.add_agent("anna")
    async with office.client() as api:
        told = problem(await api.put(path(agent), json=wanted), 422)
        assert said.lower() in str(told).lower()
        assert shown(await api.get(path(agent))) == DEFAULT


async def test_a_colleague_may_be_named_and_agents_of_others_are_not_found(office: Office) -> None:
    agent, foreign = await office.add_agent("anna"), await office.add_agent("zoe", org=office.other)
    await office.add_agent("ben")
    async with office.client("admin") as api:
        assert shown(await api.put(path(agent), json={"always": "ben"}))["always"] == "ben"
        problem(await api.put(path(foreign), json={}), 404)
        problem(await api.get(path(foreign)), 404)
    async with office.client("supervisor") as api:
        problem(await api.put(path(agent), json={}), 403)
        assert shown(await api.get(path(agent)))["always"] == "ben"


async def test_a_call_is_found_and_erased_by_the_number_that_it_was_diverted_to(office: Office) -> None:
    keys = await (await office.house.keyring("gateway")).org_context(office.house.org)
    said = [{"agent": str(await office.add_agent("anna")), "reason": "user-busy", "leads_out": True, "refused": None}]
    call = await office.add_call(
        "102", direction="internal", diversions=json.dumps(said), diverted_to_index=keys.index("calls.remote", "+493023125999")
    )
    async with office.client() as api:
        (found,) = shown(await api.post("/v1/calls/search", json={"number": "+49 30 23125999"}))["items"]
        assert (found["id"], found["diversions"]) == (str(call), said)
        erased = shown(await api.post("/v1/calls/erase", json={"number": "+493023125999", "reason": "data-subject-request"}))
        assert erased["counts"]["call"]["unreadable"] == 1
    (row,) = await office.rows("SELECT remote_index, diverted_to_index, sealed_with FROM calls")
    assert set(row.values()) == {None}


async def test_a_ring_group_may_be_named(office: Office) -> None:
    agent = await office.add_agent("anna")
    await office.rows(
        "INSERT INTO ring_groups (id, org_id, name, dialled, strategy, ring_s, follows_forwarding, created_at, updated_at)"
        " VALUES (gen_random_uuid(), $1, 'sales', '600', 'serial', 20, false, now(), now())",
        office.house.org,
    )
    async with office.client() as api:
        assert shown(await api.put(path(agent), json={"busy": "600"}))["busy"] == "600"
        assert problem(await api.put(path(agent), json={"busy": "601"}), 422)
