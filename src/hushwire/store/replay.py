"""How far the main database has followed the keyring's tombstones, and the statements that carry them out again.

All of it is safe to repeat: what is done already changes nothing. The statements count what they changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class LostEntry:
    """A ledger entry that this database does not know (any more); None: its tombstone doesn't say."""

    id: UUID
    kind: str
    object_id: UUID
    requested_at: datetime
    position: int | None
    actor: str
    reason: str
    commitment: bytes
    commitment_salt: bytes
    key_fingerprint: bytes | None
    bucket_id: UUID | None
    caused_by: UUID | None


async def followed(connection: Connection) -> int:
    """The place up to which the database has carried out the keyring's tombstones."""
    place: int | None = await connection.fetchval("SELECT followed FROM replay")
    assert place is not None
    return place


async def follow(connection: Connection, place: int) -> None:
    """Every tombstone up to `place` is carried out here."""
    await connection.execute("UPDATE replay SET followed = greatest(followed, $1)", place)


async def note_restored(connection: Connection, backup_id: UUID, backup_at: datetime, now: datetime) -> None:
    """This database was restored from a backup."""
    await connection.execute("UPDATE replay SET backup_id = $1, backup_at = $2, restored_at = $3", backup_id, backup_at, now)


async def known_entries(connection: Connection, kind: str, objects: Sequence[UUID]) -> set[UUID]:
    """The objects of a kind that the organisation's ledger holds."""
    rows = await connection.fetch(
        "SELECT object_id FROM erasure_ledger WHERE kind = $1 AND object_id = ANY($2::uuid[])", kind, list(objects)
    )
    return {row[0] for row in rows}


async def add_entries(connection: Connection, org_id: OrgId, entries: Sequence[LostEntry]) -> None:
    """Put entries back at their own positions, or after the last where theirs is taken or unknown. Nobody else appends meanwhile."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ledger:' || $1, 0))", str(org_id))
    taken = {row[0] for row in await connection.fetch("SELECT position FROM erasure_ledger WHERE position >= $1", _lowest(entries))}
    last: int = await connection.fetchval("SELECT coalesce(max(position), 0) FROM erasure_ledger")
    rows: list[tuple[Any, ...]] = []
    unplaced = []
    for entry in entries:
        if entry.position is None or entry.position in taken:
            unplaced.append(entry)
        else:
            taken.add(entry.position)
            last = max(last, entry.position)
            rows.append(_values(entry, entry.position))
    for entry in unplaced:
        last += 1
        rows.append(_values(entry, last))
    await connection.execute(
        "INSERT INTO erasure_ledger (id, org_id, position, kind, object_id, requested_at, actor, reason, commitment, commitment_salt,"
        " key_fingerprint, bucket_id, caused_by, stopped_at)"
        " SELECT id, $1, position, kind, object_id, requested_at, actor, reason, commitment, commitment_salt, key_fingerprint, bucket_id,"
        " caused_by, requested_at FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::timestamptz[], $7::text[], $8::text[],"
        " $9::bytea[], $10::bytea[], $11::bytea[], $12::uuid[], $13::uuid[]) AS e (id, position, kind, object_id, requested_at, actor,"
        " reason, commitment, commitment_salt, key_fingerprint, bucket_id, caused_by) ON CONFLICT DO NOTHING",
        org_id,
        *(list(column) for column in zip(*rows, strict=True)),
    )


def _lowest(entries: Sequence[LostEntry]) -> int:
    return min((entry.position for entry in entries if entry.position is not None), default=1)


def _values(entry: LostEntry, position: int) -> tuple[Any, ...]:
    return (
        entry.id, position, entry.kind, entry.object_id, entry.requested_at, entry.actor, entry.reason, entry.commitment,
        entry.commitment_salt, entry.key_fingerprint, entry.bucket_id, entry.caused_by,
    )  # fmt: skip


async def end_organisation(connection: Connection, now: datetime) -> int:
    """Mark the organisation as erased: no gateway knows it any more."""
    return _count(await connection.execute("UPDATE orgs SET erased_at = $1 WHERE erased_at IS NULL", now))


async def revoke_keys(connection: Connection, keys: Sequence[UUID], secrets: Sequence[bytes], moments: Sequence[datetime]) -> int:
    """Revoke API keys that still have the secret whose hash's SHA-256 is given."""
    return _count(
        await connection.execute(
            "UPDATE api_keys SET revoked_at = gone.at FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[]) AS gone (id, secret, at)"
            " WHERE api_keys.id = gone.id AND sha256(api_keys.secret_hash) = gone.secret AND revoked_at IS NULL",
            list(keys),
            list(secrets),
            list(moments),
        )
    )


