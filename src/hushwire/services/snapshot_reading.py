"""The rows that one organisation's snapshot is made of, read in one transaction; what is sealed in them stays closed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hushwire.services.free_carriers import free_subprocessors
from hushwire.services.snapshot import Organisation
from hushwire.store import access_requests as access_rows
from hushwire.store import directory as rows
from hushwire.store import fraud as fraud_rows
from hushwire.store import levels as level_rows
from hushwire.store.access_requests import GrantRow
from hushwire.store.database import Connection
from hushwire.store.directory import AgentRow, GroupRow, NumberRow, OrgRow
from hushwire.store.levels import ExceptionRow, LevelRow, TeamRow


@dataclass(frozen=True, slots=True)
class OrganisationRows:
    """All that is provisioned of one organisation, as of one moment."""

    org: OrgRow
    agents: list[AgentRow]
    numbers: list[NumberRow]
    groups: list[GroupRow]
    has_ended: bool
    """Whether its agreement has."""
    unrecorded: frozenset[bytes]
    free: frozenset[str]
    """The sub-processors that its data may go to."""
    do_not_call: frozenset[bytes]
    do_not_call_version: int | None
    limits: list[tuple[str, UUID, Mapping[str, Any]]]
    teams: list[TeamRow]
    levels: list[LevelRow]
    exceptions: list[ExceptionRow]
    granted: list[GrantRow]
    """Access that is given to agents now."""


async def organisation_rows(connection: Connection, known: Organisation | None, now: datetime) -> OrganisationRows | None:
    """Those of the organisation that was entered; None where it is gone. What of `known` has not changed is not read again."""
    found = await rows.organisation(connection)
    if found is None:
        return None
    org, agents, numbers = found
    unrecorded = await rows.unrecorded(connection)
    has_ended = await rows.has_ended(connection)
    groups = await rows.groups(connection)
    limits = await fraud_rows.limits(connection)
    free = await free_subprocessors(connection, org.residency, now)
    do_not_call, do_not_call_version = await _do_not_call(connection, org, agents, known)
    return OrganisationRows(
        org,
        agents,
        numbers,
        groups,
        has_ended,
        unrecorded,
        free,
        do_not_call,
        do_not_call_version,
        limits,
        await level_rows.teams(connection),
        await level_rows.levels(connection),
        await level_rows.exceptions(connection),
        await access_rows.grants(connection, now),
    )


async def _do_not_call(
    connection: Connection, org: OrgRow, agents: list[AgentRow], known: Organisation | None
) -> tuple[frozenset[bytes], int | None]:
    """The set, read anew only where it changed, and only where somebody's calls need it."""
    if not any(agent.telemarketing for agent in agents):
        return frozenset(), None
    if known is not None and known.do_not_call_version == org.do_not_call_version:
        return known.do_not_call, known.do_not_call_version
    return await rows.do_not_call(connection), org.do_not_call_version
