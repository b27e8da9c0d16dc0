"""The sealed document: opened whole, in pieces of any size; anything else is an error."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.vault.hwx import MOST_PLAIN, DocumentError, Failure, Opener, Sealer
from tests.recorded import Chance

KEY, ORG, DOCUMENT = bytes(range(32)), UUID(int=1), UUID(int=2)
VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/documents/vectors.json").read_text())
PARTS = (b"first", b"", b"second" * 10, b"last")


def sealed(parts: tuple[bytes, ...] = PARTS, *, is_whole: bool = True) -> tuple[bytes, list[bytes]]:
    sealer = Sealer(KEY, ORG, DOCUMENT, Chance())
    frames = [sealer.frame(part, is_final=is_whole and place == len(parts) - 1) for place, part in enumerate(parts)]
    return sealer.header, frames


def opened(data: bytes, piece: int = 1 << 20, *, key: bytes = KEY, org: UUID = ORG, document: UUID = DOCUMENT) -> bytes:
    opener, plain = Opener(key, org, document), b""
    for start in range(0, len(data), piece):
        plain += b"".join(opener.feed(data[start : start + piece]))
    opener.finish()
    return plain


@pytest.mark.parametrize("piece", [1, 2, 71, 72, 73, 1 << 20])
def test_a_document_opens_in_pieces_of_any_size(piece: int) -> None:
    header, frames = sealed()
    assert opened(header + b"".join(frames), piece) == b"".join(PARTS)


def test_a_sealer_that_goes_on_after_a_crash_makes_one_document() -> None:
    header, frames = sealed(PARTS[:2], is_whole=False)
    second = Sealer(KEY, ORG, DOCUMENT, Chance(), frames=2)
    assert second.header == header
    assert opened(header + b"".join(frames) + second.frame(b"rest", is_final=True)) == b"firstrest"


def test_what_is_cut_swapped_doubled_or_foreign_does_not_open() -> None:
    header, frames = sealed()
    whole = header + b"".join(frames)
    for data in (
        b"",
        whole[:-1],
        header,
        header + b"".join(frames[:-1]),
        header + frames[1] + frames[0] + b"".join(frames[2:]),
        header + frames[0] + b"".join(frames),
        whole + b"x",
    ):
        with pytest.raises(DocumentError):
            opened(data)
    for other in ({"key": bytes(32)}, {"org": UUID(int=3)}, {"document": UUID(int=3)}):
        with pytest.raises(DocumentError):
            opened(whole, **other)  # type: ignore[arg-type]


def test_a_bit_flipped_anywhere_is_noticed_and_named() -> None:
    header, frames = sealed((b"some", b"bytes"))
    whole = header + b"".join(frames)
    found = set()
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            with pytest.raises(DocumentError) as raised:
                opened(bytes(changed))
            found.add(raised.value.failure)
    assert found == set(Failure) - {Failure.TRAILING}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_every_vector_has_the_outcome_that_it_names(vector: dict[str, Any], piece: int) -> None:
    what = {"key": bytes.fromhex(VECTORS["key"]), "org": UUID(VECTORS["org_id"]), "document": UUID(VECTORS["document_id"])}
    data = bytes.fromhex(vector["file"])
    if vector["failure"] is None:
        assert opened(data, piece, **what) == bytes.fromhex(VECTORS["plaintext"])
        return
    with pytest.raises(DocumentError) as raised:
        opened(data, piece, **what)
    assert raised.value.failure.value == vector["failure"]


def test_a_document_cut_anywhere_is_truncated() -> None:
    header, frames = sealed((b"a small", b"secret"))
    whole = header + b"".join(frames)
    for length in range(len(whole)):
        with pytest.raises(DocumentError) as raised:
            opened(whole[:length])
        assert raised.value.failure is Failure.TRUNCATED, length


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20), st.integers(1, 97))
def test_however_it_is_cut_when_written_and_when_read_it_is_the_same(parts: list[bytes], piece: int) -> None:
    header, frames = sealed(tuple(parts))
    assert opened(header + b"".join(frames), piece) == b"".join(parts)


def test_too_much_for_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="too much"):
        Sealer(KEY, ORG, DOCUMENT, Chance()).frame(bytes(MOST_PLAIN + 1))
