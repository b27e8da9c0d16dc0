"""What doctor says of the second zone and of renewals."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from hushwire.app import doctor_keys
from hushwire.app.config import Config, load
from hushwire.app.doctor_keys import _renewals, _standby
from hushwire.app.folders import Folders, Zone2, account, prepare, prepare_zone2
from hushwire.vault import renewal
from tests.databases import Databases
from tests.recorded import House, house

__all__ = ["house"]


def config(data_folder: Path, *, zone2: bool = True) -> Config:
    variables = {"HUSHWIRE_DATA__DIR": str(data_folder / "data"), "HUSHWIRE_CONFIG": ""}
    return load(None, variables | ({"HUSHWIRE_ZONE2__DIR": str(data_folder / "zone2")} if zone2 else {}))


def zone(settings: Config, *, is_running: bool = False) -> tuple[bool, str]:
    return doctor_keys._zone(settings, Folders(settings.data.dir), is_running=is_running)


def test_a_deployment_without_a_second_zone_is_told_so_aloud(data_folder: Path) -> None:
    is_right, words = zone(config(data_folder, zone2=False))
    assert is_right
    assert "THERE IS NONE" in words


def test_a_second_zone_is_shown_as_it_is_new_in_sync_away_or_unmounted(data_folder: Path) -> None:
    settings = config(data_folder)
    folders, zone2 = Folders(settings.data.dir), Zone2(data_folder / "zone2")
    assert zone(settings) == (True, f"{zone2.root}: made at the first start")
    prepare(folders, account("nobody"))
    prepare_zone2(folders, zone2, account("nobody"))
    is_right, words = zone(settings)
    assert is_right
    assert "own disk" in words
    folders.zone2_state.write_text('{"state": "in-sync", "since": "2026-01-02T03:04:05+00:00"}')
    assert zone(settings, is_running=True)[0]
    folders.zone2_state.write_text('{"state": "away", "since": "2026-01-02T03:04:05+00:00"}')
    is_right, words = zone(settings, is_running=True)
    assert not is_right
    assert "AWAY since 2026-01-02T03:04:05" in words
    zone2.root.rename(data_folder / "unmounted")
    is_right, words = zone(settings)
    assert not is_right
    assert "mounted" in words


async def test_a_server_of_the_operators_is_asked_for_its_standby(databases: Databases) -> None:
    administrator = databases.dsn("keyring", "administrator")
    assert (await _standby(administrator, is_needed=False))[0]
    is_right, words = await _standby(administrator, is_needed=True)
    assert not is_right
    assert "hushwire_zone2" in words


async def test_a_renewal_under_way_is_shown_with_how_many_of_how_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "_BATCH", 2)
    keyring = await house.keyring("worker")
    await (await house.keyring("gateway")).new_data_keys(house.org, "recording", [uuid4() for _ in range(5)])
    bucket = (await keyring.current_bucket(house.org)).id
    await renewal._begin(keyring, house.org, bucket)
    await renewal._move_batch(keyring, house.org, bucket)
    connection = await asyncpg.connect(house.databases.dsn("keyring", "owner"))
    try:
        assert await _renewals(connection) == [("renewal", True, f"bucket {bucket}: 2 of 5 survivors moved, 3 to go")]
        await renewal.renew_bucket(keyring, house.org, bucket)
        assert await _renewals(connection) == [("renewals", True, "none under way")]
    finally:
        await connection.close()
