"""/v1/calls: what was called, by whom, how it was protected; and hands on what is going on."""

from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import RETRY_AFTER_S, Problem, invalid, not_found, restricted
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
from hushwire.core.ids import CallId
from hushwire.services.call_actions import Accepted, Action, Done, KeyReused, NoCall, Once, Refused
from hushwire.services.call_requests import Begun, NoAgent, NotBegun, Taken
from hushwire.services.call_requests import Outcome as CallOutcome
from hushwire.services.queries import CallView
from hushwire.services.refusals import Explained, explained
from hushwire.store.search import CallFilter

router = APIRouter(prefix="/v1/calls", tags=["calls"])

State = Literal["ringing", "active", "ended", "refused", "failed"]
Direction = Literal["outbound", "inbound", "internal", "echo", "supervision", "conference", "voicemail"]
Reading = Annotated[Caller, Depends(needs(Permission.CALLS))]
Steering = Annotated[Caller, Depends(needs(Permission.CALL_CONTROL))]
Making = Annotated[Caller, Depends(needs(Permission.CALLS_MAKE))]
Supervising = Annotated[Caller, Depends(needs(Permission.SUPERVISION))]


class TrunkAttempt(BaseModel):
    """One way to a carrier that a call tried."""

    trunk: str
    outcome: str | None = Field(description="answered, silent, unreachable, full, the status that came, or how the call ended meanwhile.")
    after_ms: int | None = Field(description="How long it was tried.")
    attestation: Literal["A", "B", "C"] | None = Field(
        default=None, description="What was signed there of the number shown (docs/stir-shaken.md)."
    )


class Diversion(BaseModel):
    """An agent's phones did not take the call, and it went on, or was to."""

    agent: UUID = Field(description="Who diverted it.")
    reason: Literal["unconditional", "do-not-disturb", "user-busy", "no-answer", "unavailable", "deflection"]
    leads_out: bool = Field(description="To a number outside.")
    refused: str | None = Field(description="Why it went no further from there, in a word (docs/forwarding.md).")


class Call(BaseModel):
    """One call. `agent_leg` and `peer_leg` tell the truth about protection: transport, TLS, SRTP suite or clear."""

    id: UUID
    direction: Direction
    state: State
    agent_id: UUID | None
    agent: str | None = Field(description="Username of the agent.")
    peer_agent_id: UUID | None
    peer_agent: str | None
    device_id: UUID | None = Field(description="Whose credential the agent's phone showed; the agent's own id: its own password.")
    device: str | None = Field(description="What people call that device; null for the agent's own password and for what is gone.")
    peer_device_id: UUID | None = Field(description="The same of the peer agent, once one of its phones has answered.")
    peer_device: str | None
    caller_hidden: bool | None = Field(
        description="The caller's number was shown to nobody; of a caller from outside it is not kept either."
    )
    masking_session_id: UUID | None = Field(description="The masked session that it belongs to: nobody's own number is shown then.")
    remote: str | None = Field(description="The number on the far side; null where there is none, or where it was erased or withheld.")
    local: str | None = Field(description="The number presented by, or dialled to, our side.")
    diversions: list[Diversion] | None = Field(description="How it went on from who was called first, in order (docs/forwarding.md).")
    diverted_to: str | None = Field(description="The number outside that it was diverted to at last.")
    trunk_id: UUID | None = Field(description="The carrier that carries it, or had it last.")
    trunk_attempts: list[TrunkAttempt] | None = Field(description="The ways to a carrier that were tried, in order; once it is over.")
    recording_id: UUID | None
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    sip_status: int | None
    end_reason: str | None
    explanation: str | None = Field(description="Why it was refused, or is over, in one sentence: as the caller was told.")
    problem: str | None = Field(description="The same as a problem type; GET /v1/refusals lists all.")
    verdict: str | None
    verdict_reason: str | None
    country: str | None
    number_class: str | None
    rules_version: int | None
    agent_leg: dict[str, Any] | None
    peer_leg: dict[str, Any] | None
    quality: dict[str, Any] | None = Field(
        description="How it sounds, per leg (`agent`, `peer`, `leg-2` ...): of the last 5 s while it lives (brought up to date every 15 s),"
        " of the whole call when it is over. Losses are shares of 1, `mos_*` are ITU-T G.107's; what is not known is absent."
        " docs/quality.md names all."
    )
    joined_call_id: UUID | None = Field(
        description="The call that this one joins: a supervisor's leg, a conference member's, or one that was rung to take a party's place."
    )
    joined_as: Literal["listen", "whisper", "barge", "member", "successor"] | None = Field(description="The last that it was there.")
    transferred_to: UUID | None = Field(description="The call in which its other party goes on (docs/transfers.md).")
    transferred_as: Literal["blind", "attended", "return", "park", "retrieve", "pickup", "move"] | None
    transferred_by: UUID | None = Field(description="The agent who wished it.")
    leg_ended_at: datetime | None = Field(
        description="When that party left the other call. Its leg is paid for by this call's agent until then."
    )
    took_in: list[UUID] | None = Field(description="The calls whose parties go on, or went on, in this one.")
    supervised_ms: int | None = Field(description="How long supervisors were in it, all together; of those who have left.")
    caller_verdict: Literal["passed", "failed", "unverified"] | None = Field(
        description="Whether the number of who calls was vouched for (docs/stir-shaken.md); null where its carrier is not verified."
    )
    caller_verdict_reason: str | None = Field(description="Why it was not, in a word.")
    caller_attestation: Literal["A", "B", "C"] | None = Field(
        description="What its signer says: A may show the number, B is known to it, C came through it. Only of what passed."
    )
    caller_signer: str | None = Field(description="Who signed: the provider's code, from its certificate.")
    is_restricted: bool = Field(description="Its processing is restricted: it is kept, listed with little more than its id, and not read.")


