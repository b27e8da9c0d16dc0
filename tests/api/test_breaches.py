"""Breach cases over the wire and in the worker: what was read is found, told, and told once; identities are the customer's alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from hushwire.core.errors import RefusedError
from hushwire.privacy import breach
from hushwire.privacy.breach import Window
from hushwire.privacy.clocks import ClockKind
from hushwire.services.breach_notices import BreachNotices
from hushwire.services.breaches import Breaches, counts_of
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from tests.api.serving import Office, as_json, problem, shown
from tests.api.test_recordings import tone
from tests.databases import RoleName
from tests.recorded import Chance, Fate, Killed

NUMBERS = ("+493023125001", "+493023125002", "+493023125003")


async def service(office: Office, role: RoleName = "worker", fate: Fate | None = None) -> Breaches:
    house = office.house
    main, keyring = await house.main(role, fate), await house.keyring(role, fate)
    clocks = Clocks(house.clock, Chance())
    outbox = BreachNotices(Notices(main, keyring, clocks, house.clock, Chance()))
    return Breaches(main, keyring, clocks, outbox, house.clock, Chance())


async def credential(office: Office, role: str = "supervisor", slug: str = "acme") -> str:
    org = office.house.org if slug == "acme" else office.other
    (row,) = await office.rows("SELECT id FROM api_keys WHERE role = $1", role, org=org)
    return f"api-key:{row['id']}"


async def read(office: Office) -> str:
    """A supervisor's key reads two calls of one number, one of another, twice; a third number is read by somebody else."""
    anna = await office.add_agent("anna")
    calls = [await office.add_call(number, agent_id=anna) for number in (NUMBERS[0], NUMBERS[0], NUMBERS[1])]
    other = await office.add_call(NUMBERS[2])
    async with office.client("supervisor") as client:
        for call in [*calls, calls[0]]:
            shown(await client.get(f"/v1/calls/{call}"))
    async with office.client("auditor") as client:
        shown(await client.get(f"/v1/calls/{other}"))
    return await credential(office)


async def window(office: Office) -> tuple[str, str]:
    now = office.house.clock.now()
    return (now - timedelta(hours=1)).isoformat(), now.isoformat()


async def registered(office: Office, actor: str, **more: Any) -> dict[str, Any]:
    begin, end = await window(office)
    async with office.client() as client:
        answer = await client.post("/v1/privacy/breaches", **as_json({"credential": actor, "from": begin, "to": end} | more))
        return shown(answer)


async def test_a_breach_is_counted_from_the_access_log_and_told_under_its_clock(office: Office) -> None:
    actor = await read(office)
    found = await registered(office, actor, note="A key lay in a public repository.")
    assert found["state"] == "noticed"
    assert found["counts"]["records"] == {"call": 3}
    assert (found["counts"]["accesses"], found["counts"]["persons"], found["counts"]["agents"]) == (4, 2, 1)
    async with (await office.house.main("api")).organisation(office.house.org) as connection:
        clock = await Clocks(office.house.clock, Chance()).of(connection, ClockKind.BREACH_NOTICE, "breach", UUID(found["id"]))
    assert clock is not None
    assert clock.started_at == datetime.fromisoformat(found["registered_at"])
    assert clock.due_at - clock.started_at == timedelta(hours=24)
    (notice,) = await office.rows("SELECT kind, clock_id, state FROM notices WHERE id = $1", UUID(found["notice_id"]))
    assert (notice["kind"], notice["clock_id"]) == ("breach", clock.id)
    told = [
        row["action"]
        for row in await office.rows("SELECT action FROM audit_log WHERE object = $1 ORDER BY position", f"breach:{found['id']}")
    ]
    assert told == ["breach.registered", "breach.computed", "breach.noticed"]


