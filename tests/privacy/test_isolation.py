"""Tenant isolation by the database: queries without any organisation filter, run as the application's own roles, see one tenant only.

Tables, columns and rights are read from the live schema, so that a table which a later migration forgets to protect fails here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.core.ids import OrgId
from hushwire.privacy.inventory import Form, holding
from hushwire.store.database import Connection, Database
from hushwire.store.roles import APPLICATION_ROLES, BACKUP, FINDER, LOGIN_ROLES, OWNER, WATCHER
from hushwire.vault.keyring import BUCKET_NOT_CURRENT
from tests.databases import DatabaseName, Databases, RoleName
from tests.store.rights import fill_rights
from tests.store.rows import (
    NOW,
    add_agent,
    add_agreement,
    add_call,
    add_clock,
    add_command,
    add_erasure,
    add_event,
    add_org,
    add_profile,
    add_recording,
    insert,
)

ROLES: tuple[RoleName, ...] = ("gateway", "api", "worker", "owner")
DATABASES: tuple[DatabaseName, ...] = ("main", "keyring")
# The operator's and the machinery's own tables hold no tenant's data, so no policy.
SHARED: dict[str, set[str]] = {
    "main": {
        "trunks",
        "trunk_rates",
        "risk_packs",
        "trunk_states",
        "work_states",
        "bans",
        "message_centres",
        "message_receipts",
        "carrier_callbacks",
        "carrier_secrets",
        "message_runs",
        "message_link_states",
        "nodes",
        "replay",
        "schema_migrations",
        "subprocessors",
        "subprocessor_lists",
        "policies",
        "breach_incidents",
    },
    "keyring": {"root_key", "deployment_keys", "signing_keys", "schema_migrations"},
}
TABLES = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
both_databases = pytest.mark.parametrize("name", DATABASES)
every_role = pytest.mark.parametrize("role", ROLES)


@dataclass(frozen=True, slots=True)
class Tenants:
    """Two organisations, each with a row in every tenant table."""

    databases: Databases
    ours: OrgId
    theirs: OrgId

    async def administrator(self, name: DatabaseName) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(self.databases.dsn(name, "administrator"))

    async def foreign_rows(self, name: DatabaseName) -> dict[str, list[str]]:
        """Every row of the other organisation, as text."""
        connection = await self.administrator(name)
        try:
            return {
                table: [
                    row[0]
                    for row in await connection.fetch(
                        f"SELECT row_to_json(t)::text FROM {table} AS t WHERE {_org_column(table)} = $1 ORDER BY 1", self.theirs
                    )
                ]
                for table in await _tenant_tables(connection, name)
            }
        finally:
            await connection.close()


def _org_column(table: str) -> str:
    return "id" if table == "orgs" else "org_id"


async def _tenant_tables(connection: Any, name: DatabaseName) -> list[str]:
    return sorted(row[0] for row in await connection.fetch(TABLES) if row[0] not in SHARED[name])


async def _allowed(connection: Connection, table: str, right: str) -> list[str]:
    """The columns of a table that the connected role may SELECT, UPDATE or INSERT."""
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''"
        " AND has_column_privilege($1, attnum, $2) ORDER BY attnum",
        table,
        right,
    )
    return [row[0] for row in rows]


@pytest.fixture
async def tenants(databases: Databases) -> Tenants:
    main, keyring = await databases.connect("main"), await databases.connect("keyring")
    ours, theirs = [await add_org(main, slug) for slug in ("acme", "bolt")]
    for org in (ours, theirs):
        await _fill_main(main, org)
        await _fill_keyring(keyring, org)
    return Tenants(databases, ours, theirs)


async def _fill_main(main: Database, org: OrgId) -> None:
    node, mark = uuid4(), org.bytes
    async with main.organisation(org) as connection:
        agent = await add_agent(connection, org)
        call = await add_call(connection, org, node)
        recording = await add_recording(connection, org, node, call)
        await insert(connection, "derivatives", org_id=org, recording_id=recording, kind="index", sealed=mark, made_at=NOW)
        await insert(connection, "voicemail_messages", org_id=org, recording_id=recording, agent_id=agent, left_at=NOW)
        await insert(connection, "voicemail_greetings", org_id=org, recording_id=recording, agent_id=agent, made_at=NOW)
        await insert(
            connection, "voicemail_readings", id=uuid4(), org_id=org, agent_id=agent, recording_id=recording, codec="PCMU",
            public_key=mark * 2, asked_at=NOW, sealed=mark,
        )  # fmt: skip
        await add_command(connection, org, node)
        asked = {"agent_id": agent, "destination_sealed": mark, "asked_at": NOW, "take_by": NOW}
        await insert(connection, "call_requests", id=uuid4(), org_id=org, **asked)
        await add_event(connection, org)
        hook = uuid4()
        asked = {"message_ids": [hook], "public_key": mark * 2, "asked_at": NOW}
        await insert(connection, "text_readings", id=uuid4(), org_id=org, agent_id=agent, **asked)
        await insert(connection, "event_feeds", org_id=org, last=1)
        await insert(connection, "events", org_id=org, position=1, id=uuid4(), kind="call.ended", subject=uuid4(), at=NOW, fields="{}")
        told = {"kinds": ["*"], "signs": "ed25519", "created_at": NOW, "updated_at": NOW}
        await insert(connection, "webhooks", id=hook, org_id=org, url_sealed=mark, secret_sealed=mark, **told)
        await insert(connection, "webhook_deliveries", id=uuid4(), org_id=org, webhook_id=hook, position=1, due_at=NOW)
        await add_erasure(connection, org)
        evidence = {"how": "spoken", "given_at": NOW, "noted_at": NOW, "noted_by": "a", "note_sealed": mark, "remote_index": mark}
        await insert(connection, "consents", id=uuid4(), org_id=org, call_id=call, recording_id=recording, **evidence)
        await insert(connection, "do_not_call", org_id=org, number_index=mark, added_at=NOW, added_by="a")
        opening = {"countries": ["XK"], "classes": [], "released": [], "proposed_by": "a", "proposed_at": NOW, "expires_at": NOW}
        await insert(connection, "rule_proposals", id=uuid4(), org_id=org, **opening)
        access = {"agent_id": agent, "countries": ["XK"], "asked_by": "a", "asked_at": NOW, "expires_at": NOW}
        await insert(connection, "access_requests", id=uuid4(), org_id=org, **access)
        group, ring = uuid4(), {"strategy": "serial", "ring_s": 20, "follows_forwarding": False, "created_at": NOW, "updated_at": NOW}
        await insert(connection, "ring_groups", id=group, org_id=org, name="sales", dialled="600", **ring)
        await insert(connection, "ring_group_members", org_id=org, group_id=group, agent_id=agent, position=0)
        team, stamps = uuid4(), {"created_at": NOW, "updated_at": NOW}
        await insert(connection, "teams", id=team, org_id=org, name="sales", **stamps)
        await insert(connection, "team_members", org_id=org, team_id=team, agent_id=agent)
        await insert(connection, "rule_levels", id=uuid4(), org_id=org, agent_id=agent, **stamps)
        said = {"kind": "risk", "said_sealed": mark, "remote_index": mark, "created_at": NOW, "created_by": "a"}
        await insert(connection, "number_exceptions", id=uuid4(), org_id=org, **said)
        alarm = {"level": "agent", "subject_id": agent, "agent_id": agent, "signal": "spend-per-day", "action": "warn"}
        counted = {"seen": 1.0, "times": 1, "hour": 1, "first_at": NOW, "last_at": NOW}
        await insert(connection, "fraud_alarms", id=uuid4(), org_id=org, **alarm, **counted)
        await insert(connection, "fraud_locks", org_id=org, agent_id=agent, credential_id=agent, alarm_id=uuid4(), created_at=NOW)
        await insert(connection, "fraud_limits", org_id=org, level="organisation", subject_id=org, bounds="{}", updated_at=NOW)
        did = {"agent_id": agent, "node_id": node, "at": NOW, "kind": "out", "destination_index": mark}
        await insert(connection, "fraud_facts", id=uuid4(), org_id=org, **did)
        day = {"day": NOW.date(), "currency": "EUR", "talk_ms": 1, "spent_micros": 1}
        await insert(connection, "fraud_days", org_id=org, agent_id=agent, **day)
        texts = {"day": NOW.date(), "parts": 1, "spent_micros": 1, "minute": 1, "minute_parts": 1, "before_parts": 0}
        await insert(connection, "fraud_texts", org_id=org, agent_id=agent, **texts)
        habit = {"kind": "hour", "key": "9", "calls": 1, "days": 1, "last_day": NOW.date()}
        await insert(connection, "fraud_habits", org_id=org, agent_id=agent, **habit)
        number, session = uuid4(), uuid4()
        await insert(connection, "numbers", id=number, org_id=org, number_sealed=mark, number_index=mark, lookup=mark, created_at=NOW)
        masked = {"agent_id": agent, "number_id": number, "created_at": NOW, "expires_at": NOW}
        await insert(connection, "masking_sessions", id=session, org_id=org, **masked)
        party = {"session_id": session, "number_id": number, "number_sealed": mark, "remote_index": mark}
        await insert(connection, "masking_parties", id=uuid4(), org_id=org, **party)
        message = await _fill_messages(connection, org, number, agent)
        await insert(connection, "api_keys", id=uuid4(), org_id=org, name="ci", role="owner", secret_hash=mark, created_at=NOW)
        device = {"contact_sealed": mark, "contact_index": mark, "call_id_hash": mark, "cseq": 1, "expires_at": NOW, "created_at": NOW}
        await insert(connection, "registrations", id=uuid4(), org_id=org, agent_id=agent, node_id=node, **device)
        await insert(connection, "parked_calls", org_id=org, slot="1", node_id=node, call_id=uuid4(), parked_at=NOW)
        await insert(connection, "conference_rooms", org_id=org, room="12", node_id=node, opening=uuid4(), opened_at=NOW)
        phone = uuid4()
        await insert(connection, "devices", id=phone, org_id=org, agent_id=agent, login="d", name_sealed=mark, created_at=NOW)
        lost = {"device_id": phone, "alarm_id": uuid4(), "agent_id": agent, "credential_id": agent}
        await insert(connection, "fraud_minted", org_id=org, secret_sealed=mark, created_at=NOW, **lost)
        link = {"device_id": phone, "token_hash": mark, "created_at": NOW, "expires_at": NOW}
        await insert(connection, "provisioning_links", id=uuid4(), org_id=org, **link)
        entry = {"at": NOW, "actor": "a", "object": "o"}
        await insert(connection, "audit_log", org_id=org, position=1, action="x", fields="{}", previous=mark, hash=mark, **entry)
        head = {"position": 1, "hash": mark, "previous": mark, "at": NOW, "key_id": uuid4(), "signature": mark}
        await insert(connection, "audit_heads", org_id=org, seq=1, **head)
        request = {"basis": "law", "details_sealed": mark, "requested_at": NOW, "requested_by": "a", "begins_at": NOW}
        confirmed = {"independence_confirmed_at": NOW, "independence_confirmed_by": "a"}
        await insert(connection, "audits", id=uuid4(), org_id=org, **request, **confirmed)
        await insert(connection, "purpose_rules", id=uuid4(), org_id=org, version=1, actor="a", at=NOW)
        word = {"signer": "a", "version": "1", "digest": mark, "signed_at": NOW, "signed_by": "a"}
        await insert(connection, "undertakings", id=uuid4(), org_id=org, **word)
        case = {"actor": "a", "since": NOW, "until": NOW + timedelta(1), "registered_at": NOW, "registered_by": "a", "state": "registered"}
        await insert(connection, "breaches", id=agent, org_id=org, incident_id=uuid4(), **case)
        read = {"kind": "call", "object_id": uuid4(), "accesses": 1, "first_at": NOW, "last_at": NOW}
        await insert(connection, "breach_records", org_id=org, breach_id=agent, **read)
        await insert(connection, "access_log", id=uuid4(), org_id=org, purpose="support", **entry)
        answer = {"request_hash": mark, "status": 200, "response": "{}", "created_at": NOW}
        await insert(connection, "idempotency", org_id=org, key="key", **answer)
        centre = await connection.fetchval("SELECT id FROM message_centres LIMIT 1") or uuid4()
        await connection.execute(
            "INSERT INTO message_centres (id, name, settings, created_at, updated_at) VALUES ($1, 'smsc', '{}', $2, $2)"
            " ON CONFLICT DO NOTHING",
            centre,
            NOW,
        )
        part = {"part": 1, "parts": 1, "centre_id": centre, "due_at": NOW, "changed_at": NOW}
        await insert(connection, "message_parts", org_id=org, message_id=message, **part)
        await add_clock(connection, org)
        await add_profile(connection, org)
        await add_agreement(connection, org)
        await _fill_erasure(connection, org)
        await fill_rights(connection, org)


async def _fill_messages(connection: Connection, org: OrgId, number: UUID, agent: UUID) -> UUID:
    message, mark = uuid4(), org.bytes
    kind = {"direction": "inbound", "channel": "sms", "state": "receiving"}
    said = {"remote_index": mark, "remote_sealed": mark, "local_sealed": mark, "body_sealed": mark, "sealed_with": message}
    await insert(connection, "messages", id=message, org_id=org, created_at=NOW, number_id=number, **kind, **said)
    await insert(connection, "text_deliveries", org_id=org, message_id=message, agent_id=agent, due_at=NOW, expires_at=NOW)
    part = {"position": 1, "total": 2, "payload_sealed": mark, "payload_index": mark, "received_at": NOW}
    await insert(connection, "message_inbound_parts", org_id=org, message_id=message, **part)
    await insert(connection, "message_batches", id=uuid4(), org_id=org, created_at=NOW, created_by="a")
    times = {"created_at": NOW, "updated_at": NOW}
    await insert(connection, "message_templates", id=uuid4(), org_id=org, name="t", body_sealed=mark, **times)
    await insert(connection, "message_numbers", org_id=org, number_id=number, target="agent", agent_id=agent, updated_at=NOW)
    await insert(connection, "message_settings", org_id=org, updated_at=NOW)
    await insert(connection, "message_days", org_id=org, day=NOW.date(), parts=1)
    await insert(connection, "message_answers", org_id=org, number_id=number, day=NOW.date(), answers=1)
    return message


async def _fill_erasure(connection: Connection, org: OrgId) -> None:
    operation, hold, mark = uuid4(), uuid4(), org.bytes
    asked = {"actor": "a", "reason": "r", "requested_at": NOW, "selector_commitment": mark}
    await insert(connection, "erasure_operations", id=operation, org_id=org, scope="time", state="deferred", **asked)
    placed = {"reason": "r", "authority_sealed": mark, "placed_at": NOW, "placed_by": "a"}
    await insert(connection, "legal_holds", id=hold, org_id=org, scope="organisation", **placed)
    await insert(connection, "deferred_erasures", org_id=org, operation_id=operation, hold_id=hold, deferred_at=NOW)
    rule = {"keep_days": 1, "changed_at": NOW, "changed_by": "a"}
    await insert(connection, "retention_rules", id=uuid4(), org_id=org, **{"class": "call"}, **rule)
    await insert(connection, "retention_state", org_id=org, last_seen_at=NOW)


async def _fill_keyring(keyring: Database, org: OrgId) -> None:
    bucket = uuid4()
    async with keyring.organisation(org) as connection:
        await insert(connection, "org_keys", org_id=org, purpose="index", sealed=b"sealed")
        await insert(connection, "buckets", id=bucket, org_id=org, public_key=b"p", private_sealed=b"s", state="current", created_at=NOW)
        key = {"id": uuid4(), "kind": "call", "sealed": b"s", "fingerprint": b"f", "created_at": NOW}
        await insert(connection, "data_keys", org_id=org, bucket_id=bucket, **key)
        recipient = {"id": uuid4(), "name_sealed": b"n", "algorithm": "x25519", "public_key": b"p", "state": "active", "created_at": NOW}
        await insert(connection, "custody", org_id=org, mode="hushwire", version=1, changed_at=NOW)
        await insert(connection, "recipients", org_id=org, fingerprint=b"f", **recipient)
        await insert(connection, "data_key_copies", org_id=org, data_key_id=key["id"], recipient_id=recipient["id"], sealed=b"s")
        await insert(connection, "kept_protections", org_id=org, kind="do_not_call", id=org.bytes, fields=b"{}")
        await insert(connection, "protections_kept", org_id=org, changes=1)
        await insert(connection, "tombstones", id=uuid4(), org_id=org, kind="call", object=uuid4(), at=NOW)


# What the schema says.


@both_databases
async def test_every_table_but_the_operators_forces_row_level_security_for_its_owner_too(tenants: Tenants, name: DatabaseName) -> None:
    connection = await tenants.administrator(name)
    try:
        rows = await connection.fetch(
            "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced,"
            " (SELECT array_agg(polname::text || ':' || polcmd::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid) AS policies,"
            " EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = c.oid AND attname = 'org_id' AND attnotnull) AS has_org"
            " FROM pg_class AS c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        open_policies = await connection.fetch(
            "SELECT p.polrelid::regclass::text, r.rolname FROM pg_policy AS p LEFT JOIN pg_roles AS r ON r.oid = ANY (p.polroles)"
            " WHERE pg_get_expr(polqual, polrelid) = 'true'"
        )
    finally:
        await connection.close()
    for row in rows:
        if row["relname"] in SHARED[name]:
            assert not row["has_org"], f"{row['relname']} has an organisation"
            continue
        assert row["forced"], f"{row['relname']} is not protected"
        assert row["has_org"] or row["relname"] == "orgs"
        assert "tenant:*" in row["policies"]
        assert set(row["policies"]) <= {"tenant:*", "look_up:r"}
    assert {row["rolname"] for row in open_policies} == {FINDER}


@both_databases
async def test_a_fresh_pair_of_tenants_has_rows_in_every_tenant_table(tenants: Tenants, name: DatabaseName) -> None:
    assert all(await _values(tenants.foreign_rows(name)))


async def _values(awaitable: Any) -> Iterable[Any]:
    return (await awaitable).values()


@both_databases
async def test_no_foreign_key_can_reach_into_another_organisation(tenants: Tenants, name: DatabaseName) -> None:
    connection = await tenants.administrator(name)
    try:
        keys = await connection.fetch(
            "SELECT conrelid::regclass::text AS source, confrelid::regclass::text AS target,"
            " (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS columns"
            " FROM pg_constraint WHERE contype = 'f'"
        )
    finally:
        await connection.close()
    assert keys
    for key in keys:
        assert "org_id" in key["columns"] or key["target"] in SHARED[name], dict(key)


# What queries see.


@both_databases
@every_role
async def test_a_select_without_a_filter_sees_our_rows_and_no_foreign_one(tenants: Tenants, name: DatabaseName, role: RoleName) -> None:
    database = await tenants.databases.connect(name, role)
    seen = 0
    async with database.organisation(tenants.ours) as connection:
        for table in await _tenant_tables(connection, name):
            if _org_column(table) in await _allowed(connection, table, "SELECT"):
                rows = await connection.fetch(f"SELECT {_org_column(table)} AS org FROM {table}")
                assert {row["org"] for row in rows} == {tenants.ours}, table
                seen += 1
    assert seen >= (3 if name == "keyring" else 6)


@both_databases
@every_role
async def test_without_an_organisation_no_tenants_row_is_seen_changed_or_deleted(
    tenants: Tenants, name: DatabaseName, role: RoleName
) -> None:
    database = await tenants.databases.connect(name, role)
    async with database.transaction() as connection:
        for table in await _tenant_tables(connection, name):
            if _org_column(table) in await _allowed(connection, table, "SELECT"):
                assert await connection.fetch(f"SELECT {_org_column(table)} FROM {table}") == [], table
            for column in await _allowed(connection, table, "UPDATE"):
                assert await _try(connection, f"UPDATE {table} SET {column} = NULL") in ("UPDATE 0", None), table
            assert await _try(connection, f"DELETE FROM {table}") in ("DELETE 0", None), table


@both_databases
@every_role
async def test_updates_and_deletes_without_a_filter_leave_every_foreign_row_as_it_was(
    tenants: Tenants, name: DatabaseName, role: RoleName
) -> None:
    before = await tenants.foreign_rows(name)
    database = await tenants.databases.connect(name, role)
    touched = 0
    async with database.organisation(tenants.ours) as connection:
        tables = await _tenant_tables(connection, name)
        for table in tables:
            for column in await _allowed(connection, table, "UPDATE"):
                outcome = await _try(connection, f"UPDATE {table} SET {column} = {column}")
                assert outcome in ("UPDATE 1", None), (table, column, outcome)
                touched += outcome is not None
        # Several rounds, since rows that others refer to can go only after them. What is left may not be deleted at all.
        for table in tables * 3:
            outcome = await _try(connection, f"DELETE FROM {table}")
            assert outcome in ("DELETE 1", "DELETE 0", None), (table, outcome)
    assert touched or (role == "gateway" and name == "keyring")
    assert await tenants.foreign_rows(name) == before


@both_databases
@every_role
async def test_a_row_can_be_neither_put_nor_moved_into_another_organisation(tenants: Tenants, name: DatabaseName, role: RoleName) -> None:
    before = await tenants.foreign_rows(name)
    administrator = await tenants.administrator(name)
    database = await tenants.databases.connect(name, role)
    refused = 0
    try:
        for org in (tenants.ours, None):
            async with database.organisation(org) if org else database.transaction() as connection:
                for table in await _tenant_tables(connection, name):
                    key = _org_column(table)
                    if key in await _allowed(connection, table, "UPDATE"):
                        outcome = await _try(connection, f"UPDATE {table} SET {key} = $1", tenants.theirs)
                        assert outcome == (None if org else "UPDATE 0"), table
                    if key not in await _allowed(connection, table, "INSERT"):
                        continue
                    template = await administrator.fetchrow(f"SELECT * FROM {table} WHERE {key} = $1", tenants.ours)
                    assert template is not None
                    values = {column: template[column] for column in await _allowed(connection, table, "INSERT") if column != "xid"}
                    values |= {
                        column: uuid4() for column in ("id", "object_id", "recording_id", "hold_id") if isinstance(values.get(column), UUID)
                    }
                    values[key] = tenants.theirs
                    with pytest.raises(asyncpg.PostgresError, match=r"row-level security|not current|not active"):
                        async with connection.transaction():
                            await insert(connection, table, **values)
                    refused += 1
    finally:
        await administrator.close()
    assert refused >= 2 or (role, name) == ("api", "keyring")
    assert await tenants.foreign_rows(name) == before


async def _try(connection: Connection, statement: str, *arguments: object) -> str | None:
    """The statement's outcome, or None where a right, a policy, a constraint or a trigger refused it."""
    try:
        async with connection.transaction():
            return str(await connection.execute(statement, *arguments))
    except (asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError):
        return None
    except asyncpg.PostgresError as error:
        if error.sqlstate != BUCKET_NOT_CURRENT:
            raise
        return None


