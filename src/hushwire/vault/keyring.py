"""The keyring: which sealed key opens what, made before it is used and gone for good when it is destroyed.

Who can do what follows from the keys that a process holds and the grants of its database role, not from this code: the gateway's
`Keyring` has no opener, and its role can read neither sealed data keys nor private ones.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.errors import CustomerHeld, KeyUnavailable, MalformedError, Unavailable
from hushwire.core.ids import BucketId, OrgId
from hushwire.store.database import Connection, Database
from hushwire.vault import custody
from hushwire.vault.bucket_secrets import BucketSecrets
from hushwire.vault.buckets import DataKey, KeyKind, PrivateBucket, PublicBucket, fingerprint_of
from hushwire.vault.mac import Mac
from hushwire.vault.root import RoleKeys
from hushwire.vault.seal import KEY_BYTES, Columns, blind_index, context, open_sealed, seal
from hushwire.vault.tombstones import Tombstone, bury
from hushwire.vault.unseal import UnsealLog, Why

BUCKET_NOT_CURRENT: Final = "HW001"
CUSTODY_CHANGED: Final = "HW002"
_PRIVATE_CACHE_S: Final = 5.0
"""Another process may destroy a bucket at any time: this soon after, no memory holds its private key either."""
_SEAL_TRIES: Final = 3
_CONFIRMED_WITHIN_S: Final = 3.0
_CONFIRM_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class OrgKeys:
    """What every role needs of one organisation."""

    org_id: OrgId
    operational: Columns
    index_key: bytes = field(repr=False)
    _mac: Mac = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mac", Mac(self.index_key))

    def index(self, column: str, value: str) -> bytes:
        """The blind index of a canonical `value` in `column` (`table.column`)."""
        return blind_index(self._mac, self.org_id, column, value)


@dataclass(frozen=True, slots=True)
class DeploymentKeys:
    """What belongs to no organisation: trunk passwords, banned sources, look-ups of numbers whose organisation is not known yet."""

    operational: Columns
    lookup_key: bytes = field(repr=False)
    _mac: Mac = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mac", Mac(self.lookup_key))

    def identity(self) -> bytes:
        """Names this deployment's keyring, whatever its root key is at the time, and reveals nothing of it."""
        return blind_index(self._mac, UUID(int=0), "deployment", "identity")

    def lookup(self, number: str) -> bytes:
        """`numbers.lookup` of a canonical +E.164 number."""
        return blind_index(self._mac, UUID(int=0), "numbers.lookup", number)

    def between_nodes(self, text: str) -> bytes:
        """What proves to one gateway that another one of this deployment said `text`."""
        return blind_index(self._mac, UUID(int=0), "nodes.said", text)

    def text_destination(self, digits: str) -> bytes:
        """`message_parts.destination_index` of a number in digits alone, as a carrier's receipt names it."""
        return blind_index(self._mac, UUID(int=0), "message_parts.destination", digits)

    def source(self, source: str) -> bytes:
        """`bans.source_index` of an address or network in its canonical form."""
        return blind_index(self._mac, UUID(int=0), "bans.source", source)


@dataclass(frozen=True, slots=True)
class Destroyed:
    """A data key that is gone: what the ledger and the receipt say of it."""

    bucket_id: BucketId
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class PublicSigningKey:
    """A key that receipts verify under; `public_key` is raw Ed25519."""

    id: UUID
    public_key: bytes
    created_at: datetime
    retired_at: datetime | None


def _said(made: Sequence[DataKey], sealed: Sequence[bytes | None]) -> str:
    """Keys as one text, ids, sealed forms and fingerprints: of an array's items each would be asked what it is."""
    pairs = zip(made, sealed, strict=True)
    said = [(str(one.id), None if form is None else form.hex(), one.fingerprint.hex()) for one, form in pairs]
    return orjson.dumps(said).decode()


