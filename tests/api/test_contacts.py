"""/v1/contacts: sealed, found by blind index, corrected so that the old value opens nowhere."""

import asyncio
import time
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn

from hushwire.api.application import application
from hushwire.app.api import bound
from hushwire.app.config import Listen
from hushwire.core.errors import MalformedError
from hushwire.services.contacts import Contacts, ContactView
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why
from tests.api.serving import Office, as_json, made_means, problem, shown
from tests.databases import Databases
from tests.recorded import Chance, Fate, Killed

MARY = {"name": "Mary Marker", "numbers": [{"number": "030 23125001", "label": "work"}], "notes": "calls on Mondays"}
WHY = Why("api-key:test", "customer-service")


async def created(api: httpx.AsyncClient, **more: object) -> dict[str, Any]:
    answer = await api.post("/v1/contacts", json=MARY | more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_contact_is_made_shown_listed_and_found_by_number_and_by_name(office: Office) -> None:
    agent = await office.add_agent("anna")
    async with office.client() as api:
        mary = await created(api, owner=str(agent), picture="s3://ours/mary.jpg", jurisdiction="DE")
        assert mary["numbers"] == [{"number": "+493023125001", "label": "work"}]
        assert (mary["name"], mary["notes"], mary["owner"], mary["jurisdiction"]) == ("Mary Marker", "calls on Mondays", str(agent), "DE")
        shared = await created(api, name="Ben", numbers=[])
        assert shown(await api.get(f"/v1/contacts/{mary['id']}")) == mary
        assert shown(await api.get("/v1/contacts"))["items"] == [mary, shared]
        assert shown(await api.get("/v1/contacts", params={"agent": "anna"}))["items"] == [mary]
        for body in ({"number": "+49 30 23125001"}, {"number": "03023125001"}, {"name": "mary  MARKER"}):
            assert shown(await api.post("/v1/contacts/search", json=body))["items"] == [mary]
        for body in ({"number": "+493023125002"}, {"name": "Mary"}):
            assert shown(await api.post("/v1/contacts/search", json=body))["items"] == []
        first = shown(await api.get("/v1/contacts", params={"limit": 1}))
        assert first["items"] == [mary]
        assert shown(await api.get("/v1/contacts", params={"limit": 1, "cursor": first["next"]}))["items"] == [shared]


async def test_rows_hold_nothing_readable_and_every_read_is_in_the_access_log(office: Office) -> None:
    async with office.client() as api:
        mary = await created(api)
        shown(await api.get(f"/v1/contacts/{mary['id']}"))
    for table in ("contacts", "contact_numbers", "audit_log", "idempotency"):
        for row in await office.rows(f"SELECT row_to_json(t)::text AS said FROM {table} AS t"):
            for marker in ("Mary", "Marker", "23125001", "Mondays"):
                assert marker.encode().hex() not in row["said"]
                assert marker not in row["said"]
    (read,) = await office.rows("SELECT purpose FROM access_log WHERE object = $1", f"contact:{mary['id']}")
    assert read["purpose"] == "customer-service"


async def test_under_an_idempotency_key_a_contact_is_made_once(office: Office) -> None:
    headers = {"Idempotency-Key": "one"}
    async with office.client() as api:
        first, again = [await api.post("/v1/contacts", json=MARY, headers=headers) for _ in range(2)]
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()
        problem(await api.post("/v1/contacts", json=MARY | {"name": "Other"}, headers=headers), 422)
        at_once = await asyncio.gather(*(api.post("/v1/contacts", json=MARY, headers={"Idempotency-Key": "two"}) for _ in range(5)))
        assert len({answer.json()["id"] for answer in at_once}) == 1
        assert len(shown(await api.get("/v1/contacts"))["items"]) == 2
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys WHERE kind = 'contact'") == 2, "a repetition left its key behind"


async def test_a_corrected_value_reads_back_on_every_node_within_a_second(office: Office) -> None:
    means = await made_means(office.house)  # a second API process: caches of its own
    listener = bound(Listen(scheme="http", host="127.0.0.1", port=0))
    server = uvicorn.Server(uvicorn.Config(application(means, is_tls=False), loop="none", lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with office.client() as one, office.client() as two:
            two.base_url = httpx.URL(f"http://127.0.0.1:{listener.getsockname()[1]}")
            mary = await created(one)
            path = f"/v1/contacts/{mary['id']}"
            assert shown(await two.get(path)) == mary
            started = time.monotonic()
            change = {"name": "Mary Corrected", "numbers": [{"number": "+493023125009", "label": "home"}]}
            said = shown(await one.patch(path, json=change))
            for api in (one, two):
                assert shown(await api.get(path)) == said
                assert shown(await api.post("/v1/contacts/search", json={"number": "+493023125009"}))["items"] == [said]
                assert shown(await api.post("/v1/contacts/search", json={"number": "+493023125001"}))["items"] == []
                assert shown(await api.post("/v1/contacts/search", json={"name": "Mary Marker"}))["items"] == []
            assert time.monotonic() - started < 1.0
            assert (said["name"], said["notes"]) == ("Mary Corrected", "calls on Mondays")
    finally:
        server.should_exit = True
        await serving
        listener.close()
    actions = [row["action"] for row in await office.rows("SELECT action FROM audit_log ORDER BY position")]
    assert actions == ["contact.created", "contact.changed"]


async def test_what_stood_there_before_a_correction_opens_nowhere(office: Office) -> None:
    keyring = await office.house.keyring("api")
    async with office.client() as api:
        mary = await created(api)
        old_row = (await office.rows("SELECT * FROM contacts"))[0]
        old_key = await keyring.open_data_key(office.house.org, "contact", old_row["sealed_with"], WHY)
        shown(await api.patch(f"/v1/contacts/{mary['id']}", json={"name": "Mary Corrected"}))
    row = (await office.rows("SELECT * FROM contacts"))[0]
    assert row["sealed_with"] != old_row["sealed_with"]
    assert await keyring.open_many(office.house.org, "contact", [old_row["sealed_with"]], WHY) == {}
    assert await office.rows("SELECT * FROM retired_keys") == []
    place = {"table": "contacts", "column": "name_sealed", "row": UUID(mary["id"]), "org": office.house.org}
    assert Columns(old_key.key).open(old_row["name_sealed"], **place) == b"Mary Marker"  # type: ignore[arg-type]
    new_key = await keyring.open_data_key(office.house.org, "contact", row["sealed_with"], WHY)
    with pytest.raises(MalformedError):
        Columns(new_key.key).open(old_row["name_sealed"], **place)  # type: ignore[arg-type]


async def test_killed_between_any_two_steps_a_correction_is_whole_or_not_there_and_the_old_key_goes(office: Office) -> None:
    house, kill_at = office.house, 0
    async with office.client() as api:
        mary = await created(api)
        while True:
            kill_at += 1
            fate = Fate(kill_at)
            mortal = Contacts(await house.main("api", fate), await house.keyring("api", fate), house.clock, Chance())
            wanted = f"Mary {kill_at}"
            try:
                outcome = await mortal.change(house.org, UUID(mary["id"]), lambda values, name=wanted: replace(values, name=name), WHY)  # type: ignore[misc]
                assert isinstance(outcome, ContactView)
            except Killed:
                survivor = Contacts(await house.main("worker"), await house.keyring("worker"), house.clock, Chance())
                await survivor.destroy_retired()
            else:
                break
            said = shown(await api.get(f"/v1/contacts/{mary['id']}"))
            assert said["name"].startswith("Mary")
            assert said["numbers"] == mary["numbers"]
            assert await office.rows("SELECT * FROM retired_keys") == []
    assert kill_at > 8


async def test_corrections_and_reads_at_once_never_show_a_contact_as_gone(office: Office) -> None:
    async with office.client() as api:
        mary = await created(api)
        path = f"/v1/contacts/{mary['id']}"

        async def corrected(turn: int) -> int:
            return (await api.patch(path, json={"name": f"Mary {turn}"})).status_code

        async def read() -> int:
            return (await api.get(path)).status_code

        answers = await asyncio.gather(*(corrected(turn) if turn % 4 == 0 else read() for turn in range(24)))
    assert set(answers) <= {200, 503}
    assert answers.count(200) > 12


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "numbers": [{"number": "hello"}]}, "numbers[0].number"),
        ({"name": "x", "numbers": [{"number": "12"}]}, "numbers[0].number"),
        ({"name": "x", "numbers": [{"number": "+49302312500", "label": "car"}]}, "numbers[0].label"),
        ({"name": "x", "numbers": [{"number": "+493023125001"}] * 21}, "numbers"),
        ({"name": "x", "owner": "me"}, "owner"),
        ({"name": "x", "owner": str(uuid4())}, "owner"),
        ({"name": "x", "is_minor": "yes"}, "is_minor"),
        ({"name": "x", "picture": "data:image/png;base64,xxxx"}, "picture"),
        ({"name": "x", "jurisdiction": "XX"}, "jurisdiction"),
        ({"name": "x", "notes": "n" * 10_001}, "notes"),
        ({"name": "x", "unknown": 1}, "unknown"),
    ],
)
async def test_values_that_cannot_be_are_refused_by_name_and_leave_nothing_behind(office: Office, body: object, field: str) -> None:
    async with office.client() as api:
        said = problem(await api.post("/v1/contacts", json=body), 422)
    assert [item["field"] for item in said["errors"]] == [field]
    assert await office.rows("SELECT id FROM contacts") == []
    async with (await office.house.db("keyring", "owner")).organisation(office.house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM data_keys") == 0


async def test_a_lone_surrogate_and_an_empty_change_are_refused(office: Office) -> None:
    async with office.client() as api:
        mary = await created(api)
        problem(await api.post("/v1/contacts", **as_json({"name": "\ud800"})), 422)
        for body in ({}, {"name": None}, {"numbers": None}, {"is_minor": None}):
            problem(await api.patch(f"/v1/contacts/{mary['id']}", json=body), 422)


async def test_contacts_of_another_organisation_do_not_exist_and_roles_are_kept_to(office: Office) -> None:
    async with (
        office.client() as api,
        office.client(slug="globex") as other,
        office.client("agent") as agent,
        office.client("auditor") as auditor,
    ):
        mary = await created(api)
        path = f"/v1/contacts/{mary['id']}"
        problem(await other.get(path), 404)
        problem(await other.patch(path, json={"name": "x"}), 404)
        assert shown(await other.get("/v1/contacts"))["items"] == []
        assert shown(await other.post("/v1/contacts/search", json={"number": "+493023125001"}))["items"] == []
        problem(await agent.get(path), 403)
        assert shown(await auditor.get(path)) == mary
        problem(await auditor.patch(path, json={"name": "x"}), 403)
        for unknown in (uuid4(), "x"):
            problem(await api.get(f"/v1/contacts/{unknown}"), 404)


async def test_the_numbers_of_minors_are_unrecorded_as_long_as_they_are_minors_numbers(office: Office, databases: Databases) -> None:
    keys = await (await office.house.keyring("api")).org_context(office.house.org)

    async def unrecorded() -> list[bytes]:
        return [row["remote_index"] for row in await office.rows("SELECT remote_index FROM unrecorded_numbers")]

    async with office.client() as api:
        mary = await created(api, is_minor=True)
        assert await unrecorded() == [keys.index("calls.remote", "+493023125001")]
        path = f"/v1/contacts/{mary['id']}"
        (before,) = await office.rows("SELECT rules_version FROM orgs")
        shown(await api.patch(path, json={"numbers": [{"number": "+493023125002"}]}))
        assert await unrecorded() == [keys.index("calls.remote", "+493023125002")]
        assert (await office.rows("SELECT rules_version FROM orgs"))[0]["rules_version"] > before["rules_version"]
        shown(await api.patch(path, json={"is_minor": False}))
        assert await unrecorded() == []


async def test_an_erased_contact_answers_410_with_a_proof_and_nothing_of_it_opens(office: Office) -> None:
    async with office.client() as api, office.client(slug="globex") as other, office.client("supervisor") as supervisor:
        mary = await created(api)
        path = f"/v1/contacts/{mary['id']}"
        problem(await other.delete(path), 404)
        problem(await supervisor.delete(path), 403)
        # The key that counts is the one that a correction moved it to.
        shown(await api.patch(path, json={"notes": "other"}))
        key = (await office.rows("SELECT sealed_with FROM contacts"))[0]["sealed_with"]
        proof = await api.delete(path)
        assert proof.status_code == 200, proof.text
        assert (await api.delete(path)).content == proof.content
        problem(await api.get(path), 410)
        problem(await api.patch(path, json={"name": "x"}), 410)
        assert shown(await api.get("/v1/contacts"))["items"] == []
        assert shown(await api.post("/v1/contacts/search", json={"number": "+493023125001"}))["items"] == []
    (row,) = await office.rows("SELECT name_sealed, name_index, notes_sealed, sealed_with FROM contacts")
    assert set(row.values()) == {None}
    assert await office.rows("SELECT id FROM contact_numbers") == []
    assert await (await office.house.keyring("api")).open_many(office.house.org, "contact", [key], WHY) == {}
