"""RFC 4475, what `test_rfc4475.py` leaves: escapes in names, binary bodies, and the messages whose meaning is the matter (section 3.3)."""

from typing import cast

import pytest

from hushwire.services.directory import Directory
from hushwire.services.identity import Authenticator, Unknown
from hushwire.sip.digest import Challenger
from hushwire.sip.effects import RequestReceived
from hushwire.sip.message import Request
from hushwire.sip.parse import StreamParser, parse
from hushwire.sip.registrar import RegisterRefused, register
from hushwire.sip.uri import OtherUri
from tests.conformance.test_rfc4475 import SDP, wire
from tests.sip.world import UDP, SeededRandom, World, events, one, responses, sent

ESC02 = wire(
    """
RE%47IST%45R sip:registrar.example.com SIP/2.0
To: "%Z%45" <sip:resource@example.com>
From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23
Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf
Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234
CSeq: 29344 RE%47IST%45R
Max-Forwards: 70
Contact: <sip:alias1@host1.example.com>
C%6Fntact: <sip:alias2@host2.example.com>
Contact: <sip:alias3@host3.example.com>
l: 0
"""
)

PKCS7 = bytes(range(256)) + b"\r\n\r\n--7a9cbec\r\nl: 0\r\n"
MPART01 = (
    wire(
        f"""
MESSAGE sip:kumiko@example.org SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-;rport
Max-Forwards: 70
Route: <sip:127.0.0.1:5080>
Identity: r5mwreLuyDRYBi/0TiPwEsY3rEVsk/G2WxhgTV1PF7hHuLIK0YWVKZhKv9Mj8UeXqkMVbnVq37CD+813gvYjcBUaZngQmXc9WNZSDNGCzA+fWl9MEUHWIZo1CeJebdY/XlgKeTa0Olvq0rt70Q5jiSfbqMJmQFteeivUhkMWYUA=
Contact: <sip:fluffy@127.0.0.1:5070>
To: <sip:kumiko@example.org>
From: <sip:fluffy@example.com>;tag=2fb0dcc9
Call-ID: 3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..
CSeq: 1 MESSAGE
Content-Transfer-Encoding: binary
Content-Type: multipart/mixed;boundary=7a9cbec02ceef655
Date: Sat, 15 Oct 2005 04:44:56 GMT
User-Agent: SIPimp.org/0.2.5 (curses)
Content-Length: {len(PKCS7)}
"""  # noqa: E501
    )
    + PKCS7
)

BADDATE = wire(
    """
INVITE sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:caller@example.net;tag=2234923
Max-Forwards: 70
Call-ID: baddate.239423mnsadf3j23lj42--sedfnm234
CSeq: 1392934 INVITE
Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKkdjuw
Date: Fri, 01 Jan 2010 16:00:00 EST
Contact: <sip:caller@host5.example.net>
Content-Type: application/sdp
Content-Length: %LEN%
""",
    SDP,
)

UNKSM2 = wire(
    """
REGISTER sip:example.com SIP/2.0
To: isbn:2983792873
From: <http://www.example.com>;tag=3234233
Call-ID: unksm2.daksdj@hyphenated-host.example.com
CSeq: 234902 REGISTER
Max-Forwards: 70
Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bKkdjuw
Contact: <name:John_Smith>
l: 0
"""
)

INVUT = wire(
    """
INVITE sip:user@example.com SIP/2.0
Contact: <sip:caller@host5.example.net>
To: sip:j.user@example.com
From: sip:caller@example.net;tag=8392034
Max-Forwards: 70
Call-ID: invut.0ha0isndaksdjadsfij34n23d
CSeq: 235448 INVITE
Via: SIP/2.0/UDP somehost.example.com;branch=z9hG4bKkdjuw
Content-Type: application/unknownformat
Content-Length: %LEN%
""",
    "<audio>\r\n <pcmu port='443'/>\r\n</audio>\r\n",
)

