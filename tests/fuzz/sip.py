"""Fuzz targets of signalling, by atheris: `python -m tests.fuzz.sip --target sip --seconds 60 FOUND CORPUS...`.

sip     messages as datagrams and torn streams; then a user agent with a call in it that takes them, while time passes
sdp     session descriptions: read, written, answered and taken as answers, with and without protection
digest  challenges and answers to them, as client and as server
uri     URIs, addresses, and the small grammars of single headers
shaken  Identity headers, the JSON inside their tokens, and lists of numbers in certificates
smpp    PDUs of message centres, torn streams of them, a session that takes them, receipts (tests/fuzz/smpp.py)

Inputs that crash are kept under --artifacts. Like all targets they keep no state between inputs and take no clock and no chance.
"""

import argparse
import base64
import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

try:
    import atheris
except ImportError:  # replay and coverage need no fuzzer
    atheris = None

from cryptography.hazmat.primitives.asymmetric import ec

if atheris is not None and __name__ == "__main__" and not {"--coverage", "--merge"} & set(sys.argv):
    with atheris.instrument_imports(include=["hushwire.sip", "hushwire.sdp", "hushwire.sms.smpp"]):
        import hushwire.sdp.offer_answer
        import hushwire.sip.shaken
        import hushwire.sip.useragent
        import hushwire.sms.smpp.session  # noqa: F401

from hushwire.sdp import offer_answer, session
from hushwire.sdp.crypto import Suite, parse_crypto
from hushwire.sdp.offer_answer import LocalMedia, Srtp
from hushwire.sdp.session import SdpError
from hushwire.sip import digest, headers, parse, passport, refer, reliable, session_timer, shaken, tn_authority, uri
from hushwire.sip.effects import InDialogRequest, RequestReceived, Send
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.sip.useragent import UserAgent, UserAgentConfig
from hushwire.sms.smpp import fields, pdu, receipts
from hushwire.sms.smpp import session as smpp_session
from tests.fuzz.smpp import fuzz_smpp

MAX_INPUT: Final = 4096
SIGNER: Final = ec.derive_private_key(7, ec.SECP256R1())
OURS, THEIRS = Address("192.0.2.1", 5060), Address("192.0.2.99", 5060)
UDP: Final = Flow(Transport.UDP, 1, OURS, THEIRS)
TRUNK: Final = Target(Transport.UDP, "192.0.2.99", 5060)
ANNA, BOB = NameAddr(SipUri("acme.example", "anna")), NameAddr(SipUri("carrier.example", "+4930123"))
OFFER: Final = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
KEYS: Final = {suite: bytes(range(suite.key_bytes)) for suite in Suite}
LOCAL: Final = LocalMedia(address="192.0.2.1", port=20000, rtcp_port=20001, keys=KEYS, session_id=77, version=1)
SEPARATOR: Final = b"\n--\n"
TYPED: Final = (
    "vias", "contacts", "contact", "routes", "record_routes", "max_forwards", "expires", "require", "supported", "content_type",
)  # fmt: skip


class Counting:
    """The same bytes in every run."""

    def __init__(self) -> None:
        self._count = 0

    def token_bytes(self, count: int, /) -> bytes:
        self._count += 1
        return hashlib.sha256(self._count.to_bytes(4, "big")).digest()[:count]


# ------------------------------------------------------------------------------------------------------------- targets


