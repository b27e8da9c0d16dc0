"""What a mailbox service tells the notifier: how many messages wait for an agent."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from hushwire.core.ids import AgentId, OrgId
from hushwire.sip.message_summary import MessageCounts


class Mailboxes(Protocol):
    """Whoever keeps messages. Where one changes, `store.mailboxes.tell` goes into the transaction that changes it."""

    async def counts(self, org_id: OrgId, agent_ids: Iterable[AgentId]) -> Mapping[AgentId, MessageCounts]:
        """What these agents' mailboxes hold now; who has none is missing. Raises what the database raises."""


class NoMailboxes:
    """A deployment in which nobody has a mailbox."""

    async def counts(self, org_id: OrgId, agent_ids: Iterable[AgentId]) -> Mapping[AgentId, MessageCounts]:
        """Nothing."""
        return {}
