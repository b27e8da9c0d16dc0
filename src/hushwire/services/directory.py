"""Who is who, held in memory and never older than a second: organisations, agents, numbers, trunks and the rules.

Every call takes one frozen `Organisation` and keeps it to its end. A change of rows raises the organisation's version and wakes us
(LISTEN hushwire_rules); the poll each second is what counts. Database away: what is known goes on serving, and `age_s` says how old it is.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import ConfigError, LocalError, MalformedError, Unavailable
from hushwire.core.ids import AgentId, OrgId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.policy import calling_hours, limits
from hushwire.policy.breaker import LimitBook
from hushwire.policy.calling_hours import CallingHours
from hushwire.policy.grants import with_grants
from hushwire.policy.model import OwnHosts
from hushwire.policy.risk import RiskPack
from hushwire.policy.rules import Rules
from hushwire.privacy.consent import Declaration, Places, standing, unsatisfied
from hushwire.privacy.jurisdictions import tags_for_country
from hushwire.sdp.model import Keying, Srtp
from hushwire.services.agent_rules import by_agent, grants_by_agent, opened_exceptions, organisation_rules
from hushwire.services.forwarding import Forwarding, from_json
from hushwire.services.free_carriers import free_subprocessors
from hushwire.services.masked import NO_SESSIONS, Masked, MaskedSessions, masked_sessions
from hushwire.services.ring_groups import RingGroup, Strategy
from hushwire.services.sound_settings import AnnounceAt, Hearers, RecordFrom, Ringback, SoundSettings
from hushwire.services.trunk import Trunk, trunk_of_row
from hushwire.sip.errors import ParseError
from hushwire.store import access_requests as access_rows
from hushwire.store import directory as rows
from hushwire.store import fraud as fraud_rows
from hushwire.store import levels as level_rows
from hushwire.store import masking as masking_rows
from hushwire.store.database import Connection, Database
from hushwire.vault.keyring import DeploymentKeys, Keyring, OrgKeys

POLL_S: Final = 1.0
NO_ORG: Final = UUID(int=0)
UNREADABLE: Final = (ValueError, KeyError, TypeError, ConfigError, MalformedError)
"""What rows raise that can't be read here, such as those of a newer release: no reason to learn of nothing any more."""
log = structlog.get_logger()


Address = tuple[tuple[str, str], ...]
"""A civic address: names of RFC 5139 and their values, in their order."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One person who calls. `ha1` maps `<algorithm>/<form>` to H(A1)."""

    id: AgentId
    org_id: OrgId
    username: Personal[str]
    role: str
    extension: Personal[str] | None
    caller_id: Personal[str] | None
    ha1: Mapping[str, str] = field(repr=False)
    is_suspended: bool
    is_telemarketing: bool = False
    media_ports: str = "auto"
    hides_identity: bool = False
    """Whether its calls show its number only where one asks for it."""
    forwarding: Forwarding = field(default_factory=Forwarding)
    """What becomes of calls that it does not take."""
    address: Personal[Address] | None = None
    """Where it calls from, for emergency calls."""


@frozen
class Credential:
    """What one device of an agent shows that it is the agent's. The agent's own password, as provisioned, has the agent's id."""

    id: UUID
    agent_id: AgentId
    ha1: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None = None
    is_locked: bool = False
    """By the fraud breaker: it opens nothing now but the way to emergency calls."""


