"""What agents set or ask for by dialling a feature code: written, then confirmed by two tones."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import uuid7
from hushwire.services.access_asking import AccessAsking
from hushwire.services.agent_forwarding import sealed
from hushwire.services.records import Records
from hushwire.services.route import Wish
from hushwire.services.spoken_refusals import SpokenRefusals
from hushwire.sip import refusals
from hushwire.sip.effects import TxId
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request
from hushwire.store.agents import set_forwarding
from hushwire.store.database import Connection
from hushwire.transport.endpoint import SipEndpoint

SAVED_WITHIN_S: Final = 3.0
_log = structlog.get_logger(__name__)


class FeatureSettings:
    """Carries wishes out. Every gateway obeys one within a second of its commit."""

    def __init__(self, endpoint: SipEndpoint, records: Records, spoken: SpokenRefusals, clock: Clock, random: Random) -> None:
        self._endpoint = endpoint
        self._records = records
        self._spoken = spoken
        self._clock = clock
        self._random = random
        self.access = AccessAsking(records, clock, random)

    def begin(self, tx: TxId, request: Request, flow: Flow, wish: Wish) -> Coroutine[Any, Any, None]:
        """Save it, and say so; an INVITE that can't be told is refused, and says that nothing was saved."""
        return self._carry_out(tx, request, flow, wish)

    async def _carry_out(self, tx: TxId, request: Request, flow: Flow, wish: Wish) -> None:
        if wish.wanted is None:
            await self._ask_access(tx, request, flow, wish)
            return
        now, org, agent, wanted = self._clock.now(), wish.org, wish.agent, wish.wanted
        identity = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        facts: dict[str, str | int | bool | None] = {"actor": f"agent:{agent.id}", "feature": wish.feature.value}
        event = DomainEvent(identity, org.id, EventKind.FORWARDING_CHANGED, agent.id, now, facts)

        async def write(connection: Connection) -> list[DomainEvent]:
            await set_forwarding(connection, agent.id, sealed(org.keys, agent.id, wanted), now)
            return [event]

        written = self._records.write(org.id, "agent.forwarding", write, at_once=True)
        try:
            async with asyncio.timeout(SAVED_WITHIN_S):
                is_saved = await asyncio.shield(written)
        except TimeoutError:
            is_saved = False  # it is saved once the database takes it; the agent is told what is true now
        if not is_saved:
            self._endpoint.respond(tx, 503, headers=[("Retry-After", "5"), ("Reason", refusals.header("not-saved"))])
            return
        _log.info("agent.forwarding_changed", agent=str(agent.id), feature=wish.feature.value)
        await self._spoken.confirm(tx, request, flow, org, agent.id)

    async def _ask_access(self, tx: TxId, request: Request, flow: Flow, wish: Wish) -> None:
        try:
            async with asyncio.timeout(SAVED_WITHIN_S):
                is_asked = await asyncio.shield(asyncio.ensure_future(self.access.ask(wish.org, wish.agent)))
        except TimeoutError:
            is_asked = False
        if is_asked:
            await self._spoken.confirm(tx, request, flow, wish.org, wish.agent.id)
        elif is_asked is None:
            self._endpoint.respond(tx, 404, headers=[("Reason", refusals.header("nothing-refused"))])
        else:
            self._endpoint.respond(tx, 503, headers=[("Retry-After", "5"), ("Reason", refusals.header("not-saved"))])
