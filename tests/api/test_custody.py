"""/v1/privacy/custody: keys registered, proven, retired; modes; and what everybody else gets."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from hushwire.services.custody import MOST_KEYS, Custodian
from hushwire.vault.envelopes import answer_challenge
from hushwire.vault.recipients import Algorithm, generate
from tests.api.serving import Office, as_json, problem, shown
from tests.held import PATH, proven, registered
from tests.recorded import Chance
from tests.vault.test_envelopes import KEYS, every_algorithm, ours

X = ours("x25519")


async def audit(office: Office) -> list[tuple[str, str]]:
    rows = await office.rows("SELECT fields, object FROM audit_log WHERE action = 'custody.changed' ORDER BY position")
    return [(json.loads(row["fields"])["change"], row["object"].partition(":")[0]) for row in rows]


@every_algorithm
async def test_a_key_is_registered_proven_and_sealed_to_from_then_on(office: Office, algorithm: Algorithm) -> None:
    key = ours(algorithm)
    async with office.client() as api:
        assert shown(await api.get(PATH)) | {"note": ""} == {"mode": "hushwire", "version": 0, "can_record": True, "note": "", "keys": []}
        told = await registered(api, key, name="Vault of Ä & Co.")
        assert (told["key"]["state"], told["key"]["name"]) == ("pending", "Vault of Ä & Co.")
        assert told["key"]["fingerprint"] == key.public.fingerprint.hex()
        problem(await api.put(PATH, json={"mode": "customer"}), 409)
        answer = base64.b64encode(answer_challenge(base64.b64decode(told["challenge"]), key)).decode()
        active = shown(await api.post(f"{PATH}/keys/{told['key']['id']}/proof", json={"answer": answer}))
        assert active["keys"][0]["state"] == "active"
        changed = shown(await api.put(PATH, json={"mode": "customer"}))
    assert (changed["mode"], changed["can_record"]) == ("customer", True)
    assert "Recordings that exist stay as they were sealed." in changed["note"]
    made = await (await office.house.keyring("gateway")).new_data_key(office.house.org, "recording", uuid4())
    assert made.custody == "customer"
    assert await audit(office) == [
        ("key-added", "recipient"), ("key-activated", "recipient"), ("mode-changed", "organisation"),
    ]  # fmt: skip
    (entry,) = await office.rows("SELECT fields, actor FROM audit_log WHERE fields->>'change' = 'mode-changed'")
    assert '"was": "hushwire"' in entry["fields"]
    assert entry["actor"].startswith("api-key:")
    (org,) = await office.rows("SELECT custody_version FROM orgs WHERE id = $1", office.house.org)
    assert org["custody_version"] == made.custody_version == changed["version"]


async def test_a_key_is_not_active_before_the_newest_challenge_is_answered_by_its_own_private_half(office: Office) -> None:
    async with office.client() as api:
        first = await registered(api, X)
        place = f"{PATH}/keys/{first['key']['id']}"
        second = shown(await api.post(f"{place}/challenge"))
        old = answer_challenge(base64.b64decode(first["challenge"]), X).hex()
        for answer in (old, "00" * 32, "", "AA"):
            problem(await api.post(f"{place}/proof", json={"answer": answer}), 409)
        problem(await api.post(f"{place}/proof", json={"answer": "no base64!"}), 422)
        third = await registered(api, X)
        assert third["key"]["id"] == first["key"]["id"]
        problem(await api.post(f"{place}/proof", json={"answer": answer_challenge(base64.b64decode(second["challenge"]), X).hex()}), 409)
        right = answer_challenge(base64.b64decode(third["challenge"]), X).hex()
        assert shown(await api.post(f"{place}/proof", json={"answer": right}))["keys"][0]["state"] == "active"
        # Said twice, it is proven once; and an active key has nothing left to prove.
        assert shown(await api.post(f"{place}/proof", json={"answer": right}))["version"] == 1
        problem(await api.post(f"{place}/challenge"), 409)
        problem(await api.post(f"{PATH}/keys", json={"name": "x", "algorithm": "x25519", "public_key": X.public.pem().decode()}), 409)


async def test_a_challenge_is_open_for_a_day(office: Office) -> None:
    async with office.client() as api:
        told = await registered(api, X)
        right = answer_challenge(base64.b64decode(told["challenge"]), X).hex()
        office.house.clock.ahead = timedelta(hours=24)
        refused = await api.post(f"{PATH}/keys/{told['key']['id']}/proof", json={"answer": right})
        assert "ask for a new one" in problem(refused, 409)["detail"]


async def test_the_last_key_can_be_retired_at_once_and_then_nothing_is_recorded(office: Office) -> None:
    async with office.client() as api:
        key_id = await proven(api, X)
        shown(await api.put(PATH, json={"mode": "both"}))
        retired = shown(await api.delete(f"{PATH}/keys/{key_id}"))
        assert (retired["keys"][0]["state"], retired["can_record"]) == ("retired", False)
        assert "nothing can be recorded" in retired["note"]
        assert shown(await api.delete(f"{PATH}/keys/{key_id}")) == retired
        refused = await api.post(f"{PATH}/keys", json={"name": "x", "algorithm": "x25519", "public_key": X.public.pem().decode()})
        assert "Make a new pair" in problem(refused, 409)["detail"]
        problem(await api.put(f"{PATH}/keys/{key_id}", json={"name": "x", "expires_at": None}), 409)
        pending = (await registered(api, KEYS["x25519/other"]))["key"]["id"]
        assert [key["id"] for key in shown(await api.delete(f"{PATH}/keys/{pending}"))["keys"]] == [key_id]
    custodian = Custodian(await office.house.main("worker"), await office.house.keyring("worker"), office.house.clock, Chance())
    assert await custodian.upkeep() == 1


async def test_an_end_can_be_set_moved_and_is_warned_of(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    soon = datetime.now(UTC) + timedelta(days=20)
    custodian = Custodian(await office.house.main("worker"), await office.house.keyring("worker"), office.house.clock, Chance())
    async with office.client() as api:
        key_id = await proven(api, X, expires_at=soon.isoformat())
        assert await custodian.upkeep() == 0
        shown(await api.put(PATH, json={"mode": "customer"}))
        assert await custodian.upkeep() == 1
        assert "custody.key_expires" in capsys.readouterr().out
        later = (soon + timedelta(days=365)).isoformat()
        moved = shown(await api.put(f"{PATH}/keys/{key_id}", json={"name": "renamed", "expires_at": later}))["keys"][0]
        assert (moved["name"], datetime.fromisoformat(moved["expires_at"])) == ("renamed", datetime.fromisoformat(later))
        assert await custodian.upkeep() == 0
        for past in ("2020-01-01T00:00:00Z", (datetime.now(UTC) - timedelta(seconds=1)).isoformat()):
            problem(await api.put(f"{PATH}/keys/{key_id}", json={"name": "x", "expires_at": past}), 422)


async def test_a_change_that_was_cut_short_between_the_databases_is_finished_and_told_by_the_worker(office: Office) -> None:
    async with office.client() as api:
        await proven(api, X)
    async with (await office.house.keyring("api")).db.organisation(office.house.org) as connection:
        await connection.execute("UPDATE custody SET mode = 'customer', version = version + 1")
    custodian = Custodian(await office.house.main("worker"), await office.house.keyring("worker"), office.house.clock, Chance())
    for _ in range(2):
        await custodian.upkeep()
    (org,) = await office.rows("SELECT custody_version FROM orgs WHERE id = $1", office.house.org)
    assert org["custody_version"] == 2
    assert [change for change, _ in await audit(office)].count("settled") == 1


async def test_only_the_owner_manages_keys_and_sees_none_of_another_organisation(office: Office) -> None:
    async with office.client() as api:
        key_id = await proven(api, X)
    for role in ("admin", "supervisor", "auditor", "agent"):
        async with office.client(role) as api:
            problem(await api.get(PATH), 403)
            problem(await api.put(PATH, json={"mode": "hushwire"}), 403)
            problem(await api.delete(f"{PATH}/keys/{key_id}"), 403)
    async with office.client("owner", "globex") as api:
        assert shown(await api.get(PATH))["keys"] == []
        for answer in (
            await api.delete(f"{PATH}/keys/{key_id}"),
            await api.post(f"{PATH}/keys/{key_id}/challenge"),
            await api.post(f"{PATH}/keys/{key_id}/proof", json={"answer": "00" * 32}),
            await api.put(f"{PATH}/keys/{key_id}", json={"name": "x", "expires_at": None}),
            await api.delete(f"{PATH}/keys/not-an-id"),
        ):
            problem(answer, 404)
        # The same key may serve two organisations: its envelopes name the organisation.
        assert await proven(api, X) != key_id
    async with office.stranger() as nobody:
        problem(await nobody.get(PATH), 401)


def _bad() -> list[tuple[str, Any]]:
    good = {"name": "ours", "algorithm": "x25519", "public_key": X.public.pem().decode()}
    return [
        ("private key", good | {"public_key": X.pem(None).decode()}),
        ("private jwk", good | {"public_key": {"kty": "OKP", "crv": "X25519", "x": "AA", "d": "AA"}}),
        ("other algorithm", good | {"algorithm": "rsa-oaep-256"}),
        ("unknown algorithm", good | {"algorithm": "rot13"}),
        ("nul in the key", good | {"public_key": "\0"}),
        ("surrogate in the key", good | {"public_key": "\ud800"}),
        ("huge key", good | {"public_key": "A" * 40000}),
        ("number for a key", good | {"public_key": 7}),
        ("list for a key", good | {"public_key": []}),
        ("no name", good | {"name": ""}),
        ("blank name", good | {"name": "   "}),
        ("nul in the name", good | {"name": "a\0b"}),
        ("newline in the name", good | {"name": "a\nb"}),
        ("surrogate in the name", good | {"name": "\ud800"}),
        ("long name", good | {"name": "x" * 101}),
        ("end without an offset", good | {"expires_at": "2030-01-01T00:00:00"}),
        ("end in the past", good | {"expires_at": 1e9}),
        ("end in a billion billion seconds", good | {"expires_at": 1e18}),
        ("end beyond years", good | {"expires_at": "9999-12-31T23:59:59Z"}),
        ("another field", good | {"more": 1}),
        ("nothing", {}),
        ("no object", []),
    ]


@pytest.mark.parametrize("body", [entry[1] for entry in _bad()], ids=[entry[0] for entry in _bad()])
async def test_what_is_no_key_is_refused_in_words_and_changes_nothing(office: Office, body: Any) -> None:
    async with office.client() as api:
        found = problem(await api.post(f"{PATH}/keys", **as_json(body)), 422)
        assert X.pem(None).decode()[30:60] not in str(found)
        assert shown(await api.get(PATH))["keys"] == []


@pytest.mark.parametrize("body", [{"mode": "nobody"}, {"mode": None}, {}, {"mode": "both", "x": 1}, [], "customer"])
async def test_a_mode_that_is_none_is_refused(office: Office, body: Any) -> None:
    async with office.client() as api:
        problem(await api.put(PATH, **as_json(body)), 422)
        assert shown(await api.get(PATH))["version"] == 0


async def test_there_are_only_so_many_keys_at_once(office: Office) -> None:
    async with office.client() as api:
        for _ in range(MOST_KEYS):
            await registered(api, generate(Algorithm.X25519))
        one = generate(Algorithm.X25519).public.pem().decode()
        problem(await api.post(f"{PATH}/keys", json={"name": "x", "algorithm": "x25519", "public_key": one}), 409)
