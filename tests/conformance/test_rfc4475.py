"""RFC 4475, SIP torture test messages: transcribed, each under its name there, with what this stack does with it.

Where the RFC leaves a choice (answer 400 or be liberal) the choice is written beside the message.
"""

from dataclasses import dataclass

import pytest

from hushwire.sip.effects import RequestReceived
from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request, Response
from hushwire.sip.parse import StreamParser, parse
from hushwire.sip.uri import OtherUri
from tests.sip.world import UDP, World, events, responses

SDP = "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\nm=audio 49217 RTP/AVP 0 12\r\n"


def wire(text: str, body: str = "") -> bytes:
    """Lines joined by CRLF; `%LEN%` is the body's length."""
    head = "\r\n".join(text.strip("\n").split("\n")).replace("%LEN%", str(len(body.encode())))
    return (head + "\r\n\r\n" + body).encode("utf-8", "surrogateescape")


WSINV = wire(
    """
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : %LEN%
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;rport;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
""",
    SDP,
)

INTMETH = wire(
    """
!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0
Via: SIP/2.0/UDP host1.example.com;rport;branch=z9hG4bK-.!%66*_+`'~
To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com> ;fromParam''~+*_!.-%="\u0440\u0430\u0431\u043e\u0442\u0430\u044e\u0449\u0438\u0439";tag=_token~1'+`*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_`'~: \ufeff\u5927\u505c\u96fb
Content-Length: 0
"""  # noqa: E501
)

ESC01 = wire(
    """
INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0
To: sip:%75se%72@example.com
From: <sip:I%20have%20spaces@example.net>;tag=938
Max-Forwards: 87
i: esc01.239409asdfakjkn23onasd0-3234
CSeq: 234234 INVITE
Via: SIP/2.0/UDP host5.example.net;rport;branch=z9hG4bKkdjuw
C: application/sdp
Contact:
  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>
Content-Length: %LEN%
""",
    SDP,
)

ESCNULL = wire(
    """
REGISTER sip:example.com SIP/2.0
To: sip:null-%00-null@example.com
From: sip:null-%00-null@example.com;tag=839923423
Max-Forwards: 70
Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd
CSeq: 14398234 REGISTER
Via: SIP/2.0/UDP host5.example.com;rport;branch=z9hG4bKkdjuw
Contact: <sip:%00@host5.example.com>
Contact: <sip:%00%00@host5.example.com>
L:0
"""
)

LWSDISP = wire(
    """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: caller<sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID: lwsdisp.1234abcd@funky.example.com
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP funky.example.com;rport;branch=z9hG4bKkdjuw
l: 0
"""
)

DBLREQ_FIRST = wire(
    """
REGISTER sip:example.com SIP/2.0
To: sip:j.user@example.com
From: sip:j.user@example.com;tag=43251j3j324
Max-Forwards: 8
I: dblreq.0ha0isndaksdj99sdfafnl3lk233412
Contact: sip:j.user@host.example.com
CSeq: 8 REGISTER
Via: SIP/2.0/UDP 192.0.2.125;rport;branch=z9hG4bKkdjuw23492
Content-Length: 0
"""
)

SEMIURI = wire(
    """
OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0
To: sip:j_user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Call-ID: semiuri.0ha0isndaksdj
CSeq: 8 OPTIONS
Accept: application/sdp, application/pkcs7-mime,
        multipart/mixed, multipart/signed,
        message/sip, message/sipfrag
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw
l: 0
"""
)

TRANSPORTS = wire(
    """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: <sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID:  transports.kijh4akdnaqjkwendsasfdj
Accept: application/sdp
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw
Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf
Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj
Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en
Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee
l: 0
"""
)

UNREASON = wire(
    """
SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e \u0434\u0435\u0432\u044f\u043d\u043e\u0441\u0442\u043e \u0434\u0435\u0432\u044f\u0442\u044c - \u043f\u0440\u043e\u0441\u0442\u043e\u0435
Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923
Call-ID: unreason.1234ksdfak3j2erwedfsASdf
CSeq: 35 INVITE
From: sip:user@example.com;tag=11141343
To: sip:user@example.edu;tag=2229
Content-Length: 0
Contact: <sip:user@host198.example.com>
"""  # noqa: E501
)

NOREASON = wire(
    """
SIP/2.0 100\x20
Via: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe
Call-ID: noreason.asndj203insdf99223ndf
CSeq: 35 INVITE
From: <sip:user@example.com>;tag=39ansfi3
To: <sip:user@example.edu>;tag=902jndnke3
Content-Length: 0
Contact: <sip:user@host105.example.com>
"""
)

