"""Minimal valid rows, for tests that need something to look at."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection, Database

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def insert(connection: Connection, table: str, **values: object) -> None:
    """Insert one row; columns that are left out get their defaults."""
    names = ", ".join(values)
    places = ", ".join(f"${index}" for index in range(1, len(values) + 1))
    await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *values.values())


async def add_org(owner: Database, slug: str, org: OrgId | None = None) -> OrgId:
    org = org or OrgId(uuid4())
    async with owner.organisation(org) as connection:
        await connection.execute(
            "INSERT INTO orgs (id, slug, name, home_country, residency, record, agent_srtp, created_at, updated_at)"
            " VALUES ($1, $2, 'An organisation', 'DE', 'eu', 'all', 'required', now(), now())",
            org,
            slug,
        )
    return org


async def add_trunk(connection: Connection) -> UUID:
    trunk = uuid4()
    await connection.execute(
        "INSERT INTO trunks (id, name, uri, srtp, created_at, updated_at) VALUES ($1, $2, 'sip:127.0.0.1', 'never', now(), now())",
        trunk,
        f"trunk-{trunk}",
    )
    return trunk


async def add_agent(connection: Connection, org: OrgId) -> UUID:
    agent = uuid4()
    await connection.execute(
        "INSERT INTO agents (id, org_id, username_sealed, username_index, role, created_at, updated_at)"
        " VALUES ($1, $2, 'sealed', $3, 'agent', now(), now())",
        agent,
        org,
        agent.bytes,
    )
    return agent


async def add_call(connection: Connection, org: OrgId, node: UUID) -> UUID:
    call = uuid4()
    await connection.execute(
        "INSERT INTO calls (id, org_id, node_id, direction, state, started_at) VALUES ($1, $2, $3, 'outbound', 'active', now())",
        call,
        org,
        node,
    )
    return call


async def add_recording(connection: Connection, org: OrgId, node: UUID, call: UUID, state: str = "closed") -> UUID:
    recording = uuid4()
    await connection.execute(
        "INSERT INTO recordings (id, org_id, call_id, node_id, state, spool_name, region, lawful_basis, started_at, key_fingerprint)"
        " VALUES ($1, $2, $3, $4, $5, 'name', 'eu', 'consent', now(), 'fingerprint')",
        recording,
        org,
        call,
        node,
        state,
    )
    return recording


async def add_command(connection: Connection, org: OrgId, node: UUID) -> UUID:
    command = uuid4()
    await connection.execute(
        "INSERT INTO node_commands (id, org_id, node_id, call_id, action, created_at) VALUES ($1, $2, $3, $4, 'hangup', now())",
        command,
        org,
        node,
        uuid4(),
    )
    return command


async def add_event(connection: Connection, org: OrgId) -> UUID:
    event = uuid4()
    await connection.execute(
        "INSERT INTO outbox (id, org_id, kind, subject, at, fields) VALUES ($1, $2, 'call.started', $3, now(), '{}')",
        event,
        org,
        uuid4(),
    )
    return event


async def add_erasure(connection: Connection, org: OrgId) -> UUID:
    entry = uuid4()
    await connection.execute(
        "INSERT INTO erasure_ledger (id, org_id, position, kind, object_id, requested_at, actor, reason, commitment, commitment_salt,"
        " key_fingerprint, bucket_id) VALUES ($1, $2, 1, 'recording', $3, now(), 'api-key:x', 'request', 'c', 's', 'f', $4)",
        entry,
        org,
        uuid4(),
        uuid4(),
    )
    return entry


async def add_clock(connection: Connection, org: OrgId) -> UUID:
    clock = uuid4()
    times = {"started_at": NOW, "due_at": NOW + timedelta(days=1), "warn_at": [NOW + timedelta(hours=12)], "look_at": NOW}
    subject = {"kind": "dispute", "subject_kind": "case", "subject_id": uuid4(), "jurisdictions": ["DE"]}
    await insert(connection, "clocks", id=clock, org_id=org, **subject, **times)
    return clock


async def add_agreement(connection: Connection, org: OrgId) -> None:
    """A row of each table of the agreement; the operator's list and policy are made once."""
    entry, policy = UUID(int=0x5B), UUID(int=0x90)
    await connection.execute(
        "INSERT INTO subprocessors (id, name, purpose, country, categories, announced_at)"
        " VALUES ($1, 'carrier', 'calls', 'DE', '{content}', $2) ON CONFLICT DO NOTHING",
        entry,
        NOW,
    )
    await connection.execute(
        "INSERT INTO policies (id, kind, version, text, digest, published_at, effective_at)"
        " VALUES ($1, 'agreement', '1', 'text', 'd', $2, $2) ON CONFLICT DO NOTHING",
        policy,
        NOW,
    )
    await insert(connection, "subprocessor_standings", org_id=org, subprocessor_id=entry, notified_at=NOW, active_from=NOW)
    sealed = {"actor": "a", "id": uuid4(), "org_id": org}
    await insert(connection, "objections", **sealed, subprocessor_id=entry, grounds_sealed=b"s", objected_at=NOW, state="withdrawn")
    await insert(connection, "cases", **sealed, kind="dispute", state="open", text_sealed=b"s", opened_at=NOW)
    await insert(connection, "policy_notices", org_id=org, policy_id=policy, notified_at=NOW)
    await insert(connection, "instructions", **sealed, version=1, text_sealed=b"s", at=NOW)
    await insert(connection, "safeguards", **sealed, country="US", kind="eu-us-dpf", document_digest=b"d", filed_at=NOW)
    await insert(connection, "terminations", **sealed, requested_at=NOW, effective_at=NOW)


async def add_profile(connection: Connection, org: OrgId) -> None:
    """A designated contact, a record, a notice and an account deletion."""
    contact, mark = uuid4(), org.bytes
    who = {"role": "privacy", "position": 1, "designated_at": NOW, "designated_by": "operator"}
    await insert(connection, "org_contacts", id=contact, org_id=org, email_sealed=mark, email_index=mark, **who)
    record = {"kind": "billing", "version": 1, "recorded_at": NOW, "recorded_by": "operator"}
    await insert(connection, "org_records", id=uuid4(), org_id=org, body_sealed=mark, **record)
    about = {"kind": "test", "subject_kind": "organisation", "subject_id": org, "state": "queued", "next_at": NOW, "created_at": NOW}
    await insert(connection, "notices", id=uuid4(), org_id=org, content_sealed=mark, contact_id=contact, **about)
    asked = {"agent_id": uuid4(), "state": "received", "application_sealed": mark, "received_at": NOW, "created_by": "operator"}
    await insert(connection, "account_deletions", id=uuid4(), org_id=org, **asked)
