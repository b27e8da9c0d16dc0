"""Backups on schedule: when they are due, made by the real command, and told when they fail."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from hushwire.app import scheduled
from hushwire.app.scheduled import FIRST_AFTER, RETRY_AFTER, due
from hushwire.services.backups import open_place
from tests.backup.deployed import Deployed, deployed
from tests.polling import until

__all__ = ["deployed"]

START = datetime(2026, 3, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("newest", "failed", "expected"),
    [
        (None, None, START + FIRST_AFTER),
        (START - timedelta(hours=1), None, START + timedelta(hours=23)),
        (START - timedelta(days=9), None, START + FIRST_AFTER),
        (START + DAY, None, START + 2 * DAY),
        (None, START + timedelta(hours=2), START + timedelta(hours=2) + RETRY_AFTER),
        (START + timedelta(hours=1), START - timedelta(hours=2), START + timedelta(hours=25)),
    ],
)
def test_the_next_backup_is_due_a_period_after_the_newest_not_right_at_the_start_and_soon_after_a_failure(
    newest: datetime | None, failed: datetime | None, expected: datetime
) -> None:
    assert due(newest, failed, START, DAY) == expected


async def test_a_backup_that_is_due_is_made_by_the_command_and_one_that_fails_is_told_once_and_tried_again(deployed: Deployed) -> None:
    place = open_place(str(deployed.backups))
    clock = deployed.house.clock
    with capture_logs() as logs:
        task = asyncio.create_task(scheduled.keep_backed_up(deployed.config, clock, look_each_s=0.05))
        try:
            await asyncio.sleep(0)  # it notes its own start before time passes
            assert place.found() == []
            clock.ahead += FIRST_AFTER
            await until(place.found, timeout_s=60, what="the first backup")
            await until(lambda: [log for log in logs if log["event"] == "backup.made"], timeout_s=60, what="it is told")
            away = deployed.backups.with_name("away")
            deployed.backups.rename(away)
            clock.ahead += DAY
            await until(lambda: [log for log in logs if log["event"] == "backup.failed"], what="the failure is told")
            away.rename(deployed.backups)
            clock.ahead += RETRY_AFTER
            await until(lambda: len(place.found()) == 2, timeout_s=60, what="the next backup")
            (failure,) = [log for log in logs if log["event"] == "backup.failed"]
            assert "is the second zone mounted" in failure["reason"]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_without_a_second_zone_or_a_schedule_nothing_is_done(deployed: Deployed) -> None:
    config = deployed.config
    for update in ({"zone2": type(config.zone2)()}, {"backup": config.backup.model_copy(update={"every_h": 0})}):
        async with asyncio.timeout(5):
            await scheduled.keep_backed_up(config.model_copy(update=update), deployed.house.clock)
