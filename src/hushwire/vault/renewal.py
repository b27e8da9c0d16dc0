"""Renewing a bucket: what survives is sealed to a new one, then the old private key ends, and with it every copy of what was erased.

    current --begin--> renewing --survivors moved--> destroyed (row) --secret removed--> destroyed_at set

Each arrow is a transaction of its own and safe to repeat, so a renewal that stops anywhere goes on when it is called again.
A key can't slip into the old bucket behind our back: `only_into_current_bucket` (keyring migration 0001) and the lock below.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import BucketId, OrgId
from hushwire.store.database import Connection
from hushwire.vault.buckets import KeyKind, PrivateBucket, PublicBucket
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import RENEWAL

_BATCH: Final = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BucketView:
    """A bucket as its organisation is shown it. `survivors`: keys that it held when its renewal began; of them `moved` are sealed anew."""

    id: BucketId
    state: str
    keys: int
    erasures: int
    survivors: int | None
    moved: int
    created_at: datetime
    renewing_since: datetime | None
    destroyed_at: datetime | None

    @property
    def progress(self) -> float | None:
        """Of a renewal, from 0 to 1: what is left of the survivors counts, so that erasures meanwhile don't hold it below 1."""
        if self.survivors is None:
            return None
        return 1.0 if self.survivors == 0 else max(0.0, 1.0 - self.keys / self.survivors)


