"""/v1/privacy/keys: the organisation's key buckets, and how far their renewal is."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_id, write
from hushwire.vault import renewal

router = APIRouter(prefix="/v1/privacy/keys", tags=["privacy"])
Proving = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]


class Bucket(BaseModel):
    """A key pair that data keys are sealed to; renewed after erasures, so that old copies of the keyring open nothing that was erased."""

    id: UUID
    state: Literal["current", "renewing", "destroyed"]
    keys: int = Field(description="Data keys that are sealed to it now.")
    erasures: int = Field(description="Data keys of it that were destroyed.")
    survivors: int | None = Field(description="Keys that it held when its renewal began.")
    moved: int = Field(description="Survivors that are sealed to its successor; those erased meanwhile never are.")
    progress: float | None = Field(description="Of the renewal, from 0 to 1.")
    created_at: datetime
    renewing_since: datetime | None
    destroyed_at: datetime | None = Field(description="Its private key is gone from every zone: copies of what it opened are useless.")


@router.get("")
async def list_buckets(means: Given, caller: Proving, limit: Limit = 50, cursor: Cursor = None) -> Page[Bucket]:
    """The buckets, newest first."""
    found = await renewal.buckets_of(means.keyring, caller.org_id, after=read_id(cursor), limit=limit + 1)
    items = [
        Bucket(
            id=bucket.id,
            state=bucket.state,  # type: ignore[arg-type]
            keys=bucket.keys,
            erasures=bucket.erasures,
            survivors=bucket.survivors,
            moved=bucket.moved,
            progress=bucket.progress,
            created_at=bucket.created_at,
            renewing_since=bucket.renewing_since,
            destroyed_at=bucket.destroyed_at,
        )
        for bucket in found[:limit]
    ]
    return Page(items=items, next=write(str(items[-1].id)) if len(found) > limit else None)
