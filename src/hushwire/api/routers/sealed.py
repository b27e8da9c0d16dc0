"""/v1/recordings/{id}/sealed and /envelopes: what a customer needs to open a recording with its own key, at home."""

import base64
from typing import Annotated, Literal, TypeVar, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api import ranges
from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.problems import Problem, not_found, restricted, unavailable
from hushwire.api.streaming import Streaming
from hushwire.api.values import Id, parsed_id
from hushwire.core.ids import RecordingId
from hushwire.services.recordings import Elsewhere, Gone, Missing, Restricted, Unfinished
from hushwire.vault.recipients import Algorithm

router = APIRouter(prefix="/v1/recordings", tags=["recordings"])
Taking = Annotated[Caller, Depends(needs(Permission.CONTENT))]
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
async def get_envelopes(means: Given, caller: Taking, recording_id: Id) -> RecordingEnvelopes:
    """The recording's key in one envelope for each of the customer's keys that it was sealed to, and what the sealed file must be."""
    found = _found(await means.sealed.envelopes(caller.org_id, RecordingId(parsed_id(recording_id)), reader(caller)), recording_id)
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
async def get_sealed(request: Request, means: Given, caller: Taking, recording_id: Id) -> Response:
    """The sealed file as it lies in the store (docs/hwr.md), whole or the range of it that `Range` asks for."""
    found = _found(await means.sealed.file(caller.org_id, RecordingId(parsed_id(recording_id)), reader(caller)), recording_id)
    row = found.recording
    size, tag = row.size_bytes or 0, f'"{(row.digest or b"").hex()}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Repr-Digest": f"sha-256=:{base64.b64encode(row.digest or b'').decode()}:",
        "Content-Disposition": f'attachment; filename="{row.id}-{row.segment}.hwr"',
    }
    status, start, end = 200, 0, size
    match choice := ranges.chosen(request.method, request.headers, tag, size):
        case ranges.Whole():
            pass
        case ranges.Part(first, last):
            status, start, end = 206, first, last + 1
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        case ranges.Unsatisfiable():
            raise Problem(416, "There are not so many bytes.", headers={"Content-Range": f"bytes */{size}"})
        case ranges.NotModified():
            return Response(status_code=304, headers=headers)
        case ranges.PreconditionFailed():
            raise Problem(412, "The recording's bytes are not those that If-Match names.")
        case _:
            assert_never(choice)
    pieces = means.sealed.read(found, start, end)
    first_piece = await anext(pieces, b"")
    return Streaming(status, first_piece, pieces, "application/octet-stream", headers | {"Content-Length": str(end - start)})


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
