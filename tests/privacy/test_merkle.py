"""Merkle trees against the tree of RFC 6962, written down as it defines it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.privacy import merkle


def defined(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, over hashes of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + defined(leaves[:split]) + defined(leaves[split:])).digest()


def made(count: int) -> list[bytes]:
    return [merkle.leaf(number.to_bytes(4, "big")) for number in range(count)]


@pytest.mark.parametrize("count", range(40))
def test_the_root_is_that_of_rfc_6962(count: int) -> None:
    assert merkle.root(made(count)) == defined(made(count))


@pytest.mark.parametrize("count", range(1, 40))
def test_each_leaf_is_proven_in_its_place_and_in_no_other(count: int) -> None:
    leaves = made(count)
    root = merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert merkle.reached(leaf, index, count, path) == root
        for other in range(count + 2):
            if other != index:
                assert merkle.reached(leaf, other, count, path) != root
        assert merkle.reached(leaf, index, count, [*path, root]) != root
        if path:
            assert merkle.reached(leaf, index, count, path[:-1]) != root


@given(st.integers(1, 300), st.data())
def test_a_leaf_that_is_not_in_the_tree_is_proven_by_no_path_of_it(count: int, data: st.DataObject) -> None:
    leaves = made(count)
    index = data.draw(st.integers(0, count - 1))
    assert merkle.reached(merkle.leaf(b"foreign"), index, count, merkle.path(leaves, index)) != merkle.root(leaves)