async def revoke_changed_keys(connection: Connection, keys: Sequence[UUID], secrets: Sequence[bytes], roles: Sequence[str]) -> int:
    """Revoke API keys that come back with another role than they were given last: nobody may have a right back that was taken."""
    return _count(
        await connection.execute(
            "UPDATE api_keys SET revoked_at = now() FROM unnest($1::uuid[], $2::bytea[], $3::text[]) AS known (id, secret, role)"
            " WHERE api_keys.id = known.id AND sha256(api_keys.secret_hash) = known.secret AND api_keys.role <> known.role"
            " AND revoked_at IS NULL",
            list(keys),
            list(secrets),
            list(roles),
        )
    )


async def suspend_agents(connection: Connection, agents: Sequence[UUID], now: datetime) -> int:
    """Suspend agents, and forget their phones."""
    await connection.execute("DELETE FROM registrations WHERE agent_id = ANY($1::uuid[])", list(agents))
    return _count(
        await connection.execute(
            "UPDATE agents SET suspended = true, updated_at = $2 WHERE id = ANY($1::uuid[]) AND NOT suspended", list(agents), now
        )
    )


async def drop_credentials(connection: Connection, agents: Sequence[UUID], digests: Sequence[bytes], now: datetime) -> int:
    """Empty SIP credentials that were replaced or revoked: the SHA-256 of their sealed form is given."""
    given = "FROM unnest($1::uuid[], $2::bytea[]) AS gone (id, digest)"
    own = await connection.execute(
        f"UPDATE agents SET ha1_sealed = NULL, updated_at = $3 {given}"  # noqa: S608 (ours)
        " WHERE agents.id = gone.id AND sha256(agents.ha1_sealed) = gone.digest",
        list(agents),
        list(digests),
        now,
    )
    of_devices = await connection.execute(
        f"UPDATE devices SET ha1_sealed = NULL, revoked_at = $3 {given}"  # noqa: S608 (ours)
        " WHERE devices.agent_id = gone.id AND sha256(devices.ha1_sealed) = gone.digest",
        list(agents),
        list(digests),
        now,
    )
    return _count(own) + _count(of_devices)


async def remove_agents(connection: Connection, agents: Sequence[UUID]) -> int:
    """Remove agents."""
    return _count(await connection.execute("DELETE FROM agents WHERE id = ANY($1::uuid[])", list(agents)))


async def remove_numbers(connection: Connection, numbers: Sequence[UUID]) -> int:
    """Remove numbers that were released."""
    return _count(await connection.execute("DELETE FROM numbers WHERE id = ANY($1::uuid[])", list(numbers)))


async def narrow_rules(connection: Connection, version: int, countries: Sequence[str], classes: Sequence[str], now: datetime) -> int:
    """Leave of both lists what the newest known ones hold too, where the row is older than they are; its version overtakes theirs."""
    changed = await connection.fetchval(
        "WITH old AS (SELECT id, allowed_countries AS c, classes AS k FROM orgs WHERE rules_version < $1),"
        " new AS (UPDATE orgs SET updated_at = $4, rules_version = greatest(rules_version, $1) + 1,"
        " allowed_countries = ARRAY(SELECT x FROM unnest(allowed_countries) AS x WHERE x = ANY($2::text[]) ORDER BY x),"
        " classes = ARRAY(SELECT x FROM unnest(classes) AS x WHERE x = ANY($3::text[]) ORDER BY x)"
        " WHERE rules_version < $1 RETURNING id, allowed_countries, classes)"
        " SELECT count(*) FROM new JOIN old USING (id) WHERE (c, k) IS DISTINCT FROM (allowed_countries, new.classes)",
        version,
        list(countries),
        list(classes),
        now,
    )
    return int(changed)


async def forget_indexes_of_nobody(connection: Connection) -> int:
    """Empty blind indexes in disclosures and released holds where nothing else of that number is held any more.

    An erasure of everything of a number emptied them; its tombstones name things, and no number, so what came back is known by this.
    """
    wheres = [(table, "o.remote_index = ANY (%s)") for table in ("calls", "recordings", "contact_numbers", "consents", "privacy_requests")]
    wheres += [("calls", "o.diverted_to_index = ANY (%s)"), ("recordings", "o.further_indexes && %s")]
    held = " AND ".join(f"NOT EXISTS (SELECT 1 FROM {table} AS o WHERE {where})" for table, where in wheres)  # noqa: S608 (names are ours)
    of_disclosure, of_hold = (held.replace("%s", value) for value in ("ARRAY[d.remote_index]", "h.number_indexes"))
    told = await connection.execute(
        f"UPDATE disclosures AS d SET remote_index = NULL WHERE d.remote_index IS NOT NULL AND {of_disclosure}"  # noqa: S608
    )
    holds = await connection.execute(
        "UPDATE legal_holds AS h SET number_sealed = NULL, number_indexes = NULL, note_sealed = NULL"  # noqa: S608
        f" WHERE h.released_at IS NOT NULL AND h.number_indexes IS NOT NULL AND {of_hold}"
    )
    return _count(told) + _count(holds)


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
