"""RFC 5118, SIP torture test messages for IPv6: each section's case, and what this stack does with it."""

import pytest

from hushwire.sdp.session import parse_session
from hushwire.sip.effects import RequestReceived, Send
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.message import Message, Request, Response
from hushwire.sip.parse import parse
from hushwire.sip.routing import may_name, numeric
from hushwire.sip.uri import SipUri, parse_host_port, parse_sip_uri
from tests.conformance.test_rfc4475 import wire
from tests.sip.world import World, one, responses

HERE = Address("2001:db8::1", 5060)
V6 = Flow(Transport.UDP, 1, HERE, Address("2001:db8::9:1", 5060))


def message(
    start: str, *, via: str = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111", contact: str = "sip:caller@[2001:db8::9:1]",
    body: str = "", to: str = "sip:user@example.com",
) -> bytes:  # fmt: skip
    """A request or response around the part that a section is about."""
    method = start.split(" ", 1)[0] if not start.startswith("SIP/") else "INVITE"
    kind = "Content-Type: application/sdp\n" if body else ""
    head = (
        f"{start}\nTo: {to}\nFrom: sip:user@example.com;tag=81x2\nVia: {via}\nCall-ID: SSG9559905523997077@hlau_4100\nMax-Forwards: 70\n"
        f'Contact: "Caller" <{contact}>\nCSeq: 8912 {method}\n{kind}Content-Length: %LEN%'
    )
    return wire(head, body)


def read(text: bytes) -> Message:
    """Parsed, and written again to the same bytes."""
    found = parse(text)
    assert found.to_bytes() == text
    return found


def request(text: bytes) -> Request:
    found = read(text)
    assert isinstance(found, Request)
    return found


def test_4_1_an_ipv6_reference_in_request_uri_via_and_contact() -> None:
    found = request(message("REGISTER sip:[2001:db8::10] SIP/2.0"))
    assert found.sip_uri.host == "[2001:db8::10]"
    assert (found.via.host, found.via.port) == ("[2001:db8::9:1]", None)
    assert found.contacts[0].sip_uri.host == "[2001:db8::9:1]"
    assert one(World().receive(found, V6), RequestReceived).flow == V6


def test_4_2_an_address_without_brackets_is_refused_with_400() -> None:
    text = message("REGISTER sip:2001:db8::10 SIP/2.0")
    with pytest.raises(ParseError) as refused:
        parse(text)
    world = World()
    world.ua.receive_malformed(refused.value, V6)
    effects = world.drain()
    assert responses(effects) == [400]
    assert [effect.hop for effect in effects if isinstance(effect, Send)] == [V6]


def test_4_3_a_port_within_the_brackets_is_part_of_the_address() -> None:
    uri = request(message("REGISTER sip:[2001:db8::10:5070] SIP/2.0")).sip_uri
    assert (uri.host, uri.port) == ("[2001:db8::10:5070]", None)


def test_4_4_a_port_after_the_brackets_is_a_port() -> None:
    uri = request(message("REGISTER sip:[2001:db8::10]:5070 SIP/2.0")).sip_uri
    assert (uri.host, uri.port) == ("[2001:db8::10]", 5070)


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_4_5_received_is_read_with_and_without_brackets_and_replaced_by_what_is_true(received: str) -> None:
    text = message("OPTIONS sip:[2001:db8::10] SIP/2.0", via=f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111")
    assert request(text).via.param("received") == received
    ok = message("SIP/2.0 200 OK", via=f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111")
    assert isinstance(read(ok), Response)
    stranger = Flow(Transport.UDP, 1, HERE, Address("2001:db8::9:255", 5060))
    (answer,) = World().receive(text, stranger)
    assert isinstance(answer, Send)
    assert parse(answer.data).via.param("received") == "2001:db8::9:255"
    assert answer.hop == stranger


def test_4_6_addresses_in_sdp_have_no_brackets() -> None:
    body = (
        "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live video feed for today's meeting\r\n"
        "c=IN IP6 2001:db8::20\r\nt=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\na=rtpmap:2 G726-32/8000\r\n"
        "m=video 6024 RTP/AVP 107\r\na=rtpmap:107 H263-1998/90000\r\n"
    )
    found = request(message("INVITE sip:user@[2001:db8::10] SIP/2.0", body=body))
    session = parse_session(found.body)
    assert [media.kind for media in session.media] == ["audio", "video"]
    assert b"IN IP6 2001:db8::20" in session.to_bytes()


def test_4_7_addresses_of_both_kinds_in_one_message() -> None:
    via = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144"
    found = request(message("BYE sip:user@host.example.net SIP/2.0", via=via + ";received=192.0.2.1"))
    assert [item.host for item in found.vias] == ["[2001:db8::9:1]", "192.0.2.1"]


def test_4_8_a_session_with_a_stream_of_each_kind() -> None:
    body = (
        "v=0\r\no=bob 280744730 28977631 IN IP4 host.example.com\r\ns=\r\nt=0 0\r\n"
        "m=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\nm=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\n"
    )
    session = parse_session(request(message("INVITE sip:user@[2001:db8::10] SIP/2.0", body=body)).body)
    assert [media.kind for media in session.media] == ["audio", "video"]


def test_4_9_ipv4_mapped_addresses_are_read_and_judged_as_ipv4() -> None:
    text = message(
        "INVITE sip:user@example.com SIP/2.0",
        via="SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\nVia: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111",
        contact="sip:ted@[::ffff:192.0.2.2]",
        body="v=0\r\no=a 1 0 IN IP6 ::ffff:192.0.2.2\r\ns=-\r\nc=IN IP6 ::ffff:192.0.2.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n",
    )
    found = request(text)
    assert (found.via.host, found.via.port) == ("[::ffff:192.0.2.10]", 19823)
    assert parse_session(found.body).media[0].port == 6000
    assert str(numeric("[::ffff:192.0.2.2]")) == "192.0.2.2"
    # The other way to write our own loopback is no way in.
    assert not may_name("203.0.113.7", "[::ffff:127.0.0.1]")


@pytest.mark.parametrize("host", ["[2001:db8:::192.0.2.1]", "[2001:db8::192.0.2.1]"])
def test_4_10_three_colons_before_an_ipv4_part_are_two(host: str) -> None:
    found = request(message(f"OPTIONS sip:user@{host} SIP/2.0", to=f"sip:user@{host}"))
    assert found.sip_uri == SipUri("[2001:db8::192.0.2.1]", "user")
    assert numeric(found.sip_uri.host) is not None
    assert responses(World().receive(found, V6)) == [200]


@pytest.mark.parametrize(
    "host",
    [
        "[2001:db8:::10]", "[2001:db8::::192.0.2.1]", "[1:2:3:4:5:6:7:8:9]", "[::1::]", "[1:2:3]", "[::1.2.3]", "[12345::1]", "[]", "[::1",
        "[fe80::1%eth0]", "[v1.fe80::a]", "[::ffff:300.1.1.1]",
    ],
)  # fmt: skip
def test_what_is_no_ipv6_address_is_no_host(host: str) -> None:
    with pytest.raises(ParseError):
        parse_host_port(host)
    with pytest.raises(ParseError):
        parse_sip_uri(f"sip:user@{host}")
