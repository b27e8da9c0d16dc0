"""What the links to carriers of short messages hold: no content and no number, but what carriers call messages."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    CALL,
    OPERATOR,
    TECHNICAL,
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

PART: Final = replace(CALL, purpose=Purpose.OPERATION, erasure=Erasure.DELETE_ROW, recipients=Recipient.NOBODY)
UNNAMED: Final = replace(
    PART, form=Form.PSEUDONYM, subject=Subject.PARTY, source=Source.CARRIER, retention=Retention.DAY, erasure=Erasure.LAPSE
)
"""Receipts that are about no message of ours as far as is known: they go by themselves."""

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "message_centres": same(OPERATOR, "id name kind priority weight prefixes settings created_at updated_at")
    | same(replace(OPERATOR, form=Form.SEALED), "password_sealed"),
    "carrier_secrets": same(OPERATOR, "centre_id") | same(replace(OPERATOR, form=Form.SEALED), "secret_sealed"),
    "carrier_callbacks": same(UNNAMED, "centre_id")
    | same(replace(UNNAMED, form=Form.PLAIN), "taken_at")
    | same(replace(UNNAMED, form=Form.HASH), "request_hash"),
    "message_runs": same(TECHNICAL, "id node_id started_at seen_at"),
    "message_link_states": same(TECHNICAL, "run_id centre_id link reason since sends in_window window_size counts"),
    "message_parts": same(replace(PART, form=Form.PSEUDONYM), "org_id message_id centre_id run_id others")
    | same(PART, "part parts state error attempts due_at expires_at changed_at")
    | same(replace(PART, form=Form.PSEUDONYM, source=Source.CARRIER), "receipt_id")
    | same(replace(PART, form=Form.INDEX, subject=Subject.PARTY, retention=Retention.DELIVERY), "destination_index"),
    "message_receipts": same(UNNAMED, "centre_id receipt_id")
    | same(replace(UNNAMED, form=Form.INDEX), "destination_index")
    | same(replace(UNNAMED, form=Form.PLAIN), "state error at"),
}
