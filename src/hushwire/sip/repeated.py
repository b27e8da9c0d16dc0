"""A REGISTER as bytes: what a phone says again each time that it refreshes, and the seven places in which it says something new.

A refresh differs from the REGISTER before it in Via's branch, From's tag, CSeq, and in what its digest is made of (RFC 3261 sections 8.1.1
and 10.2.4, RFC 7616 section 3.4). `Pattern` is cut from one that was read. What fits it has the same lines with the same meaning: all bytes
around the seven places are the same, and nothing that stands in one of them could end it, or its line. Whoever writes in any other way is
read as everybody is; so nothing here is lenient.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.digest import Authorization
from hushwire.sip.headers import Line
from hushwire.sip.message import Request, copied, response_bytes


class New(NamedTuple):
    """What stands in the seven places. `digits` are of CSeq's number, `uses` is the nonce's count, `response` of the digest."""

    branch: bytes
    from_tag: bytes
    digits: bytes
    nonce: bytes
    uses: bytes
    cnonce: bytes
    response: bytes

    def __repr__(self) -> str:
        return f"New({SHOWN})"


class Pattern:
    """The bytes around the seven places, in the order in which a phone writes these."""

    __slots__ = ("_between", "_first", "_in_order", "_last")

    def __init__(self, pieces: Sequence[bytes], in_order: Callable[[list[bytes]], tuple[bytes, ...]]) -> None:
        self._first, *between, self._last = pieces
        self._between = tuple([(piece, len(piece)) for piece in between])
        self._in_order = in_order

    def read(self, data: bytes) -> New | None:
        """What is new in a REGISTER; None where it differs in anything else."""
        if not data.startswith(self._first) or not data.endswith(self._last):
            return None
        found, start = [], len(self._first)
        for piece, size in self._between:
            end = data.find(piece, start)
            if end < 0:
                return None
            found.append(data[start:end])
            start = end + size
        found.append(data[start : -len(self._last)])
        new = _NEW.fullmatch(b"\n".join(self._in_order(found)))
        return None if new is None else New._make(new.groups())


def pattern_of(data: bytes, request: Request, authorization: Authorization) -> Pattern | None:
    """The pattern of a REGISTER that was read from `data` and whose digest says `authorization`; None where it is not written as usual."""
    index, branch, tag = request.headers.index, request.via.branch or "", request.from_tag
    if request.body or request.to_tag or _OF_OTHERS & index.keys() or len(index["via"]) != 1 or len(index.get("authorization", ())) != 1:
        return None
    if data.find(b"\r\n\r\n") != len(data) - 4 or data.count(b";tag=") != 1:
        return None
    via, from_, digest = _line(data, b"Via: "), _line(data, b"From: "), _line(data, b"Authorization: Digest ")
    if via is None or from_ is None or digest is None or b'"' in data[slice(*via)] or not _DIGEST.fullmatch(data, *digest):
        return None
    if data.rfind(b'"', *from_) > data.find(b">;tag=", *from_):
        return None
    # Where each of the seven stands: within which line, and between what.
    written = (
        (via, b";branch=", branch, b""),
        (from_, b">;tag=", tag, b""),
        ((0, len(data)), b"\r\nCSeq: ", str(request.cseq.number), b" REGISTER\r\n"),
        (digest, b'nonce="', authorization.nonce, b'"'),
        (digest, b"nc=", f"{authorization.nc:08x}", b""),
        (digest, b'cnonce="', authorization.cnonce, b'"'),
        (digest, b'response="', authorization.response, b'"'),
    )
    places = []
    for line, before, value, behind in written:
        said = value.encode("utf-8", "surrogateescape")
        start = data.find(before + said + behind, *line)
        if line is digest:
            while start > line[0] and data[start - 1] not in b", ":  # `nonce` ends `cnonce`
                start = data.find(before + said + behind, start + 1, line[1])
            # All of its commas stand between two parameters, so what follows one is a parameter's name and no part of a value.
            if start > line[0] and not data[line[0] : start].endswith((b",", b", ")):
                return None
        end = start + len(before) + len(said)
        if start < 0 or (not behind and data[end : end + 1] not in (b";", b",", b"\r")):
            return None
        places.append((start + len(before), end))
    order = sorted(range(len(places)), key=places.__getitem__)
    ends = [0, *(end for number in order for end in places[number]), len(data)]
    pieces = [data[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]
    pattern = Pattern(pieces, itemgetter(*[order.index(number) for number in range(len(places))]))
    new = pattern.read(data)
    return pattern if new is not None and new == tuple([value.encode("utf-8", "surrogateescape") for _, _, value, _ in written]) else None


def _line(data: bytes, name: bytes) -> tuple[int, int] | None:
    """Where the value of the only line of this name begins and ends."""
    start = data.find(b"\r\n" + name) + 2 + len(name)
    return (start, data.find(b"\r\n", start)) if start >= 2 + len(name) else None


@frozen(repr=False)
class Reply:
    """The answers to a phone's refreshes, as bytes: what stands around what is new in them; `usual` are the lines of a 200's own."""

    start: bytes
    behind_branch: bytes
    behind_tag: bytes
    behind_digits: bytes
    usual: bytes
    end: bytes

    def to(self, new: New, lines: bytes | None = None, status: bytes = b"200 OK") -> bytes:
        """The answer to one of them; `lines` where they are not the usual ones."""
        return b"".join((
            b"SIP/2.0 ", status, self.start, new.branch, self.behind_branch, new.from_tag, self.behind_tag, new.digits, self.behind_digits,
            self.usual if lines is None else lines, self.end,
        ))  # fmt: skip


def reply_of(request: Request, to_tag: str, usual: Iterable[Line], last: Iterable[Line]) -> Reply:
    """The reply to a REGISTER that has a pattern, and to all that fit it; the `last` lines stand in each answer.

    `request` is as the engine tells it: with what is known of its source in Via.
    """
    head = response_bytes(200, "OK", copied(request, 200, to_tag)).removeprefix(b"SIP/2.0 200 OK").removesuffix(_NO_BODY)
    branch, tag, digits = f";branch={request.via.branch}".encode(), f";tag={request.from_tag}".encode(), b"\r\nCSeq: "
    at_branch = head.index(branch) + len(branch)
    at_tag = head.index(tag, head.index(b"\r\nFrom: ")) + len(tag)
    at_digits = head.index(digits) + len(digits)
    return Reply(
        head[: at_branch - len(branch) + len(b";branch=")],
        head[at_branch : at_tag - len(tag) + len(b";tag=")],
        head[at_tag:at_digits],
        head[at_digits + len(str(request.cseq.number)) :],
        lines_of(usual),
        lines_of(last) + _NO_BODY,
    )


def lines_of(lines: Iterable[Line]) -> bytes:
    """Lines as they stand in a message."""
    return "".join([f"{name}: {value}\r\n" for name, value in lines]).encode("utf-8", "surrogateescape")


def call_id_of(data: bytes) -> bytes:
    """What a message is found by that may fit a pattern; empty where its Call-ID is written in no usual way."""
    start = data.find(_CALL_ID) + len(_CALL_ID)
    return data[start : data.find(b"\r\n", start)] if start >= len(_CALL_ID) else b""


_CALL_ID: Final = b"\r\nCall-ID: "
_NO_BODY: Final = b"Content-Length: 0\r\n\r\n"
_OF_OTHERS: Final = frozenset({"route", "record-route", "content-encoding", "content-type"})
"""Lines that others than the registrar look at."""

_TOKEN: Final = rb"[A-Za-z0-9\-.!%*_+`'~]+"
_VALUES: Final = (
    rb"z9hG4bK" + _TOKEN,
    _TOKEN,
    rb"0|[1-9][0-9]{0,9}",
    rb"[A-Za-z0-9_\-]{64}",  # our nonces (sip/digest.py): 48 bytes in base64 for URLs
    rb"[0-9a-f]{8}",
    rb"[ !#-+\--\[\]-~]+",  # neither quotes, backslashes nor commas
    rb"[0-9a-f]{64}|[0-9a-f]{32}",
)
_NEW: Final = re.compile(b"\n".join([b"(" + value + b")" for value in _VALUES]))
_DIGEST: Final = re.compile(rb'(?:[a-zA-Z0-9]++=(?:"[^",\\\r\n]*+"|[^",\\\s]++)(?:, ?|$))++')
