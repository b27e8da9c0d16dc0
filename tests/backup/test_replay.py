"""An older main database follows the keyring's tombstones before anything serves."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.policy.model import OwnHosts
from hushwire.privacy import audit, endings, receipts
from hushwire.privacy.erasure import Step, next_step
from hushwire.services.erasure import Erased
from hushwire.services.recordings import Gone
from hushwire.services.replay import Backup, Followed, Replay, keep_up
from hushwire.services.rule_changes import Saved
from hushwire.services.voice_security import Change, VoiceSecurity
from hushwire.store import access_requests, ledger
from hushwire.vault import tombstones
from hushwire.vault.tombstones import Tombstone
from tests.polling import until
from tests.privacy.test_erasure import WHO, entry_of, published_keys
from tests.recorded import Fate, House, Killed, MortalDatabase, house
from tests.store.rows import add_agent, insert

__all__ = ["house"]


async def replay(house: House, fate: Fate | None = None, backup: Backup | None = None) -> Followed:
    """What a start does before it serves."""
    main, keyring = await house.main("owner", fate), await house.db("keyring", "owner")
    return await Replay(main, MortalDatabase.of(keyring, fate) if fate else keyring, house.clock).run(backup)


class Older:
    """The main database as it was, to go back to: a copy of it, made by PostgreSQL."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._kept = f"kept_{uuid4().hex[:8]}"

    async def keep(self) -> "Older":
        await self._copy(self._house.databases.names["main"], self._kept)
        return self

    async def bring_back(self) -> None:
        """The main database is the old one again."""
        name = self._house.databases.names["main"]
        await self._run(f"DROP DATABASE {name} WITH (FORCE)")
        await self._copy(self._kept, name)

    async def drop(self) -> None:
        await self._run(f"DROP DATABASE IF EXISTS {self._kept} WITH (FORCE)")

    async def _copy(self, source: str, target: str) -> None:
        await self.let_go()
        connection = await asyncpg.connect(self._house.databases.cluster.dsn("postgres"))
        try:
            await until(lambda: self._is_copied(connection, source, target), timeout_s=60, what="the database is copied")
        finally:
            await connection.close()

    @staticmethod
    async def _is_copied(connection: Any, source: str, target: str) -> bool:
        """False while somebody is still connected to it: a pool of the test's, or an autovacuum worker."""
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", source)
        try:
            await connection.execute(f"CREATE DATABASE {target} TEMPLATE {source} OWNER hushwire_owner")
        except asyncpg.ObjectInUseError:
            return False
        return True

    async def let_go(self) -> None:
        """Nobody is connected to the main database: pools keep their connections up by themselves."""
        name = self._house.databases.names["main"]
        for database in [each for each in self._house.databases._open if f"/{name}?" in each._dsn]:
            await database.close()
            self._house.databases._open.remove(database)
        self._house._connected = {place: each for place, each in self._house._connected.items() if place[0] != "main"}

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self._house.databases.cluster.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def test_an_erasure_that_an_older_database_forgot_is_done_again_before_anything_serves(house: House) -> None:
    kept, erased = await house.record(), await house.record()
    older = await Older(house).keep()
    receipt = await (await house.erasures()).erase(house.org, erased, **WHO)
    assert isinstance(receipt, Erased)
    before = await entry_of(house, erased)
    assert before is not None
    await older.bring_back()
    assert not isinstance(await (await house.recordings()).get(house.org, erased), Gone), "the old state was not brought back"

    followed = await replay(house)
    assert (followed.tombstones, followed.lost_entries, followed.changes) == (1, 1, {"recordings_erased": 1})
    assert isinstance(await (await house.recordings()).get(house.org, erased), Gone)
    row = await house.row(erased)
    assert row.state == "erased"
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT remote_index FROM recordings WHERE id = $1", erased) is None
    entry = await entry_of(house, erased)
    assert entry is not None
    same = ("id", "position", "requested_at", "actor", "reason", "commitment", "commitment_salt", "key_fingerprint", "bucket_id")
    assert {name: getattr(entry, name) for name in same} == {name: getattr(before, name) for name in same}
    assert next_step(entry) is Step.DESTROY
    assert (await house.row(kept)).state == "closed", "what was not erased was touched"
    # The worker takes it from there: swept again, a receipt that verifies, and the audit chain is whole.
    await (await house.upkeep()).carry_on()
    await (await house.upkeep()).renew_buckets(at_once=True)
    entry = await entry_of(house, erased)
    assert entry is not None
    assert entry.closed_at is not None
    assert house.ciphertext(erased) == []
    again = await (await house.erasures()).erase(house.org, erased, **WHO)
    assert isinstance(again, Erased)
    keys = await published_keys(house)
    for each in (receipt, again):
        assert receipts.verify(each.receipt, keys).is_valid
    assert (await audit.verify(await house.main("api"), house.org)).is_whole
    await older.drop()