REGBADCT = wire(
    """
REGISTER sip:example.com SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=998332
Max-Forwards: 70
Call-ID: regbadct.k345asrl3fdbv@10.0.0.1
CSeq: 1 REGISTER
Via: SIP/2.0/UDP 135.180.130.133:5060;branch=z9hG4bKkdjuw
Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E
l: 0
"""
)

UNKSCM = wire(
    """
OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0
To: sip:user@example.com
From: sip:caller@example.net;tag=384
Max-Forwards: 3
Call-ID: unkscm.nasdfasser0q239nwsdfasdkl34
CSeq: 3923423 OPTIONS
Via: SIP/2.0/TCP host9.example.com;branch=z9hG4bKkdjuw39234
Content-Length: 0
"""
)

BEXT01 = wire(
    """
OPTIONS sip:user@example.com SIP/2.0
To: sip:j_user@example.com
From: sip:caller@example.net;tag=242etr
Max-Forwards: 6
Call-ID: bext01.0ha0isndaksdj
Require: nothingSupportsThis, nothingSupportsThisEither
Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis
CSeq: 8 OPTIONS
Via: SIP/2.0/TLS fold-and-staple.example.com;branch=z9hG4bKkdjuw
Content-Length: 0
"""
)

BADBRANCH = wire(
    """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK
Accept: application/sdp
Call-ID: badbranch.sadonfo23i420jv0as0derf3j3n
CSeq: 8 OPTIONS
l: 0
"""
)

CPARAM01 = wire(
    """
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw
Max-Forwards: 70
From: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe
To: sip:watson@example.com
Call-ID: cparam01.70710@saturn.example.com
CSeq: 2 REGISTER
Contact: sip:+19725552222@gw1.example.net;unknownparam
l: 0
"""
)

REGESCRT = wire(
    """
REGISTER sip:example.com SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=8
Max-Forwards: 70
Call-ID: regescrt.k345asrl3fdbv@192.0.2.1
CSeq: 14398234 REGISTER
Via: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw
M: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>
L:0
"""
)

INV2543 = wire(
    """
INVITE sip:UserB@example.com SIP/2.0
Via: SIP/2.0/UDP iftgw.example.com
From: <sip:+13035551111@ift.client.example.net;user=phone>
Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>
To: sip:+16505552222@ss1.example.net;user=phone
Call-ID: inv2543.1717@ift.client.example.com
CSeq: 56 INVITE
Contact: sip:UserB@host.example.com
Content-Type: application/sdp
Content-Length: %LEN%
""",
    SDP,
)


def test_wsinv_a_short_tortuous_invite() -> None:
    message = parse(WSINV)
    assert isinstance(message, Request)
    assert message.to_tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.from_tag == "98asjd8"
    assert message.max_forwards == 68
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert [via.transport for via in message.vias] == ["UDP", "TCP", "UDP"]
    assert [via.branch for via in message.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert message.headers.get("Subject") == ""
    assert message.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert message.routes[0].sip_uri.has("unknown-no-value")
    assert message.contact is not None
    assert message.contact.display == 'Quoted string ""'
    assert message.contact.params == (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))
    assert message.body == SDP.encode()


def test_intmeth_a_wide_range_of_valid_characters_is_refused_only_for_its_method() -> None:
    message = parse(INTMETH)
    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.sip_uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.sip_uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert message.from_tag == "_token~1'+`*%!-."
    assert message.to_bytes() == INTMETH
    assert responses(World().receive(INTMETH)) == [405]


def test_esc01_escapes_are_kept_and_understood() -> None:
    message = parse(ESC01)
    assert isinstance(message, Request)
    assert (message.sip_uri.user_unescaped, message.sip_uri.host) == ("sips:user@example.com", "example.net")
    assert message.to.sip_uri.user_unescaped == "user"
    assert message.from_.sip_uri.user_unescaped == "I have spaces"
    assert message.contact is not None
    # An escaped parameter name is not the parameter that it spells: this is no lr.
    assert not message.contact.sip_uri.is_loose


def test_escnull_escaped_nulls_stay_apart() -> None:
    message = parse(ESCNULL)
    users = [contact.sip_uri.user_unescaped for contact in message.contacts]
    assert users == ["\x00", "\x00\x00"]
    assert not message.contacts[0].sip_uri.matches(message.contacts[1].sip_uri)


