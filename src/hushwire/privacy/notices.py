"""The texts of all notices, in one place. Plain text; nothing in them that the notice does not need, and no data subject's data.

A text is chosen by kind and filled with `values`: ids, times, counts and short words. What is put in stays on its line, so a value can
add neither a line nor a header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from string import Formatter
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from hushwire.privacy.jurisdictions import places
from hushwire.privacy.mail import one_line


class ContactRole(StrEnum):
    """What a designated contact is told of."""

    PRIVACY = "privacy"
    SECURITY = "security"
    BILLING = "billing"


class NoticeKind(StrEnum):
    """Names of notices; stable, since rows carry them."""

    DATA_SUBJECT_REQUEST = "data-subject-request"
    ACCOUNT_DELETION = "account-deletion"
    ACCOUNT_DELETED = "account-deleted"
    SUB_PROCESSOR_CHANGE = "sub-processor-change"
    OBJECTION = "objection"
    OBJECTION_UNRESOLVED = "objection-unresolved"
    CASE = "case"
    BREACH = "breach"
    POLICY = "policy"
    AUDIT_REQUEST = "audit-request"
    TERMINATION = "termination"
    TERMINATION_DONE = "termination-done"
    NUMBER_DATA = "number-data"
    FRAUD_ALARM = "fraud-alarm"
    RULES_PROPOSED = "rules-proposed"
    RULES_OPENED = "rules-opened"
    ACCESS_REQUESTED = "access-requested"
    EMERGENCY_CALL = "emergency-call"
    TEST = "test"


Value = str | int | datetime | UUID
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Text:
    """One notice's words. `role`: whose contacts are told first."""

    role: ContactRole
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Words:
    """A notice ready to be sealed."""

    subject: str
    body: str


_PRIVACY, _SECURITY = ContactRole.PRIVACY, ContactRole.SECURITY
_END: Final = """

Details stand in the console and in the API: {where}.
This notice is also kept there; confirm it there to show that it was read.

Notice {notice}, for {organisation}. It was sent automatically: nobody reads answers to it.
"""

