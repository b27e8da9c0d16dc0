"""What erasures, legal holds and retention hold in the main database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import LEDGER, RULE, Erasure, Form, Holding, Purpose, Retention, Subject, same

OPERATION: Final = replace(LEDGER, form=Form.PLAIN)
ASKED: Final = replace(LEDGER, form=Form.SEALED, retention=Retention.ERASURE, erasure=Erasure.EMPTY)
HOLD: Final = replace(LEDGER, purpose=Purpose.LEGAL_HOLD, retention=Retention.HOLD)
HELD: Final = replace(HOLD, form=Form.SEALED, erasure=Erasure.DESTROY_KEY)
RULES: Final = replace(RULE, purpose=Purpose.RETENTION)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "erasure_ledger": same(LEDGER, "id org_id object_id operation_id caused_by actor bucket_id")
    | same(replace(LEDGER, form=Form.HASH), "commitment commitment_salt key_fingerprint")
    | same(
        replace(LEDGER, form=Form.PLAIN),
        "position kind requested_at reason stopped_at unreadable_at swept_at renewed_at closed_at evidence receipt",
    ),
    "erasure_operations": same(LEDGER, "id org_id actor follows")
    | same(OPERATION, "scope state requested_at reason planned_at unreadable_at done_at deferred receipt")
    | same(replace(LEDGER, form=Form.HASH), "selector_commitment")
    | same(replace(ASKED, form=Form.PSEUDONYM), "selector")
    | same(ASKED, "selector_sealed note_sealed"),
    "legal_holds": same(HOLD, "id org_id object_id placed_by released_by")
    | same(replace(HOLD, form=Form.PLAIN), "scope since until reason placed_at released_at")
    | same(HELD, "number_sealed authority_sealed note_sealed")
    | same(replace(HELD, form=Form.INDEX, erasure=Erasure.EMPTY), "number_indexes"),
    "deferred_erasures": same(LEDGER, "org_id operation_id hold_id") | same(OPERATION, "deferred_at"),
    "retention_rules": same(replace(RULES, form=Form.PSEUDONYM), "org_id id changed_by")
    | same(replace(RULES, form=Form.PSEUDONYM, subject=Subject.AGENT), "agent_id")
    | same(RULES, "class keep_days changed_at"),
    "retention_state": same(replace(RULES, form=Form.PSEUDONYM), "org_id pending_id confirmed_by")
    | same(RULES, "last_seen_at most_percent pending_reason pending_at pending_count confirmed_at"),
}
