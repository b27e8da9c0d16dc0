"""The part of a provisioning file that narrows: teams, what they and agents may reach, terms of the organisation, exceptions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.policy.rules import ExceptionKind
from hushwire.privacy.audit import Action
from hushwire.services.agent_rules import Said, exception_row, opened
from hushwire.store import levels
from hushwire.store.database import Connection
from hushwire.store.levels import ExceptionRow, LevelRow, TeamRow
from hushwire.store.provisioning import OrgRow
from hushwire.vault.keyring import OrgKeys


@dataclass(frozen=True, slots=True)
class LevelSpec:
    """What a team or an agent narrows; None: as the level above has it."""

    countries: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    short_codes: tuple[str, ...] | None = None
    terms: str = "{}"
    hours: str = "[]"
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """A team; members by username. Without a level it narrows what it narrowed before."""

    name: str
    members: tuple[str, ...]
    level: LevelSpec | None = None


@dataclass(frozen=True, slots=True)
class ExceptionSpec:
    """A number, or prefix, that one rule does not hold for."""

    kind: ExceptionKind
    said: Said
    until: datetime | None


@dataclass(frozen=True, slots=True)
class OrgRulesSpec:
    """What of the organisation's level the file declares beside its lists. None: as it stands there."""

    time_zone: str | None = None
    terms: str | None = None
    hours: str | None = None
    short_codes: tuple[str, ...] | None = None
    risk_packs_off: tuple[str, ...] | None = None

    def over(self, row: OrgRow, old: OrgRow | None) -> OrgRow:
        """The declared row, with what is not declared as it stands."""
        kept = row if old is None else old
        return replace(
            row,
            time_zone=kept.time_zone if self.time_zone is None else self.time_zone,
            terms=kept.terms if self.terms is None else self.terms,
            hours=kept.hours if self.hours is None else self.hours,
            short_codes=kept.short_codes if self.short_codes is None else self.short_codes,
            risk_packs_off=kept.risk_packs_off if self.risk_packs_off is None else self.risk_packs_off,
        )


class Note(Protocol):
    """What the audit log will say once all is done."""

    def __call__(self, action: Action, kind: str, row_id: UUID, **fields: str | int | bool | None) -> None: ...


@dataclass(slots=True)
class DeclaredRules:
    """Brings one organisation's teams, levels and exceptions up to date, inside `apply`'s transaction. `kept`: what was not declared."""

    connection: Connection
    org_id: OrgId
    keys: OrgKeys
    new_id: Callable[[datetime], UUID]
    now: datetime
    note: Note
    prune: bool
    kept: list[str] = field(default_factory=list)

    async def apply(
        self, slug: str, teams: Iterable[TeamSpec], agents: Mapping[str, LevelSpec | None], ids: Mapping[str, UUID]
    ) -> list[str]:
        """What changed, in words. `ids`: of the declared agents by username."""
        known = {row.name: row for row in await levels.teams(self.connection)}
        stand = {row.team_id or row.agent_id: row for row in await levels.levels(self.connection)}
        changes = []
        for spec in teams:
            old = known.pop(spec.name, None)
            row = TeamRow(self.new_id(self.now) if old is None else old.id, spec.name, tuple(sorted(ids[name] for name in spec.members)))
            if old is None or set(row.members) != set(old.members):
                await levels.put_team(self.connection, self.org_id, row, self.now)
                self.note(Action.TEAM_CHANGED if old else Action.TEAM_MADE, "team", row.id, members=len(row.members))
                changes.append(f"team {spec.name} of {slug}: {'changed' if old else 'made'}")
            if spec.level is not None and await self._put(spec.level, stand.get(row.id), team_id=row.id):
                changes.append(f"rules of team {spec.name} of {slug}: changed")
        for name, row in known.items():
            if self.prune:
                await levels.remove_team(self.connection, row.id)
                self.note(Action.TEAM_REMOVED, "team", row.id)
                changes.append(f"team {name} of {slug}: removed")
            else:
                self.kept.append(f"team {name} of {slug}")
        for username, level in agents.items():
            if level is not None and await self._put(level, stand.get(ids[username]), agent_id=ids[username]):
                changes.append(f"rules of agent {slug}/{username}: changed")
        return changes

    async def exceptions(self, slug: str, specs: Iterable[ExceptionSpec]) -> list[str]:
        """What changed, in words; numbers stand in none of them."""
        known: dict[tuple[str, str, bool], tuple[ExceptionRow, Said]] = {}
        for row in await levels.exceptions(self.connection):
            said = opened(self.keys, row)
            known[row.kind, said.number, said.is_prefix] = row, said
        changes = []
        for position, spec in enumerate(specs, 1):
            old = known.pop((spec.kind.value, spec.said.number, spec.said.is_prefix), None)
            if old is not None and (old[1], old[0].ends_at) == (spec.said, spec.until):
                continue
            if old is not None:
                await levels.remove_exception(self.connection, old[0].id)
            row_id = self.new_id(self.now)
            new = exception_row(self.keys, row_id, spec.kind, spec.said, spec.until, self.now, "operator")
            await levels.put_exception(self.connection, self.org_id, new)
            until = None if spec.until is None else spec.until.isoformat()
            self.note(Action.EXCEPTION_MADE, "exception", row_id, rule=spec.kind.value, ends_at=until)
            changes.append(f"exception {position} of {slug}: {'changed' if old else 'made'}")
        for row, _ in known.values():
            if self.prune:
                await levels.remove_exception(self.connection, row.id)
                self.note(Action.EXCEPTION_REMOVED, "exception", row.id)
        if known:
            told = f"{len(known)} exception(s) of {slug}"
            (changes if self.prune else self.kept).append(f"{told}: removed" if self.prune else told)
        return changes

    async def _put(self, spec: LevelSpec, old: LevelRow | None, *, team_id: UUID | None = None, agent_id: UUID | None = None) -> bool:
        row_id = self.new_id(self.now) if old is None else old.id
        row = LevelRow(row_id, team_id, agent_id, spec.countries, spec.classes, spec.short_codes, spec.terms, spec.hours, spec.time_zone)
        if row == old:
            return False
        await levels.put_level(self.connection, self.org_id, row, self.now)
        self.note(
            Action.LEVEL_CHANGED,
            "agent" if team_id is None else "team",
            team_id or agent_id or row_id,
            countries=None if row.countries is None else len(row.countries),
            classes=None if row.classes is None else len(row.classes),
        )
        return True
