"""What lies in agents' mailboxes, as rows say it."""

from collections.abc import Iterable, Mapping

import structlog

from hushwire.core.ids import AgentId, OrgId
from hushwire.services.erasure import Erasures, Held
from hushwire.sip.message_summary import MessageCounts
from hushwire.store import voicemail as table
from hushwire.store.database import Database

_log = structlog.get_logger(__name__)


class VoicemailBoxes:
    """The mailboxes that notifications tell of (`services/mailboxes.py`)."""

    def __init__(self, main: Database) -> None:
        self._main = main

    async def counts(self, org_id: OrgId, agent_ids: Iterable[AgentId]) -> Mapping[AgentId, MessageCounts]:
        """What these agents' mailboxes hold now; who has none is missing."""
        async with self._main.organisation(org_id) as connection:
            found = await table.counts(connection, list(agent_ids))
        return {agent_id: MessageCounts(new, old) for agent_id, (new, old) in found.items()}


class EmptyMessages:
    """The worker's share: messages in which nothing was said are erased, by the one path, with ledger and receipt."""

    def __init__(self, main: Database, erasures: Erasures) -> None:
        self._main = main
        self._erasures = erasures

    async def erase_all(self) -> int:
        """Returns how many were erased. One that a legal hold keeps is a message from then on."""
        async with self._main.transaction() as connection:
            found = await table.empty(connection)
        for org_id, recording_id in found:
            outcome = await self._erasures.erase(org_id, recording_id, actor="system:worker", reason="empty-message")
            if isinstance(outcome, Held):
                async with self._main.organisation(org_id) as connection:
                    await table.keep(connection, recording_id)
            _log.info("voicemail.empty_erased", org_id=str(org_id), recording_id=str(recording_id), held=isinstance(outcome, Held))
        return len(found)
