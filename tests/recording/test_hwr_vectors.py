"""The vectors that every implementation of the format shares (tests/vectors/hwr)."""

import json
import runpy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hushwire.recording.failures import Failure, RecordingError
from hushwire.recording.hwr import Closed, Frame, Identity, Order, Reader
from tests.native import hwr_reader

FOLDER = Path(__file__).parent.parent / "vectors" / "hwr"
SHARED = json.loads((FOLDER / "vectors.json").read_text())


def entries_of(vector: dict[str, Any]) -> list[Any]:
    return list(SHARED["further_entries" if vector["name"] == "legs-up-to-15" else "entries"][: vector["frames"]])


@pytest.mark.parametrize("vector", SHARED["vectors"], ids=lambda vector: vector["name"])
def test_vector_reads_as_it_states(vector: dict[str, Any]) -> None:
    identity = Identity(UUID(SHARED["org_id"]), UUID(SHARED["recording_id"]), SHARED["segment"])
    noted = vector["closed"]
    closed = None if noted is None else Closed(noted["frames"], bytes.fromhex(noted["sha256"]))
    reader, order = Reader(bytes.fromhex(SHARED["key"]), identity, closed=closed, crashed=vector["crashed"]), Order()
    frames: list[Frame] = []
    failure = None
    try:
        for frame in reader.frames(bytes.fromhex(vector["file"])):
            frames.append(frame)
            list(order.checked(frame))
        reader.finish()
    except RecordingError as error:
        failure = error.failure.value
    assert failure == vector["failure"]
    assert len(frames) == vector["frames"]
    if failure == Failure.BAD_ENTRIES:
        return
    found = [[[int(e.kind), e.leg, e.time, e.data.hex()] for e in frame.entries()] for frame in frames]
    assert found == entries_of(vector)


def test_the_vectors_are_those_that_the_reference_writer_makes() -> None:
    assert runpy.run_path(str(FOLDER / "make.py"))["vectors"]() == SHARED


def test_every_failure_of_the_format_has_a_vector() -> None:
    assert {vector["failure"] for vector in SHARED["vectors"]} == {None} | {failure.value for failure in Failure}


@pytest.mark.parametrize("vector", [v for v in SHARED["vectors"] if v["failure"] is None], ids=lambda vector: vector["name"])
def test_the_stand_alone_reader_finds_the_same_in_what_is_whole(vector: dict[str, Any]) -> None:
    found = hwr_reader.read(bytes.fromhex(vector["file"]), bytes.fromhex(SHARED["key"]))
    assert len(found.frames) == vector["frames"]
    data = [[entry.data.hex() for entry in frame] for frame in found.frames]
    assert data == [[entry[3] for entry in frame] for frame in entries_of(vector)]


def test_a_bit_flipped_at_any_byte_of_a_small_file_is_named() -> None:
    whole = next(vector for vector in SHARED["vectors"] if vector["name"] == "whole")
    good, identity = bytes.fromhex(whole["file"]), Identity(UUID(SHARED["org_id"]), UUID(SHARED["recording_id"]), SHARED["segment"])
    named: dict[int, Failure] = {}
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= 1 << (place % 8)
        reader = Reader(bytes.fromhex(SHARED["key"]), identity)
        with pytest.raises(RecordingError) as caught:
            reader.feed(bytes(changed))
            reader.finish()
        named[place] = caught.value.failure
    assert {named[place] for place in range(4)} == {Failure.NOT_A_RECORDING}
    assert {named[place] for place in range(4, 8)} == {Failure.UNSUPPORTED}
    assert {named[place] for place in range(8, 44)} == {Failure.FOREIGN}
    assert {named[place] for place in range(44, 76)} == {Failure.WRONG_KEY}
    assert {named[place] for place in range(76, len(good))} <= {Failure.DAMAGED, Failure.TRUNCATED, Failure.TRAILING}
