"""/v1/voice-security/alarms and /limits: what the fraud breaker found, and how much of calling is normal."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_place, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.routers.devices import MintedDevice, granted, minted
from hushwire.api.values import Body, Id, parsed_id
from hushwire.policy.breaker import Action, Level, Signal
from hushwire.policy.limits import LimitsUnreadableError, read
from hushwire.services.fraud_alarms import BY_HAND, Alarm, AlreadyLocked, AlreadyMinted, NoCredential
from hushwire.services.limits import OF_ALL, Shown, SubjectLimits

router = APIRouter(prefix="/v1/voice-security", tags=["voice security"])
Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Changing = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
Replacing = Annotated[Caller, Depends(needs(Permission.DIRECTORY_CHANGE, opens=True))]
_LIMIT_HELP = "By signal: `most` (null: no limit) and `action`; `off` for neither; null for the default."


class FraudAlarm(BaseModel):
    """Something was too much, or unlike the agent. It names nobody who was called."""

    id: UUID
    level: Level
    subject_id: UUID = Field(description="The agent, team or organisation whose limit it was.")
    agent_id: UUID | None = Field(description="Whose attempt it was; null: a program's, such as texts that were sent by API.")
    credential_id: UUID | None = Field(description="The device that showed it; the agent's id for its own password; null: none did.")
    signal: Signal | Literal["by-hand"]
    action: Action
    seen: float
    most: float | None
    times: int
    first_at: datetime
    last_at: datetime
    locked: bool = Field(description="Whether it keeps something locked now.")
    undone_at: datetime | None
    undone_by: str | None
    replaced_at: datetime | None = Field(description="When the credential was taken away for good.")
    replacement_id: UUID | None = Field(description="The device that was minted in its place.")
    secret_waits: bool = Field(description="Whether the password of what was minted with the lock waits to be fetched, by `replace`.")


class Suspected(Body):
    """A credential that is to be locked by hand."""

    agent_id: UUID = Field(strict=False)
    credential_id: UUID | None = Field(default=None, strict=False, description="The device; left out: the agent's own password.")
    waits: bool = Field(default=False, description="Make no password now: the new device gets it when its link is opened.")


class RaisedByHand(BaseModel):
    """The alarm that stands for the lock, and the credential in the locked one's place. Its password is shown here and never again."""

    alarm: FraudAlarm
    minted: MintedDevice | None = Field(description="Null: the agent has as many devices as it may have, and its credential is locked.")


class Replacement(Body):
    """How the new credential is handed out."""

    waits: bool = Field(default=False, description="Make no password now: the device gets it when its link is opened.")


class AllLimits(BaseModel):
    """The limits of the organisation as a whole, of each team and of each agent that has none of its own."""

    organisation: Shown
    each_team: Shown
    each_agent: Shown


class LimitsChange(Body):
    """What is left out stays as it is."""

    organisation: dict[str, Any] | None = Field(default=None, max_length=20, description=_LIMIT_HELP)
    each_team: dict[str, Any] | None = Field(default=None, max_length=20, description=_LIMIT_HELP)
    each_agent: dict[str, Any] | None = Field(default=None, max_length=20, description=_LIMIT_HELP)


class OwnLimits(BaseModel):
    """The limits of one team or agent; of an agent also what it has used of this day (UTC)."""

    limits: Shown
    used_minutes: float | None = None
    used_spend: dict[str, float] | None = Field(default=None, description="An estimate, by currency.")


class OwnLimitsChange(Body):
    """What is left out stays as it is."""

    limits: dict[str, Any] = Field(max_length=20, description=_LIMIT_HELP)


State = Annotated[Literal["standing", "undone"] | None, Query(description="Those that stand, or those that were undone.")]
Agent = Annotated[UUID | None, Query(description="Of one agent.")]


