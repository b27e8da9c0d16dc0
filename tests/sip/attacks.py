"""Messages that try to be two things at once, or to lead us elsewhere; each with the only statuses that may come back."""

from dataclasses import dataclass

from tests.sip.world import OFFER, request_text

SDP_TYPE = "Content-Type: application/sdp\r\n"


@dataclass(frozen=True)
class Attack:
    """`statuses` are what may be answered, None for silence; nothing of it may reach anybody above, except where `is_handed_up`."""

    name: str
    text: bytes
    status: int | None
    is_handed_up: bool = False


def without(text: bytes, line: str) -> bytes:
    """The text without one header line."""
    changed = text.replace(line.encode() + b"\r\n", b"", 1)
    assert changed != text
    return changed


def changed(text: bytes, old: str, new: str) -> bytes:
    found = text.replace(old.encode(), new.encode(), 1)
    assert found != text
    return found


INVITE = request_text(body=OFFER)
LENGTH = f"Content-Length: {len(OFFER)}"

SMUGGLING = [
    Attack("a second From after a space before its colon", request_text(extra="From : <sip:ceo@192.0.2.1>;tag=other\r\n"), 400),
    Attack("a second From in its compact form", request_text(extra="f: <sip:ceo@192.0.2.1>;tag=other\r\n"), 400),
    Attack("a second To in a case of its own", request_text(extra="tO: <sip:other@192.0.2.1>\r\n"), 400),
    Attack("a second Call-ID", request_text(extra="i: other\r\n"), 400),
    Attack("a second CSeq", request_text(extra="CSeq: 1 BYE\r\n"), 400),
    Attack("a header after a bare line feed", request_text(extra="Subject: a\nRoute: <sip:evil.example;lr>\r\n"), 400),
    Attack("a header after a bare carriage return", request_text(extra="Subject: a\rRoute: <sip:evil.example;lr>\r\n"), 400),
    Attack("a header section that ends by bare line feeds", request_text(extra="Subject: a\n\nBYE sip:x SIP/2.0\r\n"), 400),
    Attack("a bare line feed in a folded line", request_text(extra="Subject: a\r\n b\nFrom: <sip:x@y>\r\n"), 400),
    Attack("a continuation before any header", changed(INVITE, "SIP/2.0\r\n", "SIP/2.0\r\n folded: yes\r\n"), None),
    Attack("a name with white space inside", request_text(extra="Pro xy: a\r\n"), 400),
    Attack("a name with a control character", request_text(extra="Rou\x00te: <sip:evil.example;lr>\r\n"), 400),
    Attack("a name that is empty", request_text(extra=": <sip:evil.example>\r\n"), 400),
    Attack("a line without colon", request_text(extra="Subject\r\n"), 400),
    Attack("a start line with a tab", changed(INVITE, "INVITE sip:", "INVITE\tsip:"), None),
    Attack("a version that is folded", changed(INVITE, " SIP/2.0\r\n", " SIP/2.0\r\n\tSIP/2.0\r\n"), None),
    Attack("another method in CSeq", changed(INVITE, "1 INVITE", "1 REGISTER"), 400),
    Attack("headers in the Request-URI", request_text(uri="sip:+4930555@192.0.2.1?Route=%3Csip:evil.example%3E"), 400),
    Attack("two From values in one line", changed(INVITE, ">;tag=theirs", ">;tag=theirs, <sip:ceo@192.0.2.1>;tag=b"), 400),
    Attack("a From with two tags", changed(INVITE, ";tag=theirs", ";tag=theirs;tag=other"), 400),
    Attack("a quoted name that is not closed", changed(INVITE, "From: <sip:peer", 'From: "<sip:ceo@192.0.2.1>;tag=a <sip:peer'), 400),
]  # fmt: skip

