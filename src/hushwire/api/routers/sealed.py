"""/v1/recordings/{id}/sealed and /envelopes: what a customer needs to open a recording with its own key, at home."""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from typing import Annotated, Final, Literal, TypeVar
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Header
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, PurposeHeader, needs
from hushwire.api.problems import Problem, not_found, restricted, unavailable
from hushwire.api.values import Id, parsed_id
from hushwire.core.errors import HushwireError
from hushwire.core.ids import RecordingId
from hushwire.services.recordings import Elsewhere, Gone, Missing, Restricted
from hushwire.services.recordings_sealed import Unfinished
from hushwire.vault.recipients import Algorithm
from hushwire.vault.unseal import Why

router = APIRouter(prefix="/v1/recordings", tags=["recordings"])
Taking = Annotated[Caller, Depends(needs(Permission.CONTENT))]
_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))", re.ASCII)
_log = structlog.get_logger(__name__)
T = TypeVar("T")


class Identity(BaseModel):
    """Which recording the sealed file must be."""

    org_id: UUID
    recording_id: UUID
    segment: int


class Closing(BaseModel):
    """How the file was closed. `frames` null: its writer died, and its tail is missing."""

    state: str
    frames: int | None
    size_bytes: int
    digest: str = Field(description="SHA-256 of the sealed file, hexadecimal.")


class SealedKey(BaseModel):
    """The recording's key, sealed to one key of the customer (docs/custody.md)."""

    recipient_id: UUID
    algorithm: Algorithm
    key_id: str = Field(description="Fingerprint of the public key that it is sealed to, hexadecimal.")
    envelope: str = Field(description="base64")


class RecordingEnvelopes(BaseModel):
    """What `hushwire open-recording --envelope` reads."""

    type: Literal["hushwire.recording-envelopes.v1"] = "hushwire.recording-envelopes.v1"
    custody: Literal["hushwire", "both", "customer"]
    identity: Identity
    closing: Closing
    key_fingerprint: str
    envelopes: list[SealedKey]


@router.get("/{recording_id}/envelopes")
async def get_envelopes(means: Given, caller: Taking, recording_id: Id, purpose: PurposeHeader = None) -> RecordingEnvelopes:
    """The recording's key in one envelope for each of the customer's keys that it was sealed to, and what the sealed file must be."""
    found = _found(await means.sealed.envelopes(caller.org_id, RecordingId(parsed_id(recording_id)), _why(caller, purpose)), recording_id)
    row = found.recording
    return RecordingEnvelopes(
        custody=row.custody,
        identity=Identity(org_id=row.org_id, recording_id=row.id, segment=row.segment),
        closing=Closing(state=row.state, frames=row.frames, size_bytes=row.size_bytes or 0, digest=(row.digest or b"").hex()),
        key_fingerprint=row.key_fingerprint.hex(),
        envelopes=[
            SealedKey(
                recipient_id=copy.recipient_id,
                algorithm=copy.algorithm,
                key_id=copy.key_id.hex(),
                envelope=base64.b64encode(copy.envelope).decode(),
            )
            for copy in found.copies
        ],
    )


@router.get(
    "/{recording_id}/sealed",
    response_class=Response,
    responses={
        200: {
            "description": "The sealed file.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "A part of it.", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        416: {"description": "The range begins behind the file's end."},
    },
)
async def get_sealed(
    means: Given,
    caller: Taking,
    recording_id: Id,
    purpose: PurposeHeader = None,
    wanted: Annotated[str | None, Header(alias="Range", max_length=200)] = None,
    if_range: Annotated[str | None, Header(alias="If-Range", max_length=200)] = None,
) -> Response:
    """The sealed file as it lies in the store (docs/hwr.md), whole or one range of it (RFC 9110 section 14)."""
    found = _found(await means.sealed.file(caller.org_id, RecordingId(parsed_id(recording_id)), _why(caller, purpose)), recording_id)
    row = found.recording
    size, tag = row.size_bytes or 0, f'"{(row.digest or b"").hex()}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Repr-Digest": f"sha-256=:{base64.b64encode(row.digest or b'').decode()}:",
        "Content-Disposition": f'attachment; filename="{row.id}-{row.segment}.hwr"',
    }
    part = _range(wanted, size) if if_range in (None, tag) else None
    if part is not None and part[0] >= part[1]:
        raise Problem(416, "The range begins behind the end of the file.", headers={"Content-Range": f"bytes */{size}"})
    start, end = part or (0, size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return _Sealed(means.sealed.read(found, start, end), end - start, 200 if part is None else 206, headers)


def _why(caller: Caller, purpose: str | None) -> Why:
    why = purpose or caller.default_purpose
    if not caller.may_read_for(why):
        _log.warning("content.refused", key_id=str(caller.key_id), org_id=str(caller.org_id), reason="purpose")
        raise Problem(403, "This purpose is unknown, or not one that the key's role may open content for.")
    return Why(caller.actor, why)


def _found(found: T | Gone | Missing | Restricted | Elsewhere | Unfinished, recording_id: str) -> T:
    if isinstance(found, Gone):
        raise Problem(410, "The recording was erased.", receipt=f"/v1/privacy/receipts/{recording_id.lower()}")
    if isinstance(found, Missing):
        raise not_found()
    if isinstance(found, Restricted):
        raise restricted()
    if isinstance(found, Elsewhere):
        raise unavailable("The recording is not within this node's reach yet: try again.", found.retry_after_s)
    if isinstance(found, Unfinished):
        raise Problem(409, "The recording is not finished yet: try again once its call is over.")
    return found


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """From and before where; None: the whole, which also answers several ranges and what is no range (RFC 9110 section 14.2)."""
    match = None if header is None else _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (max(0, size - int(suffix)), size) if int(suffix) else (size, size)
    if last is not None and int(last) < int(first):
        return None
    return int(first), size if last is None else min(int(last) + 1, size)


class _Sealed(Response):
    """Bytes of a known count; if they end early the connection breaks off, so nobody takes them for all."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], length: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers, media_type="application/octet-stream")
        self.headers["content-length"] = str(length)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving: asyncio.Task[None] | None = None
        try:
            first = await anext(self._pieces, b"")
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            leaving = asyncio.create_task(_disconnect(receive), name="download-listener")
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for piece in self._pieces:
                if leaving.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (HushwireError, OSError) as error:
            _log.warning("download.broken_off", error=type(error).__name__)
            if leaving is None:
                raise
        finally:
            if leaving is not None:
                leaving.cancel()
            await self._pieces.aclose()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
