"""An agent's phones are told what became of a request: a MESSAGE (RFC 3428) to each device that is registered here, once.

Of several gateways the first that has one of the agent's devices tells it; who is registered nowhere is told when it comes, for a day.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final, Protocol

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId
from hushwire.policy.territories import named
from hushwire.services.bindings import Bindings
from hushwire.services.directory import Directory
from hushwire.sip.effects import RequestId, Responded
from hushwire.sip.flow import Hop
from hushwire.sip.uri import NameAddr, SipUri, escape_user
from hushwire.store import access_requests as table
from hushwire.store.access_requests import AccessRow
from hushwire.store.database import STORE_FAILED, Database

WITHIN: Final = timedelta(days=1)
LOOK_S: Final = 20.0
_log = structlog.get_logger(__name__)


class Send(Protocol):
    """`SipEndpoint.send`, as far as it is used here."""

    def __call__(
        self, method: str, *, hop: Hop, uri: SipUri | str, from_: NameAddr, to: NameAddr, headers: list[tuple[str, str]] = ...,
        body: bytes = ..., content_type: str = ..., silence_s: float = ...,
    ) -> RequestId:  # fmt: skip
        """Send a request outside dialogs."""


class AccessNews:
    """What this gateway tells its own phones."""

    def __init__(self, db: Database, directory: Directory, bindings: Bindings, send: Send, clock: Clock) -> None:
        self._db = db
        self._directory = directory
        self._bindings = bindings
        self._send = send
        self._clock = clock
        self._asked: set[RequestId] = set()
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Something was decided, perhaps: a decision changes what rules an agent has."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._tell_all()
            except STORE_FAILED as error:
                _log.warning("access.not_told", error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    def responded(self, event: Responded) -> bool:
        """Whether it is the answer to one of these. What a phone makes of it is its own business."""
        if event.request not in self._asked:
            return False
        self._asked.discard(event.request)
        return True

    async def _tell_all(self) -> None:
        now = self._clock.now()
        async with self._db.transaction() as connection:
            waiting = await table.untold(connection, now - WITHIN)
        for org_id, request_id, agent_id in waiting:
            if not any(True for _ in self._bindings.own_of(AgentId(agent_id))):
                continue
            try:
                async with self._db.organisation(org_id) as connection:
                    row = await table.note_told(connection, request_id, now)
                if row is not None:
                    self._tell(row)
            except Exception as error:
                # Those that wait beside it are told; where the database is away, the next round tells this one too.
                _log.error("access.one_not_told", org_id=str(org_id), exc_info=error)

    def _tell(self, row: AccessRow) -> None:
        agent = self._directory.agent(AgentId(row.agent_id))
        org = None if agent is None else self._directory.organisation(agent.org_id)
        if agent is None or org is None or agent.is_suspended:
            return
        to = NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(agent.username.reveal())))
        body = worded(row).encode()
        for place in self._bindings.own_of(agent.id):
            way = self._bindings.way(place)
            if way is None or self._directory.is_revoked(agent.id, place.device_id):
                continue
            hop, routes = way
            request = self._send(
                "MESSAGE", hop=hop, uri=place.binding.contact, from_=NameAddr(SipUri(self._directory.domain)), to=to,
                headers=[("Route", value) for value in routes], body=body, content_type="text/plain;charset=UTF-8", silence_s=8.0,
            )  # fmt: skip
            self._asked.add(request)
        _log.info("access.told", agent=str(agent.id), state=row.state)


def worded(row: AccessRow) -> str:
    """One sentence for the agent."""
    where = ", ".join(named(code) for code in row.countries)
    if row.state == "approved" and row.ends_at is not None:
        return f"You may call {where} until {row.ends_at:%Y-%m-%d %H:%M} UTC."
    return f"Access to {where} was not given."
