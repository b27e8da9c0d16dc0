"""/v1/agents/{id}/devices: who may, what is shown once, what stands in the audit log."""

from uuid import UUID, uuid4

import pytest

from tests.api.serving import Office, problem, shown


async def test_a_device_is_made_shown_once_listed_and_revoked(office: Office) -> None:
    agent = await office.add_agent("anna")
    async with office.client("admin") as api:
        answer = await api.post(f"/v1/agents/{agent}/devices", json={"name": "desk"})
        assert answer.status_code == 201
        made = answer.json()
        assert (made["sip_uri"], made["domain"], made["realm"]) == ("sip:anna@acme.pbx.test", "acme.pbx.test", "pbx.test")
        assert len(made["password"]) >= 24
        assert made["expires_at"] is None
        (own, device) = (await api.get(f"/v1/agents/{agent}/devices")).json()
        assert (own["id"], own["state"], own["login"]) == (str(agent), "revoked", None)
        assert (device["id"], device["name"], device["login"], device["state"]) == (made["id"], "desk", made["login"], "active")
        assert made["password"] not in (await api.get(f"/v1/agents/{agent}/devices")).text
        for _ in range(2):
            assert (await api.delete(f"/v1/agents/{agent}/devices/{made['id']}")).status_code == 204
        assert (await api.get(f"/v1/agents/{agent}/devices")).json()[1]["state"] == "revoked"
    logged = await office.rows("SELECT action, fields::text FROM audit_log WHERE object = $1 ORDER BY position", f"device:{made['id']}")
    assert [row["action"] for row in logged] == ["device.added", "device.revoked"]
    assert all(made["password"] not in row["fields"] and made["login"] not in row["fields"] for row in logged)


async def test_a_ttl_makes_a_credential_that_ends_by_itself(office: Office) -> None:
    agent = await office.add_agent("anna")
    async with office.client() as api:
        made = (await api.post(f"/v1/agents/{agent}/devices", json={"name": "web phone", "ttl_s": 3600})).json()
        assert made["expires_at"] is not None
        for ttl_s in (0, 59, 86_401, "60"):
            problem(await api.post(f"/v1/agents/{agent}/devices", json={"name": "web", "ttl_s": ttl_s}), 422)


@pytest.mark.parametrize("role", ["supervisor", "auditor", "agent"])
async def test_only_owners_and_admins_make_and_revoke_devices(office: Office, role: str) -> None:
    agent = await office.add_agent("anna")
    async with office.client(role) as api:
        problem(await api.post(f"/v1/agents/{agent}/devices", json={"name": "desk"}), 403)
        problem(await api.delete(f"/v1/agents/{agent}/devices/{uuid4()}"), 403)
    assert await office.rows("SELECT id FROM devices") == []


async def test_foreign_unknown_and_malformed_agents_and_devices_are_not_found(office: Office) -> None:
    agent, foreign = await office.add_agent("anna"), await office.add_agent("zoe", org=office.other)
    other = await office.add_agent("ben")
    async with office.client() as api:
        made = UUID((await api.post(f"/v1/agents/{agent}/devices", json={"name": "desk"})).json()["id"])
        for nobody in (foreign, uuid4(), "x"):
            problem(await api.post(f"/v1/agents/{nobody}/devices", json={"name": "desk"}), 404)
            problem(await api.get(f"/v1/agents/{nobody}/devices"), 404)
            problem(await api.delete(f"/v1/agents/{nobody}/devices/{made}"), 404)
        problem(await api.delete(f"/v1/agents/{other}/devices/{made}"), 404)
        problem(await api.delete(f"/v1/agents/{agent}/devices/{uuid4()}"), 404)
        assert shown(await api.get(f"/v1/agents/{agent}"))["id"] == str(agent)
        assert (await api.get(f"/v1/agents/{agent}/devices")).json()[1]["state"] == "active"
