"""Retention carried out: rules as the customer sets them, a report of what they would erase, and the runs of the worker.

What is due goes batch by batch through the one erasure path, each batch with its own receipt. A run that stops anywhere is not carried
on: the next one plans anew, from what is still there.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit, retention
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.reasons import RETENTION
from hushwire.privacy.retention import Doubt, Item, Plan, Rule
from hushwire.privacy.selection import Selector
from hushwire.services.erasure import Erasures
from hushwire.store import erasable
from hushwire.store import retention as table
from hushwire.store.database import Database
from hushwire.store.erasable import Place, Search
from hushwire.store.retention import RuleRow, StateRow

ACTOR: Final = "system:retention"
_PAGE: Final = 10_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Setting:
    """The rules, and what retention last believed and waits for; None: never set up."""

    rules: list[RuleRow]
    state: StateRow | None


@dataclass(frozen=True, slots=True)
class ClassReport:
    """What a run would do to a class. `oldest`: when the oldest thing that is due began."""

    total: int
    due: int
    held: int
    batches: int
    oldest: datetime | None
    is_large: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a run at `at` would erase."""

    at: datetime
    classes: dict[str, ClassReport]
    doubt: Doubt | None


@dataclass(frozen=True, slots=True)
class Unfit:
    """What is wrong with wanted rules."""

    field: str
    message: str


class RetentionRules:
    """Reads and changes rules; says what they would do."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random

    async def setting(self, org_id: OrgId) -> Setting:
        """As it stands."""
        async with self._main.organisation(org_id) as connection:
            return Setting(await table.rules(connection), await table.state(connection))

    async def put(self, org_id: OrgId, rules: Sequence[Rule], most_percent: int | None, *, actor: str) -> Setting | Unfit:
        """These rules instead of all that there are."""
        named = {(rule.kind, rule.agent) for rule in rules}
        if len(named) != len(rules):
            return Unfit("rules", "name a class and agent once only")
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            agents = [rule.agent for rule in rules if rule.agent is not None]
            known = {row[0] for row in await connection.fetch("SELECT id FROM agents WHERE id = ANY($1::uuid[])", agents)}
            if set(agents) - known:
                return Unfit("rules", "name an agent that the organisation does not have")
            await table.set_up(connection, org_id, now, most_percent)
            rows = [RuleRow(self._new_id(now), rule.kind, rule.agent, rule.keep_days, now, actor) for rule in rules]
            await table.put_rules(connection, org_id, rows)
            general = {f"keep_days_{rule.kind}": rule.keep_days for rule in rules if rule.agent is None}
            fields: audit.Fields = {**general, "agents": len(agents), "most_percent": most_percent}
            await audit.append(connection, org_id, now, actor, "retention.changed", f"organisation:{org_id}", fields)
        return await self.setting(org_id)

    async def preview(self, org_id: OrgId, at: datetime | None = None) -> Report:
        """What a run would erase, now or `at` another time. Changes nothing."""
        setting = await self.setting(org_id)
        now = at or self._clock.now()
        rules = _rules(setting)
        most = setting.state.most_percent if setting.state else 100
        classes: dict[str, ClassReport] = {}
        for kind in KINDS:
            due = held = batches = 0
            oldest: datetime | None = None
            async for items, kept in self.candidates(org_id, kind, rules, now):
                found = retention.plan(items, rules, kept, now)
                due, held, batches = due + found.due.get(kind, 0), held + found.held.get(kind, 0), batches + len(found.batches)
                if oldest is None and found.batches:
                    first = found.batches[0].ids[0]
                    oldest = next(item.began_at for item in items if item.id == first)
            async with self._main.organisation(org_id) as connection:
                total = await table.total(connection, KINDS[kind])
            classes[kind] = ClassReport(total, due, held, batches, oldest, retention.is_large(due, total, most))
        doubt = None if setting.state is None or at is not None else retention.doubt_of_clock(now, setting.state.last_seen_at)
        return Report(now, classes, doubt)

    async def confirm(self, org_id: OrgId, pending_id: UUID, *, actor: str) -> bool:
        """A person says that what waits is meant; False if nothing waits under this id."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await table.confirm(connection, pending_id, now, actor):
                return False
            await audit.append(
                connection, org_id, now, actor, "retention.confirmed", f"organisation:{org_id}", {"pending": str(pending_id)}
            )
        return True

    async def candidates(
        self, org_id: OrgId, kind: str, rules: Sequence[Rule], now: datetime
    ) -> AsyncIterator[tuple[list[Item], set[UUID]]]:
        """What may be due of a class, page by page, oldest first, and which of it is held."""
        cutoff = retention.cutoff(kind, rules, now)
        after: Place | None = None
        while cutoff is not None:
            async with self._main.organisation(org_id) as connection:
                rows = await erasable.find(
                    connection, KINDS[kind], Search(until=cutoff, spares_in_use=True), kinds=KINDS, after=after, limit=_PAGE
                )
            if not rows:
                return
            after = (rows[-1].began_at, rows[-1].id)
            yield [Item(kind, row.id, row.began_at, row.agents) for row in rows], {row.id for row in rows if row.hold_id is not None}

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


