"""URIs and name-addr: strict where numbers could be smuggled."""

import pytest

from hushwire.sip.errors import ParseError
from hushwire.sip.uri import NameAddr, OtherUri, SipUri, TelUri, escape_user, parse_name_addr, parse_sip_uri, parse_uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.example",
        "sips:alice@atlanta.example:5061;transport=tls;lr",
        "sip:atlanta.example",
        "sip:+1-212-555-1212:1234@gateway.example;user=phone",
        "sip:alice@[2001:db8::10]:5070",
        "sip:a%20b@192.0.2.1?subject=x&priority=urgent",
        "sip:user;par=u%40example.net@example.com",
        "tel:+4930123456",
        "tel:7042;phone-context=example.com",
        "urn:service:sos",
    ],
)
def test_a_uri_comes_out_as_it_went_in(text: str) -> None:
    assert str(parse_uri(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        "sip:@host",
        "sip:alice@",
        "sip:al ice@host",
        "sip:alice @host",
        "sip:alice@ho st",
        "sip:alice@host:0",
        "sip:alice@host:65536",
        "sip:alice@host:५",
        "sip:٣٣@host",
        "sip:+49\u200b30@host",
        "sip:a\x00b@host",
        "sip:a\r\nb@host",
        "sip:a%4@host",
        "sip:a@b@host",
        "sip:alice@host;",
        "sip:alice@host;a=",
        "sip:alice@host;lr;lr",
        "sip:alice@host;x=<y>",
        "sip:alice@[::1",
        "sip:alice@[::g]",
        'sip:"alice"@host',
        "tel:",
        "tel:+",
        "tel:call-me",
        "tel:+49 30",
        "tel:+٤٩",
        "<sip:alice@host>",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_uri(text)


def test_the_parts_of_a_sip_uri() -> None:
    uri = parse_sip_uri("SIP:Alice:pw@ATLANTA.example:5070;Transport=TCP;lr?a=b")
    assert uri == SipUri("atlanta.example", "Alice", 5070, (("transport", "TCP"), ("lr", None)), "a=b", False, "pw")
    assert uri.transport == "tcp"
    assert uri.is_loose


def test_other_schemes_are_no_sip_uri_and_give_416() -> None:
    assert parse_uri("mailto:a@b.example") == OtherUri("mailto", "a@b.example")
    with pytest.raises(ParseError) as found:
        parse_sip_uri("tel:+4930")
    assert found.value.status == 416
    assert parse_uri("tel:+49-30") == TelUri("+49-30")
    assert TelUri("+49-(30).1").digits == "+49301"


@pytest.mark.parametrize(
    ("left", "right", "is_equal"),
    [
        # RFC 3261 section 19.1.4
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", True),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            True,
        ),
        ("sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", True),
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", False),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", False),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", False),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sips:bob@biloxi.com", "sip:bob@biloxi.com", False),
    ],
)  # fmt: skip
def test_uris_are_compared_as_rfc_3261_does(left: str, right: str, is_equal: bool) -> None:
    assert parse_sip_uri(left).matches(parse_sip_uri(right)) is is_equal
    assert parse_sip_uri(right).matches(parse_sip_uri(left)) is is_equal


def test_escapes_of_the_user_part() -> None:
    assert parse_sip_uri("sip:%2B4930@h").user_unescaped == "+4930"
    assert str(SipUri("h", escape_user("a@b#ü"))) == "sip:a%40b%23%C3%BC@h"
    with pytest.raises(ParseError):
        _ = parse_sip_uri("sip:%ff@h").user_unescaped


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ('"A. G. Bell" <sip:agb@bell.example> ;tag=a48s', "A. G. Bell", "sip:agb@bell.example", "a48s"),
        ("Anonymous <sip:c8@192.0.2.1>;tag=hyh8", "Anonymous", "sip:c8@192.0.2.1", "hyh8"),
        ("sip:+12125551212@server.example;tag=887s", None, "sip:+12125551212@server.example", "887s"),
        ("<sip:a@b;tag=not-this>;tag=this", None, "sip:a@b;tag=not-this", "this"),
        ('"quote \\" and \\\\" <sip:a@b>', 'quote " and \\', "sip:a@b", None),
        ('"a > b, c; d" <sip:a@b>;x="y;z"', "a > b, c; d", "sip:a@b", None),
    ],
)
def test_name_addr_forms(text: str, display: str | None, uri: str, tag: str | None) -> None:
    parsed = parse_name_addr(text)
    assert (parsed.display, str(parsed.uri), parsed.tag) == (display, uri, tag)
    assert parse_name_addr(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        '"open <sip:a@b>',
        '"A" sip:a@b',
        "A, B <sip:a@b>",
        "<sip:a@b> junk",
        "< sip:a@b >",
        "<sip:a@b>;tag=",
        "<sip:a@b>;tag=a;tag=b",
        "sip:a@b?x=y",
        "<<sip:a@b>>",
        "<sip:a@b>;tag=a b",
    ],
)
def test_malformed_name_addr_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_name_addr(text)


def test_nothing_personal_is_printed() -> None:
    parsed = parse_name_addr('"Anna" <sip:+4930123@acme.example>;tag=x')
    assert "4930123" not in repr(parsed) + repr(parsed.uri)
    assert "Anna" not in repr(parsed)
    assert isinstance(parsed, NameAddr)
