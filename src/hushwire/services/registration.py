"""REGISTER: who may bind which device, and how calls reach an agent's devices (RFC 3261 section 10, RFC 3327, 5626, 5627).

A new device is answered once its row is committed; a refresh is answered at once and written with the next batch (services/bindings.py).
Without the database known devices go on. A binding ends with the credential that it was made with. A credential belongs to one device:
one that is seen to be shared raises an alarm (services/sharing.py).
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import MalformedError
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import AgentId, OrgId
from hushwire.core.values import frozen, replace
from hushwire.policy.model import AllowContact, Attempt, Channel, Verdict
from hushwire.policy.rules import Rules
from hushwire.services.bindings import Bindings, Place
from hushwire.services.directory import Directory
from hushwire.services.identity import Authenticator, Known, Unknown, is_own_address
from hushwire.services.left_flows import LeftFlows
from hushwire.services.refreshing import Said, contacts_of, said, words
from hushwire.services.sharing import Seen, Sharing
from hushwire.services.snapshot import Organisation
from hushwire.sip import gruu, refusals
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Hop, Target, Transport
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.registrar import Binding, Bounds, RegisterRefused, answer, register, wants_gruu
from hushwire.sip.routing import numeric
from hushwire.sip.uri import SipUri
from hushwire.store.database import STORE_FAILED

if TYPE_CHECKING:
    from hushwire.services.short_way import Form

_NO_ROW: Final = UUID(int=0)
log = structlog.get_logger()

Respond = Callable[[int, tuple[Line, ...]], None]
Judge = Callable[[Attempt, Rules], Verdict]


@frozen(repr=False)
class Device:
    """Where one of an agent's devices can be called: the contact for the Request-URI, the way there, and where it registered from.

    `routes` are Route values for the way: edge proxies, and the gateway that holds its flow where that is another one.
    """

    contact: SipUri
    hop: Hop
    source: Hop
    routes: tuple[str, ...] = ()
    credential_id: UUID | None = None
    """What it registered with (services/devices.py)."""
    instance: str | None = None
    row_id: UUID | None = None

    @property
    def transport(self) -> Transport:
        """What protects the signalling to it: what it registered over or, where that is less, what the way to its gateway has."""
        if self.hop is self.source or self.hop.transport.is_protected or not self.source.transport.is_protected:
            return self.source.transport
        there = numeric(self.hop.host) if isinstance(self.hop, Target) else None
        return self.source.transport if there is not None and there.is_loopback else self.hop.transport

    @property
    def address(self) -> str:
        """The address that it registered from."""
        return self.source.remote.host if isinstance(self.source, Flow) else self.source.host


class Repeated(NamedTuple):
    """The agent's bindings, the one that a REGISTER refreshes which says what made it again, and what that was."""

    places: list[Place]
    place: Place
    said: Said


