"""Files outside the databases that hold data of a person, or keys that open it."""

from dataclasses import dataclass, replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    BUCKET,
    CALL,
    CONTENT,
    KEY,
    DataClass,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Residency,
    Retention,
    Source,
)


@dataclass(frozen=True, slots=True)
class BlobKind:
    """A kind of file outside the databases.

    `place`: a folder of the data directory, `zone2/` one of the second zone, `store` the object store.
    """

    name: str
    place: str
    holding: Holding


EXPORT: Final = replace(
    CONTENT,
    data_class=DataClass.DOCUMENT,
    purpose=Purpose.RIGHTS,
    source=Source.HUSHWIRE,
    retention=Retention.WEEK,
    recipients=Recipient.CUSTOMER_AND_SUBJECT,
)

KINDS: Final = (
    BlobKind("recording", "store", CONTENT),
    BlobKind("recording in the spool", "spool", replace(CONTENT, retention=Retention.DELIVERY, residency=Residency.NODE)),
    BlobKind("export bundle", "store", EXPORT),
    BlobKind("export bundle being built", "spool", replace(EXPORT, retention=Retention.DELIVERY, residency=Residency.NODE)),
    BlobKind(
        "call under way, or its record waiting for the database; a phone's subscription",
        "journal",
        replace(CALL, form=Form.SEALED, retention=Retention.DELIVERY, erasure=Erasure.DELETE_OBJECT, residency=Residency.NODE),
    ),
    BlobKind("copy of a recording", "zone2/objects", CONTENT),
    BlobKind(
        "backup of the main database",
        "zone2/backups",
        replace(CALL, form=Form.SEALED, retention=Retention.BACKUP, erasure=Erasure.DESTROY_KEY, recipients=Recipient.NOBODY),
    ),
    BlobKind("root key", "keys", replace(KEY, form=Form.PLAIN)),
    BlobKind("bucket secret", "buckets", replace(BUCKET, form=Form.PLAIN)),
    BlobKind("bucket secret in the second zone", "zone2/buckets", replace(BUCKET, form=Form.PLAIN)),
    BlobKind("the keyring's copy in the second zone", "zone2/keyring", replace(KEY, form=Form.SEALED)),
)