LENGTHS = [
    Attack("a length beyond the datagram", changed(INVITE, LENGTH, "Content-Length: 9999"), 400),
    Attack("a negative length", changed(INVITE, LENGTH, "Content-Length: -1"), 400),
    Attack("a length with a sign", changed(INVITE, LENGTH, f"Content-Length: +{len(OFFER)}"), 400),
    Attack("a length in hexadecimal", changed(INVITE, LENGTH, "Content-Length: 0x10"), 400),
    Attack("an empty length", changed(INVITE, LENGTH, "Content-Length:"), 400),
    Attack("two lengths that differ", changed(INVITE, LENGTH, f"{LENGTH}\r\nl: 0"), 400),
    Attack("two lengths that agree", changed(INVITE, LENGTH, f"{LENGTH}\r\nContent-Length : {len(OFFER)}"), 400),
    Attack("two lengths in one line", changed(INVITE, LENGTH, f"{LENGTH}, 0"), 400),
    Attack("a length that goes on in a folded line", changed(INVITE, LENGTH, f"{LENGTH}\r\n 0"), 400),
    Attack("a length of forty digits", changed(INVITE, LENGTH, "Content-Length: " + "9" * 40), 400),
    Attack("a length in other scripts' digits", changed(INVITE, LENGTH, "Content-Length: \u0661\u0662"), 400),
]

ROUTING = [
    Attack("a Via that names another host", changed(INVITE, "UDP 192.0.2.99:5060", "UDP evil.example:5060"), 404, True),
    Attack("a Via with maddr", request_text(via_extra=";maddr=203.0.113.66"), 404, True),
    Attack("a Via with a received of its own", request_text(via_extra=";received=203.0.113.66;rport=25"), 404, True),
    Attack("a Via without branch", changed(INVITE, ";branch=z9hG4bKone", ""), 404, True),
    Attack("a Via with port 0", changed(INVITE, "192.0.2.99:5060;branch", "192.0.2.99:0;branch"), None),
    Attack("a Via of another version", changed(INVITE, "Via: SIP/2.0/UDP", "Via: SIP/3.0/UDP"), None),
    Attack("no Via", without(INVITE, "Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKone"), None),
    Attack("a Via that is a comma", changed(INVITE, "Via: ", "Via: ,"), None),
    Attack("a preloaded Route to somebody else", request_text(extra="Route: <sip:evil.example;lr>\r\n"), 404, True),
    Attack("a Route that is no SIP URI", request_text(extra="Route: <http://169.254.169.254/latest>\r\n"), 400),
    Attack("a Record-Route that is no SIP URI", request_text(extra="Record-Route: <tel:+1>\r\n"), 400),
    Attack("a Record-Route that can't be read", request_text(extra="Record-Route: <sip:a b>\r\n"), 400),
    Attack("two Contacts", request_text(contact="<sip:a@192.0.2.99>, <sip:b@192.0.2.99>"), 400),
    Attack("a Contact of a star", request_text(contact="*"), 400),
    Attack("a spent Max-Forwards", changed(INVITE, "Max-Forwards: 70", "Max-Forwards: 0"), 483),
    Attack("a Max-Forwards beyond its range", changed(INVITE, "Max-Forwards: 70", "Max-Forwards: 256"), 400),
]

DIALOGS = [
    Attack("an INVITE with a To tag of its own", request_text(to_tag="guessed"), 481),
    Attack("a BYE with a To tag of its own", request_text("BYE", to_tag="guessed"), 481),
    Attack("a BYE without To tag", request_text("BYE"), 481),
    Attack("a BYE with an empty To tag", changed(request_text("BYE", to_tag="x"), ";tag=x", ";tag="), 400),
    Attack("an UPDATE of no dialog", request_text("UPDATE"), 481),
    Attack("a PRACK of no dialog", request_text("PRACK", extra="RAck: 1 1 INVITE\r\n"), 481),
    Attack("a NOTIFY of no subscription", request_text("NOTIFY", extra="Event: refer\r\nSubscription-State: active\r\n"), 481),
    Attack("an INFO of no dialog", request_text("INFO"), 481),
    Attack("an ACK of no dialog", request_text("ACK", to_tag="guessed"), None),
    Attack("a CANCEL of nothing", request_text("CANCEL"), 481),
]

ATTACKS = [*SMUGGLING, *LENGTHS, *ROUTING, *DIALOGS]