async def test_a_database_that_is_as_new_as_the_keyring_is_left_alone(house: House) -> None:
    erased = await house.record()
    await (await house.erasures()).erase(house.org, erased, **WHO)
    followed = await replay(house)
    assert followed == Followed(tombstones=1)
    assert (await replay(house)).tombstones == 0, "it looks again at what it has followed"
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_log WHERE action = 'restored'") == 0


async def test_killed_at_any_border_the_next_start_does_the_rest(house: House) -> None:
    recordings = [await house.record() for _ in range(3)]
    agent = await an_agent(house)
    older = await Older(house).keep()
    for recording in recordings:
        await (await house.erasures()).erase(house.org, recording, **WHO)
    stone = endings.agent_suspended(tombstones.new_id(), agent, house.clock.now())
    await tombstones.write(await house.db("keyring", "api"), house.org, [stone])
    kill_at = 0
    while True:
        kill_at += 1
        await older.bring_back()
        fate = Fate(kill_at)
        try:
            await replay(house, fate)
        except Killed:
            await replay(house)
        for recording in recordings:
            assert isinstance(await (await house.recordings()).get(house.org, recording), Gone), f"alive when killed at {kill_at}"
            assert (await house.row(recording)).state == "erased"
        assert await is_suspended(house, agent)
        async with (await house.main("api")).organisation(house.org) as connection:
            assert [entry.position for entry in await ledger.listed(connection)] == [3, 2, 1]
        assert (await replay(house)).tombstones == 0
        if fate.passed < kill_at:
            break
    assert kill_at > 10
    await older.drop()


async def an_agent(house: House) -> UUID:
    async with (await house.main("owner")).organisation(house.org) as connection:
        return await add_agent(connection, house.org)


async def is_suspended(house: House, agent: UUID) -> bool:
    async with (await house.main("owner")).organisation(house.org) as connection:
        return bool(await connection.fetchval("SELECT suspended FROM agents WHERE id = $1", agent))


async def test_countries_that_were_removed_stay_removed_and_those_added_later_do_not_open_more_than_the_old_list(house: House) -> None:
    service = VoiceSecurity(await house.main("owner"), await house.keyring("owner"), house.clock, lambda _: OwnHosts())
    await service.change(house.org, Change(allowed_countries=frozenset({"DE", "GB", "FR"})), actor="operator")
    agent = await an_agent(house)
    older = await Older(house).keep()
    # An agent's suspension, carried out again too, raises the version of the rules: they must be narrowed all the same.
    await tombstones.write(
        await house.db("keyring", "api"), house.org, [endings.agent_suspended(tombstones.new_id(), agent, house.clock.now())]
    )
    service = VoiceSecurity(await house.main("owner"), await house.keyring("owner"), house.clock, lambda _: OwnHosts())
    await service.change(house.org, Change(allowed_countries=frozenset({"DE"})), actor="operator")
    newest = await service.change(house.org, Change(allowed_countries=frozenset({"AT", "DE", "GB"})), actor="operator")
    await older.bring_back()
    assert (await replay(house)).changes == {"rules_narrowed": 1, "agents_suspended": 1}
    service = VoiceSecurity(await house.main("owner"), await house.keyring("owner"), house.clock, lambda _: OwnHosts())
    rules = await service.rules(house.org)
    assert rules.allowed_countries == ("DE", "GB"), "more or less than both lists hold"
    assert isinstance(newest, Saved)
    assert rules.version > newest.rules.version, "gateways would think that they knew newer rules"
    await older.drop()


