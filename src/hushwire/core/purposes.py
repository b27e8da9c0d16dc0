"""Purpose codes: why personal data is opened. Each stands in the access log beside who opened it.

People name one with each read of content (`api/access.py` says which role may use which); what the system does by itself has codes
of its own that no person may use.
"""

from typing import Final

AUDIT: Final = "audit"
CUSTOMER_SERVICE: Final = "customer-service"
DATA_SUBJECT_REQUEST: Final = "data-subject-request"
DISPUTE_RESOLUTION: Final = "dispute-resolution"
FRAUD_PREVENTION: Final = "fraud-prevention"
LEGAL_OBLIGATION: Final = "legal-obligation"
QUALITY_ASSURANCE: Final = "quality-assurance"
TRAINING: Final = "training"

KEY_RENEWAL: Final = "key-renewal"
"""Survivors of a bucket are sealed to its successor; nothing of what they open is read."""
STORAGE_INTEGRITY: Final = "storage-integrity"
"""A file whose writer died is measured, or a store verified; no content leaves."""
NOTICE: Final = "notice"
"""A notice is sent to the organisation's designated contact."""

ERASURE: Final = "erasure"
"""What an operation was asked to erase is read, to find what it means."""

VOICEMAIL: Final = "voicemail"
"""An agent hears the messages in its own mailbox, or its own greeting, at a phone of its own; or its callers hear the greeting."""

WEBHOOK: Final = "webhook"
"""What an owner granted to one webhook is read as it is sent there (actor `webhook:<id>`)."""

MESSAGE_DELIVERY: Final = "message-delivery"
"""A text message is opened to be handed to a carrier or to a phone, or its parts to be joined."""

OF_PEOPLE: Final = frozenset(
    {
        AUDIT,
        CUSTOMER_SERVICE,
        DATA_SUBJECT_REQUEST,
        DISPUTE_RESOLUTION,
        FRAUD_PREVENTION,
        LEGAL_OBLIGATION,
        QUALITY_ASSURANCE,
        TRAINING,
    }
)
OF_THE_SYSTEM: Final = frozenset({ERASURE, KEY_RENEWAL, MESSAGE_DELIVERY, NOTICE, STORAGE_INTEGRITY, VOICEMAIL, WEBHOOK})
