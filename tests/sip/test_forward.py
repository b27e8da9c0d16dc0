"""A gateway hands on what is for a device of its own flows, and keeps no transaction: requests, answers, and who may not."""

import hmac
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from hushwire.sip.effects import Send
from hushwire.sip.flow import Address, Flow, Hop, Target, Transport
from hushwire.sip.forward import Forwarder, Pass, Token, read_pass, read_token, route_through, route_to, transaction_of
from hushwire.sip.message import Request, Response
from hushwire.sip.parse import parse
from hushwire.sip.uri import NameAddr, SipUri

ROW, CALLER_NODE = UUID(int=11), UUID(int=22)
B = Target(Transport.TCP, "192.0.2.2", 5060)
OWN = Address("192.0.2.1", 5060)
FROM_B = Flow(Transport.TCP, 5, OWN, Address("192.0.2.2", 40000))
DEVICE = Flow(Transport.UDP, 1, OWN, Address("198.51.100.9", 6000))


def tag(text: str, key: bytes = b"k") -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


TOKEN = Token(ROW, CALLER_NODE)
ROUTE = route_through(TOKEN, Target(Transport.TCP, "192.0.2.1", 5060), tag)


@dataclass
class Holder:
    """The gateway that holds the flow."""

    ways: dict[UUID, Hop] = field(default_factory=lambda: {ROW: DEVICE})
    closed: set[Flow] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.forwarder = Forwarder(
            tag, device=self.ways.get, node=lambda node: B if node == CALLER_NODE else None,
            is_node=lambda node, flow: node == CALLER_NODE and flow.remote.host == B.host,
            via=lambda hop, branch: f"SIP/2.0/{hop.transport.upper()} 192.0.2.1:5060;rport;branch={branch}",
            contact=lambda _hop: NameAddr(SipUri("192.0.2.1", None, 5060)), is_open=lambda flow: flow not in self.closed,
        )  # fmt: skip

    def take(self, message: Request | Response, flow: Flow) -> list[Send] | None:
        return self.forwarder.take(message, flow)


