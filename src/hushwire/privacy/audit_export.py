"""The audit log as a file that proves itself: JSON lines that a third party verifies with the published keys and docs/audit.md.

    header | signed heads | receipts | rows | end (signed)

A part of the log is widened to whole stretches between signed heads, so that a head at either end proves its place in the whole.
Pure: lines in and out.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.errors import MalformedError
from hushwire.core.ids import OrgId
from hushwire.privacy import audit_heads, receipts, signed
from hushwire.privacy.audit import vouched
from hushwire.privacy.audit_chain import Anchor, Chain, ChainResult, Fault, Head, Kept, beginning, content, failed
from hushwire.privacy.audit_heads import SignedHead
from hushwire.privacy.canonical import canonical, parse
from hushwire.store.audit import AuditRow

TYPE: Final = "hushwire.audit-export.v1"
END_TYPE: Final = "hushwire.audit-export-end.v1"
_END_DOMAIN: Final = b"hushwire/audit-export-end/1\x00"
RECEIPT: Final = "hushwire.erasure-receipt."
_STATEMENT: Final = b'"type":"hushwire.audit-'  # signed lines of an export; its rows have no type
_MAX_LINE: Final = 1 << 20
_NO_ORG: Final = OrgId(UUID(int=0))


@dataclass(frozen=True, slots=True)
class Span:
    """What an export holds: rows `first` to `last`; `previous` is the hash of the row before. Empty: `last` is `first` - 1.

    `is_newest`: when it was made, the log had no row after `last`.
    """

    org_id: OrgId
    first: int
    last: int
    previous: bytes
    is_newest: bool
    at: datetime


class Lines:
    """Writes an export: give `header`, `heads`, `receipts`, `row` for each row, `end`; each returns bytes to send."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._digest = hashlib.sha256()
        self._head = Head(span.first - 1, span.previous)

    def header(self) -> bytes:
        """The first line."""
        span = self._span
        return self._line(
            {
                "type": TYPE,
                "org_id": str(span.org_id),
                "first": span.first,
                "last": span.last,
                "previous": span.previous.hex(),
                "is_newest": span.is_newest,
                "at": signed.spelled_time(span.at),
            }
        )

    def heads(self, heads: Iterable[SignedHead]) -> bytes:
        """Signed heads, oldest first."""
        return b"".join(self._line(head.statement()) for head in heads)

    def receipts(self, named_by: Iterable[Mapping[str, Any]]) -> bytes:
        """Receipts that name rows of the export."""
        return b"".join(self._line(receipt) for receipt in named_by)

    def rows(self, rows: Iterable[AuditRow]) -> bytes:
        """The next rows."""
        parts = []
        for row in rows:
            parts.append(self._line({**content(row), "hash": row.hash.hex()}))
            self._head = Head(row.position, row.hash)
        return b"".join(parts)

    def end(self, key_id: UUID, key: Ed25519PrivateKey) -> bytes:
        """The last line, signed: it vouches for every byte before it, and for the head that the chain had."""
        fields = {
            "type": END_TYPE,
            "org_id": str(self._span.org_id),
            "first": self._span.first,
            "last": self._head.position,
            "head": self._head.hash.hex(),
            "digest": self._digest.hexdigest(),
            "at": signed.spelled_time(self._span.at),
        }
        return self._line(signed.sign(_END_DOMAIN, fields, key_id, key))

    def _line(self, value: object) -> bytes:
        line = canonical(value) + b"\n"
        self._digest.update(line)
        return line


def check(lines: Iterable[bytes], keys: bytes, kept: Iterable[Kept] = ()) -> ChainResult:
    """The verdict on an export. `keys`: the published key set. `kept`: heads from elsewhere, see `kept_heads`."""
    reader = _Reader(keys, list(kept))
    try:
        for line in lines:
            reader.feed(line)
        return reader.finish()
    except _Malformed as error:
        return failed(reader.org_id, Fault.MALFORMED, max(reader.line, 1), f"line {reader.line}: {error}")


