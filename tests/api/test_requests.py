"""/v1/privacy/requests: registered, identified, carried out; nothing is given out or changed before the identity is proven."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from hushwire.projections.outbox import project
from tests.api.serving import Office, problem, shown
from tests.api.test_restrictions import is_readable, recorded
from tests.store.rows import insert

NUMBER, OTHER = "+493023125001", "+493023125002"
CUSTOMER: dict[str, Any] = {"channel": "customer", "subject": {"number": NUMBER}}


async def registered(api: httpx.AsyncClient, kind: str, **more: Any) -> str:
    answer = await api.post("/v1/privacy/requests", json=CUSTOMER | {"kind": kind} | more)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


async def verified(api: httpx.AsyncClient, kind: str, **more: Any) -> str:
    """The path of a request whose identity check is passed."""
    path = f"/v1/privacy/requests/{await registered(api, kind, **more)}"
    said = shown(await api.post(f"{path}/verify", json={"method": "call-back"}))
    assert said["state"] == "verified"
    return path


async def test_a_request_is_registered_sealed_and_found_by_number(office: Office) -> None:
    subject = {"number": "030 23125001", "name": "Mary Marker", "reach": "mary@example.org"}
    async with office.client() as api:
        request = await registered(api, "know", subject=subject, note="by letter")
        await registered(api, "access", subject={"number": OTHER})
        said = shown(await api.get(f"/v1/privacy/requests/{request}"))
        assert said["subject"] == {"number": NUMBER, "contact": None, "name": "Mary Marker", "reach": "mary@example.org"}
        assert (said["state"], said["note"], said["closed_at"]) == ("received", "by letter", None)
        (item,) = shown(await api.post("/v1/privacy/requests/search", json={"number": NUMBER}))["items"]
        assert item["id"] == request
        assert "subject" not in item
        assert len(shown(await api.get("/v1/privacy/requests"))["items"]) == 2
        assert [item["id"] for item in shown(await api.get("/v1/privacy/requests?kind=know&state=received"))["items"]] == [request]
        first = shown(await api.get("/v1/privacy/requests?limit=1"))
        second = shown(await api.get("/v1/privacy/requests", params={"limit": 1, "cursor": first["next"]}))
        assert {page["items"][0]["kind"] for page in (first, second)} == {"know", "access"}
    for table in ("privacy_requests", "privacy_request_steps", "audit_log", "outbox"):
        for row in await office.rows(f"SELECT row_to_json(t)::text AS said FROM {table} AS t"):
            for marker in ("Mary", "mary@", "23125001", "letter"):
                assert marker not in row["said"]
                assert marker.encode().hex() not in row["said"]


async def test_a_request_directly_from_a_data_subject_starts_the_notice_clock_at_its_receipt(office: Office) -> None:
    received = datetime.now(UTC) - timedelta(hours=3)
    async with office.client() as api:
        direct = await registered(api, "erase", channel="data-subject", received_at=received.isoformat(), jurisdiction="DE")
        await registered(api, "erase")
        (clock,) = await office.rows("SELECT kind, subject_kind, subject_id, started_at, due_at, jurisdictions FROM clocks")
        assert (clock["kind"], clock["subject_kind"], str(clock["subject_id"])) == ("data-subject-notice", "request", direct)
        assert (clock["started_at"], clock["due_at"]) == (received, received + timedelta(hours=24))
        (notice,) = await office.rows("SELECT kind, subject_id, clock_id IS NOT NULL AS ends_the_clock FROM notices")
        assert (notice["kind"], str(notice["subject_id"]), notice["ends_the_clock"]) == ("data-subject-request", direct, True)
        said = shown(await api.get(f"/v1/privacy/requests/{direct}"))
        assert datetime.fromisoformat(said["due_at"]) == received + timedelta(days=15)
    kinds = [row["kind"] for row in await office.rows("SELECT kind FROM outbox ORDER BY seq")]
    assert kinds.count("request.received") == 2
    await project(await office.house.main("worker"))
    logged = await office.rows("SELECT object FROM audit_log WHERE action = 'request.received' ORDER BY position")
    assert len(logged) == 2


@pytest.mark.parametrize("kind", ["access", "know", "restrict", "object", "rectify", "erase"])
async def test_nothing_is_given_out_or_changed_before_the_identity_is_proven(office: Office, kind: str) -> None:
    call, recording = await recorded(office, NUMBER)
    contact_id = str(uuid4())
    corrections = [{"target": "contact", "id": contact_id, "what": "name", "value": "x"}] if kind == "rectify" else []
    async with office.client() as api:
        path = f"/v1/privacy/requests/{await registered(api, kind, corrections=corrections)}"
        tables = ("restricted_subjects", "unrecorded_numbers", "documents")
        before = [await office.rows(f"SELECT * FROM {table}") for table in tables]
        for check in (None, {"method": "document", "outcome": "asked"}, {"method": "document", "outcome": "failed", "note": "no match"}):
            if check:
                assert shown(await api.post(f"{path}/verify", json=check))["state"] == "identity-check"
            assert problem(await api.post(f"{path}/execute"), 409)["state"] in ("received", "identity-check")
            problem(await api.get(f"{path}/report"), 409)
        assert before == [
            await office.rows(f"SELECT * FROM {table}") for table in ("restricted_subjects", "unrecorded_numbers", "documents")
        ]
        assert await is_readable(api, call, recording)


async def test_who_checked_the_identity_how_and_when_is_evidence_that_cannot_be_changed(office: Office) -> None:
    async with office.client() as api:
        path = f"/v1/privacy/requests/{await registered(api, 'know')}"
        shown(await api.post(f"{path}/verify", json={"method": "document", "outcome": "failed", "note": "the photo differs"}))
        shown(await api.post(f"{path}/verify", json={"method": "call-back", "note": "spoke to her"}))
        said = shown(await api.post(f"{path}/execute"))
        problem(await api.post(f"{path}/verify", json={"method": "call-back"}), 409)
    steps = [(step["step"], step["method"], step["note"]) for step in said["steps"]]
    assert steps == [
        ("received", None, None),
        ("identity-failed", "document", "the photo differs"),
        ("verified", "call-back", "spoke to her"),
        ("working", None, None),
        ("answered", None, None),
    ]
    assert all(step["actor"].startswith("api-key:") for step in said["steps"])
    assert said["verified_at"] is not None
    logged = await office.rows("SELECT action, fields FROM audit_log WHERE action LIKE 'request.%' ORDER BY position")
    assert [row["action"] for row in logged] == ["request.identity-failed", "request.verified", "request.working", "request.answered"]
    assert "photo" not in str(logged)


async def test_a_request_is_refused_with_a_reason_or_cancelled_and_then_over(office: Office) -> None:
    async with office.client() as api:
        refused = f"/v1/privacy/requests/{await registered(api, 'access')}"
        said = shown(await api.post(f"{refused}/refuse", json={"reason": "identity-not-proven", "note": "no answer"}))
        assert (said["state"], said["refusal"], said["closed_at"] is not None) == ("refused", "identity-not-proven", True)
        cancelled = await verified(api, "access")
        assert shown(await api.post(f"{cancelled}/cancel", json={}))["state"] == "cancelled"
        for path in (refused, cancelled):
            for action, body in (("verify", {"method": "code"}), ("execute", None), ("refuse", {"reason": "excessive"}), ("cancel", {})):
                problem(await api.post(f"{path}/{action}", json=body), 409)


async def test_the_report_tells_what_is_held_from_where_and_who_received_it(office: Office) -> None:
    await office.rows(
        "INSERT INTO trunks (id, name, uri, srtp, created_at, updated_at) VALUES ($1, 'northwind', 'sip:x', 'never', now(), now())"
        " RETURNING id",
        trunk := uuid4(),
    )
    for number in (NUMBER, NUMBER, OTHER):
        await recorded(office, number)
    await office.add_call(NUMBER, trunk_id=trunk)
    async with office.client() as api:
        await api.post("/v1/contacts", json={"name": "Mary Marker", "numbers": [{"number": NUMBER}]})
        path = await verified(api, "know")
        shown(await api.post(f"{path}/execute"))
        first, second = [shown(await api.get(f"{path}/report")) for _ in range(2)]
    held = {item["kind"]: item["count"] for item in first["held"]}
    assert held == {"call": 3, "recording": 2, "contact": 1, "case": 1, "consent": 0, "message": 0}
    assert {"call recording", "call records", "contact lists"} <= {category["purpose"] for category in first["categories"]}
    assert all(category["source"] and category["retention"] and category["recipients"] for category in first["categories"])
    assert "customer, carrier of the call" in first["categories_of_recipients"]
    (carried,) = first["disclosures"]["carriers"]
    assert carried["recipient"] == "carrier northwind"
    assert first["disclosures"]["given"] == []
    (given,) = second["disclosures"]["given"]
    assert (given["recipient"], given["what"], given["basis"]) == ("customer", "report", "data-subject-request")
    assert NUMBER not in str(first)
    assert "Mary" not in str(first)


async def test_a_request_to_restrict_hides_calls_recordings_and_the_contact_until_it_is_lifted(office: Office) -> None:
    call, recording = await recorded(office, NUMBER)
    async with office.client() as api:
        contact = (await api.post("/v1/contacts", json={"name": "Mary", "numbers": [{"number": NUMBER}, {"number": OTHER}]})).json()["id"]
        other = await recorded(office, OTHER)
        path = await verified(api, "restrict", subject={"contact": contact})
        said = shown(await api.post(f"{path}/execute"))
        assert said["state"] == "answered"
        assert len(said["outcome"]["restrictions"]) == 3
        assert not await is_readable(api, call, recording)
        assert not await is_readable(api, *other)
        problem(await api.get(f"/v1/contacts/{contact}"), 403)
        for restriction in said["outcome"]["restrictions"]:
            shown(await api.post(f"/v1/privacy/restrictions/{restriction}/lift"))
        assert await is_readable(api, call, recording)
        assert shown(await api.get(f"/v1/contacts/{contact}"))["name"] == "Mary"


async def test_a_request_to_object_puts_the_number_into_the_gateways_rules(office: Office) -> None:
    keys = await (await office.house.keyring("api")).org_context(office.house.org)
    (before,) = await office.rows("SELECT rules_version FROM orgs")
    async with office.client() as api:
        path = await verified(api, "object")
        assert shown(await api.post(f"{path}/execute"))["outcome"] == {"unrecorded_numbers": 1}
        problem(await api.post(f"{path}/execute"), 409)
    (row,) = await office.rows("SELECT remote_index, source FROM unrecorded_numbers")
    assert (row["remote_index"], row["source"]) == (keys.index("calls.remote", NUMBER), "objection")
    (after,) = await office.rows("SELECT rules_version FROM orgs")
    assert after["rules_version"] > before["rules_version"]


async def test_an_objection_is_withdrawn_by_who_made_it_and_their_number_leaves_the_gateways_rules(office: Office) -> None:
    async with office.client() as api, office.client("auditor") as auditor, office.client(slug="globex") as other:
        path = await verified(api, "object")
        body = {"method": "call-back", "note": "Mary said so"}
        assert problem(await api.post(f"{path}/withdraw", json=body), 409)["state"] == "verified"
        answered = shown(await api.post(f"{path}/execute"))
        for foreign in (other, auditor):
            problem(await foreign.post(f"{path}/withdraw", json=body), 404 if foreign is other else 403)
        problem(await api.post(f"{path}/withdraw", json={"note": "nobody was identified"}), 422)
        assert len(await office.rows("SELECT 1 FROM unrecorded_numbers")) == 1
        (before,) = await office.rows("SELECT rules_version FROM orgs WHERE id = $1", office.house.org)
        said = shown(await api.post(f"{path}/withdraw", json=body))
        assert (said["state"], said["outcome"]) == ("withdrawn", {"unrecorded_numbers": 0, "still_unrecorded": 0})
        assert said["closed_at"] == answered["closed_at"]
        step = said["steps"][-1]
        assert (step["step"], step["method"], step["note"]) == ("withdrawn", "call-back", "Mary said so")
        assert shown(await api.get(f"{path}")) == said
        assert [item["id"] for item in shown(await api.get("/v1/privacy/requests?state=withdrawn"))["items"]] == [said["id"]]
        for again in ("withdraw", "execute", "cancel"):
            more = {"json": {"note": "n"} if again == "cancel" else body} if again != "execute" else {}
            assert problem(await api.post(f"{path}/{again}", **more), 409)["state"] == "withdrawn"
    assert await office.rows("SELECT 1 FROM unrecorded_numbers") == []
    (after,) = await office.rows("SELECT rules_version FROM orgs WHERE id = $1", office.house.org)
    assert after["rules_version"] > before["rules_version"]
    (logged,) = await office.rows("SELECT object, fields FROM audit_log WHERE action = 'request.withdrawn'")
    assert logged["object"] == f"request:{said['id']}"
    assert json.loads(logged["fields"]) == {"kind": "object", "method": "call-back"}
    for row in await office.rows("SELECT row_to_json(t)::text AS said FROM privacy_request_steps AS t"):
        assert "Mary" not in row["said"]


async def test_a_withdrawn_objection_leaves_what_else_keeps_the_number_unrecorded(office: Office) -> None:
    async with office.client() as api:
        first, second = await verified(api, "object"), await verified(api, "object")
        for path in (first, second):
            shown(await api.post(f"{path}/execute"))
        body = {"method": "call-back"}
        assert shown(await api.post(f"{first}/withdraw", json=body))["outcome"]["still_unrecorded"] == 1
        (row,) = await office.rows("SELECT source_id FROM unrecorded_numbers")
        assert str(row["source_id"]) in second
        minor = {"name": "m", "numbers": [{"number": NUMBER}], "is_minor": True}
        assert (await api.post("/v1/contacts", json=minor)).status_code == 201
        assert shown(await api.post(f"{second}/withdraw", json=body))["outcome"]["still_unrecorded"] == 1
        assert [row["source"] for row in await office.rows("SELECT source FROM unrecorded_numbers")] == ["minor"]


async def test_an_objection_of_somebody_who_was_erased_since_can_still_be_withdrawn(office: Office) -> None:
    async with office.client() as api:
        path = await verified(api, "object")
        shown(await api.post(f"{path}/execute"))
        shown(await api.post(f"{await verified(api, 'erase')}/execute"))
        assert shown(await api.get(path))["subject"] is None
        assert len(await office.rows("SELECT 1 FROM unrecorded_numbers")) == 1
        said = shown(await api.post(f"{path}/withdraw", json={"method": "call-back", "note": "kept nowhere"}))
        assert (said["state"], said["steps"][-1]["note"]) == ("withdrawn", None)
    assert await office.rows("SELECT 1 FROM unrecorded_numbers") == []


@pytest.mark.parametrize("kind", ["access", "know", "restrict"])
async def test_what_is_no_objection_is_not_withdrawn(office: Office, kind: str) -> None:
    async with office.client() as api:
        path = await verified(api, kind)
        shown(await api.post(f"{path}/execute"))
        said = problem(await api.post(f"{path}/withdraw", json={"method": "call-back"}), 409)
        assert said["detail"] == "Not done: the request is no objection."


async def test_a_request_to_rectify_corrects_contact_and_agent_even_while_restricted(office: Office) -> None:
    agent = await office.add_agent("anna", extension="101")
    async with office.client() as api:
        contact = (await api.post("/v1/contacts", json={"name": "Mray", "numbers": [{"number": OTHER, "label": "work"}]})).json()["id"]
        await api.post("/v1/privacy/restrictions", json={"scope": "contact", "id": contact})
        corrections = [
            {"target": "contact", "id": contact, "what": "name", "value": "Mary"},
            {"target": "contact", "id": contact, "what": "number", "value": "030 23125001", "instead_of": OTHER},
            {"target": "agent", "id": str(agent), "what": "caller_id", "value": "+493023125099"},
            {"target": "agent", "id": str(agent), "what": "extension", "value": "202"},
        ]
        path = await verified(api, "rectify", subject={"contact": contact}, corrections=corrections)
        assert shown(await api.post(f"{path}/execute"))["state"] == "answered"
        (restriction,) = shown(await api.get("/v1/privacy/restrictions"))["items"]
        shown(await api.post(f"/v1/privacy/restrictions/{restriction['id']}/lift"))
        said = shown(await api.get(f"/v1/contacts/{contact}"))
        assert (said["name"], said["numbers"]) == ("Mary", [{"number": NUMBER, "label": "work"}])
        shown_agent = shown(await api.get(f"/v1/agents/{agent}"))
        assert (shown_agent["caller_id"], shown_agent["extension"]) == ("+493023125099", "202")
    actions = {row["action"] for row in await office.rows("SELECT action FROM audit_log")}
    assert {"contact.rectified", "agent.rectified", "request.answered"} <= actions


async def test_a_correction_that_cannot_be_made_leaves_the_request_open_and_says_which(office: Office) -> None:
    anna, ben = await office.add_agent("anna", extension="101"), await office.add_agent("ben", extension="102")
    async with office.client() as api:
        for correction, field in (
            ({"target": "agent", "id": str(anna), "what": "extension", "value": "102"}, "corrections[0].extension"),
            ({"target": "agent", "id": str(uuid4()), "what": "extension", "value": "103"}, "corrections[0].id"),
            ({"target": "contact", "id": str(ben), "what": "name", "value": "x"}, "corrections[0].id"),
            ({"target": "contact", "id": str(ben), "what": "extension", "value": "1"}, "corrections[0].what"),
        ):
            path = await verified(api, "rectify", corrections=[correction])
            said = problem(await api.post(f"{path}/execute"), 422)
            assert [item["field"] for item in said["errors"]] == [field]
            assert shown(await api.get(path))["state"] == "verified"


async def test_executing_twice_at_once_does_it_once(office: Office) -> None:
    async with office.client() as api:
        path = await verified(api, "restrict")
        answers = await asyncio.gather(*(api.post(f"{path}/execute") for _ in range(5)))
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len(await office.rows("SELECT id FROM restricted_subjects")) == 1
        steps = [step["step"] for step in shown(await api.get(path))["steps"]]
    assert steps == ["received", "verified", "working", "answered"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "delete"}, "kind"),
        ({"channel": "pigeon"}, "channel"),
        ({"subject": {}}, "subject"),
        ({"subject": {"number": "hello"}}, "subject.number"),
        ({"subject": {"contact": str(uuid4())}}, "subject.contact"),
        ({"received_at": "2199-01-01T00:00:00Z"}, "received_at"),
        ({"received_at": "yesterday"}, "received_at"),
        ({"jurisdiction": "MOON"}, "jurisdiction"),
        ({"note": "a\0b"}, "note"),
        ({"note": "x" * 2001}, "note"),
        ({"corrections": [{"target": "contact", "id": str(uuid4()), "what": "name", "value": "x"}]}, "body"),
    ],
)
async def test_what_cannot_be_a_request_is_refused_by_field_and_leaves_nothing_behind(
    office: Office, body: dict[str, object], field: str
) -> None:
    async with office.client() as api:
        said = problem(await api.post("/v1/privacy/requests", json=CUSTOMER | {"kind": "access"} | body), 422)
    assert [item["field"] for item in said["errors"]] == [field]
    assert await office.rows("SELECT id FROM privacy_requests") == []
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys") == 0


async def test_requests_of_another_organisation_do_not_exist_and_only_owners_and_admins_keep_the_register(office: Office) -> None:
    async with office.client() as api, office.client(slug="globex") as other:
        path = await verified(api, "know")
        for action, body in (("verify", {"method": "code"}), ("execute", None), ("refuse", {"reason": "excessive"}), ("cancel", {})):
            problem(await other.post(f"{path}/{action}", json=body), 404)
        problem(await other.get(path), 404)
        problem(await other.get(f"{path}/report"), 404)
        assert shown(await other.get("/v1/privacy/requests"))["items"] == []
        assert shown(await other.post("/v1/privacy/requests/search", json={"number": NUMBER}))["items"] == []
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as api:
            problem(await api.get("/v1/privacy/requests"), 403)
            problem(await api.post(f"{path}/execute"), 403)


async def test_under_an_idempotency_key_a_request_is_registered_once(office: Office) -> None:
    async with office.client() as api:
        body = CUSTOMER | {"kind": "know", "channel": "data-subject"}
        answers = [await api.post("/v1/privacy/requests", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        problem(await api.post("/v1/privacy/requests", json=body | {"kind": "access"}, headers={"Idempotency-Key": "k"}), 422)
    assert len(await office.rows("SELECT id FROM clocks")) == 1


async def test_a_request_to_erase_walks_the_one_erasure_path_and_its_operation_is_the_evidence(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    other = await recorded(office, OTHER)
    async with office.client() as api:
        path = await verified(api, "erase")
        said = shown(await api.post(f"{path}/execute"))
        assert said["state"] == "answered"
        (operation,) = said["outcome"]["erasures"]
        problem(await api.get(f"/v1/recordings/{recording}"), 410)
        assert await is_readable(api, *other)
        assert shown(await api.post("/v1/calls/search", json={"number": NUMBER}))["items"] == []
    (row,) = await office.rows("SELECT state, receipt IS NOT NULL AS is_proven FROM erasure_operations WHERE id = $1", UUID(operation))
    assert row["is_proven"]
    assert {entry["kind"] for entry in await office.rows("SELECT kind FROM erasure_ledger")} >= {"call", "recording"}


async def test_a_request_to_erase_what_a_hold_keeps_stays_open_until_the_hold_is_released(office: Office) -> None:
    _, recording = await recorded(office, NUMBER)
    hold = {"scope": "recording", "object_id": UUID(recording), "reason": "litigation", "authority_sealed": b"s", "placed_by": "api-key:x"}
    async with (await office.house.main("owner")).organisation(office.house.org) as connection:
        await insert(connection, "legal_holds", id=uuid4(), org_id=office.house.org, placed_at=datetime.now(UTC), **hold)
    async with office.client() as api:
        path = await verified(api, "erase")
        assert shown(await api.post(f"{path}/execute"))["state"] == "working"
        assert shown(await api.get(f"/v1/recordings/{recording}"))["id"] == recording
        assert shown(await api.post(f"{path}/execute"))["state"] == "working"
        await office.rows("UPDATE legal_holds SET released_at = now(), released_by = 'api-key:x' RETURNING id")
        await (await office.house.upkeep()).carry_on()
        assert shown(await api.post(f"{path}/execute"))["state"] == "answered"
        problem(await api.get(f"/v1/recordings/{recording}"), 410)
