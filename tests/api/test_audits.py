"""Audits by the customer: once in twelve months with notice, an auditor's key that ends by itself, evidence that verifies offline."""

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from hushwire.privacy import audit_rights, signed
from hushwire.privacy.audit_export import check
from hushwire.privacy.audit_rights import Basis, Refusal, TooSoon
from hushwire.privacy.receipts import verify
from hushwire.services.audits import DOMAIN
from tests.api.serving import Office, as_json, problem, shown

REQUEST: dict[str, Any] = {"auditor": "Ada Prüferin", "firm": "Prüf GmbH", "independent": True}


async def asked(office: Office, **more: Any) -> dict[str, Any]:
    async with office.client() as client:
        answer = await client.post("/v1/privacy/audits", **as_json(REQUEST | more))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def access(office: Office, audit: dict[str, Any], **more: Any) -> httpx.Response:
    async with office.client() as client:
        return await client.post(f"/v1/privacy/audits/{audit['id']}/access", **as_json(more))


async def test_a_request_opens_the_clock_tells_the_contacts_and_access_waits_for_its_end(office: Office) -> None:
    found = await asked(office)
    (clock,) = await office.rows("SELECT started_at, due_at FROM clocks WHERE kind = 'audit-notice'")
    assert datetime.fromisoformat(found["begins_at"]) == clock["due_at"] >= clock["started_at"] + timedelta(days=30)
    assert len(await office.rows("SELECT id FROM notices WHERE kind = 'audit-request'")) == 1
    assert problem(await access(office, found), 409)["begins_at"] == clock["due_at"].isoformat()
    office.house.clock.ahead += timedelta(days=31)
    assert (await access(office, found)).status_code == 201
    (clock,) = await office.rows("SELECT outcome FROM clocks WHERE kind = 'audit-notice'")
    assert clock["outcome"] == "access-given"


async def test_a_second_one_within_twelve_months_is_refused_unless_the_law_asks_for_it(office: Office) -> None:
    first = await asked(office)
    async with office.client() as client:
        refused = problem(await client.post("/v1/privacy/audits", **as_json(REQUEST)), 409)
        free_at = datetime.fromisoformat(refused["free_at"])
        assert timedelta(days=365) <= free_at - datetime.fromisoformat(first["requested_at"]) <= timedelta(days=366)
        for basis in ("law", "regulator", "suspected-breach"):
            problem(await client.post("/v1/privacy/audits", **as_json(REQUEST | {"basis": basis})), 422)
            at_once = await asked(office, basis=basis, reason="A letter of the regulator.")
            assert at_once["begins_at"] == at_once["requested_at"]
    office.house.clock.ahead = free_at - datetime.now(UTC) + timedelta(seconds=1)
    await asked(office)


async def test_without_confirmed_independence_no_audit_and_nonsense_changes_nothing(office: Office) -> None:
    async with office.client() as client:
        for body in (
            REQUEST | {"independent": False}, REQUEST | {"basis": "curiosity"}, {"auditor": "A", "firm": "B"}, REQUEST | {"auditor": ""},
            REQUEST | {"firm": "x" * 201}, REQUEST | {"more": 1},
        ):  # fmt: skip
            problem(await client.post("/v1/privacy/audits", **as_json(body)), 422)
        problem(await client.post(f"/v1/privacy/audits/{uuid4()}/access", **as_json({})), 404)
        problem(await client.post(f"/v1/privacy/audits/{uuid4()}/bundle", **as_json({})), 404)
        problem(await client.get(f"/v1/privacy/audits/{uuid4()}"), 404)
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as client:
            problem(await client.post("/v1/privacy/audits", **as_json(REQUEST)), 403)
    assert await office.rows("SELECT id FROM audits") == []


async def test_who_audits_is_sealed_and_shown_to_owners_alone(office: Office) -> None:
    found = await asked(office, basis="law", reason="The court's order.")
    (row,) = await office.rows("SELECT details_sealed FROM audits")
    assert "Prüf".encode() not in row["details_sealed"]
    async with office.client() as client:
        said = shown(await client.get(f"/v1/privacy/audits/{found['id']}"))
        assert (said["auditor"], said["firm"], said["reason"]) == (REQUEST["auditor"], REQUEST["firm"], "The court's order.")
    async with office.client("auditor") as client:
        problem(await client.get(f"/v1/privacy/audits/{found['id']}"), 403)
        assert [one["id"] for one in shown(await client.get("/v1/privacy/audits"))["items"]] == [found["id"]]
    async with office.client("owner", "globex") as client:
        problem(await client.get(f"/v1/privacy/audits/{found['id']}"), 404)


