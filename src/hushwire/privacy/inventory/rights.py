"""What contact lists, restrictions, requests of data subjects and export bundles hold, in the main database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    DataClass,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Retention,
    Source,
    Subject,
    same,
)

_CONTACT: Final = Holding(
    DataClass.CONTACT,
    Form.SEALED,
    Subject.PARTY,
    Purpose.CONTACTS,
    Source.CUSTOMER,
    Retention.AGREEMENT,
    Erasure.DESTROY_KEY,
    Recipient.CUSTOMER,
)
_CONTACT_ID: Final = replace(_CONTACT, form=Form.PSEUDONYM, erasure=Erasure.KEEP_PSEUDONYM)
_CONTACT_INDEX: Final = replace(_CONTACT, form=Form.INDEX, erasure=Erasure.EMPTY, recipients=Recipient.NOBODY)
_NUMBER: Final = replace(_CONTACT, retention=Retention.NUMBER_DATA, erasure=Erasure.DELETE_ROW)
_REQUEST: Final = replace(
    _CONTACT,
    purpose=Purpose.RIGHTS,
    source=Source.DATA_SUBJECT,
    retention=Retention.PROOF,
)
_REQUEST_ID: Final = replace(_REQUEST, form=Form.PSEUDONYM, erasure=Erasure.KEEP_PSEUDONYM)
_REQUEST_FACT: Final = replace(_REQUEST_ID, form=Form.PLAIN)
_REQUEST_INDEX: Final = replace(_REQUEST, form=Form.INDEX, erasure=Erasure.EMPTY, recipients=Recipient.NOBODY)
_OBJECTION: Final = replace(_REQUEST_INDEX, retention=Retention.OBJECTION, erasure=Erasure.KEEP_OBJECTION)
_DOCUMENT: Final = replace(_REQUEST_ID, data_class=DataClass.DOCUMENT, source=Source.HUSHWIRE, recipients=Recipient.CUSTOMER_AND_SUBJECT)
_DOCUMENT_FACT: Final = replace(_DOCUMENT, form=Form.PLAIN)
_PART: Final = replace(_DOCUMENT, retention=Retention.WEEK, erasure=Erasure.DELETE_ROW)
_RETIRED: Final = replace(_CONTACT_ID, purpose=Purpose.SECURITY, source=Source.HUSHWIRE, retention=Retention.DELIVERY)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "contacts": same(_CONTACT_ID, "id org_id owner_agent_id sealed_with")
    | same(_CONTACT, "name_sealed notes_sealed picture_sealed")
    | same(_CONTACT_INDEX, "name_index")
    | same(replace(_CONTACT_ID, form=Form.PLAIN), "is_minor created_at updated_at erased_at")
    | same(replace(_CONTACT, form=Form.PLAIN, erasure=Erasure.EMPTY), "jurisdiction"),
    "contact_numbers": same(replace(_NUMBER, form=Form.PSEUDONYM), "id org_id contact_id")
    | same(_NUMBER, "number_sealed")
    | same(replace(_NUMBER, form=Form.INDEX, recipients=Recipient.NOBODY), "remote_index")
    | same(replace(_NUMBER, form=Form.PLAIN), "position label"),
    "retired_keys": same(_RETIRED, "key_id org_id object_id") | same(replace(_RETIRED, form=Form.PLAIN), "kind retired_at"),
    "restricted_subjects": same(_REQUEST_ID, "id org_id object_id request_id placed_by lifted_by")
    | same(_REQUEST_INDEX, "remote_index")
    | same(_REQUEST_FACT, "scope since lifted_at"),
    "unrecorded_numbers": same(replace(_OBJECTION, form=Form.PSEUDONYM), "id org_id source_id")
    | same(_OBJECTION, "remote_index")
    | same(replace(_OBJECTION, form=Form.PLAIN), "source created_at"),
    "privacy_requests": same(_REQUEST_ID, "id org_id contact_id created_by")
    | same(_REQUEST, "subject_sealed asked_sealed")
    | same(_REQUEST_INDEX, "remote_index")
    | same(
        _REQUEST_FACT,
        "kind state channel jurisdiction received_at due_at verified_at closed_at refusal_reason outcome erased_at",
    ),
    "privacy_request_steps": same(_REQUEST_ID, "id org_id request_id actor")
    | same(_REQUEST, "note_sealed")
    | same(_REQUEST_FACT, "at step state method"),
    "disclosures": same(_REQUEST_ID, "id org_id recipient_id object_id")
    | same(_REQUEST_INDEX, "remote_index")
    | same(replace(_REQUEST_FACT, source=Source.HUSHWIRE), "at recipient kind basis"),
    "documents": same(_DOCUMENT, "id org_id request_id object_key node_id")
    | same(replace(_DOCUMENT, form=Form.HASH), "key_fingerprint digest token_hash")
    | same(
        _DOCUMENT_FACT,
        "kind state region planned_at contents done sealed_bytes plain_bytes failure failures failing_since retry_at created_at ready_at"
        " expires_at erased_at",
    ),
    "document_contents": same(_PART, "org_id document_id object_id") | same(replace(_PART, form=Form.PLAIN), "position kind file left_out"),
    "document_files": same(_PART, "org_id document_id")
    | same(replace(_PART, form=Form.SEALED, erasure=Erasure.DESTROY_KEY), "entry_sealed")
    | same(replace(_PART, form=Form.PLAIN), "position sealed_end frames"),
}
