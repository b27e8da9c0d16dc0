"""The agreement's clauses with their live state: each control's probe is run, and says what it saw and the last evidence of it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError
from hushwire.core.ids import OrgId
from hushwire.privacy import inventory, undertakings
from hushwire.privacy.clauses import Clause, Probe, Scope, clauses
from hushwire.privacy.undertakings import Text
from hushwire.store import evidence, readings
from hushwire.store.database import Connection, Database
from hushwire.store.evidence import Evidence


class State(StrEnum):
    """How a clause stands now."""

    OK = "ok"
    ATTENTION = "attention"
    NOT_BUILT = "not-built"


@dataclass(frozen=True, slots=True)
class Posture:
    """What the configuration says of protection; `newest_backup` looks at the backups' place (it blocks)."""

    transports: Mapping[str, str]
    regions: tuple[str, ...]
    key_provider: str
    has_second_zone: bool
    has_mail: bool
    backup_every: timedelta
    newest_backup: Callable[[], datetime | None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one probe saw."""

    probe: Probe
    state: State
    says: str
    evidence: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class LiveClause:
    """A clause, how it stands, and what its probes saw."""

    clause: Clause
    state: State
    seen: tuple[Seen, ...]


# What the counts of a probe are counts of: in total, and those that need attention.
_WORDS: Final[Mapping[Probe, tuple[str, str]]] = {
    Probe.ACCESS: ("readings in the last 24 hours", ""),
    Probe.AUDIT_CHAIN: ("rows in the chain", "no head was signed for two hours"),
    Probe.AUDITS: ("audits were requested", "auditors' keys have no end"),
    Probe.BREACHES: ("breaches are registered", "are not told yet"),
    Probe.CLOCKS: ("clocks run", "duties are overdue"),
    Probe.CONTACTS: ("contacts are designated", "nobody is designated to be told"),
    Probe.COUNTRIES: ("countries are allowed", ""),
    Probe.CUSTODY: ("is the version of the custody", ""),
    Probe.ERASURE: ("erasures are under way", "are readable after 24 hours"),
    Probe.HOLDS: ("holds are in force", ""),
    Probe.LEGS: ("calls in the last 24 hours", "had a leg without SRTP"),
    Probe.NOTICES: ("notices were sent", "reached nobody yet"),
    Probe.PURPOSES: ("is the version of the instruction", ""),
    Probe.RECORDINGS: ("recordings are on their way to the store", ""),
    Probe.RENEWAL: ("erasures wait for their bucket's renewal", "wait longer than 24 hours"),
    Probe.REQUESTS: ("requests are open", "are overdue"),
    Probe.RETENTION: ("retention rules", "runs wait for a confirmation"),
    Probe.SUB_PROCESSORS: ("sub-processors are listed", ""),
    Probe.SUSPENDED: ("agents are suspended", ""),
    Probe.SWEEP: ("erasures wait for their sweep", "wait longer than 24 hours"),
    Probe.UNDERTAKINGS: ("undertakings are signed", "keys have none that stands"),
}


class Dpa:
    """Live state of one organisation at a time."""

    def __init__(self, main: Database, clock: Clock, posture: Posture) -> None:
        self._main = main
        self._clock = clock
        self.posture = posture

    async def clauses(self, org_id: OrgId) -> list[LiveClause]:
        """Every clause with its state."""
        seen = await self.probed(org_id)
        return [_live(clause, tuple(seen[probe] for probe in clause.probes)) for clause in clauses()]

    async def probed(self, org_id: OrgId) -> dict[Probe, Seen]:
        """Every probe, run now."""
        now = self._clock.now()
        found: dict[Probe, Seen] = {}
        async with self._main.organisation(org_id) as connection:
            for probe in Probe:
                if probe.value in evidence.QUERIES:
                    found[probe] = _seen(probe, await self._evidence(connection, probe, now))
            residency = str((await evidence.settings(connection))["residency"])
        found[Probe.INVENTORY] = Seen(Probe.INVENTORY, State.OK, f"{len(inventory.columns())} columns are classified", None, None)
        is_served = bool({"*", residency} & set(self.posture.regions))
        says = f"{'a' if is_served else 'no'} store serves the region {residency}"
        found[Probe.RESIDENCY] = Seen(Probe.RESIDENCY, State.OK if is_served else State.ATTENTION, says, None, None)
        found[Probe.BACKUP] = await self._backup(now)
        return found

    async def _evidence(self, connection: Connection, probe: Probe, now: datetime) -> Evidence:
        found = await evidence.of(connection, probe.value, now)
        if probe is not Probe.UNDERTAKINGS:
            return found
        published = await readings.texts(connection, undertakings.KIND)
        texts = undertakings.in_order(Text(row.version, row.text, row.published_at, row.effective_at) for row in published)
        # Versions that still count: from the last one whose deadline is over on.
        first = max(place for place, text in enumerate(texts) if place == 0 or text.sign_by <= now)
        unsigned = await readings.unsigned_keys(connection, [(text.version, text.digest) for text in texts[first:]])
        return Evidence(found.total, unsigned, found.evidence, found.at)

    async def _backup(self, now: datetime) -> Seen:
        try:
            newest = await asyncio.to_thread(self.posture.newest_backup)
        except (LocalError, OSError):
            newest = None
        if newest is None:
            return Seen(Probe.BACKUP, State.ATTENTION, "there is no backup within reach", None, None)
        is_late = self.posture.backup_every > timedelta() and now - newest > 2 * self.posture.backup_every
        says = f"the newest backup is of {newest:%Y-%m-%d %H:%M} UTC"
        return Seen(Probe.BACKUP, State.ATTENTION if is_late else State.OK, says, "backup", newest)


def _seen(probe: Probe, found: Evidence) -> Seen:
    total, attention = _WORDS[probe]
    says = f"{found.total} {total}" + (f"; {found.attention} {attention}" if found.attention else "")
    if found.attention and probe in (Probe.AUDIT_CHAIN, Probe.CONTACTS):
        says = f"{found.total} {total}; {attention}"
    return Seen(probe, State.ATTENTION if found.attention else State.OK, says, found.evidence, found.at)


def _live(clause: Clause, seen: tuple[Seen, ...]) -> LiveClause:
    if clause.scope is Scope.LATER:
        return LiveClause(clause, State.NOT_BUILT, seen)
    return LiveClause(clause, State.ATTENTION if any(one.state is State.ATTENTION for one in seen) else State.OK, seen)
