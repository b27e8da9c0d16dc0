"""OPTIONS to registered UDP devices: what keeps a NAT's way to them open, and tells those that are gone from those that are silent.

A device behind a NAT (its Contact names another address than its REGISTER came from) is asked each `interval_s`, one that is not each
fourth time as long: only to learn that it is gone. Whatever it answers, it is there (RFC 3261 section 11). After `MOST_MISSES` that
stayed unanswered its binding ends; a phone that comes back registers. Devices on connections keep these themselves (RFC 5626
section 3.5.1), and those behind an edge proxy are its to keep.
"""

import asyncio
import heapq
from typing import Final, Protocol
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId
from hushwire.services.bindings import Bindings, Place
from hushwire.services.directory import Directory
from hushwire.sip.effects import Cause, RequestId, Responded
from hushwire.sip.flow import Hop, Transport
from hushwire.sip.uri import NameAddr, SipUri, escape_user

MOST_MISSES: Final = 3
SILENCE_S: Final = 8.0
UNTRANSLATED: Final = 4
TICK_S: Final = 0.5
_log = structlog.get_logger(__name__)


class Ask(Protocol):
    """`SipEndpoint.send`, as far as it is used here."""

    def __call__(self, method: str, *, hop: Hop, uri: SipUri | str, from_: NameAddr, to: NameAddr, silence_s: float = ...) -> RequestId:
        """Send a request outside dialogs."""


class KeepAlive:
    """The keep-alives of one gateway's own bindings."""

    def __init__(self, bindings: Bindings, directory: Directory, ask: Ask, clock: Clock, random: Random, interval_s: float) -> None:
        self._bindings = bindings
        self._directory = directory
        self._ask = ask
        self._clock = clock
        self._random = random
        self._interval_s = interval_s
        self._due: list[tuple[float, UUID]] = []
        self._known: set[UUID] = set()
        self._misses: dict[UUID, int] = {}
        self._asked: dict[RequestId, UUID] = {}
        self.answered = 0
        """How many answers came since the start."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        """Ask those that are due."""
        now = self._clock.monotonic()
        for row_id in self._bindings.own_ids() - self._known:
            self._known.add(row_id)
            place = self._bindings.own(row_id)
            if place is not None:
                # Spread, so that a restart's ten thousand phones are not asked in one moment.
                heapq.heappush(self._due, (now + self._each_s(place) * self._random.token_bytes(1)[0] / 256, row_id))
        while self._due and self._due[0][0] <= now:
            _, row_id = heapq.heappop(self._due)
            place = self._bindings.own(row_id)
            if place is None:
                self._known.discard(row_id)
                self._misses.pop(row_id, None)
                continue
            heapq.heappush(self._due, (now + self._each_s(place), row_id))
            if place.hop is not None and place.hop.transport is Transport.UDP and not place.binding.path:
                self._ask_one(row_id, place, place.hop)

    def _each_s(self, place: Place) -> float:
        return self._interval_s * (1 if is_translated(place) else UNTRANSLATED)

    def _ask_one(self, row_id: UUID, place: Place, hop: Hop) -> None:
        agent_id = self._bindings.owner(row_id)
        agent = None if agent_id is None else self._directory.agent(agent_id)
        org = None if agent is None else self._directory.organisation(agent.org_id)
        if agent is None or org is None:
            return
        domain = self._directory.domain
        to = NameAddr(SipUri(f"{org.slug}.{domain}", escape_user(agent.username.reveal())))
        request = self._ask("OPTIONS", hop=hop, uri=place.binding.contact, from_=NameAddr(SipUri(domain)), to=to, silence_s=SILENCE_S)
        self._asked[request] = row_id

    def responded(self, event: Responded) -> bool:
        """Whether an answer, or that none came, is to one of ours."""
        row_id = self._asked.pop(event.request, None)
        if row_id is None:
            return False
        if event.cause is Cause.RESPONSE:
            self._misses.pop(row_id, None)
            self.answered += 1
            return True
        self._misses[row_id] = self._misses.get(row_id, 0) + 1
        if self._misses[row_id] >= MOST_MISSES:
            self._end(row_id)
        return True

    def _end(self, row_id: UUID) -> None:
        agent_id: AgentId | None = self._bindings.owner(row_id)
        agent = None if agent_id is None else self._directory.agent(agent_id)
        self._misses.pop(row_id, None)
        if agent is not None:
            _log.info("agent.device_silent", agent=str(agent.id))
            self._bindings.end(agent.org_id, agent.id, [row_id])


def is_translated(place: Place) -> bool:
    """Whether a NAT stands before a UDP device."""
    contact = place.binding.contact
    at = place.source_address
    return (contact.host.strip("[]"), contact.port or Transport.UDP.default_port) != at