async def test_a_list_that_was_only_widened_is_not_narrowed_by_the_next_start(house: House) -> None:
    service = VoiceSecurity(await house.main("api"), await house.keyring("api"), house.clock, lambda _: OwnHosts())
    await service.change(house.org, Change(allowed_countries=frozenset({"DE"})), actor="operator")
    await service.change(house.org, Change(allowed_countries=frozenset({"DE", "FR"})), actor="operator")
    assert not (await replay(house)).was_behind
    assert (await service.rules(house.org)).allowed_countries == ("DE", "FR")


async def test_a_country_that_was_to_be_removed_when_the_machine_died_is_removed_by_the_next_start(house: House) -> None:
    """The keyring's word is committed before the row: whoever asked for less gets less."""
    service = VoiceSecurity(await house.main("owner"), await house.keyring("owner"), house.clock, lambda _: OwnHosts())
    await service.change(house.org, Change(allowed_countries=frozenset({"DE", "GB"})), actor="operator")
    real = tombstones.write

    async def die(*arguments: object) -> None:
        await real(*arguments)  # type: ignore[arg-type]
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tombstones, "write", die)
        with pytest.raises(Killed):
            await service.change(house.org, Change(allowed_countries=frozenset({"DE"})), actor="operator")
    assert (await service.rules(house.org)).allowed_countries == ("DE", "GB")
    await replay(house)
    assert (await service.rules(house.org)).allowed_countries == ("DE",)


async def test_a_revoked_key_stays_revoked_and_a_new_secret_of_the_same_key_lives(house: House) -> None:
    key, renewed, demoted = uuid4(), uuid4(), uuid4()
    async with (await house.main("owner")).organisation(house.org) as connection:
        for each, role in ((key, "owner"), (renewed, "owner"), (demoted, "agent")):
            values = {"id": each, "name": str(each), "role": role, "secret_hash": each.bytes * 2, "created_at": datetime.now(UTC)}
            await insert(connection, "api_keys", org_id=house.org, **values)
    now = house.clock.now()
    stones = [
        endings.key_revoked(tombstones.new_id(), key, key.bytes * 2, now),
        endings.key_revoked(tombstones.new_id(), renewed, b"its old secret's hash", now),
        endings.key_changed(tombstones.new_id(), demoted, demoted.bytes * 2, "auditor", now),
    ]
    await tombstones.write(await house.db("keyring", "api"), house.org, stones)
    assert (await replay(house)).changes == {"api_keys_revoked": 2}
    async with (await house.main("owner")).organisation(house.org) as connection:
        alive = await connection.fetch("SELECT id FROM api_keys WHERE revoked_at IS NULL")
    assert [row["id"] for row in alive] == [renewed]


async def test_agents_stay_suspended_or_removed_unless_exactly_that_suspension_was_lifted(house: House) -> None:
    suspended, lifted, twice, removed, rotated = [await an_agent(house) for _ in range(5)]
    async with (await house.main("owner")).organisation(house.org) as connection:
        await connection.execute("UPDATE agents SET ha1_sealed = 'stolen' WHERE id = $1", rotated)
        await connection.execute("UPDATE agents SET ha1_sealed = 'newer' WHERE id = $1", suspended)
    now = house.clock.now()
    first, second = tombstones.new_id(), tombstones.new_id()
    stones = [
        endings.agent_suspended(tombstones.new_id(), suspended, now),
        endings.agent_suspended(first, lifted, now),
        endings.agent_suspended(second, twice, now),
        endings.agent_suspended(tombstones.new_id(), twice, now),
        endings.agent_let_in(tombstones.new_id(), lifted, [first], now),
        endings.agent_let_in(tombstones.new_id(), twice, [second], now),  # late: it knew of the first suspension only
        endings.agent_removed(tombstones.new_id(), removed, now),
        endings.credentials_replaced(tombstones.new_id(), rotated, b"stolen", now),
        endings.credentials_replaced(tombstones.new_id(), suspended, b"older", now),
    ]
    await tombstones.write(await house.db("keyring", "api"), house.org, stones)
    assert (await replay(house)).changes == {"agents_suspended": 2, "agents_removed": 1, "credentials_dropped": 1}
    async with (await house.main("owner")).organisation(house.org) as connection:
        rows = {row["id"]: row for row in await connection.fetch("SELECT id, suspended, ha1_sealed FROM agents")}
    assert {agent for agent, row in rows.items() if row["suspended"]} == {suspended, twice}
    assert removed not in rows
    assert rows[rotated]["ha1_sealed"] is None
    assert rows[suspended]["ha1_sealed"] == b"newer"


