"""/v1/voice-security/simulate: what other rules would change, and nothing that they change is saved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hushwire.services.simulation import MOST_NUMBERS
from tests.api.serving import Office, problem, shown

SIMULATE, CALLS, RULES = "/v1/voice-security/simulate", "/v1/voice-security/simulate/calls", "/v1/voice-security"
BRITISH, GERMAN, PREMIUM = "+442079460000", "+4930123456", "+499001234567"


async def state(office: Office) -> list[dict[str, Any]]:
    return await office.rows("SELECT rules_version, allowed_countries, classes FROM orgs")


async def test_pasted_numbers_say_what_a_changed_list_refuses_and_what_it_newly_allows(office: Office) -> None:
    before = await state(office)
    typed = [GERMAN, BRITISH, "0900 1234567", "09001234567", "112", "+43 1 2345678", "x"]
    async with office.client("admin") as api:
        rules = {"allowed_countries": ["DE", "GB"], "classes": ["premium"]}
        said = shown(await api.post(SIMULATE, json={"destinations": typed, "rules": rules}))
    assert {name: said[name] for name in ("judged", "allowed_before", "allowed_after", "newly_refused", "newly_allowed")} == {
        "judged": 7, "allowed_before": 2, "allowed_after": 4, "newly_refused": 0, "newly_allowed": 2
    }  # fmt: skip
    changes = {one["position"]: one for one in said["changes"]}
    assert set(changes) == {1, 3}
    assert changes[1]["becomes"] == "allowed"
    assert changes[1]["before"] == {
        "verdict": "deny", "number": BRITISH, "country": "GB", "class": "fixed", "reason": "country",
        "rule": changes[1]["before"]["rule"],
        "explanation": changes[1]["before"]["explanation"],
    }  # fmt: skip
    assert {(one["country"], one["becomes"], one["calls"]) for one in said["by_country"]} == {("GB", "allowed", 1), ("DE", "allowed", 1)}
    assert await state(office) == before


async def test_what_is_refused_under_a_narrower_list_names_its_reason(office: Office) -> None:
    async with office.client() as api:
        said = shown(await api.post(SIMULATE, json={"destinations": [GERMAN, "+4312345678"], "rules": {"allowed_countries": ["AT"]}}))
    (change,) = said["changes"]
    assert (change["position"], change["becomes"], change["after"]["reason"]) == (0, "refused", "country")


async def test_calls_of_the_last_month_are_judged_once_a_number_and_told_by_id_alone(office: Office) -> None:
    anna = await office.add_agent("anna")
    now = datetime.now(UTC)
    for days in (1, 2, 3):
        newest = await office.add_call(BRITISH, agent_id=anna, started_at=now - timedelta(days=4 - days), state="refused")
    for more in ({"agent_id": anna}, {"agent_id": anna, "direction": "inbound"}, {"agent_id": anna, "state": "refused"}):
        await office.add_call("+33145678901" if more.get("direction") else GERMAN, started_at=now - timedelta(days=5), **more)
    await office.add_call(BRITISH, agent_id=anna, started_at=now - timedelta(days=31))
    await office.add_call(GERMAN, started_at=now - timedelta(days=5))
    before = await state(office)
    async with office.client("admin") as api:
        said = shown(await api.post(CALLS, json={"rules": {"allowed_countries": ["GB"]}}, headers={"Hushwire-Purpose": "audit"}))
        assert (said["judged"], said["newly_allowed"], said["newly_refused"], said["is_whole"]) == (6, 3, 3, True)
        allowed = next(one for one in said["changes"] if one["becomes"] == "allowed")
        assert (allowed["call_id"], allowed["calls"]) == (str(newest), 3)
        for number in (BRITISH, GERMAN):
            assert number not in str(said)
        assert shown(await api.post(CALLS, json={"rules": {"allowed_countries": ["GB"]}, "agent": "anna"}))["judged"] == 5
        problem(await api.post(CALLS, json={"rules": {}, "agent": "nobody"}), 404)
    assert await state(office) == before
    noted = await office.rows("SELECT object, purpose FROM access_log WHERE object = $1", f"call:{newest}")
    assert "audit" in {row["purpose"] for row in noted}
    assert len(noted) == 2
    assert [row["action"] for row in await office.rows("SELECT action FROM audit_log ORDER BY position")] == ["rules.simulated"] * 2


async def test_calls_whose_numbers_are_erased_or_restricted_are_not_read(office: Office) -> None:
    kept, restricted, erased = [await office.add_call(number) for number in (GERMAN, BRITISH, PREMIUM)]
    index = (await office.rows("SELECT remote_index FROM calls WHERE id = $1", restricted))[0]["remote_index"]
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await connection.execute(
            "INSERT INTO restricted_subjects (id, org_id, scope, remote_index, since, placed_by)"
            " VALUES (gen_random_uuid(), $1, 'number', $2, now(), 'a')",
            office.house.org,
            index,
        )
    await (await office.house.keyring("owner")).destroy_data_key(office.house.org, "call", erased)
    async with office.client() as api:
        said = shown(await api.post(CALLS, json={"rules": {"allowed_countries": []}}))
    assert (said["judged"], said["unread"]) == (1, 1)
    assert [one["call_id"] for one in said["changes"]] == [str(kept)]


@pytest.mark.parametrize(
    "body",
    [{}, {"destinations": [], "rules": {}}, {"destinations": ["1"]}, {"destinations": ["1"] * (MOST_NUMBERS + 1), "rules": {}},
     {"destinations": ["1" * 257], "rules": {}}, {"destinations": ["1"], "rules": {"allowed_countries": ["ZZ"]}}],
)  # fmt: skip
async def test_what_can_not_be_simulated_is_a_problem(office: Office, body: object) -> None:
    async with office.client() as api:
        problem(await api.post(SIMULATE, json=body), 422)
