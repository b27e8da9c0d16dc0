"""Strangers' files: whatever the process that decodes them does, it says so much, takes so long, and nothing of it is left."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hushwire.services.sound_decoding import Busy, Decoding, Unusable
from tests.polling import until

HEAD = "import os, sys, time; sys.stdin.buffer.read(); out = sys.stdout.buffer; "


def told(program: str) -> list[str]:
    return [sys.executable, "-I", "-c", HEAD + program]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("[out.write(bytes(1 << 16)) for _ in iter(int, 1)]", "no sound"),
        ("[sys.stderr.write('x' * 65536) for _ in iter(int, 1)]", "no sound"),
        ("out.write(bytes(3))", "no sound"),
        ("out.write(bytes((0, 9)) + b'short')", "no sound"),
        ("out.write((bytes((0, 1)) + b'x') * 101)", "no sound"),
        ("sys.stderr.write('the file: ' + 'x' * 5000); sys.exit(3)", "the file: x"),
    ],
    ids=["endless", "endless words", "no packet", "torn", "more packets than seconds", "long words"],
)
async def test_what_is_said_beyond_bounds_is_no_sound_and_ends_whoever_says_it(program: str, why: str) -> None:
    begun = time.monotonic()
    found = await Decoding(command=lambda _most_s: told(program), within_s=60).packets(b"a file", 1)
    assert isinstance(found, Unusable)
    assert why in found.why
    assert len(found.why) <= 200
    assert time.monotonic() - begun < 50, "it was ended, and not waited for"


async def test_a_decoder_that_does_not_end_is_killed_with_what_it_began(tmp_path: Path) -> None:
    place = tmp_path / "child"
    program = f"child = os.fork() or time.sleep(600); open({str(place)!r}, 'w').write(str(child)); time.sleep(600)"
    found = await Decoding(command=lambda _most_s: told(program), within_s=5).packets(b"a file", 1)
    assert found == Unusable("the file: takes too long to read")
    child = int(place.read_text())
    await until(lambda: not is_running(child), timeout_s=10)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def test_who_waits_has_the_next_place_and_who_would_wait_for_long_is_told(tmp_path: Path) -> None:
    def command(most_s: int) -> Sequence[str]:
        go = tmp_path / str(most_s)
        os.mkfifo(go)
        return told(f"open({str(go)!r}).read(); out.write(bytes((0, 1)) + b'x')")

    decoding = Decoding(at_once=2, command=command, waits_s=3600)
    first, second, waiting = (asyncio.create_task(decoding.packets(b"", most_s)) for most_s in (1, 2, 3))
    await until(lambda: (tmp_path / "2").exists())
    late = Decoding(at_once=2, command=command, waits_s=0.0)
    late._places = decoding._places
    assert await late.packets(b"", 4) == Busy()
    assert not (tmp_path / "3").exists()
    await asyncio.to_thread((tmp_path / "2").write_text, "")
    assert await second == [b"x"]
    await until(lambda: (tmp_path / "3").exists())
    again = asyncio.create_task(decoding.packets(b"", 5))
    for name in ("3", "1"):
        await asyncio.to_thread((tmp_path / name).write_text, "")
    assert (await first, await waiting) == ([b"x"], [b"x"])
    await until(lambda: (tmp_path / "5").exists())
    await asyncio.to_thread((tmp_path / "5").write_text, "")
    assert await again == [b"x"]
