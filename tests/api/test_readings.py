"""What a reading takes: a purpose that role and organisation allow, and a signed undertaking. Each refusal is told, each reading noted."""

import inspect
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute

from hushwire.api.access import OPENING, Permission
from hushwire.api.application import _ROUTERS
from hushwire.privacy.undertakings import BUILT_IN, Signature, Standing, Text, in_order, standing
from tests.api.serving import Office, add_key, as_json, problem, shown
from tests.api.test_gate import PATHS
from tests.store.rows import insert

NUMBER = "+493023125001"


async def refusals(office: Office) -> list[dict[str, Any]]:
    rows = await office.rows("SELECT actor, fields FROM audit_log WHERE action = 'content.refused' ORDER BY position")
    return [{"actor": row["actor"], **json.loads(row["fields"])} for row in rows]


async def publish(office: Office, version: str, sign_by: datetime) -> None:
    text = f"Undertaking, version {version}"
    async with (await office.house.main("owner")).transaction() as connection:
        await insert(
            connection, "policies", id=uuid4(), kind="undertaking", version=version, text=text, digest=sha256(text.encode()).digest(),
            published_at=office.house.clock.now(), effective_at=sign_by,
        )  # fmt: skip


# Structure.


def test_every_permission_whose_paths_open_personal_values_judges_why() -> None:
    assert {Permission.CALLS, Permission.RECORDINGS, Permission.CONTENT, Permission.DIRECTORY} <= OPENING
    assert not OPENING & {Permission.RECEIPTS, Permission.AUDIT, Permission.RULES, Permission.CHECK, Permission.ERASURE}


async def test_every_path_that_opens_personal_values_takes_a_purpose(office: Office) -> None:
    async with office.stranger() as client:
        described = shown(await client.get("/openapi.json"))["paths"]
    judged = {
        (method.upper(), path)
        for path, methods in described.items() for method, operation in methods.items()
        if any(parameter["name"].lower() == "hushwire-purpose" for parameter in operation.get("parameters", []))
    }  # fmt: skip
    opening = {key for key, permission in PATHS.items() if permission in OPENING}
    assert opening <= judged
    for module in _ROUTERS:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and "reader(" in inspect.getsource(route.endpoint) and route.include_in_schema:
                assert all((method, route.path) in judged for method in route.methods), route.path


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/recordings", "/v1/agents", "/v1/numbers"])
async def test_no_list_opens_for_an_unknown_purpose(office: Office, path: str) -> None:
    async with office.client() as client:
        shown(await client.get(path, headers={"Hushwire-Purpose": "audit"}))
        for purpose in ("curiosity", "key-renewal", "x" * 5000, "Audit", ""):
            answer = await client.get(path, headers={"Hushwire-Purpose": purpose})
            assert (answer.status_code == 403) == (purpose != ""), purpose
    assert [one["purpose"] for one in await refusals(office)] == ["unknown", "key-renewal", "unknown", "unknown"]


async def test_searches_and_single_rows_are_judged_too_and_a_refusal_repeats_nothing(office: Office) -> None:
    call = await office.add_call(NUMBER)
    recording = await office.house.record()
    headers = {"Hushwire-Purpose": NUMBER}
    async with office.client("supervisor", headers=headers) as client:
        for answer in (
            await client.get(f"/v1/calls/{call}"), await client.post("/v1/calls/search", **_merged({"number": NUMBER}, headers)),
            await client.post("/v1/recordings/search", **_merged({"number": NUMBER}, headers)),
            await client.get(f"/v1/recordings/{recording}"), await client.get(f"/v1/recordings/{recording}/audio"),
            await client.get(f"/v1/agents/{uuid4()}"),
        ):  # fmt: skip
            assert NUMBER not in problem(answer, 403)["detail"]
    told = await refusals(office)
    assert len(told) == 6
    assert {one["reason"] for one in told} == {"purpose"}
    assert NUMBER not in json.dumps(told)
    assert await office.rows("SELECT id FROM access_log") == []


def _merged(body: object, headers: dict[str, str]) -> dict[str, Any]:
    made = as_json(body)
    return {**made, "headers": made["headers"] | headers}


# The customer's instruction.


