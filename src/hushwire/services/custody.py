"""Customer-held keys as their owner manages them: the mode, the keys, and the proof that somebody holds their private halves.

What counts stands in the keyring. The main database keeps the version, which the row of each new recording is compared with
(migration 0070), and the audit log; it is brought up to date before a change is answered, and by the worker if that was cut short.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.store.database import Connection, Database
from hushwire.vault import envelopes, recipient_rows
from hushwire.vault.custody import Mode, State
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.recipient_rows import CustodyRows, RecipientRow
from hushwire.vault.recipients import Algorithm, PublicKey

ANSWER_WITHIN: Final = timedelta(hours=24)
WARN_BEFORE: Final = timedelta(days=30)
MOST_KEYS: Final = 16
"""Pending and active ones: each more is one more envelope for each recording."""
SYSTEM: Final = "system:worker"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyView:
    """One key of the customer."""

    id: UUID
    name: str = field(repr=False)
    algorithm: Algorithm
    fingerprint: bytes
    state: State
    expires_at: datetime | None
    has_expired: bool
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class View:
    """Who can open what is recorded from now on. `can_record`: whether a recording's key can be sealed as the mode wants it."""

    mode: Mode
    version: int
    can_record: bool
    keys: tuple[KeyView, ...]


@dataclass(frozen=True, slots=True)
class Challenged:
    """A pending key, and what its holder has to answer until then."""

    key: KeyView
    challenge: bytes
    until: datetime


@dataclass(frozen=True, slots=True)
class NoSuchKey:
    """The organisation has no key of this id."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not in the present state; `why` is a sentence for people."""

    why: str


