"""Where agents' devices are: this gateway's bindings and, as their rows tell, those of all other gateways (docs/adr/0030).

They serve from memory and stand in PostgreSQL, sealed. What this gateway learns is written in batches: all that waits goes into one
transaction. What others write is followed by transaction horizon each second, and at once where they tell; without the database,
what is known goes on serving.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.events import DomainEvent
from hushwire.core.ids import AgentId, NodeId, OrgId
from hushwire.core.values import frozen, replace
from hushwire.services.directory import Directory
from hushwire.services.neighbours import Neighbours
from hushwire.services.refreshing import Said
from hushwire.services.snapshot import Organisation
from hushwire.sip.flow import Flow, Hop, Target, Transport
from hushwire.sip.registrar import Binding
from hushwire.sip.uri import parse_sip_uri
from hushwire.store import outbox
from hushwire.store import registrations as rows
from hushwire.store.database import STORE_FAILED, Database
from hushwire.store.ids import new_id

BATCH_S: Final = 0.1
REFRESHES_S: Final = 1.0
"""How long a batch waits where nothing but refreshes would go with it: a row that says a later end a second later misleads nobody."""
GROUP_S: Final = 0.01
"""How long a new device waits for others that would be written with it: a commit costs more than ten rows."""
FOLLOW_S: Final = 1.0
log = structlog.get_logger()


@frozen(repr=False)
class Place:
    """A binding and its row. `node_id` holds its flow; `source` is where its REGISTER came from.

    `hop` is the way from here where this gateway holds the flow; None once that connection is gone, and for other gateways' bindings.
    """

    row_id: UUID
    binding: Binding
    device_id: UUID
    node_id: NodeId
    source: Hop
    hop: Hop | None
    sealed: bytes = field(default=b"", repr=False)
    said: Said | None = field(default=None, repr=False, compare=False)
    """What made it, where the next REGISTER may say the same."""
    is_here: bool = field(default=False, compare=False)
    """Whether its device is known to receive where its REGISTER came from."""
    is_asked: bool = field(default=False, compare=False)
    """Whether who claims to be it at another address was asked to prove that it receives there."""

    @property
    def source_address(self) -> tuple[str, int]:
        """The address and port that the REGISTER came from."""
        source = self.source
        return (source.remote.host, source.remote.port) if isinstance(source, Flow) else (source.host, source.port)


@dataclass(slots=True)
class _Waiting:
    """What one organisation's rows lack."""

    places: dict[UUID, tuple[AgentId, Place]] = field(default_factory=dict)
    refreshed: dict[UUID, Place] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    events: list[DomainEvent] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.places or self.refreshed or self.ended or self.events)