class Shown(StrEnum):
    """What colleagues see of one another."""

    OFF = "off"
    STATE = "state"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Organisation:
    """One organisation as calls meet it; a snapshot that nothing changes."""

    id: OrgId
    slug: str
    residency: str
    record: str
    agent_srtp: Srtp
    sdes: Keying
    allows_sdes_in_clear: bool
    calls_without_recording: bool
    custody_version: int
    rules: Rules
    keys: OrgKeys
    by_id: Mapping[AgentId, Agent] = field(repr=False)
    by_username: Mapping[str, Agent] = field(repr=False)
    by_extension: Mapping[str, Agent] = field(repr=False)
    subprocessors: frozenset[str] = frozenset()
    """Names of the sub-processors that the organisation's data may go to now (privacy/agreement.py)."""

    unrecorded: frozenset[bytes] = frozenset()
    """Blind indexes (`calls.remote`) of numbers that are never recorded: their owners objected, or are minors."""

    consent: Declaration = Declaration.CONTRACT
    """How who is called comes to agree to a recording, as the organisation declares it."""

    jurisdictions: tuple[str, ...] = ()
    do_not_call: frozenset[bytes] = field(default=frozenset(), repr=False)
    """Blind indexes (`do_not_call.number`) of numbers that its telemarketing must not call; empty where no agent does any."""

    do_not_call_version: int | None = None
    """Of the set above; None where it was not read."""

    sounds: SoundSettings = field(default_factory=SoundSettings)
    """What is played in its calls."""

    groups: Mapping[str, RingGroup] = field(default_factory=dict, repr=False)
    """Its ring groups, by extension."""

    presence: Shown = Shown.STATE
    telemarketing_hours: tuple[CallingHours, ...] = ()
    """When its telemarketing may reach whom."""

    live_rules_version: int = 0
    """Calls that began under older rules than these are judged anew."""

    limits: LimitBook = field(default_factory=LimitBook, repr=False)
    """How much of calling is normal (policy/breaker.py)."""

    record_emergency: bool = False
    """Whether the law of the home country has emergency calls recorded."""

    narrowed: Mapping[AgentId, Rules] = field(default_factory=dict, repr=False)
    """The rules of agents who have others than the organisation's: narrowed by their team or themselves, or with access given to them."""

    teams: Mapping[AgentId, UUID] = field(default_factory=dict, repr=False)
    """The team that an agent is of; those who are of none are not there."""

    def team_of(self, agent: Agent) -> UUID | None:
        """The team that an agent is of."""
        return self.teams.get(agent.id)

    def rules_of(self, agent: Agent) -> Rules:
        """The rules that an agent's attempts are judged by."""
        return self.narrowed.get(agent.id, self.rules)

    def may_record(self, places: Places) -> bool:
        """Whether calls with somebody in one of these places may be recorded at all, by law and declaration; looked up, not computed."""
        return standing(self.consent, self.jurisdictions, places).may_record

    def may_use(self, trunk: Trunk) -> bool:
        """Whether calls may go to a carrier: one that is nobody's sub-processor, or one that nothing stands against."""
        return trunk.subprocessor is None or trunk.subprocessor in self.subprocessors


@dataclass(frozen=True, slots=True)
class AssignedNumber:
    """A number of ours, and whom it rings; nobody while `agent_id` is None."""

    org_id: OrgId
    number: Personal[str]
    agent_id: AgentId | None
    id: UUID = NO_ORG
    masks: bool = False
    """It is a proxy number: whom it leads to depends on who calls."""
    group_id: UUID | None = None
    """The ring group that it rings."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A device's credential, and the sealed form that it was opened from."""

    login: str
    ha1_sealed: bytes
    credential: Credential


@dataclass(frozen=True, slots=True)
class _Devices:
    """One organisation's credentials of devices, as of a version of them."""

    version: int = -1
    opened: Mapping[UUID, _Opened] = field(default_factory=dict)
    by_login: Mapping[str, Credential] = field(default_factory=dict)


_NO_DEVICES: Final = _Devices()
_NO_LOCKS: Final[frozenset[tuple[AgentId, UUID]]] = frozenset()
_NOBODY: Final = AgentId(UUID(int=0))
_NO_ORG: Final = OrgId(UUID(int=0))
_NOBODYS: Final[Mapping[str, Any]] = {}


