"""From the spool to the store, and what becomes of recordings whose writer died."""

import asyncio
import os
import shutil
from datetime import timedelta

import pytest

from hushwire.core.errors import RefusedError
from hushwire.recording import entries
from hushwire.services.recordings_shipping import DigestDiffers, Spool
from hushwire.store.outbox import take
from tests.recorded import House, house

__all__ = ["house"]

CONTENT = [
    [entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2), entries.rtp(0, 10, bytes(180))],
    [entries.rtp(1, 25_000, bytes(180))],
    [entries.end(30_000)],
]


async def test_a_closed_recording_is_stored_read_back_and_freed_and_told(house: House) -> None:
    recording = await house.record(CONTENT)
    sealed = house.ciphertext(recording)[0].read_bytes()
    assert await (await house.shipping()).ship_all() == 1
    row = await house.row(recording)
    assert (row.state, row.is_cut, row.frames) == ("stored", False, 3)
    (path,) = house.ciphertext(recording)
    assert path.is_relative_to(house.store)
    assert path.read_bytes() == sealed
    async with (await house.main("worker")).organisation(house.org) as connection:
        (event,) = await take(connection, 10)
    assert (event.kind.value, event.subject, event.fields["crashed"]) == ("recording.stored", recording, False)
    assert await (await house.shipping()).ship_all() == 0


async def test_live_recordings_stay_where_they_are(house: House) -> None:
    recording = await house.record(CONTENT, state="live")
    assert await (await house.shipping()).ship_all() == 0
    assert await (await house.shipping()).mark_crashed() == 0
    assert (await house.row(recording)).state == "live"


async def test_a_file_that_was_changed_in_the_spool_is_not_shipped_and_not_freed(house: House) -> None:
    recording = await house.record(CONTENT)
    path = house.ciphertext(recording)[0]
    path.write_bytes(path.read_bytes()[:-1])
    shipping = await house.shipping()
    with pytest.raises(DigestDiffers):
        await shipping.ship(house.org, recording)
    assert await shipping.ship_all() == 0
    assert path.exists()
    assert (await house.row(recording)).state == "closed"


async def test_what_another_object_of_that_name_holds_is_never_taken_for_ours(house: House) -> None:
    recording = await house.record(CONTENT)
    row = await house.row(recording)
    planted = house.store / row.blob_key
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"something else")
    shipping = await house.shipping()
    with pytest.raises(DigestDiffers):
        await shipping.ship(house.org, recording)
    assert await shipping.ship(house.org, recording)
    assert (await house.row(recording)).state == "stored"


async def test_a_failed_shipment_waits_longer_each_time(house: House) -> None:
    recording = await house.record(CONTENT)
    good = house.ciphertext(recording)[0].read_bytes()
    house.ciphertext(recording)[0].write_bytes(b"")
    shipping = await house.shipping()
    assert await shipping.ship_all() == 0
    (house.folder / "spool" / f"{recording}.hwr").write_bytes(good)
    assert await shipping.ship_all() == 0
    await house.later(seconds=3)
    assert await shipping.ship_all() == 1


async def test_recordings_of_a_node_that_died_become_crashed_are_measured_and_shipped(house: House) -> None:
    recording = await house.record(CONTENT, state="live")
    shipping = await house.shipping()
    await house.later(seconds=100)
    assert await shipping.mark_crashed() == 0
    await house.later(seconds=45)
    assert await shipping.mark_crashed() == 1
    assert (await house.row(recording)).state == "crashed"
    assert await shipping.ship_all() == 1
    row = await house.row(recording)
    assert (row.state, row.is_cut, row.frames, row.duration_ms) == ("stored", True, None, 2500)
    assert row.ended_at == row.started_at + timedelta(milliseconds=2500)


async def test_a_recording_that_is_live_long_after_its_call_ended_is_crashed(house: House) -> None:
    recording = await house.record(CONTENT, state="live")
    row = await house.row(recording)
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute("UPDATE calls SET state = 'ended', ended_at = now() WHERE id = $1", row.call_id)
    shipping = await house.shipping()
    assert await shipping.mark_crashed() == 0
    for seconds, marked in ((130, 0), (45, 1)):
        await house.later(seconds=seconds)
        await house.beat()
        assert await shipping.mark_crashed() == marked


async def test_after_an_outage_of_the_database_nodes_get_time_to_be_seen_again(house: House) -> None:
    recording = await house.record(CONTENT, state="live")
    shipping = await house.shipping()
    await house.later(seconds=200)
    assert await shipping.mark_crashed() == 0
    await house.beat()
    await house.later(seconds=45)
    assert await shipping.mark_crashed() == 0
    await house.later(seconds=50)
    assert await shipping.mark_crashed() == 0
    assert (await house.row(recording)).state == "live"


