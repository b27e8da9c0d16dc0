"""Rotation: of the root key, by wrapping anew everything that it wraps; of the key that signs receipts, by a new one.

    new key kept beside the old one -> all wrapped anew, in one transaction -> new key in the old one's place -> old key destroyed

What a root key wraps is little (the deployment's keys, two keys an organisation, the buckets' private keys, the signing keys), so one
transaction does it, and its fingerprint says at each moment which key belongs to the keyring. A start in the middle takes the key that
does (`root.open_root`), and the old one goes only once the second zone has the new state too.
"""

import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.errors import KeyUnavailable, MalformedError
from hushwire.core.ids import BucketId, OrgId
from hushwire.store.database import Connection, Database
from hushwire.vault.bucket_secrets import BucketSecrets
from hushwire.vault.root import BucketFolders, RootKey
from hushwire.vault.seal import context, open_sealed, seal

_LOCK: Final = 0x6877_726F_6F74  # the one of `root.open_root`
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many values of each kind stand under the new root key."""

    deployment: int
    organisations: int
    buckets: int
    signing: int


async def rewrap(keyring: Database, old: RootKey, new: RootKey, folders: BucketFolders) -> Rewrapped:
    """Wrap everything anew, all or nothing, as `hushwire_owner`. No role may be running: it would not open what is wrapped anew.

    Raises KeyUnavailable, and changes nothing, if the keyring is not under `old` or a value does not open.
    """
    async with keyring.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await connection.fetchval("SELECT fingerprint FROM root_key FOR UPDATE") != old.fingerprint():
            raise KeyUnavailable("the keyring is not under the root key that is to be replaced")
        done = Rewrapped(
            deployment=await _deployment(connection, old, new),
            signing=await _signing(connection, old, new),
            buckets=await _buckets(connection, BucketSecrets(folders, old.opener_wrap()), BucketSecrets(folders, new.opener_wrap())),
            organisations=await _organisations(connection, old, new),
        )
        await connection.execute("UPDATE root_key SET fingerprint = $1", new.fingerprint())
    _log.warning("root_key.rewrapped", buckets=done.buckets, organisations=done.organisations)
    return done


async def rotate_signing(keyring: Database, opener_wrap: bytes) -> UUID:
    """Sign receipts with a new key from now on, as `hushwire_owner`; the old one stays published. Returns the new key's id."""
    key_id, private = UUID(bytes=secrets.token_bytes(16), version=4), Ed25519PrivateKey.generate()
    async with keyring.transaction() as connection:
        await connection.execute("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE")
        await connection.execute("UPDATE signing_keys SET retired_at = clock_timestamp() WHERE retired_at IS NULL")
        await connection.execute(
            "INSERT INTO signing_keys (id, public_key, private_sealed, created_at) VALUES ($1, $2, $3, clock_timestamp())",
            key_id,
            private.public_key().public_bytes_raw(),
            seal(opener_wrap, private.private_bytes_raw(), context("signing-key", key_id)),
        )
    _log.info("signing_key.rotated", key_id=str(key_id))
    return key_id


async def _deployment(connection: Connection, old: RootKey, new: RootKey) -> int:
    rows = await connection.fetch("SELECT purpose, sealed FROM deployment_keys")
    for row in rows:
        place = context("deployment-key", row["purpose"])
        sealed = _anew(old.role_wrap(), new.role_wrap(), row["sealed"], place)
        await connection.execute("UPDATE deployment_keys SET sealed = $2 WHERE purpose = $1", row["purpose"], sealed)
    return len(rows)


async def _signing(connection: Connection, old: RootKey, new: RootKey) -> int:
    rows = await connection.fetch("SELECT id, private_sealed FROM signing_keys")
    for row in rows:
        sealed = _anew(old.opener_wrap(), new.opener_wrap(), row["private_sealed"], context("signing-key", row["id"]))
        await connection.execute("UPDATE signing_keys SET private_sealed = $2 WHERE id = $1", row["id"], sealed)
    return len(rows)


async def _buckets(connection: Connection, old: BucketSecrets, new: BucketSecrets) -> int:
    done = 0
    for row in await connection.fetch("SELECT org_id, bucket_id FROM bucket_ids()"):
        org_id, bucket_id = OrgId(row["org_id"]), BucketId(row["bucket_id"])
        await _act_for(connection, org_id)
        sealed = await connection.fetchval("SELECT private_sealed FROM buckets WHERE id = $1", bucket_id)
        if sealed is not None:
            anew = old.rewrap(org_id, bucket_id, sealed, new)
            await connection.execute("UPDATE buckets SET private_sealed = $2 WHERE id = $1", bucket_id, anew)
            done += 1
    return done


async def _organisations(connection: Connection, old: RootKey, new: RootKey) -> int:
    # Every organisation that has keys has a bucket: both are made in one transaction (`Keyring.create_organisation`).
    organisations = {OrgId(row["org_id"]) for row in await connection.fetch("SELECT org_id FROM bucket_ids()")}
    for org_id in organisations:
        await _act_for(connection, org_id)
        for row in await connection.fetch("SELECT purpose, sealed FROM org_keys"):
            sealed = _anew(old.role_wrap(), new.role_wrap(), row["sealed"], context("org-key", org_id, row["purpose"]))
            await connection.execute("UPDATE org_keys SET sealed = $2 WHERE purpose = $1", row["purpose"], sealed)
    return len(organisations)


async def _act_for(connection: Connection, org_id: OrgId) -> None:
    await connection.execute("SELECT set_config('hushwire.org', $1, true)", str(org_id))


def _anew(old: bytes, new: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return seal(new, open_sealed(old, sealed, place), place)
    except MalformedError as error:
        raise KeyUnavailable("a key of the keyring does not open under the root key that is to be replaced") from error
