"""A tenant who knows every id of its neighbour learns and changes nothing by them, on any described path, in any place of a request."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from hushwire.projections.outbox import project
from tests.api.serving import Office, as_json, shown
from tests.api.test_garbage import BODIES, described, filled, takes_json, things_of
from tests.api.test_masking import pool, wanted

# What the operator publishes to every organisation alike.
OF_ALL = {"subprocessor_id", "policy_id", "token"}
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def everything_of(office: Office, api: httpx.AsyncClient) -> dict[str, str]:
    """One of everything that has an id in a path."""
    things = await things_of(office, api)
    request = f"/v1/privacy/requests/{things['request_id']}"
    shown(await api.post(f"{request}/verify", json={"method": "in-person"}))
    shown(await api.post(f"{request}/execute"))
    erasure = await api.post("/v1/calls/erase", json={"number": "+493023125777"})
    test = await api.post("/v1/privacy/notices/test")
    custody = await api.post("/v1/privacy/custody/keys", json={"name": "k", "algorithm": "x25519", "public_key": "AQ" * 21 + "E="})
    erased = await api.post("/v1/contacts", json={"name": "n"})
    safeguard = await api.post("/v1/privacy/safeguards", json={"country": "US", "kind": "scc-module-2", "document_sha256": "0" * 64})
    assert custody.status_code == 201, custody.text
    await pool(office, "+493023125900")
    agent = (await office.rows("SELECT id FROM agents LIMIT 1"))[0]["id"]
    refused = await office.add_call("+38344123456", agent_id=agent, state="refused", verdict_reason="country", country="XK")
    access = await api.post("/v1/voice-security/access-requests", json={"call": str(refused)})
    assert access.status_code == 201, access.text
    excepted = {"kind": "unassigned", "number": "+4932", "is_prefix": True, "country": "DE", "reason": "ours"}
    exception = await api.post("/v1/voice-security/exceptions", json=excepted | {"until": f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"})
    assert exception.status_code == 201, exception.text
    guarded = {"four_eyes": ["XK"], "allowed_countries": ["DE", "AT"]}
    shown(await api.put("/v1/voice-security", json=guarded))
    proposed = await api.put("/v1/voice-security", json={"allowed_countries": ["DE", "AT", "XK"]})
    assert proposed.status_code == 202, proposed.text
    masked = await api.post("/v1/masking/sessions", json=wanted("+4915112345678", "+493023125001"))
    shown(await api.delete(f"/v1/contacts/{erased.json()['id']}"))
    await project(await office.house.main("worker"))
    deliveries = shown(await api.get(f"/v1/webhooks/{things['webhook_id']}/deliveries"))["items"]
    return things | {
        "exception_id": exception.json()["id"],
        "delivery_id": deliveries[0]["id"],
        "export_id": shown(await api.get("/v1/privacy/exports"))["items"][0]["id"],
        "erasure_id": erasure.json()["id"],
        "notice_id": test.json()["id"],
        "access_id": access.json()["id"],
        "proposal_id": proposed.json()["waits"]["id"],
        "session_id": masked.json()["id"],
        "clock_id": shown(await api.get("/v1/privacy/clocks"))["items"][0]["id"],
        "key_id": custody.json()["key"]["id"],
        "safeguard_id": safeguard.json()["id"],
        "receipt_id": shown(await api.get("/v1/privacy/receipts"))["items"][0]["id"],
    }  # fmt: skip


def is_told(answer: httpx.Response, ids: set[str]) -> set[str]:
    return set(_ID.findall(answer.text)) & ids


async def answer_of(api: httpx.AsyncClient, method: str, url: str, more: dict[str, Any]) -> httpx.Response:
    """The answer, asked for again when it may be where a key has asked for more than it may at once."""
    while True:
        answer = await api.request(method, url, **more)
        if answer.status_code != 429:
            return answer
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def test_a_neighbours_id_is_answered_like_one_that_nobody_has_and_changes_nothing_of_the_neighbour(office: Office) -> None:
    operations = await described(office)
    async with office.client() as mine, office.client(slug="globex") as theirs:
        things = await everything_of(office, mine)
        named = {name for _, path in operations for name in re.findall(r"\{([a-z_]+)\}", path)} - OF_ALL
        assert named - things.keys() == {"objection_id"}, "make one of it in everything_of"
        before = await _facts(office)
        for (method, template), operation in operations.items():
            names = set(re.findall(r"\{([a-z_]+)\}", template))
            if names & OF_ALL:
                continue
            body = filled(BODIES.get((method, template), {}), {})
            file = {"content": b"RIFF", "headers": {"Content-Type": "audio/wav"}}
            more = as_json(body) if takes_json(operation) else file if "requestBody" in operation else {}
            query = "?token=x" if template == "/v1/privacy/exports/{export_id}" else ""
            answers = [
                await answer_of(theirs, method, filled(template, ids) + query, more)
                for ids in (things, {name: str(uuid4()) for name in things})
            ]
            if names:
                assert answers[0].status_code == 404, (method, template, answers[0].text)
                assert answers[0].content == answers[1].content, (method, template)
            assert not is_told(answers[0], {*things.values(), str(office.house.org)}), (method, template)
        assert await _facts(office) == before


async def test_a_neighbours_id_within_a_body_names_nothing(office: Office) -> None:
    async with office.client() as mine, office.client(slug="globex") as theirs:
        things = await everything_of(office, mine)
        before = await _facts(office)
        for (method, template), example in BODIES.items():
            if "{" in template or not any("{" in text for text in _texts(example)):
                continue
            answers = []
            unknown = {name: str(uuid4()) for name in things}
            for ids in (things, unknown):
                # Other references would be refused before: one at a time.
                for reference in {found for text in _texts(example) for found in re.findall(r"\{([a-z_]+)\}", text)}:
                    body = filled(example, {reference: ids[reference]})
                    answers.append(await answer_of(theirs, method, template, as_json(body)))
            half = len(answers) // 2
            for known, nobodys in zip(answers[:half], answers[half:], strict=True):
                assert known.status_code == nobodys.status_code, (method, template, known.text, nobodys.text)
                assert not is_told(known, set(things.values())) or known.status_code < 400, (method, template, known.text)
        for scope in ("recording", "call", "contact", "agent"):
            body: dict[str, Any] = {"scope": scope, "id": things[f"{scope}_id"], "reason": "tax", "authority": "a"}
            assert (await theirs.post("/v1/privacy/holds", json=body)).status_code == 422
        for scope in ("recording", "call"):
            consent = {scope: things[f"{scope}_id"], "how": "spoken", "given_at": "2020-01-01T00:00:00Z"}
            assert (await theirs.post("/v1/privacy/consents", json=consent)).status_code == 404
            erased = await theirs.post(f"/v1/{scope}s/erase", json={"ids": [things[f"{scope}_id"]]})
            assert erased.json()["counts"] == {}, erased.text
        for agent in (things["agent_id"], "anna"):
            erased = await theirs.post("/v1/calls/erase", json={"agent": agent})
            assert erased.status_code == 422 or erased.json()["counts"] == {}, erased.text
            assert (await theirs.post("/v1/privacy/account-deletions", json={"agent": agent, "application": "a"})).status_code == 422
        asked = {"kind": "erase", "channel": "customer", "subject": {"contact": things["contact_id"]}}
        assert (await theirs.post("/v1/privacy/requests", json=asked)).status_code == 422
        signer = (await office.rows("SELECT signer FROM undertakings LIMIT 1"))[0]["signer"]
        assert (await theirs.post("/v1/privacy/undertakings/withdraw", json={"signer": signer})).status_code == 404
        assert await _facts(office) == before


async def test_an_idempotency_key_of_a_neighbour_is_ones_own_to_use(office: Office) -> None:
    headers = {"Idempotency-Key": "same"}
    async with office.client() as mine, office.client(slug="globex") as theirs, office.client("admin") as colleague:
        body = {"name": "n", "numbers": [{"number": "+493023125000"}]}
        first, second = [await api.post("/v1/contacts", json=body, headers=headers) for api in (mine, theirs)]
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["id"] != second.json()["id"]
        assert (await colleague.post("/v1/contacts", json=body, headers=headers)).status_code == 422


async def test_a_cursor_of_a_neighbour_shows_ones_own_list_alone(office: Office) -> None:
    async with office.client() as mine, office.client(slug="globex") as theirs:
        for name in ("a", "b", "c"):
            assert (await mine.post("/v1/contacts", json={"name": name})).status_code == 201
            assert (await mine.post("/v1/privacy/cases", json={"kind": "complaint", "text": name})).status_code == 201
        for path in ("/v1/contacts", "/v1/privacy/cases", "/v1/audit", "/v1/privacy/notices"):
            page = shown(await mine.get(path, params={"limit": 1}))
            assert page["next"], path
            own = {item.get("id") for item in shown(await theirs.get(path))["items"]}
            assert {item.get("id") for item in shown(await theirs.get(path, params={"cursor": page["next"]}))["items"]} <= own


async def _facts(office: Office) -> dict[str, list[str]]:
    """Every row of the organisation that a neighbour could have touched."""
    columns = "SELECT table_name FROM information_schema.columns WHERE column_name = 'org_id' AND table_schema = 'public'"
    tables = [row["table_name"] for row in await office.rows(columns)]
    found = {}
    for table in tables:
        rows = await office.rows(f"SELECT md5(t::text) AS row FROM {table} AS t WHERE org_id = $1", office.house.org)
        found[table] = sorted(row["row"] for row in rows)
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]
