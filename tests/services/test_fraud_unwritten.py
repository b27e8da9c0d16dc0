"""What the fraud breaker counts while the database is away waits in memory, and takes no more of it than it may."""

from datetime import UTC, datetime
from pathlib import Path

from hushwire.app.sources import SystemRandom
from hushwire.policy.model import Attempt, Channel
from hushwire.services.fraud import MOST_UNWRITTEN, Breaker
from hushwire.services.verdicts import verdict_for
from tests.databases import Databases
from tests.services.location import build, judge

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