class Keyring:
    """One role's view of the keyring. Without a `log` it opens no data key and no bucket, whatever keys it holds."""

    def __init__(self, db: Database, keys: RoleKeys, log: UnsealLog | None = None) -> None:
        self.db = db
        self._log = log
        self._role_wrap = keys.role
        self._is_confirmed = keys.is_confirmed
        self._opener_wrap = keys.opener
        self._secrets = None if keys.opener is None or keys.buckets is None else BucketSecrets(keys.buckets, keys.opener)
        self._orgs: dict[OrgId, OrgKeys] = {}
        self._deployment: DeploymentKeys | None = None
        self._current: dict[OrgId, PublicBucket] = {}
        self._custody: dict[OrgId, custody.Custody] = {}
        self._private: dict[BucketId, PrivateBucket] = {}

    # Keys that every role reads.

    async def org_context(self, org_id: OrgId) -> OrgKeys:
        """The operational and index keys of an organisation. Raises KeyUnavailable if it has none."""
        if (known := self._orgs.get(org_id)) is not None:
            return known
        async with self.db.organisation(org_id) as connection:
            rows = await connection.fetch("SELECT purpose, sealed FROM org_keys")
        keys = {row["purpose"]: self._unwrap(row["sealed"], context("org-key", org_id, row["purpose"])) for row in rows}
        if not {"operational", "index"} <= keys.keys():
            raise KeyUnavailable(f"the keyring holds no keys of organisation {org_id}")
        self._orgs[org_id] = found = OrgKeys(org_id, Columns(keys["operational"]), keys["index"])
        return found

    async def deployment(self) -> DeploymentKeys:
        """The deployment's own keys. Raises KeyUnavailable before `establish`."""
        if self._deployment is None:
            async with self.db.transaction() as connection:
                rows = await connection.fetch("SELECT purpose, sealed FROM deployment_keys")
            keys = {row["purpose"]: self._unwrap(row["sealed"], context("deployment-key", row["purpose"])) for row in rows}
            if not {"operational", "index"} <= keys.keys():
                raise KeyUnavailable("the keyring holds no deployment keys: it was never set up, or is not this deployment's")
            self._deployment = DeploymentKeys(Columns(keys["operational"]), keys["index"])
        return self._deployment

    def forget(self, org_id: OrgId) -> None:
        """Drop what is cached of an organisation (its keys were destroyed or replaced)."""
        self._orgs.pop(org_id, None)
        self._current.pop(org_id, None)
        self._custody.pop(org_id, None)

    # Setting up: the owner's role, with an opener.

    async def establish(self) -> None:
        """Make the deployment's keys and the first signing key where they are missing; safe to repeat and to run twice at once."""
        opener = self._opener()
        async with self.db.transaction() as connection:
            await connection.execute("LOCK TABLE deployment_keys, signing_keys IN SHARE ROW EXCLUSIVE MODE")
            for purpose in ("operational", "index"):
                await connection.execute(
                    "INSERT INTO deployment_keys (purpose, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                    purpose,
                    seal(self._role_wrap, secrets.token_bytes(KEY_BYTES), context("deployment-key", purpose)),
                )
            if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM signing_keys WHERE retired_at IS NULL)"):
                key_id, private = UUID(bytes=secrets.token_bytes(16), version=4), Ed25519PrivateKey.generate()
                await connection.execute(
                    "INSERT INTO signing_keys (id, public_key, private_sealed, created_at) VALUES ($1, $2, $3, now())",
                    key_id,
                    private.public_key().public_bytes_raw(),
                    seal(opener, private.private_bytes_raw(), context("signing-key", key_id)),
                )

    async def create_organisation(self, org_id: OrgId) -> None:
        """Make an organisation's keys and first bucket where they are missing; safe to repeat."""
        async with self.db.organisation(org_id) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", str(org_id))
            for purpose in ("operational", "index"):
                await connection.execute(
                    "INSERT INTO org_keys (org_id, purpose, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    org_id,
                    purpose,
                    seal(self._role_wrap, secrets.token_bytes(KEY_BYTES), context("org-key", org_id, purpose)),
                )
            if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM buckets WHERE state = 'current')"):
                await self.add_bucket(connection, org_id)

    async def add_bucket(self, connection: Connection, org_id: OrgId) -> BucketId:
        """Insert a new current bucket in the caller's transaction of `org_id`; there must be no other current one."""
        bucket_id = BucketId(UUID(bytes=secrets.token_bytes(16), version=4))
        vault = self.bucket_secrets()
        made = await asyncio.to_thread(vault.make, org_id, bucket_id)
        try:
            await connection.execute(
                "INSERT INTO buckets (id, org_id, public_key, private_sealed, state, created_at) VALUES ($1, $2, $3, $4, 'current', now())",
                bucket_id,
                org_id,
                made.public_key,
                made.private_sealed,
            )
        except BaseException:
            with suppress(Unavailable):  # a zone that went away meanwhile: `zones.tidy_secrets` finds what is nobody's
                vault.destroy(bucket_id)
            raise
        return bucket_id

    # Data keys: any role seals, only an opener opens.

    async def new_data_key(self, org_id: OrgId, kind: KeyKind, data_key_id: UUID) -> DataKey:
        """A new key whose sealed form is committed to the keyring before this returns."""
        (made,) = await self.new_data_keys(org_id, kind, [data_key_id])
        return made

    async def new_data_keys(self, org_id: OrgId, kind: KeyKind, ids: Sequence[UUID]) -> list[DataKey]:
        """Like `new_data_key` for several ids in one transaction, sealed as the organisation's custody wants it.

        Raises KeyUnavailable if the organisation has no bucket, or wants them sealed to keys of its own and none of those is active.
        """
        keys = [(data_key_id, secrets.token_bytes(KEY_BYTES)) for data_key_id in ids]
        for _ in range(_SEAL_TRIES):
            bucket = await self._current_bucket(org_id)
            held = await self._custody_of(org_id) if kind in custody.HELD_KINDS else custody.OURS
            made = [
                DataKey(data_key_id, kind, key, fingerprint_of(key, data_key_id), held.mode, held.version, held.good_until)
                for data_key_id, key in keys
            ]
            if held.mode == "hushwire":
                sealed, copies = held.seal(org_id, bucket, made)
            else:
                # Several public-key operations a key, some of them long: not on the loop that carries calls.
                sealed, copies = await asyncio.to_thread(held.seal, org_id, bucket, made)
            try:
                async with self.db.organisation(org_id) as connection:
                    await connection.execute(
                        "INSERT INTO data_keys (id, org_id, bucket_id, kind, sealed, fingerprint, custody_version, created_at)"
                        " SELECT (m->>0)::uuid, $1, $2, $3, decode(m->>1, 'hex'), decode(m->>2, 'hex'), $5, now()"
                        " FROM jsonb_array_elements($4::jsonb) AS made (m)",
                        org_id,
                        bucket.id,
                        kind,
                        _said(made, sealed),
                        held.version,
                    )
                    if copies:
                        await custody.add_copies(connection, org_id, copies)
                return made
            except asyncpg.PostgresError as error:
                if error.sqlstate not in (BUCKET_NOT_CURRENT, CUSTODY_CHANGED):
                    raise
                # The bucket is being renewed, or the custody was changed: seal as it is wanted now.
                self._current.pop(org_id, None)
                self._custody.pop(org_id, None)
        raise Unavailable(f"the buckets or the custody of organisation {org_id} change faster than a key can be sealed")

    async def _custody_of(self, org_id: OrgId) -> custody.Custody:
        """Whom new keys are sealed to. Raises KeyUnavailable where that should be the customer and can't be."""
        if (known := self._custody.get(org_id)) is None:
            async with self.db.organisation(org_id) as connection:
                known = await custody.current(connection)
            if known.is_impossible:
                raise KeyUnavailable(f"organisation {org_id} holds its own keys, and none of them is active and unexpired")
            self._custody[org_id] = known
        return known

    async def envelopes(self, org_id: OrgId, kind: KeyKind, data_key_id: UUID) -> list[custody.Copy]:
        """The copies of a key that customers' keys open, by recipient; none where there are none, or the key is gone."""
        async with self.db.organisation(org_id) as connection:
            return await custody.copies(connection, kind, data_key_id)

    async def open_data_key(self, org_id: OrgId, kind: KeyKind, data_key_id: UUID, why: Why) -> DataKey:
        """The key. Raises KeyUnavailable when it was destroyed, never existed, is another organisation's, or this role can't open;
        CustomerHeld where it exists and only the customer's own key opens it.
        """
        found = await self.open_many(org_id, kind, [data_key_id], why)
        if data_key_id not in found:
            async with self.db.organisation(org_id) as connection:
                if await connection.fetchval("SELECT sealed IS NULL FROM data_keys WHERE id = $1 AND kind = $2", data_key_id, kind):
                    raise CustomerHeld(f"the key of {kind} {data_key_id} opens under the customer's own key only")
            raise KeyUnavailable(f"the key of {kind} {data_key_id} is gone")
        return found[data_key_id]

    async def open_many(
        self, org_id: OrgId, kind: KeyKind, ids: Iterable[UUID], why: Why, *, of: Mapping[UUID, UUID] | None = None
    ) -> dict[UUID, DataKey]:
        """The keys that still exist, by id; what is gone is absent, and so is what only the customer can open.

        Each is noted in the access log as `<kind>:<id>`, committed, before any is handed out. Raises Unavailable, and hands out
        nothing, if the log can't be written. Don't call it inside a transaction of the main database: the log takes another one.

        `of`: the row that a key belongs to, where the row's id is another than the key's: the log names what was read.
        """
        self._opener()
        log = self._unseal_log()
        wanted = list(ids)
        if not wanted:
            return {}
        async with self.db.organisation(org_id) as connection:
            rows = await connection.fetch(
                "SELECT id, bucket_id, sealed, fingerprint FROM data_keys WHERE id = ANY($1::uuid[]) AND kind = $2", wanted, kind
            )
            buckets = await self._private_buckets(connection, org_id, {BucketId(row["bucket_id"]) for row in rows})
        opened = {}
        for row in rows:
            if row["sealed"] is None:
                continue
            data_key = buckets[row["bucket_id"]].open(row["sealed"], kind, row["id"])
            if data_key.fingerprint != row["fingerprint"]:
                raise KeyUnavailable(f"the key of {kind} {row['id']} does not match its fingerprint")
            opened[data_key.id] = data_key
        await log.note(org_id, why, [f"{kind}:{(of or {}).get(data_key_id, data_key_id)}" for data_key_id in opened])
        return opened

    async def keys_older_than(self, org_id: OrgId, kind: KeyKind, age: timedelta, *, after: UUID, limit: int) -> list[UUID]:
        """A page of keys that were made longer ago than `age` by the keyring's own clock, in the order of their ids."""
        async with self.db.organisation(org_id) as connection:
            rows = await connection.fetch(
                "SELECT id FROM data_keys WHERE org_id = $1 AND id > $2 AND kind = $3 AND created_at < now() - $4::interval"
                " ORDER BY id LIMIT $5",
                org_id,
                after,
                kind,
                age,
                limit,
            )
        return [row["id"] for row in rows]

    async def fingerprint(self, org_id: OrgId, kind: KeyKind, data_key_id: UUID) -> Destroyed | None:
        """Bucket and fingerprint of a key that exists (what `destroy_data_key` would return), or None; every role may ask."""
        async with self.db.organisation(org_id) as connection:
            row = await connection.fetchrow("SELECT bucket_id, fingerprint FROM data_keys WHERE id = $1 AND kind = $2", data_key_id, kind)
        return None if row is None else Destroyed(BucketId(row["bucket_id"]), row["fingerprint"])

    async def fingerprints(self, org_id: OrgId, ids: Sequence[UUID]) -> dict[UUID, Destroyed]:
        """Bucket and fingerprint of those of these keys that exist, of whatever kind; every role may ask."""
        async with self.db.organisation(org_id) as connection:
            rows = await connection.fetch("SELECT id, bucket_id, fingerprint FROM data_keys WHERE id = ANY($1::uuid[])", list(ids))
        return {row["id"]: Destroyed(BucketId(row["bucket_id"]), row["fingerprint"]) for row in rows}

    async def destroy_keys(self, org_id: OrgId, ids: Sequence[UUID], tombstones: Sequence[Tombstone]) -> None:
        """Delete keys of any kinds and write their tombstones in one transaction, committed before this returns.

        Raises Unavailable, though the keys are gone from here, while the second zone does not have it: call it again until it returns.
        """
        async with self.db.organisation(org_id) as connection:
            await bury(connection, org_id, tombstones)
            await connection.execute(
                "WITH gone AS (DELETE FROM data_keys WHERE id = ANY($1::uuid[]) RETURNING bucket_id)"
                " UPDATE buckets SET erasures = erasures + lost.keys"
                " FROM (SELECT bucket_id, count(*) AS keys FROM gone GROUP BY bucket_id) AS lost WHERE buckets.id = lost.bucket_id",
                list(ids),
            )
        await self.confirm_zones()

    async def destroy_data_key(
        self, org_id: OrgId, kind: KeyKind, data_key_id: UUID, tombstone: Tombstone | None = None
    ) -> Destroyed | None:
        """Delete the key, committed before this returns; None if it was gone already. From here on nothing opens what it sealed."""
        destroyed = await self.destroy_data_keys(org_id, kind, [data_key_id], [] if tombstone is None else [tombstone])
        return destroyed.get(data_key_id)

    async def destroy_data_keys(
        self, org_id: OrgId, kind: KeyKind, ids: Sequence[UUID], tombstones: Sequence[Tombstone] = ()
    ) -> dict[UUID, Destroyed]:
        """Delete keys and write their tombstones in one transaction, committed before this returns; keys gone already are absent.

        Raises Unavailable, though the keys are gone from here, while the second zone does not have it: call it again until it returns.
        """
        async with self.db.organisation(org_id) as connection:
            if tombstones:
                await bury(connection, org_id, tombstones)
            rows = await connection.fetch(
                "WITH gone AS (DELETE FROM data_keys WHERE id = ANY($1::uuid[]) AND kind = $2 RETURNING id, bucket_id, fingerprint),"
                " counted AS (UPDATE buckets SET erasures = erasures + lost.keys"
                " FROM (SELECT bucket_id, count(*) AS keys FROM gone GROUP BY bucket_id) AS lost WHERE buckets.id = lost.bucket_id)"
                " SELECT id, bucket_id, fingerprint FROM gone",
                list(ids),
                kind,
            )
        await self.confirm_zones()
        return {row["id"]: Destroyed(BucketId(row["bucket_id"]), row["fingerprint"]) for row in rows}

    # Zones.

    @property
    def has_second_zone(self) -> bool:
        """Whether what ends for good must be known in a second zone too."""
        return self._is_confirmed

    async def second_zone_lacks(self) -> int | None:
        """Bytes of the keyring's log that its second zone does not have on its disk; None: no second zone is connected."""
        async with self.db.transaction() as connection:
            lacks: int | None = await connection.fetchval("SELECT second_zone_lacks(pg_current_wal_lsn())")
        return lacks

    async def confirm_zones(self) -> None:
        """Return when the second zone has on its disk all that was committed here so far; at once where there is none.

        A commit waits for the second zone by itself, but only while that is there. Raises Unavailable if it isn't there in time.
        """
        if not self._is_confirmed:
            return
        until = asyncio.get_running_loop().time() + _CONFIRMED_WITHIN_S
        async with self.db.transaction() as connection:
            upto = await connection.fetchval("SELECT pg_current_wal_lsn()::text")
            while True:
                lacks = await connection.fetchval("SELECT second_zone_lacks($1::text::pg_lsn)", upto)
                if lacks is not None and lacks <= 0:
                    return
                if asyncio.get_running_loop().time() >= until:
                    raise Unavailable("the keyring's second zone is away: what was destroyed here may live on there")
                await asyncio.sleep(_CONFIRM_POLL_S)

    # Signing keys.

    async def signing_key(self) -> tuple[UUID, Ed25519PrivateKey]:
        """The key that signs receipts now, and its id. Raises KeyUnavailable without an opener."""
        opener = self._opener()
        async with self.db.transaction() as connection:
            row = await connection.fetchrow(
                "SELECT id, private_sealed FROM signing_keys WHERE retired_at IS NULL ORDER BY created_at DESC LIMIT 1"
            )
        if row is None:
            raise KeyUnavailable("the keyring holds no signing key")
        raw = self._unwrap(row["private_sealed"], context("signing-key", row["id"]), opener)
        return row["id"], Ed25519PrivateKey.from_private_bytes(raw)

    async def public_signing_keys(self) -> list[PublicSigningKey]:
        """Every key that receipts were ever signed with, oldest first."""
        async with self.db.transaction() as connection:
            rows = await connection.fetch("SELECT id, public_key, created_at, retired_at FROM signing_keys ORDER BY created_at, id")
        return [PublicSigningKey(row["id"], row["public_key"], row["created_at"], row["retired_at"]) for row in rows]

    # Buckets.

    def bucket_secrets(self) -> BucketSecrets:
        """The folder of bucket secrets. Raises KeyUnavailable in a role that was not given it."""
        if self._secrets is None:
            raise KeyUnavailable("this role can't open: it holds no opener key, or was not told where bucket secrets are")
        return self._secrets

    async def private_bucket(self, connection: Connection, org_id: OrgId, bucket_id: BucketId, why: Why) -> PrivateBucket:
        """A bucket that opens all its keys, noted as `bucket:<id>`. Raises KeyUnavailable if it was destroyed."""
        await self._unseal_log().note(org_id, why, [f"bucket:{bucket_id}"])
        return (await self._private_buckets(connection, org_id, {bucket_id}))[bucket_id]

    def drop_bucket(self, bucket_id: BucketId) -> None:
        """Forget a private key that was destroyed, and which bucket is current."""
        self._private.pop(bucket_id, None)
        self._current.clear()

    async def current_bucket(self, org_id: OrgId) -> PublicBucket:
        """The bucket that new keys are sealed to, from the database. Raises KeyUnavailable if there is none."""
        async with self.db.organisation(org_id) as connection:
            row = await connection.fetchrow("SELECT id, public_key FROM buckets WHERE state = 'current'")
        if row is None:
            raise KeyUnavailable(f"the keyring holds no bucket of organisation {org_id}")
        return PublicBucket(BucketId(row["id"]), org_id, row["public_key"])

    async def _current_bucket(self, org_id: OrgId) -> PublicBucket:
        if (known := self._current.get(org_id)) is None:
            self._current[org_id] = known = await self.current_bucket(org_id)
        return known

    async def _private_buckets(self, connection: Connection, org_id: OrgId, wanted: Iterable[BucketId]) -> Mapping[BucketId, PrivateBucket]:
        found = {bucket_id: self._private[bucket_id] for bucket_id in wanted if bucket_id in self._private}
        missing = [bucket_id for bucket_id in wanted if bucket_id not in found]
        if missing:
            vault = self.bucket_secrets()
            rows = await connection.fetch("SELECT id, private_sealed FROM buckets WHERE id = ANY($1::uuid[])", missing)
            for row in rows:
                if row["private_sealed"] is None:
                    raise KeyUnavailable(f"the private key of bucket {row['id']} was destroyed")
                bucket = vault.open(org_id, BucketId(row["id"]), row["private_sealed"])
                self._private[bucket.id] = found[bucket.id] = bucket
                asyncio.get_running_loop().call_later(_PRIVATE_CACHE_S, self._private.pop, bucket.id, None)
        for bucket_id in missing:
            if bucket_id not in found:
                raise KeyUnavailable(f"the keyring holds no bucket {bucket_id}")
        return found

    def _unseal_log(self) -> UnsealLog:
        if self._log is None:
            raise KeyUnavailable("this keyring can't open: it was given no access log to note it in")
        return self._log

    def _opener(self) -> bytes:
        if self._opener_wrap is None:
            raise KeyUnavailable("this role can't open: it holds no opener key")
        return self._opener_wrap

    def _unwrap(self, sealed: bytes, place: bytes, wrap: bytes | None = None) -> bytes:
        try:
            return open_sealed(wrap or self._role_wrap, sealed, place)
        except MalformedError as error:
            raise KeyUnavailable("a key of the keyring does not open under this root key") from error