@router.get("/alarms")
async def list_alarms(
    means: Given, caller: Reading, state: State = None, agent_id: Agent = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[FraudAlarm]:
    """Alarms, newest first."""
    place = read_place(cursor)
    found = await means.fraud_alarms.listed(
        caller.org_id,
        standing=None if state is None else state == "standing",
        agent_id=agent_id,
        before=None if place is None else (place.started_at, place.id),
        limit=limit + 1,
    )
    last = found[limit - 1].row if len(found) > limit else None
    return Page(items=[_shown(one) for one in found[:limit]], next=None if last is None else write(last.first_at.isoformat(), str(last.id)))


@router.post("/alarms", status_code=201)
async def lock_credential(means: Given, caller: Replacing, body: Suspected) -> RaisedByHand:
    """Lock a credential and mint another one, in one step: its calls and registrations end on every gateway within a second.

    An alarm stands for it from then on, as for what the breaker finds: `undo` opens the credential again, `replace` takes it away for good.
    """
    found = await means.fraud_alarms.lock(
        caller.org_id, body.agent_id, body.credential_id or body.agent_id, actor=caller.actor, waits=body.waits
    )
    if isinstance(found, AlreadyLocked):
        raise Problem(409, "The credential is locked already: answer the alarm that stands for it.")
    if found is None:
        raise not_found()
    made = None if found.minted is None else minted(means.sip_domain, found.minted)
    return RaisedByHand(alarm=_shown(found.alarm), minted=made)


@router.get("/alarms/{alarm_id}")
async def get_alarm(means: Given, caller: Reading, alarm_id: Id) -> FraudAlarm:
    """One alarm."""
    return _known(await means.fraud_alarms.get(caller.org_id, parsed_id(alarm_id)))


@router.post("/alarms/{alarm_id}/undo")
async def undo_alarm(means: Given, caller: Changing, alarm_id: Id) -> FraudAlarm:
    """It was a false alarm: what is locked of its agent opens, and the agent's counters begin anew, on every gateway within a second.

    All alarms of the agent go with it. Safe to repeat.
    """
    return _known(await means.fraud_alarms.undo(caller.org_id, parsed_id(alarm_id), actor=caller.actor))


@router.post("/alarms/{alarm_id}/replace", status_code=201)
async def replace_credential(means: Given, caller: Replacing, alarm_id: Id, body: Replacement, response: Response) -> MintedDevice:
    """It was no false alarm: the credential is taken away for good and another one handed out, in one step.

    The one that was minted with the lock, if one waits: its password is shown by this, once. Else one that is made now (201). Where one was
    handed out already (with a lock by hand, or by this) nothing is minted: 200, with that one, no password, and a note. Safe to repeat.
    """
    found = await means.fraud_alarms.replace(caller.org_id, parsed_id(alarm_id), actor=caller.actor, waits=body.waits)
    if isinstance(found, NoCredential):
        raise Problem(409, "No credential was shown: there is none to replace.")
    if isinstance(found, AlreadyMinted):
        response.status_code = 200
        devices = f"/v1/agents/{found.agent_id}/devices"
        note = (
            "The stolen credential is taken away. This one was minted in its place before, and its password was shown then, or is shown by"
            f" its link. If that is lost: DELETE {devices}/{found.minted.id}, and POST {devices} for another one."
        )
        return minted(means.sip_domain, found.minted, note)
    return minted(means.sip_domain, granted(found))


@router.get("/limits")
async def get_limits(means: Given, caller: Reading) -> AllLimits:
    """How much of calling is normal."""
    return all_limits(await means.limits.of_all(caller.org_id))


@router.put("/limits")
async def put_limits(means: Given, caller: Changing, body: LimitsChange) -> AllLimits:
    """Set limits. The next call on every node obeys them within a second."""
    await change_limits(means, caller, body)
    return all_limits(await means.limits.of_all(caller.org_id))


@router.get("/limits/agents/{agent_id}")
async def get_agent_limits(means: Given, caller: Reading, agent_id: Id) -> OwnLimits:
    """An agent's limits, and what it has used today."""
    return _own(await means.limits.of(caller.org_id, "agent", parsed_id(agent_id)))


@router.put("/limits/agents/{agent_id}")
async def put_agent_limits(means: Given, caller: Changing, agent_id: Id, body: OwnLimitsChange) -> OwnLimits:
    """Set limits of an agent, over those of each."""
    return await _put_own(means, caller, "agent", parsed_id(agent_id), body)


@router.get("/limits/teams/{team_id}")
async def get_team_limits(means: Given, caller: Reading, team_id: Id) -> OwnLimits:
    """A team's limits."""
    return _own(await means.limits.of(caller.org_id, "team", parsed_id(team_id)))


@router.put("/limits/teams/{team_id}")
async def put_team_limits(means: Given, caller: Changing, team_id: Id, body: OwnLimitsChange) -> OwnLimits:
    """Set limits of a team, over those of each."""
    return await _put_own(means, caller, "team", parsed_id(team_id), body)


def check_limits(body: LimitsChange) -> None:
    """Problem 422 for what are no limits."""
    try:
        for level in OF_ALL:
            said = getattr(body, level.replace("-", "_")) or {}
            read({name: "off" if bound is None else bound for name, bound in said.items()}, level)
    except LimitsUnreadableError as error:
        raise invalid("limits", str(error)) from None


async def change_limits(means: Given, caller: Caller, body: LimitsChange) -> None:
    """Save what a body says. Problem 422 for what are no limits."""
    said = {level: getattr(body, level.replace("-", "_")) for level in OF_ALL}
    try:
        await means.limits.change(caller.org_id, {level: one for level, one in said.items() if one is not None}, actor=caller.actor)
    except LimitsUnreadableError as error:
        raise invalid("limits", str(error)) from None


def all_limits(found: dict[str, Shown]) -> AllLimits:
    """As the API shows them."""
    return AllLimits(organisation=found["organisation"], each_team=found["each-team"], each_agent=found["each-agent"])


async def _put_own(means: Given, caller: Caller, level: str, subject_id: UUID, body: OwnLimitsChange) -> OwnLimits:
    try:
        await means.limits.change(caller.org_id, {level: body.limits}, actor=caller.actor, subject_id=subject_id)
    except LimitsUnreadableError as error:
        raise invalid("limits", str(error)) from None
    return _own(await means.limits.of(caller.org_id, level, subject_id))


def _own(found: SubjectLimits | None) -> OwnLimits:
    if found is None:
        raise not_found()
    used = found.used
    return OwnLimits(
        limits=found.limits, used_minutes=None if used is None else used.minutes, used_spend=None if used is None else used.spent
    )


def _known(found: Alarm | None) -> FraudAlarm:
    if found is None:
        raise not_found()
    return _shown(found)


def _shown(alarm: Alarm) -> FraudAlarm:
    row = alarm.row
    return FraudAlarm(
        id=row.id,
        level=Level(row.level),
        subject_id=row.subject_id,
        agent_id=row.agent_id,
        credential_id=row.credential_id,
        signal=BY_HAND if row.signal == BY_HAND else Signal(row.signal),
        action=Action(row.action),
        seen=row.seen,
        most=row.most,
        times=row.times,
        first_at=row.first_at,
        last_at=row.last_at,
        locked=alarm.is_locked,
        undone_at=row.undone_at,
        undone_by=row.undone_by,
        replaced_at=row.replaced_at,
        replacement_id=row.replacement_id,
        secret_waits=alarm.waits,
    )
