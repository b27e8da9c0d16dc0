"""Makes vectors.json: small sealed recordings with the outcome that every implementation of the format must reach.

python tests/vectors/hwr/make.py > tests/vectors/hwr/vectors.json
"""

import hashlib
import json
import sys
from typing import Any
from uuid import UUID

from hushwire.recording import entries
from hushwire.recording.hwr import VERSION, Identity, Writer

KEY = hashlib.sha256(b"hushwire test vector key").digest()
WHO = Identity(UUID("01890000-0000-7000-8000-00000000000a"), UUID("01890000-0000-7000-8000-00000000000b"), 1)
CONTENT = [
    [
        entries.anchor(1_700_000_000_000_000),
        entries.formats([{0: "PCMU/8000", 101: "telephone-event/8000"}, {8: "PCMA/8000"}]),
        entries.rtp(0, 12, bytes.fromhex("800000010000000000000001") + b"\xff" * 8),
    ],
    [entries.rtp(1, 215, bytes.fromhex("800800010000000000000002") + b"\xd5" * 8), entries.pause(300)],
    [entries.resume(900), entries.rtp(0, 1012, bytes.fromhex("800000060000032000000001") + b"\x7f" * 8)],
    [entries.end(1300)],
]


class Counting:
    """Nonces that count, so that the files come out the same each time."""

    def __init__(self) -> None:
        self._count = 0

    def token_bytes(self, count: int, /) -> bytes:
        self._count += 1
        return self._count.to_bytes(count, "big")


FURTHER = [
    [
        CONTENT[0][0],
        entries.formats([{0: "PCMU/8000"}, {8: "PCMA/8000"}, *({0: "PCMU/8000"} for _ in range(14))]),
        entries.rtp(2, 12, bytes.fromhex("800000010000000000000003") + b"\xff" * 8),
    ],
    [entries.rtp(15, 215, bytes.fromhex("800000010000000000000004") + b"\xff" * 8), entries.end(1300)],
]
"""A recording with legs 2 and 15."""
LEG_16 = [CONTENT[0], [entries.rtp(16, 900, b""), entries.end(1300)]]


def sealed(key: bytes, who: Identity, version: int = VERSION, content: list[list[entries.Entry]] = CONTENT) -> list[bytes]:
    """Header and frames."""
    writer = Writer(key, who, Counting(), version)
    return [writer.header, *(writer.frame(frame, is_final=frame is content[-1]) for frame in content)]


def of_bad_entries() -> list[bytes]:
    """An authentic file that breaks the rules of entries: its final frame doesn't end with the end entry."""
    writer = Writer(KEY, WHO, Counting())
    return [writer.header, writer.frame(CONTENT[0]), writer.frame([entries.pause(300)], is_final=True)]


def listed(content: list[list[entries.Entry]]) -> list[list[list[Any]]]:
    """What a reader finds, as plain values."""
    return [[[int(e.kind), e.leg, e.time, e.data.hex()] for e in frame] for frame in content]


def vectors() -> dict[str, Any]:
    """All of them, with what they share."""
    header, a, b, c, last = sealed(KEY, WHO)
    good = header + a + b + c + last
    other_key = sealed(bytes(32), WHO)
    other_who = sealed(KEY, Identity(WHO.org_id, UUID(int=1), 1))
    flipped = bytearray(good)
    flipped[len(header) + 30] ^= 1
    made = [
        ("whole", good, False, 4, None),
        ("crashed", header + a + b + c, True, 3, None),
        ("crashed-in-a-frame", header + a + b + c[:40], True, 2, None),
        ("crashed-with-zeros", header + a + bytes(200), True, 1, None),
        ("crashed-but-whole", good, True, 4, None),
        ("truncated-at-a-frame", header + a + b + c, False, 3, "truncated"),
        ("truncated-in-a-frame", good[:-1], False, 3, "truncated"),
        ("reordered", header + b + a + c + last, False, 0, "reordered"),
        ("repeated", header + a + a + b + c + last, False, 1, "reordered"),
        ("frame-of-another-file", header + a + other_key[2] + c + last, False, 1, "damaged"),
        ("bit-flip", bytes(flipped), False, 0, "damaged"),
        ("wrong-key", b"".join(other_key), False, 0, "wrong-key"),
        ("foreign-header", b"".join(other_who), False, 0, "foreign"),
        ("foreign-organisation", b"".join(sealed(KEY, Identity(UUID(int=1), WHO.recording_id, 1))), False, 0, "foreign"),
        ("foreign-segment", b"".join(sealed(KEY, Identity(WHO.org_id, WHO.recording_id, 2))), False, 0, "foreign"),
        (
            "relabelled-for-our-organisation",
            header + b"".join(sealed(KEY, Identity(UUID(int=1), WHO.recording_id, 1))[1:]),
            False,
            0,
            "damaged",
        ),
        ("header-of-another-key", other_key[0] + a + b + c + last, False, 0, "wrong-key"),
        ("unknown-version", good[:4] + b"\x03" + good[5:], False, 0, "unsupported"),
        ("not-a-recording", b"OggS" + good[4:], False, 0, "not-a-recording"),
        ("trailing-byte", good + b"\x00", False, 4, "trailing"),
        ("impossible-length", header + a + b"\x00\x00\x00\x00" + b + c + last, False, 1, "damaged"),
        ("bad-entries", b"".join(of_bad_entries()), False, 2, "bad-entries"),
        ("version-1", b"".join(sealed(KEY, WHO, 1)), False, 4, None),
        ("version-1-relabelled-as-2", b"HWR1\x02" + b"".join(sealed(KEY, WHO, 1))[5:], False, 0, "wrong-key"),
        ("legs-up-to-15", b"".join(sealed(KEY, WHO, content=FURTHER)), False, 2, None),
        ("version-1-with-leg-2", b"".join(sealed(KEY, WHO, 1, FURTHER)), False, 1, "bad-entries"),
        (
            "leg-16",
            b"".join(sealed(KEY, WHO, content=LEG_16)),
            False,
            2,
            "bad-entries",
        ),
    ]
    # What the row says of the file: None, or frame count and digest as they were noted at closing.
    closed = {
        "whole": (4, good),
        "another-digest": (4, good + b"\x00"),
        "another-count": (5, good),
    }
    made += [("another-digest", good, False, 4, "digest-mismatch"), ("another-count", good, False, 4, "digest-mismatch")]
    return {
        "key": KEY.hex(),
        "org_id": str(WHO.org_id),
        "recording_id": str(WHO.recording_id),
        "segment": WHO.segment,
        "entries": listed(CONTENT),
        "further_entries": listed(FURTHER),
        "vectors": [
            {
                "name": name,
                "crashed": crashed,
                "frames": frames,
                "failure": failure,
                "closed": {"frames": closed[name][0], "sha256": hashlib.sha256(closed[name][1]).hexdigest()} if name in closed else None,
                "sha256": hashlib.sha256(blob).hexdigest(),
                "file": blob.hex(),
            }
            for name, blob, crashed, frames, failure in made
        ],
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
