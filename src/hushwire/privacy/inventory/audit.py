"""Signed heads of the audit log, breach cases, undertakings, audits and purposes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import AUDIT, OPERATOR, Erasure, Form, Holding, Purpose, Retention, Source, Subject, same

CASE: Final = replace(AUDIT, subject=Subject.CALL, source=Source.CUSTOMER)
OPERATOR_CASE: Final = replace(OPERATOR, purpose=Purpose.AUDIT, retention=Retention.PROOF)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "audit_heads": same(AUDIT, "org_id key_id")
    | same(replace(AUDIT, form=Form.PLAIN), "seq position at signature")
    | same(replace(AUDIT, form=Form.HASH), "hash previous"),
    "breach_incidents": same(OPERATOR_CASE, "id actor since until registered_at spread_at affected")
    | same(replace(OPERATOR_CASE, form=Form.SEALED), "note_sealed"),
    "breaches": same(CASE, "id org_id incident_id actor registered_by notice_id")
    | same(replace(CASE, form=Form.PLAIN), "since until registered_at state computed_at counts first_at last_at noticed_at")
    | same(replace(CASE, form=Form.SEALED, erasure=Erasure.DESTROY_KEY), "note_sealed"),
    "audits": same(CASE, "id org_id independence_confirmed_by requested_by key_id")
    | same(replace(CASE, form=Form.PLAIN), "basis independence_confirmed_at requested_at begins_at bundled_at")
    | same(replace(CASE, form=Form.HASH), "bundle_digest")
    | same(replace(CASE, form=Form.SEALED, erasure=Erasure.DESTROY_KEY), "details_sealed"),
    "purpose_rules": same(AUDIT, "id org_id actor") | same(replace(AUDIT, form=Form.PLAIN), "version allowed at"),
    "undertakings": same(AUDIT, "id org_id signer signed_by withdrawn_by")
    | same(replace(AUDIT, form=Form.PLAIN), "version signed_at withdrawn_at")
    | same(replace(AUDIT, form=Form.HASH), "digest"),
    "breach_records": same(CASE, "org_id breach_id object_id") | same(replace(CASE, form=Form.PLAIN), "kind accesses first_at last_at"),
}
