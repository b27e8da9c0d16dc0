"""HTTP digest for SIP (RFC 7616, RFC 8760, RFC 3261 section 22): challenges and checks as a server, answers as a client.

Server: SHA-256 is offered before MD5, `qop=auth` always. A nonce carries its time of issue and an HMAC, so that challenging a
stranger keeps no state; only a nonce that a right password has used takes a place in the bounded table of seen counts.
"""

import base64
import binascii
import hashlib
import hmac
import re
import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from typing import Final

from hushwire.core.clock import Random
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.errors import ParseError
from hushwire.sip.uri import SipUri, parse_uri, quote, unquote


class Algorithm(StrEnum):
    """Digest algorithms by their wire names, best first."""

    SHA256 = "SHA-256"
    MD5 = "MD5"


class Outcome(StrEnum):
    """What a check found. STALE and REPLAY are answered with a fresh challenge that says `stale=true`."""

    OK = "ok"
    STALE = "stale"  # right password, but the nonce is old or another node's
    BAD = "bad"  # wrong password, unknown user, wrong realm or URI
    REPLAY = "replay"  # right password, but this nonce count was used before


@frozen(repr=False)
class Credentials:
    """What may answer a trunk's challenge: only where the realm is `realm`, or any realm if that is None."""

    username: str
    password: str
    realm: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({SHOWN})"


@frozen(repr=False)
class Authorization:
    """A parsed Authorization or Proxy-Authorization value."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm
    qop: str | None
    nc: int
    cnonce: str

    def __repr__(self) -> str:
        return f"Authorization({self.algorithm})"


@frozen(repr=False)
class Challenge:
    """A parsed WWW-Authenticate or Proxy-Authenticate value that we can answer."""

    realm: str
    nonce: str
    algorithm: Algorithm
    is_sess: bool
    qop: str | None
    opaque: str | None
    is_stale: bool

    def __repr__(self) -> str:
        return f"Challenge({self.algorithm})"


def ha1(algorithm: Algorithm, username: str, realm: str, password: str) -> str:
    """H(username:realm:password) in lower-case hex: all that a server needs to keep (RFC 7616 section 3.4.2)."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def digest_response(
    algorithm: Algorithm, ha1_hex: str, nonce: str, method: str, uri: str, *, qop: str | None, nc: str, cnonce: str, body: bytes = b""
) -> str:
    """The `response` value in lower-case hex (RFC 7616 section 3.4.1, RFC 2069 where qop is absent)."""
    a2 = f"{method}:{uri}:{_new(algorithm, body)}" if qop == "auth-int" else f"{method}:{uri}"
    ha2 = _hash(algorithm, a2)
    if qop is None:
        return _hash(algorithm, f"{ha1_hex}:{nonce}:{ha2}")
    return _hash(algorithm, f"{ha1_hex}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}")


# ---------------------------------------------------------------------------------------------------------- server


@dataclass(slots=True)
class _Seen:
    """Nonce counts used with one nonce: the highest, and a bit for each of the 64 below it; and when it was issued."""

    highest: int
    mask: int
    issued: float


