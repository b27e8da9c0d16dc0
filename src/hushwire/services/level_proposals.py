"""What teams and agents narrow no more, where two must agree to it: proposed as a whole, and carried out only on what it was proposed of.

A team's members are part of it: who leaves a team that narrows has what the organisation has. Whatever changes meanwhile at a level that
a proposal is about outdates it; nobody gets more by an agreement than what both have seen.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.policy.four_eyes import Lists, Narrowed, lets_more_through
from hushwire.policy.terms import read_hours, read_terms
from hushwire.store import levels
from hushwire.store.database import Connection
from hushwire.store.levels import LevelRow, TeamRow

_FIELDS = ("countries", "classes", "short_codes", "terms", "hours", "time_zone")


def narrowed_by(row: LevelRow | None) -> Narrowed:
    """What four eyes look at of a level; None: it narrows nothing."""
    if row is None:
        return Narrowed()
    return Narrowed(
        _names(row.countries), _names(row.classes), _names(row.short_codes), read_terms(row.terms), read_hours(row.hours), row.time_zone
    )


def of_members(lists: Lists, level: LevelRow | None, leaving: Iterable[UUID]) -> frozenset[str]:
    """What who leaves a team would reach more than before."""
    return lets_more_through(lists, narrowed_by(level), Narrowed()) if any(True for _ in leaving) else frozenset()


def level_wanted(row: LevelRow | None) -> str:
    """A level as it is to be."""
    said = None if row is None else {name: getattr(row, name) for name in _FIELDS}
    return json.dumps({"level": said}, sort_keys=True)


def team_wanted(row: TeamRow | None) -> str:
    """A team as it is to be; None: no more."""
    said = None if row is None else {"name": row.name, "members": [str(member) for member in row.members]}
    return json.dumps({"team": said}, sort_keys=True)


async def base_of(connection: Connection, subject: str) -> bytes:
    """A digest of how a team or agent stands: its level, and for a team its name and members."""
    kind, id_ = _parsed(subject)
    if kind == "exception":
        return hashlib.sha256(b"waits" if await levels.waits(connection, id_) else b"").digest()
    row = await levels.level_of(connection, **{f"{kind}_id": id_})
    said: dict[str, Any] = {"level": None if row is None else {name: getattr(row, name) for name in _FIELDS}}
    if kind == "team":
        team = next((one for one in await levels.teams(connection) if one.id == id_), None)
        said["team"] = None if team is None else [team.name, [str(member) for member in sorted(team.members)]]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


async def carry_out(connection: Connection, org_id: OrgId, subject: str, wanted: str, new_id: UUID, now: datetime) -> None:
    """Have a team or agent be as it was proposed."""
    kind, id_ = _parsed(subject)
    if kind == "exception":
        await levels.let_hold(connection, id_)
        return
    said: Mapping[str, Any] = json.loads(wanted)
    if "team" in said:
        team = said["team"]
        if team is None:
            await levels.remove_team(connection, id_)
        else:
            await levels.put_team(connection, org_id, TeamRow(id_, team["name"], tuple(UUID(member) for member in team["members"])), now)
        return
    level = said["level"]
    team_id, agent_id = (id_, None) if kind == "team" else (None, id_)
    if level is None:
        await levels.remove_level(connection, team_id=team_id, agent_id=agent_id)
        return
    countries, classes, codes = (None if level[name] is None else tuple(level[name]) for name in _FIELDS[:3])
    row = LevelRow(new_id, team_id, agent_id, countries, classes, codes, level["terms"], level["hours"], level["time_zone"])
    await levels.put_level(connection, org_id, row, now)


def _parsed(subject: str) -> tuple[str, UUID]:
    kind, _, id_ = subject.partition(":")
    return kind, UUID(id_)


def _names(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