class Registrations:
    """The registrar of one gateway."""

    def __init__(
        self,
        bindings: Bindings,
        directory: Directory,
        authenticator: Authenticator,
        judge: Judge,
        clock: Clock,
        bounds: Bounds | None = None,
        *,
        devices_alarm: int = 3,
        on_moved: Callable[[Flow, Flow], object] = lambda _old, _new: None,
    ) -> None:
        self._bindings = bindings
        self._left: dict[UUID, list[Flow]] = defaultdict(list)
        self._left_by: Counter[Flow] = Counter()
        self._left_flows = LeftFlows()
        self._directory = directory
        self._authenticator = authenticator
        self._judge = judge
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._on_moved = on_moved
        self._sharing = Sharing(devices_alarm)
        self._connected: dict[Flow, set[AgentId]] = defaultdict(set)
        self._answers: set[asyncio.Task[None]] = set()
        self.form_of: Callable[[Request, Flow, Said], Form | None] = lambda _request, _flow, _said: None
        """How a REGISTER was written that may come again so (services/short_way.py)."""
        self.on_shared: Callable[[AgentId, UUID], None] = lambda _agent, _credential: None
        """Told of a credential that is seen to be shared."""
        self.shared = 0
        """How many alarms of shared credentials were raised since the start."""

    def devices(self, agent_id: AgentId) -> list[Device]:
        """The agent's reachable devices, best q first; none while it is suspended or gone."""
        agent = self._directory.agent(agent_id)
        if agent is None or agent.is_suspended:
            return []
        now = self._clock.monotonic()
        live = [place for place in self._bindings.of(agent_id) if place.binding.expires_at > now]
        live.sort(key=lambda place: -place.binding.q)
        found = []
        for place in live:
            way = self._bindings.way(place)
            if way is not None and not self._directory.is_revoked(agent_id, place.device_id):
                hop, routes = way
                source = hop if hop == place.hop else place.source
                found.append(Device(place.binding.contact, hop, source, routes, place.device_id, place.binding.instance, place.row_id))
        return found

    def count(self, agent_id: AgentId) -> int:
        """How many devices the agent has now."""
        return len(self.devices(agent_id))

    def of_temporary_gruu(self, org: Organisation, user: str) -> tuple[AgentId, UUID] | None:
        """The agent and the binding that a temporary GRUU's user part stands for; None for others, and where its registration is over.

        A device that registers with another Call-ID has new ones; those before are void (RFC 5627 section 4.1).
        """
        sealed = gruu.sealed_of(user)
        if sealed is None:
            return None
        try:
            said = org.keys.operational.open(sealed, table="registrations", column="gruu", row=_NO_ROW, org=org.id)
        except MalformedError:
            return None
        agent_id, row_id = AgentId(UUID(bytes=said[:16])), UUID(bytes=said[16:32])
        place = next((place for place in self._bindings.of(agent_id) if place.row_id == row_id), None)
        return (agent_id, row_id) if place is not None and _mark(place.binding) == said[32:] else None

    # REGISTER.

    def handle(self, request: Request, flow: Flow, respond: Respond) -> None:
        """Answer one REGISTER: at once where nothing new has to be committed first."""
        known = self._authenticator.identify(request, flow)
        if isinstance(known, Unknown):
            respond(known.status, known.headers)
            return
        spoken = words(request)
        if (headers := self._refreshed(request, flow, known, spoken)) is not None:
            respond(200, headers)
            return
        if not is_own_address(request, known, self._directory.domain):
            respond(403, (("Reason", refusals.header("foreign-address")),))
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
                respond(403, (("Reason", refusals.header("foreign-contact")),))
                return
        self._bind(request, flow, known, spoken, respond)

    def _refreshed(self, request: Request, flow: Flow, known: Known, spoken: bytes) -> tuple[Line, ...] | None:
        """The lines of the 200 to what says again what made a binding, which lasts on now; None for everything else."""
        now, cseq = self._clock.monotonic(), request.cseq.number
        repeated = self.repeated(known, flow, request.call_id, cseq, spoken, now)
        if repeated is None:
            return None
        before = repeated.said
        bindings = self.renew(known, repeated, cseq, now, replace(before, form=self.form_of(request, flow, before)))
        return (*((before.alone,) if len(bindings) == 1 else contacts_of(bindings, now)), *before.further)

    def repeated(self, known: Known, flow: Flow, call_id: str, cseq: int, spoken: bytes, now: float) -> Repeated | None:
        """What a REGISTER of these `words` that says again what made a binding would refresh; None for everything else."""
        places = self._bindings.of(known.agent.id)
        found = None
        for place in places:
            if place.binding.expires_at <= now:
                return None
            if found is None and place.said is not None and place.binding.call_id == call_id:
                found = place
        if found is None or (before := found.said) is None or before.words != spoken or found.hop != flow or cseq <= found.binding.cseq:
            return None
        if before.agent is not known.agent or before.rules is not known.org.rules:
            return None
        device_id = known.credential.id
        if found.device_id != device_id or device_id in self._left or known.credential.expires_at is not None:
            return None
        return Repeated(places, found, before)

    def renew(self, known: Known, repeated: Repeated, cseq: int, now: float, said: Said | None = None) -> list[Binding]:
        """Let it last on; all of the agent's bindings then. `said` is what is known of how it was said, where that is new."""
        found, before = repeated.place, said or repeated.said
        fresh = replace(found, binding=replace(found.binding, cseq=cseq, expires_at=now + before.lasts_s), said=before)
        kept = [fresh if place is found else place for place in repeated.places]
        self._bindings.refresh(known.org.id, known.agent.id, fresh)
        self._watch_sharing(known, kept, fresh)
        return [place.binding for place in kept]

    def _bind(self, request: Request, flow: Flow, known: Known, spoken: bytes, respond: Respond) -> None:
        agent_id, device_id, node_id = known.agent.id, known.credential.id, self._bindings.node_id
        places = self._bindings.of(agent_id)
        now = self._clock.monotonic()
        outcome = register(request, flow, [place.binding for place in places], now, self._bounds_of(known))
        if isinstance(outcome, RegisterRefused):
            respond(outcome.status, outcome.headers)
            return
        by_binding = {id(place.binding): place for place in places}
        if not known.is_here and self._is_to_prove(agent_id, [by_binding[id(one)] for one in outcome.replaced if one is not None], flow):
            asked = self._authenticator.ask_again(flow)
            respond(asked.status, asked.headers)
            return
        # Temporary addresses are other ones each time, and what ends with its credential lasts less long each time.
        is_one = len(outcome.stored) == len(request.contacts) == 1
        comes_again = is_one and known.credential.expires_at is None and not wants_gruu(request)
        stored: list[Place] = []
        for binding, replaced in zip(outcome.stored, outcome.replaced, strict=True):
            row_id = self._bindings.new_id() if replaced is None else by_binding[id(replaced)].row_id
            told = (spoken, known.agent, known.org.rules, binding, now, outcome.bindings, outcome.headers)
            again = said(*told) if comes_again else None
            if again is not None:
                again = replace(again, form=self.form_of(request, flow, again))
            stored.append(Place(row_id, binding, device_id, node_id, flow, flow, said=again, is_here=known.is_here))
        by_binding |= {id(place.binding): place for place in stored}
        kept = [by_binding[id(binding)] for binding in outcome.bindings]
        is_urgent = self._bindings.put(known.org.id, agent_id, kept, stored)
        is_urgent = self._watch_sharing(known, kept, stored[-1] if stored else None) or is_urgent
        self._follow(agent_id, places, kept)
        if self._left and outcome.bindings and known.is_here:
            self._return(device_id, flow)
        headers = outcome.headers
        if wants_gruu(request):
            headers = answer(request, outcome.bindings, outcome.stored, now, lambda binding: self._gruus(known, binding, kept))
        if not is_urgent:
            respond(200, headers)
            return
        log.info("agent.registered", agent=str(agent_id), devices=len(kept), transport=flow.transport.value)
        task = asyncio.get_running_loop().create_task(self._commit_then_answer(known.org.id, headers, respond), name="register")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _is_to_prove(self, agent_id: AgentId, replaced: list[Place], flow: Flow) -> bool:
        """Whether a device that seems to be somewhere else now is to be asked whether it receives there, before it takes its calls along.

        Once: who seems to be elsewhere each time, as behind some NATs, is bound all the same.
        """
        moved = [place for place in replaced if place.is_here and not place.is_asked and place.binding.flow not in (None, flow)]
        for place in moved:
            self._bindings.replace(agent_id, replace(place, is_asked=True))
        return bool(moved)

    def _bounds_of(self, known: Known) -> Bounds:
        """How long a binding may live: never longer than the credential that it is made with."""
        expires_at = known.credential.expires_at
        if expires_at is None:
            return self._bounds
        left_s = max(1, int((expires_at - self._clock.now()).total_seconds()))
        bounds = self._bounds
        return replace(bounds, default_s=min(bounds.default_s, left_s), min_s=min(bounds.min_s, left_s), max_s=min(bounds.max_s, left_s))

    def _gruus(self, known: Known, binding: Binding, places: list[Place]) -> gruu.Gruus | None:
        """A device's own addresses; None for one whose instance is no URN."""
        org, agent = known.org, known.agent
        host = f"{org.slug}.{self._directory.domain}"
        public = gruu.public(agent.username.reveal(), host, binding.instance or "")
        place = next((place for place in places if place.binding is binding), None)
        if public is None or place is None:
            return None
        said = agent.id.bytes + place.row_id.bytes + _mark(binding)
        sealed = org.keys.operational.seal(said, table="registrations", column="gruu", row=_NO_ROW, org=org.id)
        return gruu.Gruus(public, gruu.temporary(sealed, host))

    def _follow(self, agent_id: AgentId, before: list[Place], after: list[Place]) -> None:
        """A device that registered again by another flow takes its calls along (RFC 5626 section 4.4: a failed flow is replaced)."""
        places = {place.row_id: place for place in before}
        for place in after:
            was, new = places.get(place.row_id), place.binding.flow
            if new is not None and new.transport.is_reliable:
                self._connected[new].add(agent_id)
            old = None if was is None else was.binding.flow
            if was is None or old is None or new is None or old == new or was.binding.path != place.binding.path:
                continue
            if not (was.is_here and place.is_here):
                continue  # whoever wrote another's address on a REGISTER takes nothing along from there, and nothing to there
            if self._left_flows.leads(old, new, is_last=not self._bindings.is_on(old)):
                self._on_moved(old, new)

    def device_at(self, agent_id: AgentId, flow: Flow) -> UUID | None:
        """Which of the agent's devices registered by this flow; None where none did."""
        return next((place.device_id for place in self._bindings.of(agent_id) if place.binding.flow == flow), None)

    def binding_at(self, agent_id: AgentId, credential_id: UUID, flow: Flow) -> UUID | None:
        """The binding that an agent's device made with this credential by this flow; the newest where there are several."""
        found = [place for place in self._bindings.of(agent_id) if place.device_id == credential_id and place.binding.flow == flow]
        return found[-1].row_id if found else None

    def binding_towards(self, agent_id: AgentId, credential_id: UUID, flow: Flow) -> UUID | None:
        """As `binding_at`; else one that the device made from the same address and port, perhaps by way of another gateway's edge proxy."""
        found = self.binding_at(agent_id, credential_id, flow)
        if found is not None or flow.transport is not Transport.UDP:
            return found
        places = [place for place in self._bindings.of(agent_id) if place.device_id == credential_id]
        near = [place for place in places if place.source_address == flow.remote and place.source.transport is Transport.UDP]
        return near[-1].row_id if near else None

    def bindings_of(self, agent_id: AgentId) -> frozenset[UUID]:
        """The bindings that an agent has, on whatever gateway."""
        return frozenset(place.row_id for place in self._bindings.of(agent_id))

    def left(self, device_id: UUID, flow: Flow) -> None:
        """A connection of an earlier process, with a call on it: the device takes its call along once it registers again."""
        if flow not in self._left[device_id]:  # it may have had several things on it
            self._left[device_id].append(flow)
            self._left_by[flow] += 1

    def _return(self, device_id: UUID, flow: Flow) -> None:
        # A credential may be in several phones: then the one that comes from where the call was is the one.
        left = [old for old in self._left.get(device_id, ()) if old.transport is flow.transport]
        same = [old for old in left if old.remote.host == flow.remote.host] or (left if len(left) == 1 else [])
        for old in same[:1]:
            self._left[device_id].remove(old)
            if not self._left[device_id]:
                del self._left[device_id]
            self._left_by[old] -= 1
            is_last = not self._left_by[old]
            if is_last:
                del self._left_by[old]
            if self._left_flows.leads(old, flow, is_last=is_last):
                self._on_moved(old, flow)

    def flow_closed(self, flow: Flow) -> None:
        """A connection ended: its devices can't be called before they register again. Their rows stay until then or until they lapse."""
        for agent_id in self._connected.pop(flow, ()):
            for place in self._bindings.of(agent_id):
                if place.hop == flow:
                    self._bindings.replace(agent_id, replace(place, hop=None))

    async def _commit_then_answer(self, org_id: OrgId, headers: tuple[Line, ...], respond: Respond) -> None:
        try:
            await self._bindings.write(org_id)
        except STORE_FAILED as error:
            # The phone is in memory and can be called; its row comes with a later batch.
            log.warning("registrations.unwritten", error=type(error).__name__)
        respond(200, headers)

    def _watch_sharing(self, known: Known, kept: list[Place], newest: Place | None) -> bool:
        """Whether the credential is seen to be shared just now: an alarm goes out with the next batch."""
        device_id = known.credential.id
        live = [_seen(place) for place in kept if place.device_id == device_id]
        alarm = self._sharing.look(device_id, live, None if newest is None else _seen(newest))
        if alarm is None:
            return False
        self.shared += 1
        agent_id, org_id = known.agent.id, known.org.id
        self.on_shared(agent_id, device_id)
        said = {"evidence": alarm.evidence.value, "devices": alarm.devices, "addresses": alarm.places}
        log.warning("credential.shared", agent=str(agent_id), org_id=str(org_id), device=str(device_id), **said)
        fields: dict[str, str | int | bool | None] = {"device": str(device_id), **said}
        self._bindings.tell(DomainEvent(self._bindings.new_id(), org_id, EventKind.CREDENTIAL_SHARED, agent_id, self._clock.now(), fields))
        return True

    async def settled(self) -> None:
        """Return once every REGISTER that waits for its row is answered."""
        while self._answers:
            await asyncio.wait(set(self._answers))

    # What ends by itself.

    async def load(self) -> None:
        """Take up what is bound already, and what was told of it."""
        await self._bindings.load()
        for agent_id in self._bindings.agents():
            places = [place for place in self._bindings.of(agent_id) if self._bindings.is_from(place)]
            for device_id in {place.device_id for place in places}:
                self._sharing.remember(device_id, [_seen(place) for place in places if place.device_id == device_id])

    def obey_directory(self) -> None:
        """Bindings of who was suspended, and those made with a credential that was revoked, end now; and those that lapsed."""
        for place in self._bindings.prune():
            self._sharing.forget(place.device_id)

    async def run(self) -> None:
        """Let bindings lapse until cancelled."""
        while True:
            self.obey_directory()
            await asyncio.sleep(5.0)

    def told(self) -> dict[str, int]:
        """Counts for metrics."""
        return {"bindings": self._bindings.count_own(), "shared_credentials": self.shared}


def _seen(place: Place) -> Seen:
    """What tells one device from another; behind an edge proxy nobody knows where it is."""
    return Seen(place.binding.instance, place.binding.call_id, None if place.binding.path else place.source_address[0])


def _mark(binding: Binding) -> bytes:
    return hashlib.sha256(binding.call_id.encode("utf-8", "surrogateescape")).digest()[:8]
