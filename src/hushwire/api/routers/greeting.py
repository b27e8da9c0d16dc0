"""/v1/agents/{id}/greeting: what an agent's answering machine says, where the agent recorded it by phone."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import not_found
from hushwire.api.routers.recordings import Receipt
from hushwire.api.values import Id, parsed_id
from hushwire.core.ids import AgentId
from hushwire.store.greetings import Greeting

router = APIRouter(prefix="/v1/agents/{agent_id}/greeting", tags=["voicemail"])
Reading = Annotated[Caller, Depends(needs(Permission.RECORDINGS))]
Erasing = Annotated[Caller, Depends(needs(Permission.ERASURE))]


class GreetingShown(BaseModel):
    """The agent's own greeting."""

    recording_id: UUID = Field(description="It is a recording: played by /v1/recordings/{id}/audio.")
    made_at: datetime
    duration_ms: int | None = Field(description="Null until it was measured: who wrote it died.")


@router.get("")
async def get_greeting(means: Given, caller: Reading, agent_id: Id) -> GreetingShown:
    """The one that callers hear. 404: the agent has none of its own, and callers hear the configured one."""
    found = await _used(means, caller, agent_id)
    return GreetingShown(recording_id=found.id, made_at=found.made_at, duration_ms=found.duration_ms)


@router.delete("", response_class=Response, responses={200: {"model": Receipt, "description": "The signed receipt."}})
async def erase_greeting(means: Given, caller: Erasing, agent_id: Id) -> Response:
    """Erase it for good, as any recording; callers hear the configured one. Asked again there is none: its receipt is the recording's."""
    found = await _used(means, caller, agent_id)
    return answered(await means.erasures.erase(caller.org_id, found.id, actor=caller.actor, reason="customer-request"))


async def _used(means: Means, caller: Caller, agent_id: str) -> Greeting:
    found = await means.greetings.used(caller.org_id, AgentId(parsed_id(agent_id)))
    if found is None:
        raise not_found()
    return found
