"""Diversion (RFC 5806) and History-Info (RFC 7044): written, read back, counted, and hidden where they are to be."""

from dataclasses import replace

import pytest

from hushwire.sip.diversion import MOST, Diverted, latest, lines, times
from hushwire.sip.headers import Headers, Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri

BY = NameAddr(SipUri("voice.example.org", "+493023125000"))
TOWARDS = SipUri("carrier.example", "+442079460123", params=(("transport", "tcp"),))


def request(*headers: Line) -> Request:
    return Request("INVITE", "sip:x@y", Headers([("From", "<sip:a@b>;tag=1"), ("To", "<sip:x@y>"), *headers]))


def test_a_diversion_is_told_in_both_headers_and_read_back_from_either() -> None:
    diversion, history = lines(Diverted(BY, "user-busy", 2), TOWARDS)
    assert diversion == ("Diversion", "<sip:+493023125000@voice.example.org>;reason=user-busy;counter=2;privacy=off")
    first, then = "<sip:+493023125000@voice.example.org>;index=1", "<sip:+442079460123@carrier.example;cause=486>;index=1.1;mp=1"
    assert history == ("History-Info", f"{first}, {then}")
    for header, count in ((diversion, 2), (history, 1)):
        told = latest(request(header))
        assert told is not None
        assert told.by is not None
        assert (str(told.by.uri), told.reason, told.times) == (str(BY.uri), "user-busy", count)


def test_who_hides_stands_nowhere_and_is_read_as_nobody() -> None:
    for header in lines(Diverted(None, "no-answer"), TOWARDS):
        assert "3023125" not in header[1]
        told = latest(request(header))
        assert told is not None
        assert (told.by, told.reason) == (None, "no-answer")
    _, history = lines(Diverted(BY, "no-answer"), TOWARDS)
    hidden = latest(request(history, ("Privacy", "history")))
    assert hidden is not None
    assert hidden.by is None


@pytest.mark.parametrize(
    ("headers", "count"),
    [
        ((), 0),
        ((("Diversion", "<sip:1@a>, <sip:2@b>;counter=3"),), 4),
        ((("Diversion", "<sip:1@a>;counter=0"), ("Diversion", "<sip:1@a>;counter=x")), 2),
        ((("Diversion", ", ".join(["<sip:1@a>;counter=99"] * 3)),), MOST),
        ((("History-Info", "<sip:1@a>;index=1, <sip:2@b>;index=1.1, <sip:3@c>;index=1.1.1"),), 2),
        ((("Diversion", "<sip:1@a>"), ("History-Info", "<sip:1@a>, <sip:2@b>, <sip:3@c>")), 2),
        ((("Diversion", "<sip:1@a"),), MOST),
    ],
)
def test_diversions_are_counted_by_whichever_header_tells_more_and_what_is_unreadable_counts_most(
    headers: tuple[Line, ...], count: int
) -> None:
    assert times(request(*headers)) == count


@pytest.mark.parametrize("value", ["<sip:1@a", "<sip:+49@x>;privacy=full", "<sip:+49@x>;privacy=uri", '<tel:+49>;reason="<x>"', "\x00"])
def test_hostile_and_hidden_diversions_name_nobody_and_bring_no_words_of_theirs(value: str) -> None:
    told = latest(request(("Diversion", value)))
    assert told is None or told.reason == "unknown"
    assert told is None or told.by is None or "privacy" not in value
    written = lines(replace(told or Diverted(None, 'x";y'), by=None), TOWARDS)
    assert all("reason=unknown" in line or "cause=404" in line for _, line in written)
