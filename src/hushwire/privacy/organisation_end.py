"""What becomes of each table when an organisation is erased: it follows from the inventory. Pure."""

from typing import Final

from hushwire.privacy.inventory import Erasure, columns

_REMOVED: Final = {Erasure.DELETE_ROW, Erasure.WITH_ORGANISATION}
_KEPT: Final = {Erasure.KEEP_PSEUDONYM, Erasure.KEEP_BILLING, Erasure.KEEP_OBJECTION}
LAST: Final = ("terminations", "api_keys")
"""Rows that say how far the end is, and keys that may ask: they go when everything else is proven absent."""


def removed_tables() -> tuple[str, ...]:
    """Tables of the main database whose rows go with their organisation; those of `LAST` are not among them."""
    tables: dict[str, set[Erasure]] = {}
    tenants = set()
    for column in columns():
        if column.database == "main":
            tables.setdefault(column.table, set()).add(column.holding.erasure)
            if column.name == "org_id":
                tenants.add(column.table)
    return tuple(sorted(name for name, actions in tables.items() if name in tenants and name not in LAST and _goes(actions)))


def _goes(actions: set[Erasure]) -> bool:
    return bool(actions & _REMOVED) and not actions & _KEPT
