"""/v1/ring-groups: extensions that several agents answer."""

import re
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, Id, parsed_id
from hushwire.services.contacts import Unfit
from hushwire.services.group_settings import MOST_GROUPS, MOST_MEMBERS, TooMany, Wanted
from hushwire.services.ring_groups import Strategy
from hushwire.store.provisioning import GroupRow

router = APIRouter(prefix="/v1/ring-groups", tags=["directory"])
Reading = Annotated[Caller, Depends(needs(Permission.DIRECTORY))]
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?", re.ASCII)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits, blanks, dots, hyphens and underscores, a letter or digit first and last")
    return value


class RingGroup(BaseModel):
    """A ring group (docs/forwarding.md)."""

    id: UUID
    name: str
    extension: str
    strategy: Literal["parallel", "serial"]
    ring_s: int = Field(description="How long all are rung, or each in turn.")
    follows_forwarding: bool
    members: list[UUID] = Field(description="Agents, in the order in which they are rung one after the other.")


class RingGroupWanted(Body):
    """All of it: what is left out is as it is by default."""

    name: Annotated[str, AfterValidator(_name)]
    extension: str = Field(min_length=2, max_length=8, description="2 to 8 digits that are nobody's extension yet.")
    strategy: Literal["parallel", "serial"] = "parallel"
    ring_s: int | None = Field(default=None, ge=5, le=300, description="null: 60 s all at once, 20 s each in turn.")
    follows_forwarding: bool = Field(default=False, description="A member's forwarding of all calls to a colleague counts here too.")
    members: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        min_length=1, max_length=MOST_MEMBERS, description="Ids or usernames of agents, in their order."
    )


@router.get("")
async def list_ring_groups(means: Given, caller: Reading) -> list[RingGroup]:
    """All groups, by name."""
    return [_shown(row) for row in await means.groups.listed(caller.org_id)]


@router.post("", status_code=201)
async def add_ring_group(means: Given, caller: Changing, body: RingGroupWanted) -> RingGroup:
    """Make a group. Every gateway rings it within a second."""
    outcome = await means.groups.add(caller.org_id, await _wanted(means, caller, body), actor=caller.actor)
    if isinstance(outcome, TooMany):
        raise Problem(409, f"The organisation has {MOST_GROUPS} ring groups: remove one that is not used any more.")
    if isinstance(outcome, Unfit):
        raise invalid(outcome.field, outcome.message)
    return _shown(outcome)


@router.get("/{group_id}")
async def get_ring_group(means: Given, caller: Reading, group_id: Id) -> RingGroup:
    """One group."""
    found = await means.groups.get(caller.org_id, parsed_id(group_id))
    if found is None:
        raise not_found()
    return _shown(found)


@router.put("/{group_id}")
async def set_ring_group(means: Given, caller: Changing, group_id: Id, body: RingGroupWanted) -> RingGroup:
    """Change a group. Calls that ring there already go on as they began. `hushwire apply` brings back what its file declares."""
    found = parsed_id(group_id)
    outcome = await means.groups.change(caller.org_id, found, await _wanted(means, caller, body), actor=caller.actor)
    if outcome is None:
        raise not_found()
    if isinstance(outcome, Unfit):
        raise invalid(outcome.field, outcome.message)
    return _shown(outcome)


@router.delete("/{group_id}", status_code=204)
async def remove_ring_group(means: Given, caller: Changing, group_id: Id) -> Response:
    """Remove a group: its extension leads nowhere, and numbers that rang it ring nobody until they are assigned anew."""
    if not await means.groups.remove(caller.org_id, parsed_id(group_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


async def _wanted(means: Means, caller: Caller, body: RingGroupWanted) -> Wanted:
    members: list[UUID] = []
    for named in body.members:
        agent_id = await means.queries.agent_id(caller.org_id, named)
        if agent_id is None:
            raise invalid("members", "names somebody who is no agent of the organisation")
        members.append(agent_id)
    return Wanted(body.name, body.extension, Strategy(body.strategy), body.ring_s, body.follows_forwarding, tuple(members))


def _shown(row: GroupRow) -> RingGroup:
    return RingGroup(
        id=row.id,
        name=row.name,
        extension=row.extension,
        strategy=Strategy(row.strategy).value,
        ring_s=row.ring_s,
        follows_forwarding=row.follows_forwarding,
        members=list(row.members),
    )
