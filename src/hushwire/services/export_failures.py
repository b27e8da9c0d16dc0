"""Why a bundle can't be built, as a code that names nobody, and how often that is tried again before it is told as failed."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from hushwire.core.errors import ConfigError, KeyUnavailable, LocalError, RefusedError, Unavailable

TRIED_FOR: Final = timedelta(hours=24)
"""A store or a node may be away for a night. Who asked is owed an answer within a month, so a day leaves time to ask anew."""
TRIED_AT_LEAST: Final = 8
"""However long that took: a worker that was off, or a clock that jumped, gives nothing up."""
_FIRST: Final = timedelta(seconds=30)
_LONGEST: Final = timedelta(hours=1)


class Failure(StrEnum):
    """What stood in the way the last time."""

    SERVICE_AWAY = "service-away"  # a database, the keyring or an object store does not answer
    OUT_OF_REACH = "recording-out-of-reach"  # a recording stands in no store, and in another node's spool or nowhere
    NO_STORE = "no-store-of-the-region"  # none is configured that serves the organisation's residency
    NO_ROOM = "disk"  # the spool can't be written
    NO_KEY = "key-missing"  # a key that it takes is not there, or does not open
    STORED_DIFFERENTLY = "stored-differently"  # the store gave back other bytes than it was given
    UNEXPECTED = "unexpected"  # a mistake of ours: the worker's log says where


class RecordingOutOfReach(Unavailable):
    """Its bytes are not in a store, nor in this node's spool."""


class StoredDifferently(LocalError):
    """The store gave back other bytes than it was given."""


def failure_of(error: Exception) -> Failure:
    """The code of what went wrong. Its words are not kept: they may hold what is nobody's business."""
    match error:
        case RecordingOutOfReach():
            return Failure.OUT_OF_REACH
        case StoredDifferently():
            return Failure.STORED_DIFFERENTLY
        case Unavailable() | asyncpg.PostgresError() | asyncpg.InterfaceError() | ConnectionError() | TimeoutError():
            return Failure.SERVICE_AWAY
        case RefusedError() | ConfigError():
            return Failure.NO_STORE
        case KeyUnavailable():
            return Failure.NO_KEY
        case OSError():
            return Failure.NO_ROOM
        case _:
            return Failure.UNEXPECTED


def retry_at(failures: int, failing_since: datetime, now: datetime) -> datetime | None:
    """When it is tried again after so many failures: half a minute after the first, then twice as long, an hour at most. None: never."""
    if failures >= TRIED_AT_LEAST and now - failing_since >= TRIED_FOR:
        return None
    return now + min(_FIRST * (1 << min(failures - 1, 10)), _LONGEST)
