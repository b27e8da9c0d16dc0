"""/v1/teams and what teams and agents narrow: saved expanded, told to the gateways, judged by at once."""

from typing import Any

import pytest

from hushwire.policy.groups import GROUPS
from tests.api.serving import Office, problem, shown

CHECK = {"destination": "+4312345678", "channel": "invite", "agent": "anna"}


async def test_a_team_and_its_members_rules_are_made_changed_and_removed_and_obeyed(office: Office) -> None:
    anna, ben = await office.add_agent("anna", extension="101"), await office.add_agent("ben")
    async with office.client() as api:
        shown(await api.put("/v1/voice-security", json={"allowed_countries": ["DE", "AT"]}))
        answer = await api.post("/v1/teams", json={"name": "sales", "members": ["anna"]})
        assert answer.status_code == 201, answer.text
        team = answer.json()
        assert team == {"id": team["id"], "name": "sales", "members": [str(anna)]}
        assert shown(await api.get("/v1/teams")) == [shown(await api.get(f"/v1/teams/{team['id']}"))] == [team]
        path = f"/v1/voice-security/teams/{team['id']}"
        nothing = {"allowed_countries": None, "classes": None, "short_codes": None, "terms": {}, "hours": [], "time_zone": None}
        assert shown(await api.get(path)) == nothing
        assert shown(await api.post("/v1/voice-security/check", json=CHECK))["rule"] == "organisation countries AT"
        assert shown(await api.put(path, json={"allowed_countries": ["DE"]}))["allowed_countries"] == ["DE"]
        refused = shown(await api.post("/v1/voice-security/check", json=CHECK))
        assert (refused["verdict"], refused["reason"], refused["rule"]) == ("deny", "country", "team countries")
        assert shown(await api.post("/v1/voice-security/check", json={**CHECK, "agent": "ben"}))["verdict"] == "allow"
        assert shown(await api.put(path, json={})) == nothing
        assert shown(await api.post("/v1/voice-security/check", json=CHECK))["verdict"] == "allow"
        both = shown(await api.put(f"/v1/teams/{team['id']}", json={"name": "all", "members": [str(ben), "anna"]}))
        assert set(both["members"]) == {str(anna), str(ben)}
        assert "another team" in str(problem(await api.post("/v1/teams", json={"name": "b", "members": ["ben"]}), 422))
        assert (await api.delete(f"/v1/teams/{team['id']}")).status_code == 204
        problem(await api.get(path), 404)
    log = [one["action"] for one in await office.rows("SELECT action FROM audit_log ORDER BY position")]
    assert [one for one in log if not one.startswith("rules.changed")] == [
        "team.made", "rules.level-changed", "rules.level-removed", "team.changed", "team.removed",
    ]  # fmt: skip


async def test_an_agents_own_lists_say_groups_as_countries_and_terms_in_one_spelling(office: Office) -> None:
    anna = await office.add_agent("anna")
    wanted = {
        "country_groups": ["DACH"],
        "allowed_countries": ["FR"],
        "terms": {"AT": {"ways": "sms", "until": "2030-01-01T01:00:00+01:00"}, "DE": {}},
        "hours": [{"days": [5, 1], "from": "22:00", "to": "06:00"}],
        "time_zone": "Europe/Berlin",
    }
    async with office.client() as api:
        shown(await api.put("/v1/voice-security", json={"allowed_countries": ["DE", "AT"]}))
        saved = shown(await api.put(f"/v1/voice-security/agents/{anna}", json=wanted))
        assert saved == shown(await api.get(f"/v1/voice-security/agents/{anna}"))
        assert saved["allowed_countries"] == sorted(GROUPS["DACH"] | {"FR"})
        assert saved["terms"] == {"AT": {"ways": "sms", "until": "2030-01-01T00:00:00Z"}}
        assert saved["hours"] == [{"days": [1, 5], "from": "22:00", "to": "06:00"}]
        shown(await api.put(f"/v1/voice-security/agents/{anna}", json={"terms": wanted["terms"]}))
        assert shown(await api.post("/v1/voice-security/check", json=CHECK))["reason"] == "way"
        assert shown(await api.post("/v1/voice-security/check", json={**CHECK, "channel": "sms"}))["verdict"] == "allow"


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_countries": ["EU"]},
        {"country_groups": ["Europe"]},
        {"terms": {"XX": {}}},
        {"terms": {"DE": {"windows": [[]]}}},
        {"hours": [{"from": 5, "to": "06:00"}]},
        {"short_codes": ["1"]},
        {"time_zone": "../etc"},
        {"version": 1},
    ],
)
async def test_what_is_no_level_is_refused_and_changes_nothing(office: Office, wrong: dict[str, Any]) -> None:
    anna = await office.add_agent("anna")
    async with office.client() as api:
        problem(await api.put(f"/v1/voice-security/agents/{anna}", json=wrong), 422)
        assert await office.rows("SELECT * FROM rule_levels") == []
