"""The audit log: a hash chain per organisation, over pseudonyms only.

Each row's hash covers the row and the hash before it (`audit_chain`). Heads are signed each hour (`audit_heads`), and receipts and
exports carry heads to people outside: so neither a cut nor a rewritten chain goes unnoticed. `append` is how rows are made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.privacy import audit_heads, receipts
from hushwire.privacy.audit_chain import Anchor, Chain, ChainResult, Fault, Head, Kept, beginning, failed, link
from hushwire.privacy.audit_heads import SignedHead
from hushwire.privacy.canonical import canonical
from hushwire.privacy.signed import key_set
from hushwire.store import audit as table
from hushwire.store.audit import AuditRow
from hushwire.store.database import Connection, Database

Fields = Mapping[str, str | int | bool | None]


class Action(StrEnum):
    """What is worth a row, besides domain events (`core/events.py`). Names are stable: rows carry them for good."""

    API_KEY_MADE = "api-key.made"
    API_KEY_CHANGED = "api-key.changed"  # fields: role, and role_before where it changed
    API_KEY_REVOKED = "api-key.revoked"
    AGENT_ADDED = "agent.added"
    AGENT_CHANGED = "agent.changed"
    AGENT_ROLE_CHANGED = "agent.role-changed"  # fields: role, role_before
    AGENT_SUSPENDED = "agent.suspended"
    AGENT_RESUMED = "agent.resumed"
    AGENT_REMOVED = "agent.removed"
    DEVICE_ADDED = "device.added"  # fields: agent, ttl_s where it is short-lived
    DEVICE_LINKED = "device.linked"  # a one-time link to its account was made; fields: agent, ttl_s
    DEVICE_HANDED_OUT = "device.handed-out"  # and opened: the device has a new password; fields: agent
    MASKING_BEGUN = "masking.begun"  # fields: agent, number (its id), expires_in_s
    MASKING_ENDED = "masking.ended"
    DEVICE_REVOKED = "device.revoked"  # fields: agent
    GROUP_MADE = "group.made"  # fields: members
    GROUP_CHANGED = "group.changed"  # fields: members
    GROUP_REMOVED = "group.removed"
    TEAM_MADE = "team.made"  # fields: members
    TEAM_CHANGED = "team.changed"  # fields: members
    TEAM_REMOVED = "team.removed"
    LEVEL_CHANGED = "rules.level-changed"  # of a team or an agent; fields: countries, classes (counts, or null for as above)
    LEVEL_REMOVED = "rules.level-removed"  # it narrows nothing any more
    EXCEPTION_MADE = "rules.exception-made"  # fields: rule, ends_at
    EXCEPTION_REMOVED = "rules.exception-removed"
    NUMBER_ASSIGNED = "number.assigned"
    NUMBER_MOVED = "number.moved"
    NUMBER_RELEASED = "number.released"
    ORGANISATION_MADE = "organisation.made"
    ORGANISATION_CHANGED = "organisation.changed"
    PROVISIONING_APPLIED = "provisioning.applied"
    RULES_CHANGED = "rules.changed"
    LIMITS_CHANGED = "limits.changed"  # fields: limits, their levels and names
    RISK_PACK_FORGOTTEN = "risk-pack.forgotten"  # older versions hold again, by the operator's command; fields: version
    FRAUD_LOCKED = "fraud.locked"  # by hand, with another credential in its place; fields: agent, credential, minted
    FRAUD_UNDONE = "fraud.undone"  # fields: agent, signal, alarms (a count)
    RULES_PROPOSED = "rules.proposed"  # guarded: it waits for a second person; fields: countries, classes, released
    RULES_REJECTED = "rules.rejected"
    RULES_SIMULATED = "rules.simulated"  # other rules were tried on calls of the past; fields: days, numbers, purpose
    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"
    RETENTION_CHANGED = "retention.changed"
    CUSTODY_CHANGED = "custody.changed"
    CONTENT_REFUSED = "content.refused"  # fields: reason ("purpose", "undertaking", "restricted", ...)
    AGENT_RECTIFIED = "agent.rectified"  # fields: names of what is different
    CONTACT_CREATED = "contact.created"
    CONTACT_CHANGED = "contact.changed"  # fields: names of what is different
    CONTACT_RECTIFIED = "contact.rectified"
    RESTRICTION_PLACED = "restriction.placed"
    RESTRICTION_LIFTED = "restriction.lifted"
    REQUEST_IDENTITY_ASKED = "request.identity-asked"
    REQUEST_IDENTITY_FAILED = "request.identity-failed"
    REQUEST_VERIFIED = "request.verified"
    REQUEST_WORKING = "request.working"
    REQUEST_ANSWERED = "request.answered"
    REQUEST_REFUSED = "request.refused"
    REQUEST_CANCELLED = "request.cancelled"
    REQUEST_WITHDRAWN = "request.withdrawn"
    EXPORT_LINKED = "export.linked"
    EXPORT_DELIVERED = "export.delivered"
    EXPORT_FAILED = "export.failed"
    RESTORED = "restored"  # a backup was brought back; fields: backup time, what was replayed
    PURPOSES_CHANGED = "purposes.changed"
    UNDERTAKING_SIGNED = "undertaking.signed"
    UNDERTAKING_WITHDRAWN = "undertaking.withdrawn"
    BREACH_REGISTERED = "breach.registered"
    BREACH_COMPUTED = "breach.computed"
    BREACH_NOTICED = "breach.noticed"
    AUDIT_REQUESTED = "audit.requested"
    AUDIT_ACCESS_GIVEN = "audit.access-given"
    AUDIT_BUNDLED = "audit.bundled"
    DO_NOT_CALL_CHANGED = "do-not-call.changed"  # fields: added or removed, a count
    WEBHOOK_MADE = "webhook.made"  # fields: kinds, grants, state
    WEBHOOK_CHANGED = "webhook.changed"  # fields: kinds, grants, state
    WEBHOOK_SECRET_RENEWED = "webhook.secret-renewed"
    WEBHOOK_REMOVED = "webhook.removed"
    CONSENT_NOTED = "consent.noted"
    CONSENT_WITHDRAWN = "consent.withdrawn"


async def append(
    connection: Connection, org_id: OrgId, at: datetime, actor: str, action: str, subject: str, fields: Fields | None = None
) -> Head:
    """Adds a row within the caller's transaction and returns the new head.

    `actor` and `subject` are pseudonyms (`api-key:<id>`, `recording:<id>`); `fields` hold no personal value. `action` is an `Action`
    or the name of a domain event. Other appends of the organisation wait until the transaction ends, so append last.
    """
    found = await table.lock_head(connection, org_id)
    position, previous = (found[0] + 1, found[1]) if found else (1, beginning(org_id))
    unlinked = AuditRow(org_id, position, at.astimezone(UTC), actor, str(action), subject, dict(fields or {}), previous, b"")
    digest = link(unlinked)
    await table.insert(connection, AuditRow(org_id, position, at, actor, str(action), subject, dict(fields or {}), previous, digest))
    return Head(position, digest)


async def verify(
    db: Database, org_id: OrgId, *, known: Head | None = None, keys: bytes | None = None, kept: Iterable[Kept] = ()
) -> ChainResult:
    """Checks an organisation's whole chain against its signed heads, its receipts, and what is `known` or was `kept` elsewhere.

    With `keys` (the published key set) the signatures of heads and receipts are checked too, so that forging them doesn't help.
    """
    async with db.organisation(org_id) as connection:
        heads = await signed_heads(connection)
        outside = [one for one in kept if one.org_id == org_id]
        lost = lost_by_restores(outside, await table.restores(connection))
        given = [(known.position, Anchor(known.hash, "the head given"))] if known is not None else []
        given += [(one.position, one.anchor) for one in outside if one not in lost]
        anchors = vouched(org_id, heads, await table.receipts(connection), given, keys)
        if isinstance(anchors, ChainResult):
            return anchors
        chain = Chain(org_id, anchors)
        async for row in table.rows(connection):
            chain.feed(row)
    signed_at = heads[-1].at if heads else None
    return replace(chain.finish(), heads=len(heads), signed_at=signed_at, notes=(*_notes(heads), *lost.values()))


def lost_by_restores(kept: Sequence[Kept], restores: Sequence[AuditRow]) -> dict[Kept, str]:
    """Heads of rows that a restore lost, and what to say of them: they were true, and the chain goes on from before them.

    Only heads from the time between a backup and its restore, at or after the row that tells of it: what stands before that row came
    back with the backup, and every head of it has to fit.
    """
    found: dict[Kept, str] = {}
    for row in restores:
        made_at = datetime.fromisoformat(str(row.fields["backup_at"]))
        for one in kept:
            if one.position >= row.position and made_at < one.at <= row.at:
                found[one] = (
                    f"{one.anchor.source} names row {one.position} as it was before row {row.position}: restored from backup "
                    f"{row.fields.get('backup_id')} of {made_at:%Y-%m-%d %H:%M:%S} UTC"
                )
    return found


async def verify_all(db: Database, *, keys: bytes | None = None, kept: Sequence[Kept] = ()) -> list[ChainResult]:
    """`verify` for every organisation."""
    async with db.transaction() as connection:
        found: list[UUID] = [row[0] for row in await connection.fetch("SELECT org_ids()")]
    gone = {OrgId(one.org_id): one for one in kept if one.org_id not in found}
    return [await verify(db, OrgId(org_id), keys=keys, kept=kept) for org_id in found] + [
        failed(org_id, Fault.TRUNCATED, 1, f"the organisation is gone, and {one.anchor.source} names its log")
        for org_id, one in gone.items()
    ]


async def signed_heads(connection: Connection) -> list[SignedHead]:
    """Every signed head of the organisation, oldest first."""
    return [SignedHead(**row) for row in await table.heads(connection)]


def vouched(
    org_id: OrgId,
    heads: Sequence[SignedHead],
    named_by: Iterable[Mapping[str, Any]],
    kept: Iterable[tuple[int, Anchor]],
    keys: bytes | None,
    *,
    from_first: bool = True,
) -> dict[int, Anchor] | ChainResult:
    """What vouches for an organisation's chain, by position; a verdict at once where it is forged or contradicts itself.

    `named_by`: receipts. `kept`: heads from outside, verified by whoever gives them.
    """
    wrong = audit_heads.fault(org_id, heads, None if keys is None else key_set(keys), from_first=from_first)
    if wrong is not None:
        return failed(org_id, Fault.HEAD_REMOVED if wrong.is_missing else Fault.HEAD_FORGED, wrong.seq, wrong.explanation)
    found = [(head.position, Anchor(head.hash, f"signed head {head.seq}")) for head in heads]
    for receipt in named_by:
        position, source = int(receipt["audit_position"]), f"receipt {receipt['receipt_id']}"
        if keys is not None and not receipts.verify(canonical(receipt), keys).is_valid:
            return failed(org_id, Fault.RECEIPT_FORGED, position, f"{source} was altered")
        found.append((position, Anchor(bytes.fromhex(receipt["audit_head"]), source)))
    anchors = {0: Anchor(beginning(org_id), "the chain's beginning")}
    for position, anchor in (*found, *kept):
        other = anchors.setdefault(position, anchor)
        if other.hash != anchor.hash:
            return failed(org_id, Fault.CONTRADICTION, position, f"{anchor.source} and {other.source} contradict each other")
    return anchors


def _notes(heads: Sequence[SignedHead]) -> tuple[str, ...]:
    silence = audit_heads.longest_silence(heads)
    return (f"no head was signed for {silence.total_seconds() / 3600:.1f} hours",) if silence > 3 * audit_heads.EACH else ()


__all__ = [
    "Action",
    "Anchor",
    "Chain",
    "ChainResult",
    "Fault",
    "Fields",
    "Head",
    "Kept",
    "append",
    "link",
    "signed_heads",
    "verify",
    "verify_all",
    "vouched",
]