TEXTS: Final[Mapping[NoticeKind, Text]] = {
    NoticeKind.FRAUD_ALARM: Text(
        _SECURITY,
        "An agent's calls look like fraud",
        """Calls of one of your agents were more than its limits allow, or unlike it.

Alarm: {alarm}
Signal: {signal}
What was done: {action}
Credential minted in its place: {minted}
Agent: {agent}
First seen: {first_at}

If it was a false alarm, undo it: what is locked opens, and the agent's counters begin anew
(POST /v1/voice-security/alarms/{alarm}/undo). If the credential was stolen, replace it: that
takes it away for good, and hands out the one that was minted in its place, or a new one
(POST /v1/voice-security/alarms/{alarm}/replace).""",
    ),
    NoticeKind.DATA_SUBJECT_REQUEST: Text(
        _PRIVACY,
        "A data subject's request has reached us",
        """A data subject has sent a request directly to us. You are the controller: the answer is yours to decide.

Request: {request}
Kind: {kind}
Received: {received_at}
We owe you this notice by: {due_at}

We do not answer the request without your instruction.""",
    ),
    NoticeKind.ACCOUNT_DELETION: Text(
        _PRIVACY,
        "An account deletion was applied for",
        """A written application to delete an account has been registered.

Application: {application}
Received: {received_at}
It will be carried out by: {due_at}

It is carried out once the application has been verified.""",
    ),
    NoticeKind.ACCOUNT_DELETED: Text(
        _PRIVACY,
        "An account was deleted",
        """The deletion that was applied for has been carried out. A signed receipt verifies it offline.

Application: {application}
Receipt: {receipt}
Done: {done_at}""",
    ),
    NoticeKind.SUB_PROCESSOR_CHANGE: Text(
        _PRIVACY,
        "A change of our sub-processors",
        """We intend to use a new or changed sub-processor.

Sub-processor: {name}
Purpose: {purpose}
Country: {country}
Announced: {announced_at}
Not used for your data before: {active_from}

You may object in writing until then. Without an objection the change counts as authorised.""",
    ),
    NoticeKind.OBJECTION: Text(
        _PRIVACY,
        "Your objection to a sub-processor is registered",
        """Your objection has been registered. While it stands, your data is not routed to the sub-processor.

Objection: {objection}
Sub-processor: {name}
Received: {received_at}
If no solution is found by then you may terminate the affected services: {due_at}""",
    ),
    NoticeKind.OBJECTION_UNRESOLVED: Text(
        _PRIVACY,
        "No solution was found for your objection",
        """The time to find a solution for your objection is over. Your data is still not routed to the sub-processor.

Objection: {objection}
Sub-processor: {name}
Ended: {due_at}

You may terminate the affected services by written notice.""",
    ),
    NoticeKind.CASE: Text(
        _PRIVACY,
        "A case that concerns you was opened",
        """A regulator's question, a complaint or a dispute concerns your organisation.

Case: {case}
Kind: {kind}
Opened: {opened_at}

We do not answer it without your authorisation, unless the law compels us; then we tell you.""",
    ),
    NoticeKind.BREACH: Text(
        _SECURITY,
        "Notice of a personal data breach",
        """A personal data breach that concerns your organisation was detected.

Breach: {breach}
Nature: {nature}
Registered: {detected_at}
Began: {since}
Ended: {until}
Data subjects concerned, as far as known: {subjects}
Records concerned, as far as known: {records}
Categories of data: {categories}
Likely consequences: {consequences}
Measures taken: {measures}

What is found out later follows without delay. If a regulator or data subjects have to be told, that is for you as the controller to
decide; the time allowed for it may already run.""",
    ),
    NoticeKind.POLICY: Text(
        _PRIVACY,
        "A document of our agreement changes",
        """A new version of a document was published.

Document: {kind}
Version: {version}
SHA-256 of its text: {digest}
In force from: {effective_at}

Please confirm in the console or the API that you have taken note.""",
    ),
    NoticeKind.AUDIT_REQUEST: Text(
        _PRIVACY,
        "An audit request is registered",
        """Your request for an audit has been registered.

Request: {request}
Received: {received_at}
The audit may begin from: {due_at}""",
    ),
    NoticeKind.TERMINATION: Text(
        _PRIVACY,
        "The end of your agreement: what happens to your data",
        """Your agreement ends. Until the dates below you can export your data; then it is erased for good.

In effect: {effective_at}
Recordings, messages and documents are erased by: {content_by}
Data about phone numbers is erased by: {numbers_by}""",
    ),
    NoticeKind.TERMINATION_DONE: Text(
        _PRIVACY,
        "Your data has been erased",
        """What we held for your organisation has been erased. A signed receipt verifies it offline.

Receipt: {receipt}
Done: {done_at}""",
    ),
    NoticeKind.NUMBER_DATA: Text(
        _PRIVACY,
        "Data about a released phone number is erased",
        """A phone number of yours was released. What we hold about it is erased by the date below.

Number, as your console shows it: {number}
Released: {released_at}
Erased by: {due_at}""",
    ),
    NoticeKind.RULES_PROPOSED: Text(
        _SECURITY,
        "A change of who may be called waits for a second person",
        """An administrator wants to open what two must agree to. Somebody else has to approve it, or it lapses.

Proposal: {proposal}
Opens: {opens}
Proposed by: {proposed_by}
Lapses: {expires_at}""",
    ),
    NoticeKind.RULES_OPENED: Text(
        _SECURITY,
        "Guarded countries or classes were opened",
        """Your agents may now call what two must agree to.

Opened: {opens}
By: {by}
Done: {done_at}
Version of the rules: {version}""",
    ),
    NoticeKind.ACCESS_REQUESTED: Text(
        _SECURITY,
        "An agent asks to call another country",
        """An agent was refused a call and asks for access. An administrator decides, and gives it an end.

Request: {request}
Agent: {agent}
Countries: {countries}
Asked: {asked_at}
Lapses: {expires_at}""",
    ),
    NoticeKind.EMERGENCY_CALL: Text(
        _SECURITY,
        "An emergency number was called",
        """An agent of yours called an emergency number. Somebody may need help.

Call: {call}
Agent: {agent}
At: {at}
The call was {outcome}""",
    ),
    NoticeKind.TEST: Text(
        _PRIVACY,
        "A test of the notices to your organisation",
        """This is a test: notices of this kind reach you at this address.

Asked for: {asked_at}""",
    ),
}


def fields_of(kind: NoticeKind) -> frozenset[str]:
    """The values that a notice of this kind takes."""
    return frozenset(name for _, name, _, _ in Formatter().parse(TEXTS[kind].body) if name)


def worded(kind: NoticeKind, values: Values, *, notice: UUID, organisation: str, where: str, jurisdictions: tuple[str, ...]) -> Words:
    """The notice's words. `where`: the path that shows more. Raises ValueError unless exactly the values of its kind are given."""
    text = TEXTS[kind]
    wanted = fields_of(kind)
    if values.keys() != wanted:
        raise ValueError(f"a notice of the kind {kind.value} takes {', '.join(sorted(wanted))}")
    zone = places(jurisdictions)[0].zones[0]
    said = {name: spelled(value, zone) for name, value in values.items()}
    known = {"notice": str(notice), "organisation": one_line(organisation), "where": one_line(where)}
    return Words(text.subject, text.body.format_map(said) + _END.format_map(known))


def spelled(value: Value, zone: ZoneInfo) -> str:
    """A value as it stands in a text: a time in UTC and in the customer's own zone, anything else on one line."""
    if isinstance(value, datetime):
        local = value.astimezone(zone)
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({local:%Y-%m-%d %H:%M} {one_line(local.tzname() or zone.key)})"
    return one_line(str(value), 500) or "-"
