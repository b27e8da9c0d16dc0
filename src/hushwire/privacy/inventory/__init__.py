"""The one inventory of what is stored: every column of both databases and every kind of file.

Each entry says whose data it is, why it is held, where it comes from, who receives it, how long it stays, what an erasure does to it,
where it may lie, and whether hushwire's operator holds it as processor or as controller. Export, know-report, retention, erasure,
masking and the annexes of the agreement read it; a test compares it with the live schema both ways, and what is unclassified fails.

Each area of the product classifies its own tables in a module of its own here; this page puts them together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hushwire.privacy.inventory import (
    agreement,
    audit,
    backup,
    carriers,
    clocks,
    consent,
    custody,
    erasure,
    files,
    foundation,
    fraud,
    keyring,
    messages,
    playback,
    rights,
    telling,
)
from hushwire.privacy.inventory.files import BlobKind
from hushwire.privacy.inventory.vocabulary import (
    DatabaseName,
    DataClass,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Residency,
    Retention,
    Role,
    Source,
    Subject,
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a live database."""

    database: DatabaseName
    table: str
    name: str
    holding: Holding


def columns() -> tuple[Column, ...]:
    """Every column of both databases."""
    return _COLUMNS


def blob_kinds() -> tuple[BlobKind, ...]:
    """Every kind of file that holds data of a person, or keys that open it."""
    return files.KINDS


def holding(database: DatabaseName, table: str, column: str) -> Holding:
    """The entry of one column. Raises KeyError if there is none."""
    return _BY_NAME[database, table, column]


def personal_columns(database: DatabaseName, table: str) -> tuple[Column, ...]:
    """The columns of a table that concern a person."""
    return tuple(c for c in _COLUMNS if (c.database, c.table) == (database, table) and c.holding.is_personal)


_MAIN: Final[Mapping[str, Mapping[str, Holding]]] = {
    **foundation.TABLES,
    **fraud.TABLES,
    **agreement.TABLES,
    **erasure.TABLES,
    **backup.TABLES,
    **carriers.TABLES,
    **clocks.TABLES,
    **consent.TABLES,
    **audit.TABLES,
    **rights.TABLES,
    **playback.TABLES,
    **telling.TABLES,
    **messages.TABLES,
}

_KEYRING: Final[Mapping[str, Mapping[str, Holding]]] = {
    **keyring.TABLES,
    **custody.KEYRING_TABLES,
}


def _all() -> Iterator[Column]:
    schemas: tuple[tuple[DatabaseName, Mapping[str, Mapping[str, Holding]]], ...] = (("main", _MAIN), ("keyring", _KEYRING))
    for database, tables in schemas:
        for table, entries in tables.items():
            for name, entry in entries.items():
                yield Column(database, table, name, entry)


_COLUMNS: Final = tuple(_all())
_BY_NAME: Final = {(column.database, column.table, column.name): column.holding for column in _COLUMNS}

__all__ = [
    "BlobKind",
    "Column",
    "DataClass",
    "DatabaseName",
    "Erasure",
    "Form",
    "Holding",
    "Purpose",
    "Recipient",
    "Residency",
    "Retention",
    "Role",
    "Source",
    "Subject",
    "blob_kinds",
    "columns",
    "holding",
    "personal_columns",
]
