"""What the fraud breaker has in memory alone: what waits for a database that is away, and whom it suspects."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from hushwire.app.sources import SystemRandom
from hushwire.policy.model import Attempt, Channel
from hushwire.services.fraud import MOST_UNWRITTEN, Breaker
from hushwire.services.fraud_sharing import FraudSharing
from hushwire.services.verdicts import verdict_for
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
