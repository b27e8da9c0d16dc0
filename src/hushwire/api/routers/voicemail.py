"""/v1/voicemail: messages in agents' mailboxes. A message is a recording: it is played and erased as one, under the same id."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import not_found
from hushwire.api.routers import listening
from hushwire.api.routers.recordings import Receipt, gone
from hushwire.api.values import AgentQuery, Body, Id, agent_of, parsed_id
from hushwire.core.ids import RecordingId
from hushwire.recording.containers import AudioFormat
from hushwire.services.recordings import Gone
from hushwire.services.voicemail_queries import MessageView

router = APIRouter(prefix="/v1/voicemail", tags=["voicemail"])

Reading = Annotated[Caller, Depends(needs(Permission.RECORDINGS))]
Listening = Annotated[Caller, Depends(needs(Permission.CONTENT))]
Marking = Annotated[Caller, Depends(needs(Permission.CALL_CONTROL, opens=True))]
Erasing = Annotated[Caller, Depends(needs(Permission.ERASURE))]


class Message(BaseModel):
    """One message."""

    id: UUID = Field(description="The recording's id.")
    agent_id: UUID = Field(description="Whose mailbox it lies in.")
    agent: str | None = Field(description="Username of the agent.")
    call_id: UUID
    caller: str | None = Field(description="The number, or a colleague's username; null where it was hidden or erased.")
    caller_agent_id: UUID | None
    left_at: datetime
    duration_ms: int | None = Field(description="Null until it was measured: who wrote it died.")
    speech_ms: int | None = Field(description="How much of it is speech; null where nobody counted to its end.")
    is_read: bool
    read_at: datetime | None = Field(description="When it was first heard, by phone or as told here.")
    is_cut: bool = Field(description="Who wrote it died: what was sealed until then is there.")
    is_restricted: bool
    custody: Literal["hushwire", "both", "customer"]


class Mark(Body):
    """What changes of a message."""

    is_read: bool


@router.get("")
async def list_messages(
    means: Given,
    caller: Reading,
    agent: AgentQuery = None,
    unread: Annotated[bool | None, Query(description="true: those that nobody heard yet; false: the others.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Message]:
    """Messages, newest first. Erased ones are not listed."""
    owner = await agent_of(means.queries, caller, agent)
    views, place = await means.voicemail.listed(
        caller.org_id, reader(caller), agent=owner, unread=unread, after=read_place(cursor), limit=limit
    )
    return Page(items=[_message(view) for view in views], next=place_cursor(place))


@router.get("/{message_id}")
async def get_message(means: Given, caller: Reading, message_id: Id) -> Message:
    """One message."""
    return await _shown(means, caller, message_id)


@router.patch("/{message_id}")
async def mark_message(means: Given, caller: Marking, message_id: Id, body: Mark) -> Message:
    """Let it count as heard, or as new again. The message lamps of its owner's phones follow."""
    await means.voicemail.mark(caller.org_id, parsed_id(message_id), is_read=body.is_read)
    return await _shown(means, caller, message_id)


@router.get("/{message_id}/audio", response_class=Response, responses={
    200: {"description": "The message, as any recording is played: /v1/recordings/{id}/audio.", "content": listening.AUDIO},
})  # fmt: skip
async def get_message_audio(
    request: Request,
    means: Given,
    caller: Listening,
    message_id: Id,
    audio_format: Annotated[AudioFormat, Query(alias="format")] = AudioFormat.OGG,
) -> Response:
    """The message's sound. It does not count as heard by that: who listened may not be whose it is."""
    if not await means.voicemail.is_message(caller.org_id, parsed_id(message_id)):
        raise not_found()
    return await listening.get_audio(request, means, caller, message_id, audio_format)


@router.delete("/{message_id}", response_class=Response, responses={200: {"model": Receipt, "description": "The signed receipt."}})
async def erase_message(means: Given, caller: Erasing, message_id: Id) -> Response:
    """Erase for good, as any recording: its key is destroyed before this answers. Asked again, the receipt is the same."""
    found = RecordingId(parsed_id(message_id))
    if not await means.voicemail.is_message(caller.org_id, found):
        receipt = await means.erasures.receipt(caller.org_id, found)
        if receipt is None:
            raise not_found()
        return Response(receipt, media_type="application/json")
    return answered(await means.erasures.erase(caller.org_id, found, actor=caller.actor, reason="customer-request"))


async def _shown(means: Means, caller: Caller, message_id: str) -> Message:
    found = await means.voicemail.get(caller.org_id, reader(caller), parsed_id(message_id))
    if found is not None:
        return _message(found)
    is_known = await means.voicemail.is_message(caller.org_id, parsed_id(message_id))
    if is_known and isinstance(await means.recordings.get(caller.org_id, RecordingId(parsed_id(message_id))), Gone):
        raise gone(message_id)
    raise not_found()


def _message(view: MessageView) -> Message:
    row = view.row
    is_shown = not row.is_restricted
    return Message(
        id=row.id,
        agent_id=row.agent_id,
        agent=view.agent,
        call_id=row.call_id,
        caller=view.caller,
        caller_agent_id=view.caller_agent_id,
        left_at=row.left_at,
        duration_ms=row.duration_ms if is_shown else None,
        speech_ms=row.speech_ms if is_shown else None,
        is_read=row.read_at is not None,
        read_at=row.read_at,
        is_cut=row.is_cut,
        is_restricted=row.is_restricted,
        custody=row.custody,  # type: ignore[arg-type]
    )