async def test_the_notice_says_when_what_whom_in_numbers_what_may_follow_and_what_was_done_and_no_number(office: Office) -> None:
    found = await registered(office, await read(office), note="secret words")
    house = office.house
    notices = Notices(await house.main("api"), await house.keyring("api"), Clocks(house.clock, Chance()), house.clock, Chance())
    from hushwire.vault.unseal import Why

    view = await notices.get(house.org, UUID(found["notice_id"]), Why("api-key:1", "audit"))
    assert view is not None
    assert view.words is not None
    text = view.words.body
    for part in ("call records with phone numbers: 3", "2 persons", "1 agents", "who spoke with whom", "still valid: revoke", found["id"]):
        assert part in text, part
    assert not any(number in text for number in (*NUMBERS, "secret words"))


async def test_records_are_listed_by_id_and_persons_by_number_for_the_customer_alone(office: Office) -> None:
    found = await registered(office, await read(office))
    path = f"/v1/privacy/breaches/{found['id']}"
    async with office.client("auditor") as client:
        first = shown(await client.get(f"{path}/records?limit=2"))
        second = shown(await client.get(f"{path}/records", params={"limit": 2, "cursor": first["next"]}))
        listed = first["items"] + second["items"]
        assert len(listed) == 3
        assert sorted(item["accesses"] for item in listed) == [1, 1, 2]
        problem(await client.get(f"{path}/persons"), 403)
        problem(await client.get(path), 403)
    async with office.client(headers={"Hushwire-Purpose": "legal-obligation"}) as client:
        one = shown(await client.get(f"{path}/persons?limit=1"))
        two = shown(await client.get(f"{path}/persons", params={"limit": 1, "cursor": one["next"]}))
        assert two["next"] is None
        assert {(item["number"], item["records"]) for item in one["items"] + two["items"]} == {(NUMBERS[0], 2), (NUMBERS[1], 1)}
    noted = await office.rows("SELECT DISTINCT purpose FROM access_log WHERE actor = $1", await credential(office, "owner"))
    assert {row["purpose"] for row in noted} == {"legal-obligation"}


async def test_everybody_whose_voice_is_in_a_recording_that_was_read_is_counted_and_named_by_their_own_number(office: Office) -> None:
    anna = await office.add_agent("anna")
    for number in NUMBERS[:2]:
        call = await office.add_call(number, agent_id=anna)
    keys = await (await office.house.keyring("api")).org_context(office.house.org)
    recording = await office.house.record(tone(2), call=call, remote_index=keys.index("calls.remote", NUMBERS[1]), agent_id=anna,
                                          further_indexes=[keys.index("calls.remote", NUMBERS[0])])  # fmt: skip
    async with office.client("supervisor") as client:
        assert (await client.get(f"/v1/recordings/{recording}/audio")).status_code == 200
    found = await registered(office, await credential(office))
    assert found["counts"]["persons"] == 2
    async with office.client(headers={"Hushwire-Purpose": "legal-obligation"}) as client:
        said = shown(await client.get(f"/v1/privacy/breaches/{found['id']}/persons"))
    assert {(item["number"], item["records"]) for item in said["items"]} == {(NUMBERS[0], 1), (NUMBERS[1], 1)}


async def test_the_note_is_sealed_and_opens_for_owners(office: Office) -> None:
    found = await registered(office, await read(office), note="A key lay in a public repository.")
    (row,) = await office.rows("SELECT note_sealed FROM breaches")
    assert b"repository" not in row["note_sealed"]
    async with office.client() as client:
        assert shown(await client.get(f"/v1/privacy/breaches/{found['id']}"))["note"] == "A key lay in a public repository."
        await (await office.house.keyring("api")).destroy_data_key(office.house.org, "case", UUID(found["id"]))
        assert shown(await client.get(f"/v1/privacy/breaches/{found['id']}"))["note"] is None


async def test_registering_again_gives_the_same_case_clock_and_notice(office: Office) -> None:
    actor = await read(office)
    begin, end = await window(office)
    body = {"credential": actor, "from": begin, "to": end}
    async with office.client() as client:
        first, again = [shown(await client.post("/v1/privacy/breaches", **as_json(body))) for _ in range(2)]
        assert first == again
        assert [item["id"] for item in shown(await client.get("/v1/privacy/breaches"))["items"]] == [first["id"]]
    assert len(await office.rows("SELECT id FROM clocks WHERE kind = 'breach-notice'")) == 1
    assert len(await office.rows("SELECT id FROM notices WHERE kind = 'breach'")) == 1


