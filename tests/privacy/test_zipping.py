"""The archive that is written as a stream: other programs open it, and it is taken up again after each file."""

import io
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.privacy.zipping import Zipper

AT = datetime(2026, 11, 25, 12, 30, 14, tzinfo=UTC)
names = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=20)


def add(zipper: Zipper, name: str, content: bytes, piece: int = 7) -> bytes:
    parts = [zipper.begin(name)]
    parts += [zipper.add(content[start : start + piece]) for start in range(0, len(content), piece)]
    return b"".join([*parts, zipper.end()])


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=300), max_size=8))
def test_what_goes_in_comes_out_of_another_reader(files: dict[str, bytes]) -> None:
    zipper = Zipper(AT)
    archive = b"".join(add(zipper, name, content) for name, content in files.items()) + zipper.finish()
    assert len(archive) == zipper.offset
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        assert read.testzip() is None
        assert {info.filename: read.read(info) for info in read.infolist()} == files
        assert all(info.date_time == (2026, 11, 25, 12, 30, 14) for info in read.infolist())


@given(st.integers(0, 5))
def test_an_archive_taken_up_again_after_any_file_is_the_same_archive(stop: int) -> None:
    files = [(f"file-{number}", bytes([number]) * 1000 * number) for number in range(6)]
    whole = Zipper(AT)
    wanted = b"".join(add(whole, *file) for file in files) + whole.finish()
    first = Zipper(AT)
    begun = b"".join(add(first, *file) for file in files[:stop])
    second = Zipper(AT, first.entries, first.offset)
    assert begun + b"".join(add(second, *file) for file in files[stop:]) + second.finish() == wanted


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_finds_nothing_wrong(tmp_path: Path) -> None:
    zipper = Zipper(AT)
    (tmp_path / "a.zip").write_bytes(add(zipper, "a/b.txt", b"hello" * 1000) + add(zipper, "leer.txt", b"") + zipper.finish())
    subprocess.run(["unzip", "-t", str(tmp_path / "a.zip")], check=True, stdout=subprocess.DEVNULL)