REGAUT01 = wire(
    """
REGISTER sip:example.com SIP/2.0
To: sip:j.user@example.com
From: sip:j.user@example.com;tag=87321hj23128
Max-Forwards: 8
Call-ID: regaut01.0ha0isndaksdj
CSeq: 9338 REGISTER
Via: SIP/2.0/TCP 192.0.2.253;branch=z9hG4bKkdjuw
Authorization: NoOneKnowsThisScheme opaque-data=here
Content-Length:0
"""
)

SDP01 = wire(
    """
INVITE sip:user@example.com SIP/2.0
To: sip:j_user@example.com
Contact: <sip:caller@host15.example.net>
From: sip:caller@example.net;tag=234
Max-Forwards: 5
Call-ID: sdp01.ndaksdj9342dasdd
Accept: text/nobodyKnowsThis
CSeq: 8 INVITE
Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw
Content-Length: %LEN%
Content-Type: application/sdp
""",
    SDP,
)


def test_esc02_escapes_in_a_method_or_header_name_are_letters_like_others() -> None:
    message = parse(ESC02)
    assert isinstance(message, Request)
    assert message.method == "RE%47IST%45R"
    assert message.from_.display == "%Z%45"
    assert [str(contact.uri) for contact in message.contacts] == ["sip:alias1@host1.example.com", "sip:alias3@host3.example.com"]
    assert message.headers.get("C%6Fntact") == "<sip:alias2@host2.example.com>"
    assert responses(World().receive(ESC02)) == [405]


def test_mpart01_a_binary_body_arrives_byte_for_byte() -> None:
    received = one(World().receive(MPART01), RequestReceived)
    assert received.request.body == PKCS7
    assert received.request.content_type == "multipart/mixed"
    (streamed,) = StreamParser().feed(MPART01)
    assert isinstance(streamed, Request)
    assert streamed.body == PKCS7


def test_baddate_a_date_that_is_not_gmt_is_ignored() -> None:
    assert len(events(World().receive(BADDATE), RequestReceived)) == 1


def test_unksm2_unknown_schemes_in_to_from_and_contact_are_read_and_refused_by_the_registrar() -> None:
    received = one(World().receive(UNKSM2), RequestReceived)
    assert received.request.to.uri == OtherUri("isbn", "2983792873")
    assert received.request.from_.uri == OtherUri("http", "//www.example.com")
    outcome = register(received.request, UDP, (), 0.0)
    assert isinstance(outcome, RegisterRefused)
    assert outcome.status == 416


def test_invut_an_unknown_body_is_refused_naming_what_is_known() -> None:
    (refused,) = sent(World().receive(INVUT))
    assert responses(World().receive(INVUT)) == [415]
    assert refused.headers.get("Accept") == "application/sdp"


def test_regaut01_an_unknown_authorization_scheme_counts_as_none_and_is_challenged() -> None:
    message = parse(REGAUT01)
    assert isinstance(message, Request)
    nobody = cast(Directory, None)  # nobody is looked up where nobody is named
    outcome = Authenticator(nobody, Challenger(b"k" * 32, "example.com", SeededRandom()), lambda: 0.0).identify(message)
    assert isinstance(outcome, Unknown)
    assert outcome.status == 401
    assert {name for name, _ in outcome.headers} == {"WWW-Authenticate"}


def test_sdp01_an_accept_that_leaves_us_no_words_gets_406() -> None:
    assert responses(World().receive(SDP01)) == [406]


@pytest.mark.parametrize(
    ("accept", "is_taken"),
    [("application/sdp", True), ("text/plain, application/*;q=0.3", True), ("*/*", True), ("", False), ("text/plain", False)],
)
def test_sdp01_accept_ranges(accept: str, is_taken: bool) -> None:
    text = SDP01.replace(b"text/nobodyKnowsThis", accept.encode())
    assert bool(events(World().receive(text), RequestReceived)) is is_taken