def fuzz_sip(data: bytes) -> None:
    """The first byte says where the rest goes."""
    if not data:
        return
    kind, rest = data[0], data[1:]
    if kind % 3 == 0:
        message(rest)
    elif kind % 3 == 1:
        stream(rest, 1 + kind // 3)
    else:
        engine(rest.split(SEPARATOR)[:8], kind)


def message(data: bytes) -> None:
    try:
        found = parse.parse(data)
    except ParseError as error:
        if error.request is not None:
            agent = UserAgent(UserAgentConfig(sent_by={Transport.UDP: OURS}), Counting())
            agent.receive_malformed(error, UDP)
            agent.drain()
        return
    for name in TYPED:
        try:
            getattr(found, name)
        except ParseError:
            continue
    again = parse.parse(found.to_bytes())
    assert again.headers.without("Content-Length") == found.headers.without("Content-Length"), "written, it reads otherwise"
    assert again.body == found.body, "written, its body is another"
    for _, value in found.headers:
        assert not set("\r\n") & set(value), "a line break got into a header"


def stream(data: bytes, size: int) -> None:
    def kinds(parts: list[bytes]) -> list[str]:
        parser = parse.StreamParser()
        return [repr(type(item)) for part in parts for item in parser.feed(part)]

    torn = [data[start : start + size] for start in range(0, len(data), size)]
    assert kinds([data]) == kinds(torn), "a stream reads otherwise when it is torn"


def engine(texts: list[bytes], kind: int) -> None:
    agent, now = UserAgent(UserAgentConfig(sent_by={Transport.UDP: OURS}, supported=("100rel", "timer", "replaces")), Counting()), 0.0
    agent.invite(hop=TRUNK, uri="sip:+4930123@carrier.example", from_=ANNA, to=BOB, now=now, body=OFFER)
    for number, text in enumerate(texts):
        try:
            agent.receive(parse.parse(text), UDP, now)
        except ParseError as error:
            agent.receive_malformed(error, UDP)
        while effects := agent.drain():
            for effect in effects:
                if isinstance(effect, Send):
                    assert effect.hop in (UDP, TRUNK) or getattr(effect.hop, "remote", THEIRS).host == THEIRS.host, "sent elsewhere"
                elif isinstance(effect, RequestReceived | InDialogRequest):
                    if effect.request.method in ("SUBSCRIBE", "REFER"):
                        agent.accept_subscription(effect.tx, now=now, longest_s=60)
                    else:
                        status = (180, 183, 200, 404)[(kind + number) % 4]
                        agent.respond(effect.tx, status, now=now, body=OFFER if status in (183, 200) else b"")
                        agent.respond(effect.tx, 200 if effect.request.method == "INVITE" else 404, now=now)
        now += 3.0
        agent.handle_timer(now)
    for key in list(agent._core.sessions):
        agent.bye(key, now=now)
    for invite in list(agent._client.invites):
        agent.cancel(invite, now=now)
    for _ in range(400):
        agent.drain()
        at = agent.deadline()
        if at is None:
            break
        now = max(now, at)
        agent.handle_timer(now)
    assert agent.deadline() is None, "a timer is left"
    left = {**agent._server.transactions, **agent._client.transactions}
    assert not left, "a transaction is left"
    assert len(agent._core.sessions) + len(agent._subscriptions) == 0, "a dialog is left"


def fuzz_sdp(data: bytes) -> None:
    try:
        found = session.parse_session(data)
    except SdpError:
        found = None
    if found is not None:
        again = session.parse_session(found.to_bytes())
        assert again.to_bytes() == found.to_bytes(), "written, it reads otherwise"
        for media in found.media:
            for value in media.all("crypto"):
                parse_crypto(value)
    for srtp in Srtp:
        outcome = offer_answer.answer_offer(data, LOCAL, srtp)
        if isinstance(outcome, offer_answer.Answered):
            answer = session.parse_session(outcome.body)
            assert len(answer.media) == len(found.media if found is not None else ()), "an answer has other streams than its offer"
        offer_answer.accept_answer(offer_answer.build_offer(LOCAL, srtp), data, LOCAL)


def values(data: bytes) -> list[str]:
    """Header values, as the parser hands them on: without line breaks."""
    return data.decode("utf-8", "surrogateescape").replace("\r", "\n").split("\n")


def fuzz_digest(data: bytes) -> None:
    first, second = [*values(data), "", ""][:2]
    challenger = digest.Challenger(b"k" * 32, "example.org", Counting())
    credentials = digest.Credentials("anna", "secret")
    try:
        given = digest.parse_authorization(first)
    except ParseError:
        pass
    else:
        kept = digest.ha1(given.algorithm, given.username, "example.org", "unguessable")
        outcome = challenger.check(given, kept, method="INVITE", uri="sip:bob@example.org", now=10.0)
        assert outcome is not digest.Outcome.OK, "somebody who knows no password got in"
        assert challenger.check(given, None, method="INVITE", uri="sip:bob@example.org", now=10.0) is not digest.Outcome.OK
    for value in (first, second):
        try:
            challenge = digest.parse_challenge(value)
        except ParseError:
            continue
        if challenge is not None:
            line = digest.authorization(challenge, credentials, method="BYE", uri="sip:x@y", body=b"", cnonce="c", nc=1)
            assert "\r" not in line, "an answer holds a line break"
            assert "\n" not in line, "an answer holds a line break"
            try:
                mine = digest.parse_authorization(line)
            except ParseError:
                continue  # we answer more than we offer: -sess
            assert mine.nonce == challenge.nonce, "an answer names another nonce"
    digest.choose_challenge([first, second], credentials)
    own_way(challenger, digest.Credentials(first or "anna", second or "secret"))


def own_way(challenger: digest.Challenger, credentials: digest.Credentials) -> None:
    """Any name and password get in once where they are right, and never twice by the same answer."""
    challenge = digest.choose_challenge(list(challenger.challenge(9.0)), credentials)
    assert challenge is not None, "our own challenge can't be answered"
    line = digest.authorization(challenge, credentials, method="BYE", uri="sip:x@y", body=b"", cnonce="c", nc=1)
    given = digest.parse_authorization(line)
    kept = digest.ha1(given.algorithm, credentials.username, "example.org", credentials.password)
    outcomes = [challenger.check(given, kept, method="BYE", uri="sip:x@y", now=now) for now in (10.0, 11.0, 1e6)]
    assert outcomes == [digest.Outcome.OK, digest.Outcome.REPLAY, digest.Outcome.STALE], "the right password is not enough, or too much"


def fuzz_uri(data: bytes) -> None:
    text = "".join(values(data))
    for reader in (uri.parse_uri, uri.parse_name_addr, refer.parse_refer_to):
        try:
            value = reader(text)
        except ParseError:
            continue
        if reader is not refer.parse_refer_to:
            assert str(reader(str(value))) == str(value), "written, it reads otherwise"
        if isinstance(value, SipUri):
            assert value.matches(value), "a URI is not itself"
            other = SipUri(value.host, value.user, secure=value.secure)
            assert other.matches(value) == value.matches(other), "equality is one-sided"
            with suppress(ParseError):
                _ = value.user_unescaped
    for small in (headers.parse_via, headers.parse_cseq, reliable.parse_rack, refer.parse_replaces):
        try:
            shown = str(small(text))
        except ParseError:
            continue
        assert "\n" not in shown, "a line break got through"
    extra = f"Session-Expires: {text}\r\nReplaces: {text}\r\nReason: {text}\r\n"
    request = Request("INVITE", "sip:x@y", headers.Headers([tuple(line.split(": ", 1)) for line in extra.split("\r\n") if ": " in line]))  # type: ignore[misc]
    for look in (session_timer.session_expires, refer.replaces_of):
        try:
            look(request)
        except ParseError:
            continue


def fuzz_shaken(data: bytes) -> None:
    """The first byte says what the rest is."""
    kind, rest = data[:1], data[1:]
    if kind in (b"", b"0"):
        lines = [("Identity", value) for value in values(rest) if value]
        found = shaken.read(headers.Headers(lines))
        if isinstance(found, shaken.Statement):
            statement(found.token)
            assert shaken.is_https(found.url), "a certificate would be asked for elsewhere"
            for called in ("+4930124", "+4930125"):
                shaken.about(found, "+4930123", called, None, 1e9)
    elif kind == b"1":
        parts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in rest.split(SEPARATOR)[:3]]
        with suppress(passport.PassportError):
            statement(passport.parse(".".join(parts)))
    else:
        with suppress(ValueError):
            numbers = tn_authority.read(rest)
            assert numbers.codes or numbers.ranges, "a list of nothing"
            for first, last in numbers.ranges:
                assert len(first) == len(last) <= 15, "a range between numbers of different lengths"
                assert numbers.covers(first), "a range does not hold its first number"


