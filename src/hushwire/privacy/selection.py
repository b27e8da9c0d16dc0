"""What an erasure, a hold or a report is asked for: a selector, and what to search for each kind of thing because of it. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from hushwire.core.errors import MalformedError
from hushwire.core.personal import Personal
from hushwire.privacy.canonical import canonical
from hushwire.privacy.erasable import KINDS
from hushwire.store.erasable import Erasable, Search

Scope = Literal["objects", "number", "agent", "contact", "time", "organisation"]
_DOMAIN: Final = b"hushwire/erasure-selector/1"


@dataclass(frozen=True, slots=True)
class Selector:
    """What is meant; all that is given must hold, and at least one thing has to be given.

    `number`: as a person types it, or canonical. `agent`, `contact`: ids. `since` <= began < `until`. `objects`: ids by kind.
    `kinds`: these kinds only (None: every kind); what is part of a thing falls with it, unless `without_parts`: retention keeps each
    class by its own rule. `everything`: the organisation.
    """

    number: Personal[str] | None = None
    agent: UUID | None = None
    contact: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    objects: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    kinds: frozenset[str] | None = None
    without_parts: bool = False
    everything: bool = False

    @property
    def scope(self) -> Scope:
        """The narrowest word for it. Raises MalformedError for a selector that selects nothing, or contradicts itself."""
        given = (self.number, self.agent, self.contact, self.since, self.until)
        if self.everything:
            if any(value is not None for value in given) or self.objects or self.kinds is not None:
                raise MalformedError("everything is everything: give nothing besides")
            return "organisation"
        if self.objects:
            return "objects"
        if self.number is not None:
            return "number"
        if self.contact is not None:
            return "contact"
        if self.agent is not None:
            return "agent"
        if self.since is not None or self.until is not None:
            return "time"
        raise MalformedError("say what is to be erased: a number, an agent, a contact, a time, or ids")

    def plain(self) -> dict[str, Any]:
        """Everything but the number, as JSON: ids and times."""
        said: dict[str, Any] = {}
        if self.agent is not None:
            said["agent"] = str(self.agent)
        if self.contact is not None:
            said["contact"] = str(self.contact)
        if self.since is not None:
            said["since"] = _spelled(self.since)
        if self.until is not None:
            said["until"] = _spelled(self.until)
        if self.objects:
            said["objects"] = {kind: sorted(str(each) for each in ids) for kind, ids in self.objects.items()}
        if self.kinds is not None:
            said["kinds"] = sorted(self.kinds)
        if self.without_parts:
            said["without_parts"] = True
        if self.everything:
            said["everything"] = True
        return said


def read(said: Mapping[str, Any], number: str | None) -> Selector:
    """The selector that `plain` and its number tell of."""
    return Selector(
        number=None if number is None else Personal(number),
        agent=UUID(said["agent"]) if "agent" in said else None,
        contact=UUID(said["contact"]) if "contact" in said else None,
        since=_moment(said["since"]) if "since" in said else None,
        until=_moment(said["until"]) if "until" in said else None,
        objects={kind: [UUID(each) for each in ids] for kind, ids in said.get("objects", {}).items()},
        kinds=frozenset(said["kinds"]) if "kinds" in said else None,
        without_parts=bool(said.get("without_parts", False)),
        everything=bool(said.get("everything", False)),
    )


def commitment(salt: bytes, selector: Selector) -> bytes:
    """Binds a receipt to what was asked for: who holds the salt and knows the number can show it, nobody can guess it."""
    number = None if selector.number is None else selector.number.reveal()
    said = canonical({**selector.plain(), **({} if number is None else {"number": number})})
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in (_DOMAIN, salt, said))).digest()


def searches(selector: Selector, number_indexes: Sequence[bytes], asked_at: datetime) -> dict[str, Search]:
    """What to look for in each kind, in the order of the register; nothing that came after `asked_at` is meant, unless by its id.

    `number_indexes`: of the selector's number; of a selector without one, of its contact's numbers.
    """
    found: dict[str, Search] = {}
    is_around = selector.contact is not None
    for kind in KINDS:
        if selector.objects:
            if ids := selector.objects.get(kind):
                found[kind] = Search(ids=ids)
            continue
        if selector.kinds is not None and kind not in selector.kinds:
            continue
        if not _can_match(KINDS[kind], selector):
            continue
        until = asked_at if selector.until is None else min(selector.until, asked_at)
        found[kind] = Search(
            number_indexes=number_indexes if selector.number is not None or (is_around and kind != "contact") else None,
            agent=selector.agent,
            contact=selector.contact if kind == "contact" else None,
            since=selector.since,
            until=until,
        )
    return found


def _can_match(what: Erasable, selector: Selector) -> bool:
    """Whether the kind has what the selector goes by; documents, say, concern nobody but through what they contain."""
    if (selector.number is not None or (selector.contact is not None and what.kind != "contact")) and what.number is None:
        return False
    return selector.agent is None or bool(what.agents)


def _spelled(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
