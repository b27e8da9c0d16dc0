"""/v1/teams, and /v1/voice-security/{teams,agents}/{id}: agents with rules in common, and what a team or an agent narrows."""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.routers.rule_proposals import Proposal, shown
from hushwire.api.values import Body, ClassName, Country, Id, parsed_id
from hushwire.policy.groups import expand, group
from hushwire.policy.terms import hours_of, terms_of, written_hours, written_terms
from hushwire.services.agent_rules import zone_name
from hushwire.services.contacts import Unfit
from hushwire.services.provisioning_rules import LevelSpec
from hushwire.services.team_settings import MOST_MEMBERS, MOST_TEAMS, TooManyTeams
from hushwire.store.levels import TeamRow
from hushwire.store.rule_proposals import ProposalRow

router = APIRouter(tags=["voice security"])
Reading = Annotated[Caller, Depends(needs(Permission.DIRECTORY))]
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]
RulesReading = Annotated[Caller, Depends(needs(Permission.RULES))]
RulesChanging = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
T = TypeVar("T")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?", re.ASCII)
_SHORT: Final = re.compile(r"[0-9]{2,6}", re.ASCII)


def _matching(pattern: re.Pattern[str], mend: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(mend)
        return value

    return AfterValidator(check)


def _readable(read: Callable[[Any], object]) -> AfterValidator:
    def check(value: Any) -> Any:
        read(value)
        return value

    return AfterValidator(check)


class Team(BaseModel):
    """Agents with rules in common."""

    id: UUID
    name: str
    members: list[UUID] = Field(description="Agents; each is of one team at most.")


class TeamWanted(Body):
    """All of it: who is left out is no member."""

    name: Annotated[str, _matching(_NAME, "must be 1 to 64 letters, digits, blanks, dots, hyphens and underscores")]
    members: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default=[], max_length=MOST_MEMBERS, description="Ids or usernames of agents."
    )


class Level(BaseModel):
    """What a team or an agent narrows; null: as the level above has it (docs/voice-security.md)."""

    allowed_countries: list[str] | None
    classes: list[str] | None
    short_codes: list[str] | None
    terms: dict[str, Any]
    hours: list[Any]
    time_zone: str | None = Field(description="Of an agent: in which the hours are meant; null: the organisation's.")


class LevelWanted(Body):
    """All of it: what is left out is as the level above has it. Groups are saved as the countries that they hold now."""

    allowed_countries: list[Country] | None = Field(default=None, max_length=300)
    country_groups: list[Annotated[str, Field(max_length=64), AfterValidator(group)]] | None = Field(default=None, max_length=50)
    classes: list[ClassName] | None = Field(default=None, max_length=20)
    short_codes: list[Annotated[str, _matching(_SHORT, "must be 2 to 6 digits")]] | None = Field(default=None, max_length=1000)
    terms: Annotated[dict[str, Any], _readable(terms_of)] = Field(
        default={}, max_length=300, description="By country or class: ways (calls, sms, both), until, windows."
    )
    hours: Annotated[list[Any], _readable(hours_of)] = Field(default=[], max_length=32)
    time_zone: Annotated[str, Field(max_length=64), AfterValidator(zone_name)] | None = None

    @model_validator(mode="after")
    def _small(self) -> "LevelWanted":
        if len(json.dumps([self.terms, self.hours], default=str)) > 100_000:
            raise ValueError("terms and hours are longer than 100,000 characters")
        return self

    def spec(self) -> LevelSpec:
        """As it is saved."""
        countries = None
        if self.allowed_countries is not None or self.country_groups is not None:
            countries = tuple(sorted({*(self.allowed_countries or []), *expand(self.country_groups or [])}))
        return LevelSpec(
            countries,
            None if self.classes is None else tuple(sorted({str(name) for name in self.classes})),
            None if self.short_codes is None else tuple(sorted(set(self.short_codes))),
            written_terms(terms_of(self.terms)),
            written_hours(hours_of(self.hours)),
            self.time_zone,
        )


class Waiting(BaseModel):
    """Nothing is changed yet: a second person has to agree."""

    waits: Proposal


WAITS: Final[dict[int | str, dict[str, Any]]] = {202: {"model": Waiting, "description": "It waits for a second person."}}


@router.get("/v1/teams")
async def list_teams(means: Given, caller: Reading) -> list[Team]:
    """All teams, by name."""
    return [_shown(row) for row in await means.teams.listed(caller.org_id)]


@router.post("/v1/teams", status_code=201)
async def add_team(means: Given, caller: Changing, body: TeamWanted) -> Team:
    """Make a team."""
    outcome = await means.teams.add(caller.org_id, body.name, await _members(means, caller, body), actor=caller.actor)
    if isinstance(outcome, TooManyTeams):
        raise Problem(409, f"The organisation has {MOST_TEAMS} teams: remove one that is not used any more.")
    return _shown(_fit(outcome))


