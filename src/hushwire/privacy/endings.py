"""What a tombstone says of each kind of ending, so that an older main database can be made to follow it. Pure.

    kind                                   object               fields
    recording, call, message, contact,     the erased thing     of its ledger entry: position, actor, reason, commitment, salt,
    document, case, organisation                                key_fingerprint, bucket, cause (its id is the entry's)
    api-key                                the key              state revoked: secret; state changed: secret, role
    agent                                  the agent            state suspended | removed; state active: lifts (tombstones);
                                                                state credentials: digest of the sealed ones that were replaced
    number                                 the number's row     state released
    rules                                  the organisation     version, allowed_countries, classes: all that is left, or is allowed now

A tombstone is committed to the keyring before the main database changes: a crash between the two leaves something ended that was
asked to end, never something alive that a restore would bring back. What widens again (a country added, an agent let in again) is
written after the main database has it, for the same reason.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.ledger import LedgerEntry
from hushwire.store.replay import LostEntry
from hushwire.vault.tombstones import Buried, Fields, Tombstone

ERASED_KINDS: Final = frozenset({"recording", "call", "message", "contact", "document", "case", "consent", "organisation"})
API_KEY: Final = "api-key"
AGENT: Final = "agent"
NUMBER: Final = "number"
RULES: Final = "rules"
_LOST: Final = "restored"


def of_erasure(entry: LedgerEntry) -> Tombstone:
    """The tombstone of an erasure: its ledger entry can be put back from it."""
    fields: Fields = {
        "position": entry.position,
        "actor": entry.actor,
        "reason": entry.reason,
        "commitment": entry.commitment.hex(),
        "salt": entry.commitment_salt.hex(),
        "key_fingerprint": None if entry.key_fingerprint is None else entry.key_fingerprint.hex(),
        "bucket": None if entry.bucket_id is None else str(entry.bucket_id),
        "cause": None if entry.caused_by is None else str(entry.caused_by),
    }
    return Tombstone(entry.id, entry.kind, entry.object_id, entry.requested_at, fields)


def lost_entry(tombstone: Tombstone) -> LostEntry:
    """The ledger entry that a tombstone tells of."""
    said = tombstone.fields
    position, fingerprint, bucket, cause = (said.get(name) for name in ("position", "key_fingerprint", "bucket", "cause"))
    return LostEntry(
        id=tombstone.id,
        kind=tombstone.kind,
        object_id=tombstone.object,
        requested_at=tombstone.at,
        position=position if isinstance(position, int) else None,
        actor=str(said.get("actor") or _LOST),
        reason=str(said.get("reason") or _LOST),
        commitment=bytes.fromhex(str(said.get("commitment") or "")),
        commitment_salt=bytes.fromhex(str(said.get("salt") or "")),
        key_fingerprint=bytes.fromhex(fingerprint) if isinstance(fingerprint, str) else None,
        bucket_id=UUID(bucket) if isinstance(bucket, str) else None,
        caused_by=UUID(cause) if isinstance(cause, str) else None,
    )


def key_revoked(tombstone_id: UUID, key_id: UUID, secret_hash: bytes, at: datetime) -> Tombstone:
    """An API key whose present secret opens nothing any more; under a new secret the key may live again."""
    return Tombstone(tombstone_id, API_KEY, key_id, at, {"state": "revoked", "secret": digest(secret_hash).hex()})


def key_changed(tombstone_id: UUID, key_id: UUID, secret_hash: bytes, role: str, at: datetime) -> Tombstone:
    """An API key that has another role now."""
    return Tombstone(tombstone_id, API_KEY, key_id, at, {"state": "changed", "secret": digest(secret_hash).hex(), "role": role})


def agent_suspended(tombstone_id: UUID, agent_id: UUID, at: datetime) -> Tombstone:
    """An agent that may neither register nor call."""
    return Tombstone(tombstone_id, AGENT, agent_id, at, {"state": "suspended"})


def agent_removed(tombstone_id: UUID, agent_id: UUID, at: datetime) -> Tombstone:
    """An agent that is no more."""
    return Tombstone(tombstone_id, AGENT, agent_id, at, {"state": "removed"})


def agent_let_in(tombstone_id: UUID, agent_id: UUID, suspensions: Iterable[UUID], at: datetime) -> Tombstone:
    """An agent that may call again: exactly these suspensions are over, and no later one."""
    return Tombstone(tombstone_id, AGENT, agent_id, at, {"state": "active", "lifts": [str(each) for each in suspensions]})


def number_released(tombstone_id: UUID, number_id: UUID, at: datetime) -> Tombstone:
    """A phone number that the organisation has no more: what was held about its assignment is gone."""
    return Tombstone(tombstone_id, NUMBER, number_id, at, {"state": "released"})


def credentials_replaced(tombstone_id: UUID, agent_id: UUID, sealed: bytes, at: datetime) -> Tombstone:
    """SIP credentials that open nothing any more: perhaps because they were stolen."""
    return Tombstone(tombstone_id, AGENT, agent_id, at, {"state": "credentials", "digest": digest(sealed).hex()})


def rules_now(tombstone_id: UUID, org_id: OrgId, version: int, countries: Sequence[str], classes: Sequence[str], at: datetime) -> Tombstone:
    """The most that is allowed from this version of an organisation's rules on."""
    fields: Fields = {"version": version, "allowed_countries": sorted(countries), "classes": sorted(classes)}
    return Tombstone(tombstone_id, RULES, org_id, at, fields)


def still_suspended(stones: Iterable[Buried]) -> set[UUID]:
    """The agents with a suspension that no later tombstone lifts."""
    lifted: set[str] = set()
    suspended: dict[UUID, set[str]] = {}
    for stone in (each.tombstone for each in stones):
        if stone.fields.get("state") == "suspended":
            suspended.setdefault(stone.object, set()).add(str(stone.id))
        elif isinstance(lifts := stone.fields.get("lifts"), list):
            lifted |= set(lifts)
    return {agent for agent, reasons in suspended.items() if reasons - lifted}


def newest_rules(stones: Iterable[Buried]) -> Tombstone | None:
    """The rules of the highest version; of one version the last word."""
    found = max(stones, key=lambda each: (_version(each.tombstone), each.seq), default=None)
    return None if found is None else found.tombstone


def digest(value: bytes) -> bytes:
    """What a tombstone keeps of a value that it has to recognise."""
    return hashlib.sha256(value).digest()


def _version(tombstone: Tombstone) -> int:
    version = tombstone.fields.get("version")
    return version if isinstance(version, int) else 0
