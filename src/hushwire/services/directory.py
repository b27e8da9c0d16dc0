"""Who is who, held in memory and never older than a second: organisations, agents, numbers, trunks and the rules.

Every call takes one frozen `Organisation` and keeps it to its end. A change of rows raises the organisation's version and wakes us
(LISTEN hushwire_rules); the poll each second is what counts. Database away: what is known goes on serving, and `age_s` says how old it is.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import ConfigError, LocalError, MalformedError, Unavailable
from hushwire.core.ids import AgentId, OrgId
from hushwire.policy.model import OwnHosts
from hushwire.policy.risk import RiskPack
from hushwire.privacy.consent import Declaration, unsatisfied
from hushwire.services.credential_locks import CredentialLocks
from hushwire.services.device_credentials import NO_DEVICES, DeviceCredentials
from hushwire.services.masked import NO_SESSIONS, Masked, MaskedSessions, masked_sessions
from hushwire.services.ring_groups import RingGroup
from hushwire.services.snapshot import Agent, AssignedNumber, Credential, Organisation
from hushwire.services.snapshot_opening import numbers_of, organisation_of
from hushwire.services.snapshot_reading import organisation_rows
from hushwire.services.trunk import Trunk, trunk_of_row
from hushwire.sip.errors import ParseError
from hushwire.store import directory as rows
from hushwire.store import fraud as fraud_rows
from hushwire.store import masking as masking_rows
from hushwire.store.database import Database
from hushwire.vault.keyring import DeploymentKeys, Keyring

POLL_S: Final = 1.0
UNREADABLE: Final = (ValueError, KeyError, TypeError, ConfigError, MalformedError)
"""What rows raise that can't be read here, such as those of a newer release: no reason to learn of nothing any more."""
log = structlog.get_logger()
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
        self._devices: dict[OrgId, DeviceCredentials] = {}
        self._numbers: dict[OrgId, dict[bytes, AssignedNumber]] = {}
        self._masking: set[OrgId] = set()
        """Organisations that have proxy numbers."""
        self._masked: dict[OrgId, MaskedSessions] = {}
        self._next_end: dict[OrgId, datetime] = {}  # of access that was given to an agent: from then on the lists alone say
        self._trunks: tuple[Trunk, ...] = ()
        self._trunk_rows: list[rows.TrunkRow] = []
        self._locks = CredentialLocks()
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

    def newest(self, org: Organisation) -> Organisation:
        """The organisation as it is known now; as it was, where it is gone."""
        return self._orgs.get(org.id) or org

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
        credential = self._devices.get(_NO_ORG if org is None else org.id, NO_DEVICES).by_login.get(name)
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
        found = self._devices.get(agent.org_id, NO_DEVICES).of(agent.id, credential_id)
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock.now()):
            return None
        return replace(found, is_locked=True) if self.is_locked(agent.id, found.id) else found

    @property
    def has_locks(self) -> bool:
        """Whether anything is locked at all."""
        return self._locks.has_any

    def is_locked(self, agent_id: AgentId, credential_id: UUID) -> bool:
        """Whether the fraud breaker has locked a credential; or, for `EVERYTHING`, what leaves the house on the agent's wish."""
        agent = self._agents.get(agent_id)
        return self._locks.hold(None if agent is None else agent.org_id, (agent_id, credential_id))

    def lock(self, agent_id: AgentId, credential_id: UUID) -> None:
        """Lock it here and now; its row follows (`lock_written`)."""
        self._locks.lock((agent_id, credential_id))

    def lock_written(self, agent_id: AgentId, credential_id: UUID) -> None:
        """The row stands: from the next reading on, that one tells."""
        self._locks.written((agent_id, credential_id), self._clock.monotonic())

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
        return device_id not in self._devices.get(agent.org_id, NO_DEVICES).by_id

    def find_number(self, number: str) -> AssignedNumber | None:
        """Whom a canonical +E.164 number of ours belongs to."""
        if self._deployment is None:
            return None
        lookup = self._deployment.lookup(number)
        return next((found for numbers in self._numbers.values() if (found := numbers.get(lookup))), None)

    def has_proxies(self, org_id: OrgId) -> bool:
        """Whether any number of an organisation is a proxy for masked calls."""
        return org_id in self._masking

    def agent_of_number(self, org: Organisation, number: str) -> Agent | None:
        """The agent that a canonical number of the organisation's own rings."""
        found = self.find_number(number)
        return None if found is None or found.org_id != org.id or found.agent_id is None else org.by_id.get(found.agent_id)

    def group_of_number(self, org: Organisation, number: str) -> RingGroup | None:
        """The ring group that a canonical number of the organisation's own rings."""
        found = self.find_number(number)
        return None if found is None or found.org_id != org.id else org.group_of(found.group_id)

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
            self._locks.forget(org_id)
            self._masked.pop(org_id, None)
            self._fresh.pop(org_id, None)
        for org_id, version in masking_versions.items():
            if org_id in self._orgs and self._masked.get(org_id, NO_SESSIONS).version != version:
                with self._whose(org_id, stale):
                    async with self._db.organisation(org_id) as connection:
                        parties = await masking_rows.parties(connection)
                    self._masked[org_id] = masked_sessions(version, parties)
        for org_id in list(self._orgs):
            if self._devices.get(org_id, NO_DEVICES).version != devices_versions.get(org_id, 0):
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
        self._masking.discard(org_id)
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
            found = await organisation_rows(connection, self._orgs.get(org_id), self._clock.now())
        if found is None:
            self._forget(org_id)
            return
        keys = await self._keyring.org_context(org_id)
        # From here on nothing waits: calls never meet half an organisation.
        org = organisation_of(found, keys, self._own_hosts(found.org.slug), self._obeyed)
        numbers = numbers_of(found, keys)
        # What can't be read has said so by now, and the organisation stands as it was.
        self._forget(org_id)
        self._orgs[org_id] = org
        self._numbers[org_id] = numbers
        if any(one.masks for one in numbers.values()):
            self._masking.add(org_id)
        self._obeyed_by[org_id] = self._obeyed
        if found.granted:
            self._next_end[org_id] = min(row.ends_at for row in found.granted)
        self._tell_of_consent(org)
        self._agents |= org.by_id
        self._slugs[org.slug] = org_id

    async def _learn_devices(self, org_id: OrgId, version: int) -> None:
        began_s = self._clock.monotonic()
        async with self._db.organisation(org_id) as connection:
            found = await rows.devices(connection)
            locks = await fraud_rows.locks(connection)
        org = self._orgs.get(org_id)
        if org is None:
            return
        self._locks.read(org_id, locks, org.by_id, began_s)
        self._devices[org_id] = self._devices.get(org_id, NO_DEVICES).read_anew(version, org.keys, found)

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
                password = self._deployment.operational.open(row.password_sealed, row=row.id, org=_NO_ORG, **place).decode()
        except UNREADABLE as error:
            # The other carriers are learned all the same, and so are all organisations.
            log.error("trunk.password_unreadable", trunk=row.name, error=type(error).__name__, mend="run hushwire apply with its password")
            return next((known for known in self._trunks if known.id == row.id), None)
        try:
            return trunk_of_row(row, password)
        except ParseError:
            log.error("trunk.unusable", trunk=row.name, mend="its uri is no SIP URI: mend it and run hushwire apply")
            return None
