"""What the fraud breaker has in memory alone: what waits for a database that is away, and whom it suspects."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

from hushwire.app.sources import SystemRandom
from hushwire.policy.breaker import Action, Bound, Finding, Level, Signal
from hushwire.policy.model import Attempt, Channel
from hushwire.services.feature_routes import FeatureRoutes
from hushwire.services.features import DEFAULT, Dialled, Feature
from hushwire.services.fraud import MOST_UNWRITTEN, Breaker, Raised
from hushwire.services.fraud_minting import LockMinting
from hushwire.services.fraud_sharing import FraudSharing, alarm_writer
from hushwire.services.route import Refused
from hushwire.services.verdicts import Verdicts, verdict_for
from hushwire.store import fraud as rows
from tests.databases import Databases
from tests.services.location import NODE, build, judge

BERLIN = "+4930123456"


async def test_attempts_that_wait_for_a_database_that_is_away_are_bounded(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    org = world.directory.default_organisation
    assert org is not None
    anna = org.by_username["anna"]
    breaker = Breaker(world.directory, world.clock, SystemRandom(), tuple, lambda _live, _why: None, lambda _alarm: None)
    verdict = verdict_for(judge, org, anna, Attempt(BERLIN, Channel.INVITE), datetime.now(UTC))
    for _ in range(MOST_UNWRITTEN + 10):
        breaker.admit(org, anna, verdict, BERLIN)
    assert MOST_UNWRITTEN // 2 <= len(breaker.unwritten[org.id].facts) <= MOST_UNWRITTEN


async def test_an_undone_alarm_clears_what_its_agent_is_suspected_of_and_nobody_else(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    org = world.directory.default_organisation
    assert org is not None
    anna, ben = org.by_username["anna"], org.by_username["ben"]
    breaker = Breaker(world.directory, world.clock, SystemRandom(), tuple, lambda _live, _why: None, lambda _alarm: None)
    sharing = FraudSharing(world.db, world.directory, breaker, world.clock, NODE)
    now = datetime.now(UTC)
    for agent in (anna, ben):
        breaker.counts.of(org.id).agent(agent.id).suspected["two-networks"] = (now - timedelta(minutes=1)).timestamp()
    owner = await databases.connect("main")
    async with owner.organisation(org.id) as connection:
        alarm = rows.AlarmRow(UUID(int=1), "agent", anna.id, anna.id, None, "two-networks", "warn", 1.0, None, 1, 0, now, now)
        await rows.put_alarm(connection, org.id, alarm)
        assert await rows.undo(connection, anna.id, now, "api-key:x", now.date()) == 1
    await sharing._load(org.id)
    suspected = {agent.id: breaker.counts.of(org.id).agent(agent.id).suspected for agent in (anna, ben)}
    assert (set(suspected[anna.id]), set(suspected[ben.id])) == (set(), {"two-networks"})


async def test_a_lock_whose_row_is_refused_holds_on_in_memory(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    org = world.directory.default_organisation
    assert org is not None
    anna, written = org.by_username["anna"], asyncio.get_running_loop().create_future()
    records = SimpleNamespace(write=lambda *_, **__: written)
    finding = Finding(Level.AGENT, Signal.CYCLING, 6.0, Bound(5, Action.LOCK))
    raised = Raised(UUID(int=1), org.id, anna.id, anna.id, anna.id, finding, datetime.now(UTC).timestamp(), locks=anna.id)
    world.directory.lock(anna.id, anna.id)
    minting = LockMinting(world.directory, SystemRandom(), "voice.example.org")
    alarm_writer(records, world.directory, minting, lambda: UUID(int=2))(raised)  # type: ignore[arg-type]
    written.set_result(False)
    await asyncio.sleep(0)
    world.clock.ahead_s = 10.0
    await world.directory._learn_devices(org.id, 0)
    assert world.directory.is_locked(anna.id, anna.id)
    world.directory.lock_written(anna.id, anna.id)
    world.clock.ahead_s = 20.0
    await world.directory._learn_devices(org.id, 0)
    assert not world.directory.is_locked(anna.id, anna.id), "a row that stands tells by itself, and here is none"


async def test_who_tries_by_settings_what_the_rules_refuse_is_counted_as_who_calls_it(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    org = world.directory.default_organisation
    assert org is not None
    anna, asked = org.by_username["anna"], []
    verdicts = Verdicts(judge, lambda: datetime.now(UTC))
    verdicts.admit = lambda _org, agent, verdict, dialled, credential, host: asked.append((agent.id, dialled, credential, host)) or verdict  # type: ignore[func-returns-value]
    wish = Dialled(Feature.FORWARD_ALWAYS, "+33142685300")
    refused = FeatureRoutes(DEFAULT, verdicts).wish(org, anna, wish, "*72+33142685300", anna.id, "192.0.2.7")
    assert isinstance(refused, Refused)
    assert asked == [(anna.id, "+33142685300", anna.id, "192.0.2.7")]
