"""/v1/agents/{id}/suspend and /resume: who may, what it changes, what stands in the audit log."""

from uuid import uuid4

import pytest

from tests.api.serving import Office, problem, shown


async def test_an_agent_is_suspended_and_resumed_and_each_change_is_in_the_audit_log_once(office: Office) -> None:
    agent = await office.add_agent("anna")
    async with office.client() as api:
        assert shown(await api.post(f"/v1/agents/{agent}/suspend"))["suspended"] is True
        assert shown(await api.post(f"/v1/agents/{agent}/suspend"))["suspended"] is True
        assert shown(await api.get(f"/v1/agents/{agent}"))["suspended"] is True
        assert shown(await api.post(f"/v1/agents/{agent}/resume"))["suspended"] is False
    logged = await office.rows("SELECT action, object FROM audit_log ORDER BY position")
    assert logged == [{"action": action, "object": f"agent:{agent}"} for action in ("agent.suspended", "agent.resumed")]


async def test_suspending_takes_the_registrations_away_and_raises_the_rules_version_for_the_gateways(office: Office) -> None:
    agent = await office.add_agent("anna")
    await office.rows(
        "INSERT INTO registrations (id, org_id, agent_id, node_id, contact_sealed, contact_index, call_id_hash, cseq, expires_at,"
        " created_at) VALUES (gen_random_uuid(), $1, $2, gen_random_uuid(), 's', 'i', 'h', 1, now() + interval '1 h', now())",
        office.house.org,
        agent,
    )
    (before,) = await office.rows("SELECT rules_version FROM orgs")
    async with office.client("admin") as api:
        shown(await api.post(f"/v1/agents/{agent}/suspend"))
    assert await office.rows("SELECT id FROM registrations") == []
    assert (await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"] > before["rules_version"]


@pytest.mark.parametrize("role", ["supervisor", "auditor", "agent"])
async def test_only_owners_and_admins_suspend(office: Office, role: str) -> None:
    agent = await office.add_agent("anna")
    async with office.client(role) as api:
        problem(await api.post(f"/v1/agents/{agent}/suspend"), 403)
    assert await office.rows("SELECT suspended FROM agents") == [{"suspended": False}]


async def test_a_foreign_an_unknown_and_a_malformed_agent_are_not_found(office: Office) -> None:
    foreign = await office.add_agent("zoe", org=office.other)
    async with office.client() as api:
        for agent in (foreign, uuid4(), "x"):
            problem(await api.post(f"/v1/agents/{agent}/suspend"), 404)
            problem(await api.post(f"/v1/agents/{agent}/resume"), 404)
    assert await office.rows("SELECT suspended FROM agents", org=office.other) == [{"suspended": False}]


async def test_how_an_agents_media_gets_its_ports_is_shown_and_changed_and_gateways_learn_of_it(office: Office) -> None:
    agent = await office.add_agent("anna")
    (before,) = await office.rows("SELECT rules_version FROM orgs")
    async with office.client() as api:
        assert shown(await api.get(f"/v1/agents/{agent}"))["media_ports"] == "auto"
        assert shown(await api.patch(f"/v1/agents/{agent}", json={"media_ports": "own"}))["media_ports"] == "own"
        assert problem(await api.patch(f"/v1/agents/{agent}", json={"media_ports": "any"}), 422)
        assert problem(await api.patch(f"/v1/agents/{agent}", json={}), 422)
        assert shown(await api.get(f"/v1/agents/{agent}"))["media_ports"] == "own"
    assert (await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"] > before["rules_version"]
    (logged,) = await office.rows("SELECT action FROM audit_log")
    assert logged["action"] == "agent.rectified"
