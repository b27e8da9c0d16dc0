"""/v1/refusals: every reason for which a call is refused or ends, as headers, ears, rows and consoles are told it."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import needs
from hushwire.services.refusals import CATALOGUE

router = APIRouter(prefix="/v1/refusals", tags=["calls"])
Reading = Annotated[Caller, Depends(needs(Permission.CHECK))]


class Refusal(BaseModel):
    """One reason."""

    code: str = Field(description="As `verdict_reason` or `end_reason` of calls name it; `sip-...`: what is answered by status alone.")
    status: int | None = Field(description="Of the SIP response; null where it only ends calls that were answered.")
    reason: str | None = Field(description="The Reason header (RFC 3326) that is sent with it.")
    explanation: str
    spoken: str | None = Field(description="What an agent hears, where the organisation has refusals spoken.")
    type: str = Field(description="The problem type (RFC 9457).")


class Refusals(BaseModel):
    """All of them."""

    items: list[Refusal]


@router.get("")
async def list_refusals(caller: Reading) -> Refusals:
    """The catalogue. It is the same for every organisation."""
    del caller
    return Refusals(
        items=[
            Refusal(code=one.code, status=one.status, reason=one.header, explanation=one.sentence, spoken=one.spoken, type=one.problem)
            for one in CATALOGUE.values()
        ]
    )
