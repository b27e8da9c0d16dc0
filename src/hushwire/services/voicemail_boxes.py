"""What lies in agents' mailboxes, as rows say it."""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, OrgId, RecordingId
from hushwire.core.rounds import for_each
from hushwire.services.erasure import Erasures, Held
from hushwire.sip.message_summary import MessageCounts
from hushwire.store import voicemail as table
from hushwire.store.database import Database

MOST_HEARD: Final = 200
"""So many messages are heard in one visit."""
_log = structlog.get_logger(__name__)


class VoicemailBoxes:
    """The mailboxes that notifications tell of (`services/mailboxes.py`)."""

    def __init__(self, main: Database, clock: Clock) -> None:
        self._main = main
        self._clock = clock

    async def counts(self, org_id: OrgId, agent_ids: Iterable[AgentId]) -> Mapping[AgentId, MessageCounts]:
        """What these agents' mailboxes hold now; who has none is missing."""
        async with self._main.organisation(org_id) as connection:
            found = await table.counts(connection, list(agent_ids))
        return {agent_id: MessageCounts(new, old) for agent_id, (new, old) in found.items()}

    async def playlist(self, org_id: OrgId, agent_id: AgentId) -> tuple[tuple[UUID, ...], int]:
        """What the agent hears, in order, and how many of it are new."""
        async with self._main.organisation(org_id) as connection:
            found = await table.playlist(connection, agent_id, MOST_HEARD)
        return tuple(message for message, _ in found), sum(not is_read for _, is_read in found)

    async def is_there(self, org_id: OrgId, agent_id: AgentId, message: UUID) -> bool:
        """Whether the agent may hear this message now."""
        async with self._main.organisation(org_id) as connection:
            return await table.is_there(connection, agent_id, message)

    async def mark_heard(self, org_id: OrgId, message: UUID) -> None:
        """It is new no more."""
        async with self._main.organisation(org_id) as connection:
            await table.mark(connection, message, self._clock.now())

    async def ask_erasure(self, org_id: OrgId, agent_id: AgentId, message: UUID) -> None:
        """Its owner deletes it: it is none from now on, and the worker erases it."""
        async with self._main.organisation(org_id) as connection:
            await table.ask_erasure(connection, agent_id, message, self._clock.now())


class MessagesToErase:
    """The worker's share: messages in which nothing was said, and those that their owners deleted by phone, are erased by the one path,
    with ledger and receipt."""

    def __init__(self, main: Database, erasures: Erasures) -> None:
        self._main = main
        self._erasures = erasures

    async def erase_all(self) -> int:
        """Returns how many were erased. One that a legal hold keeps is a message again."""
        async with self._main.transaction() as connection:
            found = await table.to_erase(connection)
        return await for_each(found, lambda one: self._erase(*one), "voicemail")

    async def _erase(self, org_id: OrgId, recording_id: RecordingId) -> int:
        async with self._main.organisation(org_id) as connection:
            owner = await table.who_asked(connection, recording_id)
        actor, reason = ("system:worker", "empty-message") if owner is None else (f"agent:{owner}", "owner-request")
        outcome = await self._erasures.erase(org_id, recording_id, actor=actor, reason=reason)
        is_held = isinstance(outcome, Held)
        if is_held:
            async with self._main.organisation(org_id) as connection:
                await table.keep(connection, recording_id)
        _log.info("voicemail.erased", org_id=str(org_id), recording_id=str(recording_id), reason=reason, is_held=is_held)
        return 0 if is_held else 1
