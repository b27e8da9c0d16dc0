"""Makes vectors.json: envelopes of every suite, with the failure that every implementation must name.

The sealings take fresh randomness, so each run makes other bytes; the names and failures stay.

python tests/vectors/custody/make.py > tests/vectors/custody/vectors.json
"""

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from hushwire.vault.envelopes import HEADER_BYTES, Subject, answer_to, challenge, seal
from hushwire.vault.recipients import Algorithm, PrivateKey, generate, load_private

HERE = Path(__file__).parent
DATA_KEY = bytes(range(32))
ORG, OTHER_ORG = UUID("01890000-0000-7000-8000-00000000000a"), UUID("01890000-0000-7000-8000-0000000000aa")
OBJECT, OTHER_OBJECT = UUID("01890000-0000-7000-8000-00000000000b"), UUID("01890000-0000-7000-8000-0000000000bb")
EXPECTED = Subject(ORG, "recording", OBJECT)


def keys() -> dict[str, PrivateKey]:
    """Two keys of each algorithm: kept from the last run, since making RSA keys takes long."""
    known = json.loads((HERE / "vectors.json").read_text())["keys"] if (HERE / "vectors.json").exists() else {}
    found = {}
    for algorithm in Algorithm:
        for place in ("ours", "other"):
            name = f"{algorithm.value}/{place}"
            found[name] = load_private(known[name]["private"].encode()) if name in known else generate(algorithm)
    return found


def vectors() -> dict[str, Any]:
    """Keys, and envelopes with their failures."""
    made: list[tuple[str, str, bytes, str | None]] = []
    pairs = keys()
    for algorithm in Algorithm:
        ours, other = pairs[f"{algorithm.value}/ours"], pairs[f"{algorithm.value}/other"]
        good = seal(DATA_KEY, ours.public, EXPECTED)

        def sealed(subject: Subject, key: PrivateKey = ours) -> bytes:
            return seal(DATA_KEY, key.public, subject)

        def changed(place: int, value: bytes, good: bytes = good) -> bytes:
            return good[:place] + value + good[place + len(value) :]

        def grafted(donor: bytes, good: bytes = good) -> bytes:
            return good[:HEADER_BYTES] + donor[HEADER_BYTES:]

        flipped = bytearray(good)
        flipped[HEADER_BYTES + 40] ^= 1
        for name, blob, failure in [
            ("whole", good, None),
            ("empty", b"", "truncated"),
            ("cut-in-the-header", good[:50], "truncated"),
            ("cut-in-the-key", good[:-1], "truncated"),
            ("trailing-byte", good + b"\0", "trailing"),
            ("not-an-envelope", b"HWR1" + good[4:], "not-an-envelope"),
            ("unknown-version", changed(4, b"\2"), "unsupported"),
            ("unknown-suite", changed(5, b"\x09"), "unsupported"),
            ("unknown-kind", changed(6, b"\x63"), "unsupported"),
            ("reserved-bit", changed(7, b"\1"), "unsupported"),
            ("suite-of-another-algorithm", changed(5, bytes([good[5] % 3 + 1])), "damaged"),
            ("foreign-organisation", sealed(Subject(OTHER_ORG, "recording", OBJECT)), "foreign"),
            ("foreign-kind", sealed(Subject(ORG, "call", OBJECT)), "foreign"),
            ("foreign-object", sealed(Subject(ORG, "recording", OTHER_OBJECT)), "foreign"),
            ("challenge", challenge(DATA_KEY, ours.public, ORG, OBJECT), "foreign"),
            ("another-key", sealed(EXPECTED, other), "wrong-key"),
            ("key-of-another-algorithm", sealed(EXPECTED, pairs[f"{list(Algorithm)[_next(algorithm)].value}/ours"]), "wrong-key"),
            ("relabelled-organisation", grafted(sealed(Subject(OTHER_ORG, "recording", OBJECT))), "damaged"),
            ("relabelled-kind", grafted(sealed(Subject(ORG, "call", OBJECT))), "damaged"),
            ("relabelled-object", grafted(sealed(Subject(ORG, "recording", OTHER_OBJECT))), "damaged"),
            ("relabelled-recipient", grafted(sealed(EXPECTED, other)), "damaged"),
            ("bit-flip", bytes(flipped), "damaged"),
        ]:
            made.append((f"{algorithm.value}/{name}", algorithm.value, blob, failure))
    return {
        "org_id": str(ORG),
        "kind": "recording",
        "object_id": str(OBJECT),
        "data_key": DATA_KEY.hex(),
        "keys": {
            name: {
                "private": key.pem(None).decode(),
                "public": key.public.encoded.hex(),
                "fingerprint": key.public.fingerprint.hex(),
            }
            for name, key in pairs.items()
        },
        "vectors": [
            {"name": name, "algorithm": algorithm, "failure": failure, "envelope": blob.hex()} for name, algorithm, blob, failure in made
        ],
        "challenges": [
            {
                "algorithm": algorithm.value,
                "recipient_id": str(OBJECT),
                "challenge": challenge(DATA_KEY, key.public, ORG, OBJECT).hex(),
                "answer": answer_to(DATA_KEY, ORG, OBJECT, key.public.fingerprint).hex(),
            }
            for algorithm in Algorithm
            for key in [pairs[f"{algorithm.value}/ours"]]
        ],
    }


def _next(algorithm: Algorithm) -> int:
    return (list(Algorithm).index(algorithm) + 1) % len(Algorithm)


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