@dataclass(slots=True)
class Challenger:
    """Digest server of one realm on one node.

    `secret` authenticates nonces (32 bytes, made at each start). `ttl_s` is how long a nonce serves. `table_size` bounds the nonces
    whose counts are remembered; what falls out is stale from then on, never fresh again.
    """

    secret: bytes
    realm: str
    random: Random
    ttl_s: float = 300.0
    table_size: int = 65536
    _seen: OrderedDict[str, _Seen] = field(default_factory=OrderedDict, init=False)
    _floor: float = field(default=float("-inf"), init=False)

    def challenge(self, now: float, *, stale: bool = False, source: str = "") -> list[str]:
        """Values for WWW-Authenticate (or Proxy-Authenticate), SHA-256 first (RFC 8760 section 2.4).

        `source` is the address that they are sent to: `is_issued_to` knows it again.
        """
        nonce = self._nonce(now, source)
        tail = ", stale=true" if stale else ""
        realm = quote(self.realm)
        return [f'Digest realm={realm}, nonce="{nonce}", qop="auth", algorithm={name}{tail}' for name in _BY_NAME]

    def check(self, authorization: Authorization, ha1_hex: str | None, *, method: str, uri: str, now: float) -> Outcome:
        """Whether the answer is right, fresh and not a replay.

        `ha1_hex` is the kept H(A1) for the user and the algorithm that it answered with, None for an unknown user: the same
        computation runs then, and fails. `uri` is the Request-URI, with which the digest's own must agree.
        """
        known = ha1_hex is not None and len(ha1_hex) == _LENGTH[authorization.algorithm]
        expected = digest_response(
            authorization.algorithm,
            ha1_hex if ha1_hex is not None and known else "0" * _LENGTH[authorization.algorithm],
            authorization.nonce,
            method,
            authorization.uri,
            qop=authorization.qop,
            nc=f"{authorization.nc:08x}",
            cnonce=authorization.cnonce,
        )
        right = hmac.compare_digest(expected.encode(), authorization.response.encode("utf-8", "surrogateescape"))
        right &= known
        right &= hmac.compare_digest(authorization.realm.encode("utf-8", "surrogateescape"), self.realm.encode())
        right &= authorization.qop == "auth"
        right &= _same_uri(authorization.uri, uri)
        if not right:
            return Outcome.BAD
        return self.use(authorization.nonce, authorization.nc, now)

    def use(self, nonce: str, nc: int, now: float) -> Outcome:
        """Whether the nonce of a right answer is fresh and this count of it new, which it is never again from now on."""
        # One that a right answer has used is ours: the table has its very text.
        seen = self._seen.get(nonce)
        issued = self._issued(nonce) if seen is None else seen.issued
        # RFC 7616 section 3.3, stale: only someone who knows the password is told that the nonce alone was wrong.
        if issued is None or not issued <= now + 1.0 or now - issued > self.ttl_s:
            return Outcome.STALE
        return self._count(seen, nonce, nc, issued)

    def is_issued_to(self, nonce: str, source: str, now: float) -> bool:
        """Whether this very address was sent this nonce lately: then who answers from there also receives there."""
        raw = self._opened(nonce)
        if raw is None or not hmac.compare_digest(raw[16:32], self._source_tag(source, raw[:16])):
            return False
        issued: float = struct.unpack(">d", raw[:8])[0]
        return issued <= now + 1.0 and now - issued <= 2 * self.ttl_s

    def _nonce(self, now: float, source: str) -> str:
        body = struct.pack(">d", now) + self.random.token_bytes(8)
        body += self._source_tag(source, body)
        return base64.urlsafe_b64encode(body + self._tag(body)).decode()

    # Keyed BLAKE2 (RFC 7693 section 2.9), since libcrypto's HMAC looks its parts up anew each time: three times a call, cold.
    def _source_tag(self, source: str, body: bytes) -> bytes:
        return blake2b(body + source.encode(), digest_size=16, key=self.secret, person=b"digest source").digest()

    def _tag(self, body: bytes) -> bytes:
        return blake2b(body, digest_size=16, key=self.secret, person=b"digest nonce").digest()

    def _issued(self, nonce: str) -> float | None:
        """The monotonic second of issue, or None where we didn't issue the nonce."""
        raw = self._opened(nonce)
        if raw is None:
            return None
        issued: float = struct.unpack(">d", raw[:8])[0]
        return issued

    def _opened(self, nonce: str) -> bytes | None:
        """What a nonce of ours holds: time and chance, whom it was sent to, and the tag over these."""
        try:
            raw = base64.b64decode(nonce.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) != 48 or not hmac.compare_digest(self._tag(raw[:32]), raw[32:]):
            return None
        # One text for each nonce, or else the table of counts would see several.
        if base64.urlsafe_b64encode(raw).decode() != nonce:
            return None
        return raw

    def _count(self, seen: _Seen | None, nonce: str, nc: int, issued: float) -> Outcome:
        if seen is None:
            if issued <= self._floor:
                return Outcome.STALE
            if len(self._seen) >= self.table_size:
                oldest, _ = self._seen.popitem(last=False)
                self._floor = max(self._floor, self._issued(oldest) or self._floor)
                if issued <= self._floor:
                    return Outcome.STALE
            self._seen[nonce] = _Seen(nc, 1, issued)
            return Outcome.OK
        if nc > seen.highest:
            seen.mask = ((seen.mask << min(nc - seen.highest, 64)) | 1) & (2**64 - 1)
            seen.highest = nc
            return Outcome.OK
        # A lower count may only be late, not reused: UDP reorders requests.
        back = seen.highest - nc
        if back >= 64 or seen.mask >> back & 1:
            return Outcome.REPLAY
        seen.mask |= 1 << back
        return Outcome.OK