async def test_a_device_that_was_revoked_does_not_come_back(house: House) -> None:
    agent, revoked, kept = await an_agent(house), uuid4(), uuid4()
    async with (await house.main("owner")).organisation(house.org) as connection:
        for each in (revoked, kept):
            values = {"login": str(each), "name_sealed": b"n", "ha1_sealed": each.bytes, "created_at": datetime.now(UTC)}
            await insert(connection, "devices", id=each, org_id=house.org, agent_id=agent, **values)
    stone = endings.credentials_replaced(tombstones.new_id(), agent, revoked.bytes, house.clock.now())
    await tombstones.write(await house.db("keyring", "api"), house.org, [stone])
    assert (await replay(house)).changes == {"credentials_dropped": 1}
    async with (await house.main("owner")).organisation(house.org) as connection:
        rows = {row["id"]: row for row in await connection.fetch("SELECT id, ha1_sealed, revoked_at FROM devices")}
    assert rows[revoked]["ha1_sealed"] is None
    assert rows[revoked]["revoked_at"] is not None
    assert rows[kept]["ha1_sealed"] == kept.bytes


async def test_a_number_that_was_released_does_not_come_back(house: House) -> None:
    released, kept = uuid4(), uuid4()
    async with (await house.main("owner")).organisation(house.org) as connection:
        for each in (released, kept):
            values = {"number_sealed": each.bytes, "number_index": each.bytes, "lookup": each.bytes, "created_at": datetime.now(UTC)}
            await insert(connection, "numbers", id=each, org_id=house.org, **values)
    stone = endings.number_released(tombstones.new_id(), released, house.clock.now())
    await tombstones.write(await house.db("keyring", "api"), house.org, [stone])
    assert (await replay(house)).changes == {"numbers_released": 1}
    async with (await house.main("owner")).organisation(house.org) as connection:
        assert [row["id"] for row in await connection.fetch("SELECT id FROM numbers")] == [kept]


async def test_a_kind_that_is_unknown_keeps_everything_from_serving_and_changes_nothing(house: House) -> None:
    recording = await house.record()
    now = house.clock.now()
    stones = [
        Tombstone(uuid4(), "recording", recording, now),
        Tombstone(uuid4(), "telepathy", uuid4(), now),
    ]
    await tombstones.write(await house.db("keyring", "api"), house.org, stones)
    with pytest.raises(ConfigError, match="telepathy"):
        await replay(house)
    assert (await house.row(recording)).state == "closed"


async def test_a_keyring_older_than_the_database_is_refused(house: House) -> None:
    async with (await house.main("owner")).transaction() as connection:
        await connection.execute("UPDATE replay SET followed = 7")
    with pytest.raises(KeyUnavailable, match="older than the main database"):
        await replay(house)


async def test_a_tombstone_without_fields_and_one_of_a_lost_recording_are_followed_too(house: House) -> None:
    recording, lost = await house.record(), uuid4()
    now = house.clock.now()
    stones = [Tombstone(uuid4(), "recording", each, now) for each in (recording, lost)]
    await tombstones.write(await house.db("keyring", "api"), house.org, stones)
    followed = await replay(house)
    assert followed.lost_entries == 2
    assert isinstance(await (await house.recordings()).get(house.org, recording), Gone)
    await (await house.upkeep()).carry_on()
    async with (await house.main("api")).organisation(house.org) as connection:
        entries = await ledger.listed(connection)
    assert [entry.position for entry in entries] == [2, 1]
    assert all(entry.swept_at for entry in entries)


