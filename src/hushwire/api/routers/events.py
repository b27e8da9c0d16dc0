"""/v1/events: what happens, as server-sent events, from where a reader left off."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import Response

from hushwire.api import event_stream
from hushwire.api.access import Caller, Permission, permission_of_event
from hushwire.api.event_stream import EventStream
from hushwire.api.means import Given, Means, needs
from hushwire.api.problems import Problem, invalid
from hushwire.core.events import EventKind
from hushwire.core.ids import OrgId
from hushwire.services.event_feed import Missed, Quiet, TooManyReaders
from hushwire.store.events import FeedEvent

router = APIRouter(prefix="/v1/events", tags=["events"])
Reading = Annotated[Caller, Depends(needs(Permission.EVENTS))]
_DESCRIPTION = "Kinds parted by commas, such as call.ended,message.*; without it all that the key may be told."
Kinds = Annotated[str | None, Query(max_length=1000, description=_DESCRIPTION)]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=20, description="Go on behind this event.")]
_LARGEST = 1 << 62


@router.get("", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def follow_events(means: Given, caller: Reading, kinds: Kinds = None, last_event_id: LastEventId = None) -> EventStream:
    """Events as they are committed: ids and states, never a number, a name or words. A week of them can be read again."""
    wanted = None if kinds is None else _kinds(kinds)
    after = None if last_event_id is None else _position(last_event_id)
    places = contextlib.ExitStack()
    try:
        places.enter_context(means.events.place(caller.key_id))
    except TooManyReaders:
        raise Problem(429, "The key has as many streams as it may have.", headers={"Retry-After": "5"}) from None
    return EventStream(_chunks(means, caller.org_id, caller.key_id, caller, after, wanted), places)


async def _chunks(
    means: Means, org_id: OrgId, key_id: UUID, caller: Caller, after: int | None, wanted: frozenset[str] | None
) -> AsyncIterator[bytes]:
    def wants(event: FeedEvent) -> bool:
        is_asked = wanted is None or not wanted.isdisjoint((event.kind, event.kind.partition(".")[0] + ".*", "*"))
        return is_asked and caller.may(permission_of_event(event.kind))

    async with contextlib.aclosing(means.events.follow(org_id, key_id, caller.role, after, wants)) as feed:  # type: ignore[type-var]
        async for one in feed:
            match one:
                case FeedEvent():
                    data = {"subject": str(one.subject), **one.fields}
                    said = {"id": str(one.id), "position": one.position, "type": one.kind, "timestamp": one.at.isoformat(), "data": data}
                    yield event_stream.event(one.position, one.kind, said)
                case Missed():
                    yield event_stream.event(one.oldest - 1, "missed", {"oldest": one.oldest})
                case Quiet():
                    yield event_stream.quiet(one.position)


def _kinds(text: str) -> frozenset[str]:
    known = {kind.value for kind in EventKind}
    known |= {kind.partition(".")[0] + ".*" for kind in known} | {"*"}
    found = frozenset(text.split(","))
    if not found <= known:
        raise invalid("kinds", "must be kinds of events, such as call.ended or message.*")
    return found


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _LARGEST:
        raise invalid("Last-Event-ID", "must be the id of an event of this stream")
    return int(text)
