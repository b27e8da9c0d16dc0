"""A data subject's request, step by step. Pure: what may follow what, until when it is to be answered.

    received --> identity-check --> verified --> working --> answered
        |              |                |           |
        +--------------+----------------+-----------+--> refused | cancelled

An objection that was answered may be taken back: answered --> withdrawn.
Nothing is given out or changed before `verified`: who asks for somebody's data has to be that somebody, or act for them.
"""

import calendar
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What is asked for."""

    ACCESS = "access"  # a copy of everything
    KNOW = "know"  # what is held, why, from where, and who received it
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"  # keep it, and don't use it
    OBJECT = "object"  # don't record me any more


class State(StrEnum):
    """How a request stands."""

    RECEIVED = "received"
    IDENTITY_CHECK = "identity-check"
    VERIFIED = "verified"
    WORKING = "working"
    ANSWERED = "answered"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"  # an objection that was granted, and holds no more

    @property
    def is_open(self) -> bool:
        """Whether it still waits for an answer."""
        return self not in (State.ANSWERED, State.REFUSED, State.CANCELLED, State.WITHDRAWN)

    @property
    def is_proven(self) -> bool:
        """Whether the identity check is passed: only then something is given out or changed."""
        return self in (State.VERIFIED, State.WORKING, State.ANSWERED)


class Step(StrEnum):
    """What is done with a request; each is evidence."""

    RECEIVED = "received"
    IDENTITY_ASKED = "identity-asked"
    IDENTITY_FAILED = "identity-failed"
    VERIFIED = "verified"
    WORKING = "working"
    ANSWERED = "answered"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"


class Method(StrEnum):
    """How somebody was identified."""

    CALL_BACK = "call-back"  # at the number that the request is about
    CODE = "code"  # sent to the number or address on file, and said back
    DOCUMENT = "document"  # an identity document was looked at, and not kept
    KNOWN_FACTS = "known-facts"  # facts that only they know
    IN_PERSON = "in-person"
    ACCOUNT = "account"  # logged in to the customer's own service
    REPRESENTATIVE = "representative"  # a written authority was looked at


class Refusal(StrEnum):
    """Why a request is not granted."""

    IDENTITY_NOT_PROVEN = "identity-not-proven"
    UNFOUNDED = "manifestly-unfounded"
    EXCESSIVE = "excessive"
    LEGAL_OBLIGATION = "legal-obligation"
    LEGAL_CLAIMS = "legal-claims"
    RIGHTS_OF_OTHERS = "rights-of-others"
    NOTHING_HELD = "nothing-held"


_OPEN: Final = (State.RECEIVED, State.IDENTITY_CHECK, State.VERIFIED, State.WORKING)

TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = {
    (State.RECEIVED, Step.IDENTITY_ASKED): State.IDENTITY_CHECK,
    (State.IDENTITY_CHECK, Step.IDENTITY_ASKED): State.IDENTITY_CHECK,
    (State.RECEIVED, Step.IDENTITY_FAILED): State.IDENTITY_CHECK,
    (State.IDENTITY_CHECK, Step.IDENTITY_FAILED): State.IDENTITY_CHECK,
    (State.RECEIVED, Step.VERIFIED): State.VERIFIED,
    (State.IDENTITY_CHECK, Step.VERIFIED): State.VERIFIED,
    (State.VERIFIED, Step.WORKING): State.WORKING,
    (State.WORKING, Step.ANSWERED): State.ANSWERED,
    (State.ANSWERED, Step.WITHDRAWN): State.WITHDRAWN,
    **{(state, Step.REFUSED): State.REFUSED for state in _OPEN},
    **{(state, Step.CANCELLED): State.CANCELLED for state in _OPEN},
}


def after(state: State, step: Step) -> State | None:
    """The state that the step leads to; None where it may not be taken."""
    return TRANSITIONS.get((state, step))


def answer_due(kind: Kind, received_at: datetime) -> datetime:
    """Until when it is to be answered: within one month of receipt (GDPR art. 12.3); an erasure within 15 days (clause 3.5).

    A month ends on the same day of the next one, or on its last day where there is no such day.
    """
    if kind is Kind.ERASE:
        return received_at + timedelta(days=15)
    year, month = (received_at.year + received_at.month // 12, received_at.month % 12 + 1)
    return received_at.replace(year=year, month=month, day=min(received_at.day, calendar.monthrange(year, month)[1]))
