"""/v1/agents/{id}/greeting: what an agent's answering machine says, recorded by phone or given as a file."""

from datetime import datetime
from typing import Annotated, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.routers.recordings import Receipt
from hushwire.api.values import Id, parsed_id
from hushwire.core.ids import AgentId
from hushwire.services.greeting_uploads import TooLarge, Unopenable
from hushwire.services.sound_decoding import Busy, Unusable
from hushwire.store.greetings import Greeting

router = APIRouter(prefix="/v1/agents/{agent_id}/greeting", tags=["voicemail"])
Changing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE))]
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


@router.put(
    "",
    responses={
        415: {"description": "The body is said to be something else than sound."},
        413: {"description": "The file is larger than a greeting of the organisation may be."},
        422: {"description": "It is no sound, or one that is too long."},
        429: {"description": "Another greeting of the organisation is being taken just now, or too many of others."},
    },
    openapi_extra={"requestBody": {"required": True, "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def put_greeting(means: Given, caller: Changing, agent_id: Id, request: Request) -> GreetingShown:
    """Give a file (WAV, MP3, FLAC, Ogg, M4A and others): callers hear it from now on, and what they heard before is erased.

    It is a recording from then on, with all that this means. That callers are recorded is for it to say: they speak after its tone.
    """
    agent = AgentId(parsed_id(agent_id))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind.startswith("audio/") or kind in ("video/mp4", "application/ogg", "application/octet-stream")):
        raise Problem(415, "Send the file as audio/... or application/octet-stream.")
    outcome = await means.greeting_uploads.put(caller.org_id, agent, request.body, actor=caller.actor)
    match outcome:
        case Greeting():
            return GreetingShown(recording_id=outcome.id, made_at=outcome.made_at, duration_ms=outcome.duration_ms)
        case Unusable():
            raise invalid("body", outcome.why)
        case TooLarge():
            raise Problem(413, f"A greeting's file has at most {outcome.most >> 10} KiB.")
        case Busy():
            raise Problem(429, "Another greeting is being taken: send it once more.", headers={"Retry-After": "2"})
        case Unopenable():
            raise Problem(409, "Only the organisation's own key would open it: no answering machine could play it.")
        case None:
            raise not_found()
        case _:
            assert_never(outcome)


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
