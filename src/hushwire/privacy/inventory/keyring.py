"""What the keyring holds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    BUCKET,
    DATA_KEY,
    FAR_INDEX,
    KEY,
    LEDGER,
    MIGRATIONS,
    ORG_KEY,
    TECHNICAL,
    Erasure,
    Form,
    Holding,
    Purpose,
    Retention,
    Source,
    same,
)

_PROTECTION: Final = replace(
    FAR_INDEX, purpose=Purpose.RIGHTS, source=Source.HUSHWIRE, retention=Retention.OBJECTION, erasure=Erasure.KEEP_OBJECTION
)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "schema_migrations": MIGRATIONS,
    "root_key": same(replace(KEY, form=Form.PLAIN), "singleton") | same(replace(KEY, form=Form.HASH), "fingerprint"),
    "deployment_keys": same(replace(KEY, form=Form.PLAIN), "purpose") | same(KEY, "sealed"),
    "org_keys": same(replace(ORG_KEY, form=Form.PSEUDONYM), "org_id")
    | same(replace(ORG_KEY, form=Form.PLAIN), "purpose")
    | same(ORG_KEY, "sealed"),
    "buckets": same(replace(BUCKET, form=Form.PSEUDONYM), "id org_id")
    | same(BUCKET, "public_key state erasures created_at destroyed_at survivors moved renewing_since")
    | same(replace(BUCKET, form=Form.SEALED), "private_sealed"),
    "data_keys": same(DATA_KEY, "id org_id bucket_id")
    | same(replace(DATA_KEY, form=Form.PLAIN), "kind custody_version created_at")
    | same(replace(DATA_KEY, form=Form.SEALED), "sealed")
    | same(replace(DATA_KEY, form=Form.HASH), "fingerprint"),
    "tombstones": same(LEDGER, "id org_id object") | same(replace(LEDGER, form=Form.PLAIN), "kind at seq fields written_at"),
    "kept_protections": same(_PROTECTION, "id fields")
    | same(replace(_PROTECTION, form=Form.PSEUDONYM), "org_id")
    | same(replace(_PROTECTION, form=Form.PLAIN), "kind"),
    "protections_kept": same(replace(TECHNICAL, form=Form.PSEUDONYM), "org_id") | same(TECHNICAL, "changes"),
    "signing_keys": same(replace(KEY, form=Form.PLAIN), "id public_key created_at retired_at") | same(KEY, "private_sealed"),
}
