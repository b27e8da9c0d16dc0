"""Who a message comes from: a number of the organisation's own, a name where the country shows names, one of a pool. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

LONGEST_NAME: Final = 11
SHOWS_NAMES: Final = frozenset({
    "AD", "AT", "BA", "BG", "CH", "CY", "DE", "DK", "EE", "ES", "FI", "FO", "FR", "GB", "GG", "GI", "GL", "GR", "HR", "IE",
    "IM", "IS", "IT", "JE", "LI", "LT", "LU", "LV", "MC", "ME", "MK", "MT", "NL", "NO", "PL", "PT", "RS", "SE", "SI", "SK",
    "SM", "UA", "VA",
})  # fmt: skip
"""Where networks deliver a name as sender. Not everywhere else do they drop it silently, so everywhere else it is not tried."""

_NAME_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .&+-_")


@dataclass(frozen=True, slots=True)
class Own:
    """A number of the organisation; `agent_id`: who has it as its own."""

    id: UUID
    number: str = field(repr=False)
    agent_id: UUID | None
    is_pooled: bool
    is_marketing: bool = False
    """Whether campaigns come from it: then all that it sends is marketing."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who it comes from; `number_id` None: a name, which nobody can answer."""

    kind: str
    shown: str = field(repr=False)
    number_id: UUID | None


def chosen(
    rule: Sequence[str],
    name: str | None,
    owned: Sequence[Own],
    *,
    agent_id: UUID | None,
    caller_id: str | None,
    country: str | None,
    stickiness: bytes,
    is_marketing: bool = False,
) -> Sender | None:
    """The first of the rule's ways that there is; None where there is none.

    `own`: the agent's number (the one it shows first), or the organisation's where it has just one. `pool`: by `stickiness`, a keyed
    hash of the recipient, so that somebody always sees the same sender. What is of no campaign comes from a number of campaigns only where
    the pool has no other: it would become marketing by chance.
    """
    for way in rule:
        found: Sender | None = None
        match way:
            case "own":
                found = _own(owned, agent_id, caller_id)
            case "alphanumeric":
                found = Sender("alphanumeric", name, None) if name and country in SHOWS_NAMES else None
            case "pool":
                pool = [one for one in owned if one.is_pooled]
                if not is_marketing:
                    pool = [one for one in pool if not one.is_marketing] or pool
                one = pool[int.from_bytes(stickiness[:8], "big") % len(pool)] if pool else None
                found = None if one is None else Sender("pool", one.number, one.id)
        if found is not None:
            return found
    return None


def asked_for(wanted: str, name: str | None, owned: Sequence[Own], *, country: str | None) -> Sender | None:
    """The sender that a request names, where it is one of the organisation's own; None where it is not, or can't be shown there."""
    for one in owned:
        if one.number == wanted:
            return Sender("own", one.number, one.id)
    if name is not None and wanted == name and country in SHOWS_NAMES:
        return Sender("alphanumeric", name, None)
    return None


def what_is_wrong_with(name: str) -> str | None:
    """Why this can't be an alphanumeric sender."""
    if not 1 <= len(name) <= LONGEST_NAME or not _NAME_CHARACTERS.issuperset(name) or name != name.strip():
        return "is 1 to 11 letters, digits, blanks and . & + - _"
    return None if any(character.isalpha() for character in name) else "holds a letter: what holds none is read as a number"


def _own(owned: Sequence[Own], agent_id: UUID | None, caller_id: str | None) -> Sender | None:
    if agent_id is None:
        return Sender("own", owned[0].number, owned[0].id) if len(owned) == 1 else None
    own = [one for one in owned if one.agent_id == agent_id]
    shown = next((one for one in owned if one.number == caller_id), None)
    one = shown or (own[0] if own else None)
    return None if one is None else Sender("own", one.number, one.id)
