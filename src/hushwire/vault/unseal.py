"""Who opens a key and why, noted in the access log before the key leaves the keyring.

A `Keyring` that was not given an `UnsealLog` can't open anything, so there is no way around the log: a reading that can't be noted does
not happen.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import RefusedError
from hushwire.core.ids import OrgId, uuid7
from hushwire.store import access
from hushwire.store.database import Connection, Database

_ACTOR: Final = re.compile(r"[a-z][a-z-]{0,31}:[A-Za-z0-9-]{1,64}", re.ASCII)
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Why:
    """Who reads (`api-key:<id>`, `system:worker`) and for what (a code of `core/purposes.py`, or an API key's own).

    Raises RefusedError if either is not of that form: what stands in the log for good must not be free text.
    """

    actor: str
    purpose: str

    def __post_init__(self) -> None:
        if not _ACTOR.fullmatch(self.actor) or not _PURPOSE.fullmatch(self.purpose):
            raise RefusedError("a reading takes an actor such as api-key:<id> and a purpose code")


RENEWAL: Final = Why("system:worker", purposes.KEY_RENEWAL)
INTEGRITY: Final = Why("system:worker", purposes.STORAGE_INTEGRITY)
ERASURE: Final = Why("system:worker", purposes.ERASURE)


class UnsealLog(Protocol):
    """Where each opening is noted."""

    async def note(self, org_id: OrgId, why: Why, objects: Sequence[str]) -> None:
        """One row for each object (`kind:<id>`), committed before this returns. Raises Unavailable where that can't be had."""
        ...


class AccessLog:
    """The main database's `access_log`, written in a transaction of its own."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random

    async def note(self, org_id: OrgId, why: Why, objects: Sequence[str]) -> None:
        """One row for each object, in one statement. Raises Unavailable."""
        if objects:
            async with self._main.organisation(org_id) as connection:
                await self.note_in(connection, org_id, why, objects)

    async def note_in(self, connection: Connection, org_id: OrgId, why: Why, objects: Sequence[str]) -> None:
        """Like `note`, in the caller's transaction: for columns that open without a data key (under the organisation's own)."""
        now = self._clock.now()
        await access.note(connection, org_id, now, why.actor, why.purpose, [(self._id(now), name) for name in objects])

    def _id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
