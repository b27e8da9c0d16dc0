"""An agent asks, by a feature code, for what it was refused a moment ago.

The gateway that refused remembers which countries would be needed, since the row names but the first of several; another gateway goes by
the row.
"""

from collections import OrderedDict
from datetime import timedelta
from typing import Final

from hushwire.core.clock import Clock, Random
from hushwire.core.events import DomainEvent
from hushwire.core.ids import AgentId
from hushwire.policy import numbers
from hushwire.policy.model import Deny, Reason
from hushwire.services.access_requests import MOST_OPEN, asked, asked_event, new_id
from hushwire.services.records import Records
from hushwire.services.route import Refused
from hushwire.services.snapshot import Agent, Organisation
from hushwire.store import access_requests as table
from hushwire.store.database import Connection

WITHIN: Final = timedelta(minutes=15)
"""So long after its refusal a call may be asked about."""
_REMEMBERED: Final = 10_000
_FOR_COUNTRIES: Final = (Reason.COUNTRY, Reason.SEVERAL_COUNTRIES)


class AccessAsking:
    """Requests by phone."""

    def __init__(self, records: Records, clock: Clock, random: Random) -> None:
        self._records = records
        self._clock = clock
        self._random = random
        self._refused: OrderedDict[AgentId, tuple[float, tuple[str, ...]]] = OrderedDict()

    def refused(self, refused: Refused) -> None:
        """Remember what an agent would have needed."""
        verdict, agent = refused.verdict, refused.agent
        if agent is None or not isinstance(verdict, Deny) or verdict.reason not in _FOR_COUNTRIES or verdict.number is None:
            return
        found = numbers.international(verdict.number[1:], refused.org.rules.home_country)
        if isinstance(found, numbers.Found):
            missing = tuple(code for code in found.territories if code not in refused.org.rules_of(agent).countries)
            self._refused[agent.id] = self._clock.monotonic(), missing or found.territories
            self._refused.move_to_end(agent.id)
            if len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)

    async def ask(self, org: Organisation, agent: Agent) -> bool | None:
        """Ask for it: True once it is committed, False where nothing can be kept now, None where there is nothing to ask for."""
        now = self._clock.now()
        is_something = False
        remembered = self._refused.get(agent.id)
        is_fresh = remembered is not None and self._clock.monotonic() - remembered[0] < WITHIN.total_seconds()

        async def write(connection: Connection) -> list[DomainEvent]:
            nonlocal is_something
            call = await table.last_refused(connection, agent.id, now - WITHIN)
            countries = remembered[1] if remembered is not None and is_fresh else ()
            if not countries and call is not None and call.reason == Reason.COUNTRY and call.country is not None:
                countries = (call.country,)
            is_something = bool(countries)
            if not countries:
                return []
            row = asked(
                new_id(self._random, now),
                agent.id,
                None if call is None else call.call_id,
                sorted(countries),
                f"agent:{agent.id}",
                now,
            )
            # Who asks twice has asked.
            if not await table.ask(connection, org.id, row, MOST_OPEN):
                return []
            return [asked_event(new_id(self._random, now), org.id, row)]

        is_written = await self._records.write(org.id, "access.request", write, at_once=True)
        if not is_written:
            return False
        return True if is_something else None
