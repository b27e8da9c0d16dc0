"""Who may do what: roles, their permissions, and the purposes for which they may open content."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.core import purposes
from hushwire.core.ids import OrgId
from hushwire.vault.unseal import Why


class Permission(StrEnum):
    """What a path needs."""

    CALLS = "calls"
    CALL_CONTROL = "call-control"
    CALLS_MAKE = "calls-make"  # to have agents' phones ring and call somebody
    SUPERVISION = "supervision"  # to listen to calls while they are made, and to speak in them
    RECORDINGS = "recordings"
    CONTENT = "content"
    ERASURE = "erasure"
    RULES = "rules"
    RULES_CHANGE = "rules-change"
    CHECK = "check"
    DIRECTORY = "directory"
    DIRECTORY_CHANGE = "directory-change"
    MESSAGES = "messages"
    MESSAGES_SEND = "messages-send"
    MESSAGES_CHANGE = "messages-change"  # settings, templates, numbers
    CONTACTS = "contacts"
    CONTACTS_CHANGE = "contacts-change"
    REQUESTS = "requests"
    AUDIT = "audit"
    RECEIPTS = "receipts"
    AGREEMENT = "agreement"
    ORGANISATION = "organisation"
    ORGANISATION_CHANGE = "organisation-change"
    CUSTODY = "custody"
    HOLDS = "holds"
    RETENTION = "retention"
    EVENTS = "events"  # to follow what happens; of each kind only what the other permissions let be read
    WEBHOOKS = "webhooks"
    SELF = "self"  # what concerns the asking key itself
    CASES = "cases"  # breaches, audits, purposes: what only those who answer for the organisation do


OPENING: Final = frozenset(
    {
        Permission.CALLS,
        Permission.RECORDINGS,
        Permission.CONTENT,
        Permission.MESSAGES,
        Permission.SUPERVISION,
        Permission.DIRECTORY,
        Permission.DIRECTORY_CHANGE,
        Permission.CONTACTS,
        Permission.CONTACTS_CHANGE,
        Permission.REQUESTS,
        Permission.HOLDS,
        Permission.ORGANISATION,
        Permission.ORGANISATION_CHANGE,
    }
)
"""Paths of these permissions open personal values: there a purpose is judged and an undertaking needed (`means.needs`)."""

_EVERYTHING: Final = frozenset(Permission)
_READING: Final = frozenset(
    {
        Permission.SELF,
        Permission.EVENTS,
        Permission.CALLS,
        Permission.RECORDINGS,
        Permission.RULES,
        Permission.CHECK,
        Permission.DIRECTORY,
        Permission.CONTACTS,
        Permission.MESSAGES,
    }
)

PERMISSIONS: Final[dict[str, frozenset[Permission]]] = {
    "owner": _EVERYTHING,
    "admin": _EVERYTHING - {Permission.CUSTODY},
    "supervisor": _READING
    | {Permission.CALL_CONTROL, Permission.CALLS_MAKE, Permission.SUPERVISION, Permission.CONTENT}
    | {Permission.CONTACTS_CHANGE, Permission.MESSAGES_SEND},
    "auditor": _READING | {Permission.CONTENT, Permission.AUDIT, Permission.RECEIPTS, Permission.ORGANISATION},
    # A key of this role names no agent, so there is nothing that would be its own.
    "agent": frozenset({Permission.SELF, Permission.CHECK}),
}

PURPOSES: Final[dict[str, frozenset[str]]] = {
    "owner": purposes.OF_PEOPLE,
    "admin": purposes.OF_PEOPLE,
    "supervisor": frozenset({purposes.CUSTOMER_SERVICE, purposes.QUALITY_ASSURANCE, purposes.TRAINING, purposes.DISPUTE_RESOLUTION}),
    "auditor": frozenset({purposes.AUDIT}),
    "agent": frozenset(),
}
"""Purposes that content may be read for, by role; a key's own purpose is allowed to it besides, never one of the system's."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key behind a request. `is_ended`: its organisation was erased, so it may ask about that and nothing else."""

    org_id: OrgId
    key_id: UUID
    role: str
    own_purpose: str
    why: Why | None = None
    """Set where personal values may be opened: for what, once that was judged."""
    is_ended: bool = False

    @property
    def actor(self) -> str:
        """How logs and the ledger name it."""
        return f"api-key:{self.key_id}"

    @property
    def default_purpose(self) -> str:
        """Why it reads where the request does not say: the key's own purpose, for an auditor the audit."""
        return purposes.AUDIT if self.role == "auditor" and self.own_purpose == purposes.CUSTOMER_SERVICE else self.own_purpose

    def may(self, permission: Permission) -> bool:
        """Whether the key's role has the permission."""
        return permission in PERMISSIONS.get(self.role, frozenset())

    def may_read_for(self, purpose: str) -> bool:
        """Whether content may be opened for this purpose."""
        if purpose in purposes.OF_THE_SYSTEM:
            return False
        return purpose == self.default_purpose or purpose in PURPOSES.get(self.role, frozenset())


_OF_EVENTS: Final[dict[str, Permission]] = {
    "call": Permission.CALLS,
    "announcement": Permission.CALLS,
    "message": Permission.MESSAGES,
    "supervision": Permission.SUPERVISION,
    "recording": Permission.RECORDINGS,
    "agent": Permission.DIRECTORY,
    "credential": Permission.DIRECTORY,
    "rules": Permission.RULES,
    "contact": Permission.CONTACTS,
    "document": Permission.REQUESTS,
    "request": Permission.REQUESTS,
    "consent": Permission.REQUESTS,
    "case": Permission.CASES,
    "clock": Permission.RECEIPTS,
    "notice": Permission.RECEIPTS,
}


def permission_of_event(kind: str) -> Permission:
    """What a key needs to be told of an event; of a kind that nobody thought of, what only those who answer for the organisation have."""
    return _OF_EVENTS.get(kind.partition(".")[0], Permission.CASES)
