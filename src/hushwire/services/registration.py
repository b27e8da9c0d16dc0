"""The location service: which devices an agent has and how to reach them (RFC 3261 section 10).

Bindings serve from memory and stand in PostgreSQL, sealed, so that a restarted gateway knows its phones. A new device is answered
once its row is committed; a refresh is answered at once and written with the next batch. Without the database known devices go on.

A binding ends with the credential that it was made with. A credential belongs to one device: one that is seen to be shared raises an
alarm (services/sharing.py).
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import LocalError
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import AgentId, NodeId, OrgId, uuid7
from hushwire.policy.model import AllowContact, Attempt, Channel, Rules, Verdict
from hushwire.services.directory import Directory, Organisation
from hushwire.services.identity import Authenticator, Known, Unknown, is_own_address
from hushwire.services.sharing import Seen, Sharing
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Hop, Target, Transport
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.registrar import Binding, Bounds, Registered, RegisterRefused, register
from hushwire.sip.uri import SipUri, parse_sip_uri
from hushwire.store import outbox
from hushwire.store import registrations as rows
from hushwire.store.database import Database

BATCH_S: Final = 0.1
AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, LocalError)
log = structlog.get_logger()

Respond = Callable[[int, tuple[Line, ...]], None]
Judge = Callable[[Attempt, Rules], Verdict]


@dataclass(frozen=True, slots=True, repr=False)
class Device:
    """Where one of an agent's devices can be called: the contact for the Request-URI, the way there, what protects it."""

    contact: SipUri
    hop: Hop
    credential_id: UUID | None = None
    """What it registered with (services/devices.py)."""

    @property
    def transport(self) -> Transport:
        """What the device registered over."""
        return self.hop.transport


@dataclass(frozen=True, slots=True, repr=False)
class _Place:
    """A binding, its row, and the way to it; None where that was a connection of an earlier process."""

    row_id: UUID
    binding: Binding
    hop: Hop | None
    device_id: UUID

    @property
    def seen(self) -> Seen:
        """What of it tells one device from another."""
        binding = self.binding
        host = None if binding.path or self.hop is None else self.hop.remote.host if isinstance(self.hop, Flow) else self.hop.host
        return Seen(binding.instance, binding.call_id, host)


