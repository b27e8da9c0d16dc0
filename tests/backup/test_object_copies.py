"""Copies of sealed objects in the second zone: as they are, without what was erased, and no accident of the store reaches them."""

from pathlib import Path
from uuid import uuid4

from hushwire.core.ids import RecordingId
from hushwire.privacy.endings import ERASED_KINDS
from hushwire.services.erasure import Erased
from hushwire.services.erasure_upkeep import Upkeep
from hushwire.services.object_copies import ObjectCopies
from hushwire.vault import tombstones
from hushwire.vault.blobs import Blobs
from hushwire.vault.tombstones import Tombstone
from tests.privacy.test_erasure import WHO, entry_of
from tests.recorded import House, house

__all__ = ["house"]


def copies(house: House) -> Blobs:
    return Blobs.open({"*": (house.folder / "zone2").as_uri()})


async def service(house: House) -> ObjectCopies:
    return ObjectCopies(await house.main("worker"), await house.db("keyring", "worker"), house.blobs(), copies(house))


def copied(house: House, recording: RecordingId) -> list[Path]:
    return [path for path in (house.folder / "zone2").rglob(f"*{recording}*") if path.is_file()]


async def shipped(house: House) -> RecordingId:
    recording = await house.record()
    await (await house.shipping()).ship_all()
    return recording


async def test_what_is_stored_is_copied_once_and_byte_for_byte(house: House) -> None:
    recordings = [await shipped(house) for _ in range(3)]
    assert await (await service(house)).carry_on() == 3
    for recording in recordings:
        (stored,), (copy,) = house.ciphertext(recording), copied(house, recording)
        assert copy.read_bytes() == stored.read_bytes()
    assert await (await service(house)).carry_on() == 0


async def test_an_erasure_sweeps_the_copy_too_and_asks_for_it_before_it_says_swept(house: House) -> None:
    recording, kept = await shipped(house), await shipped(house)
    await (await service(house)).carry_on()
    erasures = await house.erasures("worker")
    assert isinstance(await erasures.erase(house.org, recording, **WHO), Erased)
    main, keyring = await house.main("worker"), await house.keyring("worker")
    await Upkeep(main, keyring, house.blobs(), house.spool, house.node, house.clock, erasures, copies(house)).carry_on()
    assert copied(house, recording) == []
    assert len(copied(house, kept)) == 1
    entry = await entry_of(house, recording)
    assert entry is not None
    assert entry.swept_at is not None
    assert entry.evidence is not None
    assert entry.evidence["stores"]["second zone *"] == 0


async def test_while_the_second_zone_is_away_an_erasure_is_not_called_swept(house: House) -> None:
    recording = await shipped(house)
    await (await service(house)).carry_on()
    zone = house.folder / "zone2"
    at_hand = copies(house)
    zone.rename(house.folder / "away")
    zone.touch()  # a folder that can't be entered: root passes permissions
    erasures = await house.erasures("worker")
    await erasures.erase(house.org, recording, **WHO)
    main, keyring = await house.main("worker"), await house.keyring("worker")
    upkeep = Upkeep(main, keyring, house.blobs(), house.spool, house.node, house.clock, erasures, at_hand)
    await upkeep.carry_on()
    entry = await entry_of(house, recording)
    assert entry is not None
    assert entry.swept_at is None
    zone.unlink()
    (house.folder / "away").rename(zone)
    await upkeep.carry_on()
    entry = await entry_of(house, recording)
    assert entry is not None
    assert entry.swept_at is not None
    assert copied(house, recording) == []


async def test_a_store_that_lost_everything_takes_no_copy_with_it_and_gets_them_back(house: House) -> None:
    recording, erased = await shipped(house), await shipped(house)
    await (await service(house)).carry_on()
    content = house.ciphertext(recording)[0].read_bytes()
    stone = Tombstone(uuid4(), "recording", erased, house.clock.now())
    await tombstones.write(await house.db("keyring", "worker"), house.org, [stone])
    for each in (recording, erased):
        house.ciphertext(each)[0].unlink()
    await (await service(house)).carry_on()
    assert len(copied(house, recording)) == 1, "the copy went with the original"
    assert copied(house, erased) == []
    assert await (await service(house)).bring_back() == 1
    assert house.ciphertext(recording)[0].read_bytes() == content
    assert house.ciphertext(erased) == []


async def test_what_the_keyring_says_was_erased_leaves_both_even_where_its_row_was_lost_by_a_restore(house: House) -> None:
    recording = await shipped(house)
    await (await service(house)).carry_on()
    async with (await house.main("owner")).organisation(house.org) as connection:
        await connection.execute("DELETE FROM recordings WHERE id = $1", recording)
    assert "recording" in ERASED_KINDS
    stone = Tombstone(uuid4(), "recording", recording, house.clock.now())
    await tombstones.write(await house.db("keyring", "worker"), house.org, [stone])
    assert await (await service(house)).carry_on() == 1
    assert house.ciphertext(recording) == []
    assert copied(house, recording) == []
