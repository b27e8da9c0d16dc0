"""Checking an audit chain row by row: where it fails, and how it was tampered with. Pure: rows in, a verdict out.

    chain = Chain(org_id, anchors)
    for row in rows: chain.feed(row)
    verdict = chain.finish()

Anchors are heads that somebody outside the table vouches for: hourly signed heads, receipts, files that a customer kept. The chain
itself shows that a row was altered, taken out, put in or moved; only an anchor shows that its end is missing, or that somebody who
knows how it is made has written it anew.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.privacy.canonical import canonical
from hushwire.store.audit import AuditRow

DOMAIN: Final = b"hushwire/audit/1\x00"
_WINDOW: Final = 10_000  # how far from its place a row that was moved is looked for


class Fault(StrEnum):
    """How a chain was tampered with."""

    REMOVED = "removed"
    ALTERED = "altered"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"  # whole in itself, and not the chain that was vouched for
    HEAD_REMOVED = "head-removed"
    HEAD_FORGED = "head-forged"
    RECEIPT_FORGED = "receipt-forged"
    CONTRADICTION = "contradiction"  # two vouched heads of one position
    MALFORMED = "malformed"  # an export that is no export, or not whole


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link of a chain: whoever keeps it notices when the chain is cut or rewritten."""

    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that `source` ("signed head 12", "receipt ...", a file) vouches for."""

    hash: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A head that a file from outside vouches for, as of `at`."""

    org_id: UUID
    position: int
    anchor: Anchor
    at: datetime


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The verdict on one organisation's chain. `broken_at` is the position where it fails (a head's number for faults of heads).

    `confirmed`: up to this position a signed head vouches for the rows; later ones only follow from each other.
    """

    org_id: OrgId
    rows: int
    head: Head | None
    broken_at: int | None = None
    explanation: str = "every row is in its place and unchanged"
    kind: Fault | None = None
    heads: int = 0
    confirmed: int = 0
    signed_at: datetime | None = None  # of the newest signed head
    notes: tuple[str, ...] = field(default=())

    @property
    def is_whole(self) -> bool:
        """True when nothing was found."""
        return self.broken_at is None


def link(row: AuditRow) -> bytes:
    """The hash that a row must have."""
    return hashlib.sha256(DOMAIN + canonical(content(row))).digest()


def content(row: AuditRow) -> dict[str, Any]:
    """What a row's hash covers."""
    return {
        "org_id": str(row.org_id),
        "position": row.position,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": row.actor,
        "action": row.action,
        "object": row.object,
        "fields": row.fields,
        "previous": row.previous.hex(),
    }


def beginning(org_id: UUID) -> bytes:
    """What the first row holds as the hash before it."""
    return hashlib.sha256(DOMAIN + UUID(int=org_id.int).bytes).digest()


def failed(org_id: OrgId, kind: Fault, at: int, explanation: str, *, rows: int = 0, head: Head | None = None) -> ChainResult:
    """A verdict against a chain."""
    return ChainResult(org_id, rows, head, at, explanation, kind)