class Custodian:
    """The customer's custody. `actor` is who changes it, for the audit log."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def view(self, org_id: OrgId) -> View:
        """As it stands."""
        return await self._view(org_id)

    async def set_mode(self, org_id: OrgId, mode: Mode, *, actor: str, is_forced: bool = False) -> View | Refused:
        """Who can open recordings that begin from now on; those that exist stay as they are.

        Refused where nothing could be recorded any more; `is_forced` sets it all the same, and nothing is recorded until a key is proven.
        """
        async with self._changing(org_id) as (connection, held):
            if held.mode == mode:
                was = None
            elif mode != "hushwire" and not is_forced and not any(_is_good(row) for row in held.recipients):
                return Refused(
                    "There is no active, unexpired key of yours to seal to: register one and prove that you hold it, then set the mode."
                )
            else:
                was = held.mode
                await recipient_rows.set_mode(connection, org_id, mode, self._clock.now())
        await self._settle(org_id, actor, "mode-changed", f"organisation:{org_id}", {"mode": mode, "was": was} if was else None)
        return await self._view(org_id)

    async def add(self, org_id: OrgId, name: str, key: PublicKey, expires_at: datetime | None, *, actor: str) -> Challenged | Refused:
        """Register a key: nothing is sealed to it before its holder has answered. For a key that is pending already: a new challenge."""
        now, keys = self._clock.now(), await self._keyring.org_context(org_id)
        if expires_at is not None and expires_at <= now:
            return Refused("The key's end lies in the past.")
        async with self._changing(org_id) as (connection, held):
            known = next((row for row in held.recipients if row.fingerprint == key.fingerprint), None)
            if known is not None and known.state != "pending":
                return Refused(
                    f"This key is registered already, and {known.state}." + (" Make a new pair." if known.state == "retired" else "")
                )
            if known is None and sum(row.state != "retired" for row in held.recipients) >= MOST_KEYS:
                return Refused(f"There are {MOST_KEYS} keys already: retire one first.")
            recipient_id = known.id if known else self._new_id(now)
            if known is None:
                sealed = _name(keys, recipient_id).seal(name)
                await recipient_rows.add_pending(connection, org_id, recipient_id, sealed, key, expires_at, now)
            challenge, until = await self._challenge(connection, org_id, recipient_id, key, now)
        if known is None:
            fields: audit.Fields = {"algorithm": key.algorithm.value, "fingerprint": key.fingerprint.hex()}
            await self._settle(org_id, actor, "key-added", f"recipient:{recipient_id}", fields)
        return await self._challenged(org_id, recipient_id, challenge, until)

    async def challenge(self, org_id: OrgId, recipient_id: UUID) -> Challenged | NoSuchKey | Refused:
        """A new challenge for a pending key; an earlier one is void."""
        async with self._changing(org_id) as (connection, held):
            row = held.recipient(recipient_id)
            if row is None:
                return NoSuchKey()
            if row.state != "pending":
                return Refused(f"The key is {row.state}: there is nothing left to prove.")
            challenge, until = await self._challenge(connection, org_id, recipient_id, row.key, self._clock.now())
        return await self._challenged(org_id, recipient_id, challenge, until)

    async def prove(self, org_id: OrgId, recipient_id: UUID, answer: bytes, *, actor: str) -> View | NoSuchKey | Refused:
        """pending -> active, if the answer shows that the private key is held."""
        now = self._clock.now()
        async with self._changing(org_id) as (connection, held):
            row = held.recipient(recipient_id)
            if row is None:
                return NoSuchKey()
            if row.state == "retired":
                return Refused("The key is retired, and does not come back: make a new pair.")
            if row.state == "pending":
                if row.answer_hash is None or row.answer_until is None or row.answer_until <= now:
                    return Refused("There is no open challenge: ask for a new one.")
                if not hmac.compare_digest(hashlib.sha256(answer).digest(), row.answer_hash):
                    _log.warning("custody.proof_failed", org_id=str(org_id), recipient_id=str(recipient_id))
                    return Refused(
                        "The answer does not prove the key: answer the newest challenge, with the private half of this very key."
                    )
                await recipient_rows.activate(connection, org_id, recipient_id, now)
        fields: audit.Fields | None = {"fingerprint": row.fingerprint.hex()} if row.state == "pending" else None
        await self._settle(org_id, actor, "key-activated", f"recipient:{recipient_id}", fields)
        return await self._view(org_id)

    async def describe(
        self, org_id: OrgId, recipient_id: UUID, *, name: str, expires_at: datetime | None, actor: str
    ) -> View | NoSuchKey | Refused:
        """Another name, another end."""
        now, keys = self._clock.now(), await self._keyring.org_context(org_id)
        if expires_at is not None and expires_at <= now:
            return Refused("The key's end lies in the past: to end it now, delete it.")
        async with self._changing(org_id) as (connection, held):
            row = held.recipient(recipient_id)
            if row is None:
                return NoSuchKey()
            if row.state == "retired":
                return Refused("The key is retired, and does not come back: make a new pair.")
            place = _name(keys, recipient_id)
            is_new = (place.open(row.name_sealed), row.expires_at) != (name, expires_at)
            if is_new:
                await recipient_rows.describe(connection, org_id, recipient_id, place.seal(name), expires_at, now)
        until = None if expires_at is None else expires_at.isoformat()
        await self._settle(org_id, actor, "key-changed", f"recipient:{recipient_id}", {"expires_at": until} if is_new else None)
        return await self._view(org_id)

    async def remove(self, org_id: OrgId, recipient_id: UUID, *, actor: str) -> View | NoSuchKey:
        """A pending key is forgotten; an active one retired: nothing more is sealed to it, at once, even if it was the last."""
        async with self._changing(org_id) as (connection, held):
            row = held.recipient(recipient_id)
            if row is None:
                return NoSuchKey()
            if row.state == "pending":
                await recipient_rows.remove_pending(connection, [recipient_id])
            elif row.state == "active":
                await recipient_rows.retire(connection, org_id, recipient_id, self._clock.now())
        change = "key-removed" if row.state == "pending" else "key-retired"
        fields: audit.Fields | None = None if row.state == "retired" else {"fingerprint": row.fingerprint.hex()}
        await self._settle(org_id, actor, change, f"recipient:{recipient_id}", fields)
        return await self._view(org_id)

    # The worker's share.

    async def upkeep(self) -> int:
        """Finish changes that were cut short, and warn of keys that end; returns how many warnings."""
        async with self._keyring.db.transaction() as connection:
            versions = await connection.fetch("SELECT org_id, version FROM custody_versions()")
            warnings = await connection.fetch("SELECT org_id, recipient_id FROM custody_warnings($1)", WARN_BEFORE)
        for row in versions:
            await self._settle(OrgId(row["org_id"]), SYSTEM, "settled", f"organisation:{row['org_id']}", None)
        for row in warnings:
            org_id = OrgId(row["org_id"])
            if row["recipient_id"] is None:
                _log.error("custody.nothing_can_be_recorded", org_id=str(org_id), advice="no active, unexpired key of the customer")
                continue
            async with self._keyring.db.organisation(org_id) as connection:
                held = await recipient_rows.read(connection)
            found = held.recipient(row["recipient_id"])
            if found is not None and found.expires_at is not None:
                left = found.expires_at - self._clock.now()
                _log.warning(
                    "custody.key_expires",
                    org_id=str(org_id),
                    recipient_id=str(found.id),
                    days_left=max(0, left.days),
                    expired=found.has_expired,
                )
        return len(warnings)

    # Inside.

    @asynccontextmanager
    async def _changing(self, org_id: OrgId) -> AsyncIterator[tuple[Connection, CustodyRows]]:
        """A transaction of the keyring in which the custody is read, and changed by nobody else."""
        async with self._keyring.db.organisation(org_id) as connection:
            await recipient_rows.lock(connection, org_id)
            yield connection, await recipient_rows.read(connection)

    async def _challenge(
        self, connection: Connection, org_id: OrgId, recipient_id: UUID, key: PublicKey, now: datetime
    ) -> tuple[bytes, datetime]:
        secret, until = self._random.token_bytes(32), now + ANSWER_WITHIN
        answer = envelopes.answer_to(secret, org_id, recipient_id, key.fingerprint)
        await recipient_rows.expect(connection, recipient_id, hashlib.sha256(answer).digest(), until)
        return envelopes.challenge(secret, key, org_id, recipient_id), until

    async def _challenged(self, org_id: OrgId, recipient_id: UUID, challenge: bytes, until: datetime) -> Challenged:
        view = await self._view(org_id)
        return Challenged(next(key for key in view.keys if key.id == recipient_id), challenge, until)

    async def _view(self, org_id: OrgId) -> View:
        keys = await self._keyring.org_context(org_id)
        async with self._keyring.db.organisation(org_id) as connection:
            held = await recipient_rows.read(connection)
        return View(held.mode, held.version, held.can_seal, tuple(_key_view(keys, row) for row in held.recipients))

    async def _settle(self, org_id: OrgId, actor: str, change: str, subject: str, fields: audit.Fields | None) -> None:
        """Bring the main database to the keyring's version and tell the audit log; `fields` None: nothing was changed by this call."""
        async with self._main.organisation(org_id) as connection:
            await self._settle_in(connection, org_id, actor, change, subject, fields)

    async def _settle_in(
        self, connection: Connection, org_id: OrgId, actor: str, change: str, subject: str, fields: audit.Fields | None
    ) -> None:
        """The same in a transaction of the main database."""
        async with self._keyring.db.organisation(org_id) as keyring:
            held = await recipient_rows.read(keyring)
        behind = await connection.fetchval("SELECT custody_version < $2 FROM orgs WHERE id = $1", org_id, held.version)
        if behind:
            # Recordings that are just beginning hold this lock shared: after it none begins under an older custody.
            await recipient_rows.lock(connection, org_id)
            await connection.execute("UPDATE orgs SET custody_version = greatest(custody_version, $2) WHERE id = $1", org_id, held.version)
        if fields is None and behind:
            change, subject, fields = "settled", f"organisation:{org_id}", {"mode": held.mode}
        if fields is not None:
            said: audit.Fields = {"change": change, **fields, "version": held.version}
            await audit.append(connection, org_id, self._clock.now(), actor, audit.Action.CUSTODY_CHANGED, subject, said)
            _log.info("custody.changed", change=change, org_id=str(org_id), version=held.version, mode=held.mode)

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


def _is_good(row: RecipientRow) -> bool:
    return row.state == "active" and not row.has_expired


@dataclass(frozen=True, slots=True)
class _Name:
    seal: Callable[[str], bytes]
    open: Callable[[bytes], str]


def _name(keys: OrgKeys, recipient_id: UUID) -> _Name:
    """The place of a key's name."""

    def sealed(name: str) -> bytes:
        return keys.operational.seal(name.encode(), table="recipients", column="name_sealed", row=recipient_id, org=keys.org_id)

    def opened(value: bytes) -> str:
        return keys.operational.open(value, table="recipients", column="name_sealed", row=recipient_id, org=keys.org_id).decode()

    return _Name(sealed, opened)


def _key_view(keys: OrgKeys, row: RecipientRow) -> KeyView:
    return KeyView(
        id=row.id,
        name=_name(keys, row.id).open(row.name_sealed),
        algorithm=row.key.algorithm,
        fingerprint=row.fingerprint,
        state=row.state,
        expires_at=row.expires_at,
        has_expired=row.has_expired,
        created_at=row.created_at,
        activated_at=row.activated_at,
        retired_at=row.retired_at,
    )
