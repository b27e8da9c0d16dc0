"""/v1/voice-security/proposals: openings of guarded countries and classes, which a second person approves or rejects."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, not_found
from hushwire.api.values import Id, parsed_id
from hushwire.services.rule_changes import NoProposal, Over, OwnProposal, Saved, Stale
from hushwire.store.recordings import Place
from hushwire.store.rule_proposals import ProposalRow

router = APIRouter(prefix="/v1/voice-security/proposals", tags=["voice security"])
Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Changing = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]


class Proposal(BaseModel):
    """An opening of what is guarded. It lapses unless another key than the one that proposed it approves it in time."""

    id: UUID
    state: Literal["open", "approved", "rejected", "lapsed", "outdated"] = Field(
        description="outdated: what it would open was narrowed since, or the team or agent is not as it was: propose it anew."
    )
    countries: list[str] = Field(description="To be allowed.")
    classes: list[str] = Field(description="To be permitted.")
    released: list[str] = Field(description="To be guarded no more.")
    terms: dict[str, Any] = Field(description="To hold from then on; empty ones: none any more.")
    short_codes: list[str] = Field(description="To be allowed.")
    hours: list[Any] | None = Field(description="To hold from then on; null: as they are.")
    subject: str | None = Field(
        description="team:<id> or agent:<id>: whose lists narrow less then; exception:<id>: which holds then; null: everybody's lists."
    )
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None


@router.get("")
async def list_proposals(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Proposal]:
    """Proposals, newest first, decided and lapsed ones too."""
    rows = await means.voice_security.changes.proposals(caller.org_id, after=read_place(cursor), limit=limit + 1)
    now, last = means.clock.now(), rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[shown(row, now) for row in rows[:limit]], next=place_cursor(None if last is None else Place(last.proposed_at, last.id))
    )


@router.get("/{proposal_id}")
async def get_proposal(means: Given, caller: Reading, proposal_id: Id) -> Proposal:
    """One proposal."""
    found = await means.voice_security.changes.proposal(caller.org_id, parsed_id(proposal_id))
    if isinstance(found, NoProposal):
        raise not_found()
    return shown(found, means.clock.now())


@router.post("/{proposal_id}/approve")
async def approve(means: Given, caller: Changing, proposal_id: Id) -> Proposal:
    """Open it, beside whatever is allowed now. Not with the key that proposed it, nor with another one of the same person."""
    wanted = parsed_id(proposal_id)
    match await means.voice_security.approve(caller.org_id, wanted, actor=caller.actor):
        case Saved():
            return await get_proposal(means, caller, proposal_id)
        case NoProposal():
            raise not_found()
        case OwnProposal():
            raise Problem(403, "Somebody else has to approve what you proposed.", reason="own-proposal")
        case Stale():
            raise Problem(409, "What it would open was changed since: have it proposed anew.", reason="outdated")
        case Over():
            raise _over()
        case other:
            assert_never(other)


@router.post("/{proposal_id}/reject")
async def reject(means: Given, caller: Changing, proposal_id: Id) -> Proposal:
    """It does not happen. With the key that proposed it: it is taken back."""
    match await means.voice_security.changes.reject(caller.org_id, parsed_id(proposal_id), actor=caller.actor):
        case ProposalRow() as row:
            return shown(row, means.clock.now())
        case NoProposal():
            raise not_found()
        case Over():
            raise _over()
        case other:
            assert_never(other)


def shown(row: ProposalRow, now: datetime) -> Proposal:
    """As the API gives it."""
    return Proposal(
        id=row.id,
        state="lapsed" if row.state == "open" and not row.is_open(now) else row.state,  # type: ignore[arg-type]
        countries=list(row.countries),
        classes=list(row.classes),
        released=list(row.released),
        terms=json.loads(row.terms),
        short_codes=list(row.short_codes),
        hours=None if row.hours is None else json.loads(row.hours),
        subject=row.subject,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        expires_at=row.expires_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
    )


def _over() -> Problem:
    return Problem(409, "It was decided already, or has lapsed: see GET /v1/voice-security/proposals.")
