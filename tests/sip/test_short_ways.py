"""What is read by a short way, since it comes in every call, is read as by the long one."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hushwire.sip.effects import Accepted, RequestReceived
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import _read_via, parse_via
from hushwire.sip.uri import parse_name_addr
from tests.sip.world import ANNA, BOB, OFFER, TRUNK, World, answer, one, request_text, sent

VIA = (
    "SIP/2.0/UDP host.example:5060", "SIP/2.0/TCP [2001:db8::1]", "SIP / 2.0 / UDP host", ";branch=", "z9hG4bK1", "x", ";rport", ";rport=9",
    ";received=192.0.2.1", ";BRANCH=x", "; branch=x", ";branch", "=", ";", '"', '=";branch=', ";y", " ", "\t", ",", "<", "\u00e9", ":5061",
)  # fmt: skip
ADDRESS = (
    "<", "sip:anna@acme.example", "sip:a;x=y", "tel:+4930123", ">", ";tag=", "abc", ";TAG=x", ";tag", ">;tag=",
    '"', '"Anna" <', "Anna <", " ",
    ";", "=", ",", "\t", "?x=y", "\u00e9", ":",
)  # fmt: skip


def outcome(read: Callable[[str], object], text: str) -> object:
    """A value, or the words of the refusal."""
    try:
        return read(text)
    except ParseError as error:
        return error.words


@given(st.lists(st.sampled_from(VIA), max_size=8).map("".join))
def test_a_via_says_the_same_whether_its_like_came_before_or_not(text: str) -> None:
    long_way = outcome(_read_via, text)
    assert outcome(parse_via, text) == long_way
    assert outcome(parse_via, text) == long_way


@given(st.lists(st.sampled_from(VIA[3:]), max_size=6).map("".join))
def test_a_via_of_a_known_peer_says_the_same_whatever_follows(tail: str) -> None:
    text = VIA[0] + tail
    assert outcome(parse_via, text) == outcome(_read_via, text)


def test_two_vias_that_differ_by_their_branch_alone_are_told_apart() -> None:
    first, second = (parse_via(f"SIP/2.0/UDP host.example:5060;rport;branch=z9hG4bK{n};received=192.0.2.1") for n in (1, 2))
    assert first.branch == "z9hG4bK1"
    assert second.branch == "z9hG4bK2"
    assert first.params == (("rport", None), ("branch", "z9hG4bK1"), ("received", "192.0.2.1"))
    assert str(second) == "SIP/2.0/UDP host.example:5060;rport;branch=z9hG4bK2;received=192.0.2.1"


@given(st.lists(st.sampled_from(ADDRESS), max_size=8).map("".join))
def test_an_address_with_a_tag_alone_says_the_same_as_with_white_space_in_between(text: str) -> None:
    at = text.find(">;tag=")
    if at >= 0 and text.lstrip(" \t").startswith("<"):
        # With the space it goes the long way, and means the same (RFC 3261 section 7.3.1).
        assert outcome(parse_name_addr, text) == outcome(parse_name_addr, f"{text[:at]}> ;tag={text[at + 6 :]}")


def test_calls_that_end_together_are_forgotten_together() -> None:
    world = World()
    begun = world.now
    for number in range(3):
        world.now += 0.03
        invite = world.ua.invite(hop=TRUNK, uri="sip:+4930123@carrier.example", from_=ANNA, to=BOB, now=world.now, body=OFFER)
        (sent_one,) = sent(world.drain())
        assert one(world.receive(answer(sent_one, 200, body=OFFER)), Accepted).invite == invite, number
    assert world.ua.deadline() == begun + 32.1  # Timer M of all three: 64*T1 and the rest of the tenth of a second
    world.run(32.1)
    assert world.ua.deadline() is None


def test_nobody_is_woken_up_for_a_timer_that_was_moved_meanwhile() -> None:
    world = World()
    received = one(world.receive(request_text(body=OFFER, extra="Content-Type: application/sdp\r\n")), RequestReceived)
    assert world.ua.deadline() == world.now + 0.2  # 100
    world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    world.drain()
    assert world.ua.deadline() == world.now + 0.5  # the 2xx once more
