"""/v1/agents, /v1/numbers, /v1/trunks: who is there, who is reachable now, and who may call no more."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_id, write
from hushwire.api.problems import invalid, not_found
from hushwire.api.values import Body, Id, TypedNumber, parsed_id
from hushwire.services.contacts import Unfit
from hushwire.services.queries import AgentView, TrunkView

router = APIRouter(prefix="/v1", tags=["directory"])
Reading = Annotated[Caller, Depends(needs(Permission.DIRECTORY))]
MediaPorts = Literal["auto", "shared", "own"]
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]


class Device(BaseModel):
    """A device that is registered now."""

    id: UUID
    node_id: UUID
    transport: str | None
    user_agent: str | None
    expires_at: datetime


class Agent(BaseModel):
    """One agent. `is_registered`: at least one device would ring."""

    id: UUID
    username: str
    role: str
    extension: str | None
    caller_id: str | None
    suspended: bool
    media_ports: str = Field(description="whether its media shares UDP ports: auto as the deployment has it (docs/media-ports.md)")
    hides_identity: bool = Field(description="Its calls show no number, unless one asks for it (docs/caller-identity.md).")
    created_at: datetime
    is_registered: bool
    devices: list[Device]


class AgentChange(Body):
    """What is to be different; what is left out stays as it is."""

    extension: str | None = Field(default=None, min_length=1, max_length=16)
    caller_id: TypedNumber | None = None
    media_ports: MediaPorts | None = None
    hides_identity: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "AgentChange":
        if (self.extension, self.caller_id, self.media_ports, self.hides_identity) == (None, None, None, None):
            raise ValueError("give extension, caller_id, media_ports or hides_identity")
        return self


class Number(BaseModel):
    """A number of the organisation, and the agent that it rings."""

    id: UUID
    number: str
    agent_id: UUID | None
    agent: str | None
    masks: bool = Field(description="It is a proxy number of masked sessions, and rings nobody by itself (docs/masking.md).")
    created_at: datetime


class TrunkHealth(BaseModel):
    """How a carrier stands at one gateway."""

    node_id: UUID
    standing: Literal["up", "resting", "down"] = Field(description="resting and down: other carriers are tried first")
    reason: str | None = Field(description="silent, unreachable, overloaded, unresolved, or the status that came")
    since: datetime
    ways: int = Field(description="Addresses at which it is reached.")
    registered_until: datetime | None = Field(description="Our registration there; null where there is none.")


class Trunk(BaseModel):
    """A carrier of the deployment. How full it is stands in the operator's metrics: it tells of all organisations together."""

    id: UUID
    name: str
    uri: str
    srtp: str = Field(description="never, optional or required")
    keying: str = Field(description="how SRTP keys come about: sdes, best-effort (SDES that the carrier may ignore) or dtls")
    media_ports: str
    priority: int = Field(description="The lowest is tried first.")
    weight: int = Field(description="How often it is the first among trunks of the same priority.")
    trusted: bool = Field(description="Whether identities are believed from it and told to it (RFC 3325).")
    signs: bool = Field(description="Whether our callers' numbers are signed towards it (docs/stir-shaken.md).")
    verify: Literal["off", "note", "show"] = Field(description="What is done about signatures of its callers' numbers.")
    health: list[TrunkHealth] = Field(description="As each gateway that lives sees it; empty where none has said anything yet.")


@router.get("/agents")
async def list_agents(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Agent]:
    """Agents with their live registrations, oldest first."""
    views, more = await means.queries.agents(caller.org_id, reader(caller), after=read_id(cursor), limit=limit)
    return Page(items=[_agent(view) for view in views], next=None if more is None else write(str(more)))


@router.get("/agents/{agent_id}")
async def get_agent(means: Given, caller: Reading, agent_id: Id) -> Agent:
    """One agent with its live registrations."""
    view = await means.queries.agent(caller.org_id, reader(caller), parsed_id(agent_id))
    if view is None:
        raise not_found()
    return _agent(view)


