"""The end of an organisation's keys: every bucket's private key and secret in both zones, its blind index key and its operational key.

Whatever was ever sealed for the organisation is noise from then on, a million recordings as soon as one: nothing is gone through.
The sealed data keys that remain open under no key that exists; they are swept afterwards.
"""

import asyncio

import structlog

from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.keyring import Keyring
from hushwire.vault.tombstones import Tombstone, bury

_log = structlog.get_logger(__name__)


async def shred_organisation(keyring: Keyring, org_id: OrgId, tombstone: Tombstone) -> list[BucketId]:
    """Destroys them, durably before this returns; safe to repeat. Returns the buckets that went by this call.

    A renewal under way holds a bucket's row and may be adding its successor: the second look is taken after the first has waited for it.
    """
    async with keyring.db.organisation(org_id) as connection:
        await bury(connection, org_id, [tombstone])
        for _ in range(2):
            await connection.execute("UPDATE buckets SET state = 'destroyed', private_sealed = NULL WHERE destroyed_at IS NULL")
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('protections:' || $1, 0))", str(org_id))
        await connection.execute("DELETE FROM org_keys")
        await connection.execute("DELETE FROM kept_protections")
        rows = await connection.fetch("SELECT id FROM buckets WHERE destroyed_at IS NULL")
    buckets = [BucketId(row["id"]) for row in rows]
    secrets = keyring.bucket_secrets()
    for bucket_id in buckets:
        await asyncio.to_thread(secrets.destroy, bucket_id)
        keyring.drop_bucket(bucket_id)
    keyring.forget(org_id)
    async with keyring.db.organisation(org_id) as connection:
        await connection.execute("UPDATE buckets SET destroyed_at = now() WHERE id = ANY($1::uuid[]) AND destroyed_at IS NULL", buckets)
    _log.info("vault.organisation_shredded", org_id=str(org_id), buckets=len(buckets))
    return buckets


async def sweep_keys(keyring: Keyring, org_id: OrgId, most: int) -> int:
    """Removes some of the data keys that nothing opens any more; returns how many."""
    async with keyring.db.organisation(org_id) as connection:
        tag = await connection.execute("DELETE FROM data_keys WHERE id IN (SELECT id FROM data_keys ORDER BY id LIMIT $1)", most)
    return int(tag.rpartition(" ")[2])


async def keys_left(keyring: Keyring, org_id: OrgId) -> dict[str, int]:
    """What the keyring still holds of the organisation: data keys, keys of its own, buckets that could open something."""
    async with keyring.db.organisation(org_id) as connection:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM data_keys) AS data_keys, (SELECT count(*) FROM org_keys) AS org_keys,"
            " (SELECT count(*) FROM buckets WHERE private_sealed IS NOT NULL OR destroyed_at IS NULL) AS buckets"
        )
    assert row is not None
    return dict(row)
