"""What is made of recordings so that they can be played from anywhere, drawn and told of."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    CONTENT,
    RECORDING,
    RECORDING_ID,
    Erasure,
    Form,
    Holding,
    Recipient,
    Residency,
    Retention,
    Source,
    same,
)

DERIVED: Final = replace(CONTENT, source=Source.HUSHWIRE, residency=Residency.DEPLOYMENT)
READING: Final = replace(RECORDING, erasure=Erasure.DELETE_ROW, retention=Retention.DELIVERY, recipients=Recipient.NOBODY)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "derivatives": same(replace(RECORDING_ID, erasure=Erasure.DELETE_ROW), "org_id recording_id")
    | same(replace(RECORDING, erasure=Erasure.DELETE_ROW), "kind made_at")
    | same(DERIVED, "sealed"),
    "voicemail_messages": same(replace(RECORDING_ID, erasure=Erasure.DELETE_ROW), "org_id recording_id agent_id")
    | same(replace(RECORDING, erasure=Erasure.DELETE_ROW), "left_at speech_ms is_empty read_at erase_asked_at"),
    "voicemail_greetings": same(replace(RECORDING_ID, erasure=Erasure.DELETE_ROW), "org_id recording_id agent_id")
    | same(replace(RECORDING, erasure=Erasure.DELETE_ROW), "made_at state"),
    "voicemail_readings": same(replace(READING, form=Form.PSEUDONYM), "id org_id agent_id recording_id")
    | same(READING, "codec public_key asked_at answered_at refusal for_caller")
    | same(replace(DERIVED, erasure=Erasure.DELETE_ROW, retention=Retention.DELIVERY), "sealed"),
}