async def buckets_of(keyring: Keyring, org_id: OrgId, *, after: UUID | None = None, limit: int = 50) -> list[BucketView]:
    """The organisation's buckets, newest first, from the one after `after` on."""
    async with keyring.db.organisation(org_id) as connection:
        rows = await connection.fetch(
            "SELECT b.id, b.state, (SELECT count(*) FROM data_keys AS k WHERE k.bucket_id = b.id) AS keys, b.erasures, b.survivors,"
            " b.moved, b.created_at, b.renewing_since, b.destroyed_at FROM buckets AS b"
            " WHERE $1::uuid IS NULL OR (b.created_at, b.id) < (SELECT l.created_at, l.id FROM buckets AS l WHERE l.id = $1)"
            " ORDER BY b.created_at DESC, b.id DESC LIMIT $2",
            after,
            limit,
        )
    return [BucketView(**dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Renewal:
    """A finished renewal. `moved` counts the survivors that this call sealed anew."""

    old: BucketId
    moved: int


async def buckets_to_renew(keyring: Keyring) -> list[tuple[OrgId, BucketId]]:
    """Buckets that had erasures, and renewals that were interrupted, oldest first."""
    async with keyring.db.transaction() as connection:
        rows = await connection.fetch("SELECT org_id, bucket_id FROM buckets_to_renew()")
    return [(OrgId(row["org_id"]), BucketId(row["bucket_id"])) for row in rows]


async def renew_bucket(keyring: Keyring, org_id: OrgId, bucket_id: BucketId) -> Renewal:
    """Renew one bucket to the end, from wherever an earlier attempt stopped. Returns at once if it is done.

    A survivor that its own bucket does not open is of no use to anybody: it is told, and stays as it is. Raises KeyUnavailable if the
    bucket is not the organisation's, or its private key can't be had: then nothing is destroyed.
    """
    moved = 0
    if await _begin(keyring, org_id, bucket_id):
        while True:
            batch = await _move_batch(keyring, org_id, bucket_id)
            moved += batch or 0
            if batch is None and await _retire(keyring, org_id, bucket_id):
                break
    # A second zone that still had the survivors under the old bucket would lose them with it.
    await keyring.confirm_zones()
    secrets = keyring.bucket_secrets()
    await asyncio.to_thread(secrets.destroy, bucket_id)
    keyring.drop_bucket(bucket_id)
    async with keyring.db.organisation(org_id) as connection:
        await connection.execute("UPDATE buckets SET destroyed_at = now() WHERE id = $1 AND destroyed_at IS NULL", bucket_id)
    _log.info("vault.bucket_renewed", org_id=str(org_id), bucket_id=str(bucket_id), moved=moved)
    return Renewal(bucket_id, moved)


async def renew_due(keyring: Keyring) -> list[Renewal]:
    """Renew every bucket that needs it, then vacuum once; a bucket that fails is logged, and does not hold up the others."""
    done = []
    for org_id, bucket_id in await buckets_to_renew(keyring):
        try:
            done.append(await renew_bucket(keyring, org_id, bucket_id))
        except KeyUnavailable as error:
            _log.error("vault.bucket_renewal_failed", org_id=str(org_id), bucket_id=str(bucket_id), reason=str(error))
    if done:
        await vacuum(keyring)
    return done


async def vacuum(keyring: Keyring) -> None:
    """Take dead rows out of the keyring's tables; before PostgreSQL 17 the server does it by itself, on the tables' own settings."""
    async with keyring.db.session() as connection:
        if connection.get_server_version().major < 17:
            return
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("VACUUM data_keys, buckets")


async def _begin(keyring: Keyring, org_id: OrgId, bucket_id: BucketId) -> bool:
    """Put a new current bucket in place of this one; False if the survivors have moved already."""
    async with keyring.db.organisation(org_id) as connection:
        state = await connection.fetchval("SELECT state FROM buckets WHERE id = $1 FOR NO KEY UPDATE", bucket_id)
        if state is None:
            raise KeyUnavailable(f"the keyring holds no bucket {bucket_id} of organisation {org_id}")
        if state == "current":
            await connection.execute(
                "UPDATE buckets SET state = 'renewing', renewing_since = now(),"
                " survivors = (SELECT count(*) FROM data_keys WHERE bucket_id = $1) WHERE id = $1",
                bucket_id,
            )
            await keyring.add_bucket(connection, org_id)
    return bool(state != "destroyed")


async def _move_batch(keyring: Keyring, org_id: OrgId, bucket_id: BucketId) -> int | None:
    """Seal some survivors to the current bucket and count them as moved; None when none is left.

    No row is locked while keys are sealed, so an erasure never waits for it: what was erased or moved meanwhile is left alone.
    """
    target = await keyring.current_bucket(org_id)
    async with keyring.db.organisation(org_id) as connection:
        rows = await connection.fetch("SELECT id, kind, sealed FROM data_keys WHERE bucket_id = $1 ORDER BY id LIMIT $2", bucket_id, _BATCH)
        if not rows:
            return None
        try:
            source = await keyring.private_bucket(connection, org_id, bucket_id, RENEWAL)
        except KeyUnavailable:
            if await connection.fetchval("SELECT state FROM buckets WHERE id = $1", bucket_id) == "destroyed":
                return None  # another renewal moved them all since the rows were read
            raise
        if source.public_key != await connection.fetchval("SELECT public_key FROM buckets WHERE id = $1", bucket_id):
            raise KeyUnavailable(f"the public and the private key of bucket {bucket_id} are no pair")
    sealed, broken = await asyncio.to_thread(_reseal, source, target, [(row["id"], row["kind"], row["sealed"]) for row in rows])
    for key_id in broken:
        _log.error("vault.data_key_does_not_open", org_id=str(org_id), bucket_id=str(bucket_id), data_key_id=str(key_id))
    async with keyring.db.organisation(org_id) as connection:
        # One by one, in one flight: a join would be planned by how many keys the bucket had when the table was last analysed, and may
        # then read all of them for each batch.
        moved = len(
            await connection.fetchmany(
                "UPDATE data_keys SET bucket_id = $1, sealed = $2 WHERE id = $3 AND bucket_id = $4 RETURNING 1",
                [(target.id, anew, row["id"], bucket_id) for row, anew in zip(rows, sealed, strict=True)],
            )
        )
        await connection.execute("UPDATE buckets SET moved = moved + $2 WHERE id = $1", bucket_id, moved)
    return moved


def _reseal(
    source: PrivateBucket, target: PublicBucket, keys: list[tuple[UUID, KeyKind, bytes | None]]
) -> tuple[list[bytes | None], list[UUID]]:
    """The new sealed forms, and the ids of those that do not open and are left as they are.

    A key that only its customer holds (None) has nothing sealed to us: it moves as it is, and customers' copies are not touched.
    """
    moved: list[bytes | None] = []
    broken: list[UUID] = []
    for key_id, kind, sealed in keys:
        if sealed is None:
            moved.append(None)
            continue
        try:
            moved.append(target.seal(source.open(sealed, kind, key_id)))
        except KeyUnavailable:
            moved.append(sealed)
            broken.append(key_id)
    return moved, broken


async def _retire(keyring: Keyring, org_id: OrgId, bucket_id: BucketId) -> bool:
    """Empty the private key's row, if no key has come into the bucket meanwhile; False: move those first."""
    async with keyring.db.organisation(org_id) as connection:
        await _wait_for_sealers(connection, bucket_id)
        if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM data_keys WHERE bucket_id = $1)", bucket_id):
            return False
        await connection.execute("UPDATE buckets SET state = 'destroyed', private_sealed = NULL WHERE id = $1", bucket_id)
    return True


async def _wait_for_sealers(connection: Connection, bucket_id: BucketId) -> None:
    """Exclusive against the shared lock that each insert of a data key holds until it commits."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", str(bucket_id))