def parse_authorization(value: str) -> Authorization:
    """An Authorization or Proxy-Authorization value. Raises ParseError (status 400); another scheme or algorithm gives 401."""
    params = _parse_digest(value)
    try:
        username, realm, nonce = params["username"], params["realm"], params["nonce"]
        uri, response = params["uri"], params["response"]
    except KeyError:
        raise ParseError("Authorization lacks a mandatory parameter") from None
    algorithm, is_sess = _algorithm(params.get("algorithm"))
    if algorithm is None or is_sess:
        raise ParseError("Authorization has an algorithm that was not offered", status=401)
    nc = params.get("nc", "0")
    if not _NC.fullmatch(nc):
        raise ParseError("Authorization has a malformed nonce count")
    qop = params.get("qop")
    if qop is not None and "cnonce" not in params:
        raise ParseError("Authorization has qop without cnonce")
    return Authorization(
        username, realm, nonce, uri, response.lower(), algorithm, qop.lower() if qop else None, int(nc, 16), params.get("cnonce", "")
    )


class AnswerOf:
    """What all answers of one user to challenges for one URI have in common: `username`, the algorithm, H(A2)."""

    __slots__ = ("_ha2", "_hash", "algorithm", "username")

    def __init__(self, authorization: Authorization, method: str) -> None:
        self.username = authorization.username
        self.algorithm = authorization.algorithm
        self._ha2 = b":auth:" + _hash(self.algorithm, f"{method}:{authorization.uri}").encode()
        self._hash = hashlib.sha256 if self.algorithm is Algorithm.SHA256 else partial(hashlib.md5, usedforsecurity=False)

    def is_right(self, response: bytes, ha1_hex: str, nonce: bytes, nc: bytes, cnonce: bytes) -> bool:
        """Whether it is `digest_response` with qop `auth`; `ha1_hex` is of this user and this algorithm."""
        said = b"%b:%b:%b:%b%b" % (ha1_hex.encode(), nonce, nc, cnonce, self._ha2)
        return hmac.compare_digest(self._hash(said).hexdigest().encode(), response)


# ---------------------------------------------------------------------------------------------------------- client


def parse_challenge(value: str) -> Challenge | None:
    """A WWW-Authenticate or Proxy-Authenticate value; None where its scheme, algorithm or qop is not ours. Raises ParseError."""
    params = _parse_digest(value)
    if "realm" not in params or "nonce" not in params:
        raise ParseError("a challenge lacks a mandatory parameter")
    algorithm, is_sess = _algorithm(params.get("algorithm"))
    if algorithm is None:
        return None
    offered = [part.strip().lower() for part in params["qop"].split(",")] if params.get("qop") else []
    qop = "auth" if "auth" in offered else "auth-int" if "auth-int" in offered else None
    if offered and qop is None:
        return None
    stale = params.get("stale", "").lower() == "true"
    return Challenge(params["realm"], params["nonce"], algorithm, is_sess, qop, params.get("opaque"), stale)


def choose_challenge(values: Iterable[str], credentials: Credentials) -> Challenge | None:
    """The best challenge that these credentials may answer, SHA-256 before MD5; None where the realm is a stranger's."""
    found: list[Challenge] = []
    for value in values:
        try:
            challenge = parse_challenge(value)
        except ParseError:
            continue
        if challenge is not None and credentials.realm in (None, challenge.realm):
            found.append(challenge)
    order = list(Algorithm)
    return min(found, key=lambda item: order.index(item.algorithm), default=None)


