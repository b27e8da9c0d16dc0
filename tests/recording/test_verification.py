"""A store held against its rows: each way in which they can part is named, and nothing that is right is."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from hushwire.core.ids import OrgId, RecordingId
from hushwire.recording import entries
from hushwire.services.verification import Fault, Report, Verification
from hushwire.vault.blobs import Blobs
from tests.held import hold
from tests.recorded import House, house
from tests.store.rows import add_org
from tests.vault.test_envelopes import ours as customers

__all__ = ["house"]

CONTENT = [
    [entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2), entries.rtp(0, 10, bytes(180))],
    [entries.rtp(1, 25_000, bytes(180))],
    [entries.end(30_000)],
]


async def stored(house: House, count: int = 1) -> list[RecordingId]:
    made = [await house.record(CONTENT) for _ in range(count)]
    assert await (await house.shipping()).ship_all() == count
    return made


async def verified(house: House, *, deep: bool = False, blobs: Blobs | None = None, regions: list[str] | None = None) -> Report:
    main, keyring = await house.main("owner"), await house.keyring("owner")
    return await Verification(main, keyring, blobs or house.blobs(), deep=deep).run(regions)


def file_of(house: House, recording: RecordingId) -> Path:
    (path,) = house.store.rglob(f"{recording}*")
    return path


async def test_a_store_that_is_whole_has_no_fault(house: House) -> None:
    made = await stored(house, 3)
    crashed = await house.record(CONTENT, state="crashed")
    house.rest(crashed)
    assert await (await house.shipping()).ship_all() == 1
    waiting, live = await house.record(CONTENT), await house.record(CONTENT, state="live")
    for deep in (False, True):
        report = await verified(house, deep=deep)
        assert report.is_whole, report.faults
        assert (report.objects, report.recordings, report.waiting, report.opened) == (4, 6, 2, 4 if deep else 0)
        assert report.bytes == sum(file_of(house, recording).stat().st_size for recording in [*made, crashed])
    assert waiting != live


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _cut_to_nothing(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (Path.unlink, Fault.MISSING),
        (_truncate, Fault.TRUNCATED),
        (_cut_to_nothing, Fault.TRUNCATED),
        (_alter, Fault.ALTERED),
        (_grow, Fault.ALTERED),
    ],
)
async def test_each_harm_to_an_object_is_named(house: House, harm: Callable[[Path], object], fault: Fault) -> None:
    harmed, untouched = await stored(house, 2)
    harm(file_of(house, harmed))
    report = await verified(house)
    assert [(found.fault, found.recording_id, found.org_id) for found in report.faults] == [(fault, harmed, house.org)]
    assert untouched != harmed


async def test_objects_put_in_each_others_place_are_swapped(house: House) -> None:
    first, second = await stored(house, 2)
    one, two = file_of(house, first), file_of(house, second)
    kept = one.read_bytes()
    shutil.copyfile(two, one)
    two.write_bytes(kept)
    report = await verified(house)
    assert {(found.fault, found.recording_id) for found in report.faults} == {(Fault.SWAPPED, first), (Fault.SWAPPED, second)}


async def test_another_organisations_object_is_foreign(house: House) -> None:
    (ours,) = await stored(house)
    globex = OrgId(await add_org(await house.main("owner"), "globex"))
    await (await house.keyring("owner")).create_organisation(globex)
    acme, house.org = house.org, globex
    (theirs,) = await stored(house)
    house.org = acme
    shutil.copyfile(file_of(house, theirs), file_of(house, ours))
    report = await verified(house)
    assert [(found.fault, found.recording_id) for found in report.faults] == [(Fault.FOREIGN, ours)]


async def test_objects_that_no_row_knows_are_orphaned_and_their_names_are_not_repeated(house: House) -> None:
    (kept,) = await stored(house)
    folder = file_of(house, kept).parent
    unknown = uuid4()
    for name in (f"{unknown}-0.hwr", f"{kept}-1.hwr", "Anna Schmidt +4930123456.hwr"):
        (folder / name).write_bytes(b"HWR1")
    report = await verified(house)
    assert [found.fault for found in report.faults] == [Fault.ORPHANED] * 3
    assert {found.recording_id for found in report.faults} == {unknown, kept, None}
    assert "Anna" not in repr(report)


async def test_what_was_erased_waits_for_its_sweep_and_is_a_fault_after_it(house: House) -> None:
    (recording,) = await stored(house)
    path = file_of(house, recording)
    content = path.read_bytes()
    await (await house.erasures()).erase(house.org, recording, actor="test:1", reason="test")
    report = await verified(house, deep=True)
    assert (report.is_whole, report.to_sweep) == (True, 1)
    await (await house.upkeep()).carry_on()
    assert (await verified(house)).is_whole
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert [found.fault for found in (await verified(house)).faults] == [Fault.ERASED]


async def test_an_object_in_another_regions_store_is_misplaced(house: House, tmp_path: Path) -> None:
    blobs = Blobs.open({"eu": (tmp_path / "eu").as_uri(), "us": (tmp_path / "us").as_uri()})
    (recording,) = await stored(house)
    shutil.copytree(house.store, tmp_path / "eu", dirs_exist_ok=True)
    assert (await verified(house, blobs=blobs)).is_whole
    shutil.copytree(house.store, tmp_path / "us", dirs_exist_ok=True)
    for regions in (None, ["us"]):
        report = await verified(house, blobs=blobs, regions=regions)
        assert [(found.fault, found.region, found.recording_id) for found in report.faults] == [(Fault.MISPLACED, "us", recording)]
    assert (await verified(house, blobs=blobs, regions=["eu"])).is_whole


async def test_a_deep_look_finds_frames_that_were_never_right_and_keys_that_are_gone(house: House) -> None:
    bad = await house.record([*CONTENT[:2], [entries.rtp(0, 26_000, bytes(180))], [entries.end(30_000)]])
    path = house.spool.folder / f"{bad}.hwr"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    async with (await house.main("worker")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET digest = $2 WHERE id = $1", bad, hashlib.sha256(data).digest())
    assert await (await house.shipping()).ship_all() == 1
    keyless, fine = await stored(house, 2)
    await (await house.keyring("worker")).destroy_data_key(house.org, "recording", keyless)
    assert (await verified(house)).is_whole
    report = await verified(house, deep=True)
    assert {(found.fault, found.recording_id, found.detail) for found in report.faults} == {
        (Fault.UNREADABLE, bad, "damaged"),
        (Fault.KEYLESS, keyless, ""),
    }
    assert fine


async def test_what_only_the_customer_opens_is_held_against_its_digest_and_withheld_from_a_deep_look(house: House) -> None:
    ours = await stored(house)
    await hold(await house.keyring("api"), house.org, "customer", customers("x25519"))
    theirs = await stored(house)
    report = await verified(house, deep=True)
    assert report.is_whole, report.faults
    assert (report.objects, report.opened, report.withheld) == (2, 1, 1)
    _alter(file_of(house, theirs[0]))
    _alter(file_of(house, ours[0]))
    assert (await verified(house, deep=True)).counts == {Fault.ALTERED: 2}
