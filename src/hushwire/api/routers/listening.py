"""/v1/recordings/{id}/audio, peaks, timeline: what a recording sounds like, looks like, and what the network did to it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Final, Literal, assert_never

import orjson
import structlog
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api import ranges
from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.problems import Problem, customer_held, invalid, not_found, restricted, unavailable
from hushwire.api.routers.recordings import gone
from hushwire.api.streaming import Streaming
from hushwire.api.values import Id, parsed_id
from hushwire.core.ids import RecordingId
from hushwire.recording.containers import AudioFormat
from hushwire.recording.failures import RecordingError
from hushwire.recording.peaks import PER_SECOND, Peaks
from hushwire.services.recordings import (
    Audio,
    Beyond,
    Elsewhere,
    Gone,
    Missing,
    PlaybackEnded,
    Refusal,
    Restricted,
    Stretch,
    Unfinished,
    Withheld,
)

router = APIRouter(prefix="/v1/recordings", tags=["recordings"])
_log = structlog.get_logger(__name__)

Listening = Annotated[Caller, Depends(needs(Permission.CONTENT))]
Milliseconds = Annotated[int | None, Query(ge=0, le=10**10)]
AUDIO: Final[dict[str, Any]] = {
    media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in ("audio/ogg", "audio/flac", "audio/wav")
}


class Stretched(BaseModel):
    """A stretch of the recording; `packets`: how many it concerns."""

    from_ms: int
    to_ms: int
    packets: int = 0


class Codec(BaseModel):
    """From here on the leg spoke this."""

    from_ms: int
    name: str


class Leg(BaseModel):
    """What happened to one leg's packets. `lost`: missing when their turn came; `late`: came after their place was passed over;
    `gaps`: no sound though nothing is missing.
    """

    leg: str = Field(description="`agent`, `other`, or `leg-2` to `leg-15`: who barged in, or conferred.")
    packets: int
    placed: int
    duplicates: int
    malformed: int
    not_sound: int
    sources: int
    lost: list[Stretched]
    late: list[Stretched]
    gaps: list[Stretched]
    codecs: list[Codec]
    drift_ppm: float | None = Field(description="How much faster than ours the sender's clock ran; null: too little was heard to say.")


class Pause(BaseModel):
    """Left out on purpose."""

    from_ms: int
    to_ms: int


class Timeline(BaseModel):
    """A recording as its packets came. Everything that is told of here plays as silence of its own length."""

    length_ms: int
    is_cut: bool
    pauses: list[Pause]
    legs: list[Leg]


@router.get("/{recording_id}/audio", response_class=Response, responses={
    200: {"description": "The call in stereo: agent left, other party right.", "content": AUDIO},
    206: {"description": "The bytes that Range asks for (WAV).", "content": {"audio/wav": AUDIO["audio/wav"]}},
    304: {"description": "If-None-Match names these bytes."},
})  # fmt: skip
async def get_audio(
    request: Request,
    means: Given,
    caller: Listening,
    recording_id: Id,
    audio_format: Annotated[AudioFormat, Query(alias="format")] = AudioFormat.OGG,
    from_ms: Milliseconds = None,
    to_ms: Milliseconds = None,
) -> Response:
    """The recording's sound, or the stretch of it from `from_ms` up to `to_ms`, streamed. WAV is seekable: it answers Range requests.

    If it is erased meanwhile, or its file is damaged, the answer breaks off without an end.
    """
    if to_ms is not None and to_ms <= (from_ms or 0):
        raise invalid("to_ms", "must be greater than from_ms")
    why = reader(caller)
    try:
        found = await means.recordings.open_audio(
            caller.org_id, RecordingId(parsed_id(recording_id)), audio_format, why, Stretch(from_ms or 0, to_ms)
        )
    except RecordingError as error:
        raise _damaged(recording_id, error) from None
    if not isinstance(found, Audio):
        raise _refused(found, recording_id)
    headers = {"Accept-Ranges": "none"}
    if found.is_cut:
        headers["Hushwire-Recording-Cut"] = "true"
    if found.size is None or found.etag is None or found.part is None:
        if request.method == "HEAD":
            return _head(found.media_type, headers)
        return await _streamed(found, 200, headers, found.chunks)
    headers |= {"Accept-Ranges": "bytes", "ETag": found.etag}
    match choice := ranges.chosen(request.method, request.headers, found.etag, found.size):
        case ranges.Whole():
            headers["Content-Length"] = str(found.size)
            if request.method == "HEAD":
                return _head(found.media_type, headers)
            return await _streamed(found, 200, headers, found.chunks)
        case ranges.Part(first, last):
            headers |= {"Content-Length": str(last + 1 - first), "Content-Range": f"bytes {first}-{last}/{found.size}"}
            is_all = (first, last) == (0, found.size - 1)
            return await _streamed(found, 206, headers, found.chunks if is_all else found.part(first, last + 1))
        case ranges.Unsatisfiable():
            raise Problem(416, "There are not so many bytes.", headers={"Content-Range": f"bytes */{found.size}"})
        case ranges.NotModified():
            return Response(status_code=304, headers=headers)
        case ranges.PreconditionFailed():
            raise Problem(412, "The recording's bytes are not those that If-Match names.")
        case _:
            assert_never(choice)


@router.head("/{recording_id}/audio", include_in_schema=False)
async def head_audio(
    request: Request,
    means: Given,
    caller: Listening,
    recording_id: Id,
    audio_format: Annotated[AudioFormat, Query(alias="format")] = AudioFormat.OGG,
    from_ms: Milliseconds = None,
    to_ms: Milliseconds = None,
) -> Response:
    """What GET would answer, without the sound."""
    return await get_audio(request, means, caller, recording_id, audio_format, from_ms, to_ms)


@router.get("/{recording_id}/timeline")
async def get_timeline(means: Given, caller: Listening, recording_id: Id) -> Timeline:
    """What was lost, came late, was silent or paused on each leg, which codecs were spoken, and how far clocks were off."""
    try:
        found = await means.recordings.timeline(caller.org_id, RecordingId(parsed_id(recording_id)), reader(caller))
    except RecordingError as error:
        raise _damaged(recording_id, error) from None
    if not isinstance(found, dict):
        raise _refused(found, recording_id)
    return Timeline.model_validate(found)


@router.get(
    "/{recording_id}/peaks",
    response_class=Response,
    responses={200: {"description": "Least and greatest sample of each stretch and leg, as audiowaveform writes them (version 2).",
                     "content": {"application/json": {}, "application/octet-stream": {}}}},
)  # fmt: skip
async def get_peaks(
    means: Given,
    caller: Listening,
    recording_id: Id,
    per_second: Annotated[int, Query(description=f"One of {', '.join(map(str, PER_SECOND))}.")] = 10,
    form: Annotated[Literal["json", "dat"], Query(alias="format")] = "json",
) -> Response:
    """How loud each leg is, for waveforms: agent first, then the other party."""
    if per_second not in PER_SECOND:
        raise invalid("per_second", f"must be one of {', '.join(map(str, PER_SECOND))}")
    try:
        found = await means.recordings.peaks(caller.org_id, RecordingId(parsed_id(recording_id)), reader(caller))
    except RecordingError as error:
        raise _damaged(recording_id, error) from None
    if not isinstance(found, Peaks):
        raise _refused(found, recording_id)
    wanted = found.at(per_second)
    if form == "dat":
        return Response(wanted.as_dat(), media_type="application/octet-stream")
    return Response(await asyncio.to_thread(lambda: orjson.dumps(wanted.as_json())), media_type="application/json")


def _head(media_type: str, headers: Mapping[str, str]) -> Response:
    answer = Response(media_type=media_type, headers=headers)
    if "Content-Length" not in headers:
        del answer.headers["content-length"]
    return answer


async def _streamed(audio: Audio, status: int, headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None]) -> Response:
    """The first piece is made before the answer begins, so that a file damaged at its start is an error, not an empty sound."""
    try:
        first = await anext(chunks, b"")
    except PlaybackEnded:
        raise gone(str(audio.recording.id)) from None
    except RecordingError as error:
        raise _damaged(str(audio.recording.id), error) from None
    return Streaming(status, first, chunks, audio.media_type, headers)


def _damaged(recording_id: str, error: RecordingError) -> Problem:
    _log.error("recording.damaged", recording_id=recording_id, failure=error.failure.value)
    return Problem(500, f"The sealed file is damaged ({error.failure.value}): it can't be played.")


def _refused(found: Refusal, recording_id: str) -> Problem:
    match found:
        case Gone():
            return gone(recording_id)
        case Missing():
            return not_found()
        case Restricted():
            return restricted()
        case Elsewhere(retry_after_s):
            return unavailable("The recording is not within this node's reach yet: try again.", retry_after_s)
        case Unfinished():
            return Problem(409, "The recording goes on, or was not measured yet: only all of its audio can be had now.")
        case Withheld():
            return customer_held()
        case Beyond():
            return invalid("from_ms", "lies behind the end of the recording")
        case _:
            assert_never(found)