def kept_heads(path: Path, keys: bytes) -> list[Kept]:
    """The heads that a file vouches for: a signed head, a receipt of erasure, or an export. Raises MalformedError if none does."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found = _object(file.read()) if size < _MAX_LINE else None
            file.seek(0)
            statements = [found] if found is not None else [_object(line) for line in bounded(file) if _STATEMENT in line]
    except OSError as error:
        raise MalformedError(f"{path}: can't be read ({error.strerror})") from None
    known = signed.key_set(keys)
    if found is not None and str(found.get("type", "")).startswith(RECEIPT):
        result = receipts.verify(canonical(found), keys)
        if not result.is_valid:
            raise MalformedError(f"{path}: this receipt is not genuine: {result.explanation}")
        anchor = Anchor(bytes.fromhex(found["audit_head"]), f"receipt {found['receipt_id']}")
        return [Kept(UUID(found["org_id"]), found["audit_position"], anchor, signed.read_time(found["unreadable_at"]))]
    vouching: list[Kept] = []
    for one in filter(None, statements):
        if one.get("type") == audit_heads.TYPE:
            head = audit_heads.read(one)
            if (why := audit_heads.problem(head, known)) is not None:
                raise MalformedError(f"{path}: a signed head is not genuine: {why}")
            vouching.append(Kept(head.org_id, head.position, Anchor(head.hash, f"signed head {head.seq}, kept in a file"), head.at))
        elif one.get("type") == END_TYPE:
            if (why := signed.problem(_END_DOMAIN, one, known)) is not None:
                raise MalformedError(f"{path}: the end of the export is not genuine: {why}")
            anchor = Anchor(bytes.fromhex(one["head"]), f"an export of {one['at'][:10]}")
            vouching.append(Kept(UUID(one["org_id"]), one["last"], anchor, signed.read_time(one["at"])))
    if not vouching:
        raise MalformedError(f"{path}: holds no signed head, receipt or export")
    return vouching


class _Malformed(Exception):
    """Not an export, or not a whole one."""


@dataclass(slots=True)
class _Reader:
    """Takes an export line by line; nothing of it is kept but heads."""

    keys: bytes
    kept: list[Kept]
    org_id: OrgId = _NO_ORG
    line: int = 0
    _span: Span | None = None
    _heads: list[SignedHead] = field(default_factory=list)
    _receipts: list[dict[str, Any]] = field(default_factory=list)
    _chain: Chain | None = None
    _early: ChainResult | None = None
    _end: dict[str, Any] | None = None
    _digest: Any = field(default_factory=hashlib.sha256)

    def feed(self, line: bytes) -> None:
        self.line += 1
        if self._end is not None:
            raise _Malformed("something follows the end")
        found = _object(line.removesuffix(b"\n")) if len(line) <= _MAX_LINE else None
        if found is None or canonical(found) + b"\n" != line:
            raise _Malformed("not a line of canonical JSON")
        kind = found.get("type")
        if self._span is None:
            if kind != TYPE:
                raise _Malformed("not an audit export, or of a version unknown here")
            self._begin(found)
        elif kind == END_TYPE:
            self._end = {**found, "expected": self._digest.hexdigest()}
        elif kind == audit_heads.TYPE:
            self._heads.append(self._read(audit_heads.read, found))
        elif isinstance(kind, str) and kind.startswith(RECEIPT):
            self._receipts.append(found)
        elif kind is None:
            self._row(found)
        else:
            raise _Malformed("a kind of line unknown here")
        self._digest.update(line)

    def finish(self) -> ChainResult:
        if self._span is None:
            raise _Malformed("the file is empty")
        self._start()
        result = self._early or self._chain_result()
        if not result.is_whole:
            return result
        if self._end is None:
            at = (result.head.position if result.head else self._span.first - 1) + 1
            return failed(self.org_id, Fault.TRUNCATED, at, "the end of the export is missing", rows=result.rows, head=result.head)
        return self._ended({name: value for name, value in self._end.items() if name != "expected"}, result)

    def _ended(self, end: dict[str, Any], result: ChainResult) -> ChainResult:
        assert self._span is not None
        assert self._end is not None
        head = result.head or Head(self._span.first - 1, self._span.previous)
        if (why := signed.problem(_END_DOMAIN, end, signed.key_set(self.keys))) is not None:
            return failed(self.org_id, Fault.HEAD_FORGED, head.position, f"the end of the export is not genuine: {why}")
        if end.get("org_id") != str(self.org_id) or end.get("first") != self._span.first:
            return failed(self.org_id, Fault.HEAD_FORGED, head.position, "the end belongs to another export")
        last = end.get("last")
        if isinstance(last, int) and last > head.position:
            return failed(
                self.org_id, Fault.TRUNCATED, head.position + 1, f"the end is missing: the export reached {last}", rows=result.rows
            )
        if end.get("head") != head.hash.hex() or last != head.position or self._span.last != head.position:
            return failed(self.org_id, Fault.REWRITTEN, head.position, "the last row is not the one that the end of the export names")
        if end.get("digest") != self._end["expected"]:
            return failed(self.org_id, Fault.MALFORMED, head.position, "a line of the export was changed, added or taken out")
        return replace(result, heads=len(self._heads), head=head if head.position else None)

    def _begin(self, found: dict[str, Any]) -> None:
        first, last = found.get("first"), found.get("last")
        if type(first) is not int or type(last) is not int or not 1 <= first <= last + 1:
            raise _Malformed("no positions in the header")
        try:
            self.org_id = OrgId(signed.exact(found.get("org_id"), UUID, str))
            previous: bytes = signed.exact(found.get("previous"), bytes.fromhex, bytes.hex)
            at: datetime = signed.exact(found.get("at"), signed.read_time, signed.spelled_time)
            is_newest = found.get("is_newest") is True
        except (ValueError, TypeError):
            raise _Malformed("no header of an export") from None
        self._span = Span(self.org_id, first, last, previous, is_newest, at)
        if first == 1 and previous != beginning(self.org_id):
            raise _Malformed("the header names another beginning")

    def _start(self) -> None:
        """Before the first row: what vouches for the rows that follow."""
        if self._chain is not None or self._early is not None or self._span is None:
            return
        span = self._span
        # A head beyond the export contradicts it only if the log should have reached it by then.
        kept = [
            (one.position, one.anchor)
            for one in self.kept
            if one.org_id == self.org_id
            and span.first - 1 <= one.position
            and (one.position <= span.last or (span.is_newest and one.at <= span.at))
        ]
        anchors = vouched(self.org_id, self._heads, self._receipts, kept, self.keys, from_first=span.first == 1)
        if isinstance(anchors, ChainResult):
            self._early = anchors
            return
        if span.first > 1 and not any(head.position == span.first - 1 for head in self._heads):
            raise _Malformed("no signed head proves where the first row stands")
        del anchors[0]
        self._chain = Chain(self.org_id, anchors, Head(span.first - 1, span.previous))

    def _row(self, found: dict[str, Any]) -> None:
        self._start()
        if self._chain is not None:
            self._chain.feed(self._read(_row, found))

    def _chain_result(self) -> ChainResult:
        assert self._chain is not None
        return self._chain.finish()

    @staticmethod
    def _read(read: Any, found: dict[str, Any]) -> Any:
        try:
            return read(found)
        except (MalformedError, KeyError, ValueError, TypeError, AttributeError):
            raise _Malformed("not a line of an export") from None


def _row(found: dict[str, Any]) -> AuditRow:
    if found.keys() != {"org_id", "position", "at", "actor", "action", "object", "fields", "previous", "hash"}:
        raise ValueError("another set of names")
    if type(found["position"]) is not int or not isinstance(found["fields"], dict):
        raise TypeError("not a row")
    row = AuditRow(
        org_id=OrgId(signed.exact(found["org_id"], UUID, str)),
        position=found["position"],
        at=datetime.fromisoformat(found["at"]),
        actor=found["actor"],
        action=found["action"],
        object=found["object"],
        fields=found["fields"],
        previous=signed.exact(found["previous"], bytes.fromhex, bytes.hex),
        hash=signed.exact(found["hash"], bytes.fromhex, bytes.hex),
    )
    if {**content(row), "hash": row.hash.hex()} != found:
        raise ValueError("another spelling")
    return row


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = parse(line)
    except MalformedError:
        return None
    return found if isinstance(found, dict) else None


def bounded(file: BinaryIO) -> Iterable[bytes]:
    """Lines of at most so many bytes: a file without line ends must not fill the memory."""
    while line := file.readline(_MAX_LINE + 1):
        yield line
