"""Voice security as the API gives it: the rules, a change of them, and the verdict on a destination without any side effect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import Unavailable
from hushwire.core.ids import OrgId
from hushwire.policy.judge import Judge
from hushwire.policy.model import Allow, Attempt, Channel, NumberClass, OwnHosts, Reason, Rules, Verdict
from hushwire.privacy import audit, endings
from hushwire.services.verdicts import INDEX, denied
from hushwire.store import do_not_call, listing
from hushwire.store import rules as table
from hushwire.store.database import Database
from hushwire.store.rules import RulesRow
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring

FRESH_S: Final = 1.0
_MOST_ORGS: Final = 10_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Rules to try instead of the saved ones; None keeps what is saved."""

    home_country: str | None = None
    allowed_countries: frozenset[str] | None = None
    classes: frozenset[NumberClass] | None = None
    outside_prefix: str | None = None
    has_outside_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """New lists; None leaves a list as it is. `version`: refuse unless the saved rules still have it."""

    allowed_countries: frozenset[str] | None = None
    classes: frozenset[NumberClass] | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Outdated:
    """Somebody else changed the rules meanwhile: they stand at `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class NoAgent:
    """The organisation has no such agent."""


class VoiceSecurity:
    """Rules and verdicts of every organisation. `own_hosts(slug)` says which hosts are this gateway for it."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, own_hosts: Callable[[str], OwnHosts]) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._own_hosts = own_hosts
        self._judge = Judge()
        self._known: dict[OrgId, tuple[float, RulesRow, Rules]] = {}

    async def listen(self) -> None:
        """Forget at once what another process changed; without it a snapshot is at most a second old."""
        await self._main.listen("hushwire_rules", self._forget)

    async def rules(self, org_id: OrgId) -> RulesRow:
        """The rules as they are saved now."""
        async with self._main.organisation(org_id) as connection:
            return _found(await table.get(connection))

    async def change(self, org_id: OrgId, change: Change, *, actor: str) -> RulesRow | Outdated:
        """Save new lists and say so in the audit log, in one transaction; the gateways are told by the database.

        What is left of the old lists stands in the keyring before the row changes, the new lists after it: a restore of an older
        main database never brings back more than was allowed last (`privacy/endings.py`).
        """
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            before = _found(await table.get(connection, for_update=True))
            if change.version is not None and change.version != before.version:
                return Outdated(before.version)
            countries = sorted(before.allowed_countries if change.allowed_countries is None else change.allowed_countries)
            classes = sorted(before.classes if change.classes is None else change.classes)
            await table.put(connection, countries, classes, now)
            after = _found(await table.get(connection))
            is_changed = after.version != before.version
            if is_changed:
                await audit.append(connection, org_id, now, actor, "rules.changed", f"organisation:{org_id}", _difference(before, after))
                await self._bury(after, sorted({*before.allowed_countries} & {*countries}), sorted({*before.classes} & {*classes}), now)
        self._known.pop(org_id, None)
        if is_changed and ({*countries} - {*before.allowed_countries} or {*classes} - {*before.classes}):
            try:
                await self._bury(after, countries, classes, now)
            except Unavailable:
                # It holds already; a restore of an older database would leave out what was added just now, and say so.
                _log.warning("rules.widening_not_kept", org_id=str(org_id))
        return after

    async def _bury(self, rules: RulesRow, countries: Sequence[str], classes: Sequence[str], now: datetime) -> None:
        stone = endings.rules_now(tombstones.new_id(), rules.org_id, rules.version, countries, classes, now)
        await tombstones.write(self._keyring.db, rules.org_id, [stone])

    async def check(
        self, org_id: OrgId, destination: str, channel: Channel, *, agent: str | None = None, what_if: WhatIf | None = None
    ) -> Verdict | NoAgent:
        """The verdict on a destination, for the organisation or one of its agents. Nothing is written, counted or sent."""
        rules = await self._snapshot(org_id)
        agent_id = None if agent is None else await self._agent_id(org_id, agent)
        if agent is not None and agent_id is None:
            return NoAgent()
        if what_if is not None:
            rules = replace(
                rules,
                home_country=what_if.home_country or rules.home_country,
                allowed_countries=rules.allowed_countries if what_if.allowed_countries is None else what_if.allowed_countries,
                classes=rules.classes if what_if.classes is None else what_if.classes,
                outside_prefix=what_if.outside_prefix if what_if.has_outside_prefix else rules.outside_prefix,
            )
        verdict = self._judge.decide(Attempt(destination, channel), rules, self._clock.now())
        if isinstance(verdict, Allow) and agent_id is not None and await self._is_not_to_be_called(org_id, agent_id, verdict.number):
            return denied(verdict, Reason.DO_NOT_CALL)
        return verdict

    async def _is_not_to_be_called(self, org_id: OrgId, agent_id: UUID, number: str) -> bool:
        """What the gateways' snapshots say (services/verdicts.py), from the rows."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            return await do_not_call.binds(connection, agent_id) and await do_not_call.has(connection, keys.index(INDEX, number))

    async def _snapshot(self, org_id: OrgId) -> Rules:
        now = self._clock.monotonic()
        known = self._known.get(org_id)
        if known is not None and now - known[0] < FRESH_S:
            return known[2]
        row = await self.rules(org_id)
        rules = Rules(
            version=row.version,
            home_country=row.home_country,
            allowed_countries=frozenset(row.allowed_countries),
            classes=frozenset(NumberClass(name) for name in row.classes),
            outside_prefix=row.outside_prefix,
            own_hosts=self._own_hosts(row.slug),
        )
        if len(self._known) >= _MOST_ORGS:
            self._known.clear()
        self._known[org_id] = (now, row, rules)
        return rules

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


def _found(row: RulesRow | None) -> RulesRow:
    if row is None:
        raise Unavailable("the organisation's row is not there")
    return row


def _difference(before: RulesRow, after: RulesRow) -> dict[str, str | int]:
    def listed(items: Sequence[str], others: Sequence[str]) -> str:
        return ",".join(sorted(set(items) - set(others)))

    return {
        "version": after.version,
        "countries": len(after.allowed_countries),
        "countries_added": listed(after.allowed_countries, before.allowed_countries),
        "countries_removed": listed(before.allowed_countries, after.allowed_countries),
        "classes_added": listed(after.classes, before.classes),
        "classes_removed": listed(before.classes, after.classes),
    }