async def test_the_auditors_key_signs_reads_changes_nothing_and_ends_by_itself(office: Office) -> None:
    found = await asked(office, basis="law", reason="The court's order.")
    given = (await access(office, found, days=5)).json()
    office.keys["acme", "visitor"] = given["key"]
    async with office.client("visitor") as client:
        assert problem(await client.get("/v1/calls"), 403)["reason"] == "undertaking"
        shown(await client.post("/v1/privacy/undertakings", **as_json({"version": "1"})))
        shown(await client.get("/v1/calls"))
        shown(await client.get("/v1/audit"))
        problem(await client.put("/v1/voice-security", **as_json({"allowed_countries": ["DE"]})), 403)
        problem(await client.delete(f"/v1/recordings/{uuid4()}"), 403)
        office.house.clock.ahead += timedelta(days=5, seconds=2)
        problem(await client.get("/v1/calls"), 401)


async def test_a_key_given_again_ends_the_one_before(office: Office) -> None:
    found = await asked(office, basis="law", reason="The court's order.")
    office.keys["acme", "first"] = (await access(office, found)).json()["key"]
    office.keys["acme", "second"] = (await access(office, found)).json()["key"]
    office.house.clock.ahead += timedelta(seconds=2)
    async with office.client("first") as first, office.client("second") as second:
        problem(await first.get("/v1/audit"), 401)
        shown(await second.get("/v1/audit"))


async def test_the_bundle_holds_evidence_that_verifies_offline_and_a_signed_manifest(office: Office) -> None:
    found = await asked(office, basis="law", reason="The court's order.")
    recording = await office.house.record()
    async with office.client() as client:
        receipt = (await client.delete(f"/v1/recordings/{recording}")).content
    async with office.client("auditor") as client:
        answer = await client.post(f"/v1/privacy/audits/{found['id']}/bundle", **as_json({}))
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {
        "audit-log.jsonl", "heads.jsonl", "receipts.jsonl", "keys.json", "inventory.json", "agreement.json", "annexes.json", "annexes.md",
        "control-map.json", "sub-processors.json", "clocks.json", "manifest.json",
    }  # fmt: skip
    manifest = json.loads(files.pop("manifest.json"))
    assert signed.problem(DOMAIN, manifest, signed.key_set(files["keys.json"])) is None
    assert {one["name"]: one["sha256"] for one in manifest["files"]} == {n: hashlib.sha256(data).hexdigest() for n, data in files.items()}
    assert check(files["audit-log.jsonl"].splitlines(keepends=True), files["keys.json"]).is_whole
    assert receipt + b"\n" in files["receipts.jsonl"]
    assert verify(receipt, files["keys.json"]).is_valid
    assert "Prüf" not in "".join(data.decode() for data in files.values())
    (row,) = await office.rows("SELECT bundle_digest FROM audits")
    async with office.client("auditor") as client:
        (listed,) = shown(await client.get("/v1/privacy/audits"))["items"]
    assert listed["manifest_sha256"] == row["bundle_digest"].hex()


def test_twelve_months_are_counted_by_the_calendar_and_a_reason_is_needed_for_what_may_come_sooner() -> None:
    leap = datetime(2028, 2, 29, 12, tzinfo=UTC)
    asks = audit_rights.refused
    assert asks(Basis.AGREEMENT, True, None, [leap], datetime(2029, 2, 28, 13, tzinfo=UTC)) == TooSoon(datetime(2029, 3, 1, 12, tzinfo=UTC))
    assert asks(Basis.AGREEMENT, True, None, [leap], datetime(2029, 3, 1, 12, tzinfo=UTC)) is None
    assert asks(Basis.AGREEMENT, False, None, [], leap) is Refusal.NOT_INDEPENDENT
    assert asks(Basis.LAW, True, "  ", [leap], leap) is Refusal.NO_REASON
    assert asks(Basis.SUSPECTED_BREACH, True, "a leak", [leap], leap) is None
