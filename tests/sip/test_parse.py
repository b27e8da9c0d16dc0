"""From bytes to messages: whole, torn at every byte, several at once, and smuggled."""

import time
from contextlib import suppress

import pytest

from hushwire.sip.digest import parse_authorization
from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request, Response
from hushwire.sip.parse import MAX_HEADERS, MAX_MESSAGE, Ping, StreamParser, parse
from tests.sip.world import OFFER, request_text

INVITE = request_text(body=OFFER, extra="Content-Type: application/sdp\r\n")


def test_a_message_that_nobody_changed_goes_out_as_it_came() -> None:
    assert parse(INVITE).to_bytes() == INVITE


def test_typed_headers() -> None:
    message = parse(INVITE)
    assert isinstance(message, Request)
    assert message.method == "INVITE"
    assert message.via.branch == "z9hG4bKone"
    assert message.via.sent_by == "192.0.2.99:5060"
    assert message.from_tag == "theirs"
    assert message.to_tag == ""
    assert str(message.cseq) == "1 INVITE"
    assert message.max_forwards == 70
    assert message.content_type == "application/sdp"
    assert message.contact is not None
    assert message.body == OFFER


def test_compact_forms_folding_and_odd_spacing_are_read() -> None:
    text = (
        b"OPTIONS sip:a@b SIP/2.0\r\nv  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;rport;branch=z9hG4bKx\r\n"
        b"f:\t<sip:a@b>\r\n ;\r\n  tag = 9\r\n"
        b"T:<sip:c@d>\r\ni: x\r\ncseq: 0009\r\n  OPTIONS\r\nl: 0\r\n\r\n"
    )
    message = parse(text)
    assert message.via.host == "192.0.2.2"
    assert message.via.has("rport")
    assert message.from_tag == "9"
    assert message.cseq.number == 9


def test_several_values_of_one_header_by_lines_and_commas() -> None:
    text = request_text(extra='Route: <sip:a@h;x="1">, "b, c" <sip:b@h>\r\nroute: <sip:c@h>\r\n').replace(b';x="1"', b";x=1")
    assert [str(route.uri) for route in parse(text).routes] == ["sip:a@h;x=1", "sip:b@h", "sip:c@h"]


def test_bytes_after_the_body_of_a_datagram_are_dropped() -> None:
    assert parse(INVITE + b"INVITE sip:x@y SIP/2.0\r\n\r\n").body == OFFER


def test_a_datagram_without_content_length_is_body_to_its_end() -> None:
    text = INVITE.replace(f"Content-Length: {len(OFFER)}\r\n".encode(), b"")
    assert parse(text).body == OFFER


def test_every_prefix_of_a_message_is_an_error_or_the_message() -> None:
    for end in range(len(INVITE)):
        with pytest.raises(ParseError):
            parse(INVITE[:end])


@pytest.mark.parametrize("size", range(1, 12))
def test_a_stream_torn_anywhere_gives_the_same_messages(size: int) -> None:
    stream = INVITE + b"\r\n\r\n" + request_text("OPTIONS") + b"\r\n" + INVITE
    parser = StreamParser()
    found = [item for start in range(0, len(stream), size) for item in parser.feed(stream[start : start + size])]
    assert [type(item).__name__ for item in found] == ["Request", "Ping", "Request", "Request"]
    assert [item.to_bytes() for item in found if isinstance(item, Request)] == [INVITE, request_text("OPTIONS"), INVITE]
    assert parser.is_idle


def test_a_stream_split_in_two_at_every_byte() -> None:
    for at in range(1, len(INVITE)):
        parser = StreamParser()
        found = [*parser.feed(INVITE[:at]), *parser.feed(INVITE[at:])]
        assert [item.to_bytes() for item in found if isinstance(item, Request)] == [INVITE]


def test_many_messages_in_one_segment() -> None:
    assert len(list(StreamParser().feed(INVITE * 40))) == 40


def test_ping_and_pong() -> None:
    parser = StreamParser()
    assert list(parser.feed(b"\r\n\r\n")) == [Ping()]
    assert list(parser.feed(b"\r\n")) == []
    assert list(parser.feed(b"\r\n")) == [Ping()]


def test_a_stream_message_without_content_length_ends_the_stream() -> None:
    parser = StreamParser()
    text = INVITE.replace(f"Content-Length: {len(OFFER)}\r\n".encode(), b"")
    (error,) = parser.feed(text)
    assert isinstance(error, ParseError)
    assert error.is_fatal
    assert error.status == 400
    assert list(parser.feed(INVITE)) == []


@pytest.mark.parametrize("length", ["", "Content-Length: 5x\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 00000000005\r\n"])
def test_without_a_proper_length_nothing_behind_a_message_is_read_whatever_else_is_wrong_with_it(length: str) -> None:
    inner = request_text("OPTIONS")
    for broken in (b"From: nobody <\r\n", b"From: <sip:a@b>;tag=1\r\n"):
        head = b"INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx\r\n" + broken
        found = list(StreamParser().feed(head + length.encode() + b"\r\n" + inner + inner))
        assert len(found) == 1
        assert isinstance(found[0], ParseError)
        assert found[0].is_fatal


def test_what_may_not_be_taken_is_passed_over_and_the_framing_is_kept() -> None:
    answers = iter((False, True))
    parser = StreamParser(may_take=lambda _size: next(answers))
    (found,) = parser.feed(request_text("OPTIONS") + INVITE)
    assert isinstance(found, Request)
    assert found.method == "INVITE"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Contact", ",".join(["sip:a"] * 10_000)),
        ("Route", ",".join(["<sip:a;lr>"] * 5_000)),
        ("Record-Route", ",".join(["<sip:a;lr>"] * 5_000)),
        ("Contact", "<sip:a>" + ";a" * 30_000),
        ("Contact", '"' + '\\"' * 30_000 + '" <sip:a>'),
        ("Contact", "<sip:a" + ";a" * 30_000 + ">"),
    ],
)
def test_what_a_stranger_makes_us_take_apart_is_bounded(name: str, value: str) -> None:
    made = parse(request_text("OPTIONS", contact=None, extra=f"{name}: {value}\r\n"))
    with pytest.raises(ParseError):
        _ = made.contacts, made.routes, made.record_routes


