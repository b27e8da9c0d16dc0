"""The one inventory of what is stored: every column of both databases and every kind of file.

Each entry says whose data it is, why it is held, where it comes from, who receives it, how long it stays, what an erasure does to it,
where it may lie, and whether hushwire's operator holds it as processor or as controller. Export, know-report, retention, erasure,
masking and the annexes of the agreement read it; a test compares it with the live schema both ways, and what is unclassified fails.
"""

from collections.abc import Iterator, Mapping
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
    NOBODY = "nobody"


class Purpose(StrEnum):
    """Why it is held."""

    ROUTING = "routing calls"
    AUTHENTICATION = "authentication"
    RECORDING = "call recording"
    CALL_RECORDS = "call records"
    BILLING = "billing"
    VOICE_SECURITY = "voice security"
    ACCOUNT = "account management"
    ERASURE_PROOF = "proof of erasure"
    AUDIT = "audit"
    SECURITY = "key management"
    OPERATION = "operation"


class Source(StrEnum):
    """Where it comes from."""

    CUSTOMER = "customer"
    AGENT_DEVICE = "agent's device"
    CALL = "call"
    CARRIER = "carrier"
    HUSHWIRE = "generated"
    OPERATOR = "operator"


class Recipient(StrEnum):
    """Who else is given it."""

    NOBODY = "nobody"
    CARRIER = "carrier of the call"
    CUSTOMER = "customer"
    CUSTOMER_AND_CARRIER = "customer, carrier of the call"


class Retention(StrEnum):
    """How long it stays when nobody asks for less."""

    AGREEMENT = "life of the agreement"
    NUMBER_DATA = "20 days after the end of the agreement"
    REGISTRATION = "until the registration expires"
    RECORDING = "life of the agreement, or the customer's shorter rule"
    DELIVERY = "until processed"
    DAY = "24 hours"
    PROOF = "life of the agreement and limitation of claims"
    KEY = "as long as what it opens"
    DEPLOYMENT = "life of the deployment"