def authorization(challenge: Challenge, credentials: Credentials, *, method: str, uri: str, body: bytes, cnonce: str, nc: int) -> str:
    """The Authorization or Proxy-Authorization value that answers a challenge (RFC 7616 section 3.4)."""
    a1 = ha1(challenge.algorithm, credentials.username, challenge.realm, credentials.password)
    if challenge.is_sess:
        a1 = _hash(challenge.algorithm, f"{a1}:{challenge.nonce}:{cnonce}")
    count = f"{nc:08x}"
    response = digest_response(challenge.algorithm, a1, challenge.nonce, method, uri, qop=challenge.qop, nc=count, cnonce=cnonce, body=body)
    name = challenge.algorithm.value + ("-sess" if challenge.is_sess else "")
    parts = [
        f"Digest username={quote(credentials.username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f'uri="{uri}"',
        f'response="{response}"',
        f"algorithm={name}",
    ]
    if challenge.qop is not None:
        parts += [f'cnonce="{cnonce}"', f"qop={challenge.qop}", f"nc={count}"]
    elif challenge.is_sess:
        parts.append(f'cnonce="{cnonce}"')
    if challenge.opaque is not None:
        parts.append(f"opaque={quote(challenge.opaque)}")
    return ", ".join(parts)


# --------------------------------------------------------------------------------------------------------- grammar

_BY_NAME: Final = {algorithm.value: algorithm for algorithm in Algorithm}
_LENGTH: Final = {Algorithm.SHA256: 64, Algorithm.MD5: 32}
_NC: Final = re.compile(r"[0-9A-Fa-f]{1,8}")
# auth-param = token EQUAL ( token / quoted-string ); the branches begin with different characters.
_PARAM: Final = re.compile(
    r"[ \t]*([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*=[ \t]*(?:\"([^\"\\]*(?:\\.[^\"\\]*)*)\"|([^\s\",;=]+=*))[ \t]*(?:,|$)", re.DOTALL
)
_PARAMS: Final = re.compile(rf"(?:{_PARAM.pattern})*+", re.DOTALL)


def _parse_digest(value: str) -> dict[str, str]:
    scheme, _, rest = value.strip(" \t").partition(" ")
    if scheme.lower() != "digest":
        raise ParseError("the authentication scheme is not Digest", status=401)
    rest = rest.rstrip(" \t,")  # `findall` would look for one more parameter from each place of a long tail, to its end
    if not _PARAMS.fullmatch(rest):
        raise ParseError("an authentication header does not follow its grammar")
    params: dict[str, str] = {}
    for name, quoted, plain in _PARAM.findall(rest):
        name = name.lower()
        if name in params:
            raise ParseError("an authentication parameter stands twice")
        params[name] = plain or (unquote(f'"{quoted}"') if "\\" in quoted else quoted)
    return params


def _algorithm(name: str | None) -> tuple[Algorithm | None, bool]:
    if name is None:
        return Algorithm.MD5, False
    upper = name.upper()
    is_sess = upper.endswith("-SESS")
    upper = upper.removesuffix("-SESS")
    return _BY_NAME.get(upper), is_sess


def _hash(algorithm: Algorithm, text: str) -> str:
    return _new(algorithm, text.encode("utf-8", "surrogateescape"))


def _new(algorithm: Algorithm, data: bytes) -> str:
    if algorithm is Algorithm.SHA256:
        return hashlib.sha256(data).hexdigest()
    # MD5 is what phones of the last twenty years speak; RFC 8760 keeps it beside SHA-256.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _same_uri(digest_uri: str, request_uri: str) -> bool:
    """Whether both name the same user, host and port: phones drop or add parameters, but a changed destination is an attack."""
    if digest_uri == request_uri:
        return True
    try:
        left, right = parse_uri(digest_uri), parse_uri(request_uri)
    except ParseError:
        return False
    if isinstance(left, SipUri) and isinstance(right, SipUri):
        return (left.user, left.host, left.port, left.secure) == (right.user, right.host, right.port, right.secure)
    return left == right
