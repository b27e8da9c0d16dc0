"""What is made of recordings so that they can be played from anywhere, drawn and told of."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import CONTENT, RECORDING, RECORDING_ID, Erasure, Holding, Residency, Source, same

DERIVED: Final = replace(CONTENT, source=Source.HUSHWIRE, residency=Residency.DEPLOYMENT)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "derivatives": same(replace(RECORDING_ID, erasure=Erasure.DELETE_ROW), "org_id recording_id")
    | same(replace(RECORDING, erasure=Erasure.DELETE_ROW), "kind made_at")
    | same(DERIVED, "sealed"),
    "voicemail_messages": same(replace(RECORDING_ID, erasure=Erasure.DELETE_ROW), "org_id recording_id agent_id")
    | same(replace(RECORDING, erasure=Erasure.DELETE_ROW), "left_at speech_ms is_empty read_at"),
}
