"""A sealed value opens in its own place, unaltered, under its own key, and nowhere else."""

import pickle
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.core.errors import KeyUnavailable, MalformedError
from hushwire.vault.seal import OVERHEAD_BYTES, Columns, blind_index, context, open_sealed, seal

KEY = bytes(range(32))
names = st.text(st.characters(codec="ascii", categories=("Ll",)), min_size=1, max_size=12)
places = st.tuples(names, names, st.uuids(), st.uuids())


def _open(columns: Columns, sealed: bytes, place: tuple[str, str, UUID, UUID]) -> bytes:
    table, column, row, org = place
    return columns.open(sealed, table=table, column=column, row=row, org=org)


def _seal(columns: Columns, plaintext: bytes, place: tuple[str, str, UUID, UUID]) -> bytes:
    table, column, row, org = place
    return columns.seal(plaintext, table=table, column=column, row=row, org=org)


@given(st.binary(max_size=300), places)
def test_what_was_sealed_opens_in_its_place(plaintext: bytes, place: tuple[str, str, UUID, UUID]) -> None:
    sealed = _seal(Columns(KEY), plaintext, place)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert _open(Columns(KEY), sealed, place) == plaintext


@given(st.binary(max_size=60), places, places)
def test_a_value_moved_to_another_table_column_row_or_organisation_does_not_open(
    plaintext: bytes, place: tuple[str, str, UUID, UUID], other: tuple[str, str, UUID, UUID]
) -> None:
    sealed = _seal(Columns(KEY), plaintext, place)
    for index in range(4):
        moved = (*place[:index], other[index], *place[index + 1 :])
        if moved != place:
            with pytest.raises(MalformedError):
                _open(Columns(KEY), sealed, moved)  # type: ignore[arg-type]


@given(st.binary(max_size=24), st.data())
def test_any_flipped_bit_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    place = ("calls", "remote_sealed", UUID(int=1), UUID(int=2))
    sealed = _seal(Columns(KEY), plaintext, place)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    altered = bytearray(sealed)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedError):
        _open(Columns(KEY), bytes(altered), place)


def test_every_truncation_and_any_trailing_byte_is_noticed() -> None:
    place = ("calls", "remote_sealed", uuid4(), uuid4())
    sealed = _seal(Columns(KEY), b"+493012345", place)
    for length in range(len(sealed)):
        with pytest.raises(MalformedError):
            _open(Columns(KEY), sealed[:length], place)
    with pytest.raises(MalformedError):
        _open(Columns(KEY), sealed + b"\0", place)


def test_another_key_does_not_open_and_two_seals_of_one_value_differ() -> None:
    place = ("calls", "remote_sealed", uuid4(), uuid4())
    sealed = _seal(Columns(KEY), b"value", place)
    assert sealed != _seal(Columns(KEY), b"value", place)
    with pytest.raises(MalformedError):
        _open(Columns(bytes(32)), sealed, place)
    with pytest.raises(KeyUnavailable):
        Columns(b"short")


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_two_lists_of_parts_never_make_one_context(one: list[bytes], other: list[bytes]) -> None:
    assert (context(*one) == context(*other)) == (one == other)


def test_a_column_context_is_no_key_context() -> None:
    place = context("org-key", UUID(int=1), "operational")
    assert open_sealed(KEY, seal(KEY, b"k", place), place) == b"k"
    with pytest.raises(MalformedError):
        Columns(KEY).open(seal(KEY, b"k", place), table="org-key", column="operational", row=UUID(int=1), org=UUID(int=1))


def test_a_blind_index_depends_on_key_organisation_column_and_value() -> None:
    org = uuid4()
    one = blind_index(KEY, org, "calls.remote", "+493012345")
    assert len(one) == 32
    assert one == blind_index(KEY, org, "calls.remote", "+493012345")
    others = {
        blind_index(bytes(32), org, "calls.remote", "+493012345"),
        blind_index(KEY, uuid4(), "calls.remote", "+493012345"),
        blind_index(KEY, org, "calls.local", "+493012345"),
        blind_index(KEY, org, "calls.remote", "+493012346"),
    }
    assert len(others) == 4
    assert one not in others


def test_keys_show_themselves_neither_in_text_nor_in_a_pickle() -> None:
    assert KEY.hex() not in repr(Columns(KEY))
    with pytest.raises(TypeError):
        pickle.dumps(Columns(KEY))
