"""`apply` against a real database: what is declared is made, twice is once, nothing secret is stored in the clear."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId
from hushwire.core.personal import Personal
from hushwire.privacy import audit
from hushwire.privacy.notices import ContactRole
from hushwire.services.provisioning import Provisioning, hash_api_secret
from hushwire.services.provisioning_specs import AgentSpec, Desired, KeySpec, NumberSpec, OrgSpec, TrunkSpec
from hushwire.sip.digest import Algorithm, ha1
from hushwire.store.api_keys import is_same_person
from hushwire.store.database import Database
from hushwire.store.provisioning import OrgRow
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from tests.databases import Databases

DOMAIN = "voice.example.org"
ROW = OrgRow("acme", "Acme", "DE", "eu", "all", "required", False, "refuse", None, ("AT", "DE"), ())
ANNA = AgentSpec("anna", "agent", "101", "+493023125000", "annas-password", False)
BEN = AgentSpec("ben", "agent", "102", None, None, False)
TRUNK = TrunkSpec("carrier", "sip:127.0.0.1:5080", "never", "acme", None, (), "auto", password="trunk-password")
ORG = OrgSpec(ROW, (ANNA, BEN), (NumberSpec("+493023125000", "anna"),), (KeySpec("ci", "owner", "customer-service"),))
WHOLE = Desired((TRUNK,), (ORG,))


def org(**changes: Any) -> Desired:
    return Desired((TRUNK,), (dataclasses.replace(ORG, **changes),))


@pytest.fixture
async def service(databases: Databases, tmp_path: Path) -> Provisioning:
    main, keyring_db = await databases.connect("main"), await databases.connect("keyring")
    keyring = Keyring(keyring_db, RootKey(bytes(32)).role_keys(opener=True, buckets=tmp_path))
    await keyring.establish()
    return Provisioning(main, keyring, SystemClock(), SystemRandom(), DOMAIN)


async def rows(main: Database, sql: str) -> list[Any]:
    async with main.transaction() as connection:
        org_id = await connection.fetchval("SELECT find_org('acme')")
    async with main.organisation(OrgId(org_id)) as connection:
        return await connection.fetch(sql)


async def test_the_first_run_makes_everything_and_the_second_changes_nothing(service: Provisioning) -> None:
    first = await service.apply(WHOLE)
    assert len(first.changes) == 6
    before = [await rows(service.main, f"SELECT * FROM {table}") for table in ("orgs", "agents", "numbers", "api_keys", "trunks")]
    second = await service.apply(WHOLE)
    assert second.changes == []
    assert second.secrets() == {"agents": {}, "api_keys": {}}
    after = [await rows(service.main, f"SELECT * FROM {table}") for table in ("orgs", "agents", "numbers", "api_keys", "trunks")]
    assert before == after


async def test_only_what_was_made_here_is_handed_out(service: Provisioning) -> None:
    secrets = (await service.apply(WHOLE)).secrets()
    assert set(secrets["agents"]) == {"acme/ben"}  # type: ignore[call-overload]
    assert secrets["agents"]["acme/ben"]["sip_username"] == "ben"  # type: ignore[index]
    key = secrets["api_keys"]["acme/ci"]  # type: ignore[index]
    assert key.startswith("hw_")
    assert len(key) == 46
    (row,) = await rows(service.main, "SELECT secret_hash FROM api_keys")
    assert row["secret_hash"] == hash_api_secret(key)


async def test_digest_credentials_stand_for_both_forms_and_algorithms_and_are_sealed(service: Provisioning) -> None:
    await service.apply(WHOLE)
    async with service.main.transaction() as connection:
        org_id = OrgId(await connection.fetchval("SELECT find_org('acme')"))
    keys = await service.keyring.org_context(org_id)
    index = keys.index("agents.username", "anna")
    (row,) = [row for row in await rows(service.main, "SELECT * FROM agents") if row["username_index"] == index]
    assert b"annas-password" not in row["ha1_sealed"]
    kept = json.loads(keys.operational.open(row["ha1_sealed"], table="agents", column="ha1_sealed", row=row["id"], org=org_id))
    for algorithm in Algorithm:
        assert kept[f"{algorithm.value}/username"] == ha1(algorithm, "anna", DOMAIN, "annas-password")
        assert kept[f"{algorithm.value}/username@slug"] == ha1(algorithm, "anna@acme", DOMAIN, "annas-password")


async def test_nothing_personal_or_secret_stands_in_the_rows_in_the_clear(service: Provisioning) -> None:
    await service.apply(WHOLE)
    values = [
        value
        for table in ("agents", "numbers", "api_keys", "trunks")
        for row in await rows(service.main, f"SELECT * FROM {table}")
        for value in row.values()
    ]
    text = "\n".join(value for value in values if isinstance(value, str))
    sealed = b"".join(value for value in values if isinstance(value, bytes))
    for marker in ("anna", "ben", "101", "3023125000", "annas-password", "trunk-password"):
        assert marker not in text, marker
        # Three given bytes do stand in a thousand random ones now and then.
        assert len(marker) < 4 or marker.encode() not in sealed, marker


async def test_a_changed_setting_changes_that_row_alone(service: Provisioning) -> None:
    await service.apply(WHOLE)
    outcome = await service.apply(org(agents=(dataclasses.replace(ANNA, caller_id="+493023125001"), BEN)))
    assert outcome.changes == ["agent acme/anna: changed"]


async def test_extensions_can_be_swapped_between_agents(service: Provisioning) -> None:
    await service.apply(WHOLE)
    swapped = (dataclasses.replace(ANNA, extension="102"), dataclasses.replace(BEN, extension="101"))
    assert len((await service.apply(org(agents=swapped))).changes) == 2
    assert (await service.apply(org(agents=swapped))).changes == []


async def test_an_agent_without_a_declared_password_keeps_the_one_it_has(service: Provisioning) -> None:
    await service.apply(WHOLE)
    outcome = await service.apply(org(agents=(dataclasses.replace(ANNA, sip_password=None), BEN)))
    assert outcome.changes == []


async def test_a_new_realm_gives_agents_new_passwords_since_the_old_hashes_are_useless(service: Provisioning) -> None:
    await service.apply(WHOLE)
    elsewhere = dataclasses.replace(service, domain="other.example.org")
    outcome = await elsewhere.apply(WHOLE)
    assert set(outcome.agents) == {"acme/ben"}
    assert sorted(outcome.changes) == ["agent acme/anna: changed", "agent acme/ben: changed"]


async def test_what_is_not_declared_is_kept_and_named_unless_pruned(service: Provisioning) -> None:
    await service.apply(WHOLE)
    less = org(agents=(ANNA,), numbers=(), api_keys=())
    kept = await service.apply(less)
    assert kept.changes == []
    assert kept.kept == ["agent acme/ben", "1 number(s) of acme", "API key acme/ci"]
    pruned = await service.apply(less, prune=True)
    assert pruned.changes == ["agent acme/ben: suspended", "a number of acme: removed", "API key acme/ci: revoked"]
    assert (await service.apply(less, prune=True)).changes == []
    assert await rows(service.main, "SELECT 1 FROM numbers") == []


async def test_keys_of_a_person_whose_agent_is_not_declared_any_more_stay_in_one_persons_hands(service: Provisioning) -> None:
    hers = [KeySpec(name, "owner", "customer-service", "anna") for name in ("desk", "night")]
    await service.apply(org(numbers=(), api_keys=tuple(hers)))
    nobodys = tuple(dataclasses.replace(key, person=None) for key in hers)

    async def are_one_persons() -> bool:
        async with service.main.transaction() as connection:
            org_id = OrgId(await connection.fetchval("SELECT find_org('acme')"))
        async with service.main.organisation(org_id) as connection:
            one, other = [f"api-key:{row['id']}" for row in await connection.fetch("SELECT id FROM api_keys")]
            return await is_same_person(connection, one, other)

    assert await are_one_persons()
    await service.apply(org(agents=(BEN,), numbers=(), api_keys=nobodys), prune=True)
    assert await are_one_persons(), "her agent is suspended, and her name stands in the file no more"
    assert (await service.apply(org(agents=(BEN,), numbers=(), api_keys=nobodys), prune=True)).changes == []
    await service.apply(org(numbers=(), api_keys=nobodys))
    assert not await are_one_persons(), "she is there, and the operator names nobody"


async def test_a_revoked_key_comes_back_with_a_new_secret(service: Provisioning) -> None:
    first = await service.apply(WHOLE)
    await service.apply(org(api_keys=()), prune=True)
    again = await service.apply(WHOLE)
    assert again.api_keys["acme/ci"] != first.api_keys["acme/ci"]


async def test_a_number_of_another_organisation_is_refused_and_nothing_changes(service: Provisioning) -> None:
    await service.apply(WHOLE)
    other = dataclasses.replace(ORG, row=dataclasses.replace(ROW, slug="beta"))
    with pytest.raises(ConfigError, match="belongs to another organisation") as caught:
        await service.apply(Desired((), (other,)))
    assert "+49" not in str(caught.value)
    async with service.main.transaction() as connection:
        assert await connection.fetchval("SELECT find_org('beta')") is None


async def test_other_organisations_and_trunks_are_left_alone_by_a_file_that_does_not_speak_of_them(service: Provisioning) -> None:
    await service.apply(WHOLE)
    other = OrgSpec(dataclasses.replace(ROW, slug="beta"), (), (), ())
    outcome = await service.apply(Desired((), (other,)), prune=True)
    assert outcome.changes == ["organisation beta: made"]
    assert (await service.apply(WHOLE)).changes == []


async def test_what_was_applied_stands_in_the_audit_chain(service: Provisioning) -> None:
    await service.apply(WHOLE)
    await service.apply(WHOLE)
    found = await rows(service.main, "SELECT actor, action, object, fields FROM audit_log ORDER BY position")
    assert {row["actor"] for row in found} == {"operator"}
    assert [row["action"] for row in found] == [
        "organisation.made", "agent.added", "agent.added", "number.assigned", "api-key.made", "undertaking.signed",
        "provisioning.applied",
    ]  # fmt: skip
    assert all(result.is_whole for result in await audit.verify_all(service.main))


async def test_each_change_of_agents_numbers_keys_and_rules_is_told_by_its_own_row(service: Provisioning) -> None:
    await service.apply(WHOLE)
    promoted = dataclasses.replace(ANNA, role="admin", suspended=True)
    await service.apply(
        org(
            row=dataclasses.replace(ROW, allowed_countries=("DE",)), agents=(promoted,), numbers=(),
            api_keys=(KeySpec("ci", "auditor", "audit"),),
        ), prune=True,
    )  # fmt: skip
    await service.apply(org(agents=(ANNA,), api_keys=()), prune=True)
    found = await rows(service.main, "SELECT action, fields FROM audit_log WHERE position > 7 ORDER BY position")
    told = [(row["action"], json.loads(row["fields"])) for row in found]
    assert [action for action, _ in told] == [
        "organisation.changed", "rules.changed", "agent.role-changed", "agent.suspended", "agent.suspended", "number.released",
        "api-key.changed", "provisioning.applied",
        "organisation.changed", "rules.changed", "agent.role-changed", "agent.resumed", "number.assigned", "api-key.revoked",
        "provisioning.applied",
    ]  # fmt: skip
    assert told[2][1] == {"role": "admin", "role_before": "agent"}
    assert told[6][1] == {"role": "auditor", "purpose": "audit"}


async def test_two_runs_at_once_make_everything_once(service: Provisioning) -> None:
    outcomes = await asyncio.gather(service.apply(WHOLE), service.apply(WHOLE))
    assert sorted(len(outcome.changes) for outcome in outcomes) == [0, 6]


CONTACTS = tuple(
    (role, Personal(email))
    for role, email in ((ContactRole.PRIVACY, "privacy@acme.example"), (ContactRole.SECURITY, "privacy@acme.example"))
)


async def test_jurisdictions_and_contacts_are_made_once_and_left_alone_where_they_are_not_declared(service: Provisioning) -> None:
    first = await service.apply(org(jurisdictions=("DE", "US-CA"), contacts=CONTACTS))
    assert "jurisdiction of acme: DE, US-CA" in first.changes
    assert "contacts of acme: 2 designated, 0 removed, 0 moved" in first.changes
    assert (await service.apply(org(jurisdictions=("DE", "US-CA"), contacts=CONTACTS))).changes == []
    assert (await service.apply(WHOLE)).changes == []
    assert [row["jurisdictions"] for row in await rows(service.main, "SELECT jurisdictions FROM orgs")] == [["DE", "US-CA"]]
    turned = await service.apply(org(contacts=CONTACTS[::-1]))
    assert turned.changes == ["contacts of acme: 0 designated, 0 removed, 2 moved"]
    assert (await service.apply(org(contacts=()))).changes == ["contacts of acme: 0 designated, 2 removed, 0 moved"]
    left = await rows(service.main, "SELECT email_sealed FROM org_contacts")
    assert [row["email_sealed"] for row in left] == [None, None]


async def test_whoever_provisions_a_key_undertakes_confidentiality_for_it_once(service: Provisioning) -> None:
    await service.apply(WHOLE)
    await service.apply(org(api_keys=(KeySpec("ci", "auditor", "audit"),)))
    (key,) = await rows(service.main, "SELECT id FROM api_keys")
    (found,) = await rows(service.main, "SELECT signer, version, signed_by, withdrawn_at FROM undertakings")
    assert dict(found) == {"signer": f"api-key:{key['id']}", "version": "1", "signed_by": "operator", "withdrawn_at": None}


async def test_a_released_numbers_data_is_gone_at_once_with_a_clock_that_proves_it_and_a_tombstone_against_restores(
    service: Provisioning,
) -> None:
    await service.apply(WHOLE)
    (number,) = await rows(service.main, "SELECT id FROM numbers")
    assert (await service.apply(org(numbers=()), prune=True)).changes == ["a number of acme: removed"]
    assert await rows(service.main, "SELECT id FROM numbers") == []
    (clock,) = await rows(service.main, "SELECT kind, subject_kind, subject_id, outcome, due_at - started_at AS length FROM clocks")
    assert (clock["kind"], clock["subject_kind"], clock["subject_id"]) == ("number-data", "number", number["id"])
    assert (clock["outcome"], clock["length"].days) == ("erased-at-release", 20)
    async with service.main.transaction() as connection:
        org_id = OrgId(await connection.fetchval("SELECT find_org('acme')"))
    async with service.keyring.db.organisation(org_id) as connection:
        assert [stone.tombstone.kind for stone in await tombstones.of_object(connection, "number", number["id"])] == ["number"]


async def test_a_file_opens_what_two_must_agree_to_at_once_and_the_organisation_is_told(service: Provisioning) -> None:
    await service.apply(org())
    async with service.main.transaction() as connection:
        org_id = await connection.fetchval("SELECT find_org('acme')")
    async with service.main.organisation(org_id) as connection:
        await connection.execute("UPDATE orgs SET four_eyes = '{CU}'")
    for countries, told in ((("DE", "FR"), 0), (("CU", "DE", "FR"), 1), (("CU", "DE"), 1)):
        await service.apply(org(row=dataclasses.replace(ROW, allowed_countries=countries)))
        async with service.main.organisation(org_id) as connection:
            assert await connection.fetchval("SELECT count(*) FROM notices WHERE kind = 'rules-opened'") == told