class Registrations:
    """All devices of this node's agents."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        authenticator: Authenticator,
        judge: Judge,
        clock: Clock,
        random: Random,
        node_id: NodeId,
        bounds: Bounds | None = None,
        *,
        devices_alarm: int = 3,
        on_moved: Callable[[Flow, Flow], object] = lambda _old, _new: None,
    ) -> None:
        self._on_moved = on_moved
        self._connected: dict[Flow, set[AgentId]] = defaultdict(set)
        self._db = db
        self._directory = directory
        self._authenticator = authenticator
        self._judge = judge
        self._clock = clock
        self._random = random
        self._node_id = node_id
        self._bounds = bounds or Bounds()
        self._sharing = Sharing(devices_alarm)
        self._untold: dict[OrgId, list[DomainEvent]] = defaultdict(list)
        self._places: dict[AgentId, list[_Place]] = {}
        self._unwritten: dict[OrgId, dict[UUID, tuple[AgentId, _Place]]] = defaultdict(dict)
        self._unremoved: dict[OrgId, set[UUID]] = defaultdict(set)
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._answers: set[asyncio.Task[None]] = set()

    def devices(self, agent_id: AgentId) -> list[Device]:
        """The agent's reachable devices, best q first; none while it is suspended or gone."""
        agent = self._directory.agent(agent_id)
        if agent is None or agent.is_suspended:
            return []
        now = self._clock.monotonic()
        live = [place for place in self._places.get(agent_id, ()) if place.binding.expires_at > now]
        live.sort(key=lambda place: -place.binding.q)
        return [Device(place.binding.contact, place.hop, place.device_id) for place in live if place.hop is not None]

    def count(self, agent_id: AgentId) -> int:
        """How many devices the agent has now."""
        return len(self.devices(agent_id))

    # REGISTER.

    def handle(self, request: Request, flow: Flow, respond: Respond) -> None:
        """Answer one REGISTER: at once where nothing new has to be committed first."""
        known = self._authenticator.identify(request)
        if isinstance(known, Unknown):
            respond(known.status, known.headers)
            return
        if not is_own_address(request, known, self._directory.domain):
            respond(403, (("Reason", 'SIP;cause=403;text="An agent registers its own address only"'),))
            return
        try:
            contacts = () if request.is_contact_star else request.contacts
        except ParseError:
            respond(400, ())
            return
        for contact in contacts:
            attempt = Attempt(str(contact.uri), Channel.REGISTER_CONTACT, peer=flow.remote.host)
            verdict = self._judge(attempt, known.org.rules)
            if not isinstance(verdict, AllowContact):
                respond(403, (("Reason", 'SIP;cause=403;text="The contact does not name a device of the agent\'s own"'),))
                return
        self._bind(request, flow, known, respond)

    def _bind(self, request: Request, flow: Flow, known: Known, respond: Respond) -> None:
        places = self._places.get(known.agent.id, [])
        bounds = self._bounds_of(known)
        outcome = register(request, flow, [place.binding for place in places], self._clock.monotonic(), bounds)
        if isinstance(outcome, RegisterRefused):
            respond(outcome.status, outcome.headers)
            return
        device_id = known.credential.id
        before = {place.binding: place for place in places}
        self._places[known.agent.id] = kept = []
        is_urgent = False  # a device that came or went is answered once its row says so
        newest: _Place | None = None
        for binding in outcome.bindings:
            place = before.get(binding) or self._same_device(places, binding)
            if place is None:
                place = newest = _Place(self._new_id(), binding, flow, device_id)
                is_urgent = True
            elif binding in outcome.stored:
                place = newest = _Place(place.row_id, binding, flow, device_id)
            kept.append(place)
            if binding in outcome.stored:
                self._unwritten[known.org.id][place.row_id] = (known.agent.id, place)
        still = {place.row_id for place in kept}
        for place in places:
            if place.row_id not in still:
                self._unwritten[known.org.id].pop(place.row_id, None)
                self._unremoved[known.org.id].add(place.row_id)
                is_urgent = True
        is_urgent = self._watch_sharing(known, kept, newest) or is_urgent
        self._follow(known.agent.id, places, kept)
        log.info("agent.registered", agent=str(known.agent.id), devices=len(kept), transport=flow.transport.value)
        if not is_urgent:
            self._dirty.set()
            respond(200, outcome.headers)
            return
        task = asyncio.get_running_loop().create_task(self._commit_then_answer(known.org, outcome, respond), name="register")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _bounds_of(self, known: Known) -> Bounds:
        """How long a binding may live: never longer than the credential that it is made with."""
        expires_at = known.credential.expires_at
        if expires_at is None:
            return self._bounds
        left_s = max(1, int((expires_at - self._clock.now()).total_seconds()))
        bounds = self._bounds
        return replace(bounds, default_s=min(bounds.default_s, left_s), min_s=min(bounds.min_s, left_s), max_s=min(bounds.max_s, left_s))

    def _follow(self, agent_id: AgentId, before: list[_Place], after: list[_Place]) -> None:
        """A device that registered again by another flow takes its calls along (RFC 5626 section 4.4: a failed flow is replaced)."""
        flows = {place.row_id: place.binding.flow for place in before}
        for place in after:
            old, new = flows.get(place.row_id), place.binding.flow
            if new is not None and new.transport.is_reliable:
                self._connected[new].add(agent_id)
            if old is not None and new is not None and old != new:
                self._on_moved(old, new)

    def flow_closed(self, flow: Flow) -> None:
        """A connection ended: its devices can't be called before they register again. Their rows stay until then or until they lapse."""
        for agent_id in self._connected.pop(flow, ()):
            if agent_id in self._places:
                self._places[agent_id] = [replace(place, hop=None) if place.hop == flow else place for place in self._places[agent_id]]

    async def _commit_then_answer(self, org: Organisation, outcome: Registered, respond: Respond) -> None:
        try:
            await self._write(org.id)
        except AWAY as error:
            # The phone is in memory and can be called; its row comes with a later batch.
            log.warning("registrations.unwritten", error=type(error).__name__)
            self._dirty.set()
        respond(200, outcome.headers)

    def _watch_sharing(self, known: Known, kept: list[_Place], newest: _Place | None) -> bool:
        """Whether the credential is seen to be shared just now: an alarm goes out with the next batch."""
        device_id = known.credential.id
        live = [place.seen for place in kept if place.device_id == device_id]
        alarm = self._sharing.look(device_id, live, None if newest is None else newest.seen)
        if alarm is None:
            return False
        agent_id, org_id = known.agent.id, known.org.id
        said = {"evidence": alarm.evidence.value, "devices": alarm.devices, "addresses": alarm.places}
        log.warning("credential.shared", agent=str(agent_id), org_id=str(org_id), device=str(device_id), **said)
        fields: dict[str, str | int | bool | None] = {"device": str(device_id), **said}
        event = DomainEvent(self._new_id(), org_id, EventKind.CREDENTIAL_SHARED, agent_id, self._clock.now(), fields)
        self._untold[org_id].append(event)
        return True

    def _same_device(self, places: list[_Place], binding: Binding) -> _Place | None:
        return next((place for place in places if place.binding.same_device(binding)), None)

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))

    async def settled(self) -> None:
        """Return once every REGISTER that waits for its row is answered."""
        while self._answers:
            await asyncio.wait(set(self._answers))

    # Rows.

    async def load(self) -> None:
        """Take up this node's bindings from before a restart: UDP devices can be called at once, others once they reconnect."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        async with self._db.transaction() as connection:
            org_ids = [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]
        for org_id in org_ids:
            org = self._directory.organisation(org_id)
            if org is None:
                continue
            async with self._db.organisation(org_id) as connection:
                found = await rows.live(connection, self._node_id, wall)
            for row in found:
                text = org.keys.operational.open(row.contact_sealed, table="registrations", column="contact_sealed", row=row.id, org=org_id)
                expires_at = monotonic + (row.expires_at - wall).total_seconds()
                self._places.setdefault(row.agent_id, []).append(_read(json.loads(text), row, expires_at))
        for places in self._places.values():
            for device_id in {place.device_id for place in places}:
                self._sharing.remember(device_id, [place.seen for place in places if place.device_id == device_id])

    def obey_directory(self) -> None:
        """Bindings of who was suspended, and those made with a credential that was revoked, end now."""
        self._prune()

    async def run(self) -> None:
        """Write batches until cancelled; drop devices of agents that are gone or suspended, and those that lapsed."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await self._dirty.wait()
                    await asyncio.sleep(BATCH_S)
            self._dirty.clear()
            self._prune()
            for org_id in {*self._unwritten, *self._unremoved, *self._untold}:
                try:
                    await self._write(org_id)
                except AWAY as error:
                    log.warning("registrations.unwritten", error=type(error).__name__)

    def _prune(self) -> None:
        now = self._clock.monotonic()
        for agent_id, places in list(self._places.items()):
            agent = self._directory.agent(agent_id)
            is_active = agent is not None and not agent.is_suspended
            kept = [
                place
                for place in places
                if is_active and place.binding.expires_at > now and not self._directory.is_revoked(agent_id, place.device_id)
            ]
            for device_id in {place.device_id for place in places} - {place.device_id for place in kept}:
                self._sharing.forget(device_id)
            if agent is not None:
                gone = {place.row_id for place in places if place not in kept}
                self._unremoved[agent.org_id] |= gone
                for row_id in gone:  # else the batch would write again what it removes
                    self._unwritten[agent.org_id].pop(row_id, None)
            if kept:
                self._places[agent_id] = kept
            else:
                del self._places[agent_id]

    async def _write(self, org_id: OrgId) -> None:
        async with self._writing:
            org = self._directory.organisation(org_id)
            unwritten, unremoved = self._unwritten.pop(org_id, {}), self._unremoved.pop(org_id, set())
            untold = self._untold.pop(org_id, [])
            if org is None or not (unwritten or unremoved or untold):
                return
            now, monotonic = self._clock.now(), self._clock.monotonic()
            made = [self._row(org, agent_id, place, monotonic) for agent_id, place in unwritten.values()]
            try:
                async with self._db.organisation(org_id) as connection:
                    await rows.remove(connection, sorted(unremoved))
                    await rows.put(connection, org_id, made, now)
                    await outbox.add_all(connection, untold)
            except BaseException:
                self._untold[org_id] = [*untold, *self._untold[org_id]]
                self._unwritten[org_id] = unwritten | self._unwritten[org_id]
                self._unremoved[org_id] |= unremoved
                raise

    def _row(self, org: Organisation, agent_id: AgentId, place: _Place, monotonic: float) -> rows.RegistrationRow:
        binding, row_id = place.binding, place.row_id
        text = json.dumps(_said(binding), separators=(",", ":"))
        return rows.RegistrationRow(
            id=row_id,
            agent_id=agent_id,
            node_id=self._node_id,
            device_id=None if place.device_id == agent_id else place.device_id,
            contact_sealed=org.keys.operational.seal(text.encode(), table="registrations", column="contact_sealed", row=row_id, org=org.id),
            contact_index=org.keys.index("registrations.contact", f"{binding.contact}|{binding.instance}|{binding.reg_id}"),
            call_id_hash=hashlib.sha256(binding.call_id.encode("utf-8", "surrogateescape")).digest(),
            cseq=binding.cseq,
            expires_at=self._clock.now() + timedelta(seconds=binding.expires_at - monotonic),
        )


def _said(binding: Binding) -> dict[str, object]:
    flow = binding.flow
    return {
        "contact": str(binding.contact),
        "call_id": binding.call_id,
        "q": binding.q,
        "instance": binding.instance,
        "reg_id": binding.reg_id,
        "path": list(binding.path),
        "transport": None if flow is None else flow.transport.value,
        "host": None if flow is None else flow.remote.host,
        "port": None if flow is None else flow.remote.port,
        "user_agent": binding.user_agent,
    }


def _read(said: dict[str, Any], row: rows.RegistrationRow, expires_at: float) -> _Place:
    binding = Binding(
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
    # A UDP device is found where its REGISTER came from, not where its Contact says: the way back through a NAT (RFC 3581).
    is_udp = said["transport"] == Transport.UDP.value
    hop = Target(Transport.UDP, said["host"], said["port"]) if is_udp else None
    return _Place(row.id, binding, hop, row.device_id or row.agent_id)
