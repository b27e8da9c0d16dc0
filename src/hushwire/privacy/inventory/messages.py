"""What text messages hold, in the main database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    CALL,
    CALL_ID,
    FAR_INDEX,
    FAR_NUMBER,
    NUMBER,
    ORG,
    RULE,
    DataClass,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Retention,
    Subject,
    same,
)

_MESSAGE: Final = replace(CALL, purpose=Purpose.MESSAGES, retention=Retention.MESSAGE)
_ID: Final = replace(CALL_ID, purpose=Purpose.MESSAGES, retention=Retention.MESSAGE)
_FAR_NUMBER: Final = replace(FAR_NUMBER, purpose=Purpose.MESSAGES, retention=Retention.MESSAGE)
_FAR_INDEX: Final = replace(FAR_INDEX, purpose=Purpose.MESSAGES, retention=Retention.MESSAGE)
_BODY: Final = replace(
    _FAR_NUMBER, data_class=DataClass.CONTENT, subject=Subject.CALL, recipients=Recipient.CUSTOMER_AND_CARRIER, erasure=Erasure.DESTROY_KEY
)
_TEMPLATE: Final = replace(ORG, purpose=Purpose.MESSAGES)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "messages": same(_ID, "id org_id agent_id peer_agent_id number_id batch_id centre_id sealed_with sent_by")
    | same(_MESSAGE, "direction channel state created_at submitted_at ended_at read_at encoding parts error erased_at")
    | same(_MESSAGE, "is_marketing is_incomplete is_binary keyword")
    | same(replace(_MESSAGE, purpose=Purpose.VOICE_SECURITY), "country number_class rules_version")
    | same(_FAR_NUMBER, "remote_sealed")
    | same(replace(_FAR_NUMBER, subject=Subject.AGENT), "local_sealed")
    | same(_BODY, "body_sealed")
    | same(_FAR_INDEX, "remote_index assembly_index")
    | same(replace(_ID, erasure=Erasure.EMPTY), "thread_id")
    | same(replace(_FAR_INDEX, form=Form.HASH), "received_as"),
    "message_inbound_parts": same(replace(_ID, retention=Retention.DELIVERY, erasure=Erasure.DELETE_ROW), "org_id message_id")
    | same(replace(_MESSAGE, retention=Retention.DELIVERY, erasure=Erasure.DELETE_ROW), "position total received_at")
    | same(replace(_BODY, retention=Retention.DELIVERY), "payload_sealed")
    | same(replace(_FAR_INDEX, retention=Retention.DELIVERY, erasure=Erasure.DELETE_ROW), "payload_index"),
    "text_deliveries": same(replace(_ID, retention=Retention.WEEK, erasure=Erasure.DELETE_ROW), "org_id message_id agent_id")
    | same(replace(_MESSAGE, retention=Retention.WEEK, erasure=Erasure.DELETE_ROW), "attempts due_at claimed_until expires_at"),
    "text_readings": same(replace(_ID, retention=Retention.DELIVERY, erasure=Erasure.DELETE_ROW), "id org_id agent_id message_ids")
    | same(replace(_MESSAGE, retention=Retention.DELIVERY, erasure=Erasure.DELETE_ROW), "public_key asked_at answered_at")
    | same(replace(_BODY, retention=Retention.DELIVERY, erasure=Erasure.DELETE_ROW), "sealed"),
    "message_batches": same(replace(_TEMPLATE, form=Form.PSEUDONYM), "id org_id created_by")
    | same(_TEMPLATE, "created_at accepted refused"),
    "message_templates": same(_TEMPLATE, "id org_id name created_at updated_at is_marketing")
    | same(replace(_TEMPLATE, form=Form.SEALED, erasure=Erasure.DELETE_ROW), "body_sealed"),
    "message_numbers": same(replace(NUMBER, form=Form.PSEUDONYM), "org_id number_id agent_id group_id")
    | same(replace(NUMBER, form=Form.PLAIN), "target is_pooled is_marketing updated_at"),
    "message_settings": same(
        RULE, "org_id senders alphanumeric languages folds needs_consent prices currency most_per_day answers_per_day updated_at"
    ),
    "message_days": same(RULE, "org_id day parts answers"),
    "message_answers": same(replace(NUMBER, form=Form.PSEUDONYM), "org_id number_id")
    | same(replace(NUMBER, form=Form.PLAIN), "day answers"),
}
