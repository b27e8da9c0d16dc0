"""Bulk erasure, calls and holds as the API offers them."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from hushwire.privacy import receipts
from tests.api.serving import Office, as_json, office, problem, shown
from tests.called import add_agent, called

__all__ = ["office"]

ANNA, BERT = "+493023125001", "+493023125002"
AUTHORITY = {"reason": "litigation", "authority": "Landgericht Berlin"}


async def keys(api: httpx.AsyncClient) -> bytes:
    return (await api.get("/.well-known/hushwire-keys.json")).content


async def test_a_number_is_erased_at_once_and_its_receipt_verifies_offline(office: Office) -> None:
    mine, other = await called(office.house, ANNA), await called(office.house, BERT)
    async with office.client() as api:
        answer = shown(await api.post("/v1/recordings/erase", json={"number": "030 23125001", "reason": "data-subject-request"}))
        assert answer["counts"] == {"recording": {"entered": 1, "unreadable": 1, "swept": 0, "closed": 0}}
        assert answer["scope"] == "number"
        assert receipts.verify(json.dumps(answer["receipt"]).encode(), await keys(api)).is_valid
        by_id = await api.get(f"/v1/privacy/receipts/{answer['id']}")
        assert json.loads(by_id.content) == answer["receipt"]
        proof = await api.get(f"/v1/privacy/receipts/{mine.recording}")
        assert receipts.verify(proof.content, await keys(api)).is_valid
        assert (await api.delete(f"/v1/recordings/{mine.recording}")).content == proof.content
        problem(await api.get(f"/v1/recordings/{mine.recording}"), 410)
        shown(await api.get(f"/v1/recordings/{other.recording}"))
        assert shown(await api.get(f"/v1/privacy/erasures/{answer['id']}"))["selector_salt"] is None


async def test_calls_are_erased_with_their_recordings_in_bulk_and_one_by_one(office: Office) -> None:
    first, second = await called(office.house, ANNA), await called(office.house, ANNA)
    async with office.client() as api:
        answer = shown(await api.post("/v1/calls/erase", json={"ids": [str(first.call)]}))
        assert {kind: found["unreadable"] for kind, found in answer["counts"].items()} == {"call": 1, "recording": 1}
        proof = await api.delete(f"/v1/calls/{second.call}")
        assert receipts.verify(proof.content, await keys(api)).is_valid
        assert (await api.delete(f"/v1/calls/{second.call}")).content == proof.content
        for each in (first, second):
            assert shown(await api.get(f"/v1/calls/{each.call}"))["remote"] is None
            problem(await api.get(f"/v1/recordings/{each.recording}"), 410)
        listed = shown(await api.get("/v1/privacy/receipts"))
        assert {(item["kind"], item["operation_id"] is not None) for item in listed["items"]} == {("call", True), ("recording", True)}


async def test_by_agent_and_time(office: Office) -> None:
    agent, noon = await add_agent(office.house), datetime(2026, 3, 1, 12, tzinfo=UTC)
    for hours in range(3):
        await called(office.house, ANNA, agent_id=agent, at=noon + timedelta(hours=hours))
    async with office.client() as api:
        wish = {"agent": str(agent), "from": "2026-03-01T12:30:00Z", "to": "2026-03-01T13:30:00Z"}
        assert shown(await api.post("/v1/recordings/erase", json=wish))["counts"]["recording"]["unreadable"] == 1
        assert shown(await api.post("/v1/recordings/erase", json={"agent": str(agent)}))["counts"]["recording"]["unreadable"] == 2
        problem(await api.post("/v1/recordings/erase", json={"agent": "nobody"}), 422)


async def test_erasures_are_listed_page_by_page(office: Office) -> None:
    async with office.client() as api:
        ids = [shown(await api.post("/v1/calls/erase", json={"ids": [str(uuid4())]}))["id"] for _ in range(3)]
        page = shown(await api.get("/v1/privacy/erasures", params={"limit": 2}))
        rest = shown(await api.get("/v1/privacy/erasures", params={"limit": 2, "cursor": page["next"]}))
        assert [item["id"] for item in page["items"] + rest["items"]] == ids[::-1]
        assert rest["next"] is None


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"number": "anna"},
        {"number": 4930},
        {"number": "+49\u0000"},
        {"ids": []},
        {"ids": ["x"]},
        {"ids": [str(uuid4())], "number": ANNA},
        {"ids": [str(uuid4())] * 1001},
        {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:00Z"},
        {"from": "2026-03-01T12:00:00"},
        {"to": "+99999-01-01T00:00:00Z"},
        {"to": 10**9 * 10**9},
        {"number": ANNA, "reason": "because"},
        {"number": ANNA, "note": "a\u0000b"},
        {"number": ANNA, "note": "x" * 2001},
        {"number": ANNA, "kinds": ["call"]},
    ],
)
async def test_a_wish_that_can_not_be_meant_is_refused_and_erases_nothing(office: Office, wish: dict[str, object]) -> None:
    each = await called(office.house, ANNA)
    async with office.client() as api:
        for path in ("/v1/recordings/erase", "/v1/calls/erase"):
            answer = problem(await api.post(path, **as_json(wish)), 422)
            assert "anna" not in json.dumps(answer).lower()
            assert "23125001" not in json.dumps(answer)
    assert await office.house.key_exists(each.recording)
    assert await office.rows("SELECT 1 FROM erasure_operations") == []


async def test_only_who_may_erase_erases_and_foreign_organisations_find_nothing(office: Office) -> None:
    each = await called(office.house, ANNA)
    for role, allowed in (("supervisor", False), ("auditor", False), ("agent", False), ("admin", True)):
        async with office.client(role) as api:
            for answer in (await api.delete(f"/v1/calls/{uuid4()}"), await api.post("/v1/calls/erase", json={"ids": [str(uuid4())]})):
                assert (answer.status_code != 403) is allowed, role
    async with office.client(slug="globex") as api:
        problem(await api.delete(f"/v1/calls/{each.call}"), 404)
        assert shown(await api.post("/v1/calls/erase", json={"number": ANNA}))["counts"] == {}
        async with office.client() as ours:
            mine = shown(await ours.post("/v1/calls/erase", json={"ids": [str(uuid4())]}))
        problem(await api.get(f"/v1/privacy/erasures/{mine['id']}"), 404)
        problem(await api.get(f"/v1/privacy/receipts/{mine['id']}"), 404)
    assert await office.house.key_exists(each.recording)


async def test_a_held_recording_answers_409_with_hold_and_reason_until_the_release(office: Office) -> None:
    each = await called(office.house, ANNA)
    async with office.client() as api:
        placed = await api.post("/v1/privacy/holds", json={"scope": "number", "number": ANNA, **AUTHORITY})
        assert placed.status_code == 201
        hold = placed.json()
        for path in (f"/v1/recordings/{each.recording}", f"/v1/calls/{each.call}"):
            refused = problem(await api.delete(path), 409)
            assert (refused["hold"], refused["reason"]) == (hold["id"], "litigation")
        answer = await api.post("/v1/calls/erase", json={"number": ANNA})
        assert answer.json()["state"] == "deferred"
        assert answer.json()["deferred"] == 1  # the call: its recording is kept with it
        assert [item["id"] for item in shown(await api.get("/v1/privacy/holds"))["items"]] == [hold["id"]]
        assert shown(await api.get(f"/v1/privacy/holds/{hold['id']}"))["authority"] == "Landgericht Berlin"
        released = shown(await api.post(f"/v1/privacy/holds/{hold['id']}/release"))
        assert released["released_at"] is not None
        assert shown(await api.post(f"/v1/privacy/holds/{hold['id']}/release"))["released_at"] == released["released_at"]
    await (await office.house.upkeep()).carry_on()
    assert not await office.house.key_exists(each.recording)


@pytest.mark.parametrize(
    "hold",
    [
        {"scope": "recording", **AUTHORITY},
        {"scope": "recording", "id": str(uuid4()), **AUTHORITY},
        {"scope": "number", "number": "anna", **AUTHORITY},
        {"scope": "number", "number": ANNA, "id": str(uuid4()), **AUTHORITY},
        {"scope": "range", **AUTHORITY},
        {"scope": "organisation", "id": str(uuid4()), **AUTHORITY},
        {"scope": "organisation", "reason": "because", "authority": "a"},
        {"scope": "organisation", "reason": "tax"},
        {"scope": "organisation", "reason": "tax", "authority": " "},
        {"scope": "organisation", "reason": "tax", "authority": "a\u0000"},
        {"scope": "planet", **AUTHORITY},
    ],
)
async def test_a_hold_that_can_not_be_meant_is_refused(office: Office, hold: dict[str, object]) -> None:
    async with office.client() as api:
        problem(await api.post("/v1/privacy/holds", **as_json(hold)), 422)
    assert await office.rows("SELECT 1 FROM legal_holds") == []


async def test_holds_are_the_business_of_owners_and_admins(office: Office) -> None:
    async with office.client() as api:
        hold = (await api.post("/v1/privacy/holds", json={"scope": "organisation", **AUTHORITY})).json()
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as api:
            problem(await api.post("/v1/privacy/holds", json={"scope": "organisation", **AUTHORITY}), 403)
            problem(await api.post(f"/v1/privacy/holds/{hold['id']}/release"), 403)
    async with office.client("auditor") as api:
        shown(await api.get("/v1/privacy/holds"))
    async with office.client(slug="globex") as api:
        problem(await api.get(f"/v1/privacy/holds/{hold['id']}"), 404)
        problem(await api.post(f"/v1/privacy/holds/{hold['id']}/release"), 404)


ORGANISATION = "/v1/privacy/organisation/erase"


async def test_an_organisation_is_erased_in_two_steps_and_only_its_proofs_are_left_to_ask_for(office: Office) -> None:
    each = await called(office.house, ANNA)
    async with office.client() as api, office.client(slug="globex") as other:
        asked = problem(await api.post(ORGANISATION, json={}), 409)
        assert asked["things"]["recording"] == 1
        assert await office.house.key_exists(each.recording)
        working = asyncio.create_task(carry_on(office))
        answer = shown(await api.post(ORGANISATION, json={"confirmation": asked["confirmation"]}))
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert answer["scope"] == "organisation"
        assert receipts.verify(json.dumps(answer["receipt"]).encode(), await keys(api)).is_valid
        office.house.clock.ahead += timedelta(seconds=2)  # as long as a key is trusted without a look
        for path in ("/v1/calls", f"/v1/recordings/{each.recording}", "/v1/agents", "/v1/privacy/holds"):
            problem(await api.get(path), 410)
        assert shown(await api.get(f"/v1/privacy/erasures/{answer['id']}"))["unreadable_at"] is not None
        assert (await api.get(f"/v1/privacy/receipts/{answer['id']}")).status_code == 200
        assert (await other.get("/v1/calls")).status_code == 200


async def carry_on(office: Office) -> None:
    """The worker: told of work, it does it."""
    told = asyncio.Event()
    await (await office.house.main("worker")).listen("hushwire_work", lambda _: told.set())
    upkeep = await office.house.upkeep()
    while True:
        await told.wait()
        told.clear()
        await upkeep.carry_on()


async def test_without_its_confirmation_no_organisation_is_erased(office: Office) -> None:
    async with office.client() as api:
        right = problem(await api.post(ORGANISATION, json={}), 409)["confirmation"]
        expires, _, proof = right.partition(".")
        wrong = [
            proof,
            f"{expires}.{'0' * 64}",
            f"{int(expires) + 1}.{proof}",
            f".{proof}",
            f"x.{proof}",
            f"-1.{proof}",
            f"{'9' * 30}.{proof}",
        ]
        for confirmation in wrong:
            problem(await api.post(ORGANISATION, json={"confirmation": confirmation}), 422)
        async with office.client(slug="globex") as other:
            problem(await other.post(ORGANISATION, json={"confirmation": right}), 422)
        office.house.clock.ahead += timedelta(minutes=11)
        problem(await api.post(ORGANISATION, json={"confirmation": right}), 422)
        assert (await api.get("/v1/calls")).status_code == 200
    for role in ("admin", "supervisor", "auditor", "agent"):
        async with office.client(role) as api:
            problem(await api.post(ORGANISATION, json={}), 403)
    assert await office.rows("SELECT 1 FROM orgs WHERE erased_at IS NOT NULL") == []


async def test_a_confirmation_that_has_ended_can_be_spelled_no_other_way(office: Office) -> None:
    async with office.client() as api:
        asked = problem(await api.post(ORGANISATION, json={}), 409)["confirmation"]
        expires, _, proof = asked.partition(".")
        office.house.clock.ahead += timedelta(minutes=11)
        for spelled in (expires, f"{expires:0>12}999", f"{expires:0>12}9", f"{expires}999", "9" * 12, "-1", "", "١٧٩٥", f" {expires}"):
            problem(await api.post(ORGANISATION, json={"confirmation": f"{spelled}.{proof}"}), 422)
        problem(await api.post(ORGANISATION, json={"confirmation": f"{expires}.{'é' * 64}"}), 422)
        shown(await api.get("/v1/calls"))
