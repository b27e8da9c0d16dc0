"""Whether a signed statement about the caller holds for a call (RFC 8224 section 6.2, ATIS-1000074): pure, time is an argument.

read        the Identity headers of an INVITE -> the statement to check
contradicts what of it can be judged without its signer: number, freshness, destination
confirm     and with it: authority over the number, signature
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Headers
from hushwire.sip.passport import DIV, SHAKEN, Attestation, PassportError, Token, canonical_number, parse, verifies
from hushwire.sip.sti_certificate import Fault, Signer
from hushwire.sip.uri import split_quoted

FRESH_S: Final = 60
"""RFC 8224 section 6.2.1, step 5: "it is RECOMMENDED that ... 60 seconds"."""
LONGEST_HEADER: Final = 8192
MOST_HEADERS: Final = 8
_LONGEST_URL: Final = 512


class Standing(StrEnum):
    """What is known of a caller's number; stable, since rows carry it."""

    PASSED = "passed"  # somebody whom the operator trusts signed for this call
    FAILED = "failed"  # a statement was there, and it is wrong
    UNVERIFIED = "unverified"  # nothing was said, or it could not be checked


@frozen
class Verdict:
    """`reason` is a word, None where it passed. `attestation` is told only where it passed, and so is `signer`: the provider's codes."""

    standing: Standing
    reason: str | None = None
    attestation: Attestation | None = None
    signer: str | None = None


@frozen(repr=False)
class Statement:
    """A statement to check, and where its certificate is. `diversions` are those that came along of who sent the call elsewhere."""

    token: Token
    url: str
    diversions: tuple["Statement", ...] = ()

    def __repr__(self) -> str:
        return f"Statement({SHOWN})"


def failed(reason: str) -> Verdict:
    """A statement that is wrong."""
    return Verdict(Standing.FAILED, reason)


def unverified(reason: str) -> Verdict:
    """Nothing that could be checked."""
    return Verdict(Standing.UNVERIFIED, reason)


def header(token: str, url: str) -> str:
    """An Identity header's value (RFC 8224 section 4)."""
    return f"{token};info=<{url}>;alg=ES256;ppt={SHAKEN}"


def read(headers: Headers) -> Statement | Verdict:
    """The SHAKEN statement among the Identity headers; those of other extensions are passed over (RFC 8224 section 6.2, step 1)."""
    values = headers.all("Identity")
    if not values:
        return unverified("unsigned")
    if len(values) > MOST_HEADERS or sum(map(len, values)) > LONGEST_HEADER:
        return failed("oversized")
    found = [one for value in values if (one := _taken_apart(value)) is not None]
    if len(found) < len(values):
        return failed("malformed")
    ours = [one for one in found if one[1].get("ppt") == SHAKEN]
    if not ours:
        return unverified("extension")
    if len(ours) > 1:
        return failed("ambiguous")  # which of two counts would be another reader's choice
    elsewhere = [_statement(text, params, DIV) for text, params in found if params.get("ppt") == DIV]
    diversions = [one for one in elsewhere if isinstance(one, Statement)]  # what can't be read leads nowhere
    made = _statement(*ours[0], SHAKEN)
    return replace(made, diversions=tuple(diversions)) if isinstance(made, Statement) else made


def _statement(text: str, params: dict[str, str], ppt: str) -> Statement | Verdict:
    if params.get("alg", "ES256") != "ES256":
        return failed("algorithm")
    try:
        token = parse(text)
    except PassportError as error:
        return failed(error.defect.value)
    # "the value of the ppt parameter" and of info are those of the token (RFC 8224 section 4.1, steps 4 and 5).
    if token.passport.ppt != ppt or params.get("info") != token.passport.x5u:
        return failed("header-mismatch")
    return Statement(token, token.passport.x5u) if is_https(token.passport.x5u) else failed("certificate-url")


def about(
    statement: Statement, caller: str | None, called: str, meant: str | None, now: float, fresh_s: float = FRESH_S
) -> tuple[Statement, ...] | Verdict:
    """What has to be confirmed for this call: the statement, and the diversions that led from whom it was made for to who is called.

    A verdict where it can't be about this call, whoever signed it. `caller` is the number that the carrier shows, `called` the one that
    is called, `meant` the one that was (To): canonical +E.164, None where there is none.
    """
    passport = statement.token.passport
    if caller is None:
        return unverified("no-number")
    if passport.orig != canonical_number(caller):
        return failed("caller-mismatch")
    chain, dest, left = [statement], passport.dest, list(statement.diversions)
    while canonical_number(called) not in dest:
        onward = next((one for one in left if one.token.passport.orig == passport.orig and one.token.passport.div in dest), None)
        if onward is None:
            # Somebody sent it elsewhere and did not sign for that: no proof, and no lie either.
            is_diverted = meant is not None and canonical_number(meant) in passport.dest
            return unverified("diverted") if is_diverted else failed("called-mismatch")
        left.remove(onward)
        chain.append(onward)
        dest = onward.token.passport.dest
    for one in chain:
        if one.token.passport.iat < now - fresh_s:
            return failed("stale")
        if one.token.passport.iat > now + fresh_s:
            return failed("not-yet-valid")
    return tuple(chain)


def confirm(chain: Sequence[tuple[Token, Signer | Fault]]) -> Verdict:
    """The verdict, once it is known who signs each of what `about` named."""
    for token, signer in chain:
        if isinstance(signer, Fault):
            return failed(signer.value)
        if not verifies(token, signer.key):
            return failed("signature")
        # Who diverts signs with the right to the number that was called (RFC 8946 section 4.1).
        if not signer.numbers.covers(token.passport.orig if token.passport.div is None else token.passport.div):
            return failed("not-its-number")
    token, signer = chain[0]
    codes = "" if isinstance(signer, Fault) else ",".join(signer.numbers.codes[:4])
    return Verdict(Standing.PASSED, None, token.passport.attest, codes or None)


def _taken_apart(value: str) -> tuple[str, dict[str, str]] | None:
    """The token and the parameters; None where the grammar is not followed or a parameter stands twice."""
    try:
        text, *params = split_quoted(value, ";")
    except ParseError:
        return None
    text = text.strip(" \t")
    if not text:
        return None
    said: dict[str, str] = {}
    for param in params:
        name, _, word = (part.strip(" \t") for part in param.partition("="))
        if word[:1] + word[-1:] in ("<>", '""') and len(word) > 1:
            word = word[1:-1]
        if not name or name.lower() in said:
            return None
        said[name.lower()] = word
    return text, said


def is_https(url: str) -> bool:
    """Whether a certificate may be asked for there: https, a host, no user, no fragment. Where the name leads is another question."""
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and "#" not in url
