"""The words that the inventory speaks in, and the classifications that most columns share."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

DatabaseName = Literal["main", "keyring"]


class DataClass(StrEnum):
    """Classes of the agreement's appendix, and `none` for what concerns no person."""

    CUSTOMER = "customer"
    CONTACT = "contact"
    USER = "user"
    CONTENT = "content"
    METADATA = "metadata"
    IDENTITY = "identity"
    DOCUMENT = "document"
    NONE = "none"


class Form(StrEnum):
    """How a value stands there."""

    SEALED = "sealed"  # opens under a key of the keyring, in its own place only
    INDEX = "index"  # keyed blind index: equality and nothing else
    PSEUDONYM = "pseudonym"  # an id that a row elsewhere gives a meaning
    HASH = "hash"  # of a secret that is nowhere stored
    PLAIN = "plain"  # readable: nothing here may name a person, except what says so


class Subject(StrEnum):
    """Whose data it is."""

    CUSTOMER = "customer"  # the organisation and who acts for it
    AGENT = "agent"
    PARTY = "party"  # the person on the far side of a call
    CALL = "agent and party"
    OPERATOR = "operator"
    STRANGER = "whoever sends to us"
    NOBODY = "nobody"


class Purpose(StrEnum):
    """Why it is held."""

    ROUTING = "routing calls"
    AUTHENTICATION = "authentication"
    RECORDING = "call recording"
    CALL_RECORDS = "call records"
    MESSAGES = "text messages"
    BILLING = "billing"
    VOICE_SECURITY = "voice security"
    ACCOUNT = "account management"
    ERASURE_PROOF = "proof of erasure"
    LEGAL_HOLD = "legal retention and claims"
    RETENTION = "storage limitation"
    AUDIT = "audit"
    SECURITY = "key management"
    CONTACTS = "contact lists"
    RIGHTS = "rights of data subjects"
    DO_NOT_CALL = "legal obligation: not to call who asked not to be called"
    DEFENCE = "defence against abuse"
    OPERATION = "operation"


class Source(StrEnum):
    """Where it comes from."""

    CUSTOMER = "customer"
    AGENT_DEVICE = "agent's device"
    CALL = "call"
    CARRIER = "carrier"
    DATA_SUBJECT = "data subject"
    HUSHWIRE = "generated"
    OPERATOR = "operator"
    STRANGER = "what was sent to us"


class Recipient(StrEnum):
    """Who else is given it."""

    NOBODY = "nobody"
    CARRIER = "carrier of the call"
    CUSTOMER = "customer"
    CUSTOMER_AND_CARRIER = "customer, carrier of the call"
    CUSTOMER_AND_SUBJECT = "customer, the data subject"


class Retention(StrEnum):
    """How long it stays when nobody asks for less."""

    AGREEMENT = "life of the agreement"
    NUMBER_DATA = "20 days after the end of the agreement"
    REGISTRATION = "until the registration expires"
    SESSION = "the numbers until the masked session ends, at most 30 days; the rest as long as the proxy number is held"
    RECORDING = "life of the agreement, or the customer's shorter rule"
    MESSAGE = "life of the agreement, or the customer's shorter rule for messages"
    DELIVERY = "until processed"
    HOUR = "an hour"
    DAY = "24 hours"
    PROOF = "life of the agreement and limitation of claims"
    ERASURE = "until the erasure is done"
    HOLD = "until the hold is released, and limitation of claims"
    KEY = "as long as what it opens"
    DEPLOYMENT = "life of the deployment"
    WEEK = "7 days"
    QUARTER = "90 days after it was last so"
    ALARM = "a year, or until what it locks is opened or replaced"
    BACKUP = "until as many newer backups are kept"
    DO_NOT_CALL = "until it is taken off the list, at the latest the end of the agreement: it outlives the erasure of all else"
    BAN = "until the ban ends, at most 400 days"
    OBJECTION = "life of the agreement: an objection outlives the erasure of all else"


