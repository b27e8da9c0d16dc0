"""/v1/privacy/dpa and /v1/privacy/annexes: the agreement, clause by clause, as it is kept now."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.privacy.clauses import Probe, Scope
from hushwire.services.annexes import markdown
from hushwire.services.dpa import LiveClause, State

router = APIRouter(prefix="/v1/privacy", tags=["privacy"])
Proving = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]


class Probed(BaseModel):
    """What one probe saw."""

    probe: Probe
    state: State
    says: str
    evidence: str | None = Field(description="Id of the last thing that shows it.")
    at: datetime | None


class ClauseView(BaseModel):
    """One clause, the controls that keep it, the tests that show it, and how it stands now."""

    id: str
    section: str
    asks: str
    state: State
    scope: Scope
    why: str | None = Field(description="What is missing, where something is.")
    controls: list[str]
    tests: list[str]
    probes: list[Probed]


class Agreement(BaseModel):
    """Every clause."""

    clauses: list[ClauseView]


@router.get("/dpa")
async def get_dpa(means: Given, caller: Proving) -> Agreement:
    """Each clause of the agreement with its controls, their live state and the last evidence."""
    return Agreement(clauses=[_shown(one) for one in await means.dpa.clauses(caller.org_id)])


@router.get(
    "/annexes",
    response_class=Response,
    responses={200: {"description": "Annex I to III.", "content": {"application/json": {}, "text/markdown": {}}}},
)
async def get_annexes(
    means: Given, caller: Proving, form: Annotated[Literal["json", "markdown"], Query(alias="format")] = "json"
) -> Response:
    """Annex I to III of the standard contractual clauses, made from the configuration and the inventory as they are now."""
    made: dict[str, Any] = await means.annexes.made(caller.org_id)
    return Response(markdown(made), media_type="text/markdown") if form == "markdown" else JSONResponse(made)


def _shown(one: LiveClause) -> ClauseView:
    clause = one.clause
    return ClauseView(
        id=clause.id,
        section=clause.section,
        asks=clause.asks,
        state=one.state,
        scope=clause.scope,
        why=clause.why or None,
        controls=list(clause.controls),
        tests=list(clause.tests),
        probes=[Probed(probe=seen.probe, state=seen.state, says=seen.says, evidence=seen.evidence, at=seen.at) for seen in one.seen],
    )
