"""What receipts share beside `signed`: reasons to reject one, published keys, and the layouts that count as unchanged."""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Any
from uuid import UUID

from hushwire.privacy.canonical import canonical
from hushwire.privacy.signed import base64url, exact


class Reason(StrEnum):
    """Why a receipt was rejected."""

    UNREADABLE = "unreadable"  # the file itself can't be read
    MALFORMED = "malformed"  # not the JSON of a receipt
    UNKNOWN_LAYOUT = "unknown-layout"  # JSON of a receipt, spelled as no tool spells it
    WRONG_FIELDS = "wrong-fields"  # names missing, added, or values of another shape
    UNKNOWN_KEY = "unknown-key"  # signed under a key that is not in the published set
    BAD_SIGNATURE = "bad-signature"  # changed after signing, or signed by somebody else
    BAD_KEYS = "bad-keys"  # the published set itself can't be used
    NOT_INCLUDED = "not-included"  # an authentic receipt that does not speak of this thing
    IMPLAUSIBLE = "implausible"  # times that contradict each other, though signed


def published(keys: Iterable[tuple[UUID, bytes]]) -> dict[str, object]:
    """The key set to publish: ids and raw Ed25519 public keys, retired ones included, since their receipts stay valid."""
    return {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": str(i), "x": base64url(raw)} for i, raw in keys]}


def position(value: object) -> int:
    """A place counted from 1."""
    if type(value) is not int or value < 1:
        raise ValueError("not a position")
    return value


def digest(text: object) -> bytes:
    """32 bytes in hexadecimal."""
    value: bytes = exact(text, bytes.fromhex, bytes.hex)
    if len(value) != 32:
        raise ValueError("not 32 bytes")
    return value


def is_known_layout(data: bytes, found: dict[str, Any]) -> bool:
    """Canonical, or as re-printed by tools that keep or sort names: compact, with blanks, or indented; a newline may follow."""
    layouts = [canonical(found)]
    for separators, indent in (((",", ":"), None), ((", ", ": "), None), ((",", ": "), 2), ((",", ": "), 4), ((",", ": "), "\t")):
        layouts.append(json.dumps(found, separators=separators, indent=indent).encode())
    return data in layouts or (data.endswith(b"\n") and data[:-1] in layouts)
