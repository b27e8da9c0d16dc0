"""Retention as the API offers it."""

from datetime import timedelta
from uuid import uuid4

import pytest

from hushwire.services.retention import RetentionRules, RetentionRuns
from tests.api.serving import Office, as_json, office, problem, shown
from tests.called import called
from tests.recorded import Chance

__all__ = ["office"]

PATH = "/v1/privacy/retention"


async def test_rules_are_set_previewed_and_what_waits_is_confirmed(office: Office) -> None:
    house = office.house
    each = await called(house, "+493023125001")
    async with office.client() as api:
        assert shown(await api.get(PATH)) == {"rules": [], "most_percent": None, "last_seen_at": None, "pending": None}
        wanted = {"rules": [{"class": "recording", "keep_days": 2}], "most_percent": 30}
        setting = shown(await api.put(PATH, json=wanted))
        assert setting["rules"] == [{"class": "recording", "keep_days": 2, "agent_id": None}]
        later = (house.clock.now() + timedelta(days=5)).isoformat()
        assert shown(await api.post(f"{PATH}/preview", json={"at": later}))["classes"]["recording"]["due"] == 1
        house.clock.ahead += timedelta(days=5)
        assert shown(await api.post(f"{PATH}/preview", json={}))["doubt"] == "clock-ahead"
        main = await house.main("worker")
        runs = RetentionRuns(main, RetentionRules(main, house.clock, Chance()), await house.erasures("worker"), house.clock, Chance())
        assert await runs.run_all() == 0
        waits = shown(await api.get(PATH))["pending"]
        assert (waits["reason"], waits["due"]) == ("clock-ahead", 1)
        problem(await api.post(f"{PATH}/confirm", json={"id": str(uuid4())}), 409)
        assert shown(await api.post(f"{PATH}/confirm", json={"id": waits["id"]}))["pending"]["confirmed_at"] is not None
        assert await runs.run_all() == 1
        problem(await api.get(f"/v1/recordings/{each.recording}"), 410)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"rules": [{"class": "recording"}]},
        {"rules": [{"class": "trunk", "keep_days": 1}]},
        {"rules": [{"class": "call", "keep_days": -1}]},
        {"rules": [{"class": "call", "keep_days": 1e9}]},
        {"rules": [{"class": "call", "keep_days": "1"}]},
        {"rules": [{"class": "call", "keep_days": 1}] * 2},
        {"rules": [{"class": "call", "keep_days": 1, "agent_id": str(uuid4())}]},
        {"rules": [], "most_percent": 0},
        {"rules": [], "most_percent": 101},
    ],
)
async def test_rules_that_can_not_be_meant_change_nothing(office: Office, wanted: dict[str, object]) -> None:
    async with office.client() as api:
        shown(await api.put(PATH, json={"rules": [{"class": "call", "keep_days": 7}]}))
        problem(await api.put(PATH, **as_json(wanted)), 422)
        assert [rule["keep_days"] for rule in shown(await api.get(PATH))["rules"]] == [7]


async def test_rules_are_the_business_of_owners_and_admins_and_of_their_own_organisation(office: Office) -> None:
    async with office.client() as api:
        shown(await api.put(PATH, json={"rules": [{"class": "call", "keep_days": 7}]}))
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as api:
            problem(await api.put(PATH, json={"rules": []}), 403)
            problem(await api.post(f"{PATH}/confirm", json={"id": str(uuid4())}), 403)
    async with office.client(slug="globex") as api:
        assert shown(await api.get(PATH))["rules"] == []
