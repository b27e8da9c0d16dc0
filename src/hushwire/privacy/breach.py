"""A personal data breach: the credential it happened with, and what is said of it. Pure; the words name nobody."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.errors import RefusedError

SKEW: Final = timedelta(seconds=5)
"""How far a window may reach beyond now: two machines' clocks differ."""

_CREDENTIAL: Final = re.compile(r"(api-key|agent):([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII)

# What a kind of object in the access log is called, and what somebody who read it may do with it.
CATEGORIES: Final[Mapping[str, str]] = {
    "recording": "recordings of calls",
    "call": "call records with phone numbers",
    "message": "text messages",
    "contact": "contacts",
    "document": "documents",
    "case": "cases and requests",
    "agent": "names and extensions of agents",
    "number": "the organisation's phone numbers",
}
_CONSEQUENCES: Final[Mapping[str, str]] = {
    "recording": "disclosure of what was said, including confidences and voices",
    "message": "disclosure of what was written",
    "document": "misuse of identities",
    "call": "disclosure of who spoke with whom and when, and unwanted or fraudulent calls",
    "contact": "unwanted or fraudulent contact",
    "case": "disclosure of complaints and requests",
    "agent": "impersonation of agents",
    "number": "unwanted or fraudulent calls",
}


@dataclass(frozen=True, slots=True)
class Window:
    """When a credential was in the wrong hands: `since` <= t < `until`."""

    actor: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """What was read. `persons`: distinct numbers and contacts; `agents`: distinct; `unknown`: records that name nobody (any more)."""

    accesses: int
    persons: int
    agents: int
    unknown: int
    records: Mapping[str, int]

    @property
    def total(self) -> int:
        """Records of all kinds."""
        return sum(self.records.values())


def window(actor: str, since: datetime, until: datetime, now: datetime) -> Window:
    """A window that can be looked at. Raises RefusedError with what to mend.

    It has to be over: what is read later than the look would be in no notice. Revoke the credential, then register.
    """
    if not _CREDENTIAL.fullmatch(actor):
        raise RefusedError("the credential must be api-key:<id> or agent:<id>")
    if since >= until:
        raise RefusedError("the window must begin before it ends")
    if until > now + SKEW:
        raise RefusedError("the window must be over: revoke the credential, then register the breach up to now")
    return Window(actor, since, until)


def categories(counts: Counts) -> str:
    """The categories of data concerned, with how many records of each."""
    return "; ".join(f"{CATEGORIES.get(kind, 'other records')}: {count}" for kind, count in sorted(counts.records.items())) or "none"


def consequences(counts: Counts) -> str:
    """What is likely to follow for the persons concerned."""
    found = [words for kind, words in _CONSEQUENCES.items() if counts.records.get(kind)]
    return "; ".join(found) if found else "none that is known: nothing was read"


def nature(found: Window) -> str:
    """What happened, in one line."""
    what = "an API key" if found.actor.startswith("api-key:") else "an agent's credential"
    return f"{what} ({found.actor}) was or may have been used by somebody who had no right to it"


def measures(is_revoked: bool) -> str:
    """What was done about it, as far as the system knows."""
    done = "the credential no longer opens anything" if is_revoked else "the credential is still valid: revoke or replace it now"
    return f"{done}; every reading with it was found in the access log; the log's chain is signed each hour"


def agent_actor(agent_id: UUID) -> str:
    """How the access log names an agent."""
    return f"agent:{agent_id}"
