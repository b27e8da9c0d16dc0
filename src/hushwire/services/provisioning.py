"""`apply`: bring the database to what a file declares, and nothing else; a second run finds nothing to do.

The organisations of the file, and the trunks where it declares any, are compared with their rows in one transaction; other
organisations are left alone. What is declared is made or changed; what such an organisation has besides is kept and named, unless
`prune` asks to remove it: then numbers and unused trunks go, API keys are revoked, agents (whom call records name) are suspended and
their phones forgotten.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId, uuid7
from hushwire.policy.four_eyes import Lists, held
from hushwire.policy.terms import read_hours, read_terms
from hushwire.privacy import audit, endings
from hushwire.privacy.audit import Action
from hushwire.privacy.clocks import ClockKind
from hushwire.services import limits
from hushwire.services.agreement_provisioning import Publishing, accept_list
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.services.organisation import designate
from hushwire.services.provisioning_centres import apply_centres
from hushwire.services.provisioning_custody import DeclaredCustody
from hushwire.services.provisioning_rules import DeclaredRules
from hushwire.services.provisioning_specs import AgentSpec, Desired, OrgSpec, TrunkSpec
from hushwire.services.readings import current_text, signed
from hushwire.services.rule_changes import OPERATOR, RuleChanges, found, lists_of
from hushwire.sip.digest import Algorithm, ha1
from hushwire.store import organisation, rates
from hushwire.store import provisioning as rows
from hushwire.store import rules as rules_table
from hushwire.store.database import Connection, Database
from hushwire.vault import tombstones
from hushwire.vault.keyring import DeploymentKeys, Keyring, OrgKeys
from hushwire.vault.tombstones import Tombstone

FORMS: Final = ("username", "username@slug")
_NO_ORG: Final = UUID(int=0)


@dataclass(slots=True)
class Outcome:
    """What was done, what undeclared things were left alone, and the secrets that exist nowhere else."""

    changes: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    agents: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    api_keys: dict[str, str] = field(default_factory=dict, repr=False)

    def secrets(self) -> dict[str, object]:
        """The object that `--secrets-out` writes."""
        return {"agents": self.agents, "api_keys": self.api_keys}


@dataclass(slots=True)
class _Stones:
    """What ends for an organisation, to be in the keyring before the rows change, and what begins again, to be there after it."""

    ended: dict[OrgId, list[Tombstone]] = field(default_factory=dict)
    lifted: dict[OrgId, list[Tombstone]] = field(default_factory=dict)

    def end(self, org_id: OrgId, tombstone: Tombstone) -> None:
        self.ended.setdefault(org_id, []).append(tombstone)

    def lift(self, org_id: OrgId, tombstone: Tombstone) -> None:
        self.lifted.setdefault(org_id, []).append(tombstone)


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Applies files to one deployment, as its owner. `domain` is `[sip] domain`, the realm of every agent's digest."""

    main: Database
    keyring: Keyring
    clock: Clock
    random: Random
    domain: str

    async def apply(self, desired: Desired, *, prune: bool = False) -> Outcome:
        """Make it so, in one transaction. Raises ConfigError, with nothing changed, for what only the database can tell."""
        outcome, stones = Outcome(), _Stones()
        now = self.clock.now()
        custody = DeclaredCustody(self.main, self.keyring, self.clock, self.random)
        for spec in desired.orgs:
            await custody.check(spec.row.slug, spec.custody, now)
        deployment = await self.keyring.deployment()
        async with self.main.transaction() as connection:
            await rows.lock(connection)
            published = Publishing(connection, now, self._id)
            outcome.changes += await published.subprocessors(desired.subprocessors, prune=prune)
            outcome.changes += await published.policies(desired.policies)
            if desired.trunks:
                await self._trunks(connection, desired.trunks, deployment, outcome, now, prune=prune)
            if desired.message_centres:
                changes, kept = await apply_centres(connection, desired.message_centres, deployment, now, self.random, prune=prune)
                outcome.changes += changes
                outcome.kept += kept
            for name, table in desired.rates.items():
                trunk_id = await rates.trunk_named(connection, name)
                if trunk_id is not None and await rates.put(connection, trunk_id, table):
                    outcome.changes.append(f"rates of trunk {name}: {len(table)}")
            for spec in desired.orgs:
                await self._organisation(connection, spec, deployment, outcome, stones, now, prune=prune)
            for org_id, ended in stones.ended.items():
                await tombstones.write(self.keyring.db, org_id, ended)
        for org_id, lifted in stones.lifted.items():
            await tombstones.write(self.keyring.db, org_id, lifted)
        # A database of its own: after the organisation's rows stand, and safe to repeat.
        for spec in desired.orgs:
            done = await custody.apply(spec.row.slug, spec.custody, OPERATOR, prune=prune)
            outcome.changes += done.changes
            outcome.kept += done.kept
        return outcome

    def _id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self.random.token_bytes(10))

    async def _trunks(
        self, connection: Connection, specs: tuple[TrunkSpec, ...], keys: DeploymentKeys, outcome: Outcome, now: datetime, *, prune: bool
    ) -> None:
        known = {row.name: row for row in await rows.trunks(connection)}
        for spec in specs:
            old = known.pop(spec.name, None)
            row_id = old.id if old else self._id(now)
            place = {"table": "trunks", "column": "password_sealed", "row": row_id, "org": _NO_ORG}

            def opened(sealed: bytes | None, place: dict[str, object] = place) -> str | None:
                return None if sealed is None else keys.operational.open(sealed, **place).decode()  # type: ignore[arg-type]

            password = old.password_sealed if old else None
            if opened(password) != spec.password:
                password = None if spec.password is None else keys.operational.seal(spec.password.encode(), **place)  # type: ignore[arg-type]
            said = {item.name: getattr(spec, item.name) for item in fields(rows.TrunkSettings)}
            new = rows.TrunkRow(id=row_id, password_sealed=password, **said)
            if new != old:
                await rows.put_trunk(connection, new, now)
                outcome.changes.append(f"trunk {spec.name}: {'changed' if old else 'made'}")
        for name, row in known.items():
            if prune and await rows.remove_trunk(connection, row.id):
                outcome.changes.append(f"trunk {name}: removed")
            else:
                outcome.kept.append(f"trunk {name}" + (" (call records name it)" if prune else ""))

    async def _organisation(
        self,
        connection: Connection,
        spec: OrgSpec,
        deployment: DeploymentKeys,
        outcome: Outcome,
        stones: _Stones,
        now: datetime,
        *,
        prune: bool,
    ) -> None:
        found = await rows.find_org(connection, spec.row.slug)
        org_id = found or OrgId(self._id(now))
        await self.keyring.create_organisation(org_id)
        keys = await self.keyring.org_context(org_id)
        await rows.enter(connection, org_id)
        old = await rows.org(connection) if found else None
        spec = replace(spec, row=spec.rules.over(spec.row, old))
        work = _Organisation(connection, org_id, spec, keys, deployment, self, outcome, stones, now, prune)
        if old != spec.row:
            await rows.put_org(connection, org_id, spec.row, now)
            if old is None:
                await accept_list(connection, org_id, now)
            if old:
                await self._rules_changed(connection, org_id, old, spec.row, stones, now)
                await self._tell_opened(connection, org_id, old)
            outcome.changes.append(f"organisation {spec.row.slug}: {'changed' if old else 'made'}")
            work.note(Action.ORGANISATION_CHANGED if old else Action.ORGANISATION_MADE, "organisation", org_id)
            if old is not None and (set(old.allowed_countries), set(old.classes)) != (
                set(spec.row.allowed_countries),
                set(spec.row.classes),
            ):
                work.note(Action.RULES_CHANGED, "organisation", org_id, countries=len(spec.row.allowed_countries))
        before = len(outcome.changes) - (old != spec.row)
        agents = await work.agents()
        await work.numbers(agents, await work.groups(agents))
        declared = DeclaredRules(connection, org_id, keys, self.new_id, now, work.note, prune=prune)
        outcome.changes += await declared.apply(spec.row.slug, spec.teams, {a.username: a.level for a in spec.agents}, agents)
        outcome.changes += await declared.exceptions(spec.row.slug, spec.exceptions)
        outcome.kept += declared.kept
        await work.api_keys(agents)
        await work.profile()
        for action, subject, noted in work.noted:
            await audit.append(connection, org_id, now, OPERATOR, action, subject, noted)
        if changes := len(outcome.changes) - before:
            await audit.append(
                connection, org_id, now, OPERATOR, Action.PROVISIONING_APPLIED, f"organisation:{org_id}", {"changes": changes}
            )

    async def _rules_changed(
        self, connection: Connection, org_id: OrgId, old: rows.OrgRow, new: rows.OrgRow, stones: _Stones, now: datetime
    ) -> None:
        """What stays allowed, kept before the change; what is added, after it."""
        version = await rows.rules_version(connection)
        countries, classes = set(old.allowed_countries) & set(new.allowed_countries), set(old.classes) & set(new.classes)
        stones.end(org_id, endings.rules_now(tombstones.new_id(), org_id, version, sorted(countries), sorted(classes), now))
        if countries < set(new.allowed_countries) or classes < set(new.classes):
            stones.lift(org_id, endings.rules_now(tombstones.new_id(), org_id, version, new.allowed_countries, new.classes, now))

    async def _tell_opened(self, connection: Connection, org_id: OrgId, old: rows.OrgRow) -> None:
        """What two must agree to and the file opens is open, and the organisation is told (ADR 0048)."""
        rules = found(await rules_table.get(connection))
        now = lists_of(rules)
        lists = (frozenset(old.allowed_countries), frozenset(old.classes), now.guarded)
        before = Lists(*lists, read_terms(old.terms), frozenset(old.short_codes), read_hours(old.hours))
        opening = held(before, now)
        if opening:
            notices = Notices(self.main, self.keyring, Clocks(self.clock, self.random), self.clock, self.random)
            await RuleChanges(self.main, self.keyring, self.clock, notices).tell_opened(connection, org_id, rules, opening, OPERATOR)

    def new_id(self, now: datetime) -> UUID:
        """A fresh row id."""
        return self._id(now)