class CallSearch(Body):
    """What to look for. Numbers never stand in a URL, so this is a POST."""

    number: TypedNumber
    from_: BodyMoment | None = Field(default=None, alias="from")
    to: BodyMoment | None = None
    state: State | None = None
    direction: Direction | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


class CallWanted(Body):
    """Whom an agent is to call: the agent's own phones ring first, and then the destination is called."""

    agent: str = Field(min_length=1, max_length=128, description="The agent's username or id. It needs a registered phone.")
    to: str = Field(
        min_length=1,
        max_length=256,
        description="As the agent would dial it: a number, an extension, a sip or tel URI.",
    )
    auto_answer: bool = Field(
        default=False,
        description="Ask the agent's phone to take the call by itself (Alert-Info, Call-Info, Answer-Mode); it does where it is set so.",
    )
    telemarketing: bool = Field(
        default=False,
        description="It is telemarketing, whoever the agent is: the do-not-call set and calling hours hold.",
    )


class Invitation(Body):
    """Whom an agent who is in a conference calls into it."""

    agent: str = Field(min_length=1, max_length=128, description="The agent's username or id; it must be in the conference.")
    to: str = Field(min_length=1, max_length=256, description="As the agent would dial it: a number, an extension, a sip or tel URI.")


class CallBegun(BaseModel):
    """The agent's phones ring. `GET /v1/calls/{id}` and the events of the call say how it goes on."""

    id: UUID
    state: Literal["ringing"] = "ringing"


class CallAccepted(BaseModel):
    """A gateway has it and has not answered yet: repeat the request under its Idempotency-Key to hear how it went."""

    request_id: UUID


class RecordingAction(Body):
    """What to do with the recording of a live call."""

    action: Literal["pause", "resume", "stop", "start"]


class Supervise(Body):
    """What a supervisor does in a live call: `listen` unheard, `whisper` to the agent alone, `barge` in, or `leave`. The first of these
    rings the supervisor's own phone; each further one changes what it is there."""

    action: Literal["listen", "whisper", "barge", "leave"]
    agent: str = Field(min_length=1, max_length=128, description="The supervisor's username or id; its role must be supervisor or above.")


class Sensitive(Body):
    """Whether something is being said or keyed that must not be kept, such as a card's number."""

    on: bool


class Outcome(BaseModel):
    """`ok`: done. `accepted`: the node of the call has not answered yet."""

    id: UUID = Field(description="The id of the command.")
    outcome: Literal["ok", "accepted"]


@router.get("")
async def list_calls(
    means: Given,
    caller: Reading,
    agent: AgentQuery = None,
    state: Annotated[State | None, Query()] = None,
    direction: Annotated[Direction | None, Query()] = None,
    since: From = None,
    until: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Call]:
    """Calls, newest first, refused ones included."""
    wanted = CallFilter(await agent_of(means.queries, caller, agent), state, direction, since, until)
    page = await means.queries.calls(caller.org_id, reader(caller), wanted, after=read_place(cursor), limit=limit)
    return Page(items=[_call(view) for view in page.items], next=place_cursor(page.next))


