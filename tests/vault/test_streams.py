"""Sealed streams: opened whole or by pieces, and every way in which one can be wrong has its name."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.vault.streams import (
    FRAME_BYTES,
    HEADER_BYTES,
    StreamError,
    StreamFailure,
    StreamName,
    StreamReader,
    StreamWriter,
    name_of,
    open_stream,
    seal_stream,
)

KEY = bytes(range(32))
NAME = StreamName("bundle", UUID(int=7), UUID(int=9))


def sealed(plaintext: bytes, key: bytes = KEY, name: StreamName = NAME) -> bytes:
    return b"".join(seal_stream([plaintext], key, name))


def opened(data: bytes, key: bytes = KEY, name: StreamName = NAME) -> bytes:
    reader = StreamReader(key, name)
    plaintext = reader.feed(data)
    reader.finish()
    return plaintext


def failure(data: bytes, key: bytes = KEY, name: StreamName = NAME) -> StreamFailure:
    with pytest.raises(StreamError) as raised:
        opened(data, key, name)
    return raised.value.failure


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
def test_what_was_sealed_opens_whatever_its_size(size: int) -> None:
    plaintext = secrets.token_bytes(size)
    data = sealed(plaintext)
    assert opened(data) == plaintext
    assert name_of(data[:HEADER_BYTES]) == NAME


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 97))
def test_however_it_is_cut_when_written_and_when_read_it_is_the_same(chunks: list[bytes], step: int) -> None:
    data = b"".join(seal_stream(chunks, KEY, NAME))
    reader = StreamReader(KEY, NAME)
    plaintext = b"".join(reader.feed(data[start : start + step]) for start in range(0, len(data), step))
    reader.finish()
    assert plaintext == b"".join(chunks)


def test_any_bit_of_a_small_stream_that_differs_is_noticed_and_named() -> None:
    data = sealed(b"a small secret")
    found = set()
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            found.add(failure(bytes(changed)))
    assert found == {
        StreamFailure.NOT_A_STREAM, StreamFailure.UNSUPPORTED, StreamFailure.FOREIGN, StreamFailure.WRONG_KEY, StreamFailure.DAMAGED,
        StreamFailure.TRUNCATED, StreamFailure.TRAILING,
    } - {StreamFailure.TRAILING}  # fmt: skip


def test_a_stream_cut_anywhere_is_truncated() -> None:
    data = sealed(b"a small secret")
    for length in range(4, len(data)):
        assert failure(data[:length]) is StreamFailure.TRUNCATED, length


def test_a_stream_without_its_final_frame_is_truncated_and_bytes_after_it_are_trailing() -> None:
    writer = StreamWriter(KEY, NAME)
    first = writer.header + writer.feed(bytes(2 * FRAME_BYTES))
    assert failure(first) is StreamFailure.TRUNCATED
    assert failure(sealed(b"x") + b"\0") is StreamFailure.TRAILING


def test_frames_that_change_places_or_come_from_another_stream_are_damage() -> None:
    frames = 4 + 12 + FRAME_BYTES + 16
    data = sealed(bytes(3 * FRAME_BYTES))
    head, one, two, rest = data[:HEADER_BYTES], data[84 : 84 + frames], data[84 + frames : 84 + 2 * frames], data[84 + 2 * frames :]
    assert failure(head + two + one + rest) is StreamFailure.DAMAGED
    assert failure(head + one + rest) is StreamFailure.DAMAGED
    other = sealed(bytes(3 * FRAME_BYTES), name=replace(NAME, object_id=UUID(int=10)))
    assert failure(head + other[84 : 84 + frames] + two + rest) is StreamFailure.DAMAGED


@pytest.mark.parametrize("name", [replace(NAME, kind="backup"), replace(NAME, org_id=UUID(int=8)), replace(NAME, object_id=UUID(int=8))])
def test_a_stream_opens_as_what_it_is_and_as_nothing_else(name: StreamName) -> None:
    assert failure(sealed(b"x"), name=name) is StreamFailure.FOREIGN
    assert failure(sealed(b"x"), key=bytes(32)) is StreamFailure.WRONG_KEY


async def test_an_asynchronous_reader_raises_at_the_end_of_what_is_not_whole() -> None:
    data = sealed(bytes(3 * FRAME_BYTES))

    async def chunks(whole: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 10_000):
            yield whole[start : start + 10_000]

    assert b"".join([piece async for piece in open_stream(chunks(data), KEY, NAME)]) == bytes(3 * FRAME_BYTES)
    seen = 0
    with pytest.raises(StreamError, match="truncated"):
        async for piece in open_stream(chunks(data[:-1]), KEY, NAME):
            seen += len(piece)
    assert seen == 2 * FRAME_BYTES


def test_nothing_is_written_after_the_end_and_a_kind_is_short_ascii() -> None:
    writer = StreamWriter(KEY, NAME)
    writer.finish()
    with pytest.raises(ValueError, match="final"):
        writer.finish()
    for kind in ("", "thirteen-char", "ä"):
        with pytest.raises(ValueError, match="kind"):
            StreamName(kind, UUID(int=1), UUID(int=2))
