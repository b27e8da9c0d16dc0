"""The vectors that every implementation of the format shares (tests/vectors/hwr)."""

import json
import runpy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hushwire.recording.failures import RecordingError
from hushwire.recording.hwr import Frame, Identity, Reader

FOLDER = Path(__file__).parent.parent / "vectors" / "hwr"
SHARED = json.loads((FOLDER / "vectors.json").read_text())


@pytest.mark.parametrize("vector", SHARED["vectors"], ids=lambda vector: vector["name"])
def test_vector_reads_as_it_states(vector: dict[str, Any]) -> None:
    identity = Identity(UUID(SHARED["org_id"]), UUID(SHARED["recording_id"]), SHARED["segment"])
    reader = Reader(bytes.fromhex(SHARED["key"]), identity, crashed=vector["crashed"])
    frames: list[Frame] = []
    failure = None
    try:
        for frame in reader.frames(bytes.fromhex(vector["file"])):
            frames.append(frame)
        reader.finish()
    except RecordingError as error:
        failure = error.failure.value
    assert failure == vector["failure"]
    found = [[[int(e.kind), e.leg, e.time, e.data.hex()] for e in frame.entries()] for frame in frames]
    assert found == SHARED["entries"][: vector["frames"]]


def test_the_vectors_are_those_that_the_reference_writer_makes() -> None:
    assert runpy.run_path(str(FOLDER / "make.py"))["vectors"]() == SHARED
