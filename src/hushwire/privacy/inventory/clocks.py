"""Clocks, notices and the organisation's profile: what runs for whom, who is told, what is agreed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    LEDGER,
    ORG,
    DataClass,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Retention,
    Role,
    Source,
    Subject,
    same,
)

_CLOCK: Final = replace(LEDGER, subject=Subject.CUSTOMER, purpose=Purpose.AUDIT)

# Whom the organisation has named to be told: people at the customer, held for the operator's own duty to give notice.
_CONTACT: Final = Holding(
    DataClass.CUSTOMER,
    Form.SEALED,
    Subject.CUSTOMER,
    Purpose.ACCOUNT,
    Source.CUSTOMER,
    Retention.AGREEMENT,
    Erasure.DESTROY_KEY,
    role=Role.CONTROLLER,
)
_CONTACT_PLAIN: Final = replace(_CONTACT, form=Form.PLAIN, erasure=Erasure.WITH_ORGANISATION)
_CONTACT_ID: Final = replace(_CONTACT_PLAIN, form=Form.PSEUDONYM)
_RECORD: Final = replace(_CONTACT, purpose=Purpose.BILLING)
_NOTICE: Final = replace(_CONTACT, source=Source.HUSHWIRE, recipients=Recipient.CUSTOMER, retention=Retention.PROOF)
_NOTICE_PLAIN: Final = replace(_NOTICE, form=Form.PLAIN, erasure=Erasure.WITH_ORGANISATION)
_NOTICE_ID: Final = replace(_NOTICE_PLAIN, form=Form.PSEUDONYM)
# An agent's own application to have the account deleted: gone with the deletion; that it was carried out stays as proof.
_DELETION: Final = replace(_CONTACT, data_class=DataClass.USER, subject=Subject.AGENT, role=Role.PROCESSOR)
_DELETION_PLAIN: Final = replace(LEDGER, form=Form.PLAIN, data_class=DataClass.USER, subject=Subject.AGENT)
_DELETION_ID: Final = replace(_DELETION_PLAIN, form=Form.PSEUDONYM)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "clocks": same(_CLOCK, "id org_id subject_id")
    | same(
        replace(_CLOCK, form=Form.PLAIN),
        "kind subject_kind jurisdictions started_at due_at warn_at act_at warned alarmed_at look_at ended_at outcome evidence",
    ),
    "org_contacts": same(_CONTACT_ID, "id org_id designated_by")
    | same(_CONTACT_PLAIN, "role position designated_at removed_at forgotten_at")
    | same(_CONTACT, "email_sealed")
    | same(replace(_CONTACT, form=Form.INDEX, erasure=Erasure.EMPTY), "email_index"),
    "org_records": same(_CONTACT_ID, "id org_id recorded_by")
    | same(replace(ORG, purpose=Purpose.BILLING), "kind version recorded_at replaced_at forgotten_at")
    | same(_RECORD, "body_sealed"),
    "notices": same(_NOTICE_ID, "id org_id subject_id clock_id contact_id tried acknowledged_by")
    | same(
        _NOTICE_PLAIN,
        "kind subject_kind occasion state attempts next_at created_at sent_at acknowledged_at evidence",
    )
    | same(_NOTICE, "content_sealed recipient_sealed"),
    "account_deletions": same(_DELETION_ID, "id org_id agent_id created_by verified_by operation_id decided_by")
    | same(_DELETION_PLAIN, "state received_at verified_at method decided_at refusal done_at")
    | same(_DELETION, "application_sealed"),
}
