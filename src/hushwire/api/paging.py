"""Cursors: positions in a list, opaque to who carries them."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from hushwire.api.problems import invalid
from hushwire.store.recordings import Place

T = TypeVar("T")
_MOST: Final = 200

Limit = Annotated[int, Query(ge=1, le=_MOST, description="How many items a page has at most.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


class Page(BaseModel, Generic[T]):
    """One page. `next` is the cursor of the following one, null at the end."""

    items: list[T]
    next: str | None = Field(default=None)


def write(*position: str | int) -> str:
    """A cursor."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def place_cursor(place: Place | None) -> str | None:
    """The cursor of a place in a list by time."""
    return None if place is None else write(place.started_at.isoformat(), str(place.id))


def read_place(cursor: str | None) -> Place | None:
    """The place that a cursor names. Problem 422 for anything that we did not write."""
    if cursor is None:
        return None
    found = _read(cursor)
    try:
        started_at, row_id = found
        at = datetime.fromisoformat(str(started_at))
        if at.tzinfo is None:
            raise ValueError("no time zone")
        # In UTC already here: at the ends of the calendar a zone leads out of it, and the database driver would be the one to say so.
        return Place(at.astimezone(UTC), UUID(str(row_id)))
    except (ValueError, TypeError, OverflowError):
        raise invalid("cursor", "is not a cursor of this list") from None


def read_id(cursor: str | None) -> UUID | None:
    """The id that a cursor names."""
    if cursor is None:
        return None
    try:
        (row_id,) = _read(cursor)
        return UUID(str(row_id))
    except (ValueError, TypeError):
        raise invalid("cursor", "is not a cursor of this list") from None


def read_position(cursor: str | None) -> int | None:
    """The position that a cursor names."""
    if cursor is None:
        return None
    try:
        (position,) = _read(cursor)
    except (ValueError, TypeError):
        raise invalid("cursor", "is not a cursor of this list") from None
    if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 1 << 62:
        raise invalid("cursor", "is not a cursor of this list")
    return position


def read_named(cursor: str | None) -> tuple[str, UUID] | None:
    """The kind and id that a cursor names."""
    if cursor is None:
        return None
    try:
        kind, row_id = _read(cursor)
        found = UUID(str(row_id))
    except (ValueError, TypeError):
        raise invalid("cursor", "is not a cursor of this list") from None
    if not isinstance(kind, str) or not kind.isascii() or "\x00" in kind:
        raise invalid("cursor", "is not a cursor of this list")
    return kind, found


def read_bytes(cursor: str | None) -> bytes | None:
    """The bytes that a cursor names."""
    if cursor is None:
        return None
    try:
        (found,) = _read(cursor)
        return bytes.fromhex(str(found))
    except (ValueError, TypeError):
        raise invalid("cursor", "is not a cursor of this list") from None


def _read(cursor: str) -> list[object]:
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, UnicodeError, RecursionError):
        raise invalid("cursor", "is not a cursor of this list") from None
    if not isinstance(found, list):
        raise invalid("cursor", "is not a cursor of this list")
    return found
