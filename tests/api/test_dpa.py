"""The agreement as it is kept now: each clause with live state and evidence, the annexes, the map of controls."""

import json
from datetime import timedelta
from uuid import uuid4

from hushwire.privacy.clauses import Probe, Scope, clauses
from hushwire.privacy.control_map import CONTROLS
from hushwire.services.audit_heads import AuditHeads
from hushwire.services.dpa import _WORDS
from hushwire.store.evidence import QUERIES
from tests.api.serving import Office, add_key, problem, shown
from tests.store.rows import insert

NUMBER = "+493023125001"


async def state(office: Office, clause: str) -> dict[str, object]:
    async with office.client("auditor") as client:
        found = {one["id"]: one for one in shown(await client.get("/v1/privacy/dpa"))["clauses"]}
    picked: dict[str, object] = found[clause]
    return picked


def probes(found: dict[str, object]) -> dict[str, dict[str, object]]:
    listed = found["probes"]
    assert isinstance(listed, list)
    return {one["probe"]: one for one in listed}


def test_every_probe_reads_something_and_says_it_in_words() -> None:
    elsewhere = {Probe.INVENTORY, Probe.RESIDENCY, Probe.BACKUP}
    assert set(_WORDS) == set(Probe) - elsewhere == {Probe(name) for name in QUERIES}


def test_the_map_of_controls_names_clauses_that_there_are() -> None:
    known = {clause.id for clause in clauses()}
    for control in CONTROLS:
        assert set(control.clauses) <= known, control.iso


async def test_each_clause_is_shown_with_its_state_and_what_is_not_built_says_so(office: Office) -> None:
    async with office.client("auditor") as client:
        found = shown(await client.get("/v1/privacy/dpa"))["clauses"]
    assert [one["id"] for one in found] == [clause.id for clause in clauses()]
    for one, clause in zip(found, clauses(), strict=True):
        assert (one["state"] == "not-built") == (clause.scope is Scope.LATER)
    async with office.client("supervisor") as client:
        problem(await client.get("/v1/privacy/dpa"), 403)
        problem(await client.get("/v1/privacy/annexes"), 403)


async def test_the_audit_log_needs_attention_until_a_head_is_signed_and_again_when_none_follows(office: Office) -> None:
    house = office.house
    assert (await state(office, "audit-log"))["state"] == "attention"
    await AuditHeads(await house.main("worker"), await house.keyring("worker"), house.clock).sign_due()
    found = await state(office, "audit-log")
    assert found["state"] == "ok"
    assert probes(found)["audit-chain"]["evidence"] == "head:1"
    house.clock.ahead += timedelta(hours=3)
    assert (await state(office, "audit-log"))["state"] == "attention"


async def test_an_unsigned_key_needs_attention(office: Office) -> None:
    assert (await state(office, "confidentiality"))["state"] == "ok"
    await add_key(office.house, office.house.org, "owner", is_signed=False)
    found = await state(office, "confidentiality")
    assert found["state"] == "attention"
    assert "1 keys have none" in str(probes(found)["undertakings"]["says"])


async def test_an_erasure_is_evidence_of_its_clause(office: Office) -> None:
    recording = await office.house.record()
    async with office.client() as client:
        receipt = shown(await client.delete(f"/v1/recordings/{recording}"))
    found = probes(await state(office, "delete"))
    assert found["erasure"]["evidence"] == receipt["receipt_id"]
    assert found["erasure"]["at"] is not None


async def test_a_call_without_srtp_is_seen_for_a_day(office: Office) -> None:
    await office.add_call(NUMBER, agent_leg=json.dumps({"media": "srtp"}), peer_leg=json.dumps({"media": "rtp"}))
    found = probes(await state(office, "encryption"))["legs"]
    assert found["state"] == "attention"
    assert found["says"] == "1 calls in the last 24 hours; 1 had a leg without SRTP"
    office.house.clock.ahead += timedelta(hours=25)
    assert probes(await state(office, "encryption"))["legs"]["state"] == "ok"


async def test_the_annexes_are_made_from_what_is_configured_and_held_as_json_and_as_a_text(office: Office) -> None:
    async with (await office.house.main("owner")).transaction() as connection:
        await insert(
            connection, "subprocessors", id=uuid4(), name="Carrier Ltd", purpose="termination of calls", country="DE",
            categories=["metadata"], announced_at=office.house.clock.now(),
        )  # fmt: skip
    async with office.client("auditor") as client:
        made = shown(await client.get("/v1/privacy/annexes"))
        text = (await client.get("/v1/privacy/annexes?format=markdown")).text
    assert made["annex_1"]["exporter"]["country"] == "DE"
    assert {"content", "metadata", "user"} <= set(made["annex_1"]["categories"])
    measures = {one["measure"]: one["state"] for one in made["annex_2"]["measures"]}
    assert measures["transport: HTTP API"] == "TLS 1.2 or newer"
    assert measures["calls: SRTP of agents' legs"].startswith("required")
    assert measures["second zone"] == "not configured"
    assert [one["name"] for one in made["annex_3"]["sub_processors"]] == ["Carrier Ltd"]
    assert len(made["annex_2"]["control_map"]) == len(CONTROLS)
    for part in ("# Annex I", "# Annex II", "# Annex III", "Carrier Ltd (DE)", "| A.8.24 |"):
        assert part in text


async def test_annexes_of_another_organisation_show_its_own_state(office: Office) -> None:
    await add_key(office.house, office.house.org, "owner", is_signed=False)
    async with office.client("owner", "globex") as client:
        found = {one["id"]: one for one in shown(await client.get("/v1/privacy/dpa"))["clauses"]}
    assert found["confidentiality"]["state"] == "ok"
