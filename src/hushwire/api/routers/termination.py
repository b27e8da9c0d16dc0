"""/v1/privacy/termination: the end of the agreement, announced, taken back in time, carried out by its clocks."""

from datetime import datetime
from typing import Annotated, assert_never

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import Problem, not_found
from hushwire.api.values import Body, BodyMoment
from hushwire.privacy.agreement import Ending
from hushwire.services.termination import TooLate, View
from hushwire.store.terminations import TerminationRow

router = APIRouter(prefix="/v1/privacy/termination", tags=["agreement"])
Reading = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]
Deciding = Annotated[Caller, Depends(needs(Permission.AGREEMENT))]


class TerminationBody(Body):
    """When it ends, and the organisation's slug, so that nobody ends an agreement by mistake."""

    effective_at: BodyMoment
    confirm: str = Field(max_length=64, description="The organisation's slug.")


class Termination(BaseModel):
    """How the end of the agreement stands. Export what you need before `content_erased_by`."""

    step: Ending
    requested_at: datetime
    effective_at: datetime
    actor: str
    content_erased_by: datetime | None
    everything_erased_by: datetime | None
    content_erased_at: datetime | None
    erased_at: datetime | None


@router.get("")
async def get_termination(means: Given, caller: Reading) -> Termination:
    """How it stands; 404 where no end was announced."""
    view = await means.agreement.terminations.get(caller.org_id)
    if view is None:
        raise not_found()
    return _shown(view)


@router.post("", status_code=201)
async def announce(means: Given, caller: Deciding, body: TerminationBody) -> Termination:
    """Announce the end. Only an owner may."""
    await _check(means, caller, body.confirm)
    return _shown(await means.agreement.terminations.announce(caller.org_id, body.effective_at, actor=caller.actor))


@router.delete("")
async def cancel(means: Given, caller: Deciding) -> Termination:
    """Take it back before its day. Only an owner may."""
    _check_owner(caller)
    before = await means.agreement.terminations.get(caller.org_id)
    match outcome := await means.agreement.terminations.cancel(caller.org_id, actor=caller.actor):
        case TerminationRow():
            assert before is not None
            return _shown(before)
        case TooLate():
            raise Problem(409, "The agreement has ended already: what follows can't be taken back.")
        case None:
            raise not_found()
        case _:
            assert_never(outcome)


async def _check(means: Means, caller: Caller, slug: str) -> None:
    _check_owner(caller)
    async with means.main.organisation(caller.org_id) as connection:
        own = await connection.fetchval("SELECT slug FROM orgs")
    if slug != own:
        raise Problem(422, "confirm: must be the slug of the organisation whose agreement ends.")


def _check_owner(caller: Caller) -> None:
    if caller.role != "owner":
        raise Problem(403, "Only an owner's key may end the agreement.")


def _shown(view: View) -> Termination:
    return Termination(
        step=view.step,
        requested_at=view.row.requested_at,
        effective_at=view.row.effective_at,
        actor=view.row.actor,
        content_erased_by=view.content_by,
        everything_erased_by=view.all_by,
        content_erased_at=view.row.content_erased_at,
        erased_at=view.row.erased_at,
    )