async def test_an_instruction_narrows_what_roles_may_and_lifting_it_gives_that_back(office: Office) -> None:
    async with office.client() as owner, office.client("supervisor") as supervisor:
        before = shown(await owner.get("/v1/privacy/purposes"))
        assert (before["version"], before["allowed"]) == (0, None)
        changed = shown(await owner.put("/v1/privacy/purposes", **as_json({"allowed": ["quality-assurance", "audit"], "version": 0})))
        assert (changed["version"], changed["allowed"]) == (1, ["audit", "quality-assurance"])
        refused = problem(await supervisor.get("/v1/calls"), 403)
        assert refused["reason"] == "instruction"
        assert refused["purposes"] == "/v1/privacy/purposes"
        shown(await supervisor.get("/v1/calls", headers={"Hushwire-Purpose": "quality-assurance"}))
        shown(await owner.put("/v1/privacy/purposes", **as_json({"allowed": None})))
        shown(await supervisor.get("/v1/calls"))
    assert [one["reason"] for one in await refusals(office)] == ["instruction"]
    versions = await office.rows("SELECT version, allowed FROM purpose_rules ORDER BY version")
    assert [row["version"] for row in versions] == [1, 2]
    told = await office.rows("SELECT fields FROM audit_log WHERE action = 'purposes.changed' ORDER BY position")
    assert json.loads(told[0]["fields"]) == {"version": 1, "allowed": "audit,quality-assurance"}


async def test_an_instruction_widens_nothing(office: Office) -> None:
    async with office.client() as owner, office.client("supervisor") as supervisor:
        shown(await owner.put("/v1/privacy/purposes", **as_json({"allowed": ["audit", "customer-service"]})))
        assert problem(await supervisor.get("/v1/calls", headers={"Hushwire-Purpose": "audit"}), 403)["reason"] == "purpose"


async def test_an_instruction_that_is_none_changes_nothing(office: Office) -> None:
    async with office.client() as owner:
        for body, status in (
            ({"allowed": ["curiosity"]}, 422), ({"allowed": ["key-renewal"]}, 422), ({"allowed": "audit"}, 422), ({}, 422),
            ({"allowed": ["audit"], "version": 7}, 409), ({"allowed": ["\x00"]}, 422), ({"allowed": ["audit"] * 65}, 422),
        ):  # fmt: skip
            problem(await owner.put("/v1/privacy/purposes", **as_json(body)), status)
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as client:
            problem(await client.put("/v1/privacy/purposes", **as_json({"allowed": []})), 403)
            shown(await client.get("/v1/privacy/purposes"))
    assert await office.rows("SELECT id FROM purpose_rules") == []


# Undertakings.


async def test_without_a_signature_nothing_opens_and_the_answer_says_where_to_sign(office: Office) -> None:
    office.keys["acme", "unsigned"] = await add_key(office.house, office.house.org, "owner", is_signed=False)
    recording = await office.house.record()
    async with office.client("unsigned") as client:
        refused = problem(await client.get(f"/v1/recordings/{recording}/audio"), 403)
        assert (refused["reason"], refused["sign_at"]) == ("undertaking", "/v1/privacy/undertakings")
        found = shown(await client.get(refused["sign_at"]))
        assert (found["standing"], found["opens"]) == ("unsigned", False)
        assert found["current"]["digest"] == sha256(found["current"]["text"].encode()).hexdigest()
        problem(await client.post(refused["sign_at"], **as_json({"version": "0"})), 409)
        signed = shown(await client.post(refused["sign_at"], **as_json({"version": found["current"]["version"]})))
        assert (signed["standing"], signed["opens"]) == ("signed", True)
        assert shown(await client.post(refused["sign_at"], **as_json({"version": "1"}))) == signed
        assert (await client.get(f"/v1/recordings/{recording}/audio")).status_code == 200
    assert [one["reason"] for one in await refusals(office)] == ["undertaking"]
    told = await office.rows("SELECT action FROM audit_log WHERE action = 'undertaking.signed'")
    assert len(told) == 1


async def test_a_withdrawn_signature_opens_nothing_until_it_is_given_again(office: Office) -> None:
    async with office.client("supervisor") as supervisor, office.client() as owner:
        shown(await supervisor.get("/v1/calls"))
        mine = shown(await supervisor.get("/v1/privacy/undertakings"))["signatures"][0]["signer"]
        problem(await supervisor.post("/v1/privacy/undertakings/withdraw", **as_json({"signer": f"api-key:{uuid4()}"})), 403)
        problem(await owner.post("/v1/privacy/undertakings/withdraw", **as_json({"signer": f"api-key:{uuid4()}"})), 404)
        problem(await owner.post("/v1/privacy/undertakings/withdraw", **as_json({"signer": "anna"})), 422)
        assert shown(await owner.post("/v1/privacy/undertakings/withdraw", **as_json({"signer": mine})))["standing"] == "withdrawn"
        assert problem(await supervisor.get("/v1/calls"), 403)["reason"] == "undertaking"
        shown(await supervisor.post("/v1/privacy/undertakings", **as_json({"version": "1"})))
        shown(await supervisor.get("/v1/calls"))
    async with office.client("auditor") as auditor:
        listed = shown(await auditor.get("/v1/privacy/undertakings/signatures"))["items"]
    assert [row["signer"] for row in listed].count(mine) == 2


