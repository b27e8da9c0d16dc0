"""/v1/webhooks: addresses that are told what happens (docs/webhooks.md)."""

from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_position, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, Id, parsed_id
from hushwire.services.webhooks import MOST, MOST_KINDS, Grant, Made, OwnersOnly, TooMany, Unfit, WebhookView
from hushwire.store.webhooks import DeliveryRow

router = APIRouter(prefix="/v1/webhooks", tags=["events"])
Managing = Annotated[Caller, Depends(needs(Permission.WEBHOOKS))]
Url = Annotated[str, Field(min_length=1, max_length=2048, description="https:// only. Redirects are not followed.")]
Kinds = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=80)]],
    Field(min_length=1, max_length=MOST_KINDS, description='Kinds of events: "call.ended", "message.*", "*".'),
]
Grants = Annotated[
    list[Grant],
    Field(max_length=2, description="What of content it is told besides ids and states. Only a key of the role owner may grant."),
]
State = Annotated[Literal["waiting", "delivered", "dead"] | None, Query(description="Only those in this state.")]


class NewWebhook(Body):
    """An address to tell."""

    url: Url
    kinds: Kinds
    grants: Grants = Field(default_factory=list)
    signs: Literal["hmac-sha256", "ed25519"] = Field(default="hmac-sha256", description="How deliveries are signed.")


class WebhookChange(Body):
    """What is to be different."""

    url: Url | None = None
    kinds: Kinds | None = None
    grants: Grants | None = None
    active: bool | None = Field(default=None, description="false pauses it: it is told later what it missed, of a week at most.")


class Webhook(BaseModel):
    """A webhook. `waiting` and `dead` count deliveries."""

    id: UUID
    url: str
    kinds: list[str]
    grants: list[str]
    signs: str
    public_key: str | None = Field(description="Verifies Ed25519 signatures.")
    state: Literal["active", "paused", "gone"]
    former_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime
    waiting: int
    dead: int


class MadeWebhook(Webhook):
    """A webhook with its secret, which is shown here and never again; null for Ed25519, whose secret nobody needs but us."""

    secret: str | None


class Delivery(BaseModel):
    """One event on its way. `id` of the event is `webhook-id` there."""

    id: UUID
    event_id: UUID
    position: int
    type: str
    subject: UUID
    state: Literal["waiting", "delivered", "dead"]
    attempts: int
    due_at: datetime | None
    ended_at: datetime | None
    status: int | None = Field(description="The last answer.")
    failure: str | None = Field(description="Or why there was none, in a word.")


@router.post("", status_code=201)
async def add_webhook(means: Given, caller: Managing, body: NewWebhook) -> MadeWebhook:
    """Have an address told what happens from now on."""
    if body.grants and not _may_grant(caller):
        raise _owners_only()
    made = await means.webhooks.add(caller.org_id, body.url, body.kinds, body.grants, body.signs, actor=caller.actor)
    match made:
        case Made():
            return MadeWebhook(**_shown(made.view), secret=made.secret)
        case TooMany():
            raise Problem(409, f"There are {MOST} webhooks already: remove one.")
        case Unfit():
            raise invalid(made.field, made.message)
        case _:
            assert_never(made)


@router.get("")
async def list_webhooks(means: Given, caller: Managing) -> list[Webhook]:
    """All, oldest first."""
    return [Webhook(**_shown(view)) for view in await means.webhooks.listed(caller.org_id)]


@router.get("/{webhook_id}")
async def get_webhook(means: Given, caller: Managing, webhook_id: Id) -> Webhook:
    """One."""
    view = await means.webhooks.get(caller.org_id, parsed_id(webhook_id))
    if view is None:
        raise not_found()
    return Webhook(**_shown(view))


@router.patch("/{webhook_id}")
async def change_webhook(means: Given, caller: Managing, webhook_id: Id, body: WebhookChange) -> Webhook:
    """Change what is given. A webhook that was granted something gets another address or other kinds from an owner alone."""
    found = await means.webhooks.change(
        caller.org_id, parsed_id(webhook_id), url=body.url, kinds=body.kinds, grants=body.grants, is_active=body.active,
        may_grant=_may_grant(caller), actor=caller.actor,
    )  # fmt: skip
    match found:
        case None:
            raise not_found()
        case WebhookView():
            return Webhook(**_shown(found))
        case OwnersOnly():
            raise _owners_only()
        case Unfit():
            raise invalid(found.field, found.message)
        case _:
            assert_never(found)


@router.post("/{webhook_id}/secret")
async def renew_secret(means: Given, caller: Managing, webhook_id: Id) -> MadeWebhook:
    """A new secret, shown once. The one before signs beside it for 24 hours."""
    made = await means.webhooks.renew_secret(caller.org_id, parsed_id(webhook_id), actor=caller.actor)
    if made is None:
        raise not_found()
    return MadeWebhook(**_shown(made.view), secret=made.secret)


@router.delete("/{webhook_id}", status_code=204)
async def remove_webhook(means: Given, caller: Managing, webhook_id: Id) -> Response:
    """Remove it, with what it was to be told."""
    if not await means.webhooks.remove(caller.org_id, parsed_id(webhook_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    means: Given, caller: Managing, webhook_id: Id, state: State = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Delivery]:
    """What it is and was told, newest first. Delivered ones are shown for a day, all others for a week."""
    found = await means.webhooks.deliveries(caller.org_id, parsed_id(webhook_id), state=state, before=read_position(cursor), limit=limit)
    if found is None:
        raise not_found()
    rows, more = found
    return Page(items=[_delivery(row) for row in rows], next=None if more is None else write(more))


@router.post("/{webhook_id}/deliveries/{delivery_id}/retry", status_code=202)
async def retry_delivery(means: Given, caller: Managing, webhook_id: Id, delivery_id: Id) -> Response:
    """Let a dead delivery be tried anew."""
    again = await means.webhooks.again(caller.org_id, parsed_id(webhook_id), parsed_id(delivery_id))
    if again is None:
        raise not_found()
    if not again:
        raise Problem(409, "The delivery is not dead.")
    return Response(status_code=202)


def _may_grant(caller: Caller) -> bool:
    return caller.role == "owner"


def _owners_only() -> Problem:
    return Problem(403, "Only a key of the role owner lets a webhook be told numbers or words.", reason="grant")


def _shown(view: WebhookView) -> dict[str, Any]:
    return {
        "id": view.id, "url": view.url, "kinds": list(view.kinds), "grants": list(view.grants), "signs": view.signs,
        "public_key": view.public_key, "state": view.state, "former_secret_until": view.former_until, "created_at": view.created_at,
        "updated_at": view.updated_at, "waiting": view.waiting, "dead": view.dead,
    }  # fmt: skip


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id, event_id=row.event.id, position=row.event.position, type=row.event.kind, subject=row.event.subject,
        state=row.state,  # type: ignore[arg-type]
        attempts=row.attempts, due_at=row.due_at if row.state == "waiting" else None, ended_at=row.ended_at,
        status=row.status, failure=row.failure,
    )  # fmt: skip