@router.post(
    "",
    status_code=201,
    response_model=CallBegun,
    responses={202: {"model": CallAccepted, "description": "A gateway has it and has not answered yet."}},
)
async def begin_call(
    means: Given, caller: Making, body: CallWanted, response: Response, idempotency_key: IdempotencyKey = None
) -> CallBegun | JSONResponse:
    """Click-to-call: ring an agent's own phones, and then call somebody in its name, under its rules.

    The destination is judged before any phone rings: a refusal is answered with its reason, in the words that the phone would be told.
    It is judged again once the agent is there. `POST /v1/calls/{id}/hangup` ends it at any time.
    """
    agent = await agent_of(means.queries, caller, body.agent)
    flags = f"{body.auto_answer:d}{body.telemarketing:d}"
    outcome = await means.call_requests.ask(
        caller.org_id,
        agent or NOBODY,
        body.to,
        actor=caller.actor,
        answers_itself=body.auto_answer,
        is_telemarketing=body.telemarketing,
        once=None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "call", str(agent), flags, body.to)),
    )
    return begun(outcome, response)


@router.post(
    "/{call_id}/participants",
    status_code=201,
    response_model=CallBegun,
    responses={202: {"model": CallAccepted, "description": "The conference's gateway has it and has not answered yet."}},
)
async def invite_participant(
    means: Given, caller: Making, call_id: Id, body: Invitation, response: Response, idempotency_key: IdempotencyKey = None
) -> CallBegun | JSONResponse:
    """Call somebody into a conference, in the name and under the rules of an agent who is in it; the answer names the new member's call.

    `call_id` is the conference's: a call of the direction `conference` that joins none. It ends, with all who were called into it, when
    the last agent has left.
    """
    found = CallId(parsed_id(call_id))
    room = await means.call_requests.room(caller.org_id, found)
    if room is None:
        raise not_found()
    agent = await agent_of(means.queries, caller, body.agent)
    outcome = await means.call_requests.ask(
        caller.org_id,
        agent or NOBODY,
        body.to,
        actor=caller.actor,
        room=room,
        once=None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "invite", str(found), str(agent), body.to)),
    )
    return begun(outcome, response)


def begun(outcome: CallOutcome, response: Response) -> CallBegun | JSONResponse:
    """The answer to who asked for a call. Problem where none was begun."""
    match outcome:
        case Begun(call_id):
            response.headers["Location"] = f"/v1/calls/{call_id}"
            return CallBegun(id=call_id)
        case Taken(request_id):
            return JSONResponse({"request_id": str(request_id)}, 202)
        case NotBegun(why):
            raise not_called(why)
        case NoAgent():
            raise invalid("agent", "the organisation has no such agent")
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case _:
            assert_never(outcome)


def not_called(why: Explained) -> Problem:
    """A call that is not made, in the words of the catalogue of refusals (GET /v1/refusals)."""
    statuses = {403: 403, 404: 422, 484: 422, 503: 503, 500: 500}
    status = statuses.get(why.status or 500, 409)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return Problem(status, why.sentence, headers=headers, type=why.problem, title=why.words, reason=why.code)


@router.post("/search")
async def search_calls(means: Given, caller: Reading, body: CallSearch) -> Page[Call]:
    """Calls with a number on the far side, newest first, found by its blind index."""
    indexes = await indexes_of(means.queries, caller, body.number)
    wanted = CallFilter(None, body.state, body.direction, body.from_, body.to, indexes)
    page = await means.queries.calls(caller.org_id, reader(caller), wanted, after=read_place(body.cursor), limit=body.limit)
    return Page(items=[_call(view) for view in page.items], next=place_cursor(page.next))


@router.get("/{call_id}")
async def get_call(means: Given, caller: Reading, call_id: Id) -> Call:
    """One call."""
    view = await means.queries.call(caller.org_id, reader(caller), CallId(parsed_id(call_id)))
    if view is None:
        raise not_found()
    if view.row.is_restricted:
        raise restricted()
    return _call(view)


@router.post("/{call_id}/hangup", responses={202: {"model": Outcome, "description": "The call's node has not answered yet."}})
async def hang_up(means: Given, caller: Steering, call_id: Id, response: Response, idempotency_key: IdempotencyKey = None) -> Outcome:
    """End a live call."""
    return await _ask(means, caller, call_id, "hangup", response, idempotency_key)


@router.post("/{call_id}/recording", responses={202: {"model": Outcome, "description": "The call's node has not answered yet."}})
async def steer_recording(
    means: Given, caller: Steering, call_id: Id, body: RecordingAction, response: Response, idempotency_key: IdempotencyKey = None
) -> Outcome:
    """Pause, resume, stop or start the recording of a live call."""
    actions: dict[str, Action] = {
        "pause": "recording.pause",
        "resume": "recording.resume",
        "stop": "recording.stop",
        "start": "recording.start",
    }
    return await _ask(means, caller, call_id, actions[body.action], response, idempotency_key)