def request(
    method: str = "INVITE", *, route: str = ROUTE, to_tag: str = "", branch: str = "z9hG4bKb", hops: int = 70, more: str = ""
) -> Request:
    lines = [
        f"{method} sip:anna@198.51.100.9:6000 SIP/2.0",
        f"Via: SIP/2.0/TCP 192.0.2.2:5060;rport;branch={branch}",
        *([f"Route: {route}"] if route else []),
        f"Max-Forwards: {hops}",
        "From: <sip:ben@acme.test>;tag=f",
        f"To: <sip:anna@acme.test>{to_tag}",
        "Call-ID: c@1",
        f"CSeq: 1 {method}",
        *([more] if more else []),
        "Content-Length: 0",
    ]
    message = parse(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert isinstance(message, Request)
    return message


def sent(sends: list[Send] | None) -> tuple[Hop, Request | Response]:
    assert sends is not None
    (send,) = sends
    return send.hop, parse(send.data)


def answer(to: Request, status: int = 200) -> Response:
    vias = "".join(f"Via: {value}\r\n" for value in to.headers.listed("Via"))
    text = f"SIP/2.0 {status} OK\r\n{vias}From: {to.headers.get('From')}\r\nTo: <sip:anna@acme.test>;tag=t\r\nCall-ID: c@1\r\n"
    message = parse(f"{text}CSeq: {to.headers.get('CSeq')}\r\nContent-Length: 0\r\n\r\n".encode())
    assert isinstance(message, Response)
    return message


def test_an_invite_goes_by_the_devices_flow_without_our_route_and_its_answer_goes_back_by_the_flow_it_came_on() -> None:
    holder = Holder()
    hop, passed = sent(holder.take(request(more="Route: <sip:edge.test;lr>"), FROM_B))
    assert hop == DEVICE
    assert isinstance(passed, Request)
    assert [via.host for via in passed.vias] == ["192.0.2.1", "192.0.2.2"]
    assert (passed.vias[1].param("received"), passed.vias[1].param("rport")) == ("192.0.2.2", "40000")
    assert [str(route.uri) for route in passed.routes] == ["sip:edge.test;lr"]
    assert passed.max_forwards == 69
    assert passed.record_routes[0].sip_uri.user == TOKEN.text(tag)
    back, response = sent(holder.take(answer(passed), DEVICE))
    assert isinstance(back, Flow)
    assert (back.transport, back.id) == (Transport.TCP, FROM_B.id)
    assert [via.host for via in response.vias] == ["192.0.2.2"]


def test_cancel_and_the_ack_to_a_failure_get_the_invites_branch_and_retransmissions_too() -> None:
    holder = Holder()
    branches = {sent(holder.take(request(method), FROM_B))[1].via.branch for method in ("INVITE", "INVITE", "CANCEL", "ACK")}
    assert len(branches) == 1
    assert sent(holder.take(request(branch="z9hG4bKother"), FROM_B))[1].via.branch not in branches


def test_what_the_device_sends_in_the_dialog_goes_to_the_gateway_that_called_it() -> None:
    holder = Holder()
    hop, passed = sent(holder.take(request("BYE", to_tag=";tag=t"), DEVICE))
    assert hop == B
    assert passed.headers.get("Route") is None
    back, _ = sent(holder.take(answer(passed), FROM_B))  # type: ignore[arg-type]
    assert isinstance(back, Flow)
    assert (back.transport, back.id) == (Transport.UDP, DEVICE.id), "by what it came by, whatever its Via says"


@pytest.mark.parametrize(
    ("route", "flow"),
    [
        ("", FROM_B),
        ("<sip:192.0.2.1;lr>", FROM_B),
        (ROUTE.replace("hwf-a", "hwf-b"), FROM_B),
        (route_through(TOKEN, B, lambda text: tag(text, b"another deployment")), FROM_B),
        (ROUTE, Flow(Transport.UDP, 1, OWN, Address("203.0.113.66", 5060))),
        (route_through(Token(ROW, UUID(int=99)), B, tag), FROM_B),
    ],
    ids=["none", "plain", "altered", "foreign key", "stranger's address", "unknown gateway"],
)
def test_nothing_passes_without_a_token_of_a_gateway_and_from_nowhere_else_than_it(route: str, flow: Flow) -> None:
    assert Holder().take(request(route=route), flow) is None


def test_a_devices_own_calls_are_for_us_whatever_route_it_puts_in() -> None:
    assert Holder().take(request(), DEVICE) is None


def test_a_flow_that_is_gone_answers_430_and_nothing_to_ack() -> None:
    holder = Holder(closed={DEVICE})
    hop, response = sent(holder.take(request(), FROM_B))
    assert hop == FROM_B
    assert isinstance(response, Response)
    assert response.status == 430
    assert sent(holder.take(request(), FROM_B))[1].to_tag == response.to_tag, "one request, one tag"
    assert holder.take(request("ACK"), FROM_B) == []


def test_the_last_hop_of_a_loop_answers_483() -> None:
    assert sent(Holder().take(request(hops=0), FROM_B))[1].status == 483  # type: ignore[union-attr]


def test_a_device_that_unregisters_in_its_call_still_hears_bye() -> None:
    holder = Holder()
    sent(holder.take(request(), FROM_B))
    holder.ways.clear()
    hop, _ = sent(holder.take(request("BYE", to_tag=";tag=t", branch="z9hG4bKbye"), FROM_B))
    assert hop == DEVICE


def test_an_answer_is_not_sent_where_its_sender_likes() -> None:
    holder = Holder()
    _, passed = sent(holder.take(request(), FROM_B))
    assert isinstance(passed, Request)
    for old, new in (
        ("received=192.0.2.2", "received=203.0.113.66"),
        ("rport=40000", "rport=53"),
        (".15\r\n", ".16\r\n"),
        (".15\r\n", ".05\r\n"),
    ):
        forged = parse(answer(passed).to_bytes().replace(old.encode(), new.encode()))
        assert forged.to_bytes() != answer(passed).to_bytes()
        assert holder.take(forged, DEVICE) == []
    single = parse(answer(passed).to_bytes().replace(b"Via: SIP/2.0/TCP", b"X-Via: SIP/2.0/TCP"))
    assert holder.take(single, DEVICE) == []
    assert holder.take(answer(request()), DEVICE) is None, "our own transactions' answers are the user agent's"


def test_a_token_says_nothing_readable_and_is_read_by_who_has_the_key_alone() -> None:
    text = TOKEN.text(tag)
    assert read_token(text, tag) == TOKEN
    assert read_token(text, lambda said: tag(said, b"other")) is None
    for bad in ("", "hwf-", "hwf--", text[:-1], text.upper(), "hwf-a-" + "a" * 16):
        assert read_token(bad, tag) is None


# An INVITE of a device that another gateway is to answer.

SAID = Pass(UUID(int=1), UUID(int=2), UUID(int=3), Transport.UDP)
DIGEST = 'Authorization: Digest username="ben", nonce="n", response="r"'


def handed() -> tuple[Holder, Request]:
    """Handed over by the gateway that holds the device's flow, and what went to the other one."""
    holder, invite = Holder(), request(route="", more=DIGEST)
    hop, passed = sent(holder.forwarder.hand_over(invite, DEVICE, TOKEN, route_to(B, SAID.text(invite, tag))))
    assert hop == B
    assert isinstance(passed, Request)
    return holder, passed


def test_an_invite_that_is_handed_over_says_whose_it_is_by_a_pass_and_leads_back_by_a_token_without_the_digest() -> None:
    _, passed = handed()
    assert passed.routes[0].sip_uri.host == B.host
    assert read_pass(passed, tag) == SAID
    assert passed.record_routes[0].sip_uri.user == TOKEN.text(tag)
    assert (passed.vias[1].param("received"), passed.vias[1].param("rport")) == ("198.51.100.9", "6000")
    assert passed.headers.get("Authorization") is None
    assert passed.max_forwards == 69


def test_what_belongs_to_a_handed_over_invite_follows_it_and_nothing_of_anybody_else_does() -> None:
    holder, passed = handed()
    for method in ("INVITE", "CANCEL", "ACK"):
        hop, follower = sent(holder.take(request(method, route="", more=DIGEST), DEVICE))
        assert (hop, follower.via.branch) == (B, passed.via.branch), method
        assert follower.headers.get("Authorization") is None
        if method != "INVITE":
            assert follower.headers.get("Record-Route") is None
    stranger = Flow(Transport.UDP, 1, OWN, Address("203.0.113.66", 5060))
    assert holder.take(request("CANCEL", route=""), stranger) is None
    assert holder.take(request(route="", branch="z9hG4bKother"), DEVICE) is None, "another transaction is asked about anew"
    back, _ = sent(holder.take(answer(passed, 486), FROM_B))
    assert isinstance(back, Flow)
    assert (back.id, back.remote) == (DEVICE.id, DEVICE.remote)
    hop, _ = sent(holder.take(request("BYE", to_tag=";tag=t", branch="z9hG4bKbye"), FROM_B))
    assert hop == DEVICE, "the other gateway reaches the device in the dialog"


def test_a_pass_is_good_for_its_own_invite_and_for_no_other() -> None:
    _, passed = handed()
    text = passed.to_bytes()
    for old, new in (
        (b"Call-ID: c@1", b"Call-ID: c@2"),
        (b"tag=f", b"tag=g"),
        (b"CSeq: 1 ", b"CSeq: 2 "),
        (b"hwp-a", b"hwp-b"),
        (b"INVITE", b"REFER"),
        (b"sip:anna@", b"sip:+5371234567@"),
    ):
        forged = parse(text.replace(old, new))
        assert isinstance(forged, Request)
        assert read_pass(forged, tag) is None, new
    assert read_pass(passed, lambda said: tag(said, b"another deployment")) is None
    assert read_token(passed.routes[0].sip_uri.user or "", tag) is None, "a pass is no token"
    for user in ("hwp-", "hwp--", "hwp", TOKEN.text(tag).replace("hwf-", "hwp-")):
        assert read_pass(request(route=route_to(B, user)), tag) is None


def test_what_another_gateway_does_not_answer_is_taken_back_and_what_it_says_too_late_reaches_nobody() -> None:
    holder, passed = handed()
    heard: list[object] = []
    holder.forwarder.on_heard = heard.append
    cancel, was_cancelled = holder.forwarder.take_back(request(route=""), DEVICE)
    hop, sent_cancel = sent(cancel)
    assert (hop, sent_cancel.via.branch, was_cancelled) == (B, passed.via.branch, False)
    assert isinstance(sent_cancel, Request)
    assert (sent_cancel.method, str(sent_cancel.cseq)) == ("CANCEL", "1 CANCEL")
    assert holder.take(answer(passed), FROM_B) == []
    assert heard == []
    assert holder.take(request("CANCEL", route=""), DEVICE) is None, "the transaction is ours again"
    other, passed = handed()
    other.forwarder.on_heard = heard.append
    sent(other.take(answer(passed, 180), FROM_B))
    sent(other.take(answer(passed, 200), FROM_B))
    assert len(heard) == 1
    third, _ = handed()
    sent(third.take(request("CANCEL", route=""), DEVICE))
    assert third.forwarder.take_back(request(route=""), DEVICE)[1]


def test_what_comes_in_the_name_of_a_handed_over_invite_and_is_another_one_is_asked_about_anew() -> None:
    """Its transaction is known, its number is not: nobody has seen a digest of that."""
    holder, _ = handed()
    for old, new in ((b" sip:anna@198", b" sip:+5371234567@198"), (b"tag=f", b"tag=g"), (b"CSeq: 1 ", b"CSeq: 2 "), (b": 0", b": 2")):
        text = request(route="").to_bytes().replace(old, new) + (b"v=" if new == b": 2" else b"")
        assert holder.take(parse(text), DEVICE) is None, new
    sent(holder.take(request(route=""), DEVICE))


def test_an_invite_that_was_handed_over_and_answered_begins_no_second_call_by_its_pass() -> None:
    holder, passed = handed()
    sent(holder.take(answer(passed, 486), FROM_B))
    sent(holder.take(request(route=""), DEVICE))  # the answer may have been lost
    sent(holder.take(request("ACK", route=""), DEVICE))
    assert holder.take(request(route=""), DEVICE) == []
    sent(holder.take(request("ACK", route=""), DEVICE))
    taken, passed = handed()
    sent(taken.take(answer(passed, 180), FROM_B))
    sent(taken.take(request(route=""), DEVICE))
    sent(taken.take(answer(passed), FROM_B))
    assert taken.take(request(route=""), DEVICE) == []
    late, _ = handed()
    late.forwarder.settle(transaction_of(request(route="")))
    assert late.take(request(route=""), DEVICE) == []
    assert sent(late.take(request("CANCEL", route=""), DEVICE))[0] == B
