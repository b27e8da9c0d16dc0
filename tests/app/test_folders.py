"""The data folder and its lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hushwire.app.folders import Folders, Zone2, account, holder, locked, prepare, prepare_zone2, write_secret
from hushwire.core.errors import ConfigError


def test_folders_are_closed_to_others(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "data")
    prepare(folders, None)
    for folder in (folders.root, folders.keys, folders.spool, folders.store, folders.buckets, folders.run):
        assert os.stat(folder).st_mode & 0o077 == 0


def test_a_data_folder_that_is_a_file_is_a_mistake_to_mend(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match=r"\[data\] dir"):
        prepare(Folders(tmp_path / "data"), None)


def test_one_holder_at_a_time_and_the_second_learns_who(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    with locked(folders) as first:
        assert first
        with locked(folders) as second:
            assert not second
        assert holder(folders) == str(os.getpid())
    with locked(folders) as third:
        assert third


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from hushwire.app.folders import *\n"
        "with locked(Folders(Path(sys.argv[1]))) as ours: print(ours, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": "src"}
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with locked(Folders(tmp_path)) as ours:
            assert not ours
        other.kill()
        other.wait()
    with locked(Folders(tmp_path)) as ours:
        assert ours


def test_sockets_move_to_a_short_path_when_the_data_folder_is_deep(tmp_path: Path) -> None:
    deep = Folders(tmp_path / ("x" * 60) / ("y" * 60))
    assert len(os.fsencode(deep.run / "pg-keyring" / ".s.PGSQL.5432.lock")) <= 107
    assert deep.run != Folders(tmp_path / "other").run


def test_a_secret_is_never_readable_by_others_not_even_over_an_old_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_roles_never_run_as_root() -> None:
    assert account("nobody") is not None
    with pytest.raises(ConfigError, match="never run as root"):
        account("root")
    with pytest.raises(ConfigError, match="no user"):
        account("no-such-user-here")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_data_folder_that_the_dropped_user_cannot_enter_is_said(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="can't enter"):
        prepare(Folders(closed / "data"), account("nobody"))


def test_a_second_zone_is_known_again_and_an_empty_mount_point_is_not_taken_for_it(data_folder: Path) -> None:
    folders, zone2 = Folders(data_folder / "data"), Zone2(data_folder / "zone2")
    prepare(folders, account("nobody"))
    prepare_zone2(folders, zone2, account("nobody"))
    prepare_zone2(folders, zone2, account("nobody"))
    assert os.stat(zone2.buckets).st_mode & 0o777 == 0o700
    zone2.root.rename(data_folder / "unmounted")
    zone2.root.mkdir()
    with pytest.raises(ConfigError, match="mounted"):
        prepare_zone2(folders, zone2, account("nobody"))
    assert list(zone2.root.iterdir()) == []
    zone2.mark.write_text("11111111-1111-1111-1111-111111111111\n")
    with pytest.raises(ConfigError, match="another data folder"):
        prepare_zone2(folders, zone2, account("nobody"))


def test_a_new_data_folder_takes_over_the_second_zone_of_the_one_that_was_lost(data_folder: Path) -> None:
    lost, new, zone2 = Folders(data_folder / "lost"), Folders(data_folder / "new"), Zone2(data_folder / "zone2")
    for folders in (lost, new):
        prepare(folders, account("nobody"))
        prepare_zone2(folders, zone2, account("nobody"))
    assert lost.zone2_mark.read_text() == new.zone2_mark.read_text() == zone2.mark.read_text()