@router.patch("/agents/{agent_id}")
async def rectify_agent(means: Given, caller: Changing, agent_id: Id, body: AgentChange) -> Agent:
    """Correct an agent's extension or caller id, how its media gets its ports, or whether its calls show its number.

    Every node shows the new value, and calls with it, within a second.
    """
    found = parsed_id(agent_id)
    outcome = await means.rights.agents.rectify(
        caller.org_id,
        found,
        actor=caller.actor,
        extension=body.extension,
        caller_id=body.caller_id,
        media_ports=body.media_ports,
        hides_identity=body.hides_identity,
    )
    if isinstance(outcome, Unfit):
        raise invalid(outcome.field, outcome.message)
    view = await means.queries.agent(caller.org_id, reader(caller), found) if outcome else None
    if view is None:
        raise not_found()
    return _agent(view)


@router.post("/agents/{agent_id}/suspend")
async def suspend_agent(means: Given, caller: Changing, agent_id: Id) -> Agent:
    """From now on the agent can neither register nor call; its live calls end, an emergency call excepted. Safe to repeat."""
    return await _set_suspended(means, caller, agent_id, True)


@router.post("/agents/{agent_id}/resume")
async def resume_agent(means: Given, caller: Changing, agent_id: Id) -> Agent:
    """The agent's phones may register and call again. Safe to repeat."""
    return await _set_suspended(means, caller, agent_id, False)


@router.get("/numbers")
async def list_numbers(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Number]:
    """The organisation's numbers."""
    views, more = await means.queries.numbers(caller.org_id, reader(caller), after=read_id(cursor), limit=limit)
    items = [Number(id=v.id, number=v.number, agent_id=v.agent_id, agent=v.agent, masks=v.masks, created_at=v.created_at) for v in views]
    return Page(items=items, next=None if more is None else write(str(more)))


@router.get("/trunks")
async def list_trunks(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Trunk]:
    """The deployment's carriers, which every organisation shares."""
    del caller
    views, more = await means.queries.trunks(after=read_id(cursor), limit=limit)
    return Page(items=[_trunk(view) for view in views], next=None if more is None else write(str(more)))


async def _set_suspended(means: Means, caller: Caller, agent_id: str, suspended: bool) -> Agent:
    found = parsed_id(agent_id)
    if not await means.rights.agents.set_suspended(caller.org_id, found, suspended, actor=caller.actor):
        raise not_found()
    view = await means.queries.agent(caller.org_id, reader(caller), found)
    if view is None:
        raise not_found()
    return _agent(view)


def _trunk(view: TrunkView) -> Trunk:
    health = [
        TrunkHealth(
            node_id=state.node_id,
            standing=state.standing,  # type: ignore[arg-type]
            reason=state.reason,
            since=state.since,
            ways=state.ways,
            registered_until=state.registered_until,
        )
        for state in view.states
    ]
    return Trunk(
        id=view.id,
        name=view.name,
        uri=view.uri,
        srtp=view.srtp,
        keying=view.keying,
        media_ports=view.media_ports,
        priority=view.priority,
        weight=view.weight,
        trusted=view.trusted,
        signs=view.signs,
        verify=view.verify,  # type: ignore[arg-type]
        health=health,
    )


def _agent(view: AgentView) -> Agent:
    return Agent(
        id=view.id,
        username=view.username,
        role=view.role,
        extension=view.extension,
        caller_id=view.caller_id,
        suspended=view.suspended,
        media_ports=view.media_ports,
        hides_identity=view.hides_identity,
        created_at=view.created_at,
        is_registered=bool(view.devices),
        devices=[
            Device(
                id=device.id, node_id=device.node_id, transport=device.transport, user_agent=device.user_agent, expires_at=device.expires_at
            )
            for device in view.devices
        ],
    )
