"""/v1/masking/sessions: who may, once only, what is shown, and what is left when it is over."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from hushwire.services.masking import end_expired
from tests.api.serving import Office, problem, shown
from tests.store.rows import insert

ONE, OTHER, THIRD = "+4915112345678", "030 23125001", "+493023125002"


async def pool(office: Office, *numbers: str) -> None:
    keyring = await office.house.keyring("owner")
    keys, deployment = await keyring.org_context(office.house.org), await keyring.deployment()
    for number in numbers:
        row = uuid4()
        sealed = keys.operational.seal(number.encode(), table="numbers", column="number_sealed", row=row, org=office.house.org)
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            await insert(
                connection, "numbers", id=row, org_id=office.house.org, number_sealed=sealed,
                number_index=keys.index("numbers.number", number), lookup=deployment.lookup(number),
                created_at=datetime.now(UTC), masks=True,
            )  # fmt: skip


def wanted(*parties: str, agent: str = "anna", expires_in_s: int = 600) -> dict[str, object]:
    return {"agent": agent, "parties": list(parties), "expires_in_s": expires_in_s}


async def test_a_session_is_made_once_under_its_key_shown_without_its_parties_and_ended(office: Office) -> None:
    await office.add_agent("anna")
    await pool(office, "+493023125900")
    async with office.client() as api:
        headers = {"Idempotency-Key": "one"}
        answers = [await api.post("/v1/masking/sessions", json=wanted(ONE, OTHER), headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        made = answers[0].json()
        assert made == answers[1].json()
        problem(await api.post("/v1/masking/sessions", json=wanted(ONE, THIRD), headers=headers), 422)
        assert made["number"] == "+493023125900"
        assert await office.rows("SELECT count(*) AS n FROM masking_parties") == [{"n": 2}]
        listed = await api.get("/v1/masking/sessions")
        assert shown(listed)["items"] == [made] == [shown(await api.get(f"/v1/masking/sessions/{made['id']}"))]
        for number in (ONE[1:], "3023125001"):
            assert number not in listed.text
        for _ in range(2):
            assert (await api.delete(f"/v1/masking/sessions/{made['id']}")).status_code == 204
        assert shown(await api.get(f"/v1/masking/sessions/{made['id']}"))["ended_at"] is not None
    assert await office.rows("SELECT id FROM masking_parties") == []
    logged = await office.rows("SELECT action FROM audit_log WHERE object = $1 ORDER BY position", f"masking:{made['id']}")
    assert [row["action"] for row in logged] == ["masking.begun", "masking.ended"]


async def test_a_proxy_number_stands_between_a_party_and_one_other_and_a_second_serves_the_next(office: Office) -> None:
    await office.add_agent("anna")
    await pool(office, "+493023125900", "+493023125901")
    async with office.client() as api:
        first, second = [(await api.post("/v1/masking/sessions", json=wanted(ONE, other))).json() for other in (OTHER, THIRD)]
        assert {first["number"], second["number"]} == {"+493023125900", "+493023125901"}
        headers = {"Idempotency-Key": "again"}
        problem(await api.post("/v1/masking/sessions", json=wanted(ONE, "+493023125003"), headers=headers), 409)
        assert (await api.post("/v1/masking/sessions", json=wanted(OTHER, THIRD))).status_code == 409
        await api.delete(f"/v1/masking/sessions/{first['id']}")
        third = await api.post("/v1/masking/sessions", json=wanted(ONE, "+493023125003"), headers=headers)
        assert (third.status_code, third.json()["number"]) == (201, first["number"]), "a refused request leaves its key free"


async def test_a_session_ends_by_itself_and_nothing_of_its_parties_is_left(office: Office) -> None:
    await office.add_agent("anna")
    await pool(office, "+493023125900")
    async with office.client() as api:
        made = (await api.post("/v1/masking/sessions", json=wanted(ONE, OTHER, expires_in_s=60))).json()
        async with (await office.house.main("owner")).organisation(office.house.org) as connection:
            past = datetime.now(UTC) - timedelta(seconds=1)
            await connection.execute("UPDATE masking_sessions SET expires_at = $1", past)
        assert shown(await api.get(f"/v1/masking/sessions/{made['id']}"))["ended_at"] is not None
        assert await end_expired(await office.house.main("worker"), office.house.clock) == 1
    assert await office.rows("SELECT id FROM masking_parties") == []


async def test_what_can_not_be_a_session_is_refused_and_leaves_nothing(office: Office) -> None:
    await office.add_agent("anna")
    await pool(office, "+493023125900")
    async with office.client() as api:
        for bad in (
            wanted(ONE, ONE), wanted(ONE, "nobody"), wanted(ONE, "+493023125900"), wanted(ONE), wanted(ONE, OTHER, THIRD),
            wanted(ONE, OTHER, agent="zoe"), wanted(ONE, OTHER, expires_in_s=59), wanted(ONE, OTHER, expires_in_s=31 * 86_400),
        ):  # fmt: skip
            answer = problem(await api.post("/v1/masking/sessions", json=bad), 422)
            assert ONE[1:] not in str(answer)
        problem(await api.delete(f"/v1/masking/sessions/{uuid4()}"), 404)
    async with office.client("owner", "globex") as api:
        assert shown(await api.get("/v1/masking/sessions"))["items"] == []
    assert await office.rows("SELECT id FROM masking_sessions") == []


@pytest.mark.parametrize("role", ["agent", "auditor"])
async def test_only_who_steers_calls_makes_and_ends_sessions(office: Office, role: str) -> None:
    async with office.client(role) as api:
        problem(await api.post("/v1/masking/sessions", json=wanted(ONE, OTHER)), 403)
        problem(await api.delete(f"/v1/masking/sessions/{uuid4()}"), 403)
