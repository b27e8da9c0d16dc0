"""Verifies an export of hushwire's audit log as docs/audit.md describes it: the standard library and `cryptography`, nothing of hushwire.

    python verify.py EXPORT KEYS [KEPT ...]

Prints `whole`, or why not, and exits 0 or 1. KEPT: earlier exports whose last row this one must still hold.
"""

import base64
import hashlib
import json
import sys
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DOMAINS = {
    "hushwire.audit-head.v1": b"hushwire/audit-head/1\0",
    "hushwire.audit-export-end.v1": b"hushwire/audit-export-end/1\0",
    "hushwire.erasure-receipt.v1": b"hushwire/receipt/1\0",
    "hushwire.erasure-receipt.v2": b"hushwire/receipt/2\0",
}


class Wrong(Exception):
    pass


def canonical(value):
    # RFC 8785 for what stands in an export: names are ASCII, numbers are whole
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def without(value, name):
    return {key: item for key, item in value.items() if key != name}


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def check_signature(statement, keys):
    key = keys.get(statement["key_id"])
    if key is None:
        raise Wrong("signed by a key that is not published")
    try:
        key.verify(unpadded(statement["signature"]), DOMAINS[statement["type"]] + canonical(without(statement, "signature")))
    except InvalidSignature:
        raise Wrong(f"a signature doesn't fit: {statement['type']}") from None


def check(lines, keys, kept=()):
    header = json.loads(lines[0])
    if header["type"] != "hushwire.audit-export.v1":
        raise Wrong("not an export")
    end = json.loads(lines[-1])
    if end.get("type") != "hushwire.audit-export-end.v1":
        raise Wrong("the end is missing")
    check_signature(end, keys)
    if hashlib.sha256(b"".join(lines[:-1])).hexdigest() != end["digest"]:
        raise Wrong("a byte before the end was changed")
    org = uuid.UUID(header["org_id"]).bytes
    anchors, before, rows = {}, None, []
    for line in lines[1:-1]:
        value = json.loads(line)
        if canonical(value) + b"\n" != line:
            raise Wrong("not canonical")
        kind = value.get("type")
        if kind is None:
            rows.append(value)
            continue
        check_signature(value, keys)
        if kind == "hushwire.audit-head.v1":
            if before is None and header["first"] == 1 and value["seq"] == 1:
                expected = hashlib.sha256(b"hushwire/audit-head/1\0" + org).hexdigest()
            elif before is None:
                if header["first"] == 1 or (value["position"], value["hash"]) != (header["first"] - 1, header["previous"]):
                    raise Wrong("the place of the first row is not proven")
                expected = value["previous"]
            else:
                expected = hashlib.sha256(canonical(before)).hexdigest()
                if value["seq"] != before["seq"] + 1:
                    raise Wrong("a signed head is missing")
            if value["previous"] != expected:
                raise Wrong("a signed head doesn't follow the one before it")
            anchors[value["position"]] = value["hash"]
            before = value
        else:
            anchors[value["audit_position"]] = value["audit_head"]
    for other in kept:
        check_signature(other, keys)
        if other["org_id"] == header["org_id"] and header["first"] - 1 <= other["last"] <= header["last"]:
            anchors[other["last"]] = other["head"]
    if header["first"] > 1 and before is None:
        raise Wrong("the place of the first row is not proven")
    position, previous = header["first"] - 1, header["previous"]
    if position == 0 and previous != hashlib.sha256(b"hushwire/audit/1\0" + org).hexdigest():
        raise Wrong("another beginning")
    for row in rows:
        position += 1
        if row["position"] != position or row["previous"] != previous:
            raise Wrong(f"row {position} is missing or out of its place")
        previous = hashlib.sha256(b"hushwire/audit/1\0" + canonical(without(row, "hash"))).hexdigest()
        if row["hash"] != previous or anchors.get(position, previous) != previous:
            raise Wrong(f"row {position} was altered or rewritten")
    if (end["last"], end["head"]) != (position, previous) or header["last"] != position:
        raise Wrong("rows are missing at the end")
    return len(rows)


def main(export, keys, *kept):
    with open(keys, "rb") as file:
        published = {
            key["kid"]: Ed25519PublicKey.from_public_bytes(unpadded(key["x"]))
            for key in json.load(file)["keys"]
            if key.get("crv") == "Ed25519"
        }
    ends = []
    for path in kept:
        with open(path, "rb") as file:
            ends.append(json.loads(file.readlines()[-1]))
    with open(export, "rb") as file:
        lines = file.readlines()
    try:
        count = check(lines, published, ends)
    except (Wrong, KeyError, ValueError, TypeError, IndexError) as error:
        print(f"not whole: {error}")
        return 1
    print(f"whole: {count} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
