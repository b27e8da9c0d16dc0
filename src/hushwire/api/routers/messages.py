"""/v1/messages: text messages sent, received, found by number, read by thread, erased for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, invalid, not_found, restricted
from hushwire.api.values import (
    NOBODY,
    AgentQuery,
    Body,
    BodyMoment,
    From,
    Id,
    IdempotencyKey,
    To,
    TypedNumber,
    agent_of,
    indexes_of,
    parsed_id,
    request_hash,
)
from hushwire.core.ids import AgentId
from hushwire.services.message_queries import MessageView, ThreadView
from hushwire.services.message_sending import AT_ONCE, LATEST, LONGEST_TEXT, Accepted, Estimate, Refused, Repeated, Wish
from hushwire.services.once import KeyReused, Once
from hushwire.store.messages import Wanted

router = APIRouter(prefix="/v1/messages", tags=["messages"])

Reading = Annotated[Caller, Depends(needs(Permission.MESSAGES))]
Marking = Annotated[Caller, Depends(needs(Permission.MESSAGES_SEND, opens=True))]
Sending = Annotated[Caller, Depends(needs(Permission.MESSAGES_SEND, opens=True))]
Watching = Annotated[Caller, Depends(needs(Permission.MESSAGES_SEND))]
Erasing = Annotated[Caller, Depends(needs(Permission.ERASURE))]

Direction = Literal["outbound", "inbound", "internal"]
State = Literal["queued", "submitted", "unknown", "delivered", "failed", "expired", "received"]


def _unicode(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not hold half a surrogate pair") from None
    return value


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(_unicode)]
TemplateName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Value = Annotated[str, Field(max_length=1000), AfterValidator(_unicode)]
SenderName = Annotated[str, Field(min_length=1, max_length=64, description="A number of the organisation, or its alphanumeric name.")]


class Content(Body):
    """What a message says: a text, or a template and its values."""

    text: Text | None = None
    template: TemplateName | None = None
    values: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], Value] = Field(default_factory=dict, max_length=50)

    @model_validator(mode="after")
    def _one_of_them(self) -> "Content":
        if (self.text is None) == (self.template is None):
            raise ValueError("give text or template")
        return self


class NewMessage(Content):
    """A message to one number."""

    to: TypedNumber
    sender: SenderName | None = Field(default=None, alias="from")
    agent: str | None = Field(default=None, max_length=128, description="In whose name: the agent's own number is the sender.")
    marketing: bool = Field(default=False, description="Do-not-call, hours of the recipient and consent are asked.")
    send_at: BodyMoment | None = Field(default=None, description="Not before this time, within 30 days.")


class Recipient(Body):
    """One message of several."""

    to: TypedNumber
    values: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], Value] = Field(default_factory=dict, max_length=50)


class Bulk(Content):
    """The same text or template to many."""

    recipients: list[Recipient] = Field(min_length=1, max_length=AT_ONCE)
    sender: SenderName | None = Field(default=None, alias="from")
    agent: str | None = Field(default=None, max_length=128)
    marketing: bool = False
    send_at: BodyMoment | None = None


class NumberSearch(Body):
    """With whom."""

    number: TypedNumber
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


class Mark(Body):
    """What changes of a message."""

    is_read: bool


class Message(BaseModel):
    """One message. While its processing is restricted it is listed with little more than its id."""

    id: UUID
    direction: Direction
    channel: Literal["sms", "sip"]
    state: State
    number: str | None = Field(description="Of the other side, +E.164, or a colleague's name.")
    own: str | None = Field(description="Our number, or the name that was shown.")
    text: str | None
    thread_id: UUID | None
    agent_id: UUID | None
    peer_agent_id: UUID | None
    number_id: UUID | None
    batch_id: UUID | None
    created_at: datetime
    submitted_at: datetime | None
    ended_at: datetime | None
    is_read: bool
    read_at: datetime | None
    encoding: str | None
    parts: int
    is_marketing: bool
    is_incomplete: bool = Field(description="Parts of it never came.")
    is_binary: bool = Field(description="Not text: `text` is hexadecimal digits.")
    keyword: Literal["stop", "start", "help"] | None
    country: str | None
    error: str | None
    is_restricted: bool


class Thread(BaseModel):
    """What two write to each other: its newest message, and how many nobody read."""

    thread_id: UUID | None
    unread: int
    newest: Message


class Preview(BaseModel):
    """What a message would be, before anything is sent."""

    number: str
    country: str | None
    sender: Literal["own", "alphanumeric", "pool"]
    own: str
    encoding: str
    characters: int
    parts: int = Field(description="What is billed.")
    text: str
    price: str | None = Field(description="As /v1/messages/settings states it; null where it states none.")
    currency: str | None


class Outcome(BaseModel):
    """What became of one recipient of several, by its place from 0."""

    position: int
    id: UUID | None
    parts: int | None
    reason: str | None


class Batch(BaseModel):
    """Messages that were handed in together, and how far they are."""

    id: UUID
    created_at: datetime
    accepted: int
    refused: dict[str, int]
    states: dict[str, int]


class BatchMade(BaseModel):
    """A batch as it was accepted. Repeated under its Idempotency-Key it is told without its outcomes."""

    id: UUID
    accepted: int
    refused: dict[str, int]
    outcomes: list[Outcome] | None


@router.post("", status_code=202)
async def send_message(means: Given, caller: Sending, body: NewMessage, idempotency_key: IdempotencyKey = None) -> Message:
    """Send a message. It is committed when this answers; repeated under the same Idempotency-Key it is sent once.

    403 with its `reason` where rules, the recipient's own wish or a missing sender stand in the way.
    """
    wish = await _wish(means, caller, body)
    once = None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "message", body.model_dump_json()))
    match found := await means.messages.sending.send(caller.org_id, [wish], actor=caller.actor, once=once):
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case Repeated(message_id):
            return await _shown(means, caller, message_id)
        case _:
            (outcome,) = found.outcomes
    if isinstance(outcome, Refused):
        raise refused(outcome)
    return await _shown(means, caller, outcome.id)


@router.post("/preview")
async def preview_message(means: Given, caller: Sending, body: NewMessage) -> Preview:
    """What sending this would be: whom it reaches, from whom, in how many parts of which alphabet, at what price. Nothing is sent."""
    match found := await means.messages.sending.estimate(caller.org_id, await _wish(means, caller, body)):
        case Refused():
            raise refused(found)
        case Estimate():
            return Preview(
                number=found.number,
                country=found.country,
                sender=found.sender.kind,  # type: ignore[arg-type]
                own=found.sender.shown,
                encoding=found.size.encoding.name,
                characters=found.size.characters,
                parts=found.size.parts,
                text=found.text,
                price=None if found.price is None else str(found.price),
                currency=found.currency,
            )
        case _:
            assert_never(found)


@router.post("/bulk", status_code=202)
async def send_bulk(means: Given, caller: Sending, body: Bulk, idempotency_key: IdempotencyKey = None) -> BatchMade:
    """Send one text or template to many, in one commit. Who can't be written to is told apart; the others' messages are on their way."""
    agent = await _agent(means, caller, body.agent)
    send_at = _send_at(means, body.send_at)
    wishes = [
        Wish(
            to=each.to,
            text=body.text,
            template=body.template,
            values={**body.values, **each.values},
            sender=body.sender,
            agent=agent,
            is_marketing=body.marketing,
            send_at=send_at,
        )
        for each in body.recipients
    ]
    once = None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "messages", body.model_dump_json()))
    match found := await means.messages.sending.send(caller.org_id, wishes, actor=caller.actor, once=once, is_batch=True):
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case Repeated(batch_id):
            batch = await _batch(means, caller, batch_id)
            return BatchMade(id=batch.id, accepted=batch.accepted, refused=batch.refused, outcomes=None)
        case _ if found.batch_id is None:
            raise refused(next(each for each in found.outcomes if isinstance(each, Refused) and each.reason == "limit"))
        case _:
            return _made(found.batch_id, found.outcomes)


@router.get("/bulk/{batch_id}")
async def get_batch(means: Given, caller: Watching, batch_id: Id) -> Batch:
    """How far a batch is."""
    return await _batch(means, caller, parsed_id(batch_id))


@router.get("")
async def list_messages(
    means: Given,
    caller: Reading,
    agent: AgentQuery = None,
    thread: Annotated[UUID | None, Query(description="The id of a thread.")] = None,
    batch: Annotated[UUID | None, Query(description="The id of a batch.")] = None,
    direction: Direction | None = None,
    state: State | None = None,
    unread: Annotated[bool | None, Query(description="true: from outside, and not read yet; false: read.")] = None,
    since: From = None,
    until: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Message]:
    """Messages, newest first. Erased ones are not listed."""
    wanted = Wanted(
        agent_id=await agent_of(means.queries, caller, agent),
        thread_id=thread,
        batch_id=batch,
        direction=direction,
        state=state,
        is_read=None if unread is None else not unread,
        since=since,
        until=until,
    )
    return await _page(means, caller, wanted, limit, cursor)


@router.post("/search")
async def search_messages(means: Given, caller: Reading, body: NumberSearch) -> Page[Message]:
    """Messages with a number, found by blind index."""
    wanted = Wanted(remote_indexes=await indexes_of(means.queries, caller, body.number))
    return await _page(means, caller, wanted, body.limit, body.cursor)


@router.get("/threads")
async def list_threads(means: Given, caller: Reading, agent: AgentQuery = None, limit: Limit = 50, cursor: Cursor = None) -> Page[Thread]:
    """Threads, the one that was written in last first. A thread's messages: `GET /v1/messages?thread=`."""
    owner = await agent_of(means.queries, caller, agent)
    views, place = await means.messages.queries.threads(caller.org_id, reader(caller), owner, after=read_place(cursor), limit=limit)
    return Page(items=[_thread(view) for view in views], next=place_cursor(place))


