"""Which domain events become rows of the audit log, and what they say there. Pure."""

from dataclasses import dataclass, field

from hushwire.calls.model import EndReason
from hushwire.core.events import DomainEvent, EventKind

SYSTEM: str = "system"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row to append: pseudonyms only."""

    actor: str
    action: str
    subject: str
    fields: dict[str, str | int | bool | None] = field(default_factory=dict)


def audit_entry(event: DomainEvent) -> AuditEntry | None:
    """What the log says of an event, or None: an erasure, for one, is written there by itself, with its receipt."""
    match event.kind:
        case EventKind.CALL_REFUSED | EventKind.ANNOUNCEMENT_PLAYED:
            return _entry(event, "call")
        case EventKind.SUPERVISION_STARTED | EventKind.SUPERVISION_CHANGED | EventKind.SUPERVISION_ENDED:
            return _entry(event, "call")
        case EventKind.CREDENTIAL_SHARED | EventKind.FORWARDING_CHANGED:
            return _entry(event, "agent")
        case EventKind.FRAUD_ALARM:
            return _entry(event, "fraud-alarm")
        case EventKind.REQUEST_RECEIVED:
            return _entry(event, "request")
        case EventKind.ACCESS_REQUESTED | EventKind.ACCESS_DECIDED:
            return _entry(event, "access-request")
        case EventKind.RULES_CHANGED:
            return _entry(event, "organisation")
        case EventKind.RECORDING_STARTED | EventKind.RECORDING_CLOSED | EventKind.RECORDING_STORED:
            return _entry(event, "recording")
        case EventKind.CLOCK_STARTED | EventKind.CLOCK_OVERDUE | EventKind.CLOCK_ELAPSED | EventKind.CLOCK_ENDED:
            return _entry(event, "clock")
        case EventKind.NOTICE_SENT | EventKind.NOTICE_REFUSED | EventKind.NOTICE_FAILED | EventKind.NOTICE_ACKNOWLEDGED:
            return _entry(event, "notice")
        case EventKind.CALL_DIVERTED:
            return None if event.fields.get("refused") is None else _entry(event, "call")
        case EventKind.CLOCK_WARNED:
            return None
        case EventKind.CALL_ENDED:
            return _entry(event, "call") if event.fields.get("reason") == EndReason.RULES_CHANGED else None
        case EventKind.CALL_STARTED | EventKind.CALL_ANSWERED | EventKind.CALL_ONE_WAY_AUDIO:
            return None
        case EventKind.RECORDING_ERASED | EventKind.CALL_ERASED | EventKind.MESSAGE_ERASED:
            return None
        case EventKind.MESSAGE_REFUSED | EventKind.MESSAGE_OPTED_OUT | EventKind.MESSAGE_OPTED_IN:
            return _entry(event, "message")
        case EventKind.MESSAGE_SUBMITTED | EventKind.MESSAGE_UNKNOWN | EventKind.MESSAGE_DELIVERED:
            return None
        case EventKind.MESSAGE_FAILED | EventKind.MESSAGE_EXPIRED | EventKind.MESSAGE_RECEIVED:
            return None
        case EventKind.CONTACT_ERASED | EventKind.DOCUMENT_ERASED | EventKind.CASE_ERASED | EventKind.CONSENT_ERASED:
            return None


def _entry(event: DomainEvent, subject: str) -> AuditEntry:
    fields = {name: value for name, value in event.fields.items() if name != "actor"}
    actor = event.fields.get("actor")
    return AuditEntry(str(actor) if actor else SYSTEM, event.kind.value, f"{subject}:{event.subject}", {**fields, "event": str(event.id)})
