"""Agents' own greetings, as rows say it, and what goes of them by the one path."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, OrgId, RecordingId
from hushwire.core.rounds import for_each
from hushwire.services.erasure import Erasures, Held
from hushwire.store import greetings as table
from hushwire.store.database import Database
from hushwire.store.greetings import Greeting

DRAFT_LEFT_AFTER: Final = timedelta(hours=1)
"""Nobody decides about a draft any more that is so old: no visit lasts so long."""
_log = structlog.get_logger(__name__)


class Greetings:
    """The greetings of agents."""

    def __init__(self, main: Database) -> None:
        self._main = main

    async def used(self, org_id: OrgId, agent_id: AgentId) -> Greeting | None:
        """The one that the agent's callers hear; None where it has none of its own."""
        async with self._main.organisation(org_id) as connection:
            return await table.used(connection, agent_id)

    async def may_be_heard(self, org_id: OrgId, agent_id: AgentId, greeting: UUID, *, by_callers: bool) -> bool:
        """Whether it may be played now."""
        async with self._main.organisation(org_id) as connection:
            return await table.may_be_heard(connection, agent_id, greeting, by_callers=by_callers)

    async def keep(self, org_id: OrgId, agent_id: AgentId, draft: UUID) -> bool:
        """Callers hear it from now on, and the worker erases the one before; False where it is not there any more."""
        async with self._main.organisation(org_id) as connection:
            return await table.keep(connection, agent_id, draft)

    async def discard(self, org_id: OrgId, agent_id: AgentId, draft: UUID) -> None:
        """The worker erases a draft."""
        async with self._main.organisation(org_id) as connection:
            await table.discard(connection, agent_id, draft)

    async def remove(self, org_id: OrgId, agent_id: AgentId) -> None:
        """Callers hear none of the agent's own from now on, and the worker erases it."""
        async with self._main.organisation(org_id) as connection:
            await table.remove(connection, agent_id)


class GreetingsToErase:
    """The worker's share: greetings that were replaced, removed or never kept are erased by the one path, with ledger and receipt."""

    def __init__(self, main: Database, erasures: Erasures, clock: Clock) -> None:
        self._main = main
        self._erasures = erasures
        self._clock = clock

    async def erase_all(self) -> int:
        """Returns how many were erased. One that a legal hold keeps goes with the hold's release."""
        async with self._main.transaction() as connection:
            found = await table.to_erase(connection, self._clock.now() - DRAFT_LEFT_AFTER)
        return await for_each(found, lambda one: self._erase(*one), "greetings")

    async def _erase(self, org_id: OrgId, recording_id: RecordingId) -> int:
        async with self._main.organisation(org_id) as connection:
            owner = await table.owner(connection, recording_id)
        if owner is None:
            return 0  # another worker erased it, and its row is gone
        outcome = await self._erasures.erase(org_id, recording_id, actor=f"agent:{owner}", reason="owner-request")
        is_held = isinstance(outcome, Held)
        if is_held:
            async with self._main.organisation(org_id) as connection:
                await table.hold(connection, recording_id)
        _log.info("greeting.erased", org_id=str(org_id), recording_id=str(recording_id), is_held=is_held)
        return 0 if is_held else 1
