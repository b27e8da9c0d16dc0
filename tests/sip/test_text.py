"""Texts in MESSAGE requests: what is taken, and how a long one is cut."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.sip import refusals
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.sip.text import DATAGRAM_BYTES, MOST_BYTES, NoText, Text, date_line, parts, read_text, room_of


def message(body: bytes, content_type: str | None = "text/plain", more: str = "") -> Request:
    typed = "" if content_type is None else f"Content-Type: {content_type}\r\n"
    head = (
        "MESSAGE sip:102@acme.example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
        "From: <sip:anna@acme.example.org>;tag=1\r\nTo: <sip:102@acme.example.org>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n"
        f"{typed}{more}Content-Length: {len(body)}\r\n\r\n"
    )
    found = parse(head.encode() + body)
    assert isinstance(found, Request)
    return found


@pytest.mark.parametrize(
    "content_type", ["text/plain", "TEXT/Plain", 'text/plain; charset="UTF-8"', "text/plain;charset=us-ascii;format=flowed"]
)
def test_plain_text_is_taken_as_it_came(content_type: str) -> None:
    assert read_text(message(b"Hi\r\nthere \t", content_type, "Expires: 30\r\n")) == Text("Hi\r\nthere \t", 30)
    assert read_text(message("Grüße 👋".encode())) == Text("Grüße 👋", None)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"<a/>", "application/im-iscomposing+xml", 415, "text-type"), (b"x", None, 415, "text-type"),
        (b"x", "message/cpim", 415, "text-type"),
        (b"x", "text/plain;charset=iso-8859-1", 415, "text-charset"), (b"\xff", "text/plain", 400, "text-unreadable"),
        (b"a\x00b", "text/plain", 400, "text-unreadable"), (b"\xc3\xa4", "text/plain;charset=us-ascii", 400, "text-unreadable"),
        (b"", "text/plain", 400, "text-empty"), (b" \r\n", "text/plain", 400, "text-empty"),
        (b"a" * (MOST_BYTES + 1), "text/plain", 413, "text-too-long"),
    ],
)  # fmt: skip
def test_what_is_no_plain_text_is_refused_for_a_reason_of_the_catalogue(
    body: bytes, content_type: str | None, status: int, reason: str
) -> None:
    found = read_text(message(body, content_type))
    assert isinstance(found, NoText)
    assert (found.status, found.reason) == (status, reason)
    assert refusals.REFUSALS[reason].status == status
    assert ("Accept", "text/plain") in found.headers or status != 415


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400), st.integers(16, 300))
def test_parts_fit_their_room_and_together_are_the_text(text: str, room: int) -> None:
    found = parts(text, room)
    assert "".join(found) == text
    assert all(0 < len(part.encode()) <= room for part in found)


def test_a_text_is_cut_between_words_and_never_within_what_people_see_as_one_character() -> None:
    assert parts("one two three", 16) == ["one two three"]
    assert parts("aaaaaaaa bbbbbbbb cccccccc", 20) == ["aaaaaaaa bbbbbbbb ", "cccccccc"]
    assert parts("x" * 14 + "e\u0301" + "y", 16) == ["x" * 14, "e\u0301y"]
    family = "👩\u200d👩\u200d👧"
    assert parts("x" * 8 + family, 20) == ["x" * 8, family]


def test_a_part_and_what_stands_around_it_fit_a_datagram() -> None:
    long_route = "<sip:hwf-" + "a" * 90 + "@192.0.2.200:5060;transport=tcp;lr>"
    assert 16 < room_of("sip:ben@192.0.2.100:5060", "<sip:anna@acme.voice.example.org>", long_route) < DATAGRAM_BYTES - 600
    assert room_of("x" * 2000) == 240


def test_a_date_is_in_gmt_whatever_zone_it_was_noted_in() -> None:
    assert date_line(datetime(2026, 11, 26, 9, 0, tzinfo=timezone(timedelta(hours=2)))) == ("Date", "Thu, 26 Nov 2026 07:00:00 GMT")
    assert date_line(datetime(2026, 11, 26, 7, 0, tzinfo=UTC))[1].endswith("07:00:00 GMT")