class Erasure(StrEnum):
    """What an erasure does to it."""

    DELETE_ROW = "row deleted"
    DESTROY_KEY = "key destroyed: ciphertext is unreadable at once, then swept"
    EMPTY = "emptied"
    KEEP = "kept: names no person"
    KEEP_PSEUDONYM = "kept as a pseudonym: proof that the erasure took place"
    KEEP_BILLING = "kept as a pseudonym: billing"
    WITH_ORGANISATION = "deleted with the organisation"
    RENEW = "private key destroyed when the bucket is renewed"
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
    def is_personal(self) -> bool:
        """Whether it concerns a person, readable or not."""
        return self.data_class is not DataClass.NONE


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a live database."""

    database: DatabaseName
    table: str
    name: str
    holding: Holding


@dataclass(frozen=True, slots=True)
class BlobKind:
    """A kind of file outside the databases. `place` is a folder of the data directory, or `store` for the object store."""

    name: str
    place: str
    holding: Holding


def columns() -> tuple[Column, ...]:
    """Every column of both databases."""
    return _COLUMNS


def blob_kinds() -> tuple[BlobKind, ...]:
    """Every kind of file that holds data of a person, or keys that open it."""
    return _BLOBS


def holding(database: DatabaseName, table: str, column: str) -> Holding:
    """The entry of one column. Raises KeyError if there is none."""
    return _BY_NAME[database, table, column]


def personal_columns(database: DatabaseName, table: str) -> tuple[Column, ...]:
    """The columns of a table that concern a person."""
    return tuple(c for c in _COLUMNS if (c.database, c.table) == (database, table) and c.holding.is_personal)


_TECHNICAL: Final = Holding(
    DataClass.NONE, Form.PLAIN, Subject.NOBODY, Purpose.OPERATION, Source.HUSHWIRE, Retention.DEPLOYMENT, Erasure.KEEP
)
_OPERATOR: Final = Holding(
    DataClass.NONE, Form.PLAIN, Subject.OPERATOR, Purpose.ROUTING, Source.OPERATOR, Retention.DEPLOYMENT, Erasure.KEEP, role=Role.CONTROLLER
)
_ORG: Final = Holding(
    DataClass.CUSTOMER,
    Form.PLAIN,
    Subject.CUSTOMER,
    Purpose.ACCOUNT,
    Source.CUSTOMER,
    Retention.AGREEMENT,
    Erasure.WITH_ORGANISATION,
    role=Role.CONTROLLER,
)
_RULE: Final = replace(_ORG, purpose=Purpose.VOICE_SECURITY, role=Role.PROCESSOR)
_AGENT: Final = Holding(
    DataClass.USER, Form.PLAIN, Subject.AGENT, Purpose.ACCOUNT, Source.CUSTOMER, Retention.AGREEMENT, Erasure.DELETE_ROW
)
_AGENT_SEALED: Final = replace(_AGENT, form=Form.SEALED, purpose=Purpose.ROUTING)
_AGENT_INDEX: Final = replace(_AGENT, form=Form.INDEX, purpose=Purpose.ROUTING)
_CREDENTIAL: Final = replace(_AGENT, form=Form.SEALED, purpose=Purpose.AUTHENTICATION, source=Source.HUSHWIRE)
_NUMBER: Final = replace(_AGENT, form=Form.SEALED, purpose=Purpose.ROUTING, retention=Retention.NUMBER_DATA)
_API_KEY: Final = replace(_ORG, purpose=Purpose.AUTHENTICATION, erasure=Erasure.DELETE_ROW)
_DEVICE: Final = replace(_AGENT, purpose=Purpose.ROUTING, source=Source.AGENT_DEVICE, retention=Retention.REGISTRATION)
_CALL: Final = Holding(
    DataClass.METADATA,
    Form.PLAIN,
    Subject.CALL,
    Purpose.CALL_RECORDS,
    Source.CALL,
    Retention.AGREEMENT,
    Erasure.KEEP_BILLING,
    Recipient.CUSTOMER,
)
_CALL_ID: Final = replace(_CALL, form=Form.PSEUDONYM)
_FAR_NUMBER: Final = replace(
    _CALL,
    form=Form.SEALED,
    subject=Subject.PARTY,
    retention=Retention.NUMBER_DATA,
    erasure=Erasure.DESTROY_KEY,
    recipients=Recipient.CUSTOMER_AND_CARRIER,
)
_FAR_INDEX: Final = replace(_FAR_NUMBER, form=Form.INDEX, erasure=Erasure.EMPTY, recipients=Recipient.NOBODY)
_RECORDING: Final = replace(_CALL, purpose=Purpose.RECORDING, retention=Retention.RECORDING, erasure=Erasure.KEEP_PSEUDONYM)
_RECORDING_ID: Final = replace(_RECORDING, form=Form.PSEUDONYM)
_COMMAND: Final = replace(_CALL, form=Form.PSEUDONYM, purpose=Purpose.OPERATION, source=Source.CUSTOMER, retention=Retention.DAY)
_EVENT: Final = replace(_CALL, form=Form.PSEUDONYM, purpose=Purpose.OPERATION, source=Source.HUSHWIRE, retention=Retention.DELIVERY)
_LEDGER: Final = Holding(
    DataClass.METADATA,
    Form.PSEUDONYM,
    Subject.CALL,
    Purpose.ERASURE_PROOF,
    Source.HUSHWIRE,
    Retention.PROOF,
    Erasure.KEEP_PSEUDONYM,
    Recipient.CUSTOMER,
)
_AUDIT: Final = replace(_LEDGER, subject=Subject.CUSTOMER, purpose=Purpose.AUDIT)
_ANSWER: Final = replace(_ORG, purpose=Purpose.OPERATION, retention=Retention.DAY, erasure=Erasure.DELETE_ROW, role=Role.PROCESSOR)
_KEY: Final = Holding(DataClass.NONE, Form.SEALED, Subject.NOBODY, Purpose.SECURITY, Source.HUSHWIRE, Retention.DEPLOYMENT, Erasure.KEEP)
_ORG_KEY: Final = replace(_KEY, retention=Retention.KEY, erasure=Erasure.WITH_ORGANISATION)
_BUCKET: Final = replace(_ORG_KEY, form=Form.PLAIN, erasure=Erasure.RENEW)
_DATA_KEY: Final = replace(
    _CALL,
    form=Form.PSEUDONYM,
    purpose=Purpose.SECURITY,
    source=Source.HUSHWIRE,
    retention=Retention.KEY,
    erasure=Erasure.DELETE_ROW,
    recipients=Recipient.NOBODY,
)


def _same(holding: Holding, names: str) -> dict[str, Holding]:
    return dict.fromkeys(names.split(), holding)


_MIGRATIONS: Final = _same(_TECHNICAL, "name checksum applied_at")

_MAIN: Final[Mapping[str, Mapping[str, Holding]]] = {
    "schema_migrations": _MIGRATIONS,
    "orgs": _same(_ORG, "id slug name home_country residency created_at updated_at")
    | _same(_RULE, "record agent_srtp allow_sdes_in_clear without_recording outside_prefix allowed_countries classes rules_version"),
    "trunks": _same(_OPERATOR, "id name uri srtp username realm addresses media_ports created_at updated_at")
    | _same(replace(_OPERATOR, form=Form.SEALED), "password_sealed"),
    "agents": _same(replace(_AGENT, form=Form.PSEUDONYM), "id org_id")
    | _same(_AGENT, "role suspended created_at updated_at")
    | _same(_AGENT_SEALED, "username_sealed extension_sealed caller_id_sealed")
    | _same(_AGENT_INDEX, "username_index extension_index")
    | _same(_CREDENTIAL, "ha1_sealed")
    | _same(replace(_CREDENTIAL, form=Form.HASH), "password_hash"),
    "numbers": _same(replace(_NUMBER, form=Form.PSEUDONYM), "id org_id agent_id")
    | _same(_NUMBER, "number_sealed")
    | _same(replace(_NUMBER, form=Form.INDEX), "number_index lookup")
    | _same(replace(_NUMBER, form=Form.PLAIN), "created_at"),
    "api_keys": _same(replace(_API_KEY, form=Form.PSEUDONYM), "id org_id")
    | _same(_API_KEY, "name role purpose revoked_at created_at")
    | _same(replace(_API_KEY, form=Form.HASH), "secret_hash"),
    "registrations": _same(replace(_DEVICE, form=Form.PSEUDONYM), "id org_id agent_id node_id")
    | _same(replace(_DEVICE, form=Form.SEALED), "contact_sealed")
    | _same(replace(_DEVICE, form=Form.INDEX), "contact_index")
    | _same(replace(_DEVICE, form=Form.HASH), "call_id_hash")
    | _same(_DEVICE, "cseq expires_at created_at"),
    "nodes": _same(_TECHNICAL, "id started_at seen_at media_instance"),
    "calls": _same(_CALL_ID, "id org_id agent_id peer_agent_id trunk_id node_id bridge_id recording_id sealed_with")
    | _same(_CALL, "direction state started_at answered_at ended_at duration_ms sip_status end_reason agent_leg peer_leg quality")
    | _same(replace(_CALL, purpose=Purpose.VOICE_SECURITY), "verdict verdict_reason country number_class rules_version")
    | _same(_FAR_NUMBER, "remote_sealed")
    | _same(_FAR_INDEX, "remote_index")
    | _same(replace(_FAR_NUMBER, subject=Subject.AGENT), "local_sealed"),
    "recordings": _same(_RECORDING_ID, "id org_id call_id agent_id peer_agent_id node_id spool_name object_key")
    | _same(_RECORDING, "segment state region lawful_basis started_at ended_at duration_ms frames size_bytes erased_at")
    | _same(replace(_RECORDING, form=Form.HASH), "digest key_fingerprint")
    | _same(replace(_FAR_INDEX, purpose=Purpose.RECORDING), "remote_index"),
    "node_commands": _same(_COMMAND, "id org_id node_id call_id")
    | _same(replace(_COMMAND, form=Form.PLAIN), "action created_at done_at outcome"),
    "outbox": _same(_EVENT, "id org_id subject") | _same(replace(_EVENT, form=Form.PLAIN), "xid seq kind at fields"),
    "erasure_ledger": _same(_LEDGER, "id org_id recording_id actor bucket_id")
    | _same(replace(_LEDGER, form=Form.HASH), "commitment commitment_salt key_fingerprint")
    | _same(
        replace(_LEDGER, form=Form.PLAIN),
        "position requested_at reason stopped_at unreadable_at swept_at renewed_at closed_at receipt",
    ),
    "audit_log": _same(_AUDIT, "org_id actor object")
    | _same(replace(_AUDIT, form=Form.PLAIN), "position at action fields")
    | _same(replace(_AUDIT, form=Form.HASH), "previous hash"),
    "access_log": _same(_AUDIT, "id org_id actor object") | _same(replace(_AUDIT, form=Form.PLAIN), "at purpose"),
    "idempotency": _same(replace(_ANSWER, form=Form.PSEUDONYM), "org_id key")
    | _same(replace(_ANSWER, form=Form.HASH), "request_hash")
    | _same(_ANSWER, "status response created_at"),
}

_KEYRING: Final[Mapping[str, Mapping[str, Holding]]] = {
    "schema_migrations": _MIGRATIONS,
    "root_key": _same(replace(_KEY, form=Form.PLAIN), "singleton") | _same(replace(_KEY, form=Form.HASH), "fingerprint"),
    "deployment_keys": _same(replace(_KEY, form=Form.PLAIN), "purpose") | _same(_KEY, "sealed"),
    "org_keys": _same(replace(_ORG_KEY, form=Form.PSEUDONYM), "org_id")
    | _same(replace(_ORG_KEY, form=Form.PLAIN), "purpose")
    | _same(_ORG_KEY, "sealed"),
    "buckets": _same(replace(_BUCKET, form=Form.PSEUDONYM), "id org_id")
    | _same(_BUCKET, "public_key state erasures created_at destroyed_at")
    | _same(replace(_BUCKET, form=Form.SEALED), "private_sealed"),
    "data_keys": _same(_DATA_KEY, "id org_id bucket_id")
    | _same(replace(_DATA_KEY, form=Form.PLAIN), "kind created_at")
    | _same(replace(_DATA_KEY, form=Form.SEALED), "sealed")
    | _same(replace(_DATA_KEY, form=Form.HASH), "fingerprint"),
    "signing_keys": _same(replace(_KEY, form=Form.PLAIN), "id public_key created_at retired_at") | _same(_KEY, "private_sealed"),
}

_CONTENT: Final = Holding(
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

_BLOBS: Final = (
    BlobKind("recording", "store", _CONTENT),
    BlobKind("recording in the spool", "spool", replace(_CONTENT, retention=Retention.DELIVERY, residency=Residency.NODE)),
    BlobKind(
        "call record waiting for the database",
        "journal",
        replace(_CALL, form=Form.SEALED, retention=Retention.DELIVERY, erasure=Erasure.DELETE_OBJECT, residency=Residency.NODE),
    ),
    BlobKind("root key", "keys", replace(_KEY, form=Form.PLAIN)),
    BlobKind("bucket secret", "buckets", replace(_BUCKET, form=Form.PLAIN)),
)


def _all() -> Iterator[Column]:
    schemas: tuple[tuple[DatabaseName, Mapping[str, Mapping[str, Holding]]], ...] = (("main", _MAIN), ("keyring", _KEYRING))
    for database, tables in schemas:
        for table, entries in tables.items():
            for name, entry in entries.items():
                yield Column(database, table, name, entry)


_COLUMNS: Final = tuple(_all())
_BY_NAME: Final = {(column.database, column.table, column.name): column.holding for column in _COLUMNS}