@router.get("/v1/teams/{team_id}")
async def get_team(means: Given, caller: Reading, team_id: Id) -> Team:
    """One team."""
    return _shown(_there(await means.teams.get(caller.org_id, parsed_id(team_id))))


@router.put("/v1/teams/{team_id}", response_model=Team, responses=WAITS)
async def set_team(means: Given, caller: Changing, team_id: Id, body: TeamWanted) -> Team | Response:
    """Change its name and members. Who is no member any more has the organisation's rules, narrowed by its own lists only.

    Where who leaves would reach more of what two must agree to, all of it waits for a second person (202).
    """
    found, members = parsed_id(team_id), await _members(means, caller, body)
    outcome = await means.teams.change(caller.org_id, found, body.name, members, actor=caller.actor)
    if outcome is None:
        raise not_found()
    if isinstance(outcome, ProposalRow):
        return _waiting(means, outcome)
    return _shown(_fit(outcome))


@router.delete("/v1/teams/{team_id}", status_code=204, responses=WAITS)
async def remove_team(means: Given, caller: Changing, team_id: Id) -> Response:
    """Remove a team, and what it narrowed; what that opens of what two must agree to waits (202)."""
    removed = await means.teams.remove(caller.org_id, parsed_id(team_id), actor=caller.actor)
    if isinstance(removed, ProposalRow):
        return _waiting(means, removed)
    if not removed:
        raise not_found()
    return Response(status_code=204)


@router.get("/v1/voice-security/teams/{team_id}")
async def get_team_rules(means: Given, caller: RulesReading, team_id: Id) -> Level:
    """What the team narrows."""
    return _level(_there(await means.teams.level(caller.org_id, team_id=parsed_id(team_id))))


@router.put("/v1/voice-security/teams/{team_id}", response_model=Level, responses=WAITS)
async def set_team_rules(means: Given, caller: RulesChanging, team_id: Id, body: LevelWanted) -> Level | Response:
    """Have the team narrow this. The next call of a member obeys within a second, on every node.

    Where that lets more through of what two must agree to, all of it waits for a second person (202).
    """
    if body.time_zone is not None:
        raise invalid("time_zone", "is an agent's: a team's hours are meant in the organisation's")
    return _set(means, await means.teams.set_level(caller.org_id, body.spec(), team_id=parsed_id(team_id), actor=caller.actor))


@router.get("/v1/voice-security/agents/{agent_id}")
async def get_agent_rules(means: Given, caller: RulesReading, agent_id: Id) -> Level:
    """What the agent's own lists narrow."""
    return _level(_there(await means.teams.level(caller.org_id, agent_id=parsed_id(agent_id))))


@router.put("/v1/voice-security/agents/{agent_id}", response_model=Level, responses=WAITS)
async def set_agent_rules(means: Given, caller: RulesChanging, agent_id: Id, body: LevelWanted) -> Level | Response:
    """Have the agent's own lists narrow this. The agent's next call obeys within a second, on every node.

    Where that lets more through of what two must agree to, all of it waits for a second person (202).
    """
    return _set(means, await means.teams.set_level(caller.org_id, body.spec(), agent_id=parsed_id(agent_id), actor=caller.actor))


async def _members(means: Means, caller: Caller, body: TeamWanted) -> tuple[UUID, ...]:
    found = await means.queries.agent_ids(caller.org_id, body.members)
    if len(found) < len({*body.members}):
        raise invalid("members", "names somebody who is no agent of the organisation")
    return tuple(found.values())


def _there(found: T | None) -> T:
    if found is None:
        raise not_found()
    return found


def _fit(outcome: TeamRow | Unfit) -> TeamRow:
    if isinstance(outcome, Unfit):
        raise invalid(outcome.field, outcome.message)
    return outcome


def _set(means: Means, outcome: LevelSpec | ProposalRow | None) -> Level | Response:
    if isinstance(outcome, ProposalRow):
        return _waiting(means, outcome)
    return _level(_there(outcome))


def _waiting(means: Means, row: ProposalRow) -> Response:
    return JSONResponse(Waiting(waits=shown(row, means.clock.now())).model_dump(mode="json"), 202)


def _shown(row: TeamRow) -> Team:
    return Team(id=row.id, name=row.name, members=list(row.members))


def _level(spec: LevelSpec) -> Level:
    return Level(
        allowed_countries=None if spec.countries is None else list(spec.countries),
        classes=None if spec.classes is None else list(spec.classes),
        short_codes=None if spec.short_codes is None else list(spec.short_codes),
        terms=json.loads(spec.terms),
        hours=json.loads(spec.hours),
        time_zone=spec.time_zone,
    )