async def test_a_file_that_is_written_to_is_never_crashed(house: House) -> None:
    recording = await house.record(CONTENT, state="live")
    shipping = await house.shipping()
    for _ in range(4):
        await house.later(seconds=100)
        written = house.clock.now().timestamp()
        os.utime(house.ciphertext(recording)[0], (written, written))
        assert await shipping.mark_crashed() == 0


async def test_a_recording_closed_without_its_measures_is_measured_from_its_file(house: House) -> None:
    recording = await house.record(CONTENT, digest=False)
    await house.later(seconds=6)
    assert await (await house.shipping()).ship_all() == 1
    row = await house.row(recording)
    assert (row.state, row.is_cut, row.frames, row.duration_ms) == ("stored", False, 3, 3000)


async def test_a_recording_whose_file_never_was_is_failed_but_not_when_the_whole_spool_is_away(house: House) -> None:
    recording = await house.record(CONTENT)
    shutil.rmtree(house.spool.folder)
    shipping = await house.shipping()
    assert await shipping.ship_all() == 0
    assert (await house.row(recording)).state == "closed"
    house.spool.folder.mkdir()
    await house.later(seconds=3)
    assert await shipping.ship_all() == 0
    assert (await house.row(recording)).state == "failed"


async def test_a_recording_given_up_for_lost_whose_file_is_there_is_taken_up_again(house: House) -> None:
    recording = await house.record(CONTENT, state="failed", digest=False)
    shipping = await house.shipping()
    assert await shipping.tidy_spool() == 0
    await house.later(seconds=70)
    assert await shipping.tidy_spool() == 1
    assert await shipping.ship_all() == 1
    row = await house.row(recording)
    assert (row.state, row.duration_ms, row.is_cut) == ("stored", 3000, False)


async def test_a_recording_given_up_while_it_is_still_written_waits_for_its_writer(house: House) -> None:
    recording = await house.record(CONTENT, state="crashed")
    shipping = await house.shipping()
    assert await shipping.ship_all() == 0
    assert (house.spool.folder / f"{recording}.hwr").exists()
    await house.later(seconds=6)
    assert await shipping.ship_all() == 1


async def test_a_file_that_came_after_its_erasure_was_swept_is_removed(house: House) -> None:
    recording = await house.record(CONTENT)
    path = house.spool.folder / f"{recording}.hwr"
    content = path.read_bytes()
    await (await house.erasures()).erase(house.org, recording, actor="test", reason="test")
    await (await house.upkeep()).carry_on()
    assert not path.exists()
    path.write_bytes(content)
    assert await (await house.shipping()).tidy_spool() == 1
    assert not path.exists()


async def test_what_in_the_spool_is_no_recording_of_ours_is_left_alone(house: House) -> None:
    for name, content in (("a.hwr", b""), ("b.hwr", b"HWR1" + bytes(100)), ("c.hwr", b"x" * 100)):
        (house.spool.folder / name).write_bytes(content)
    live = await house.record(CONTENT, state="live")
    await house.later(seconds=70)
    assert await (await house.shipping()).tidy_spool() == 0
    assert len(list(house.spool.folder.iterdir())) == 4
    assert (await house.row(live)).state == "live"


async def test_another_nodes_spool_is_left_alone(house: House) -> None:
    recording = await house.record(CONTENT)
    async with (await house.main("worker")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET node_id = gen_random_uuid() WHERE id = $1", recording)
    assert await (await house.shipping()).ship_all() == 0
    assert (await house.row(recording)).state == "closed"


async def test_two_workers_at_once_ship_a_file_once(house: House) -> None:
    made = [await house.record(CONTENT) for _ in range(6)]
    shipped = await asyncio.gather((await house.shipping()).ship_all(), (await house.shipping()).ship_all())
    assert sum(shipped) == 6
    assert {(await house.row(recording)).state for recording in made} == {"stored"}


async def test_a_spool_name_that_leaves_the_folder_is_refused(house: House) -> None:
    recording = await house.record(CONTENT)
    for name in ("../x", "/etc/passwd", "..", "", "a/b"):
        async with (await house.main("worker")).organisation(house.org) as connection:
            await connection.execute("UPDATE recordings SET spool_name = $2 WHERE id = $1", recording, name)
        with pytest.raises(RefusedError):
            Spool(house.folder / "spool").path(await house.row(recording))
