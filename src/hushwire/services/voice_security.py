"""Voice security as the API gives it: the rules, a change of them, and the verdict on a destination without any side effect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.policy import calling_hours
from hushwire.policy.grants import with_grants
from hushwire.policy.judge import Judge
from hushwire.policy.model import Allow, Attempt, Channel, NumberClass, OwnHosts, Verdict
from hushwire.policy.risk import RiskPack
from hushwire.policy.rules import Rules
from hushwire.services.agent_rules import grants_by_agent, narrowed, opened_exceptions, organisation_rules
from hushwire.services.notices import Notices
from hushwire.services.rule_changes import Change, NoProposal, Outdated, Over, OwnProposal, RuleChanges, Saved, Stale, ZoneGuarded, found
from hushwire.services.verdicts import INDEX, marketed
from hushwire.store import access_requests, do_not_call, levels, listing
from hushwire.store import rules as table
from hushwire.store.database import Database
from hushwire.store.rules import RulesRow
from hushwire.vault.keyring import Keyring

FRESH_S: Final = 1.0
_MOST_ORGS: Final = 10_000


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Rules to try instead of the saved ones; None keeps what is saved."""

    home_country: str | None = None
    allowed_countries: frozenset[str] | None = None
    classes: frozenset[NumberClass] | None = None
    outside_prefix: str | None = None
    has_outside_prefix: bool = False


@dataclass(frozen=True, slots=True)
class NoAgent:
    """The organisation has no such agent."""