def test_lwsdisp_no_white_space_between_name_and_angle() -> None:
    assert parse(LWSDISP).from_.display == "caller"


def test_longreq_long_values() -> None:
    folds = "".join(f"\r\n {'unknownvalue' * 10}," for _ in range(30))
    text = LWSDISP.replace(b"l: 0", f"Subject: {'long' * 500}{folds}\r\nFrom-Like: {'x' * 4000}\r\nl: 0".encode())
    message = parse(text)
    assert len(message.headers.get("Subject") or "") > 5000


def test_dblreq_a_second_request_in_the_datagram_is_ignored_but_read_from_a_stream() -> None:
    both = DBLREQ_FIRST + LWSDISP
    message = parse(both)
    assert isinstance(message, Request)
    assert (message.method, message.body) == ("REGISTER", b"")
    assert [item.method for item in StreamParser().feed(both) if isinstance(item, Request)] == ["REGISTER", "OPTIONS"]


def test_semiuri_a_semicolon_in_the_user_part() -> None:
    message = parse(SEMIURI)
    assert isinstance(message, Request)
    assert message.sip_uri.user == "user;par=u%40example.net"
    assert message.sip_uri.params == ()


def test_transports_unknown_ones_below_the_top_via_are_carried() -> None:
    assert [via.transport for via in parse(TRANSPORTS).vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    assert responses(World().receive(TRANSPORTS)) == [200]


@pytest.mark.parametrize(("text", "status"), [(UNREASON, 200), (NOREASON, 100)])
def test_unreason_and_noreason_odd_reason_phrases(text: bytes, status: int) -> None:
    message = parse(text)
    assert isinstance(message, Response)
    assert message.status == status


@dataclass(frozen=True)
class Invalid:
    """A message of section 3.1.2, made from a good one."""

    name: str
    text: bytes
    status: int | None


GOOD = LWSDISP
INVALID = [
    Invalid("badinv01 extraneous separators", ESC01.replace(b"branch=z9hG4bKkdjuw", b"branch=z9hG4bKkdjuw;,,"), None),
    Invalid("badinv01 extraneous separators in Contact", ESC01.replace(b"%25%34%31>", b'%25%34%31>;;,;,,"" <sip:joe'), 400),
    Invalid("clerr Content-Length larger than the message", GOOD.replace(b"l: 0", b"l: 9999"), 400),
    Invalid("ncl negative Content-Length", GOOD.replace(b"l: 0", b"l: -999"), 400),
    Invalid("scalar02 CSeq too large", GOOD.replace(b"CSeq: 60", b"CSeq: 36893488147419103232"), 400),
    Invalid("scalar02 Max-Forwards too large", GOOD.replace(b"Max-Forwards: 70", b"Max-Forwards: 300"), 400),
    Invalid("scalarlg response with a large CSeq", NOREASON.replace(b"CSeq: 35", b"CSeq: 9292394834772304023312"), None),
    Invalid("quotbal unterminated quote", GOOD.replace(b"To: sip:user@example.com", b'To: "Mr. J. User <sip:j.user@example.com>'), 400),
    Invalid(
        "ltgtruri angle brackets around the Request-URI",
        GOOD.replace(b"OPTIONS sip:user@example.com", b"OPTIONS <sip:user@example.com>"),
        400,
    ),
    Invalid(
        "lwsruri white space in the Request-URI", GOOD.replace(b"OPTIONS sip:user@example.com", b"OPTIONS sip:user@example.com; lr"), 400
    ),
    Invalid(
        "lwsstart several spaces in the start line",
        GOOD.replace(b"OPTIONS sip:user@example.com SIP", b"OPTIONS  sip:user@example.com  SIP"),
        400,
    ),
    Invalid("trws white space at the end of the start line", GOOD.replace(b"SIP/2.0\r\nTo", b"SIP/2.0  \r\nTo"), 400),
    Invalid(
        "escruri escaped headers in the Request-URI",
        GOOD.replace(b"OPTIONS sip:user@example.com", b"OPTIONS sip:user@example.com?Route=%3Csip:example.com%3E"),
        400,
    ),
    Invalid("regbadct an unbracketed Contact with headers", REGBADCT, 400),
    Invalid(
        "badaspec spaces within an addr-spec",
        GOOD.replace(b"To: sip:user@example.com", b'To: "Watson, Thomas" < sip:t.watson@example.org >'),
        400,
    ),
    Invalid("baddn non-token in a display name", GOOD.replace(b"From: caller<", b"From: Bell, Alexander <"), 400),
    Invalid("badvers unknown version", GOOD.replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1), 505),
    Invalid("mismatch01 CSeq of another method", GOOD.replace(b"CSeq: 60 OPTIONS", b"CSeq: 60 INVITE"), 400),
    Invalid("mismatch02 unknown method with another CSeq method", GOOD.replace(b"OPTIONS sip", b"NEWMETHOD sip"), 400),
    Invalid("bigcode status out of range", NOREASON.replace(b"SIP/2.0 100 ", b"SIP/2.0 4294967301 better not break"), None),
    Invalid("insuf missing mandatory headers", GOOD.replace(b"Call-ID: lwsdisp.1234abcd@funky.example.com\r\n", b""), 400),
    Invalid("unkscm unknown Request-URI scheme", UNKSCM, 416),
    Invalid("bext01 unknown required extensions", BEXT01, 420),
    Invalid(
        "multi01 several values of single-value headers", GOOD.replace(b"CSeq: 60 OPTIONS", b"CSeq: 60 OPTIONS\r\nCSeq: 59 OPTIONS"), 400
    ),
    Invalid("mcl01 several Content-Length values", GOOD.replace(b"l: 0", b"Content-Length: 13\r\nl: 0"), 400),
    Invalid("bcast a response with a broadcast Via is for nobody here", NOREASON.replace(b"192.0.2.105", b"255.255.255.255"), None),
    Invalid("zeromf OPTIONS with Max-Forwards 0 ends here and is answered", GOOD.replace(b"Max-Forwards: 70", b"Max-Forwards: 0"), 200),
    Invalid("badbranch the bare cookie", BADBRANCH, 200),
]


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.name)
def test_invalid_and_odd_messages(case: Invalid) -> None:
    world = World()
    try:
        effects = world.receive(case.text)
    except ParseError as error:
        world.ua.receive_malformed(error, UDP)
        effects = world.drain()
    assert responses(effects) == ([] if case.status is None else [case.status])


