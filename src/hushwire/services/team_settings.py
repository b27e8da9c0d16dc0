"""Teams, and what teams and agents narrow, as administrators set it besides the provisioning file. Each change stands in the audit log.

What a level narrows takes effect at once. Where it would narrow less of what two must agree to, or a team whose level does be no more or
lose members, that waits as a proposal.
"""

from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import asyncpg

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.policy.four_eyes import SHORT_CODES, Narrowed, Opening, lets_more_through
from hushwire.policy.model import NumberClass
from hushwire.privacy import audit
from hushwire.services.contacts import Unfit
from hushwire.services.level_proposals import level_wanted, narrowed_by, of_members, team_wanted
from hushwire.services.provisioning_rules import LevelSpec
from hushwire.services.rule_changes import RuleChanges, lists_of
from hushwire.store import levels, listing
from hushwire.store import rules as rules_table
from hushwire.store.database import Connection, Database
from hushwire.store.levels import LevelRow, TeamRow
from hushwire.store.rule_proposals import ProposalRow
from hushwire.store.rules import RulesRow

MOST_TEAMS: Final = 1000
MOST_MEMBERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class TooManyTeams:
    """The organisation has as many teams as it may have."""


class TeamSettings:
    """Teams and levels of organisations. Gateways hear of a change by the organisation's version, within a second."""

    def __init__(self, main: Database, clock: Clock, random: Random, changes: RuleChanges) -> None:
        self._changes = changes
        self._main = main
        self._clock = clock
        self._random = random

    async def listed(self, org_id: OrgId) -> list[TeamRow]:
        """Every team, by name."""
        async with self._main.organisation(org_id) as connection:
            return await levels.teams(connection)

    async def get(self, org_id: OrgId, team_id: UUID) -> TeamRow | None:
        """One of them."""
        return next((row for row in await self.listed(org_id) if row.id == team_id), None)

    async def add(self, org_id: OrgId, name: str, members: tuple[UUID, ...], *, actor: str) -> TeamRow | Unfit | TooManyTeams:
        """A new team."""
        made = await self._put(org_id, self._new_id(), name, members, actor=actor, is_new=True) or TooManyTeams()
        assert not isinstance(made, ProposalRow)
        return made

    async def change(
        self, org_id: OrgId, team_id: UUID, name: str, members: tuple[UUID, ...], *, actor: str
    ) -> TeamRow | ProposalRow | Unfit | None:
        """Its name and members anew, or what of that waits; None where there is no such team."""
        return await self._put(org_id, team_id, name, members, actor=actor, is_new=False)

    async def remove(self, org_id: OrgId, team_id: UUID, *, actor: str) -> bool | ProposalRow:
        """Its members are of no team, and what it narrowed is narrowed no more, or waits; False where there is no such team."""
        async with self._main.organisation(org_id) as connection:
            team = next((one for one in await levels.teams(connection) if one.id == team_id), None)
            if team is not None and (waits := await self._of_leaving(connection, org_id, team, None, team.members, actor)):
                return waits
            if not await levels.remove_team(connection, team_id):
                return False
            await audit.append(connection, org_id, self._clock.now(), actor, audit.Action.TEAM_REMOVED, f"team:{team_id}")
        return True

    async def level(self, org_id: OrgId, *, team_id: UUID | None = None, agent_id: UUID | None = None) -> LevelSpec | None:
        """What a team or an agent narrows; None where there is no such team or agent."""
        async with self._main.organisation(org_id) as connection:
            if not await _exists(connection, team_id, agent_id):
                return None
            row = await levels.level_of(connection, team_id=team_id, agent_id=agent_id)
        return LevelSpec() if row is None else _spec(row)

    async def set_level(
        self, org_id: OrgId, spec: LevelSpec, *, team_id: UUID | None = None, agent_id: UUID | None = None, actor: str
    ) -> LevelSpec | ProposalRow | None:
        """Have a team or an agent narrow this and nothing else, or what waits; None where there is no such team or agent."""
        subject = f"team:{team_id}" if agent_id is None else f"agent:{agent_id}"
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await _exists(connection, team_id, agent_id):
                return None
            old = await levels.level_of(connection, team_id=team_id, agent_id=agent_id)
            if spec == (LevelSpec() if old is None else _spec(old)):
                return spec
            lists = (spec.countries, spec.classes, spec.short_codes, spec.terms, spec.hours, spec.time_zone)
            row = None if spec == LevelSpec() else LevelRow(self._new_id(), team_id, agent_id, *lists)
            rules = await rules_table.get(connection, for_update=True)
            assert rules is not None
            more = lets_more_through(lists_of(rules), _in_zone(narrowed_by(old), rules), _in_zone(narrowed_by(row), rules))
            if more:
                return await self._changes.propose(connection, org_id, _named(more), actor, subject=subject, wanted=level_wanted(row))
            if row is None:
                await levels.remove_level(connection, team_id=team_id, agent_id=agent_id)
                await audit.append(connection, org_id, now, actor, audit.Action.LEVEL_REMOVED, subject)
                return spec
            await levels.put_level(connection, org_id, row, now)
            counts = {
                "countries": None if spec.countries is None else len(spec.countries),
                "classes": None if spec.classes is None else len(spec.classes),
            }
            await audit.append(connection, org_id, now, actor, audit.Action.LEVEL_CHANGED, subject, counts)
        return spec

    async def _put(
        self, org_id: OrgId, team_id: UUID, name: str, members: tuple[UUID, ...], *, actor: str, is_new: bool
    ) -> TeamRow | ProposalRow | Unfit | None:
        row, now = TeamRow(team_id, name, tuple(sorted(set(members)))), self._clock.now()
        try:
            async with self._main.organisation(org_id) as connection:
                known = {one.id: one for one in await levels.teams(connection)}
                if len(known) >= MOST_TEAMS if is_new else team_id not in known:
                    return None
                others = [one for one in known.values() if one.id != team_id]
                if any(one.name == name for one in others):
                    return Unfit("name", "is another team's")
                if {member for one in others for member in one.members} & set(members):
                    return Unfit("members", "names an agent of another team: an agent is of one team at most")
                old = known.get(team_id)
                leaving = () if old is None else tuple({*old.members} - {*members})
                if old is not None and (waits := await self._of_leaving(connection, org_id, old, row, leaving, actor)):
                    return waits
                if row != known.get(team_id):
                    await levels.put_team(connection, org_id, row, now)
                    action = audit.Action.TEAM_MADE if is_new else audit.Action.TEAM_CHANGED
                    await audit.append(connection, org_id, now, actor, action, f"team:{team_id}", {"members": len(row.members)})
        except asyncpg.ForeignKeyViolationError:
            return Unfit("members", "names somebody who is no agent of the organisation")
        except asyncpg.UniqueViolationError:
            return Unfit("name", "was taken by another team just now")
        return row

    async def _of_leaving(
        self, connection: Connection, org_id: OrgId, team: TeamRow, wanted: TeamRow | None, leaving: tuple[UUID, ...], actor: str
    ) -> ProposalRow | None:
        """What waits because members of a team would reach more of what is guarded without it."""
        rules = await rules_table.get(connection, for_update=True)
        assert rules is not None
        more = of_members(lists_of(rules), await levels.level_of(connection, team_id=team.id), leaving)
        if not more:
            return None
        return await self._changes.propose(connection, org_id, _named(more), actor, subject=f"team:{team.id}", wanted=team_wanted(wanted))

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))


async def _exists(connection: Connection, team_id: UUID | None, agent_id: UUID | None) -> bool:
    if agent_id is not None:
        return await listing.agent(connection, agent_id) is not None
    return any(row.id == team_id for row in await levels.teams(connection))


def _named(more: frozenset[str]) -> Opening:
    classes = frozenset(more & {one.value for one in NumberClass})
    return Opening(more - classes - {SHORT_CODES}, classes, short_codes=more & {SHORT_CODES})


def _in_zone(level: Narrowed, rules: RulesRow) -> Narrowed:
    return replace(level, zone=level.zone or rules.time_zone)


def _spec(row: LevelRow) -> LevelSpec:
    return LevelSpec(row.countries, row.classes, row.short_codes, row.terms, row.hours, row.time_zone)