@router.get("/{text_id}")
async def get_message(means: Given, caller: Reading, text_id: Id) -> Message:
    """One message."""
    return await _shown(means, caller, parsed_id(text_id))


@router.patch("/{text_id}")
async def mark_message(means: Given, caller: Marking, text_id: Id, body: Mark) -> Message:
    """Let a message from outside count as read, or as new again."""
    await means.messages.queries.mark(caller.org_id, parsed_id(text_id), is_read=body.is_read)
    return await _shown(means, caller, parsed_id(text_id))


@router.delete("/{text_id}", response_class=Response, responses={200: {"description": "The signed proof, version 2."}})
async def erase_message(means: Given, caller: Erasing, text_id: Id) -> Response:
    """Erase for good, by the one erasure path: its key is destroyed before this answers, and what was not sent yet never is."""
    outcome = await means.erasures.erase_object(caller.org_id, "message", parsed_id(text_id), actor=caller.actor, reason="customer-request")
    return answered(outcome)


def refused(found: Refused) -> Problem:
    """A message that can't be sent, as the API says so."""
    match found.reason:
        case "agent":
            return invalid("agent", "is no agent of the organisation")
        case "template" | "template-values" | "empty" | "too-long":
            return Problem(422, found.explanation, reason=found.reason)
        case "limit":
            return Problem(429, found.explanation, reason=found.reason)
        case "no-carrier":
            return Problem(409, found.explanation, reason=found.reason)
        case _:
            return Problem(403, found.explanation, reason=found.reason)


