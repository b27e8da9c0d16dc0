"""Functions that look across tenants return ids, and outbox readers never skip a late commit."""

from uuid import uuid4

import asyncpg
import pytest

from tests.databases import Databases
from tests.store.rows import add_call, add_command, add_erasure, add_event, add_org, add_recording


async def test_each_look_up_finds_the_rows_of_every_organisation_by_id(databases: Databases) -> None:
    owner = await databases.connect("main")
    node = uuid4()
    orgs = [await add_org(owner, slug) for slug in ("acme", "bolt")]
    expected: dict[str, set[tuple[object, object]]] = {name: set() for name in ("calls", "shipping", "live", "commands", "erasures")}
    for org in orgs:
        async with owner.organisation(org) as connection:
            call = await add_call(connection, org, node)
            expected["calls"].add((org, call))
            expected["shipping"].add((org, await add_recording(connection, org, node, call)))
            expected["live"].add((org, await add_recording(connection, org, node, call, "live")))
            expected["commands"].add((org, await add_command(connection, org, node)))
            expected["erasures"].add((org, await add_erasure(connection, org)))
            await connection.execute(
                "INSERT INTO numbers (id, org_id, number_sealed, number_index, lookup, created_at)"
                " VALUES (gen_random_uuid(), $1, 's', 'i', $2, now())",
                org,
                org.bytes,
            )
            await connection.execute(
                "INSERT INTO api_keys (id, org_id, name, role, secret_hash, created_at) VALUES ($1, $1, 'ci', 'owner', $2, now())",
                org,
                org.bytes,
            )
    worker = await databases.connect("main", "worker")
    async with worker.transaction() as connection:
        assert {tuple(row) for row in await connection.fetch("SELECT * FROM live_calls($1)", node)} == expected["calls"]
        assert {tuple(row) for row in await connection.fetch("SELECT * FROM recordings_to_ship($1)", node)} == expected["shipping"]
        assert {tuple(row) for row in await connection.fetch("SELECT * FROM live_recordings($1)", node)} == expected["live"]
        assert {tuple(row) for row in await connection.fetch("SELECT * FROM open_commands($1)", node)} == expected["commands"]
        assert {tuple(row) for row in await connection.fetch("SELECT * FROM open_erasures()")} == expected["erasures"]
        assert {row[0] for row in await connection.fetch("SELECT org_ids()")} == set(orgs)
        assert await connection.fetchval("SELECT find_org('bolt')") == orgs[1]
        assert await connection.fetchval("SELECT find_org('nobody')") is None
        assert await connection.fetchval("SELECT only_org()") is None
    api = await databases.connect("main", "api")
    async with api.transaction() as connection:
        found = await connection.fetchrow("SELECT * FROM find_api_key($1)", orgs[0].bytes)
        assert found is not None
        assert tuple(found) == (orgs[0], orgs[0])
        number = await connection.fetchrow("SELECT * FROM find_number($1)", orgs[1].bytes)
        assert number is not None
        assert number["org_id"] == orgs[1]
    async with api.organisation(orgs[0]) as connection:
        await connection.execute("UPDATE api_keys SET revoked_at = now()")
    async with api.transaction() as connection:
        assert await connection.fetchrow("SELECT * FROM find_api_key($1)", orgs[0].bytes) is None


async def test_the_only_organisation_is_named_while_it_is_the_only_one(databases: Databases) -> None:
    owner = await databases.connect("main")
    async with owner.transaction() as connection:
        assert await connection.fetchval("SELECT only_org()") is None
    org = await add_org(owner, "acme")
    async with owner.transaction() as connection:
        assert await connection.fetchval("SELECT only_org()") == org


@pytest.mark.parametrize(
    ("role", "call"),
    [
        ("gateway", "find_api_key('x')"),
        ("gateway", "open_erasures()"),
        ("api", "orgs_with_events()"),
    ],
)
async def test_a_role_may_run_only_the_look_ups_that_it_needs(databases: Databases, role: str, call: str) -> None:
    database = await databases.connect("main", role)  # type: ignore[arg-type]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction() as connection:
            await connection.fetch(f"SELECT * FROM {call}")


async def test_a_reader_below_the_horizon_never_skips_an_event_that_commits_late(databases: Databases) -> None:
    owner = await databases.connect("main")
    org = await add_org(owner, "acme")
    gateway, worker = await databases.connect("main", "gateway"), await databases.connect("main", "worker")
    ready = "SELECT id FROM outbox WHERE xid < outbox_horizon() ORDER BY xid, seq"
    async with gateway.organisation(org) as slow:
        late = await add_event(slow, org)
        async with gateway.organisation(org) as quick:
            early = await add_event(quick, org)
        async with worker.organisation(org) as connection:
            assert len(await connection.fetch("SELECT id FROM outbox")) == 1
            assert await connection.fetch(ready) == []
            assert await connection.fetch("SELECT orgs_with_events()") == []
    async with worker.organisation(org) as connection:
        assert [row["id"] for row in await connection.fetch(ready)] == [late, early]
        assert [row[0] for row in await connection.fetch("SELECT orgs_with_events()")] == [org]
