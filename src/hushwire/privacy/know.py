"""What a data subject is told that is held of them, and why: from the inventory. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hushwire.privacy import inventory
from hushwire.privacy.inventory import Form, Holding, Subject

TABLES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "call": ("calls",),
    "recording": ("recordings",),
    "contact": ("contacts", "contact_numbers"),
    "case": ("privacy_requests", "privacy_request_steps"),
    "consent": ("consents",),
    "message": ("messages",),
}
"""Where the things lie that the erasure ledger has these names for."""

_FILES_OF: Final[Mapping[str, tuple[str, ...]]] = {"recording": ("recording",)}
_CONCERNED: Final = (Subject.PARTY, Subject.CALL)


def categories(kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Categories of data of the kinds that are held: class, purpose, source, recipients, retention and where it may lie, each once."""
    found: dict[tuple[str, ...], set[str]] = {}
    for kind in kinds:
        for holding in _holdings(kind):
            said = (
                holding.data_class.value,
                holding.purpose.value,
                holding.source.value,
                holding.recipients.value,
                holding.retention.value,
                holding.residency.value,
                holding.role.value,
            )
            found.setdefault(said, set()).add(kind)
    names = ("class", "purpose", "source", "recipients", "retention", "residency", "held_as")
    return [{**dict(zip(names, said, strict=True)), "kinds": sorted(kinds)} for said, kinds in sorted(found.items())]


def retention(kind: str) -> dict[str, str]:
    """Purpose, source and retention rule of one kind of thing, as a manifest says them: those of its content."""
    content = [holding for holding in _holdings(kind) if holding.form is Form.SEALED]
    first = content[-1]
    return {"purpose": first.purpose.value, "source": first.source.value, "retention": first.retention.value}


def _holdings(kind: str) -> list[Holding]:
    """Of everything that says something about the person: blind indexes are not listed, they are how the rest is found."""
    rows = [column.holding for table in TABLES_OF[kind] for column in inventory.personal_columns("main", table)]
    files = [blob.holding for blob in inventory.blob_kinds() if blob.name in _FILES_OF.get(kind, ())]
    return [holding for holding in (*rows, *files) if holding.subject in _CONCERNED and holding.form is not Form.INDEX]