class Erasure(StrEnum):
    """What an erasure does to it."""

    DELETE_ROW = "row deleted"
    DESTROY_KEY = "key destroyed: ciphertext is unreadable at once, then swept"
    EMPTY = "emptied"
    KEEP = "kept: names no person"
    KEEP_PSEUDONYM = "kept as a pseudonym: proof that the erasure took place"
    KEEP_OBJECTION = "kept as a keyed index: so that the objection goes on being obeyed"
    KEEP_BILLING = "kept as a pseudonym: billing"
    KEEP_TELLING = "kept as a pseudonym for a week: so that the customer's own programs learn of the erasure"
    WITH_ORGANISATION = "deleted with the organisation"
    RENEW = "private key destroyed when the bucket is renewed"
    LAPSE = "deleted when it ends: no customer's data, found by no search of theirs"
    DELETE_OBJECT = "object deleted and its absence checked"


class Residency(StrEnum):
    """Where it may lie."""

    DEPLOYMENT = "the deployment's jurisdiction"
    ORGANISATION = "the organisation's region"
    NODE = "the node that made it"


class Role(StrEnum):
    """As what the operator holds it."""

    PROCESSOR = "processor"
    CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class Holding:
    """One answer to: what is this, whose, why, from where, for how long, and what erases it."""

    data_class: DataClass
    form: Form
    subject: Subject
    purpose: Purpose
    source: Source
    retention: Retention
    erasure: Erasure
    recipients: Recipient = Recipient.NOBODY
    residency: Residency = Residency.DEPLOYMENT
    role: Role = Role.PROCESSOR

    @property
    def kept_on(self) -> str | None:
        """On what basis a pseudonym of it outlives the person's erasure, until `retention`; None where nothing does."""
        return KEPT_ON.get(self.erasure)

    @property
    def is_personal(self) -> bool:
        """Whether it concerns a person, readable or not."""
        return self.data_class is not DataClass.NONE


KEPT_ON: Final[dict[Erasure, str]] = {
    Erasure.KEEP_PSEUDONYM: "accountability and legal claims (GDPR articles 5(2) and 17(3)(e))",
    Erasure.KEEP_BILLING: "records of account (GDPR article 6(1)(c))",
    Erasure.KEEP_TELLING: "telling those who hold copies of the erasure (GDPR article 19)",
    Erasure.KEEP_OBJECTION: "obeying the person's own objection (GDPR article 21)",
}
"""Why something of an erased person may stay, as a pseudonym or a keyed index."""


def same(holding: Holding, names: str) -> dict[str, Holding]:
    """One classification for several columns, their names parted by blanks."""
    return dict.fromkeys(names.split(), holding)