async def test_an_agent_is_named_by_its_username_and_nothing_read_is_a_case_of_none(office: Office) -> None:
    anna = await office.add_agent("anna")
    found = await registered(office, "agent:anna")
    assert found["credential"] == f"agent:{anna}"
    assert found["counts"]["accesses"] == 0
    assert found["counts"]["consequences"] == "none that is known: nothing was read"


async def test_nonsense_is_refused_and_changes_nothing(office: Office) -> None:
    key = await credential(office)
    begin, end = await window(office)
    later = (office.house.clock.now() + timedelta(hours=1)).isoformat()
    async with office.client() as client:
        for body, status in (
            ({"credential": key, "from": end, "to": begin}, 422), ({"credential": key, "from": begin, "to": later}, 422),
            ({"credential": "root", "from": begin}, 422), ({"credential": f"api-key:{uuid4()}\x00", "from": begin}, 422),
            ({"credential": "agent:nobody", "from": begin}, 404), ({"credential": key}, 422),
            ({"credential": key, "from": "yesterday"}, 422),
            ({"credential": key, "from": begin, "note": "x" * 20_001}, 422), ({"credential": key, "from": begin, "more": 1}, 422),
        ):  # fmt: skip
            problem(await client.post("/v1/privacy/breaches", **as_json(body)), status)
        problem(await client.get(f"/v1/privacy/breaches/{uuid4()}"), 404)
    for role in ("supervisor", "auditor", "agent"):
        async with office.client(role) as client:
            problem(await client.post("/v1/privacy/breaches", **as_json({"credential": key, "from": begin})), 403)
    assert await office.rows("SELECT id FROM breaches") == []


async def test_another_organisation_sees_no_case_and_finds_nothing_by_a_foreign_credential(office: Office) -> None:
    actor = await read(office)
    found = await registered(office, actor)
    begin, end = await window(office)
    async with office.client("owner", "globex") as client:
        problem(await client.get(f"/v1/privacy/breaches/{found['id']}"), 404)
        foreign = shown(await client.post("/v1/privacy/breaches", **as_json({"credential": actor, "from": begin, "to": end})))
        assert foreign["counts"]["accesses"] == 0


async def test_the_operator_opens_a_case_in_each_organisation_that_was_read_and_in_no_other(office: Office) -> None:
    actor = await read(office)
    now = office.house.clock.now()
    for org in (office.house.org, office.other):
        async with (await office.house.main("owner")).organisation(org) as connection:
            await connection.execute(
                "INSERT INTO access_log (id, org_id, at, actor, purpose, object) VALUES ($1, $2, $3, $4, 'audit', $5)",
                uuid4(), org, now - timedelta(minutes=5), "agent:01890000-0000-7000-8000-00000000000b", f"recording:{uuid4()}",
            )  # fmt: skip
    everywhere = await service(office, "owner")
    one = await everywhere.register_everywhere(Window(actor, now - timedelta(hours=1), now + timedelta(seconds=2)), note="seen")
    assert [row.org_id for row in one.cases] == [office.house.org]
    both = await everywhere.register_everywhere(
        Window("agent:01890000-0000-7000-8000-00000000000b", now - timedelta(hours=1), now), note="seen"
    )
    assert {row.org_id for row in both.cases} == {office.house.org, office.other}
    assert {row.incident_id for row in both.cases} == {both.incident.id}
    assert {row.registered_at for row in both.cases} == {both.incident.registered_at}
    again = await everywhere.register_everywhere(Window("agent:01890000-0000-7000-8000-00000000000b", now - timedelta(hours=1), now))
    assert [row.id for row in again.cases] == [row.id for row in both.cases]
    assert await office.rows("SELECT note_sealed FROM breach_incidents WHERE note_sealed IS NOT NULL") == []


