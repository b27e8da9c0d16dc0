"""What the agreement's own records hold: sub-processors, objections, cases, policies, instructions, safeguards, terminations."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import LEDGER, OPERATOR, ORG, Erasure, Form, Holding, Purpose, Retention, Subject, same

_LIST: Final = replace(OPERATOR, purpose=Purpose.AUDIT)
_RECORD: Final = replace(LEDGER, subject=Subject.CUSTOMER, purpose=Purpose.ACCOUNT, erasure=Erasure.WITH_ORGANISATION)
_PLAIN: Final = replace(_RECORD, form=Form.PLAIN)
_TEXT: Final = replace(_RECORD, form=Form.SEALED, erasure=Erasure.DESTROY_KEY, retention=Retention.AGREEMENT)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "subprocessors": same(_LIST, "id name purpose country categories safeguard announced_at withdrawn_at"),
    "subprocessor_lists": same(_LIST, "version at list") | same(replace(_LIST, form=Form.HASH), "digest"),
    "subprocessor_standings": same(_RECORD, "org_id subprocessor_id") | same(_PLAIN, "notified_at active_from activated_at"),
    "objections": same(_RECORD, "id org_id subprocessor_id actor")
    | same(_PLAIN, "objected_at state decided_at")
    | same(_TEXT, "grounds_sealed"),
    "cases": same(_RECORD, "id org_id actor released_by")
    | same(_PLAIN, "kind state opened_at released_at answered_at closed_at outcome")
    | same(_TEXT, "text_sealed compulsion_sealed answer_sealed"),
    "policies": same(_LIST, "id kind version text published_at effective_at") | same(replace(_LIST, form=Form.HASH), "digest"),
    "policy_notices": same(_RECORD, "org_id policy_id acknowledged_by") | same(_PLAIN, "notified_at acknowledged_at"),
    "instructions": same(_RECORD, "id org_id actor") | same(_PLAIN, "version at") | same(_TEXT, "text_sealed"),
    "safeguards": same(_RECORD, "id org_id actor")
    | same(_PLAIN, "country kind filed_at expires_at withdrawn_at")
    | same(replace(_RECORD, form=Form.HASH), "document_digest"),
    "terminations": same(replace(ORG, form=Form.PSEUDONYM), "org_id id actor")
    | same(ORG, "requested_at effective_at suspended_at content_erased_at erased_at cancelled_at"),
}
