"""Domain events: what the outbox carries, by id, never with personal values."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.core.values import frozen


class EventKind(StrEnum):
    """Names of domain events; stable, since rows carry them."""

    CALL_STARTED = "call.started"
    CALL_ANSWERED = "call.answered"
    CALL_DIVERTED = "call.diverted"
    FORWARDING_CHANGED = "agent.forwarding-changed"
    CALL_REFUSED = "call.refused"
    CALL_ENDED = "call.ended"
    CALL_ONE_WAY_AUDIO = "call.one_way_audio"
    SUPERVISION_STARTED = "supervision.started"
    SUPERVISION_CHANGED = "supervision.changed"
    SUPERVISION_ENDED = "supervision.ended"
    ANNOUNCEMENT_PLAYED = "announcement.played"
    RECORDING_STARTED = "recording.started"
    RECORDING_CLOSED = "recording.closed"
    RECORDING_STORED = "recording.stored"
    RECORDING_ERASED = "recording.erased"
    CALL_ERASED = "call.erased"
    MESSAGE_ERASED = "message.erased"
    MESSAGE_REFUSED = "message.refused"
    MESSAGE_SUBMITTED = "message.submitted"
    MESSAGE_UNKNOWN = "message.unknown"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_EXPIRED = "message.expired"
    MESSAGE_RECEIVED = "message.received"
    MESSAGE_OPTED_OUT = "message.opted-out"
    MESSAGE_OPTED_IN = "message.opted-in"
    CONTACT_ERASED = "contact.erased"
    DOCUMENT_ERASED = "document.erased"
    CASE_ERASED = "case.erased"
    CONSENT_ERASED = "consent.erased"
    CREDENTIAL_SHARED = "credential.shared"
    FRAUD_ALARM = "fraud.alarm"
    RULES_CHANGED = "rules.changed"
    ACCESS_REQUESTED = "access.requested"
    ACCESS_DECIDED = "access.decided"
    REQUEST_RECEIVED = "request.received"
    CLOCK_STARTED = "clock.started"
    CLOCK_WARNED = "clock.warned"
    CLOCK_OVERDUE = "clock.overdue"
    CLOCK_ELAPSED = "clock.elapsed"
    CLOCK_ENDED = "clock.ended"
    NOTICE_SENT = "notice.sent"
    NOTICE_REFUSED = "notice.refused"
    NOTICE_FAILED = "notice.failed"
    NOTICE_ACKNOWLEDGED = "notice.acknowledged"


@frozen
class DomainEvent:
    """One fact. `subject` is the id of the call, recording or organisation it is about; `fields` holds no personal data."""

    id: UUID
    org_id: OrgId
    kind: EventKind
    subject: UUID
    at: datetime
    fields: dict[str, str | int | bool | None]
