"""What protects people is in force again before a restored, older main database serves."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from hushwire.core.personal import Personal
from hushwire.privacy import audit
from hushwire.privacy.consent import How
from hushwire.privacy.selection import Selector
from hushwire.services import protections
from hushwire.services.consents import Consents, Given
from hushwire.services.do_not_call import DoNotCall
from hushwire.services.erasure import Held
from hushwire.services.holds import Holds, Unfit, Wanted
from hushwire.services.phone_numbers import REMOTE
from hushwire.services.protections import Keeping
from hushwire.services.replay import Backup
from hushwire.services.restrictions import Restrictions
from hushwire.store import restrictions as restricting
from hushwire.store.holds import HoldRow
from hushwire.vault import tombstones
from hushwire.vault.shredding import shred_organisation
from hushwire.vault.tombstones import Tombstone
from hushwire.vault.unseal import Why
from tests.backup.test_replay import Older, replay
from tests.recorded import Chance, Fate, House, Killed, MortalDatabase, house
from tests.store.rows import add_agent, insert

__all__ = ["house"]

NUMBER, LATER = "+493023125001", "+493023125002"
TABLES = ("unrecorded_numbers", "do_not_call", "restricted_subjects", "legal_holds")


async def keeping(house: House, fate: Fate | None = None) -> Keeping:
    db = await house.db("keyring", "worker")
    return Keeping(await house.main("worker", fate), MortalDatabase.of(db, fate) if fate else db)


async def protect(house: House, number: str) -> HoldRow:
    """Everything that protects somebody with this number."""
    main, keyring = await house.main("api"), await house.keyring("api")
    await DoNotCall(main, keyring, house.clock).add(house.org, [number], actor="api-key:1")
    await Restrictions(main, keyring, house.clock, Chance()).restrict_number(house.org, number, actor="api-key:1")
    index = (await keyring.org_context(house.org)).index(REMOTE, number)
    async with main.organisation(house.org) as connection:
        await restricting.object_to_recording(connection, house.org, uuid4(), index, uuid4(), house.clock.now())
    wanted = Wanted("number", "litigation", Personal("court of Berlin"), number=Personal(number))
    held = await Holds(main, keyring, house.clock, Chance()).place(house.org, wanted, actor="api-key:1")
    assert not isinstance(held, Unfit)
    return held


async def in_force(house: House) -> dict[str, list[dict[str, Any]]]:
    """Every row that protects, as the main database has it."""
    found = {}
    async with (await house.main("owner")).organisation(house.org) as connection:
        for table in TABLES:
            rows = [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
            found[table] = sorted((row for row in rows if not row.get("lifted_at") and not row.get("released_at")), key=str)
    return found


async def kept(house: House) -> dict[str, int]:
    """How many of each kind that protects people the keyring keeps."""
    async with (await house.db("keyring", "owner")).organisation(house.org) as connection:
        return dict(await connection.fetch("SELECT kind, count(*) FROM kept_protections WHERE kind <> 'orgs' GROUP BY kind"))


async def test_what_was_placed_since_the_backup_protects_again_before_anything_serves(house: House) -> None:
    await protect(house, NUMBER)
    await (await keeping(house)).keep_all()
    older = await Older(house).keep()
    await protect(house, LATER)
    assert await (await keeping(house)).keep_all() == 1
    wanted = await in_force(house)
    assert {table: len(rows) for table, rows in wanted.items()} == dict.fromkeys(TABLES, 2)
    await older.bring_back()
    assert await in_force(house) != wanted, "the old state was not brought back"

    followed = await replay(house, backup=Backup(uuid4(), house.clock.now()))
    assert (followed.protections, followed.was_behind) == (4, True)
    assert await in_force(house) == wanted
    async with (await house.main("owner")).organisation(house.org) as connection:
        said = await connection.fetchval("SELECT fields FROM audit_log WHERE action = $1", audit.Action.RESTORED)
    assert '"do_not_call_brought_back": 1' in said
    # A second start finds nothing to do, and the worker goes on from there.
    assert not (await replay(house)).was_behind
    await (await keeping(house)).keep_all()
    assert await kept(house) == dict.fromkeys(TABLES, 2)
    await older.drop()


async def test_a_hold_that_came_back_keeps_from_erasure_and_its_words_open(house: House) -> None:
    keys = await (await house.keyring("api")).org_context(house.org)
    recording = await house.record(remote_index=keys.index(REMOTE, NUMBER))
    older = await Older(house).keep()
    placed = await protect(house, NUMBER)
    await (await keeping(house)).keep_all()
    await older.bring_back()
    await replay(house)
    assert isinstance(await (await house.erasures()).erase(house.org, recording, actor="retention", reason="retention"), Held)
    holds = Holds(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    again = await holds.get(house.org, placed.id, Why("api-key:1", "legal"))
    assert again is not None
    assert (again.authority, again.number) == ("court of Berlin", NUMBER)
    await older.drop()


async def test_a_withdrawn_consent_stays_withdrawn_for_recording(house: House) -> None:
    consents = Consents(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    given = Given(number=NUMBER, how=How.SPOKEN, given_at=datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    noted = await consents.note(house.org, given, actor="api-key:1")
    older = await Older(house).keep()
    consents = Consents(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    await consents.withdraw(house.org, noted.id, actor="api-key:1")  # type: ignore[union-attr]
    await (await keeping(house)).keep_all()
    await older.bring_back()
    await replay(house)
    (row,) = (await in_force(house))["unrecorded_numbers"]
    assert row["source"] == "withdrawal"
    await older.drop()


async def test_what_is_lifted_leaves_the_keyring_and_is_not_kept_as_history(house: House) -> None:
    held = await protect(house, NUMBER)
    await (await keeping(house)).keep_all()
    assert await kept(house) == dict.fromkeys(TABLES, 1)
    main, keyring = await house.main("api"), await house.keyring("api")
    await DoNotCall(main, keyring, house.clock).remove(house.org, [NUMBER], actor="api-key:1")
    restrictions = Restrictions(main, keyring, house.clock, Chance())
    ((restriction,), _) = await restrictions.listed(house.org)
    await restrictions.lift(house.org, restriction.id, actor="api-key:1")
    await Holds(main, keyring, house.clock, Chance()).release(house.org, held.id, actor="api-key:1")
    async with main.organisation(house.org) as connection:
        await connection.execute("DELETE FROM unrecorded_numbers")
    await (await keeping(house)).keep_all()
    assert await kept(house) == {}


async def test_killed_anywhere_or_done_twice_at_once_the_copy_becomes_what_the_main_database_has(house: House) -> None:
    await protect(house, NUMBER)
    for border in range(1, 20):
        try:
            await (await keeping(house, Fate(border))).keep_all()
        except Killed:
            continue
        break
    assert border > 4
    await asyncio.gather(*[(await keeping(house)).keep(house.org) for _ in range(4)])
    assert await kept(house) == dict.fromkeys(TABLES, 1)
    assert await (await keeping(house)).keep_all() == 0


async def test_bringing_back_killed_at_any_border_is_finished_by_the_next_start(house: House) -> None:
    older = await Older(house).keep()
    await protect(house, NUMBER)
    await (await keeping(house)).keep_all()
    wanted = await in_force(house)
    await older.bring_back()
    for border in range(1, 60):
        try:
            await replay(house, Fate(border))
        except Killed:
            continue
        break
    else:
        pytest.fail("it never came to its end")
    assert await in_force(house) == wanted
    await older.drop()


async def test_an_older_database_never_empties_the_keyrings_copy(house: House) -> None:
    older = await Older(house).keep()
    await protect(house, NUMBER)
    await (await keeping(house)).keep_all()
    await older.bring_back()
    # A worker that runs though nobody followed the keyring: it must not take the older state for the newest.
    assert not await (await keeping(house)).keep(house.org)
    assert await kept(house) == dict.fromkeys(TABLES, 1)
    await older.drop()


async def test_sets_of_more_than_a_page_are_kept_and_brought_back_whole(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protections, "_PAGE", 7)
    older = await Older(house).keep()
    main, keyring = await house.main("api"), await house.keyring("api")
    numbers = [f"+4930231250{each:02}" for each in range(21)]
    await DoNotCall(main, keyring, house.clock).add(house.org, numbers, actor="api-key:1")
    await (await keeping(house)).keep_all()
    assert await kept(house) == {"do_not_call": 21}
    await DoNotCall(main, keyring, house.clock).remove(house.org, numbers[3:12], actor="api-key:1")
    await (await keeping(house)).keep_all()
    assert await kept(house) == {"do_not_call": 12}
    wanted = await in_force(house)
    await older.bring_back()
    await replay(house)
    assert await in_force(house) == wanted
    await older.drop()


async def test_an_ended_organisations_protections_leave_the_keyring_for_good(house: House) -> None:
    await protect(house, NUMBER)
    await (await keeping(house)).keep_all()
    ended = Tombstone(tombstones.new_id(), "organisation", house.org, house.clock.now())
    await shred_organisation(await house.keyring("worker"), house.org, ended)
    assert await kept(house) == {}
    async with (await house.main("owner")).organisation(house.org) as connection:
        await insert(connection, "do_not_call", org_id=house.org, number_index=b"x", added_at=house.clock.now(), added_by="a")
    await (await keeping(house)).keep_all()
    assert await kept(house) == {}


async def test_of_an_erased_number_no_index_comes_back_where_only_logs_had_it(house: House) -> None:
    erased, kept_index = [(await (await house.keyring("api")).org_context(house.org)).index(REMOTE, each) for each in (NUMBER, LATER)]
    recording = await house.record(remote_index=erased)
    await house.record(remote_index=kept_index)
    given = {"at": house.clock.now(), "recipient": "customer", "recipient_id": "api-key:1", "kind": "report", "basis": "law"}
    async with (await house.main("owner")).organisation(house.org) as connection:
        for index in (erased, kept_index):
            await insert(connection, "disclosures", id=uuid4(), org_id=house.org, object_id=uuid4(), remote_index=index, **given)
    older = await Older(house).keep()
    selector = Selector(number=Personal(NUMBER))
    done = await (await house.erasures()).erase_matching(house.org, selector, actor="api-key:1", reason="data-subject-request")
    assert done.is_unreadable
    await older.bring_back()
    followed = await replay(house)
    assert followed.changes["recordings_erased"] == 1
    async with (await house.main("owner")).organisation(house.org) as connection:
        left = [row[0] for row in await connection.fetch("SELECT remote_index FROM disclosures WHERE remote_index IS NOT NULL")]
        assert await connection.fetchval("SELECT remote_index FROM recordings WHERE id = $1", recording) is None
    assert left == [kept_index]
    await older.drop()


async def rules_in_force(house: House) -> dict[str, list[tuple[Any, ...]]]:
    """What narrows calls, as the main database has it."""
    asked = {
        "orgs": "SELECT terms, hours, short_codes, time_zone, four_eyes FROM orgs",
        "teams": "SELECT name FROM teams ORDER BY name",
        "members": "SELECT t.name, m.agent_id FROM team_members AS m JOIN teams AS t ON t.id = m.team_id ORDER BY 1, 2",
        "levels": "SELECT team_id, agent_id, countries, hours FROM rule_levels ORDER BY 1, 2",
        "limits": "SELECT level, bounds FROM fraud_limits ORDER BY 1",
    }
    async with (await house.main("owner")).organisation(house.org) as connection:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in asked.items()}


async def narrow(house: House, statements: list[tuple[str, Any]]) -> None:
    async with (await house.main("api")).organisation(house.org) as connection:
        for statement, argument in statements:
            await connection.execute(statement.replace("ORG", f"'{house.org}'"), argument)


async def test_what_was_narrowed_since_the_backup_of_terms_levels_short_codes_guards_and_limits_stays_so(house: House) -> None:
    owner = await house.main("owner")
    async with owner.organisation(house.org) as connection:
        anna, ben = await add_agent(connection, house.org), await add_agent(connection, house.org)
    first, second, now = uuid4(), uuid4(), house.clock.now()
    limits = "INSERT INTO fraud_limits (org_id, level, subject_id, bounds, updated_at) VALUES (ORG, 'each-agent', ORG, $1, now())"
    await narrow(house, [
        ("UPDATE orgs SET short_codes = $1", ["110110", "22044"]),
        ("INSERT INTO teams (id, org_id, name, created_at, updated_at) VALUES ($1, ORG, 'sales', now(), now())", first),
        (f"INSERT INTO team_members (org_id, team_id, agent_id) VALUES (ORG, '{first}', $1)", anna),
        (limits, '{"concurrent-calls": {"most": 1000, "action": "warn"}}'),
    ])  # fmt: skip
    await (await keeping(house)).keep_all()
    older = await Older(house).keep()
    level = (
        "INSERT INTO rule_levels (id, org_id, {0}_id, countries, created_at, updated_at)"
        " VALUES (gen_random_uuid(), ORG, '{1}', $1, now(), now())"
    )
    await narrow(house, [
        ("UPDATE orgs SET terms = $1", '{"DE":{"ways":"sms"}}'),
        ("UPDATE orgs SET short_codes = $1, hours = '[{\"days\":[1],\"from\":\"08:00\",\"to\":\"18:00\"}]', four_eyes = '{CU}'", ["22044"]),
        ("DELETE FROM teams WHERE id = $1", first),
        ("INSERT INTO teams (id, org_id, name, created_at, updated_at) VALUES ($1, ORG, 'sales', now(), now())", second),
        (f"INSERT INTO team_members (org_id, team_id, agent_id) VALUES (ORG, '{second}', $1)", anna),
        (level.format("team", second), ["DE"]),
        (level.format("agent", ben), []),
        ("DELETE FROM fraud_limits WHERE updated_at <= $1", datetime.max.replace(tzinfo=now.tzinfo)),
    ])  # fmt: skip
    assert await (await keeping(house)).keep_all() == 1
    wanted = await rules_in_force(house)
    await older.bring_back()
    assert await rules_in_force(house) != wanted

    followed = await replay(house, backup=Backup(uuid4(), house.clock.now()))
    assert followed.was_behind
    assert await rules_in_force(house) == wanted
    again = await replay(house, backup=Backup(uuid4(), house.clock.now()))
    assert again.protections == 0, "a second run changes nothing"
    assert await rules_in_force(house) == wanted
