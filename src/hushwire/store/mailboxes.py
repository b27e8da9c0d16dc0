"""The wake-up that a mailbox changed. What counts is its rows."""

from typing import Final

from hushwire.core.ids import AgentId
from hushwire.store.database import Connection

CHANNEL: Final = "hushwire_mailboxes"


async def tell(connection: Connection, agent_id: AgentId) -> None:
    """Have every gateway look at the agent's mailbox again once this transaction is committed."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, str(agent_id))
