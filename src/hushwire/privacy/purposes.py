"""Whether somebody may read personal data now: the role's purposes, the customer's instruction, the undertaking. Pure.

What each code means stands here too, for whoever has to choose one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hushwire.core import purposes
from hushwire.privacy.undertakings import Standing

MEANINGS: Final[Mapping[str, str]] = {
    purposes.AUDIT: "checking that the rules are kept",
    purposes.CUSTOMER_SERVICE: "serving the person who called or was called",
    purposes.DATA_SUBJECT_REQUEST: "answering a data subject's request",
    purposes.DISPUTE_RESOLUTION: "settling what was agreed or said",
    purposes.FRAUD_PREVENTION: "finding and stopping fraud and abuse",
    purposes.LEGAL_OBLIGATION: "doing what a law demands",
    purposes.QUALITY_ASSURANCE: "judging and improving the quality of calls",
    purposes.TRAINING: "training agents",
}


class Refusal(StrEnum):
    """Why a reading is refused; codes of the audit log."""

    PURPOSE = "purpose"  # unknown, or not one of the role's
    INSTRUCTION = "instruction"  # the customer does not allow it
    UNDERTAKING = "undertaking"  # not signed, withdrawn, or an outdated version


@dataclass(frozen=True, slots=True)
class Rule:
    """The customer's instruction. `allowed` None: whatever the role allows."""

    version: int
    allowed: frozenset[str] | None


NO_RULE: Final = Rule(0, None)


def refusal(purpose: str, of_the_role: bool, rule: Rule, standing: Standing) -> Refusal | None:
    """Why this reading may not be; None where it may."""
    if not of_the_role:
        return Refusal.PURPOSE
    if rule.allowed is not None and purpose not in rule.allowed:
        return Refusal.INSTRUCTION
    return None if standing.opens else Refusal.UNDERTAKING