class VoiceSecurity:
    """Rules and verdicts of every organisation. `own_hosts(slug)` says which hosts are this gateway for it."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        clock: Clock,
        own_hosts: Callable[[str], OwnHosts],
        notices: Notices | None = None,
        packs: Callable[[], Sequence[RiskPack]] = tuple,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._own_hosts = own_hosts
        self.changes = RuleChanges(main, keyring, clock, notices)
        self._packs = packs
        self._judge = Judge()
        self._known: dict[OrgId, tuple[float, RulesRow, Rules]] = {}

    async def listen(self) -> None:
        """Forget at once what another process changed; without it a snapshot is at most a second old."""
        await self._main.listen("hushwire_rules", self._forget)

    async def rules(self, org_id: OrgId) -> RulesRow:
        """The rules as they are saved now."""
        async with self._main.organisation(org_id) as connection:
            return found(await table.get(connection))

    async def change(self, org_id: OrgId, change: Change, *, actor: str) -> Saved | Outdated | ZoneGuarded:
        """Save new lists, or have what guards ask for agreed to first (services/rule_changes.py)."""
        saved = await self.changes.save(org_id, change, actor=actor)
        self._known.pop(org_id, None)
        return saved

    async def approve(self, org_id: OrgId, proposal_id: UUID, *, actor: str) -> Saved | NoProposal | OwnProposal | Stale | Over:
        """Open what was proposed."""
        saved = await self.changes.approve(org_id, proposal_id, actor=actor)
        self._known.pop(org_id, None)
        return saved

    async def check(
        self,
        org_id: OrgId,
        destination: str,
        channel: Channel,
        *,
        agent: str | None = None,
        what_if: WhatIf | None = None,
        is_telemarketing: bool = False,
        at: datetime | None = None,
    ) -> Verdict | NoAgent:
        """The verdict on a destination, for the organisation or one of its agents. Nothing is written, counted or sent.

        `is_telemarketing`: as for a campaign, whoever asks. `at`: by the hours, terms and given access of then, if that is still to come.
        """
        agent_id = await self.agent_id(org_id, agent)
        if isinstance(agent_id, NoAgent):
            return agent_id
        now = self._clock.now()
        moment = now if at is None else max(at, now)
        rules = await self.rules_of(org_id, agent_id, what_if, moment)
        verdict = self._judge.decide(Attempt(destination, channel), rules, moment)
        if isinstance(verdict, Allow) and agent_id is not None and verdict.country is not None:
            verdict = await self._naming_grant(org_id, agent_id, verdict, moment)
        if isinstance(verdict, Allow) and (is_telemarketing or agent_id is not None):
            return await self._marketed(org_id, verdict, None if is_telemarketing else agent_id, moment)
        return verdict

    async def rules_of(self, org_id: OrgId, agent_id: UUID | None, what_if: WhatIf | None = None, at: datetime | None = None) -> Rules:
        """The organisation's rules as this agent meets them, with others tried in their place, and with the access of `at`."""
        rules = await self._snapshot(org_id)
        if agent_id is not None:
            rules = await self._narrowed(org_id, rules, agent_id, at or self._clock.now())
        if what_if is None:
            return rules
        return replace(
            rules,
            home_country=what_if.home_country or rules.home_country,
            allowed_countries=rules.allowed_countries if what_if.allowed_countries is None else what_if.allowed_countries,
            classes=rules.classes if what_if.classes is None else what_if.classes,
            outside_prefix=what_if.outside_prefix if what_if.has_outside_prefix else rules.outside_prefix,
        )

    async def agent_id(self, org_id: OrgId, agent: str | None) -> UUID | NoAgent | None:
        """The agent that an id or a username names; None where none is named."""
        if agent is None:
            return None
        await self._snapshot(org_id)
        return await self._agent_id(org_id, agent) or NoAgent()

    async def _naming_grant(self, org_id: OrgId, agent_id: UUID, verdict: Allow, at: datetime) -> Allow:
        """The verdict, naming the access that was given to the agent where no list decided."""
        async with self._main.organisation(org_id) as connection:
            granted = await access_requests.grants(connection, at, agent_id)
        ends = [row.ends_at for row in granted if verdict.country in row.countries]
        if not ends or verdict.country in (await self._snapshot(org_id)).countries:
            return verdict
        return replace(verdict, rule=f"access given to the agent until {max(ends):%Y-%m-%dT%H:%MZ}")

    async def _marketed(self, org_id: OrgId, verdict: Allow, agent_id: UUID | None, at: datetime) -> Verdict:
        """What the gateways' snapshots say (services/verdicts.py), from the rows; of an agent only where it does telemarketing."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            if agent_id is not None and not await do_not_call.binds(connection, agent_id):
                return verdict
            is_listed = await do_not_call.has(connection, keys.index(INDEX, verdict.number))
            hours = found(await table.get(connection)).telemarketing_hours
        return marketed(verdict, [calling_hours.parse(text) for text in hours], at, is_listed=is_listed)

    async def _snapshot(self, org_id: OrgId) -> Rules:
        now = self._clock.monotonic()
        known = self._known.get(org_id)
        if known is not None and now - known[0] < FRESH_S:
            return known[2]
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            row = found(await table.get(connection))
            exceptions = await levels.exceptions(connection)
        packs = self._packs()
        rules = organisation_rules(row, row.version, self._own_hosts(row.slug), opened_exceptions(keys, exceptions), packs)
        if len(self._known) >= _MOST_ORGS:
            self._known.clear()
        self._known[org_id] = (now, row, rules)
        return rules

    async def _narrowed(self, org_id: OrgId, rules: Rules, agent_id: UUID, at: datetime) -> Rules:
        """The organisation's rules as this agent meets them, with the access that was given to it."""
        async with self._main.organisation(org_id) as connection:
            rows = await levels.levels_of(connection, agent_id)
            granted = await access_requests.grants(connection, at, agent_id)
        team = next((row for row in rows if row.team_id is not None), None)
        rules = narrowed(rules, team, next((row for row in rows if row.agent_id is not None), None))
        return with_grants(rules, grants_by_agent(granted).get(agent_id, ()))

    async def _agent_id(self, org_id: OrgId, agent: str) -> UUID | None:
        async with self._main.organisation(org_id) as connection:
            if (agent_id := as_uuid(agent)) is not None:
                return None if await listing.agent(connection, agent_id) is None else agent_id
            keys = await self._keyring.org_context(org_id)
            slug = self._known[org_id][1].slug if org_id in self._known else ""
            index = keys.index("agents.username", agent.removeprefix(f"{slug}/").encode("utf-8", "replace").decode())
            return await listing.agent_named(connection, index)

    def _forget(self, payload: str) -> None:
        if (org_id := as_uuid(payload)) is not None:
            self._known.pop(OrgId(org_id), None)
        else:
            self._known.clear()


def as_uuid(text: str) -> UUID | None:
    """The id that a text is in its usual spelling, else None."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
