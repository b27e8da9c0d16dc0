"""Merkle trees as in RFC 6962 section 2.1 (SHA-256): one root over many leaves, and proofs that a leaf is among them."""

import hashlib
from collections.abc import Sequence
from typing import Final

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(_LEAF + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves; of none: SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    return _levels(leaves)[-1][0]


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """What `index`'s leaf needs to reach the root, from the bottom up (RFC 6962 section 2.1.1)."""
    found = []
    for level in _levels(leaves)[:-1]:
        if (sibling := index ^ 1) < len(level):
            found.append(level[sibling])
        index //= 2
    return found


def reached(leaf_hash: bytes, index: int, count: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to (RFC 9162 section 2.1.3.2); None if it can't be a proof of this place in a tree of this size."""
    if not 0 <= index < count:
        return None
    place, last, found = index, count - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = _node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, sibling)
        place, last = place >> 1, last >> 1
    return found if last == 0 else None


def _levels(leaves: Sequence[bytes]) -> list[Sequence[bytes]]:
    """From the leaves to the root; an odd one goes up as it is, which gives the tree of RFC 6962."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        level = levels[-1]
        above = [_node(level[place], level[place + 1]) for place in range(0, len(level) - 1, 2)]
        levels.append([*above, level[-1]] if len(level) % 2 else above)
    return levels


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
