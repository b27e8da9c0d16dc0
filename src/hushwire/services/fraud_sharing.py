"""What the fraud breakers of all gateways know together: facts, sums and alarms go into rows, and come from them.

Twice in a tenth of a second at most a gateway writes what its calls made, one transaction an organisation, and says so by NOTIFY; the
others then read what they lack. How many calls each has out is told by NOTIFY alone, as trunks' channels are: that is true only now. A
gateway that starts reads the last hour. While the database is away each goes on by itself, and writes later what it has counted.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import AgentId, NodeId, OrgId, TrunkId
from hushwire.policy.breaker_counters import Habits
from hushwire.policy.rating import Rate, RateTable
from hushwire.services.directory import Directory
from hushwire.services.fraud import MOST_UNWRITTEN, Breaker, Raised, Unwritten
from hushwire.services.fraud_counts import KEPT_S, DayUse, Fact, day_of
from hushwire.services.fraud_minting import LockMinting
from hushwire.services.records import Records
from hushwire.services.told_counts import ToldCounts, place_of, portions
from hushwire.store import fraud as rows
from hushwire.store import rates as rate_rows
from hushwire.store.database import STORE_FAILED, Connection, Database

CALLS: Final = "hushwire_fraud_calls"
LOOK_S: Final = 0.1
METER_S: Final = 2.0
DAYS_S: Final = 2.0
"""Sums of a day are read again at most so often."""
TELL_AGAIN_S: Final = 5.0
FORGET_AFTER_S: Final = 20.0
AGAIN_S: Final = 5.0
OVERLAP_S: Final = 10.0
"""A transaction that began earlier may commit later: so far back is looked again."""
_log = structlog.get_logger(__name__)


class FraudSharing:
    """One gateway's part."""

    def __init__(self, db: Database, directory: Directory, breaker: Breaker, clock: Clock, node_id: NodeId) -> None:
        self._db = db
        self._directory = directory
        self._breaker = breaker
        self._clock = clock
        self._node_id = node_id
        self._loaded: set[OrgId] = set()
        self._stale: set[OrgId] = set()
        self._behind: dict[OrgId, bool] = {}
        self._days_read: dict[OrgId, float] = {}
        self._read_to: dict[OrgId, datetime] = {}
        self._told: dict[AgentId, int] = {}
        self._told_at = float("-inf")
        self._elsewhere: ToldCounts[AgentId] = ToldCounts()
        self._heard: dict[NodeId, float] = {}
        self._rates: dict[TrunkId, int] = {}
        self._not_before: dict[OrgId, float] = {}
        breaker.elsewhere = self.elsewhere

    def elsewhere(self) -> Mapping[AgentId, int]:
        """How many outside calls other gateways have, by whose account they are on."""
        return sum((Counter(calls) for calls in self._elsewhere.all().values()), Counter())

    async def run(self) -> None:
        """Until cancelled."""
        await self._db.listen(rows.CHANNEL, self._hear)
        await self._db.listen(CALLS, self._hear_calls)
        await self._ask()
        while True:
            now = self._clock.monotonic()
            try:
                await self._learn_rates()
                await self._exchange()
                await self._tell_calls(now)
            except STORE_FAILED as error:
                _log.debug("fraud.not_shared", error=type(error).__name__)
            self._forget(now)
            await asyncio.sleep(LOOK_S)

    async def meter(self) -> None:
        """Look at the time that calls take, also while the database is away; until cancelled."""
        repeated = self._clock.monotonic()
        while True:
            self._breaker.meter()
            if self._clock.monotonic() - repeated >= TELL_AGAIN_S:
                repeated = self._clock.monotonic()
                for raised in self._breaker.again():
                    self._breaker.write_alarm(raised)
            await asyncio.sleep(METER_S)

    # Facts and sums.

    async def _exchange(self) -> None:
        unread = [org_id for org_id in self._directory.organisation_ids() if org_id not in self._loaded or org_id in self._stale]
        for things, work in ((unread, self._load), (list(self._breaker.unwritten), self._write), (list(self._behind), self._read)):
            for org_id in things:
                if self._clock.monotonic() >= self._not_before.get(org_id, float("-inf")):
                    await self._of_one(org_id, work)

    async def _of_one(self, org_id: OrgId, work: Callable[[OrgId], Awaitable[None]]) -> None:
        """What is wrong with one organisation's rows holds up no other's; it has its turn again a little later."""
        try:
            await work(org_id)
        except STORE_FAILED as error:
            if not isinstance(error, asyncpg.PostgresError):
                raise  # nobody's can be written or read now
            self._refused(org_id, error)
        except Exception as error:
            self._refused(org_id, error)

    def _refused(self, org_id: OrgId, error: Exception) -> None:
        self._not_before[org_id] = self._clock.monotonic() + AGAIN_S
        _log.error("fraud.organisation_not_shared", org_id=str(org_id), exc_info=error)

    async def _write(self, org_id: OrgId) -> None:
        """Write what one organisation's calls made; where that fails, it waits with what comes."""
        unwritten = self._breaker.unwritten.pop(org_id)
        if self._directory.organisation(org_id) is None:
            return
        try:
            async with self._db.organisation(org_id) as connection:
                await self._put(connection, org_id, unwritten)
                await connection.execute("SELECT pg_notify($1, $2)", rows.CHANNEL, f"{org_id} {self._node_id}")
        except BaseException:
            since = self._breaker.unwritten.setdefault(org_id, Unwritten())
            since.facts[:0] = unwritten.facts[-MOST_UNWRITTEN:]
            since.habits[:0] = unwritten.habits[-MOST_UNWRITTEN:]
            for use in unwritten.days.values():
                since.use(use)
            raise

    async def _put(self, connection: Connection, org_id: OrgId, unwritten: Unwritten) -> None:
        if unwritten.facts:
            await rows.add_facts(connection, org_id, self._node_id, [_row(fact) for fact in unwritten.facts])
        if unwritten.days:
            used = [rows.DayRow(one.agent_id, one.day, one.currency, one.talk_ms, one.spent_micros) for one in unwritten.days.values()]
            await rows.add_days(connection, org_id, used)
        if unwritten.habits:
            await rows.add_habits(connection, org_id, unwritten.habits, day_of(self._clock.now().timestamp()))

    async def _load(self, org_id: OrgId) -> None:
        """Begin with the rows: after a start, or where something was undone."""
        now = self._clock.now()
        self._stale.discard(org_id)
        try:
            async with self._db.organisation(org_id) as connection:
                facts = await rows.facts(connection, now - timedelta(seconds=KEPT_S))
                undone = await rows.undone(connection, now - timedelta(seconds=KEPT_S))
                days = await rows.days(connection, day_of(now.timestamp()))
                habits = await rows.habits(connection)
        except BaseException:
            self._stale.add(org_id)
            raise
        suspected = {agent_id: known.suspected for agent_id, known in self._breaker.counts.of(org_id).agents.items()}
        counts = self._breaker.counts.reset(org_id)
        counts.undone = {agent_id: at.timestamp() for agent_id, at in undone.items()}
        waiting = self._breaker.unwritten.get(org_id)
        for fact in (*(_fact(row, now) for row in facts), *(() if waiting is None else waiting.facts)):
            counts.take(fact, self._directory.team_of(fact.agent_id))
        for agent_id, signals in suspected.items():
            # No row says it: what is undone for one agent, or a connection that was lost, clears nobody else.
            since = counts.undone.get(agent_id, 0.0)
            counts.agent(agent_id).suspected |= {signal: at for signal, at in signals.items() if at > since}
        counts.learn(_habits(habits))
        self._use_days(org_id, days)
        self._breaker.recount()
        self._loaded.add(org_id)
        self._read_to[org_id] = now

    async def _read(self, org_id: OrgId) -> None:
        """Learn what other gateways wrote."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        are_days_due = monotonic - self._days_read.get(org_id, float("-inf")) >= DAYS_S
        if not are_days_due and not self._behind[org_id]:
            return
        since = self._read_to.get(org_id, now) - timedelta(seconds=OVERLAP_S)
        async with self._db.organisation(org_id) as connection:
            facts = await rows.facts(connection, since, but=self._node_id) if self._behind[org_id] else []
            days = await rows.days(connection, day_of(now.timestamp())) if are_days_due else None
        counts = self._breaker.counts.of(org_id)
        for fact in (_fact(row, now) for row in facts):
            counts.take(fact, self._directory.team_of(fact.agent_id))
        self._read_to[org_id] = now
        if days is None:
            self._behind[org_id] = False
            return
        self._use_days(org_id, days)
        self._days_read[org_id] = monotonic
        self._behind.pop(org_id, None)

    def _use_days(self, org_id: OrgId, days: Sequence[rows.DayRow]) -> None:
        waiting = self._breaker.unwritten.get(org_id)
        used = [DayUse(one.agent_id, one.day, one.currency, one.talk_ms, one.spent_micros) for one in days]
        self._breaker.counts.of(org_id).use_days([*used, *(() if waiting is None else waiting.days.values())], self._directory.team_of)

    def _hear(self, payload: str) -> None:
        """Another gateway wrote, or something was undone. An empty payload: the connection was lost, and anything may have happened."""
        if not payload:
            self._stale.update(self._loaded)
            return
        name, _, node = payload.partition(" ")
        try:
            org_id = OrgId(UUID(name))
        except ValueError:
            _log.warning("fraud.unread")
            return
        if not node:
            self._breaker.undone(org_id)
            self._stale.add(org_id)
        elif node != str(self._node_id):
            self._behind[org_id] = True

    # Calls of now.

    async def _ask(self) -> None:
        """Have the others say what they have out, now that somebody new listens."""
        async with self._db.transaction() as connection:
            asked = json.dumps({"node": str(self._node_id), "calls": {}, "asks": True}, separators=(",", ":"))
            await connection.execute("SELECT pg_notify($1, $2)", CALLS, asked)

    async def _tell_calls(self, now: float) -> None:
        own = self._breaker.out_here()
        is_due = bool(own) and now - self._told_at >= TELL_AGAIN_S
        changed = {
            agent_id: own.get(agent_id, 0) for agent_id in {*own, *self._told} if is_due or own.get(agent_id) != self._told.get(agent_id)
        }
        if not changed:
            return
        async with self._db.transaction() as connection:
            for portion, place in portions(changed, is_whole=is_due):
                said = {"node": str(self._node_id), "calls": {str(agent_id): count for agent_id, count in portion.items()}}
                told = json.dumps(said if place is None else said | {"whole": place}, separators=(",", ":"))
                await connection.execute("SELECT pg_notify($1, $2)", CALLS, told)
        self._told = own
        self._told_at = now if is_due else self._told_at

    def _hear_calls(self, payload: str) -> None:
        if not payload:
            return
        try:
            told = json.loads(payload)
            node = NodeId(UUID(told["node"]))
            calls = {AgentId(UUID(name)): max(0, int(count)) for name, count in told["calls"].items()}
            place = place_of(told)
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("fraud.calls_unread")
            return
        self._heard[node] = self._clock.monotonic()
        if node != self._node_id:
            if told.get("asks"):
                self._told_at = float("-inf")
            self._elsewhere.hear(node, calls, place)
            self._breaker.recount()

    def _forget(self, now: float) -> None:
        # A gateway that has calls out says so every few seconds.
        for node in [node for node, heard in self._heard.items() if now - heard > FORGET_AFTER_S]:
            del self._heard[node]
            self._elsewhere.forget(node)
        for org_id, counts in self._breaker.counts.known():
            counts.forget(self._clock.now().timestamp())
            if self._directory.organisation(org_id) is None:
                self._breaker.counts.drop(org_id)
                self._loaded.discard(org_id)
                self._not_before.pop(org_id, None)

    # Rates.

    async def _learn_rates(self) -> None:
        """Read the tables of trunks whose rates changed, a portion at a time: a large one must not hold up calls."""
        wanted = {trunk.id: trunk.rates_version for trunk in self._directory.trunks}
        if wanted == self._rates:
            return
        tables = {trunk_id: table for trunk_id, table in self._breaker.rates.items() if trunk_id in wanted}
        for trunk_id, version in wanted.items():
            if self._rates.get(trunk_id) != version:
                tables[trunk_id] = await _rate_table(self._db, trunk_id)
        self._breaker.rates = {trunk_id: table for trunk_id, table in tables.items() if table.rates}
        self._rates = wanted


def alarm_writer(records: Records, directory: Directory, minting: LockMinting, new_id: Callable[[], UUID]) -> Callable[[Raised], None]:
    """What writes an alarm with its lock, the credential that is minted for it, and its domain event, in one transaction, as soon as the
    database takes it."""

    def write_alarm(raised: Raised) -> None:
        at, finding = datetime.fromtimestamp(raised.at, UTC), raised.finding
        row = rows.AlarmRow(
            id=raised.id,
            level=finding.level.value,
            subject_id=raised.subject_id,
            agent_id=raised.agent_id,
            credential_id=raised.credential_id,
            signal=finding.signal.value,
            action=finding.action.value,
            seen=finding.seen,
            most=finding.bound.most,
            times=raised.times,
            hour=int(raised.at // 3600),
            first_at=at,
            last_at=at,
        )

        async def write(connection: Connection) -> list[DomainEvent]:
            alarm_id = await rows.put_alarm(connection, raised.org_id, row)
            if alarm_id is None:
                return []
            is_locked = raised.locks is not None and await rows.lock(connection, raised.org_id, raised.agent_id, raised.locks, alarm_id, at)
            if alarm_id != raised.id and not is_locked:
                return []
            minted = await minting.mint(connection, raised, alarm_id) if is_locked and raised.mints else None
            fields: dict[str, str | int | bool | None] = {
                "agent": str(raised.agent_id),
                "level": row.level,
                "signal": row.signal,
                "action": row.action,
                "seen": round(row.seen),
                "most": None if row.most is None else round(row.most),
                "credential": None if row.credential_id is None else str(row.credential_id),
                "locked": is_locked,
                "minted": None if minted is None else str(minted),
            }
            return [DomainEvent(new_id(), raised.org_id, EventKind.FRAUD_ALARM, alarm_id, at, fields)]

        done = records.write(raised.org_id, "fraud.alarm", write, at_once=True)
        if (credential_id := raised.locks) is not None:
            done.add_done_callback(lambda written: _locked(written, directory, raised.agent_id, credential_id))

    return write_alarm


def _locked(written: "asyncio.Future[bool]", directory: Directory, agent_id: AgentId, credential_id: UUID) -> None:
    """From the next reading on the row tells, where there is one; a row that was refused leaves the lock to this gateway's memory."""
    if not written.cancelled() and written.exception() is None and written.result():
        directory.lock_written(agent_id, credential_id)
    else:
        _log.error("fraud.lock_not_written", agent=str(agent_id))