def test_badbranch_two_requests_with_the_bare_cookie_are_two_transactions() -> None:
    world = World()
    world.receive(BADBRANCH)
    other = BADBRANCH.replace(b"badbranch.sadonfo", b"another.call").replace(b"tag=33242", b"tag=other")
    assert responses(world.receive(other)) == [200]


def test_unkscm_is_kept_as_it_came() -> None:
    message = parse(UNKSCM)
    assert isinstance(message, Request)
    assert message.request_uri == OtherUri("nobodyknowsthisscheme", "totallyopaquecontent")


def test_novelsc_an_odd_but_known_to_exist_scheme_gets_416_too() -> None:
    text = UNKSCM.replace(b"nobodyKnowsThisScheme:totallyopaquecontent", b"soap.beep://192.0.2.103:3002").replace(b"/TCP", b"/UDP")
    assert responses(World().receive(text)) == [416]


def test_cparam01_a_parameter_after_a_bare_contact_belongs_to_the_header() -> None:
    message = parse(CPARAM01)
    assert message.contact is not None
    assert message.contact.has("unknownparam")
    assert message.contact.sip_uri.params == ()
    bracketed = parse(
        CPARAM01.replace(b"sip:+19725552222@gw1.example.net;unknownparam", b"<sip:+19725552222@gw1.example.net;unknownparam>")
    )
    assert bracketed.contact is not None
    assert bracketed.contact.sip_uri.has("unknownparam")


def test_regescrt_headers_in_a_bracketed_contact() -> None:
    message = parse(REGESCRT)
    assert message.contact is not None
    assert message.contact.sip_uri.headers == "Route=%3Csip:sip.example.com%3E"


def test_inv2543_an_invite_without_branch_and_from_tag() -> None:
    world = World()
    effects = world.receive(INV2543)
    assert len(events(effects, RequestReceived)) == 1
    assert world.receive(INV2543) == []
    message = parse(INV2543)
    assert message.max_forwards is None
    assert message.from_tag == ""


def test_sdp01_a_body_of_another_type_is_left_to_who_is_asked() -> None:
    text = ESC01.replace(b"C: application/sdp", b"Content-Type: multipart/mixed;boundary=7a9cbec02ceef655")
    message = parse(text)
    assert message.content_type == "multipart/mixed"
