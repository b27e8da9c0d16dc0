"""What consents to recording and the do-not-call set hold, in the main database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    FAR_INDEX,
    RECORDING,
    RECORDING_ID,
    Erasure,
    Form,
    Holding,
    Purpose,
    Retention,
    Source,
    Subject,
    same,
)

_EVIDENCE: Final = replace(RECORDING, subject=Subject.PARTY, purpose=Purpose.RIGHTS, source=Source.CUSTOMER, retention=Retention.PROOF)
_ID: Final = replace(RECORDING_ID, subject=Subject.PARTY, purpose=Purpose.RIGHTS, source=Source.CUSTOMER, retention=Retention.PROOF)
_LISTED: Final = replace(
    FAR_INDEX,
    purpose=Purpose.DO_NOT_CALL,
    source=Source.CUSTOMER,
    retention=Retention.DO_NOT_CALL,
    erasure=Erasure.KEEP_OBJECTION,
)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "consents": same(_ID, "id org_id call_id recording_id noted_by sealed_with withdrawn_by")
    | same(replace(_EVIDENCE, form=Form.HASH), "announcement_digest")
    | same(_EVIDENCE, "about how text_version jurisdiction given_at noted_at withdrawn_at erased_at")
    | same(replace(_EVIDENCE, form=Form.SEALED, erasure=Erasure.DESTROY_KEY), "note_sealed")
    | same(replace(FAR_INDEX, purpose=Purpose.RIGHTS), "remote_index"),
    "do_not_call": same(_LISTED, "number_index")
    | same(replace(_LISTED, form=Form.PSEUDONYM), "org_id added_by")
    | same(replace(_LISTED, form=Form.PLAIN), "added_at"),
}