class Bindings:
    """All devices of all agents."""

    def __init__(self, db: Database, directory: Directory, neighbours: Neighbours, clock: Clock, random: Random, node_id: NodeId) -> None:
        self._db = db
        self._directory = directory
        self._neighbours = neighbours
        self._clock = clock
        self._random = random
        self.node_id = node_id
        self.on_change: Callable[[AgentId], None] = lambda _agent: None
        """Told whose devices came or went, on whatever gateway."""
        self._places: dict[AgentId, dict[UUID, Place | rows.RegistrationRow]] = {}
        self._own: dict[UUID, AgentId] = {}
        self._by_flow: dict[Flow, set[UUID]] = {}
        self._waiting: dict[OrgId, _Waiting] = defaultdict(_Waiting)
        self._horizon = "0"
        self._dirty = asyncio.Event()
        self._soon = asyncio.Event()
        self._told = asyncio.Event()
        self._writing = asyncio.Lock()

    # What calls and REGISTERs ask.

    def of(self, agent_id: AgentId) -> list[Place]:
        """Every binding of the agent, on whatever gateway; lapsed ones too."""
        held = self._places.get(agent_id)
        if held is None:
            return []
        found: list[Place] = []
        for row_id, item in list(held.items()):
            place = item if isinstance(item, Place) else self._opened(item)
            if place is not None:
                held[row_id] = place
                found.append(place)
        return found

    def own(self, row_id: UUID) -> Place | None:
        """A binding whose flow this gateway holds."""
        agent_id = self._own.get(row_id)
        item = None if agent_id is None else self._places.get(agent_id, {}).get(row_id)
        return item if isinstance(item, Place) and item.binding.expires_at > self._clock.monotonic() else None

    def own_of(self, agent_id: AgentId) -> list[Place]:
        """The agent's bindings whose flow this gateway holds; lapsed ones too. What others hold is not opened for it."""
        held = self._places.get(agent_id, {})
        return [item for item in held.values() if isinstance(item, Place) and item.node_id == self.node_id]

    def own_ids(self) -> set[UUID]:
        """The bindings whose flow this gateway holds."""
        return set(self._own)

    def owner(self, row_id: UUID) -> AgentId | None:
        """Whose binding it is, of those that this gateway holds the flow of."""
        return self._own.get(row_id)

    def count_own(self) -> int:
        """How many bindings this gateway holds the flow of."""
        return len(self._own)

    def agents(self) -> Iterable[AgentId]:
        """Who has bindings."""
        return list(self._places)

    def is_from(self, place: Place) -> bool:
        """Whether this gateway holds its flow."""
        return place.node_id == self.node_id

    def is_on(self, flow: Flow) -> bool:
        """Whether any binding was made by this flow, also where its connection has ended since."""
        return flow in self._by_flow

    def way(self, place: Place) -> tuple[Hop, tuple[str, ...]] | None:
        """The next hop to a device and the Route values for it; None where there is no way now."""
        path, source = place.binding.path, place.source
        if place.node_id == self.node_id:
            return None if place.hop is None else (place.hop, path)
        at = source.remote if isinstance(source, Flow) else source
        direct = Target(Transport.UDP, at.host, at.port) if source.transport is Transport.UDP else None
        if path and direct is not None:
            return direct, path  # an edge proxy is there for every gateway (RFC 3327)
        node = self._neighbours.hop(place.node_id)
        if node is not None:
            return node, (self._neighbours.route(place.row_id, node), *path)
        # The gateway that held the flow is gone; a phone that is behind no NAT hears us all the same.
        return None if direct is None else (direct, path)

    # What REGISTERs change.

    def new_id(self) -> UUID:
        """A fresh row id."""
        return new_id(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))

    def put(self, org_id: OrgId, agent_id: AgentId, kept: Sequence[Place], stored: Sequence[Place]) -> bool:
        """Make `kept` the agent's bindings; `stored` among them were made or refreshed here. Whether a row must say so first."""
        before = {place.row_id: place for place in self.of(agent_id)}
        waiting = self._waiting[org_id]
        is_urgent = False
        for place in stored:
            old = before.get(place.row_id)
            if old is not None and place.row_id not in waiting.places and _is_refreshed(old, place):
                waiting.refreshed[place.row_id] = place
            else:
                waiting.refreshed.pop(place.row_id, None)
                waiting.places[place.row_id] = (agent_id, place)
                is_urgent = is_urgent or old is None or old.node_id != self.node_id
        still = {place.row_id: place for place in kept}
        gone = before.keys() - still.keys()
        self._end(waiting, gone)
        self._hold(agent_id, dict(still))
        if waiting.places or gone:
            self._write_soon()
        elif stored:
            self._dirty.set()
        return is_urgent or bool(gone)

    def refresh(self, org_id: OrgId, agent_id: AgentId, place: Place) -> None:
        """As `put`, of a binding of this gateway's of which nothing but CSeq and expiry is new. No row must say so first."""
        waiting = self._waiting[org_id]
        if place.row_id in waiting.places:
            waiting.places[place.row_id] = (agent_id, place)
        else:
            waiting.refreshed[place.row_id] = place
        self._places[agent_id][place.row_id] = place
        self._dirty.set()

    def replace(self, agent_id: AgentId, place: Place) -> None:
        """Change what is known here of a binding, and nothing in its row."""
        held = self._places.get(agent_id)
        if held is not None and place.row_id in held:
            held[place.row_id] = place

    def end(self, org_id: OrgId, agent_id: AgentId, ids: Iterable[UUID]) -> None:
        """These bindings are over."""
        held, gone = self._places.get(agent_id, {}), set(ids)
        self._end(self._waiting[org_id], gone)
        self._hold(agent_id, {row_id: item for row_id, item in held.items() if row_id not in gone})
        self._write_soon()

    def tell(self, event: DomainEvent) -> None:
        """An event for the outbox, with the next batch."""
        self._waiting[event.org_id].events.append(event)
        self._write_soon()

    def _write_soon(self) -> None:
        self._dirty.set()
        self._soon.set()

    def _end(self, waiting: _Waiting, gone: Iterable[UUID]) -> None:
        for row_id in gone:  # else the batch would write again what it ends
            waiting.places.pop(row_id, None)
            waiting.refreshed.pop(row_id, None)
            waiting.ended.add(row_id)

    def _hold(self, agent_id: AgentId, held: dict[UUID, Place | rows.RegistrationRow]) -> None:
        before = self._places.get(agent_id, {})
        for row_id, item in before.items():
            self._own.pop(row_id, None)
            if (flow := _flow(item)) is not None and (known := self._by_flow.get(flow)) is not None:
                known.discard(row_id)
                if not known:
                    del self._by_flow[flow]
        if held:
            self._places[agent_id] = held
            for row_id, item in held.items():
                if item.node_id == self.node_id:
                    self._own[row_id] = agent_id
                if (flow := _flow(item)) is not None:
                    self._by_flow.setdefault(flow, set()).add(row_id)
        else:
            self._places.pop(agent_id, None)
        if before.keys() != held.keys():
            self.on_change(agent_id)

    def prune(self) -> list[Place]:
        """Drop what lapsed, and devices of agents that are gone, suspended, or whose credential was revoked; returns what was ours."""
        now, wall = self._clock.monotonic(), self._clock.now()
        dropped: list[Place] = []
        for agent_id, held in list(self._places.items()):
            agent = self._directory.agent(agent_id)
            gone = [
                row_id
                for row_id, item in held.items()
                if (item.binding.expires_at <= now if isinstance(item, Place) else item.expires_at <= wall)
                # Of whom we have not heard at all another gateway may have heard a moment before us.
                or (isinstance(item, Place) if agent is None else agent.is_suspended)
                or (agent is not None and self._directory.is_revoked(agent_id, item.device_id or agent_id))
            ]
            if not gone:
                continue
            ours = [item for row_id in gone if isinstance(item := held[row_id], Place) and item.node_id == self.node_id]
            dropped += ours
            if agent is not None and ours:
                self._end(self._waiting[agent.org_id], [place.row_id for place in ours])
                self._write_soon()
            self._hold(agent_id, {row_id: item for row_id, item in held.items() if row_id not in gone})
        return dropped

    # Rows.

    async def load(self) -> None:
        """Take up all bindings. Our own UDP devices can be called at once, our others once they reconnect."""
        wall = self._clock.now()
        async with self._db.transaction() as connection:
            org_ids = [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]
            self._horizon = await rows.horizon(connection)
            await self._neighbours.refresh(connection)
        for org_id in org_ids:
            if self._directory.organisation(org_id) is None:
                continue
            async with self._db.organisation(org_id) as connection:
                found = await rows.live(connection, wall)
            self._learn_all(found)

    async def follow(self) -> None:
        """Learn what other gateways write until cancelled."""
        await self._db.listen(rows.CHANNEL, self._on_told)
        while True:
            self._told.clear()
            try:
                await self.catch_up()
            except STORE_FAILED as error:
                log.warning("registrations.unread", error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_S):
                    await self._told.wait()
                    await asyncio.sleep(0.01)  # several that tell at once are heard together

    async def catch_up(self) -> None:
        """Learn what other gateways wrote since the last look."""
        async with self._db.transaction() as connection:
            await self._neighbours.refresh(connection)
            horizon = await rows.horizon(connection)
            changed = await rows.changed(connection, self._horizon, self.node_id)
        for org_id, ids in changed.items():
            if self._directory.organisation(org_id) is not None:
                async with self._db.organisation(org_id) as connection:
                    found = await rows.these(connection, ids)
                self._learn_all(found)
        self._horizon = horizon

    def _on_told(self, payload: str) -> None:
        if payload != str(self.node_id):
            self._told.set()

    def _learn_all(self, found: Iterable[rows.RegistrationRow]) -> None:
        """Those beside a row that can't be read are learned all the same: its device registers again by itself."""
        for row in found:
            try:
                self._learn(row)
            except Exception as error:
                log.error("registrations.row_unread", row=str(row.id), exc_info=error)

    def _learn(self, row: rows.RegistrationRow) -> None:
        """What a row says; of a device that was ours too, since it is another gateway's now."""
        held = self._places.get(row.agent_id, {})
        known = held.get(row.id)
        agent = self._directory.agent(row.agent_id)
        waiting = None if agent is None else self._waiting.get(agent.org_id)
        if waiting is not None and isinstance(known, Place) and (row.id in waiting.places or row.id in waiting.refreshed):
            # The device has come back to us since: our row will say so.
            waiting.refreshed.pop(row.id, None)
            waiting.places[row.id] = (row.agent_id, known)
            return
        item: Place | rows.RegistrationRow | None = row
        if row.expires_at <= self._clock.now():
            item = None
        elif row.node_id == self.node_id:
            item = self._opened(row)
        elif isinstance(known, Place) and known.sealed == row.contact_sealed and known.sealed and known.node_id == row.node_id:
            item = replace(known, binding=replace(known.binding, cseq=row.cseq, expires_at=self._monotonic(row.expires_at)))
        rest = {row_id: other for row_id, other in held.items() if row_id != row.id}
        self._hold(row.agent_id, rest if item is None else {**rest, row.id: item})

    def _monotonic(self, wall: datetime) -> float:
        return self._clock.monotonic() + (wall - self._clock.now()).total_seconds()

    def _opened(self, row: rows.RegistrationRow) -> Place | None:
        agent = self._directory.agent(row.agent_id)
        org = None if agent is None else self._directory.organisation(agent.org_id)
        if org is None:
            return None
        text = org.keys.operational.open(row.contact_sealed, table="registrations", column="contact_sealed", row=row.id, org=org.id)
        said = json.loads(text)
        source = Target(Transport(said["transport"]), said["host"], said["port"])
        # A UDP device is found where its REGISTER came from, not where its Contact says: the way back through a NAT (RFC 3581).
        hop = source if row.node_id == self.node_id and source.transport is Transport.UDP else None
        binding = _binding(said, row, self._monotonic(row.expires_at))
        return Place(row.id, binding, row.device_id or row.agent_id, row.node_id, source, hop, row.contact_sealed)

    async def run(self) -> None:
        """Write batches until cancelled."""
        while True:
            await self._dirty.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESHES_S):
                    await self._soon.wait()
                    await asyncio.sleep(BATCH_S)
            self._dirty.clear()
            self._soon.clear()
            for org_id in [org_id for org_id, waiting in self._waiting.items() if waiting]:
                try:
                    await self.write(org_id)
                except STORE_FAILED as error:
                    log.warning("registrations.unwritten", error=type(error).__name__)
                    await asyncio.sleep(FOLLOW_S)
                    self._write_soon()
                except Exception as error:
                    # Its devices are asked again when they refresh; those of others are not held up.
                    log.error("registrations.lost", org_id=str(org_id), exc_info=error)

    async def write(self, org_id: OrgId) -> None:
        """Write all that waits of one organisation. Who comes while a batch is under way goes with the next one, together."""
        async with self._writing:
            if not self._waiting.get(org_id):
                return  # the batch before has taken it along
            await asyncio.sleep(GROUP_S)
            org, waiting = self._directory.organisation(org_id), self._waiting.pop(org_id, None)
            if org is None or not waiting:
                return
            now, monotonic = self._clock.now(), self._clock.monotonic()
            made = [self._row(org, agent_id, place, monotonic) for agent_id, place in waiting.places.values()]
            refreshed = [(place.row_id, place.binding.cseq, place.binding.expires_at - monotonic) for place in waiting.refreshed.values()]
            try:
                async with self._db.organisation(org_id) as connection:
                    await rows.end(connection, self.node_id, list(waiting.ended), now)
                    await rows.put(connection, org_id, made, now)
                    await rows.refresh(connection, self.node_id, refreshed, now)
                    if waiting.events:
                        await outbox.add_all(connection, waiting.events)
                    if made or waiting.ended:
                        await rows.tell(connection, self.node_id)
            except BaseException:
                newer = self._waiting[org_id]
                newer.places = {key: value for key, value in waiting.places.items() if key not in newer.ended} | newer.places
                newer.refreshed = {key: value for key, value in waiting.refreshed.items() if key not in newer.ended} | newer.refreshed
                newer.ended |= waiting.ended
                newer.events = [*waiting.events, *newer.events]
                raise

    def _row(self, org: Organisation, agent_id: AgentId, place: Place, monotonic: float) -> rows.RegistrationRow:
        binding, row_id = place.binding, place.row_id
        text = json.dumps(_said(place), separators=(",", ":"))
        return rows.RegistrationRow(
            id=row_id,
            agent_id=agent_id,
            node_id=place.node_id,
            device_id=None if place.device_id == agent_id else place.device_id,
            contact_sealed=org.keys.operational.seal(text.encode(), table="registrations", column="contact_sealed", row=row_id, org=org.id),
            contact_index=org.keys.index("registrations.contact", f"{binding.contact}|{binding.instance}|{binding.reg_id}"),
            call_id_hash=hashlib.sha256(binding.call_id.encode("utf-8", "surrogateescape")).digest(),
            cseq=binding.cseq,
            expires_at=self._clock.now() + timedelta(seconds=binding.expires_at - monotonic),
        )


