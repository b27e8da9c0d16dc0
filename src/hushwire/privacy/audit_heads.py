"""Signed heads: each hour, what an organisation's audit chain had grown to. Whoever rewrites the chain contradicts them.

Heads are numbered without gaps and each holds the digest of the one before, so that one that was taken out is missed. An hour in
which nothing happened has its head too: that nothing was logged is a statement as well. docs/audit.md is normative.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.errors import MalformedError
from hushwire.privacy import signed
from hushwire.privacy.canonical import canonical
from hushwire.privacy.signed import KeySet, Statement

TYPE: Final = "hushwire.audit-head.v1"
EACH: Final = timedelta(hours=1)
_DOMAIN: Final = b"hushwire/audit-head/1\x00"


@dataclass(frozen=True, slots=True)
class SignedHead:
    """One row of `audit_heads`. `position` 0 with the chain's beginning as `hash`: nothing was logged yet."""

    org_id: UUID
    seq: int
    position: int
    hash: bytes
    previous: bytes  # digest of the head before; of the first one: `beginning`
    at: datetime
    key_id: UUID
    signature: bytes

    def statement(self) -> Statement:
        """As it is handed out."""
        return {
            "type": TYPE,
            "org_id": str(self.org_id),
            "seq": self.seq,
            "position": self.position,
            "hash": self.hash.hex(),
            "previous": self.previous.hex(),
            "at": signed.spelled_time(self.at),
            "key_id": str(self.key_id),
            "signature": signed.base64url(self.signature),
        }

    def digest(self) -> bytes:
        """What the next head holds as `previous`."""
        return sha256(canonical(self.statement())).digest()


@dataclass(frozen=True, slots=True)
class HeadFault:
    """What is wrong with a list of heads. `is_missing`: one is not there; else one is not what was signed."""

    seq: int
    is_missing: bool
    explanation: str


def beginning(org_id: UUID) -> bytes:
    """`previous` of an organisation's first head."""
    return sha256(_DOMAIN + UUID(int=org_id.int).bytes).digest()


def hour_of(moment: datetime) -> datetime:
    """The full hour that a head is due at."""
    return moment.replace(minute=0, second=0, microsecond=0)


def make(
    org_id: UUID, position: int, digest: bytes, before: SignedHead | None, at: datetime, key_id: UUID, key: Ed25519PrivateKey
) -> SignedHead:
    """The head that follows `before`."""
    seq, previous = (before.seq + 1, before.digest()) if before else (1, beginning(org_id))
    unsigned = SignedHead(org_id, seq, position, digest, previous, at, key_id, b"")
    fields = {name: value for name, value in unsigned.statement().items() if name not in ("key_id", "signature")}
    statement = signed.sign(_DOMAIN, fields, key_id, key)
    return read(statement)


def read(found: Any) -> SignedHead:
    """The head that a JSON object is; its signature is not looked at yet. Raises MalformedError."""
    try:
        head = SignedHead(
            org_id=signed.exact(found["org_id"], UUID, str),
            seq=_whole(found["seq"], 1),
            position=_whole(found["position"], 0),
            hash=_digest(found["hash"]),
            previous=_digest(found["previous"]),
            at=signed.exact(found["at"], signed.read_time, signed.spelled_time),
            key_id=signed.exact(found["key_id"], UUID, str),
            signature=signed.exact(found["signature"], signed.unbase64url, signed.base64url),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise MalformedError("not a signed head") from error
    if found != head.statement():
        raise MalformedError("not a signed head")
    return head


def problem(head: SignedHead, keys: KeySet) -> str | None:
    """Why a head counts for nothing; None where its signature fits."""
    return signed.problem(_DOMAIN, head.statement(), keys)


def fault(org_id: UUID, heads: Iterable[SignedHead], keys: KeySet | None, *, from_first: bool = True) -> HeadFault | None:
    """The first thing wrong with an organisation's heads by rising seq; signatures are checked where `keys` are given.

    `from_first`: the list begins with head 1; else it is a part of the whole.
    """
    before: SignedHead | None = None
    for head in heads:
        expected = before.seq + 1 if before else 1
        if head.seq != expected and (before or from_first):
            missing = head.seq > expected
            return HeadFault(
                expected if missing else head.seq, missing, f"signed head {expected} is missing" if missing else "a head stands twice"
            )
        if head.org_id != org_id:
            return HeadFault(head.seq, False, f"signed head {head.seq} is another organisation's")
        if keys is not None and (why := problem(head, keys)) is not None:
            return HeadFault(head.seq, False, f"signed head {head.seq} is not genuine: {why}")
        follows = before.digest() if before else beginning(org_id) if head.seq == 1 else head.previous
        if head.previous != follows:
            return HeadFault(head.seq, False, f"signed head {head.seq} doesn't follow the head before it")
        if before and (head.position < before.position or head.at < before.at):
            return HeadFault(head.seq, False, f"signed head {head.seq} contradicts the head before it")
        before = head
    return None


def longest_silence(heads: Sequence[SignedHead]) -> timedelta:
    """The longest time between two heads that follow each other. Much more than an hour: no worker ran, or none was let."""
    return max((later.at - sooner.at for sooner, later in pairwise(heads)), default=timedelta())


def _whole(value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError("not a count")
    return value


def _digest(text: object) -> bytes:
    value: bytes = signed.exact(text, bytes.fromhex, bytes.hex)
    if len(value) != 32:
        raise ValueError("not 32 bytes")
    return value