async def _wish(means: Means, caller: Caller, body: NewMessage) -> Wish:
    return Wish(
        to=body.to,
        text=body.text,
        template=body.template,
        values=body.values,
        sender=body.sender,
        agent=await _agent(means, caller, body.agent),
        is_marketing=body.marketing,
        send_at=_send_at(means, body.send_at),
    )


async def _agent(means: Means, caller: Caller, agent: str | None) -> AgentId | None:
    found = await agent_of(means.queries, caller, agent)
    if found == NOBODY:
        raise invalid("agent", "is no agent of the organisation")
    return found


def _send_at(means: Means, at: datetime | None) -> datetime | None:
    if at is not None and at > means.clock.now() + LATEST:
        raise invalid("send_at", "must lie within 30 days")
    return at


async def _page(means: Means, caller: Caller, wanted: Wanted, limit: int, cursor: str | None) -> Page[Message]:
    views, place = await means.messages.queries.listed(caller.org_id, reader(caller), wanted, after=read_place(cursor), limit=limit)
    return Page(items=[_message(view) for view in views], next=place_cursor(place))


async def _shown(means: Means, caller: Caller, message_id: UUID) -> Message:
    view = await means.messages.queries.get(caller.org_id, reader(caller), message_id)
    if view is None:
        raise not_found()
    if view.row.is_gone:
        raise Problem(410, "The message was erased.")
    if view.row.is_restricted:
        raise restricted()
    return _message(view)


async def _batch(means: Means, caller: Caller, batch_id: UUID) -> Batch:
    row = await means.messages.settings.batch(caller.org_id, batch_id)
    if row is None:
        raise not_found()
    return Batch(id=row.id, created_at=row.created_at, accepted=row.accepted, refused=dict(row.refused), states=dict(row.states))


def _made(batch_id: UUID, outcomes: Sequence[Accepted | Refused]) -> BatchMade:
    counts: dict[str, int] = {}
    told = []
    for position, each in enumerate(outcomes):
        if isinstance(each, Refused):
            counts[each.reason] = counts.get(each.reason, 0) + 1
            told.append(Outcome(position=position, id=None, parts=None, reason=each.reason))
        else:
            told.append(Outcome(position=position, id=each.id, parts=each.parts, reason=None))
    return BatchMade(id=batch_id, accepted=len(outcomes) - sum(counts.values()), refused=counts, outcomes=told)


def _thread(view: ThreadView) -> Thread:
    return Thread(thread_id=view.newest.row.thread_id, unread=view.unread, newest=_message(view.newest))


def _message(view: MessageView) -> Message:
    row = view.row
    return Message(
        id=row.id,
        direction=row.direction,  # type: ignore[arg-type]
        channel=row.channel,  # type: ignore[arg-type]
        state=row.state,  # type: ignore[arg-type]
        number=view.remote,
        own=view.local,
        text=view.text,
        thread_id=row.thread_id,
        agent_id=row.agent_id,
        peer_agent_id=row.peer_agent_id,
        number_id=row.number_id,
        batch_id=row.batch_id,
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        ended_at=row.ended_at,
        is_read=row.read_at is not None,
        read_at=row.read_at,
        encoding=row.encoding,
        parts=row.parts,
        is_marketing=row.is_marketing,
        is_incomplete=row.is_incomplete,
        is_binary=row.is_binary,
        keyword=row.keyword,  # type: ignore[arg-type]
        country=row.country,
        error=row.error,
        is_restricted=row.is_restricted,
    )
