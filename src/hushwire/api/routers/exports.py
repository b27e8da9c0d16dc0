"""/v1/privacy/exports: bundles of what is held of a person, built by the worker, handed out by a link that expires."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Literal, assert_never
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, not_found
from hushwire.api.values import Id, parsed_id
from hushwire.core import purposes
from hushwire.core.errors import HushwireError
from hushwire.services.export_failures import Failure
from hushwire.services.exports import Delivery, Expired, Link, NoExport, NotReady
from hushwire.store.documents import Document
from hushwire.store.recordings import Place
from hushwire.vault.unseal import Why

router = APIRouter(prefix="/v1/privacy/exports", tags=["rights of data subjects"])
Keeping = Annotated[Caller, Depends(needs(Permission.REQUESTS))]
_log = structlog.get_logger(__name__)


class Export(BaseModel):
    """A bundle. `done` of `contents` things are inside, or left out for a reason that its manifest tells."""

    id: UUID
    request_id: UUID | None
    state: Literal["queued", "building", "ready", "failed", "erased"]
    contents: int
    done: int
    size_bytes: int | None
    failure: Failure | None = Field(description="Why building it broke the last time; of one that failed: why it can't be built.")
    failures: int = Field(description="How often building it broke.")
    retry_at: datetime | None = Field(description="When it is tried again after that.")
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None = Field(
        description="From then on it can't be downloaded any more, and it, or what is left of it, is erased."
    )


class DownloadLink(BaseModel):
    """A link for who holds an API key of the organisation. It is told once; a new one makes it worthless."""

    url: str
    expires_at: datetime


@router.get("")
async def list_exports(means: Given, caller: Keeping, limit: Limit = 50, cursor: Cursor = None) -> Page[Export]:
    """Bundles, newest first, with their progress."""
    place = read_place(cursor)
    after = None if place is None else (place.started_at, place.id)
    rows, last = await means.rights.exports.listed(caller.org_id, after=after, limit=limit)
    following = None if last is None else Place(last.created_at, last.id)
    return Page(items=[_export(row) for row in rows], next=place_cursor(following))


@router.get("/{export_id}/progress")
async def get_progress(means: Given, caller: Keeping, export_id: Id) -> Export:
    """How far the building came."""
    row = await means.rights.exports.get(caller.org_id, parsed_id(export_id))
    if row is None:
        raise not_found()
    return _export(row)


@router.post("/{export_id}/link")
async def make_link(means: Given, caller: Keeping, export_id: Id) -> DownloadLink:
    """A link that downloads the bundle until it expires."""
    match found := await means.rights.exports.link(caller.org_id, parsed_id(export_id), actor=caller.actor):
        case Link(document, token, expires_at):
            return DownloadLink(url=f"/v1/privacy/exports/{document.id}?token={token}", expires_at=expires_at)
        case NoExport():
            raise not_found()
        case NotReady(document):
            raise _not_ready(document)
        case Expired():
            raise _gone()
        case _:
            assert_never(found)


@router.get(
    "/{export_id}",
    response_class=Response,
    responses={200: {"description": "The bundle.", "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def download_export(
    means: Given, caller: Keeping, export_id: Id, token: Annotated[str, Query(min_length=1, max_length=128)]
) -> Response:
    """The bundle, streamed. If it is erased meanwhile the answer breaks off without its end."""
    why = Why(caller.actor, purposes.DATA_SUBJECT_REQUEST)
    match found := await means.rights.exports.deliver(caller.org_id, parsed_id(export_id), token, why):
        case Delivery(document, size, chunks):
            return _Streaming(document.id, size, chunks)
        case NoExport():
            raise not_found()
        case NotReady(document):
            raise _not_ready(document)
        case Expired():
            raise _gone()
        case _:
            assert_never(found)


class _Streaming(Response):
    """A file whose making may fail half-way: then fewer bytes come than its length says, so nobody takes it for a whole one."""

    def __init__(self, document_id: UUID, size: int, chunks: AsyncGenerator[bytes, None]) -> None:
        name = f'attachment; filename="hushwire-export-{document_id}.zip"'
        super().__init__(media_type="application/zip", headers={"Content-Disposition": name})
        self.headers["content-length"] = str(size)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        leaving = asyncio.create_task(_disconnect(receive), name="export-listener")
        try:
            async for chunk in self._chunks:
                if leaving.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (HushwireError, OSError) as error:
            _log.warning("export.broken_off", error=type(error).__name__)
            return
        finally:
            leaving.cancel()
            await self._chunks.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnect(receive: Receive) -> None:
    """Returns when the one who downloads has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _not_ready(document: Document) -> Problem:
    if document.state == "failed":
        return Problem(
            409, "The bundle could not be built: execute the request again for a new one.", state=document.state, failure=document.failure
        )
    return Problem(409, "The bundle is not ready: ask for its progress.", state=document.state)


def _gone() -> Problem:
    return Problem(410, "The bundle has expired, or something that it contained was erased: execute the request again for a new one.")


def _export(row: Document) -> Export:
    return Export(
        id=row.id,
        request_id=row.request_id,
        state="erased" if row.is_gone else row.state,  # type: ignore[arg-type]
        contents=row.contents,
        done=row.done,
        size_bytes=row.plain_bytes,
        failure=None if row.failure is None else Failure(row.failure),
        failures=row.failures,
        retry_at=row.retry_at,
        created_at=row.created_at,
        ready_at=row.ready_at,
        expires_at=row.expires_at,
    )
