"""Codes that say why something was erased or held: what stands in ledgers and logs for good is never free text."""

from typing import Final, Literal

ErasureReason = Literal[
    "customer-request",
    "data-subject-request",
    "consent-withdrawn",
    "purpose-fulfilled",
    "unlawful-processing",
    "recorded-by-mistake",
    "termination",
    "legal-obligation",
]
HoldReason = Literal["litigation", "regulatory-investigation", "law-enforcement", "tax", "internal-investigation", "contract-dispute"]

RETENTION: Final = "retention"
