"""Customer-held keys: what the keyring holds of them. Private keys of customers are nowhere here."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    DATA_KEY,
    ORG,
    ORG_KEY,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Source,
    same,
)

_RECIPIENT: Final = replace(ORG_KEY, form=Form.PLAIN, source=Source.CUSTOMER)

KEYRING_TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "custody": same(replace(_RECIPIENT, form=Form.PSEUDONYM), "org_id") | same(_RECIPIENT, "mode version changed_at"),
    "recipients": same(replace(_RECIPIENT, form=Form.PSEUDONYM), "id org_id")
    | same(_RECIPIENT, "algorithm public_key state answer_until expires_at created_at activated_at retired_at")
    | same(replace(_RECIPIENT, form=Form.HASH), "fingerprint answer_hash")
    | same(replace(ORG, form=Form.SEALED, purpose=Purpose.SECURITY, erasure=Erasure.DELETE_ROW), "name_sealed"),
    "data_key_copies": same(DATA_KEY, "org_id data_key_id recipient_id")
    | same(replace(DATA_KEY, form=Form.SEALED, recipients=Recipient.CUSTOMER), "sealed"),
}