@dataclass(slots=True)
class _Organisation:
    """The rows of one organisation against what is declared for it, inside the transaction."""

    connection: Connection
    org_id: OrgId
    spec: OrgSpec
    keys: OrgKeys
    deployment: DeploymentKeys
    service: Provisioning
    outcome: Outcome
    stones: _Stones
    now: datetime
    prune: bool
    noted: list[tuple[Action, str, audit.Fields]] = field(default_factory=list)

    def note(self, action: Action, kind: str, row_id: UUID, **fields: str | int | bool | None) -> None:
        """What the audit log will say once all is done: other appends of the organisation wait from the first one on."""
        self.noted.append((action, f"{kind}:{row_id}", fields))

    def _name(self, part: str) -> str:
        return f"{self.spec.row.slug}/{part}"

    def _open(self, sealed: bytes | None, table: str, column: str, row: UUID) -> str | None:
        if sealed is None:
            return None
        return self.keys.operational.open(sealed, table=table, column=column, row=row, org=self.org_id).decode()

    def _sealed(self, value: str | None, old: bytes | None, table: str, column: str, row: UUID) -> bytes | None:
        """The old sealed form where it says the same already, else a new one."""
        if value == self._open(old, table, column, row):
            return old
        return None if value is None else self.keys.operational.seal(value.encode(), table=table, column=column, row=row, org=self.org_id)

    async def agents(self) -> dict[str, UUID]:
        """Username -> id of every declared agent, after bringing their rows up to date."""
        known = {row.username_index: row for row in await rows.agents(self.connection)}
        ids: dict[str, UUID] = {}
        changed: list[tuple[rows.AgentRow, rows.AgentRow | None, str]] = []
        for spec in self.spec.agents:
            index = self.keys.index("agents.username", spec.username)
            old = known.pop(index, None)
            row = self._agent(spec, index, old)
            ids[spec.username] = row.id
            if row != old:
                changed.append((row, old, spec.username))
        # Extensions are unique at every moment: those that move are freed first.
        await rows.free_extensions(
            self.connection, [old.id for row, old, _ in changed if old and row.extension_index != old.extension_index]
        )
        for row, old, username in changed:
            await rows.put_agent(self.connection, self.org_id, row, self.now)
            self._note_agent(row, old)
            if old:
                await self._agent_changed(old, row)
            self.outcome.changes.append(f"agent {self._name(username)}: {'changed' if old else 'made'}")
        for row in known.values():
            username = self._open(row.username_sealed, "agents", "username_sealed", row.id) or ""
            if self.prune and not row.suspended:
                await rows.suspend_agent(self.connection, row.id, self.now)
                self.note(Action.AGENT_SUSPENDED, "agent", row.id, reason="no longer declared")
                self.stones.end(self.org_id, endings.agent_suspended(tombstones.new_id(), row.id, self.now))
                self.outcome.changes.append(f"agent {self._name(username)}: suspended")
            elif not row.suspended:
                self.outcome.kept.append(f"agent {self._name(username)}")
        return ids

    def _note_agent(self, row: rows.AgentRow, old: rows.AgentRow | None) -> None:
        if old is None:
            self.note(Action.AGENT_ADDED, "agent", row.id, role=row.role)
            return
        if row.role != old.role:
            self.note(Action.AGENT_ROLE_CHANGED, "agent", row.id, role=row.role, role_before=old.role)
        if row.suspended != old.suspended:
            self.note(Action.AGENT_SUSPENDED if row.suspended else Action.AGENT_RESUMED, "agent", row.id)
        if replace(row, role=old.role, suspended=old.suspended) != old:
            self.note(Action.AGENT_CHANGED, "agent", row.id, credentials=row.ha1_sealed != old.ha1_sealed)

    async def _agent_changed(self, old: rows.AgentRow, new: rows.AgentRow) -> None:
        """A suspension and replaced credentials outlive a restore; letting an agent in again ends the suspensions known until now."""
        if new.suspended and not old.suspended:
            self.stones.end(self.org_id, endings.agent_suspended(tombstones.new_id(), new.id, self.now))
        if old.suspended and not new.suspended:
            async with self.service.keyring.db.organisation(self.org_id) as connection:
                known = await tombstones.of_object(connection, endings.AGENT, new.id)
            suspensions = [stone.tombstone.id for stone in known if stone.tombstone.fields.get("state") == "suspended"]
            self.stones.lift(self.org_id, endings.agent_let_in(tombstones.new_id(), new.id, suspensions, self.now))
        if old.ha1_sealed and new.ha1_sealed != old.ha1_sealed:
            self.stones.end(self.org_id, endings.credentials_replaced(tombstones.new_id(), new.id, old.ha1_sealed, self.now))

    def _agent(self, spec: AgentSpec, index: bytes, old: rows.AgentRow | None) -> rows.AgentRow:
        row_id = old.id if old else self.service.new_id(self.now)

        def sealed(value: str | None, column: str, before: bytes | None) -> bytes | None:
            return self._sealed(value, before, "agents", column, row_id)

        return rows.AgentRow(
            id=row_id,
            username_sealed=sealed(spec.username, "username_sealed", old.username_sealed if old else None) or b"",
            username_index=index,
            role=spec.role,
            extension_sealed=sealed(spec.extension, "extension_sealed", old.extension_sealed if old else None),
            extension_index=None if spec.extension is None else self.keys.index("agents.extension", spec.extension),
            caller_id_sealed=sealed(spec.caller_id, "caller_id_sealed", old.caller_id_sealed if old else None),
            ha1_sealed=self._credentials(spec, row_id, old.ha1_sealed if old else None, sealed),
            suspended=spec.suspended,
            telemarketing=spec.telemarketing,
            media_ports=spec.media_ports,
            hides_identity=spec.hides_identity,
            forwarding_sealed=self._forwarding(spec, row_id, None if old is None else old.forwarding_sealed, sealed),
            address_sealed=self._address(spec, None if old is None else old.address_sealed, sealed),
        )

    def _forwarding(
        self, spec: AgentSpec, row_id: UUID, before: bytes | None, sealed: Callable[[str | None, str, bytes | None], bytes | None]
    ) -> bytes | None:
        """What the file says, or else what there is: agents change it themselves."""
        if spec.forwarding is None:
            return before
        said = spec.forwarding.to_json()
        return sealed(None if said is None else said.decode(), "forwarding_sealed", before)

    def _address(
        self, spec: AgentSpec, before: bytes | None, sealed: Callable[[str | None, str, bytes | None], bytes | None]
    ) -> bytes | None:
        """Where the agent calls from, for emergency calls; an empty address takes the stored one away."""
        if spec.address is None:
            return before
        return sealed(json.dumps(dict(spec.address)) if spec.address else None, "address_sealed", before)

    def _credentials(
        self, spec: AgentSpec, row_id: UUID, before: bytes | None, sealed: Callable[[str | None, str, bytes | None], bytes | None]
    ) -> bytes | None:
        """What digest needs, sealed. A realm that changed makes every old H(A1) useless: then there has to be a new password."""
        kept = json.loads(self._open(before, "agents", "ha1_sealed", row_id) or "{}")
        password = spec.sip_password
        if password is None and kept.get("realm") == self.service.domain:
            return before
        if password is None:
            password = base64.b32encode(self.service.random.token_bytes(15)).decode().lower()
            self.outcome.agents[self._name(spec.username)] = {"sip_username": spec.username, "sip_password": password}
        wanted = credentials(spec.username, self.spec.row.slug, self.service.domain, password)
        return before if kept == wanted else sealed(json.dumps(wanted, separators=(",", ":")), "ha1_sealed", before)

    async def groups(self, agents: dict[str, UUID]) -> dict[str, UUID]:
        """Bring the ring groups up to date; their ids by name. Those that are not declared any more go with `prune`."""
        known = {row.name: row for row in await rows.groups(self.connection)}
        ids: dict[str, UUID] = {}
        gone = [row for name, row in known.items() if self.prune and name not in {spec.name for spec in self.spec.groups}]
        for row in gone:
            await rows.remove_group(self.connection, row.id)
            self.note(Action.GROUP_REMOVED, "group", row.id)
            self.outcome.changes.append(f"group {row.name} of {self.spec.row.slug}: removed")
        for spec in self.spec.groups:
            old = known.get(spec.name)
            row_id = old.id if old else self.service.new_id(self.now)
            members = tuple(agents[name] for name in spec.members)
            row = rows.GroupRow(row_id, spec.name, spec.extension, spec.strategy, spec.ring_s, spec.follows_forwarding, members)
            ids[spec.name] = row.id
            if row != old:
                await rows.put_group(self.connection, self.org_id, row, self.now)
                self.note(Action.GROUP_CHANGED if old else Action.GROUP_MADE, "group", row.id, members=len(members))
                self.outcome.changes.append(f"group {spec.name} of {self.spec.row.slug}: {'changed' if old else 'made'}")
        return ids

    async def numbers(self, agents: dict[str, UUID], groups: dict[str, UUID]) -> None:
        """Bring the assigned numbers up to date."""
        known = {row.number_index: row for row in await rows.numbers(self.connection)}
        if self.prune:
            declared = {self.keys.index("numbers.number", spec.number) for spec in self.spec.numbers}
            for index in [index for index in known if index not in declared]:
                released = known.pop(index)
                await self._release(released.id)
                self.note(Action.NUMBER_RELEASED, "number", released.id)
                self.outcome.changes.append(f"a number of {self.spec.row.slug}: removed")
        for position, spec in enumerate(self.spec.numbers, 1):
            index, lookup = self.keys.index("numbers.number", spec.number), self.deployment.lookup(spec.number)
            old = known.pop(index, None)
            if old is None and await rows.number_is_taken(self.connection, lookup):
                raise ConfigError(f"organisation {self.spec.row.slug}: numbers[{position}]: belongs to another organisation already")
            row_id = old.id if old else self.service.new_id(self.now)
            sealed = self._sealed(spec.number, old.number_sealed if old else None, "numbers", "number_sealed", row_id) or b""
            group = None if spec.group is None else groups[spec.group]
            row = rows.NumberRow(row_id, sealed, index, lookup, agents[spec.to] if spec.to else None, spec.masks, group)
            if row != old:
                await rows.put_number(self.connection, self.org_id, row, self.now)
                agent = str(row.agent_id) if row.agent_id else None
                self.note(Action.NUMBER_MOVED if old else Action.NUMBER_ASSIGNED, "number", row.id, agent=agent)
                target = (
                    self._name(spec.to)
                    if spec.to
                    else f"group {spec.group}"
                    if spec.group
                    else "the proxy numbers"
                    if spec.masks
                    else "nobody"
                )
                self.outcome.changes.append(f"number {position} of {self.spec.row.slug}: {'moved' if old else 'assigned'} to {target}")
        if known:
            self.outcome.kept.append(f"{len(known)} number(s) of {self.spec.row.slug}")

    async def _release(self, number_id: UUID) -> None:
        """A number goes, and at once what is held about its assignment: the agreement allows 20 days. The clock keeps the proof."""
        clocks = Clocks(self.service.clock, self.service.random)
        await rows.remove_number(self.connection, number_id)
        self.stones.end(self.org_id, endings.number_released(tombstones.new_id(), number_id, self.now))
        running = await clocks.start(self.connection, self.org_id, ClockKind.NUMBER_DATA, "number", number_id, self.now)
        await clocks.end_row(self.connection, running, outcome="erased-at-release", evidence={"number": str(number_id)}, at=self.now)

    async def api_keys(self, agents: Mapping[str, UUID]) -> None:
        """Bring the API keys up to date. A key that was revoked comes back with a new secret, never with its old one.

        Whoever provisions a key undertakes confidentiality for who will hold it: that stands in its row of `undertakings`.
        """
        known = {row.name: row for row in await rows.api_keys(self.connection)}
        text = await current_text(self.connection)
        for spec in self.spec.api_keys:
            old = known.pop(spec.name, None)
            held_by = None if spec.person is None else agents[spec.person]
            if spec.person is None and old and not old.revoked and old.agent_id not in agents.values():
                held_by = old.agent_id  # whoever has no phone any more has both hands on the keys all the same
            if old and not old.revoked and (old.role, old.purpose, old.agent_id) == (spec.role, spec.purpose, held_by):
                continue
            is_new = old is None or old.revoked
            secret_hash = old.secret_hash if old else b""
            if is_new:
                secret = new_api_secret(self.service.random)
                secret_hash = hash_api_secret(secret)
                self.outcome.api_keys[self._name(spec.name)] = secret
            row_id = old.id if old else self.service.new_id(self.now)
            row = rows.ApiKeyRow(row_id, spec.name, spec.role, spec.purpose, secret_hash, revoked=False, agent_id=held_by)
            await rows.put_api_key(self.connection, self.org_id, row, self.now)
            self.note(Action.API_KEY_MADE if is_new else Action.API_KEY_CHANGED, "api-key", row_id, role=spec.role, purpose=spec.purpose)
            if await signed(
                self.connection, self.org_id, self.service.new_id(self.now), f"api-key:{row_id}", text, by=OPERATOR, now=self.now
            ):
                self.note(Action.UNDERTAKING_SIGNED, "api-key", row_id, version=text.version)
            if not is_new:
                self.stones.end(self.org_id, endings.key_changed(tombstones.new_id(), row_id, secret_hash, spec.role, self.now))
            self.outcome.changes.append(f"API key {self._name(spec.name)}: {'made' if is_new else 'changed'}")
        for name, row in known.items():
            if row.revoked:
                continue
            if self.prune:
                await rows.revoke_api_key(self.connection, row.id, self.now)
                self.note(Action.API_KEY_REVOKED, "api-key", row.id)
                self.stones.end(self.org_id, endings.key_revoked(tombstones.new_id(), row.id, row.secret_hash, self.now))
                self.outcome.changes.append(f"API key {self._name(name)}: revoked")
            else:
                self.outcome.kept.append(f"API key {self._name(name)}")

    async def profile(self) -> None:
        """Bring jurisdictions and designated contacts up to date, where the file declares them."""
        slug, declared = self.spec.row.slug, self.spec
        if declared.limits is not None:
            done_at = [
                level
                for level in limits.OF_ALL
                if await limits.put(self.connection, self.org_id, level, self.org_id, declared.limits.get(level, {}), self.now)
            ]
            if done_at:
                self.outcome.changes.append(f"limits of {slug}: {', '.join(done_at)}")
        known = await organisation.profile(self.connection)
        if declared.jurisdictions is not None and known is not None and known.jurisdictions != declared.jurisdictions:
            await organisation.put_jurisdictions(self.connection, declared.jurisdictions, self.now)
            self.outcome.changes.append(f"jurisdiction of {slug}: {', '.join(declared.jurisdictions)}")
        if declared.contacts is not None:
            keyring = self.service.keyring
            done = await designate(self.connection, keyring, self.org_id, declared.contacts, self.now, OPERATOR, self.service.new_id)
            if done:
                self.outcome.changes.append(f"contacts of {slug}: {done.added} designated, {done.removed} removed, {done.moved} moved")


def credentials(username: str, slug: str, realm: str, password: str) -> dict[str, str]:
    """`<algorithm>/<form>` -> H(A1), for both forms of the user name, and the realm that they are for."""
    names = dict(zip(FORMS, (username, f"{username}@{slug}"), strict=True))
    kept = {f"{algorithm.value}/{form}": ha1(algorithm, name, realm, password) for algorithm in Algorithm for form, name in names.items()}
    return kept | {"realm": realm}


def new_api_secret(random: Random) -> str:
    """`hw_` and 256 random bits."""
    return "hw_" + base64.urlsafe_b64encode(random.token_bytes(32)).decode().rstrip("=")


def hash_api_secret(secret: str) -> bytes:
    """What is stored of an API key: enough entropy stands behind it that a plain SHA-256 is one-way."""
    return hashlib.sha256(secret.encode()).digest()
