"""/v1/privacy/retention: for how long what is kept, what the rules would erase, and what waits for a second word."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.problems import Problem, invalid
from hushwire.api.values import Body, BodyMoment
from hushwire.privacy.retention import Rule
from hushwire.services.retention import Setting, Unfit

router = APIRouter(prefix="/v1/privacy/retention", tags=["privacy"])

Changing = Annotated[Caller, Depends(needs(Permission.RETENTION))]
Reading = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]
Class = Literal["recording", "call", "message", "contact"]


class RetentionRule(Body):
    """Things of a class are erased once they are older than so many UTC days."""

    class_: Class = Field(alias="class")
    keep_days: int = Field(ge=0, le=36525)
    agent_id: UUID | None = Field(default=None, strict=False, description="For this agent's only; null: for every agent without its own.")


class NewRetention(Body):
    """The rules instead of all that there are; what no rule names is kept for the life of the agreement."""

    rules: list[RetentionRule] = Field(max_length=1000)
    most_percent: int | None = Field(default=None, ge=1, le=100, description="Of a class, at once, without a second word (20).")


class Pending(BaseModel):
    """What waits: nothing is erased by rule before it is confirmed, or has gone away by itself."""

    id: UUID
    reason: Literal["clock-ahead", "clock-back", "large-share"]
    at: datetime
    due: int
    confirmed_at: datetime | None
    confirmed_by: str | None


class Retention(BaseModel):
    """The rules, and when retention last looked."""

    rules: list[RetentionRule]
    most_percent: int | None
    last_seen_at: datetime | None
    pending: Pending | None


class PreviewOf(Body):
    """At which time; null: now."""

    at: BodyMoment | None = None


class ClassPreview(BaseModel):
    """What a run would do to a class."""

    total: int
    due: int
    held: int
    batches: int
    oldest: datetime | None
    is_large: bool = Field(description="So many at once wait for a second word.")


class Preview(BaseModel):
    """What a run would erase. `doubt`: why it would wait for a second word first."""

    at: datetime
    classes: dict[str, ClassPreview]
    doubt: str | None


class Confirmation(Body):
    """What is meant: the id of `pending`."""

    id: UUID = Field(strict=False)


@router.get("")
async def get_retention(means: Given, caller: Reading) -> Retention:
    """The rules in force."""
    return _retention(await means.retention.setting(caller.org_id))


@router.put("")
async def put_retention(means: Given, caller: Changing, body: NewRetention) -> Retention:
    """Set the rules. The worker carries them out within the hour."""
    rules = [Rule(rule.class_, rule.keep_days, rule.agent_id) for rule in body.rules]
    setting = await means.retention.put(caller.org_id, rules, body.most_percent, actor=caller.actor)
    if isinstance(setting, Unfit):
        raise invalid(setting.field, setting.message)
    return _retention(setting)


@router.post("/preview")
async def preview_retention(means: Given, caller: Reading, body: PreviewOf) -> Preview:
    """What a run would erase, now or at another time. Changes nothing."""
    report = await means.retention.preview(caller.org_id, body.at)
    return Preview(
        at=report.at,
        classes={
            kind: ClassPreview(
                total=found.total, due=found.due, held=found.held, batches=found.batches, oldest=found.oldest, is_large=found.is_large
            )
            for kind, found in report.classes.items()
        },
        doubt=None if report.doubt is None else report.doubt.value,
    )


@router.post("/confirm")
async def confirm_retention(means: Given, caller: Changing, body: Confirmation) -> Retention:
    """Say that what waits is meant: the next run erases it."""
    if not await means.retention.confirm(caller.org_id, body.id, actor=caller.actor):
        raise Problem(409, "Nothing waits under this id: see `pending` of GET /v1/privacy/retention.")
    return _retention(await means.retention.setting(caller.org_id))


def _retention(setting: Setting) -> Retention:
    state = setting.state
    pending = None
    if state is not None and state.pending_id is not None and state.pending_at is not None:
        pending = Pending(
            id=state.pending_id,
            reason=state.pending_reason,  # type: ignore[arg-type]
            at=state.pending_at,
            due=state.pending_count or 0,
            confirmed_at=state.confirmed_at,
            confirmed_by=state.confirmed_by,
        )
    return Retention(
        rules=[
            RetentionRule.model_validate({"class": row.kind, "keep_days": row.keep_days, "agent_id": row.agent_id}) for row in setting.rules
        ],
        most_percent=None if state is None else state.most_percent,
        last_seen_at=None if state is None else state.last_seen_at,
        pending=pending,
    )