def _flow(item: Place | rows.RegistrationRow) -> Flow | None:
    return item.binding.flow if isinstance(item, Place) else None


def _is_refreshed(old: Place, new: Place) -> bool:
    """Whether nothing but CSeq and expiry differs, so that the row's sealed text is true as it is."""
    if (old.node_id, old.device_id, old.source.transport) != (new.node_id, new.device_id, new.source.transport) or (
        old.source_address != new.source_address
    ):
        return False
    one, other = old.binding, new.binding
    return (one.contact, one.call_id, one.q, one.instance, one.reg_id, one.path, one.user_agent) == (
        other.contact,
        other.call_id,
        other.q,
        other.instance,
        other.reg_id,
        other.path,
        other.user_agent,
    )


def _said(place: Place) -> dict[str, object]:
    binding, (host, port) = place.binding, place.source_address
    return {
        "contact": str(binding.contact),
        "call_id": binding.call_id,
        "q": binding.q,
        "instance": binding.instance,
        "reg_id": binding.reg_id,
        "path": list(binding.path),
        "transport": place.source.transport.value,
        "host": host,
        "port": port,
        "user_agent": binding.user_agent,
    }


def _binding(said: dict[str, Any], row: rows.RegistrationRow, expires_at: float) -> Binding:
    return Binding(
        contact=parse_sip_uri(said["contact"]),
        call_id=said["call_id"],
        cseq=row.cseq,
        expires_at=expires_at,
        q=said["q"],
        instance=said["instance"],
        reg_id=said["reg_id"],
        path=tuple(said["path"]),
        user_agent=said["user_agent"],
    )
