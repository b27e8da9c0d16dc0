"""Message waiting (RFC 3842): the package `message-summary`, of one's own mailbox alone, and NOTIFYs to phones that never subscribe.

What counts is the mailbox; here is what it held when it was last looked at: at once where a change is told, each minute, and when
somebody subscribes. A phone that registered and has not subscribed a moment later is told by a NOTIFY outside any dialog, then and at
each change, until it says that it takes none.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, OrgId
from hushwire.services.bindings import Bindings
from hushwire.services.directory import Directory
from hushwire.services.event_packages import Watched
from hushwire.services.mailboxes import Mailboxes
from hushwire.sip.effects import RequestId, Responded
from hushwire.sip.flow import Hop
from hushwire.sip.headers import Line
from hushwire.sip.message_summary import CONTENT_TYPE, MessageCounts, message_summary
from hushwire.sip.uri import NameAddr, SipUri, escape_user
from hushwire.store import mailboxes as rows
from hushwire.store.database import STORE_FAILED, Database

PACKAGE: Final = "message-summary"
LOOK_S: Final = 60.0
GRACE_S: Final = 3.0
"""A phone that wants to subscribe does so right after it registered."""
MOST_AT_ONCE: Final = 200
"""So many agents are looked up together, and their phones told, in one turn of `TURN_S`."""
TURN_S: Final = 0.5
_UNASKED: Final[tuple[Line, ...]] = (("Event", PACKAGE), ("Subscription-State", "terminated;reason=noresource"))
_log = structlog.get_logger(__name__)


class Send(Protocol):
    """`SipEndpoint.send`, as far as it is used here."""

    def __call__(
        self, method: str, *, hop: Hop, uri: SipUri | str, from_: NameAddr, to: NameAddr, headers: Iterable[Line] = ...,
        body: bytes = ..., content_type: str = ..., silence_s: float = ...,
    ) -> RequestId:  # fmt: skip
        """Send a request outside dialogs."""


class MessageWaiting:
    """Mailboxes as phones of one gateway see them. It is the event package too."""

    name = PACKAGE
    content_type = CONTENT_TYPE
    longest_s = 3600
    interval_s = 1.0

    def __init__(self, db: Database, mailboxes: Mailboxes, directory: Directory, bindings: Bindings, send: Send, clock: Clock) -> None:
        self._db = db
        self.mailboxes = mailboxes
        self._directory = directory
        self._bindings = bindings
        self._send = send
        self._clock = clock
        self._counts: dict[AgentId, MessageCounts | None] = {}
        self._due: dict[AgentId, float] = {}
        self._known: dict[AgentId, frozenset[UUID]] = {}
        self._new: set[AgentId] = set()
        self._deaf: set[UUID] = set()
        self._asked: dict[RequestId, UUID] = {}
        self._wake = asyncio.Event()
        self._next_look = float("-inf")
        self.watched: Callable[[], Iterable[AgentId]] = tuple
        """Whose mailboxes somebody is subscribed to."""
        self.is_subscribed: Callable[[UUID, AgentId], bool] = lambda _binding, _agent: False
        """Whether the device of a binding is subscribed to its agent's mailbox."""
        self.on_change: Callable[[AgentId], None] = lambda _agent: None

    # The package.

    def may_watch(self, watched: Watched) -> bool:
        """A mailbox is its owner's."""
        return watched.watcher.id == watched.line.id

    def state(self, watched: Watched) -> MessageCounts | None:
        """What the mailbox held when it was last looked at. Who has none has no messages."""
        agent_id = watched.line.id
        if agent_id not in self._counts:
            self._look_at(agent_id)
            return None
        return self._counts[agent_id] or MessageCounts()

    def write(self, watched: Watched, state: MessageCounts, told: MessageCounts | None, version: int) -> bytes:
        """The counts, whole."""
        return message_summary(state, watched.entity)

    # Phones that don't subscribe.

    def registrations_changed(self, agent_id: AgentId) -> None:
        """Devices of an agent came or went."""
        now_there = frozenset(place.row_id for place in self._bindings.own_of(agent_id))
        before = self._known.get(agent_id, frozenset())
        if now_there:
            self._known[agent_id] = now_there
        else:
            self._known.pop(agent_id, None)
        self._deaf -= before - now_there
        if now_there - before:
            self._new.add(agent_id)
            self._due[agent_id] = self._clock.monotonic() + GRACE_S

    def responded(self, event: Responded) -> bool:
        """Whether it is the answer to a NOTIFY of these."""
        binding_id = self._asked.pop(event.request, None)
        if binding_id is None:
            return False
        if event.status >= 300 and event.status not in (408, 503):
            self._deaf.add(binding_id)
        return True

    def _tell(self, agent_id: AgentId) -> None:
        """Tell the agent's phones here that are not subscribed."""
        counts, agent = self._counts.get(agent_id), self._directory.agent(agent_id)
        org = None if agent is None else self._directory.organisation(agent.org_id)
        if counts is None or agent is None or org is None or agent.is_suspended:
            return
        name = NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(agent.username.reveal())))
        for place in self._bindings.own_of(agent_id):
            is_deaf = place.row_id in self._deaf or self._directory.is_revoked(agent_id, place.device_id)
            if is_deaf or self.is_subscribed(place.row_id, agent_id):
                continue
            way = self._bindings.way(place)
            if way is None:
                continue
            hop, routes = way
            request = self._send(
                "NOTIFY", hop=hop, uri=place.binding.contact, from_=name, to=name,
                headers=[*(("Route", value) for value in routes), *_UNASKED],
                body=message_summary(counts, str(name.uri)), content_type=CONTENT_TYPE, silence_s=8.0,
            )  # fmt: skip
            self._asked[request] = place.row_id

    # Looking.

    async def run(self) -> None:
        """Look where a change is told, where somebody is new, and each minute, until cancelled."""
        await self._db.listen(rows.CHANNEL, self._told)
        while True:
            self._wake.clear()
            await self.turn()
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await self._wake.wait()
                    await asyncio.sleep(0.02)  # several that tell at once are heard together

    async def turn(self) -> None:
        """Look at those mailboxes whose time has come."""
        now = self._clock.monotonic()
        if now >= self._next_look:
            watched = set(self.watched())
            self._counts = {agent_id: counts for agent_id, counts in self._counts.items() if agent_id in watched or agent_id in self._known}
            for agent_id in watched:
                self._due.setdefault(agent_id, now)
            self._next_look = now + LOOK_S
        due = [agent_id for agent_id, at in self._due.items() if at <= now][:MOST_AT_ONCE]
        if not due:
            return
        by_org: dict[OrgId, list[AgentId]] = defaultdict(list)
        for agent_id in due:
            del self._due[agent_id]
            agent = self._directory.agent(agent_id)
            if agent is not None:
                by_org[agent.org_id].append(agent_id)
        for org_id, agent_ids in by_org.items():
            try:
                found = await self.mailboxes.counts(org_id, agent_ids)
            except STORE_FAILED as error:
                _log.warning("mailboxes.unread", error=type(error).__name__)
                self._due |= dict.fromkeys(agent_ids, now + LOOK_S / 6)
                continue
            for agent_id in agent_ids:
                self._learn(agent_id, found.get(agent_id))

    def _learn(self, agent_id: AgentId, counts: MessageCounts | None) -> None:
        was_known, before = agent_id in self._counts, self._counts.get(agent_id)
        self._counts[agent_id] = counts
        if not was_known or counts != before:
            self.on_change(agent_id)
            self._tell(agent_id)
        elif agent_id in self._new:
            self._tell(agent_id)
        self._new.discard(agent_id)

    def _look_at(self, agent_id: AgentId) -> None:
        self._due[agent_id] = self._clock.monotonic()
        self._wake.set()

    def _told(self, payload: str) -> None:
        if not payload:
            self._next_look = float("-inf")  # the connection was lost: something may have been missed
            self._wake.set()
            return
        with suppress(ValueError):
            agent_id = AgentId(UUID(payload))
            if agent_id in self._counts or agent_id in self._known:
                self._look_at(agent_id)