class Directory:
    """The gateway's memory of the provisioned world."""

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        clock: Clock,
        *,
        domain: str,
        default_org: str | None,
        addresses: Iterable[str],
        ports: Iterable[int],
        packs: Callable[[], Sequence[RiskPack]] = tuple,
    ) -> None:
        self._db = db
        self._keyring = keyring
        self._clock = clock
        self._domain = domain
        self._default_org = default_org
        self._packs = packs
        self._obeyed: tuple[RiskPack, ...] = ()
        self._obeyed_by: dict[OrgId, tuple[RiskPack, ...]] = {}
        self._addresses, self._ports = frozenset(addresses), frozenset(ports)
        self._deployment: DeploymentKeys | None = None
        self._orgs: dict[OrgId, Organisation] = {}
        self._slugs: dict[str, OrgId] = {}
        self._agents: dict[AgentId, Agent] = {}
        self._devices: dict[OrgId, _Devices] = {}
        self._numbers: dict[OrgId, dict[bytes, AssignedNumber]] = {}
        self._masked: dict[OrgId, MaskedSessions] = {}
        self._next_end: dict[OrgId, datetime] = {}  # of access that was given to an agent: from then on the lists alone say
        self._trunks: tuple[Trunk, ...] = ()
        self._trunk_rows: list[rows.TrunkRow] = []
        self._locks: dict[OrgId, frozenset[tuple[AgentId, UUID]]] = {}
        self._locked_here: dict[tuple[AgentId, UUID], float | None] = {}
        self._told: dict[OrgId, tuple[Declaration, tuple[str, ...]]] = {}
        self._looked_at = float("-inf")
        self._fresh: dict[OrgId, float] = {}  # when each organisation was last known to be as its rows say
        self._wake = asyncio.Event()

    # What calls ask.

    @property
    def domain(self) -> str:
        """`[sip] domain`: the realm of every agent."""
        return self._domain

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        """Every carrier, by name."""
        return self._trunks

    def age_s(self, org_id: OrgId) -> float:
        """Seconds since an organisation's rules were last known to be the newest; each has its own age."""
        return self._clock.monotonic() - self._fresh.get(org_id, float("-inf"))

    @property
    def unread(self) -> int:
        """How many organisations are older than the newest look at the rows: theirs can't be read."""
        return sum(at < self._looked_at for at in self._fresh.values())

    def organisation(self, org_id: OrgId) -> Organisation | None:
        """The newest snapshot."""
        return self._orgs.get(org_id)

    def agent(self, agent_id: AgentId) -> Agent | None:
        """One agent of whatever organisation."""
        return self._agents.get(agent_id)

    def between_nodes(self, text: str) -> bytes:
        """What proves to another gateway of the deployment that one of them said `text`."""
        if self._deployment is None:
            raise LocalError("the directory is not loaded")
        return self._deployment.between_nodes(text)

    def organisation_ids(self) -> tuple[OrgId, ...]:
        """Every organisation that is known now."""
        return tuple(self._orgs)

    def organisation_of_host(self, host: str) -> Organisation | None:
        """Whose address of record lies under `host`: `<slug>.<domain>`; for other hosts of ours the default, or the only one there is."""
        host = host.lower().rstrip(".")
        slug, dot, rest = host.partition(".")
        if dot and rest == self._domain:
            found = self._slugs.get(slug)
            return None if found is None else self._orgs[found]
        return self.default_organisation

    @property
    def default_organisation(self) -> Organisation | None:
        """`[sip] default_org`, else the only organisation, else None."""
        if self._default_org is not None:
            found = self._slugs.get(self._default_org)
            return None if found is None else self._orgs[found]
        return next(iter(self._orgs.values())) if len(self._orgs) == 1 else None

    def find_credential(self, user: str, host: str) -> tuple[Organisation, Agent, Credential] | None:
        """Whom a digest's user name stands for in a request to `host`, and with which credential; None also where that has expired.

        `user` is an agent's username or the login of one of its devices, either with `@slug` or without. Who is nobody takes as many steps
        to find out as somebody takes to be found, so that a clock tells no names.
        """
        name, at, slug = user.rpartition("@")
        if at:
            found = self._slugs.get(slug)
            org = None if found is None else self._orgs[found]
        else:
            name, org = user, self.organisation_of_host(host)
        agent = (_NOBODYS if org is None else org.by_username).get(name)
        own = _NOBODY if agent is None else agent.id
        whole = Credential(own, own, _NOBODYS if agent is None else agent.ha1, is_locked=self.is_locked(own, own))
        credential = self._devices.get(_NO_ORG if org is None else org.id, _NO_DEVICES).by_login.get(name)
        if org is not None and agent is not None:
            return org, agent, whole
        agent = None if credential is None or org is None else org.by_id.get(credential.agent_id)
        if org is None or credential is None or agent is None:
            return None
        if credential.expires_at is not None and credential.expires_at <= self._clock.now():
            return None
        return org, agent, replace(credential, is_locked=True) if self.is_locked(agent.id, credential.id) else credential

    def homes(self) -> Iterable[tuple[str, str | None]]:
        """Home countries with the outside prefixes that are dialled there, of all organisations."""
        return {(org.rules.home_country, org.rules.outside_prefix) for org in self._orgs.values()}

    def credential(self, agent: Agent, credential_id: UUID) -> Credential | None:
        """An agent's credential by its id; None where it is none of the agent's, was revoked or has expired."""
        if self.is_revoked(agent.id, credential_id):
            return None
        if credential_id == agent.id:
            return Credential(agent.id, agent.id, agent.ha1, is_locked=self.is_locked(agent.id, agent.id))
        known = self._devices.get(agent.org_id)
        logins = () if known is None else known.by_login.values()
        found = next((one for one in logins if one.id == credential_id and one.agent_id == agent.id), None)
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock.now()):
            return None
        return replace(found, is_locked=True) if self.is_locked(agent.id, found.id) else found

    @property
    def has_locks(self) -> bool:
        """Whether anything is locked at all."""
        return bool(self._locked_here) or any(self._locks.values())

    def is_locked(self, agent_id: AgentId, credential_id: UUID) -> bool:
        """Whether the fraud breaker has locked a credential; or, for `EVERYTHING`, what leaves the house on the agent's wish."""
        lock, agent = (agent_id, credential_id), self._agents.get(agent_id)
        return lock in self._locked_here or (agent is not None and lock in self._locks.get(agent.org_id, _NO_LOCKS))

    def lock(self, agent_id: AgentId, credential_id: UUID) -> None:
        """Lock it here and now; its row follows (`lock_written`)."""
        self._locked_here[agent_id, credential_id] = None

    def lock_written(self, agent_id: AgentId, credential_id: UUID) -> None:
        """The row stands: from the next reading on, that one tells."""
        if (agent_id, credential_id) in self._locked_here:
            self._locked_here[agent_id, credential_id] = self._clock.monotonic()

    def team_of(self, agent_id: AgentId) -> UUID | None:
        """The team that an agent is of."""
        agent = self._agents.get(agent_id)
        org = None if agent is None else self._orgs.get(agent.org_id)
        return None if org is None else org.teams.get(agent_id)

    def is_revoked(self, agent_id: AgentId, device_id: UUID) -> bool:
        """Whether a credential was taken away: from a device, or the agent's own; a locked one is, for as long. One that expired is not."""
        agent = self._agents.get(agent_id)
        if agent is None or self.is_locked(agent_id, device_id):
            return True
        if device_id == agent_id:
            return not agent.ha1
        known = self._devices.get(agent.org_id)
        return known is None or device_id not in known.opened

    def find_number(self, number: str) -> AssignedNumber | None:
        """Whom a canonical +E.164 number of ours belongs to."""
        if self._deployment is None:
            return None
        lookup = self._deployment.lookup(number)
        return next((found for numbers in self._numbers.values() if (found := numbers.get(lookup))), None)

    def masked(self, assigned: AssignedNumber, caller: str) -> Masked | None:
        """Whom a caller (+E.164) of a proxy number means."""
        org, sessions = self._orgs.get(assigned.org_id), self._masked.get(assigned.org_id)
        return None if org is None or sessions is None else sessions.find(org.keys, assigned.id, caller, self._clock.now())

    def numbers_of(self, agent: Agent) -> tuple[str, ...]:
        """The numbers that an agent is reached or shown by."""
        assigned = (one.number.reveal() for one in self._numbers.get(agent.org_id, {}).values() if one.agent_id == agent.id)
        own = () if agent.caller_id is None else (agent.caller_id.reveal(),)
        return tuple(dict.fromkeys((*own, *assigned)))

    def trunk_of(self, host: str) -> Trunk | None:
        """The carrier whose calls come from this address."""
        return next((trunk for trunk in self._trunks if host in trunk.addresses), None)

    # Staying fresh.

    async def load(self) -> None:
        """Learn everything. Raises what the database or keyring raises; call it before serving."""
        self._deployment = await self._keyring.deployment()
        await self._refresh()

    async def watch(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Stay fresh until cancelled: by notification at once, by poll each second. `on_change` is called after each change."""
        await self._db.listen("hushwire_rules", lambda _: self._wake.set())
        while True:
            self._wake.clear()
            try:
                if await self._refresh():
                    on_change()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, LocalError, *UNREADABLE) as error:
                log.warning("directory.stale", age_s=round(self._clock.monotonic() - self._looked_at, 1), error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    async def _refresh(self) -> bool:
        started = self._clock.monotonic()
        async with self._db.transaction() as connection:
            versions = await rows.versions(connection)
            devices_versions = await rows.devices_versions(connection)
            masking_versions = await masking_rows.versions(connection)
            trunk_rows = await rows.trunks(connection)
        self._obeyed = tuple(self._packs())
        changed, stale = [], set[OrgId]()
        gone = self._orgs.keys() - versions.keys()
        for org_id in [org_id for org_id, version in versions.items() if not self._is_known(org_id, version)]:
            with self._whose(org_id, stale):
                await self._learn(org_id)
                changed.append(org_id)
        for org_id in gone:
            self._forget(org_id)
            self._devices.pop(org_id, None)
            self._locks.pop(org_id, None)
            self._masked.pop(org_id, None)
            self._fresh.pop(org_id, None)
        for org_id, version in masking_versions.items():
            if org_id in self._orgs and self._masked.get(org_id, NO_SESSIONS).version != version:
                with self._whose(org_id, stale):
                    async with self._db.organisation(org_id) as connection:
                        parties = await masking_rows.parties(connection)
                    self._masked[org_id] = masked_sessions(version, parties)
        for org_id in list(self._orgs):
            if self._devices.get(org_id, _NO_DEVICES).version != devices_versions.get(org_id, 0):
                with self._whose(org_id, stale):
                    await self._learn_devices(org_id, devices_versions[org_id])
                    changed.append(org_id)
        has_new_trunks = trunk_rows != self._trunk_rows
        if has_new_trunks:
            self._trunks = tuple(trunk for row in trunk_rows if (trunk := self._trunk(row)) is not None)
            self._trunk_rows = trunk_rows
        self._looked_at = started
        for org_id in self._orgs.keys() - stale:
            self._fresh[org_id] = started
        return bool(changed or gone or has_new_trunks)

    @contextmanager
    def _whose(self, org_id: OrgId, stale: set[OrgId]) -> Iterator[None]:
        """What can't be read of one organisation ages by itself: what was known of it goes on serving, and so does everybody else.

        A database that is away is everybody's.
        """
        try:
            yield
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, Unavailable):
            raise
        except Exception as error:
            log.error("directory.unreadable", org_id=str(org_id), exc_info=error)
            stale.add(org_id)

    def _is_known(self, org_id: OrgId, version: int) -> bool:
        known = self._orgs.get(org_id)
        if known is None or known.rules.version != version or self._obeyed_by.get(org_id) != self._obeyed:
            return False
        end = self._next_end.get(org_id)
        return end is None or self._clock.now() < end

    def _forget(self, org_id: OrgId) -> None:
        org = self._orgs.pop(org_id, None)
        self._numbers.pop(org_id, None)
        self._obeyed_by.pop(org_id, None)
        self._next_end.pop(org_id, None)
        if org is None:
            return
        if self._slugs.get(org.slug) == org_id:
            del self._slugs[org.slug]
        for agent_id in org.by_id:
            self._agents.pop(agent_id, None)

    async def _learn(self, org_id: OrgId) -> None:
        async with self._db.organisation(org_id) as connection:
            found = await rows.organisation(connection)
            unrecorded = await rows.unrecorded(connection)
            has_ended = await rows.has_ended(connection)
            group_rows = await rows.groups(connection)
            limit_rows = await fraud_rows.limits(connection)
            free = None if found is None else await free_subprocessors(connection, found[0].residency, self._clock.now())
            listed = None if found is None else await self._do_not_call(connection, *found[:2])
            teams = await level_rows.teams(connection)
            levels = await level_rows.levels(connection)
            exceptions = await level_rows.exceptions(connection)
            granted = await access_rows.grants(connection, self._clock.now())
        if found is None or free is None or listed is None:
            self._forget(org_id)
            return
        row, agent_rows, number_rows = found
        keys = await self._keyring.org_context(org_id)
        # From here on nothing waits: calls never meet half an organisation.
        agents = [_agent(keys, agent, has_ended=has_ended) for agent in agent_rows]
        rules = organisation_rules(row, row.rules_version, self._own_hosts(row.slug), opened_exceptions(keys, exceptions), self._obeyed)
        rules = replace(rules, org_id=org_id)
        org = _organisation(row, keys, agents, rules, free, unrecorded)
        groups = {row.extension: _group(row) for row in group_rows}
        narrowed = {AgentId(agent_id): found for agent_id, found in by_agent(rules, teams, levels).items()}
        for given_to, grants in grants_by_agent(granted).items():
            narrowed[AgentId(given_to)] = with_grants(narrowed.get(AgentId(given_to), rules), grants)
        of_team = {AgentId(agent_id): team.id for team in teams for agent_id in team.members}
        org = replace(org, do_not_call=listed[0], do_not_call_version=listed[1], groups=groups, narrowed=narrowed, teams=of_team)
        org = replace(org, limits=limits.book(limit_rows))
        numbers = {
            number.lookup: AssignedNumber(
                org_id,
                Personal(_open(keys, number.number_sealed, "numbers", "number_sealed", number.id)),
                number.agent_id,
                number.id,
                number.masks,
                number.group_id,
            )
            for number in number_rows
        }
        # What can't be read has said so by now, and the organisation stands as it was.
        self._forget(org_id)
        self._orgs[org_id] = org
        self._numbers[org_id] = numbers
        self._obeyed_by[org_id] = self._obeyed
        if granted:
            self._next_end[org_id] = min(row.ends_at for row in granted)
        self._tell_of_consent(org)
        self._agents |= org.by_id
        self._slugs[row.slug] = org_id

    async def _learn_devices(self, org_id: OrgId, version: int) -> None:
        """The organisation's credentials of devices; those that are known already are not opened again."""
        started = self._clock.monotonic()
        async with self._db.organisation(org_id) as connection:
            found = await rows.devices(connection)
            locks = await fraud_rows.locks(connection)
        org = self._orgs.get(org_id)
        if org is None:
            return
        self._locks[org_id] = frozenset(locks)
        for lock, written in list(self._locked_here.items()):
            if written is not None and written < started and lock[0] in org.by_id:
                del self._locked_here[lock]
        before = self._devices.get(org_id, _NO_DEVICES).opened
        opened: dict[UUID, _Opened] = {}
        for row in found:
            known = before.get(row.id)
            if known is None or known.ha1_sealed != row.ha1_sealed:
                ha1 = json.loads(_open(org.keys, row.ha1_sealed, "devices", "ha1_sealed", row.id))
                known = _Opened(row.login, row.ha1_sealed, Credential(row.id, row.agent_id, ha1, row.expires_at))
            opened[row.id] = known
        self._devices[org_id] = _Devices(version, opened, {one.login: one.credential for one in opened.values()})

    async def _do_not_call(
        self, connection: Connection, row: rows.OrgRow, agents: list[rows.AgentRow]
    ) -> tuple[frozenset[bytes], int | None]:
        """The set, read anew only where it changed, and only where somebody's calls need it."""
        if not any(agent.telemarketing for agent in agents):
            return frozenset(), None
        known = self._orgs.get(row.id)
        if known is not None and known.do_not_call_version == row.do_not_call_version:
            return known.do_not_call, known.do_not_call_version
        return await rows.do_not_call(connection), row.do_not_call_version

    def _tell_of_consent(self, org: Organisation) -> None:
        """Say once that what an organisation declares may not meet the law where it calls and records."""
        countries = () if org.record == "none" else unsatisfied(org.consent, org.jurisdictions, org.rules.countries)
        if countries and self._told.get(org.id) != (org.consent, countries):
            log.warning(
                "recording.consent_unsatisfied",
                org_id=str(org.id),
                declared=org.consent.value,
                countries=list(countries),
                mend="see GET /v1/privacy/consents/rules and recording_consent",
            )
        self._told[org.id] = org.consent, countries

    def _own_hosts(self, slug: str) -> OwnHosts:
        return OwnHosts(frozenset({self._domain, f"{slug}.{self._domain}"}), self._addresses, self._ports)

    def _trunk(self, row: rows.TrunkRow) -> Trunk | None:
        password = None
        try:
            if row.password_sealed is not None and self._deployment is not None:
                place = {"table": "trunks", "column": "password_sealed"}
                password = self._deployment.operational.open(row.password_sealed, row=row.id, org=NO_ORG, **place).decode()
        except UNREADABLE as error:
            # The other carriers are learned all the same, and so are all organisations.
            log.error("trunk.password_unreadable", trunk=row.name, error=type(error).__name__, mend="run hushwire apply with its password")
            return next((known for known in self._trunks if known.id == row.id), None)
        try:
            return trunk_of_row(row, password)
        except ParseError:
            log.error("trunk.unusable", trunk=row.name, mend="its uri is no SIP URI: mend it and run hushwire apply")
            return None


def _open(keys: OrgKeys, sealed: bytes, table: str, column: str, row: UUID) -> str:
    return keys.operational.open(sealed, table=table, column=column, row=row, org=keys.org_id).decode()


def _agent(keys: OrgKeys, row: rows.AgentRow, *, has_ended: bool) -> Agent:
    def opened(sealed: bytes | None, column: str) -> Personal[str] | None:
        return None if sealed is None else Personal(_open(keys, sealed, "agents", column, row.id))

    return Agent(
        id=row.id,
        org_id=keys.org_id,
        username=Personal(_open(keys, row.username_sealed, "agents", "username_sealed", row.id)),
        role=row.role,
        extension=opened(row.extension_sealed, "extension_sealed"),
        caller_id=opened(row.caller_id_sealed, "caller_id_sealed"),
        ha1={} if row.ha1_sealed is None else json.loads(_open(keys, row.ha1_sealed, "agents", "ha1_sealed", row.id)),
        is_suspended=row.suspended or has_ended,
        is_telemarketing=row.telemarketing,
        media_ports=row.media_ports,
        hides_identity=row.hides_identity,
        forwarding=from_json(
            None if row.forwarding_sealed is None else _open(keys, row.forwarding_sealed, "agents", "forwarding_sealed", row.id)
        ),
        address=None
        if row.address_sealed is None
        else Personal(_address(_open(keys, row.address_sealed, "agents", "address_sealed", row.id))),
    )


def _address(text: str) -> Address:
    return tuple((name, value) for name, value in json.loads(text).items())


def _group(row: rows.GroupRow) -> RingGroup:
    return RingGroup(row.id, row.name, row.extension, Strategy(row.strategy), row.ring_s, row.follows_forwarding, tuple(row.members))


def _organisation(
    row: rows.OrgRow, keys: OrgKeys, agents: list[Agent], rules: Rules, free: frozenset[str], unrecorded: frozenset[bytes]
) -> Organisation:
    return Organisation(
        id=row.id,
        slug=row.slug,
        residency=row.residency,
        record=row.record,
        agent_srtp=Srtp.REQUIRED if row.agent_srtp == "required" else Srtp.OPTIONAL,
        sdes=Keying.BEST_EFFORT if row.agent_srtp == "best-effort" else Keying.SDES,
        allows_sdes_in_clear=row.allow_sdes_in_clear,
        calls_without_recording=row.without_recording == "unrecorded",
        custody_version=row.custody_version,
        rules=rules,
        keys=keys,
        unrecorded=unrecorded,
        consent=Declaration(row.recording_consent),
        sounds=SoundSettings(
            ringback=Ringback(row.ringback),
            music_on_hold=row.music_on_hold,
            announcement=Hearers(row.announcement),
            announce_at=AnnounceAt(row.announce_at),
            record_from=RecordFrom(row.record_from),
            spoken_refusals=row.spoken_refusals,
            beep=Hearers(row.beep),
            beep_every_s=row.beep_every_s,
        ),
        presence=Shown(row.presence),
        record_emergency=row.record_emergency,
        telemarketing_hours=tuple(calling_hours.parse(text) for text in row.telemarketing_hours),
        live_rules_version=row.live_rules_version,
        jurisdictions=tuple(row.jurisdictions) or tags_for_country(row.home_country),
        by_id={agent.id: agent for agent in agents},
        by_username={agent.username.reveal(): agent for agent in agents},
        by_extension={agent.extension.reveal(): agent for agent in agents if agent.extension is not None},
        subprocessors=free,
    )