async def _rate_table(db: Database, trunk_id: TrunkId) -> RateTable:
    found: dict[str, Rate] = {}
    same: dict[Rate, Rate] = {}
    after = ""
    while True:
        async with db.transaction() as connection:
            portion = await rate_rows.portion(connection, trunk_id, after)
        if not portion:
            return RateTable(found)
        for prefix, rate in portion:
            found[prefix] = same.setdefault(rate, rate)
        after = portion[-1][0]


def _row(fact: Fact) -> rows.FactRow:
    at = datetime.fromtimestamp(fact.at, UTC)
    return rows.FactRow(fact.id, fact.agent_id, at, fact.kind, fact.destination, fact.tail, fact.head)


def _fact(row: rows.FactRow, now: datetime) -> Fact:
    """What a row tells, at our own time: a gateway whose clock is ahead of ours did it now, and not in a while."""
    kind = row.kind
    assert kind in ("out", "refused", "short")
    at = min(row.at, now).timestamp()
    return Fact(row.id, row.agent_id, at, kind, row.destination_index, row.tail_mark, row.head_mark)  # type: ignore[arg-type]


def _habits(found: Sequence[rows.HabitRow]) -> dict[AgentId, Habits]:
    known: dict[AgentId, Habits] = {}
    for row in found:
        habits = known.setdefault(row.agent_id, Habits())
        if row.kind == "country":
            habits.countries[row.key] = row.calls
        elif row.kind == "hour":
            habits.hours[int(row.key)] = row.calls
        else:
            habits.calls, habits.days = row.calls, row.days
    return known
