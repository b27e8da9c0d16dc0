"""The sealed journal: what it keeps, what a death in the middle of a write leaves, and that nobody else reads it."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hushwire.vault import journal
from hushwire.vault.journal import MAGIC, NAME, Journal, read

KEY = bytes(range(32))


def opened(folder: Path) -> Journal:
    return Journal(folder, KEY)


def whole(words: dict[UUID, bytes]) -> dict[UUID, dict[int, bytes]]:
    """Things of one part."""
    return {name: {0: data} for name, data in words.items()}


def test_the_next_process_finds_the_newest_word_about_what_is_not_over(tmp_path: Path) -> None:
    one, two, three = uuid4(), uuid4(), uuid4()
    first = opened(tmp_path)
    first.put(one, b"early")
    first.put(two, b"two")
    first.put(three, b"")
    assert first.commit()
    first.put(one, b"late")
    first.drop(two)
    first.put(three, b"pending, never written")
    first.drop(uuid4())
    assert read(tmp_path / NAME, KEY) == whole({one: b"early", two: b"two", three: b""})
    assert first.commit()
    second = opened(tmp_path)
    assert second.recover() == whole({one: b"late", three: b"pending, never written"})
    second.drop(one)
    assert second.commit()
    assert opened(tmp_path).recover() == whole({three: b"pending, never written"})


def test_parts_are_said_anew_one_by_one_and_are_over_together(tmp_path: Path) -> None:
    one, two = uuid4(), uuid4()
    first = opened(tmp_path)
    first.put(one, b"begun")
    first.put(one, b"talks", 2)
    first.put(two, b"begun")
    assert first.commit()
    first.put(one, b"talks on", 2)
    first.put(one, b"", 1)
    first.drop(two)
    first.put(two, b"and anew", 3)
    assert first.commit()
    expected = {one: {0: b"begun", 1: b"", 2: b"talks on"}, two: {3: b"and anew"}}
    assert read(tmp_path / NAME, KEY) == expected
    second = opened(tmp_path)
    assert second.recover() == expected
    second.put(two, b"never written")
    second.drop(two)
    assert second.commit()
    assert second.commit()
    assert read(tmp_path / NAME, KEY) == {one: expected[one]}


def test_nothing_written_means_no_file(tmp_path: Path) -> None:
    assert opened(tmp_path).recover() == {}
    assert opened(tmp_path).commit()
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_anywhere_gives_every_record_before_the_cut_and_never_raises(tmp_path: Path) -> None:
    made = opened(tmp_path)
    names = [UUID(int=n) for n in range(1, 6)]
    sizes = []
    for name in names:
        made.put(name, b"x" * name.int)
        assert made.commit()
        sizes.append((tmp_path / NAME).stat().st_size)
    written = (tmp_path / NAME).read_bytes()
    for length in range(len(written) + 1):
        (tmp_path / NAME).write_bytes(written[:length])
        expected = whole({name: b"x" * name.int for name, size in zip(names, sizes, strict=True) if size <= length})
        assert read(tmp_path / NAME, KEY) == expected


def test_an_altered_byte_hides_its_record_and_what_follows_it_only(tmp_path: Path) -> None:
    made = opened(tmp_path)
    names = [UUID(int=n) for n in range(1, 4)]
    ends = []
    for name in names:
        made.put(name, b"word")
        assert made.commit()
        ends.append((tmp_path / NAME).stat().st_size)
    written = bytearray((tmp_path / NAME).read_bytes())
    for place in range(len(MAGIC) + 16, len(written)):
        altered = bytearray(written)
        altered[place] ^= 1
        (tmp_path / NAME).write_bytes(altered)
        expected = whole({name: b"word" for name, end in zip(names, ends, strict=True) if end <= place})
        assert read(tmp_path / NAME, KEY) == expected


def test_neither_another_key_nor_another_order_of_records_opens_it(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.put(UUID(int=1), b"secret words")
    assert made.commit()
    made.put(UUID(int=2), b"secret words")
    assert made.commit()
    written = (tmp_path / NAME).read_bytes()
    assert b"secret" not in written
    assert read(tmp_path / NAME, bytes(32)) == {}
    start = len(MAGIC) + 16
    half = (len(written) - start) // 2
    (tmp_path / NAME).write_bytes(written[:start] + written[start + half :] + written[start : start + half])
    assert read(tmp_path / NAME, KEY) == {}


def test_it_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.put(uuid4(), b"x")
    assert made.commit()
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_long_life_does_not_make_it_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMPACT_BYTES", 20_000)
    made = opened(tmp_path)
    kept = uuid4()
    made.put(kept, b"kept")
    for n in range(2_000):
        made.put(UUID(int=n), os.urandom(100))
        assert made.commit()
        made.drop(UUID(int=n))
        assert made.commit()
        assert (tmp_path / NAME).stat().st_size < 21_000
    assert read(tmp_path / NAME, KEY) == whole({kept: b"kept"})
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


FULL = """
import resource, signal, sys
from pathlib import Path
from uuid import UUID
from hushwire.vault.journal import NAME, Journal, read
folder, key, one, two = Path(sys.argv[1]), bytes(range(32)), UUID(int=1), UUID(int=2)
made = Journal(folder, key)
made.put(one, b"one")
assert made.commit()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / NAME).stat().st_size + 10, hard))
made.put(two, b"two" * 100)
assert not made.commit()
assert read(folder / NAME, key) == {one: {0: b"one"}}
made.put(one, b"one again")
assert not made.commit()
assert read(folder / NAME, key) == {one: {0: b"one"}}
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
made.put(UUID(int=3), b"three")
assert made.commit()
assert read(folder / NAME, key) == {one: {0: b"one again"}, two: {0: b"two" * 100}, UUID(int=3): {0: b"three"}}
"""


def test_what_is_over_leaves_the_file_when_it_is_tidied(tmp_path: Path) -> None:
    made = opened(tmp_path)
    over, goes_on = uuid4(), uuid4()
    made.put(over, b"over" * 1000)
    made.put(goes_on, b"goes on")
    assert made.commit()
    made.tidy()
    assert (tmp_path / NAME).stat().st_size > 4000
    made.drop(over)
    made.tidy()
    assert (tmp_path / NAME).stat().st_size < 200
    assert read(tmp_path / NAME, KEY) == whole({goes_on: b"goes on"})
    made.put(goes_on, b"still")
    assert made.commit()
    assert opened(tmp_path).recover() == whole({goes_on: b"still"})
    made.drop(goes_on)
    made.tidy()
    assert list(tmp_path.iterdir()) == []
    made.put(goes_on, b"again")
    assert made.commit()
    assert read(tmp_path / NAME, KEY) == whole({goes_on: b"again"})


def test_a_full_disk_loses_nothing_that_was_written_and_what_waited_is_written_later(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("journal.not_written") == 1
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


WRITER = """
import sys, itertools
from pathlib import Path
from uuid import UUID
import structlog
from hushwire.vault.journal import Journal
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
made = Journal(Path(sys.argv[1]), bytes(range(32)))
made.recover()
for n in itertools.count():
    made.put(UUID(int=n % 7), str(n).encode() * 300)
    assert made.commit()
    print(n, flush=True)
"""


def test_killed_at_any_instant_it_has_all_that_was_said_to_be_written(tmp_path: Path) -> None:
    for lines in (1, 40, 200):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                said = int(writer.stdout.readline())
            writer.kill()
            said = max([said, *(int(line) for line in writer.stdout.read().split())])
        newest = max(int(data[: len(data) // 300]) for (data,) in map(dict.values, read(tmp_path / NAME, KEY).values()))
        assert newest in (said, said + 1)
