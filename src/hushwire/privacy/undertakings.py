"""Undertakings of confidentiality: the text, its versions, and whether somebody's word stands now. Pure.

The operator publishes a new version as a policy of the kind `undertaking`; its day of effect is the deadline by which whoever reads
content has to have signed it. Until then an earlier signature still stands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

KIND: Final = "undertaking"


@dataclass(frozen=True, slots=True)
class Text:
    """One version. `sign_by`: from then on only this version or a later one counts."""

    version: str
    text: str
    published_at: datetime
    sign_by: datetime

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text."""
        return sha256(self.text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Signature:
    """Somebody's word on one version."""

    version: str
    digest: bytes
    is_withdrawn: bool


class Standing(StrEnum):
    """How somebody stands to the text in force."""

    SIGNED = "signed"
    DUE = "due"  # an earlier version is signed and still stands; the new one has to be signed by its deadline
    UNSIGNED = "unsigned"
    OUTDATED = "outdated"  # an earlier version is signed, and the deadline of a newer one is over
    WITHDRAWN = "withdrawn"

    @property
    def opens(self) -> bool:
        """Whether content may be read."""
        return self in (Standing.SIGNED, Standing.DUE)


_BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)

BUILT_IN: Final = Text(
    "1",
    """Undertaking of confidentiality

I am given access to calls, messages, recordings and other data of people, so that I can do my work. I undertake

- to read such data only for the purpose that I state when I read it, and only as far as that purpose needs;
- to pass nothing of it on, inside or outside the organisation, to anybody who is not entitled to it;
- to keep my credentials to myself, and to report at once if somebody else may have them;
- to make no copies besides those that my work needs, to keep these protected, and to delete them when they are no longer needed;
- to report at once whatever looks like a breach of the protection of personal data.

I know that every reading is noted with its purpose. This undertaking goes on after my access has ended.
""",
    _BEGINNING,
    _BEGINNING,
)
"""What counts until the operator publishes a text of its own."""


def in_order(published: Iterable[Text]) -> list[Text]:
    """The built-in text and those published, oldest first."""
    return [BUILT_IN, *sorted(published, key=lambda text: text.published_at)]


def standing(texts: Sequence[Text], signatures: Iterable[Signature], now: datetime) -> Standing:
    """How a signer stands: `texts` oldest first, at least one."""
    given = list(signatures)
    standing_for = {(one.version, one.digest) for one in given if not one.is_withdrawn}
    signed = [place for place, text in enumerate(texts) if (text.version, text.digest) in standing_for]
    if not signed:
        return Standing.WITHDRAWN if given else Standing.UNSIGNED
    newest = max(signed)
    if newest == len(texts) - 1:
        return Standing.SIGNED
    return Standing.OUTDATED if any(text.sign_by <= now for text in texts[newest + 1 :]) else Standing.DUE