async def test_killed_at_any_border_a_registration_is_finished_by_the_worker_once(office: Office) -> None:
    actor = await read(office)
    now = office.house.clock.now()
    kill_at = 0
    while True:
        kill_at += 1
        found = Window(actor, now - timedelta(hours=1, seconds=kill_at), now)
        fate = Fate(kill_at)
        try:
            await (await service(office, "owner", fate)).register_everywhere(found, note="seen")
            break
        except Killed:
            await (await service(office)).carry_on()
        rows = await office.rows("SELECT id, state, counts FROM breaches WHERE since = $1", found.since)
        stands = await office.rows("SELECT id FROM breach_incidents WHERE since = $1", found.since)
        assert [row["state"] for row in rows] == (["noticed"] if stands else [])
    assert kill_at > 8
    cases = await office.rows("SELECT count(*) AS n, count(DISTINCT notice_id) AS notices FROM breaches WHERE state = 'noticed'")
    assert cases[0]["n"] == cases[0]["notices"]
    assert len(await office.rows("SELECT id FROM clocks WHERE kind = 'breach-notice'")) == cases[0]["n"]
    assert len(await office.rows("SELECT id FROM notices WHERE kind = 'breach'")) == cases[0]["n"]


async def test_persons_erased_since_are_counted_and_named_no_more(office: Office) -> None:
    actor = await read(office)
    (call,) = await office.rows(
        "SELECT id FROM calls WHERE remote_index = (SELECT remote_index FROM calls GROUP BY 1 HAVING count(*) = 2) LIMIT 1"
    )
    found = await registered(office, actor)
    await (await office.house.keyring("api")).destroy_data_key(office.house.org, "call", call["id"])
    async with (await office.house.main("api")).organisation(office.house.org) as connection:
        await connection.execute("UPDATE calls SET remote_index = NULL, remote_sealed = NULL WHERE id = $1", call["id"])
    async with office.client() as client:
        people = shown(await client.get(f"/v1/privacy/breaches/{found['id']}/persons"))["items"]
    assert {(item["number"], item["records"]) for item in people} == {(NUMBERS[0], 1), (NUMBERS[1], 1)}


def test_a_window_that_is_not_over_or_runs_backwards_is_refused() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    actor = f"api-key:{uuid4()}"
    assert breach.window(actor, now - timedelta(hours=1), now, now).until == now
    for begin, end in ((now, now), (now, now - timedelta(1)), (now - timedelta(1), now + timedelta(minutes=1))):
        with pytest.raises(RefusedError):
            breach.window(actor, begin, end, now)
    for wrong in ("", "system:worker", "api-key:ci", f"api-key:{uuid4()} ", f"API-KEY:{uuid4()}"):
        with pytest.raises(RefusedError):
            breach.window(wrong, now - timedelta(1), now, now)


@pytest.mark.slow
async def test_a_million_readings_are_computed_in_seconds(office: Office) -> None:
    house, actor = office.house, await credential(office)
    now = house.clock.now()
    async with (await house.main("owner")).organisation(house.org) as connection:
        await connection.execute(
            "INSERT INTO calls (id, org_id, node_id, direction, state, started_at, remote_index)"
            " SELECT md5('call' || n)::uuid, $1, $2, 'outbound', 'ended', $3, sha256(convert_to((n % 50000)::text, 'UTF8'))"
            " FROM generate_series(1, 200000) AS n",
            house.org, house.node, now,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO access_log (id, org_id, at, actor, purpose, object)"
            " SELECT gen_random_uuid(), $1, $2::timestamptz - n * interval '1 ms', CASE WHEN n % 2 = 0 THEN $3 ELSE 'a' END, 'audit',"
            " 'call:' || md5('call' || (n % 200000 + 1))::uuid FROM generate_series(1, 1000000) AS n",
            house.org, now, actor,
        )  # fmt: skip
    async with (await house.main("owner")).session() as connection:
        await connection.execute("ANALYZE access_log; ANALYZE calls")
    begun = datetime.now(UTC)
    row = await (await service(office, "api")).register(house.org, Window(actor, now - timedelta(hours=1), now), by="api-key:1")
    took = datetime.now(UTC) - begun
    counts = counts_of(row)
    assert counts is not None
    assert (counts.accesses, counts.total, counts.persons) == (500_000, 100_000, 25_000)
    print(f"1 000 000 readings, 500 000 by the credential: {took.total_seconds():.1f} s")
    assert took < timedelta(seconds=15)
