"""Reads of messages: listed, searched by number, by thread; every row whose text or numbers are opened is in the access log."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, OrgId
from hushwire.services.message_sealing import opened
from hushwire.store import messages as table
from hushwire.store.database import Database
from hushwire.store.messages import MessageRow, Wanted
from hushwire.store.recordings import Place
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

_HIDDEN: Final = (
    "agent_id", "peer_agent_id", "number_id", "batch_id", "centre_id", "submitted_at", "ended_at", "read_at", "encoding", "keyword",
    "sent_by", "country", "number_class", "rules_version", "error", "sealed_with", "remote_sealed", "local_sealed", "body_sealed",
    "thread_id",
)  # fmt: skip
"""What is not shown of a message whose processing is restricted."""


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message opened: the other side's number or name, ours, and the text; None where it was erased, or is restricted."""

    row: MessageRow
    remote: str | None = field(repr=False)
    local: str | None = field(repr=False)
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ThreadView:
    """The newest message of a thread, and how many of its messages nobody read."""

    newest: MessageView
    unread: int


class MessageQueries:
    """Reads of one organisation at a time."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock

    async def get(self, org_id: OrgId, why: Why, message_id: UUID) -> MessageView | None:
        """One message. Of one that is being erased only the row is there."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, message_id)
        return None if row is None or row.state == "receiving" else (await self.opened(org_id, why, [row]))[0]

    async def listed(
        self, org_id: OrgId, why: Why, wanted: Wanted, *, after: Place | None = None, limit: int = 50
    ) -> tuple[list[MessageView], Place | None]:
        """A page of messages, newest first, and where the next one begins."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.find(connection, wanted, after=after, limit=limit + 1)
        views = await self.opened(org_id, why, rows[:limit])
        return views, Place(rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None

    async def threads(
        self, org_id: OrgId, why: Why, agent: AgentId | None = None, *, after: Place | None = None, limit: int = 50
    ) -> tuple[list[ThreadView], Place | None]:
        """A page of threads, the one that was written in last first."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.newest_of_threads(connection, agent, after=after, limit=limit + 1)
        views = await self.opened(org_id, why, [row for row, _ in rows[:limit]])
        more = rows[limit - 1][0] if len(rows) > limit else None
        unread = [count for _, count in rows]
        found = [ThreadView(view, count) for view, count in zip(views, unread, strict=False)]
        return found, None if more is None else Place(more.created_at, more.id)

    async def mark(self, org_id: OrgId, message_id: UUID, *, is_read: bool) -> bool:
        """Let it count as read, or as new again; False where there is no such message from outside."""
        at: datetime | None = self._clock.now() if is_read else None
        async with self._main.organisation(org_id) as connection:
            return await table.mark_read(connection, message_id, at)

    async def opened(self, org_id: OrgId, why: Why, rows: Sequence[MessageRow]) -> list[MessageView]:
        """Outside any transaction of the main database: the keyring notes what it opens in one of its own."""
        nothing: dict[str, Any] = dict.fromkeys(_HIDDEN)
        rows = [replace(row, **nothing) if row.is_restricted else row for row in rows]
        wanted = [row.sealed_with for row in rows if row.sealed_with is not None and not row.is_gone]
        keys = await self._keyring.open_many(org_id, "message", wanted, why)
        views = []
        for row in rows:
            key = None if row.sealed_with is None else keys.get(row.sealed_with)
            if key is None:
                views.append(MessageView(row, None, None, None))
            else:
                said = opened(key, org_id, row.id, row.remote_sealed, row.local_sealed, row.body_sealed)
                views.append(MessageView(row, said.remote, said.local, said.body))
        return views