@pytest.mark.parametrize("extra", ["Content-Length: 5\r\n", "l: 5\r\n", "Content-Length : 5\r\n"])
def test_two_content_lengths_end_the_stream(extra: str) -> None:
    (error,) = StreamParser().feed(request_text(extra=extra))
    assert isinstance(error, ParseError)
    assert error.is_fatal


def test_a_stream_without_end_is_cut_off() -> None:
    parser = StreamParser()
    (error,) = [item for _ in range(200) for item in parser.feed(b"X: " + b"a" * 1000)]
    assert isinstance(error, ParseError)
    assert error.is_fatal
    (error,) = StreamParser().feed(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 99999999\r\n\r\n")
    assert isinstance(error, ParseError)
    assert error.is_fatal


def test_a_bad_message_in_a_stream_does_not_spoil_the_next() -> None:
    bad = request_text().replace(b"CSeq: 1 INVITE", b"CSeq: x INVITE")
    first, second = StreamParser().feed(bad + INVITE)
    assert isinstance(first, ParseError)
    assert not first.is_fatal
    assert isinstance(second, Request)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Max-Forwards: 70", b"Max-Forwards: 70\nX: y"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\rX: y"),
        (b"Max-Forwards: 70", b"Max Forwards: 70"),
        (b"Max-Forwards: 70", b"Max-Forwards"),
        (b"Max-Forwards: 70", b": 70"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\r\nCall-ID: two"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=z"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 OPTIONS"),
        (b"CSeq: 1 INVITE", b"CSeq: 4294967296 INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: -1 INVITE"),
        (b"Content-Length: ", b"Content-Length: 9"),
        (b"Content-Length: ", b"Content-Length: -"),
        (b"From: <sip:peer@192.0.2.99>", b"From: <sip:peer@192.0.2.99"),
        (b"SIP/2.0\r\nVia", b"SIP/2.0 \r\nVia"),
        (b"INVITE sip:", b"INVITE  sip:"),
        (b"INVITE sip:+4930555@192.0.2.1 ", b"INVITE <sip:+4930555@192.0.2.1> "),
    ],
)
def test_what_can_be_answered_is_an_error_with_400(old: bytes, new: bytes) -> None:
    assert old in INVITE
    with pytest.raises(ParseError) as found:
        parse(INVITE.replace(old, new, 1))
    assert found.value.status == 400
    assert found.value.request is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n continuation\r\n\r\n",
        b"SIP/2.0 4294967301 better not\r\nVia: SIP/2.0/UDP a\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nVia: nonsense\r\nFrom: <sip:a@b>\r\n\r\n",
        b"a" * (MAX_MESSAGE + 1),
        b"OPTIONS sip:a SIP/2.0\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    ],
)
def test_what_can_not_be_answered_is_an_error_without_status(data: bytes) -> None:
    with pytest.raises(ParseError) as found:
        parse(data)
    assert found.value.status is None


def test_another_version_gets_505() -> None:
    with pytest.raises(ParseError) as found:
        parse(INVITE.replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1))
    assert found.value.status == 505


def test_a_response_may_lack_its_reason_phrase() -> None:
    text = INVITE.replace(b"INVITE sip:+4930555@192.0.2.1 SIP/2.0", b"SIP/2.0 100 ")
    message = parse(text)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (100, "")


def test_a_value_with_a_line_break_never_leaves() -> None:
    message = parse(INVITE)
    for value in ("a\r\nb: c", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="line break"):
            message.with_headers(message.headers.with_line("X", value)).to_bytes()


def test_bytes_that_are_no_utf_8_survive() -> None:
    text = INVITE.replace(b"Max-Forwards", b"Subject: \xff\xfe\r\nMax-Forwards")
    assert parse(text).to_bytes() == text


def test_headers_are_edited_without_losing_order() -> None:
    headers = parse(INVITE).headers
    assert [name for name, _ in headers.replaced("max-forwards", "69")] == [name for name, _ in headers]
    assert headers.replaced("max-forwards", "69").get("Max-Forwards") == "69"
    assert "v" in headers
    assert "via" not in headers.without("Via")


def test_hostile_text_costs_linear_time() -> None:
    def cost(count: int) -> float:
        # As large as a message may be, in the shapes that make careless patterns backtrack.
        texts = [
            request_text(extra="Contact: " + '"\\' * count + "\r\n"),
            request_text(extra="X:" + " " * count + "\r\n" + " " * count + "\r\n"),
            request_text(uri="sip:" + "%41" * count),
            request_text(uri="sip:" + "a;" * count + "@h"),
            request_text(via_extra=";a" * count + "\x01"),
            *(
                request_text(extra=f"Authorization: Digest a=b,{tail}\r\n")
                for tail in (
                    " " * count + ",",
                    ", " * count + "x",
                    "a" * count,
                    '"\\a' * count,
                    "a= " * count,
                    'a="\\a" ' * count,
                    "a=b=" * count,
                )
            ),
        ]
        start = time.process_time()
        for text in texts:
            with suppress(ParseError):
                _ = parse(text).contacts
            with suppress(ParseError):
                parse_authorization(parse(text).headers.get("Authorization") or "")
        return time.process_time() - start

    cost(1000)
    assert cost(16000) < 0.5
