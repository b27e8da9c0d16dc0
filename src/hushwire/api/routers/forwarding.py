"""/v1/agents/{id}/forwarding: where calls go that an agent does not take."""

from typing import Annotated, Final, assert_never

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.problems import invalid, not_found
from hushwire.api.values import Body, Id, parsed_id
from hushwire.services.contacts import Unfit
from hushwire.services.forwarding import LONGEST_RING_S, SHORTEST_RING_S, Forwarding, of_values

router = APIRouter(prefix="/v1/agents/{agent_id}/forwarding", tags=["directory"])
Reading = Annotated[Caller, Depends(needs(Permission.DIRECTORY))]
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]
_WHERE: Final = "An extension, a user name, or a number as the agent dials it."


class ForwardingShown(BaseModel):
    """Where calls go that an agent does not take; null: nowhere."""

    always: str | None
    busy: str | None
    no_answer: str | None
    unavailable: str | None
    no_answer_after_s: int | None
    do_not_disturb: bool
    call_waiting: bool


class ForwardingWanted(Body):
    """All of it: what is left out is as it is by default."""

    always: str | None = Field(default=None, max_length=64, description=f"Every call; no phone rings. {_WHERE}")
    busy: str | None = Field(default=None, max_length=64, description="Where the agent is busy, declines, or is not to be disturbed.")
    no_answer: str | None = Field(default=None, max_length=64, description="Where nobody answers.")
    unavailable: str | None = Field(default=None, max_length=64, description="Where no phone is reached; null: as `no_answer`.")
    no_answer_after_s: int | None = Field(default=None, ge=SHORTEST_RING_S, le=LONGEST_RING_S, description="How long phones ring before.")
    do_not_disturb: bool = Field(default=False, description="No phone rings.")
    call_waiting: bool = Field(default=True, description="A call rings while the agent is in another; else the agent is busy to it.")


@router.get("")
async def get_forwarding(means: Given, caller: Reading, agent_id: Id) -> ForwardingShown:
    """How it stands, by whomever it was set."""
    found = await means.forwarding.get(caller.org_id, parsed_id(agent_id), reader(caller))
    if found is None:
        raise not_found()
    return _shown(found)


@router.put("")
async def set_forwarding(means: Given, caller: Changing, agent_id: Id, body: ForwardingWanted) -> ForwardingShown:
    """Set it. A number is judged by the agent's rules now, and again whenever a call goes there."""
    outcome = await means.forwarding.put(caller.org_id, parsed_id(agent_id), of_values(body.model_dump()), actor=caller.actor)
    match outcome:
        case Forwarding():
            return _shown(outcome)
        case Unfit():
            raise invalid(outcome.field, outcome.message)
        case None:
            raise not_found()
        case _:
            assert_never(outcome)


def _shown(found: Forwarding) -> ForwardingShown:
    named = dict.fromkeys(("always", "busy", "no_answer", "unavailable")) | found.destinations()
    return ForwardingShown(
        **named,
        no_answer_after_s=found.no_answer_after_s,
        do_not_disturb=found.do_not_disturb,
        call_waiting=found.call_waiting,
    )
