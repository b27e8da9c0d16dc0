"""A number as a person types it, brought into the one form that is stored and indexed."""

import re
from typing import Final

from hushwire.policy import numbers
from hushwire.store import rules as rules_table
from hushwire.store.database import Connection

REMOTE: Final = "calls.remote"
"""The blind index that the number of a person outside stands under in every table, so that one value finds all that is held of them."""

_TYPED: Final = re.compile(r"\+?[0-9()\-./ ]{1,40}", re.ASCII)
_NOT_DIGITS: Final = re.compile(r"[^0-9]", re.ASCII)
_FEWEST, _MOST = 4, 15


async def canonical_number(connection: Connection, typed: str) -> str | None:
    """+E.164, read with the organisation's home country; None for what is no number.

    An international number that no numbering plan knows is taken as it is: carriers deliver such, and its owner has rights too.
    """
    return canonical(typed, *await dialling(connection))


async def dialling(connection: Connection) -> tuple[str, str | None]:
    """The home country and the outside-line prefix that the organisation's numbers are read with."""
    rules = await rules_table.get(connection)
    return (rules.home_country, rules.outside_prefix) if rules else ("001", None)


def canonical(typed: str, home: str, prefix: str | None) -> str | None:
    """+E.164, read as dialled in `home`; None for what is no number."""
    if not _TYPED.fullmatch(typed) or not (digits := _NOT_DIGITS.sub("", typed)):
        return None
    found = numbers.international(digits, home) if typed.startswith("+") else numbers.dialled(digits, home, prefix)
    if isinstance(found, numbers.Found):
        return found.number
    return f"+{digits}" if typed.startswith("+") and _FEWEST <= len(digits) <= _MOST and digits[0] != "0" else None


async def spellings(connection: Connection, typed: str) -> list[str] | None:
    """How this number may stand in rows of the organisation: canonical, and as it was dialled; None if it is no number."""
    if not _TYPED.fullmatch(typed) or not (digits := _NOT_DIGITS.sub("", typed)):
        return None
    as_typed = f"+{digits}" if typed.startswith("+") else digits
    canonical = await canonical_number(connection, typed)
    return sorted({as_typed} if canonical is None else {as_typed, canonical})
