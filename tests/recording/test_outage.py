"""The object store away for two hours, for real and by the clock: the spool holds, alarms, and clears in order."""

import shutil
from datetime import timedelta

import structlog

from hushwire.core.ids import RecordingId
from hushwire.recording import entries
from hushwire.services.recordings_shipping import Backlog, Shipping
from hushwire.services.spool_watch import FULL_BYTES, LOW_BYTES, SpoolState, SpoolWatch, judged
from tests.objectstores import Weed, weed
from tests.recorded import Chance, House, house

__all__ = ["house", "weed"]

CONTENT = [[entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2), entries.rtp(0, 10, bytes(180))], [entries.end(30_000)]]


async def test_two_hours_without_the_store_lose_nothing_alarm_and_clear_in_order(house: House, weed: Weed) -> None:
    blobs = weed.blobs("eu")
    main, keyring = await house.main("worker"), await house.keyring("worker")
    shipping = Shipping(main, keyring, blobs, house.spool, house.node, house.clock, Chance())
    watch = SpoolWatch(house.spool, house.clock)
    before = await house.record(CONTENT)
    assert await shipping.ship_all() == 1
    assert await watch.look() == 0

    weed.kill()
    recorded: list[RecordingId] = []
    with structlog.testing.capture_logs() as logs:
        for _ in range(12):
            recorded.append(await house.record(CONTENT))
            assert await shipping.ship_all() == 0
            await watch.look()
            await house.later(minutes=10)
        await watch.look()
    assert [entry["event"] for entry in logs if entry["event"].startswith("spool.")] == ["spool.late", "spool.alarm"]
    attempts = [entry for entry in logs if entry["event"] == "store.away"]
    assert 6 < len(attempts) <= 12
    assert not [entry for entry in logs if entry["event"] == "recording.not_shipped"]
    backlog = house.spool.backlog(house.clock.now())
    assert backlog.files == 12
    assert backlog.bytes == sum(path.stat().st_size for path in house.spool.folder.iterdir())
    assert 7000 < backlog.oldest_s < 7400
    assert {(await house.row(recording)).state for recording in recorded} == {"closed"}
    assert next(house.spool.folder.iterdir()).read_bytes()[:4] == b"HWR1"

    weed.start()
    await house.later(minutes=2)
    with structlog.testing.capture_logs() as logs:
        assert await shipping.ship_all() == 12
        assert await watch.look() == 1
    stored = [entry["recording_id"] for entry in logs if entry["event"] == "recording.stored"]
    assert stored == [str(recording) for recording in recorded]
    assert [entry["event"] for entry in logs if entry["event"].startswith(("store.", "spool."))] == ["store.back", "spool.cleared"]
    assert list(house.spool.folder.iterdir()) == []
    for recording in (before, *recorded):
        row = await house.row(recording)
        assert row.state == "stored"
        assert await blobs.size("eu", row.blob_key) == row.size_bytes


async def test_while_a_store_is_away_it_is_asked_by_one_file_at_a_time_and_other_regions_are_not_held_up(house: House, weed: Weed) -> None:
    blobs = weed.blobs("eu", "us")
    main, keyring = await house.main("worker"), await house.keyring("worker")
    shipping = Shipping(main, keyring, blobs, house.spool, house.node, house.clock, Chance())
    asked: list[str] = []
    put = blobs.put_file

    async def away(residency: str, key: str, path: object) -> int:
        asked.append(residency)
        if residency == "eu":
            weed.kill()
        return await put(residency, key, path)  # type: ignore[arg-type]

    blobs.put_file = away  # type: ignore[method-assign, assignment]
    made = [await house.record(CONTENT) for _ in range(5)]
    async with main.organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET region = 'us' WHERE id = $1", made[-1])
    assert await shipping.ship_all() == 0
    assert asked == ["eu", "us"]
    assert await shipping.ship_all() == 0
    assert asked == ["eu", "us"]
    await house.later(seconds=3)
    assert await shipping.ship_all() == 0
    assert asked == ["eu", "us"] * 2
    weed.start()
    await house.later(minutes=1)
    blobs.put_file = put  # type: ignore[method-assign]
    assert await shipping.ship_all() == 5


def test_a_spool_is_judged_by_what_waits_and_by_its_room() -> None:
    room = 2 * LOW_BYTES
    assert judged(Backlog(0, 0, 0.0, room)) is SpoolState.OK
    assert judged(Backlog(9, 9, 299.0, room)) is SpoolState.OK
    assert judged(Backlog(9, 9, 300.0, room)) is SpoolState.LATE
    assert judged(Backlog(9, 9, 3600.0, room)) is SpoolState.ALARM
    assert judged(Backlog(0, 0, 0.0, LOW_BYTES - 1)) is SpoolState.LATE
    assert judged(Backlog(0, 0, 0.0, FULL_BYTES - 1)) is SpoolState.ALARM
    assert judged(None) is SpoolState.AWAY


async def test_a_spool_that_is_not_there_is_told_once(house: House) -> None:
    watch = SpoolWatch(house.spool, house.clock)
    shutil.rmtree(house.spool.folder)
    assert [await watch.look(), await watch.look()] == [1, 0]
    house.spool.folder.mkdir()
    assert await watch.look() == 1
    assert timedelta() == house.clock.ahead
