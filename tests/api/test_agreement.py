"""Sub-processors, objections, cases, policies, instructions and safeguards over the API, in virtual time."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from hushwire.core.errors import ConfigError
from hushwire.privacy.canonical import canonical
from hushwire.services.agreement_provisioning import PolicySpec, Publishing, SubprocessorSpec
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.services.subprocessors import Subprocessors
from tests.api.serving import Office, office, problem, shown
from tests.recorded import Chance

__all__ = ["office"]

CARRIER = SubprocessorSpec("new-carrier", "calls to the telephone network", "DE", ("content", "metadata"), None)


async def publish(office: Office, *specs: SubprocessorSpec, policies: tuple[PolicySpec, ...] = (), prune: bool = False) -> list[str]:
    async with (await office.house.main("owner")).transaction() as connection:
        publishing = Publishing(connection, office.house.clock.now(), lambda _: uuid4())
        return await publishing.subprocessors(specs, prune=prune) + await publishing.policies(policies)


async def worker(office: Office) -> Subprocessors:
    main, keyring = await office.house.main("worker"), await office.house.keyring("worker")
    clocks = Clocks(office.house.clock, Chance())
    notices = Notices(main, keyring, clocks, office.house.clock, Chance())
    return Subprocessors(main, keyring, clocks, notices, office.house.clock, Chance())


async def announced(office: Office, spec: SubprocessorSpec = CARRIER) -> str:
    """A sub-processor that customers were told of; its id."""
    await publish(office, spec)
    await (await worker(office)).carry_on()
    async with office.client() as client:
        items = shown(await client.get("/v1/privacy/subprocessors"))["items"]
    return str(next(item["id"] for item in items if item["name"] == spec.name))


async def entry(office: Office, identity: str, slug: str = "acme") -> dict[str, object]:
    async with office.client(slug=slug) as client:
        items = shown(await client.get("/v1/privacy/subprocessors"))["items"]
    return dict(next(item for item in items if item["id"] == identity))


async def test_every_customer_is_told_and_nothing_is_used_before_ten_business_days_are_over(office: Office) -> None:
    identity = await announced(office)
    now = office.house.clock.now()
    for slug in ("acme", "globex"):
        found = await entry(office, identity, slug)
        assert (found["is_used"], found["bar"]) == (False, "too-early")
        active_from = datetime.fromisoformat(str(found["active_from"]))
        assert timedelta(days=13) < active_from - now < timedelta(days=25)
    for org in (office.house.org, office.other):
        (notice,) = await office.rows("SELECT kind, subject_id FROM notices WHERE kind = 'sub-processor-change'", org=org)
        assert notice["subject_id"] == UUID(identity)
    async with office.client() as client:
        (clock,) = shown(await client.get(f"/v1/privacy/clocks?subject={identity}"))["items"]
    assert clock["kind"] == "sub-processor-change"
    office.house.clock.ahead += timedelta(days=26)
    assert await (await worker(office)).carry_on() >= 1
    found = await entry(office, identity)
    assert (found["is_used"], found["bar"]) == (True, None)
    async with office.client() as client:
        (clock,) = shown(await client.get(f"/v1/privacy/clocks?subject={identity}"))["items"]
    assert (clock["state"], clock["outcome"]) == ("ended", "authorised")


async def test_a_customer_that_was_erased_is_told_nothing_and_holds_up_no_other(office: Office) -> None:
    async with office.client(slug="globex") as client:
        asked = problem(await client.post("/v1/privacy/organisation/erase", json={}), 409)
        done = await client.post("/v1/privacy/organisation/erase", json={"confirmation": asked["confirmation"]})
        assert done.status_code in (200, 202)
    identity = await announced(office)
    assert (await entry(office, identity))["bar"] == "too-early"
    assert await office.rows("SELECT 1 FROM subprocessor_standings", org=office.other) == []


async def test_telling_twice_tells_once(office: Office) -> None:
    await announced(office)
    assert await (await worker(office)).carry_on() == 0
    assert len(await office.rows("SELECT 1 FROM notices")) == 1


async def test_an_objection_bars_it_for_that_customer_alone_until_it_is_withdrawn(office: Office) -> None:
    identity = await announced(office)
    async with office.client() as client:
        made = await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "we know why"})
        assert made.status_code == 201
        assert timedelta(days=17) < datetime.fromisoformat(made.json()["due_at"]) - office.house.clock.now() <= timedelta(days=18)
        again = problem(await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "again"}), 409)
        assert again["objection_id"] == made.json()["id"]
        office.house.clock.ahead += timedelta(days=26)
        await (await worker(office)).carry_on()
        mine, theirs = await entry(office, identity), await entry(office, identity, "globex")
        assert (mine["bar"], mine["objection"]) == ("objected", "unresolved")
        assert (theirs["bar"], theirs["is_used"]) == (None, True)
        (listed,) = shown(await client.get("/v1/privacy/objections"))["items"]
        assert (listed["grounds"], listed["state"]) == ("we know why", "unresolved")
        assert await office.rows("SELECT 1 FROM notices WHERE kind = 'objection-unresolved'")
        assert shown(await client.post(f"/v1/privacy/objections/{made.json()['id']}/withdraw"))["state"] == "withdrawn"
    assert (await entry(office, identity))["is_used"] is True


async def test_after_its_day_silence_has_authorised_it(office: Office) -> None:
    identity = await announced(office)
    office.house.clock.ahead += timedelta(days=26)
    async with office.client() as client:
        problem(await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "too late"}), 409)
        problem(await client.post(f"/v1/privacy/subprocessors/{uuid4()}/objections", json={"grounds": "what"}), 404)
        problem(await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": " "}), 422)
    async with office.client("auditor") as client:
        problem(await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "no right"}), 403)


async def test_an_objection_of_one_organisation_does_not_exist_for_another(office: Office) -> None:
    identity = await announced(office)
    async with office.client(slug="globex") as client:
        made = (await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "theirs"})).json()
    async with office.client() as client:
        problem(await client.post(f"/v1/privacy/objections/{made['id']}/withdraw"), 404)
        assert shown(await client.get("/v1/privacy/objections"))["items"] == []


async def test_grounds_are_sealed_and_reading_them_is_logged(office: Office) -> None:
    identity = await announced(office)
    async with office.client() as client:
        made = (await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "Frau Marker wants it"})).json()
        shown(await client.get("/v1/privacy/objections"))
    (row,) = await office.rows("SELECT grounds_sealed FROM objections")
    assert b"Marker" not in row["grounds_sealed"]
    assert await office.rows("SELECT 1 FROM access_log WHERE object = $1", f"case:{made['id']}")


async def test_a_transfer_out_of_the_region_takes_a_safeguard_on_file(office: Office) -> None:
    identity = await announced(office, SubprocessorSpec("overseas", "calls", "US", ("content",), None))
    office.house.clock.ahead += timedelta(days=26)
    assert (await entry(office, identity))["bar"] == "no-safeguard"
    paper = {"country": "US", "kind": "scc-module-3", "document_sha256": "ab" * 32}
    until = (office.house.clock.now() + timedelta(days=30)).isoformat()
    async with office.client() as client:
        filed = (await client.post("/v1/privacy/safeguards", json=paper | {"expires_at": until})).json()
        assert (await entry(office, identity))["is_used"] is True
        office.house.clock.ahead += timedelta(days=31)
        await (await worker(office)).carry_on()
        assert (await entry(office, identity))["bar"] == "no-safeguard"
        second = (await client.post("/v1/privacy/safeguards", json=paper)).json()
        assert (await entry(office, identity))["is_used"] is True
        assert (await client.delete(f"/v1/privacy/safeguards/{second['id']}")).status_code == 204
        assert (await entry(office, identity))["bar"] == "no-safeguard"
        problem(await client.delete(f"/v1/privacy/safeguards/{filed['id']}"), 404)
        problem(await client.post("/v1/privacy/safeguards", json=paper | {"kind": "privacy-shield"}), 422)


async def test_the_public_list_is_versioned_and_its_digest_is_that_of_its_canonical_json(office: Office) -> None:
    await announced(office)
    await announced(office, SubprocessorSpec("mailer", "notices", "DE", ("contact",), None))
    async with office.stranger() as client:
        versions = shown(await client.get("/.well-known/hushwire-subprocessors.json"))["versions"]
    assert [version["version"] for version in versions] == [2, 1]
    assert [len(version["subprocessors"]) for version in versions] == [2, 1]
    for version in versions:
        assert hashlib.sha256(canonical(version["subprocessors"])).hexdigest() == version["digest"]


async def test_withdrawing_an_entry_resolves_objections_and_bars_it(office: Office) -> None:
    identity = await announced(office)
    async with office.client() as client:
        await client.post(f"/v1/privacy/subprocessors/{identity}/objections", json={"grounds": "no"})
    other = SubprocessorSpec("other", "calls", "DE", ("content",), None)
    assert "sub-processor new-carrier: withdrawn" in await publish(office, other, prune=True)
    await (await worker(office)).carry_on()
    assert (await entry(office, identity))["bar"] == "withdrawn"
    async with office.client() as client:
        (objection,) = shown(await client.get("/v1/privacy/objections"))["items"]
    assert objection["state"] == "resolved"


async def test_a_policy_is_told_to_every_customer_and_acknowledged_once(office: Office) -> None:
    text = PolicySpec("agreement", "2026-11", "Der Vertrag.", datetime(2027, 1, 1, tzinfo=UTC))
    await publish(office, policies=(text,))
    async with office.client() as client:
        (before,) = shown(await client.get("/v1/privacy/policies"))["items"]
        problem(await client.post(f"/v1/privacy/policies/{before['id']}/acknowledge"), 409)
        await (await worker(office)).carry_on()
        taken = shown(await client.post(f"/v1/privacy/policies/{before['id']}/acknowledge"))
        assert taken["acknowledged_at"] is not None
        again = shown(await client.post(f"/v1/privacy/policies/{before['id']}/acknowledge"))
        assert again["acknowledged_at"] == taken["acknowledged_at"]
        problem(await client.post(f"/v1/privacy/policies/{uuid4()}/acknowledge"), 404)
    assert await office.rows("SELECT 1 FROM notices WHERE kind = 'policy'", org=office.other)


async def test_instructions_are_versioned_sealed_and_never_changed(office: Office) -> None:
    async with office.client() as client:
        for number, text in enumerate(("Record nothing of minors.", "Delete after a year."), 1):
            assert (await client.post("/v1/privacy/instructions", json={"text": text})).json()["version"] == number
        found = shown(await client.get("/v1/privacy/instructions"))["items"]
    assert [(item["version"], item["text"]) for item in found] == [(2, "Delete after a year."), (1, "Record nothing of minors.")]
    assert all(b"minors" not in row["text_sealed"] for row in await office.rows("SELECT text_sealed FROM instructions"))
    async with office.client(slug="globex") as client:
        assert shown(await client.get("/v1/privacy/instructions"))["items"] == []


async def test_a_regulator_is_not_answered_without_the_customers_word(office: Office) -> None:
    async with office.client() as client:
        case = (await client.post("/v1/privacy/cases", json={"kind": "regulator", "text": "Whose number is this?"})).json()
        path = f"/v1/privacy/cases/{case['id']}"
        assert problem(await client.post(f"{path}/answer", json={"text": "Frau Marker's"}), 409)["reason"] == "not-released"
        assert shown(await client.get(path))["answer"] is None
        assert shown(await client.post(f"{path}/authorise"))["state"] == "authorised"
        assert shown(await client.post(f"{path}/answer", json={"text": "Nobody's."}))["state"] == "answered"
        assert problem(await client.post(f"{path}/answer", json={"text": "Another."}), 409)["reason"] == "answered"
        found = shown(await client.get(path))
        assert (found["text"], found["answer"]) == ("Whose number is this?", "Nobody's.")
    assert await office.rows("SELECT 1 FROM notices WHERE kind = 'case'")
    async with office.client(slug="globex") as client:
        problem(await client.get(path), 404)
        problem(await client.post(f"{path}/authorise"), 404)


async def test_a_legal_compulsion_takes_its_reason_and_the_customer_is_told(office: Office) -> None:
    async with office.client() as client:
        case = (await client.post("/v1/privacy/cases", json={"kind": "complaint", "text": "A complaint."})).json()
        path = f"/v1/privacy/cases/{case['id']}"
        problem(await client.post(f"{path}/compel", json={"text": ""}), 422)
        assert shown(await client.post(f"{path}/compel", json={"text": "Order 12 of the court"}))["state"] == "compelled"
        problem(await client.post(f"{path}/authorise"), 409)
        shown(await client.post(f"{path}/answer", json={"text": "As ordered."}))
        assert shown(await client.get(path))["compulsion"] == "Order 12 of the court"
    assert len(await office.rows("SELECT 1 FROM notices WHERE kind = 'case'")) == 2


async def test_a_dispute_runs_for_thirty_days_and_its_end_ends_the_clock(office: Office) -> None:
    async with office.client() as client:
        case = (await client.post("/v1/privacy/cases", json={"kind": "dispute", "text": "We disagree."})).json()
        (clock,) = shown(await client.get(f"/v1/privacy/clocks?subject={case['id']}"))["items"]
        assert timedelta(days=29) < datetime.fromisoformat(clock["due_at"]) - office.house.clock.now() <= timedelta(days=30)
        assert shown(await client.post(f"/v1/privacy/cases/{case['id']}/close", json={"outcome": "settled"}))["state"] == "closed"
        (clock,) = shown(await client.get(f"/v1/privacy/clocks?subject={case['id']}"))["items"]
        assert (clock["state"], clock["outcome"]) == ("ended", "settled")
        problem(await client.post(f"/v1/privacy/cases/{case['id']}/close", json={"outcome": "settled"}), 409)
        assert [item["id"] for item in shown(await client.get("/v1/privacy/cases"))["items"]] == [case["id"]]


async def test_a_list_entry_can_not_be_changed_in_place_nor_a_policys_text(office: Office) -> None:
    await publish(office, CARRIER)
    changed = SubprocessorSpec("new-carrier", "calls", "US", ("content",), None)
    with pytest.raises(ConfigError, match="new name"):
        await publish(office, changed)
    policy = PolicySpec("agreement", "1", "text", datetime(2027, 1, 1, tzinfo=UTC))
    await publish(office, policies=(policy,))
    with pytest.raises(ConfigError, match="new version"):
        await publish(office, policies=(PolicySpec("agreement", "1", "other text", policy.effective_at),))
    assert await publish(office, CARRIER, policies=(policy,)) == []
