"""The sealed backup file: the shared vectors (tests/vectors/backup), every bit of a small file, and pieces of any size."""

import hashlib
import json
import runpy
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.vault.archive import PART_BYTES, ArchiveError, Header, Reader, Writer
from hushwire.vault.root import RootKey
from tests.recorded import Chance

FOLDER = Path(__file__).parent.parent / "vectors" / "backup"
SHARED = json.loads((FOLDER / "vectors.json").read_text())
ROOTS = {name: RootKey.from_text(text, name).sealing_key() for name, text in SHARED["roots"].items()}
GOOD = bytes.fromhex(next(vector["file"] for vector in SHARED["vectors"] if vector["name"] == "whole"))


def read(data: bytes, root: str = "root", piece: int = 1 << 20) -> tuple[bytes, dict[str, Any]]:
    """The dump and the manifest."""
    reader = Reader(ROOTS[root])
    dump = b"".join(part for at in range(0, len(data), piece) for part in reader.feed(data[at : at + piece]))
    return dump, reader.finish()


@pytest.mark.parametrize("vector", SHARED["vectors"], ids=lambda vector: vector["name"])
def test_vector_reads_as_it_states(vector: dict[str, Any]) -> None:
    failure = None
    try:
        dump, manifest = read(bytes.fromhex(vector["file"]), vector["root"])
    except ArchiveError as error:
        failure = error.failure.value
    else:
        assert (dump.hex(), manifest) == (SHARED["dump"], SHARED["manifest"])
    assert failure == vector["failure"]


def test_the_vectors_are_those_that_the_reference_writer_makes() -> None:
    assert runpy.run_path(str(FOLDER / "make.py"))["vectors"]() == SHARED


def test_a_flip_of_any_bit_is_noticed() -> None:
    for at in range(len(GOOD)):
        for bit in range(8):
            data = bytearray(GOOD)
            data[at] ^= 1 << bit
            with pytest.raises(ArchiveError):
                read(bytes(data))


def test_a_cut_at_any_byte_is_noticed() -> None:
    for at in range(len(GOOD)):
        with pytest.raises(ArchiveError):
            read(GOOD[:at])


@given(st.integers(1, len(GOOD)))
@settings(max_examples=60)
def test_it_reads_the_same_in_pieces_of_any_size(piece: int) -> None:
    assert read(GOOD, piece=piece)[0].hex() == SHARED["dump"]


def test_a_new_seal_opens_under_the_new_root_key_only_and_leaves_every_frame_as_it_is() -> None:
    anew = Header.read(GOOD).sealed_anew(ROOTS["root"], ROOTS["other-root"])
    data = anew + GOOD[len(anew) :]
    assert read(data, "other-root")[0].hex() == SHARED["dump"]
    with pytest.raises(ArchiveError, match="other-root"):
        read(data, "root")


def test_a_large_dump_goes_through_in_bounded_memory_and_comes_out_the_same() -> None:
    writer, reader = Writer(ROOTS["root"], uuid4(), datetime.now(UTC), Chance()), Reader(ROOTS["root"])
    digest, back = hashlib.sha256(), hashlib.sha256()
    list(reader.feed(writer.header + writer.manifest({"format": 1})))
    for _ in range(20):
        piece = secrets.token_bytes(PART_BYTES)
        digest.update(piece)
        for part in reader.feed(writer.dump(piece)):
            back.update(part)
        assert len(reader._buffer) < PART_BYTES
    list(reader.feed(writer.end()))
    assert reader.finish() == {"format": 1}
    assert back.digest() == digest.digest()
