"""Messages as the API shows them: in whose mailbox, who left each, how long it is, whether it was heard."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, OrgId
from hushwire.services.queries import CallView, Queries
from hushwire.store import voicemail as table
from hushwire.store.database import Database
from hushwire.store.recordings import Place
from hushwire.store.voicemail import Message
from hushwire.vault.unseal import Why


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message. `caller` is the number, or the colleague's username; None where it was hidden, or erased."""

    row: Message
    agent: str | None = field(repr=False)
    caller: str | None = field(repr=False)
    caller_agent_id: UUID | None = None


class VoicemailQueries:
    """Reads of one organisation's mailboxes, and the one change that is not an erasure."""

    def __init__(self, main: Database, queries: Queries, clock: Clock) -> None:
        self._main = main
        self._queries = queries
        self._clock = clock

    async def listed(
        self,
        org_id: OrgId,
        why: Why,
        *,
        agent: AgentId | None = None,
        unread: bool | None = None,
        after: Place | None = None,
        limit: int = 50,
    ) -> tuple[list[MessageView], Place | None]:
        """A page of messages, newest first, and where the next one begins. What is opened for it is in the access log."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.find(connection, agent=agent, unread=unread, after=after, limit=limit + 1)
        more = rows[limit - 1] if len(rows) > limit else None
        return await self._shown(org_id, why, rows[:limit]), None if more is None else Place(more.left_at, more.id)

    async def get(self, org_id: OrgId, why: Why, message_id: UUID) -> MessageView | None:
        """One message; None where it is not there (any more)."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, message_id)
        return None if row is None else (await self._shown(org_id, why, [row]))[0]

    async def is_message(self, org_id: OrgId, message_id: UUID) -> bool:
        """Whether a recording is a message, or was one until it was erased."""
        async with self._main.organisation(org_id) as connection:
            return await table.is_known(connection, message_id)

    async def mark(self, org_id: OrgId, message_id: UUID, *, is_read: bool) -> bool:
        """Let it count as heard, or as new again; False where it is not there. Phones' message lamps follow."""
        at: datetime | None = self._clock.now() if is_read else None
        async with self._main.organisation(org_id) as connection:
            if await table.get(connection, message_id) is None:
                return False
            await table.mark(connection, message_id, at)
        return True

    async def _shown(self, org_id: OrgId, why: Why, rows: list[Message]) -> list[MessageView]:
        calls = await self._queries.calls_of(org_id, why, [row.call_id for row in rows if not row.is_restricted])
        names = await self._queries.usernames(org_id, why, {row.agent_id for row in rows})
        return [_view(row, names.get(row.agent_id), calls.get(row.call_id)) for row in rows]


def _view(row: Message, agent: str | None, call: CallView | None) -> MessageView:
    if call is None or call.row.caller_hidden:
        return MessageView(row, agent, None)
    if call.row.direction == "inbound":
        return MessageView(row, agent, call.remote)
    return MessageView(row, agent, call.agent, call.row.agent_id)