@router.post("/{call_id}/sensitive", responses={202: {"model": Outcome, "description": "The call's node has not answered yet."}})
async def set_sensitive(
    means: Given, caller: Steering, call_id: Id, body: Sensitive, response: Response, idempotency_key: IdempotencyKey = None
) -> Outcome:
    """While it is on, a live call's digits are told to nobody and nothing of it is recorded: the recording has a marked gap."""
    return await _ask(means, caller, call_id, "sensitive.on" if body.on else "sensitive.off", response, idempotency_key)


@router.post("/{call_id}/supervise", responses={202: {"model": Outcome, "description": "The call's node has not answered yet."}})
async def supervise(
    means: Given, caller: Supervising, call_id: Id, body: Supervise, response: Response, idempotency_key: IdempotencyKey = None
) -> Outcome:
    """Let a supervisor into a live call, change what it does there, or let it go. The purpose and who asked stand in the audit log.

    Refused where recording the call would be: by the law on consent, or because the other party objected.
    """
    actions: dict[str, Action] = {
        "listen": "supervise.listen",
        "whisper": "supervise.whisper",
        "barge": "supervise.barge",
        "leave": "supervise.leave",
    }
    agent = await agent_of(means.queries, caller, body.agent)
    details = {"agent": str(agent), "purpose": reader(caller).purpose}
    return await _ask(means, caller, call_id, actions[body.action], response, idempotency_key, details)


async def _ask(
    means: Means,
    caller: Caller,
    call_id: str,
    action: Action,
    response: Response,
    key: str | None,
    details: dict[str, str] | None = None,
) -> Outcome:
    found = parsed_id(call_id)
    once = None if key is None else Once(key, request_hash(caller, action, str(found), *(details or {}).values()))
    match outcome := await means.actions.ask(caller.org_id, CallId(found), action, actor=caller.actor, details=details, once=once):
        case Done(command_id):
            return Outcome(id=command_id, outcome="ok")
        case Accepted(command_id):
            response.status_code = 202
            return Outcome(id=command_id, outcome="accepted")
        case Refused(reason):
            raise Problem(409, f"Not done: {reason}.")
        case NoCall():
            raise not_found()
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case _:
            assert_never(outcome)


def _call(view: CallView) -> Call:
    row = view.row
    told = explained(row.verdict_reason, row.end_reason)
    return Call(
        id=row.id,
        direction=row.direction,  # type: ignore[arg-type]
        state=row.state,  # type: ignore[arg-type]
        agent_id=row.agent_id,
        agent=view.agent,
        peer_agent_id=row.peer_agent_id,
        peer_agent=view.peer_agent,
        device_id=row.device_id,
        device=view.device,
        peer_device_id=row.peer_device_id,
        peer_device=view.peer_device,
        caller_hidden=None if row.is_restricted else row.caller_hidden,
        masking_session_id=row.masking_session_id,
        remote=view.remote,
        local=view.local,
        diversions=None if row.diversions is None else [Diversion(**one) for one in row.diversions],
        diverted_to=view.diverted_to,
        trunk_id=row.trunk_id,
        trunk_attempts=None if row.trunk_attempts is None else [TrunkAttempt(**one) for one in row.trunk_attempts],
        recording_id=row.recording_id,
        started_at=row.started_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        duration_ms=row.duration_ms,
        sip_status=row.sip_status,
        end_reason=row.end_reason,
        explanation=None if told is None else told.sentence,
        problem=None if told is None else told.problem,
        verdict=row.verdict,
        verdict_reason=row.verdict_reason,
        country=row.country,
        number_class=row.number_class,
        rules_version=row.rules_version,
        agent_leg=row.agent_leg,
        peer_leg=row.peer_leg,
        quality=row.quality,
        joined_call_id=row.joined_call_id,
        joined_as=row.joined_as,  # type: ignore[arg-type]
        transferred_to=row.transferred_to,
        transferred_as=row.transferred_as,  # type: ignore[arg-type]
        transferred_by=row.transferred_by,
        leg_ended_at=row.leg_ended_at,
        took_in=None if row.is_restricted else row.took_in or [],
        supervised_ms=row.supervised_ms,
        caller_verdict=row.caller_verdict,  # type: ignore[arg-type]
        caller_verdict_reason=row.caller_verdict_reason,
        caller_attestation=row.caller_attestation,  # type: ignore[arg-type]
        caller_signer=row.caller_signer,
        is_restricted=row.is_restricted,
    )