async def test_a_reference_to_another_organisations_agent_is_refused_as_if_it_were_not_there(tenants: Tenants) -> None:
    gateway = await tenants.databases.connect("main", "gateway")
    administrator = await tenants.administrator("main")
    foreign = await administrator.fetchval("SELECT id FROM agents WHERE org_id = $1", tenants.theirs)
    await administrator.close()
    messages = []
    for agent in (foreign, uuid4()):
        call = {"direction": "outbound", "state": "active", "started_at": NOW, "node_id": uuid4()}
        with pytest.raises(asyncpg.ForeignKeyViolationError) as caught:
            async with gateway.organisation(tenants.ours) as connection:
                await insert(connection, "calls", id=uuid4(), org_id=tenants.ours, agent_id=agent, **call)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# What the roles can't do about it.


@both_databases
async def test_no_role_is_a_superuser_bypasses_security_owns_a_table_or_is_a_member_of_another(
    tenants: Tenants, name: DatabaseName
) -> None:
    connection = await tenants.administrator(name)
    try:
        roles = await connection.fetch("SELECT * FROM pg_roles WHERE rolname LIKE 'hushwire\\_%'")
        owners = {
            row[0]
            for row in await connection.fetch(
                "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            )
        }
        members = await connection.fetch("SELECT member::regrole::text AS member, roleid::regrole::text AS role FROM pg_auth_members")
    finally:
        await connection.close()
    # A backup of this server has a role of its own, which nobody can log in as once it is done.
    assert not any(row["rolcanlogin"] for row in roles if row["rolname"] == BACKUP)
    roles = [row for row in roles if row["rolname"] != BACKUP]
    assert {row["rolname"] for row in roles} == {*LOGIN_ROLES, FINDER, WATCHER}
    for row in roles:
        for right in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication", "rolinherit"):
            assert not row[right] or (row["rolname"], right) == (WATCHER, "rolinherit"), (row["rolname"], right)
    assert [row["rolcanlogin"] for row in roles if row["rolname"] in (FINDER, WATCHER)] == [False, False]
    assert owners == {OWNER}
    ours = [(row["member"], row["role"]) for row in members if row["member"].startswith("hushwire_") and row["member"] != BACKUP]
    assert sorted(ours) == [(OWNER, FINDER), (OWNER, WATCHER), (WATCHER, "pg_read_all_stats")]


ESCAPES = [
    f"SET ROLE {OWNER}",
    f"SET ROLE {FINDER}",
    f"SET ROLE {WATCHER}",
    "SET ROLE postgres",
    f"SET SESSION AUTHORIZATION {OWNER}",
    "SET session_replication_role = replica",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
    "CREATE POLICY all_rows ON {table} USING (true)",
    "DROP POLICY tenant ON {table}",
    "ALTER POLICY tenant ON {table} USING (true)",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE helper BYPASSRLS",
    "CREATE OR REPLACE FUNCTION current_org() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
    "CREATE FUNCTION leak() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE copy (x int)",
    "CREATE TEMPORARY TABLE orgs (x int)",
    "CREATE VIEW all_rows AS SELECT 1",
    "CREATE SCHEMA mine",
    "DROP TABLE {table} CASCADE",
    "TRUNCATE {table} CASCADE",
    "CREATE TRIGGER t BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/leak'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "SELECT * FROM schema_migrations",
]


@both_databases
@pytest.mark.parametrize("role", ["gateway", "api", "worker"])
async def test_a_role_has_no_way_out_of_its_rights(tenants: Tenants, name: DatabaseName, role: RoleName) -> None:
    database = await tenants.databases.connect(name, role)
    table = "calls" if name == "main" else "data_keys"
    for escape in ESCAPES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _run(database, escape.format(table=table))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await _run(database, "SET LOCAL row_security = off", f"SELECT id FROM {table}")


async def _run(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)


@both_databases
async def test_functions_that_look_across_tenants_give_ids_only_and_stand_on_firm_ground(tenants: Tenants, name: DatabaseName) -> None:
    connection = await tenants.administrator(name)
    try:
        functions = await connection.fetch(
            "SELECT proname, prosecdef, proowner::regrole::text AS owner, proconfig, prorettype::regtype::text AS returns,"
            " (SELECT array_agg(t::regtype::text) FROM unnest(proallargtypes[pronargs + 1:]) AS t) AS columns,"
            " has_function_privilege('public', oid, 'EXECUTE') AS anyone"
            " FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
        readable = await connection.fetch(
            "SELECT c.relname, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0"
            " AND has_column_privilege($1, c.oid, a.attnum, 'SELECT')",
            FINDER,
        )
    finally:
        await connection.close()
    assert functions
    for function in functions:
        assert not function["anyone"], function["proname"]
        if function["prosecdef"]:
            assert function["owner"] == {"second_zone_lacks": WATCHER, "remove_of_ended": OWNER}.get(function["proname"], FINDER)
            assert function["proconfig"] == ["search_path=pg_catalog, public, pg_temp"]
            assert set(function["columns"] or [function["returns"]]) <= {"uuid", "bigint"}, function["proname"]
    assert readable
    for table, column in readable:
        assert holding(name, table, column).form is not Form.SEALED


async def test_the_finder_and_the_roles_of_the_program_are_all_that_is_granted_anything(tenants: Tenants) -> None:
    for name in DATABASES:
        connection = await tenants.administrator(name)
        try:
            grantees = await connection.fetch(
                "SELECT DISTINCT grantee FROM information_schema.role_table_grants WHERE table_schema = 'public'"
                " UNION SELECT DISTINCT grantee FROM information_schema.column_privileges WHERE table_schema = 'public'"
            )
        finally:
            await connection.close()
        assert {row[0] for row in grantees} == {OWNER, FINDER, *APPLICATION_ROLES}


@pytest.mark.parametrize("role", ["gateway", "api", "worker"])
async def test_logs_that_prove_something_can_only_grow(tenants: Tenants, role: RoleName) -> None:
    database = await tenants.databases.connect("main", role)
    for statement in (
        "UPDATE audit_log SET at = at",
        "DELETE FROM audit_log",
        "DELETE FROM erasure_ledger",
        "UPDATE access_log SET at = at",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _run(database, statement)
