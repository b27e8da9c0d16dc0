"""Ordinary messages read the same here and in aiosipua, an implementation that we did not write."""

import aiosipua
import pytest

from hushwire.sdp.session import parse_session
from hushwire.sip.message import Request, Response
from hushwire.sip.parse import parse
from hushwire.sip.uri import SipUri
from tests.sip.world import OFFER, request_text

MESSAGES = [
    request_text(body=OFFER, extra="Content-Type: application/sdp\r\nSupported: replaces, timer\r\n"),
    request_text("OPTIONS", to_tag="abc", via_extra=";rport", contact=None),
    request_text("REGISTER", contact='"Anna \\"A\\" B" <sip:anna@192.0.2.7:5070;transport=tcp>;expires=60;q=0.7'),
    request_text("BYE", cseq=4711, to_tag="x", contact=None),
    request_text(uri="sip:alice@[2001:db8::1]:5070;transport=udp"),
    request_text().replace(b"From: ", b"f: ").replace(b"To: ", b"t: ").replace(b"Call-ID: ", b"i: ").replace(b"Via: ", b"v: "),
    request_text().replace(b"INVITE sip:+4930555@192.0.2.1 SIP/2.0", b"SIP/2.0 180 Ringing"),
    request_text(to_tag="y", body=OFFER).replace(b"INVITE sip:+4930555@192.0.2.1 SIP/2.0", b"SIP/2.0 200 OK"),
]


@pytest.mark.parametrize("data", MESSAGES)
def test_ordinary_messages(data: bytes) -> None:
    ours, theirs = parse(data), aiosipua.SipMessage.parse(data)
    if isinstance(ours, Request):
        assert (ours.method, ours.uri) == (theirs.method, str(theirs.uri))
    else:
        assert isinstance(ours, Response)
        assert (ours.status, ours.reason) == (theirs.status_code, theirs.reason_phrase)
    assert ours.call_id == theirs.call_id
    assert (ours.cseq.number, ours.cseq.method) == (theirs.cseq.seq, theirs.cseq.method)
    assert (ours.from_tag, ours.to.tag) == (theirs.from_addr.tag, theirs.to_addr.tag)
    theirs_via = theirs.via[0] if isinstance(theirs.via, list) else theirs.via
    assert (ours.via.branch, ours.via.host, ours.via.port) == (theirs_via.branch, theirs_via.host, theirs_via.port)
    for mine, other in ((ours.from_, theirs.from_addr), (ours.to, theirs.to_addr)):
        assert isinstance(mine.uri, SipUri)
        assert (mine.uri.user, mine.uri.host.strip("[]")) == (other.uri.user, other.uri.host.strip("[]"))
    body = theirs.body if isinstance(theirs.body, bytes) else (theirs.body or "").encode()
    assert ours.body == body


def test_what_we_write_reads_the_same_there() -> None:
    for data in MESSAGES:
        theirs = aiosipua.SipMessage.parse(parse(data).to_bytes())
        assert theirs.call_id == parse(data).call_id


def test_ordinary_session_descriptions() -> None:
    ours, theirs = parse_session(OFFER), aiosipua.parse_sdp(OFFER.decode())
    (media,) = ours.media
    assert (ours.address_of(media), media.port) == theirs.rtp_address
    assert media.protocol == theirs.audio.proto