async def test_the_audit_log_says_what_was_restored_and_replayed(house: House) -> None:
    erased = await house.record()
    older = await Older(house).keep()
    await (await house.erasures()).erase(house.org, erased, **WHO)
    await older.bring_back()
    backup = Backup(uuid4(), house.clock.now())
    await replay(house, backup=backup)
    async with (await house.main("api")).organisation(house.org) as connection:
        row = await connection.fetchrow("SELECT actor, fields::text FROM audit_log WHERE action = 'restored'")
    assert row["actor"] == "operator"
    assert str(backup.id) in row["fields"]
    assert '"lost_entries": 1' in row["fields"]
    assert (await audit.verify(await house.main("api"), house.org)).is_whole
    await older.drop()


async def test_after_a_restore_no_access_stands_that_was_given_and_no_webhook_is_told_content_until_somebody_says_so(house: House) -> None:
    mark, now = house.org.bytes, house.clock.now()
    async with (await house.main("owner")).organisation(house.org) as connection:
        agent = await add_agent(connection, house.org)
        given = {"agent_id": agent, "countries": ["FR"], "state": "approved", "asked_by": "a", "asked_at": now, "expires_at": now}
        given |= {"decided_by": "b", "decided_at": now, "ends_at": now + timedelta(days=1)}
        await insert(connection, "access_requests", id=uuid4(), org_id=house.org, **given)
        hook = {"url_sealed": mark, "kinds": ["*"], "signs": "ed25519", "secret_sealed": mark, "created_at": now, "updated_at": now}
        for grants in ([], ["bodies"]):
            await insert(connection, "webhooks", id=uuid4(), org_id=house.org, grants=grants, **hook)
    await replay(house)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert len(await access_requests.grants(connection, house.clock.now())) == 1, "a start that restores nothing ends nothing"
    await replay(house, backup=Backup(uuid4(), house.clock.now()))
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await access_requests.grants(connection, now) == []
        rows = await connection.fetch("SELECT grants, state FROM webhooks ORDER BY grants")
        assert [(row["grants"], row["state"]) for row in rows] == [([], "active"), (["bodies"], "paused")]


async def test_a_restore_ends_masked_sessions_and_exceptions_since_nobody_knows_whose_erasure_it_undid(house: House) -> None:
    mark, number, session = house.org.bytes, uuid4(), uuid4()
    async with (await house.main("owner")).organisation(house.org) as connection:
        now = house.clock.now()
        agent = await add_agent(connection, house.org)
        named = {"number_sealed": mark, "number_index": mark, "lookup": mark, "created_at": now, "masks": True}
        await insert(connection, "numbers", id=number, org_id=house.org, **named)
        masked = {"agent_id": agent, "number_id": number, "created_at": now, "expires_at": now + timedelta(days=1)}
        await insert(connection, "masking_sessions", id=session, org_id=house.org, **masked)
        party = {"session_id": session, "number_id": number, "number_sealed": mark, "remote_index": mark}
        await insert(connection, "masking_parties", id=uuid4(), org_id=house.org, **party)
        excepted = {"kind": "risk", "said_sealed": mark, "created_at": now, "created_by": "a"}
        await insert(connection, "number_exceptions", id=uuid4(), org_id=house.org, **excepted)
    await replay(house)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM masking_parties") == 1, "a start that restores nothing ends nothing"
    await replay(house, backup=Backup(uuid4(), house.clock.now()))
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM masking_parties") == 0
        assert await connection.fetchval("SELECT ended_at IS NOT NULL FROM masking_sessions")
        assert await connection.fetchval("SELECT count(*) FROM number_exceptions") == 0
        assert '"maskings_ended": 1' in await connection.fetchval("SELECT fields::text FROM audit_log WHERE action = 'restored'")


async def test_the_worker_moves_the_mark_on_once_an_hour_has_passed(house: House) -> None:
    await (await house.erasures()).erase(house.org, await house.record(), **WHO)
    main, keyring = await house.main("worker"), await house.db("keyring", "worker")
    assert await keep_up(main, keyring, house.clock) == 0
    house.clock.ahead += timedelta(hours=2)
    assert await keep_up(main, keyring, house.clock) == 1
    assert (await replay(house)).tombstones == 0


async def test_tombstones_of_another_organisation_touch_nothing_here(house: House) -> None:
    recording = await house.record()
    stranger = OrgId(uuid4())
    await tombstones.write(await house.db("keyring", "api"), stranger, [Tombstone(uuid4(), "recording", recording, house.clock.now())])
    await replay(house)
    assert (await house.row(recording)).state == "closed"