class RetentionRuns:
    """The worker's share."""

    def __init__(self, main: Database, rules: RetentionRules, erasures: Erasures, clock: Clock, random: Random) -> None:
        self._main = main
        self._rules = rules
        self._erasures = erasures
        self._clock = clock
        self._random = random

    async def run_all(self) -> int:
        """One run for each organisation; returns how many things were erased."""
        async with self._main.transaction() as connection:
            organisations = await table.organisations(connection)
        return await for_each(organisations, self.run, "retention")

    async def run(self, org_id: OrgId) -> int:
        """Erases what is due, unless a doubt has to be confirmed first; returns how many things were erased."""
        async with self._main.session() as connection:
            name = f"retention:{org_id}"
            if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name):
                return 0  # another worker is at it
            try:
                return await self._run(org_id)
            finally:
                await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", name)

    async def _run(self, org_id: OrgId) -> int:
        now = self._clock.now()
        setting = await self._rules.setting(org_id)
        if setting.state is None:
            return 0
        report = await self._rules.preview(org_id)
        due = sum(found.due for found in report.classes.values())
        doubt = report.doubt or (Doubt.LARGE_SHARE if any(found.is_large for found in report.classes.values()) else None)
        if doubt is not None and not await self._is_confirmed(org_id, setting.state, doubt, now, due):
            return 0
        erased = 0
        for kind in KINDS:
            async for items, kept in self._rules.candidates(org_id, kind, _rules(setting), now):
                erased += await self._erase(org_id, retention.plan(items, _rules(setting), kept, now))
        async with self._main.organisation(org_id) as connection:
            await table.saw(connection, now)
        if erased:
            _log.info("retention.erased", org_id=str(org_id), things=erased)
        return erased

    async def _erase(self, org_id: OrgId, plan: Plan) -> int:
        for batch in plan.batches:
            selector = Selector(objects={batch.kind: batch.ids}, without_parts=True)
            begun = await self._erasures.operations.begin(org_id, selector, actor=ACTOR, reason=RETENTION)
            await self._erasures.operations.run(org_id, begun.id, selector=selector)
        return sum(plan.due.values())

    async def _is_confirmed(self, org_id: OrgId, state: StateRow, doubt: Doubt, now: datetime, due: int) -> bool:
        confirmed = Doubt(state.pending_reason) if state.confirmed_at is not None and state.pending_reason else None
        if retention.is_confirmed(doubt, confirmed, state.pending_at, state.pending_count or 0, now, due):
            return True
        is_known = state.pending_reason == doubt and state.pending_at is not None and abs(now - state.pending_at) <= retention.MOST_AHEAD
        if not is_known or due > (state.pending_count or 0):
            async with self._main.organisation(org_id) as connection:
                pending = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
                await table.wait_for(connection, pending, doubt, now, due)
                fields: audit.Fields = {"doubt": doubt.value, "due": due}
                await audit.append(connection, org_id, now, ACTOR, "retention.waits", f"organisation:{org_id}", fields)
            _log.warning("retention.waits", org_id=str(org_id), doubt=doubt.value, due=due)
        return False


def _rules(setting: Setting) -> list[Rule]:
    return [Rule(row.kind, row.keep_days, row.agent_id) for row in setting.rules]