class Chain:
    """Walks one organisation's rows by rising position. `start`: the head before the first row, where it is not the chain's beginning."""

    def __init__(self, org_id: OrgId, anchors: Mapping[int, Anchor], start: Head | None = None) -> None:
        self._org_id = org_id
        self._anchors = anchors
        self._head = start or Head(0, beginning(org_id))
        self._rows = 0
        self._confirmed = 0
        self._suspect: AuditRow | None = None
        self._next: AuditRow | None = None  # the row after the suspect
        self._true_place: int | None = None  # where the row stands that belongs where the chain fails
        self._verdict: ChainResult | None = None
        if (anchor := anchors.get(self._head.position)) is not None and self._head.position and anchor.hash != self._head.hash:
            self._verdict = self._failed(
                Fault.REWRITTEN, self._head.position, f"the row before the first is not the one that {anchor.source} names"
            )

    def feed(self, row: AuditRow) -> None:
        """The next row as it stands."""
        if self._verdict is not None:
            return
        if self._suspect is not None:
            self._seek(row)
            return
        if (
            row.org_id != self._org_id
            or row.position != self._head.position + 1
            or row.previous != self._head.hash
            or link(row) != row.hash
        ):
            self._suspect = row
            self._seek(row)
            return
        self._head = Head(row.position, row.hash)
        self._rows += 1
        anchor = self._anchors.get(row.position)
        if anchor is not None and anchor.hash != row.hash:
            self._verdict = self._failed(
                Fault.REWRITTEN,
                row.position,
                f"row {row.position} is not the one that {anchor.source} names: the chain was rewritten after row {self._confirmed}",
            )
        elif anchor is not None:
            self._confirmed = row.position

    def finish(self) -> ChainResult:
        """The verdict, when there are no more rows."""
        if self._verdict is not None:
            return self._verdict
        if self._suspect is not None:
            return self._diagnosed(self._suspect)
        beyond = [position for position in self._anchors if position > self._head.position]
        if beyond:
            source = self._anchors[max(beyond)].source
            return self._failed(
                Fault.TRUNCATED, self._head.position + 1, f"the end is missing: {source} says that the chain reached {max(beyond)}"
            )
        head = self._head if self._head.position else None
        return ChainResult(self._org_id, self._rows, head, confirmed=self._confirmed)

    def _seek(self, row: AuditRow) -> None:
        """Looks among what follows a fault for the row that belongs there."""
        if row is not self._suspect and self._next is None:
            self._next = row
        if self._true_place is None and row.previous == self._head.hash and row is not self._suspect:
            expected = self._head.position + 1
            if link(replace(row, position=expected)) == row.hash:
                self._true_place = row.position

    def _diagnosed(self, row: AuditRow) -> ChainResult:
        place = self._head.position + 1
        if row.org_id != self._org_id:
            return self._failed(Fault.INSERTED, row.position, f"row {row.position} is another organisation's")
        if row.position < place:
            return self._failed(Fault.INSERTED, row.position, f"row {row.position} stands where no row can stand")
        if row.position > place:
            if self._true_place is not None:
                return self._moved(place)
            return self._failed(Fault.REMOVED, place, f"row {place} is missing")
        if row.previous == self._head.hash or link(replace(row, previous=self._head.hash)) == row.hash:
            return self._strange(place)
        if link(row) == row.hash:
            return self._severed(row, place)
        origin = self._origin(row)
        if origin is None:
            return self._strange(place)
        if self._true_place is not None:
            return self._moved(place)
        if origin > place:
            return self._failed(Fault.REMOVED, place, f"row {place} is missing: the rows after it were moved up")
        return self._failed(Fault.INSERTED, origin, f"row {origin} was put in: the row that belongs there stands at {place}")

    def _strange(self, place: int) -> ChainResult:
        """A row whose content doesn't fit its hash: put in if the row that belongs there still exists, else altered."""
        if self._true_place is not None:
            return self._failed(Fault.INSERTED, place, f"row {place} was put in: the row that belongs there comes after it")
        return self._failed(Fault.ALTERED, place, f"row {place} was altered")

    def _severed(self, row: AuditRow, place: int) -> ChainResult:
        """A row that is consistent in itself, after a row that is too, and yet they don't fit: one of them was made anew."""
        if self._true_place is not None:
            return self._failed(Fault.INSERTED, place, f"row {place} was put in: the row that belongs there comes after it")
        is_followed = self._next is None or self._next.previous == row.hash
        is_before_safe = self._head.position == 0 or self._head.position == self._confirmed or not self._rows
        if is_followed and not is_before_safe:
            return self._failed(Fault.ALTERED, place - 1, f"row {place - 1} was altered and its hash made anew: row {place} names another")
        return self._failed(Fault.ALTERED, place, f"row {place} was altered and its hash made anew: it doesn't follow the row before it")

    def _moved(self, place: int) -> ChainResult:
        where = "comes after a later row" if self._true_place == place else f"stands at {self._true_place}"
        return self._failed(Fault.REORDERED, place, f"row {place} was moved: it {where}")

    def _origin(self, row: AuditRow) -> int | None:
        """The position that a row's hash was made for, if it isn't too far away."""
        for distance in range(1, _WINDOW):
            for position in (row.position + distance, row.position - distance):
                if position > 0 and link(replace(row, position=position)) == row.hash:
                    return position
        return None

    def _failed(self, kind: Fault, at: int, explanation: str) -> ChainResult:
        return ChainResult(self._org_id, self._rows, self._head if self._rows else None, at, explanation, kind, confirmed=self._confirmed)