TECHNICAL: Final = Holding(
    DataClass.NONE, Form.PLAIN, Subject.NOBODY, Purpose.OPERATION, Source.HUSHWIRE, Retention.DEPLOYMENT, Erasure.KEEP
)
BANNED: Final = Holding(
    DataClass.METADATA, Form.PLAIN, Subject.STRANGER, Purpose.DEFENCE, Source.STRANGER, Retention.BAN, Erasure.LAPSE, role=Role.CONTROLLER
)
OPERATOR: Final = Holding(
    DataClass.NONE, Form.PLAIN, Subject.OPERATOR, Purpose.ROUTING, Source.OPERATOR, Retention.DEPLOYMENT, Erasure.KEEP, role=Role.CONTROLLER
)
ORG: Final = Holding(
    DataClass.CUSTOMER,
    Form.PLAIN,
    Subject.CUSTOMER,
    Purpose.ACCOUNT,
    Source.CUSTOMER,
    Retention.AGREEMENT,
    Erasure.WITH_ORGANISATION,
    role=Role.CONTROLLER,
)
RULE: Final = replace(ORG, purpose=Purpose.VOICE_SECURITY, role=Role.PROCESSOR)
AGENT: Final = Holding(DataClass.USER, Form.PLAIN, Subject.AGENT, Purpose.ACCOUNT, Source.CUSTOMER, Retention.AGREEMENT, Erasure.DELETE_ROW)
AGENT_SEALED: Final = replace(AGENT, form=Form.SEALED, purpose=Purpose.ROUTING)
AGENT_INDEX: Final = replace(AGENT, form=Form.INDEX, purpose=Purpose.ROUTING)
CREDENTIAL: Final = replace(AGENT, form=Form.SEALED, purpose=Purpose.AUTHENTICATION, source=Source.HUSHWIRE)
NUMBER: Final = replace(AGENT, form=Form.SEALED, purpose=Purpose.ROUTING, retention=Retention.NUMBER_DATA)
API_KEY: Final = replace(ORG, purpose=Purpose.AUTHENTICATION, erasure=Erasure.DELETE_ROW)
MASKED: Final = replace(NUMBER, subject=Subject.PARTY, retention=Retention.SESSION, recipients=Recipient.CARRIER)
DEVICE: Final = replace(AGENT, purpose=Purpose.ROUTING, source=Source.AGENT_DEVICE, retention=Retention.REGISTRATION)
CALL: Final = Holding(
    DataClass.METADATA,
    Form.PLAIN,
    Subject.CALL,
    Purpose.CALL_RECORDS,
    Source.CALL,
    Retention.AGREEMENT,
    Erasure.KEEP_BILLING,
    Recipient.CUSTOMER,
)
CALL_ID: Final = replace(CALL, form=Form.PSEUDONYM)
FAR_NUMBER: Final = replace(
    CALL,
    form=Form.SEALED,
    subject=Subject.PARTY,
    retention=Retention.NUMBER_DATA,
    erasure=Erasure.DESTROY_KEY,
    recipients=Recipient.CUSTOMER_AND_CARRIER,
)
FAR_INDEX: Final = replace(FAR_NUMBER, form=Form.INDEX, erasure=Erasure.EMPTY, recipients=Recipient.NOBODY)
RECORDING: Final = replace(CALL, purpose=Purpose.RECORDING, retention=Retention.RECORDING, erasure=Erasure.KEEP_PSEUDONYM)
RECORDING_ID: Final = replace(RECORDING, form=Form.PSEUDONYM)
COMMAND: Final = replace(CALL, form=Form.PSEUDONYM, purpose=Purpose.OPERATION, source=Source.CUSTOMER, retention=Retention.DAY)
EVENT: Final = replace(CALL, form=Form.PSEUDONYM, purpose=Purpose.OPERATION, source=Source.HUSHWIRE, retention=Retention.DELIVERY)
FEED: Final = replace(EVENT, retention=Retention.WEEK, recipients=Recipient.CUSTOMER, erasure=Erasure.WITH_ORGANISATION)
LEDGER: Final = Holding(
    DataClass.METADATA,
    Form.PSEUDONYM,
    Subject.CALL,
    Purpose.ERASURE_PROOF,
    Source.HUSHWIRE,
    Retention.PROOF,
    Erasure.KEEP_PSEUDONYM,
    Recipient.CUSTOMER,
)
AUDIT: Final = replace(LEDGER, subject=Subject.CUSTOMER, purpose=Purpose.AUDIT)
ANSWER: Final = replace(ORG, purpose=Purpose.OPERATION, retention=Retention.DAY, erasure=Erasure.DELETE_ROW, role=Role.PROCESSOR)
KEY: Final = Holding(DataClass.NONE, Form.SEALED, Subject.NOBODY, Purpose.SECURITY, Source.HUSHWIRE, Retention.DEPLOYMENT, Erasure.KEEP)
ORG_KEY: Final = replace(KEY, retention=Retention.KEY, erasure=Erasure.WITH_ORGANISATION)
BUCKET: Final = replace(ORG_KEY, form=Form.PLAIN, erasure=Erasure.RENEW)
DATA_KEY: Final = replace(
    CALL,
    form=Form.PSEUDONYM,
    purpose=Purpose.SECURITY,
    source=Source.HUSHWIRE,
    retention=Retention.KEY,
    erasure=Erasure.DELETE_ROW,
    recipients=Recipient.NOBODY,
)
CONTENT: Final = Holding(
    DataClass.CONTENT,
    Form.SEALED,
    Subject.CALL,
    Purpose.RECORDING,
    Source.CALL,
    Retention.RECORDING,
    Erasure.DESTROY_KEY,
    Recipient.CUSTOMER,
    Residency.ORGANISATION,
)
MIGRATIONS: Final = same(TECHNICAL, "name checksum applied_at")