async def test_a_new_version_may_be_signed_until_its_deadline_and_then_has_to_be(office: Office) -> None:
    house = office.house
    await publish(office, "2", house.clock.now() + timedelta(days=14))
    async with office.client("supervisor") as client:
        found = shown(await client.get("/v1/privacy/undertakings"))
        assert (found["standing"], found["opens"], found["current"]["version"]) == ("due", True, "2")
        shown(await client.get("/v1/calls"))
        house.clock.ahead += timedelta(days=14, seconds=1)
        assert problem(await client.get("/v1/calls"), 403)["reason"] == "undertaking"
        assert shown(await client.get("/v1/privacy/undertakings"))["standing"] == "outdated"
        problem(await client.post("/v1/privacy/undertakings", **as_json({"version": "1"})), 409)
        shown(await client.post("/v1/privacy/undertakings", **as_json({"version": "2"})))
        shown(await client.get("/v1/calls"))


def test_a_signature_stands_until_the_first_deadline_after_it_is_over() -> None:
    day = datetime(2026, 6, 1, tzinfo=UTC)
    texts = in_order([Text("3", "c", day + timedelta(40), day + timedelta(90)), Text("2", "b", day, day + timedelta(30))])
    assert [text.version for text in texts] == ["1", "2", "3"]

    def of(version: str, at: datetime, is_withdrawn: bool = False) -> Standing:
        text = next(text for text in texts if text.version == version)
        return standing(texts, [Signature(version, text.digest, is_withdrawn)], at)

    assert of("3", day) is Standing.SIGNED
    assert of("2", day + timedelta(89)) is Standing.DUE
    assert of("2", day + timedelta(90)) is Standing.OUTDATED
    assert of("1", day + timedelta(29)) is Standing.DUE
    assert of("1", day + timedelta(30)) is Standing.OUTDATED
    assert of("3", day, is_withdrawn=True) is Standing.WITHDRAWN
    assert standing(texts, [], day) is Standing.UNSIGNED
    assert standing(texts, [Signature("3", b"of another text", False)], day).opens is False
    assert standing([BUILT_IN], [Signature("1", BUILT_IN.digest, False)], day) is Standing.SIGNED


# The access log.


async def test_readings_are_found_by_who_by_what_and_by_when_page_by_page(office: Office) -> None:
    calls = [await office.add_call(NUMBER) for _ in range(3)]
    async with office.client("supervisor") as client:
        for call in calls:
            shown(await client.get(f"/v1/calls/{call}"))
        mine = shown(await client.get("/v1/privacy/undertakings"))["signatures"][0]["signer"]
    async with office.client() as client:
        shown(await client.get(f"/v1/calls/{calls[0]}"))
    async with office.client("auditor") as auditor:
        path = "/v1/privacy/access-log/search"
        by_actor = shown(await auditor.post(path, **as_json({"actor": mine})))["items"]
        assert [item["object"] for item in by_actor] == [f"call:{call}" for call in reversed(calls)]
        assert {item["purpose"] for item in by_actor} == {"customer-service"}
        by_object = shown(await auditor.post(path, **as_json({"object": f"call:{calls[0]}"})))["items"]
        assert len(by_object) == 2
        since = by_actor[1]["at"]
        assert len(shown(await auditor.post(path, **as_json({"actor": mine, "from": since})))["items"]) == 2
        assert len(shown(await auditor.post(path, **as_json({"actor": mine, "to": since})))["items"]) == 1
        seen, cursor = [], None
        while True:
            page = shown(await auditor.post(path, **as_json({"limit": 1, **({"cursor": cursor} if cursor else {})})))
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == [item["id"] for item in shown(await auditor.get("/v1/privacy/access-log"))["items"]]
        assert len(seen) == 4
        problem(await auditor.post(path, **as_json({"actor": "a\x00"})), 422)
        problem(await auditor.post(path, **as_json({"cursor": "x"})), 422)
    async with office.client("supervisor") as client:
        problem(await client.get("/v1/privacy/access-log"), 403)
    async with office.client("owner", "globex") as client:
        assert shown(await client.get("/v1/privacy/access-log"))["items"] == []
