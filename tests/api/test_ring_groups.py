"""/v1/ring-groups: made, changed and removed as the provisioning file does it, and told to the gateways."""

from typing import Any

import pytest

from tests.api.serving import Office, problem, shown

SALES = {"name": "sales", "extension": "600", "strategy": "serial", "members": ["ben", "anna"]}


async def test_a_group_is_made_changed_and_removed_and_each_change_reaches_gateways_and_the_audit_log(office: Office) -> None:
    anna, ben = await office.add_agent("anna", extension="101"), await office.add_agent("ben")

    async def version() -> int:
        return int((await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"])

    versions = [await version()]
    async with office.client() as api:
        answer = await api.post("/v1/ring-groups", json=SALES)
        made = answer.json()
        assert answer.status_code == 201, answer.text
        usual = {"ring_s": 20, "follows_forwarding": False, "members": [str(ben), str(anna)]}
        assert made == {**SALES, **usual, "id": made["id"]}
        versions.append(await version())
        path = f"/v1/ring-groups/{made['id']}"
        assert shown(await api.get("/v1/ring-groups")) == [shown(await api.get(path))] == [made]
        wanted = {"name": "sales", "extension": "601", "members": [str(anna)], "follows_forwarding": True}
        changed = shown(await api.put(path, json=wanted))
        assert changed == {**made, **wanted, "strategy": "parallel", "ring_s": 60}
        assert shown(await api.put(path, json=wanted)) == changed
        versions.append(await version())
        assert (await api.delete(path)).status_code == 204
        problem(await api.delete(path), 404)
        problem(await api.put(path, json=wanted), 404)
        versions.append(await version())
        assert shown(await api.get("/v1/ring-groups")) == []
    assert versions == sorted(set(versions))
    log = await office.rows("SELECT action FROM audit_log ORDER BY position")
    assert [one["action"] for one in log] == ["group.made", "group.changed", "group.removed"]


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"name": "other"}, "name"),
        ({"extension": "101"}, "agent"),
        ({"extension": "699"}, "another group"),
        ({"extension": "112"}, "emergency"),
        ({"extension": "110"}, "emergency"),
        ({"extension": "6x0"}, "digits"),
        ({"members": ["anna", "anna"]}, "twice"),
        ({"members": ["nobody"]}, "no agent"),
        ({"members": []}, "members"),
        ({"ring_s": 4}, "ring_s"),
        ({"name": "-"}, "letter"),
    ],
)
async def test_what_would_lead_nowhere_or_astray_is_refused(office: Office, different: dict[str, Any], said: str) -> None:
    await office.add_agent("anna", extension="101")
    await office.add_agent("ben")
    async with office.client() as api:
        other = (await api.post("/v1/ring-groups", json={"name": "other", "extension": "699", "members": ["anna"]})).json()
        mine = (await api.post("/v1/ring-groups", json=SALES)).json()
        before = shown(await api.get("/v1/ring-groups"))
        assert said in str(problem(await api.put(f"/v1/ring-groups/{mine['id']}", json={**SALES, **different}), 422))
        new = {**SALES, "name": "new", "extension": "605", **different}
        assert said in str(problem(await api.post("/v1/ring-groups", json=new), 422))
        assert shown(await api.get("/v1/ring-groups")) == before
        assert [one["id"] for one in before] == [other["id"], mine["id"]]


async def test_an_agent_is_not_given_a_groups_extension(office: Office) -> None:
    anna = await office.add_agent("anna", extension="101")
    async with office.client() as api:
        assert (await api.post("/v1/ring-groups", json={**SALES, "members": ["anna"]})).status_code == 201
        assert "group" in str(problem(await api.patch(f"/v1/agents/{anna}", json={"extension": "600"}), 422))