def statement(token: passport.Token) -> None:
    """What was read is what would be written, and nobody signed it."""
    said = token.passport
    for number in (said.orig, *said.dest, *([said.div] if said.div is not None else [])):
        assert 1 <= len(number) <= 32, "a number of no length"
        assert not set(number) - set("0123456789*#"), "a number of other characters"
    assert not passport.verifies(token, SIGNER.public_key()), "a signature that nobody made"
    again = passport.parse(passport.signed(said, SIGNER))
    assert again.passport == replace(said, dest=tuple(sorted(said.dest))), "written, it says something else"
    assert passport.verifies(again, SIGNER.public_key()), "our own signature does not verify"


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "sip": fuzz_sip,
    "sdp": fuzz_sdp,
    "digest": fuzz_digest,
    "uri": fuzz_uri,
    "shaken": fuzz_shaken,
    "smpp": fuzz_smpp,
}
# What each target's corpus must reach, function by function: the readers.
PARSERS: Final = {
    "sip": (parse.__file__, headers.__file__),
    "sdp": (session.__file__, offer_answer.__file__),
    "digest": (digest.__file__,),
    "uri": (uri.__file__, refer.__file__),
    "shaken": (passport.__file__, shaken.__file__, tn_authority.__file__),
    "smpp": (fields.__file__, pdu.__file__, receipts.__file__, smpp_session.__file__),
}
# Functions of those files that read nothing.
WRITERS: Final = (
    "Headers.with_", "Headers.replaced", "Headers.without", "Headers.__", "Headers.lines", "Headers.of", "refer_to", "sipfrag",
    "replaces_of", "Via.received_from", "display_name",
    "confirm", "header", "numbers_of", "Token.mark", "Session.opens_at",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- running


def files(folders: list[Path]) -> list[bytes]:
    found = [path for folder in folders for path in (sorted(folder.iterdir()) if folder.is_dir() else [folder])]
    return [path.read_bytes() for path in found if path.is_file()]


def reached(target: str, inputs: list[bytes]) -> set[tuple[str, int]]:
    """Lines of the readers that the inputs run."""
    wanted, run = set(PARSERS[target]), set[tuple[str, int]]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in wanted:
            return None
        if event == "line":
            run.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        for data in inputs:
            TARGETS[target](data)
    finally:
        sys.settrace(None)
    return run


def readers(target: str) -> set[tuple[str, int]]:
    """All lines of the readers' functions."""
    lines = set[tuple[str, int]]()

    def walk(code: CodeType) -> None:
        name = code.co_qualname
        if code.co_flags & 2 and not name.startswith(WRITERS) and "__repr__" not in name:  # CO_NEWLOCALS: a function's
            lines.update((code.co_filename, line) for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                walk(inner)

    for path in PARSERS[target]:
        walk(compile(Path(path).read_text(), path, "exec"))
    return lines


def merge(target: str, into: Path, others: list[Path]) -> None:
    """Take over what reaches lines that the folder does not reach, the shortest first."""
    run = reached(target, files([into]))
    for data in sorted(files(others), key=len):
        if more := reached(target, [data]) - run:
            run |= more
            (into / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--replay", action="store_true", help="run the inputs, and nothing else")
    parser.add_argument("--coverage", action="store_true", help="run the inputs, and print the lines run and the lines there are")
    parser.add_argument("--merge", action="store_true", help="what the later folders reach beyond the first goes into it")
    parser.add_argument("--artifacts", type=Path, default=Path("build/fuzz/crashes"))
    parser.add_argument("corpus", nargs="*", type=Path, help="folders and files; what is found goes into the first folder")
    given = parser.parse_args()
    if given.coverage:
        lines = readers(given.target)
        print(len(lines & reached(given.target, files(given.corpus))), len(lines))
        return 0
    if given.merge:
        merge(given.target, given.corpus[0], given.corpus[1:])
        return 0
    if given.replay:
        for data in files(given.corpus):
            TARGETS[given.target](data)
        return 0
    if atheris is None:
        sys.exit("tests.fuzz.sip: atheris is not installed")
    given.artifacts.mkdir(parents=True, exist_ok=True)
    kept = f"-artifact_prefix={given.artifacts}/{given.target}-"
    bounds = (f"-max_total_time={given.seconds:.0f}", f"-max_len={MAX_INPUT}", "-timeout=20", "-rss_limit_mb=2048", kept)
    atheris.Setup(["sip", *bounds, "-use_value_profile=1", "-print_final_stats=1", *map(str, given.corpus)], TARGETS[given.target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
