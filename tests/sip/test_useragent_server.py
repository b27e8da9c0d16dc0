"""The server half of the user agent, in virtual time."""

import pytest

from hushwire.sip.effects import (
    AckReceived,
    CancelReceived,
    DialogEnded,
    DialogKey,
    DialogTimedOut,
    InDialogRequest,
    RequestReceived,
    Responded,
    Send,
)
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.message import Response
from hushwire.sip.parse import parse
from tests.sip.world import OFFER, TCP, UDP, World, answer, events, one, request_text, requests, responses, sent


def accept(world: World, **options: object) -> tuple[DialogKey, str]:
    """An INVITE of the peer's, answered and acknowledged; the dialog and our tag."""
    received = one(world.receive(request_text(body=OFFER, extra="Content-Type: application/sdp\r\n", **options)), RequestReceived)  # type: ignore[arg-type]
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    world.drain()
    acked = world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag, cseq=int(str(options.get("cseq", 1)))))
    assert one(acked, AckReceived).dialog == key
    return key, key.local_tag


def test_an_invite_is_handed_up_once_and_gets_100_after_200_ms() -> None:
    world = World()
    assert len(events(world.receive(request_text()), RequestReceived)) == 1
    assert world.receive(request_text()) == []
    ((at, effect),) = world.run(0.3)
    assert at == 0.2
    assert responses([effect]) == [100]
    assert responses(world.receive(request_text())) == [100]


def test_a_refusal_is_repeated_at_doubling_intervals_until_ack() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    world.ua.respond(received.tx, 486, now=world.now)
    (first,) = sent(world.drain())
    times = [at for at, effect in world.run(10.0) if responses([effect]) == [486]]
    assert times == [0.5, 1.5, 3.5, 7.5]
    assert world.receive(request_text("ACK", to_tag=first.to_tag)) == []
    assert world.run(60.0) == []
    assert world.ua.deadline() is None


@pytest.mark.parametrize(("method", "status"), [("INVITE", 407), ("REGISTER", 401)])
def test_a_challenge_is_not_repeated_by_itself_and_soon_forgotten(method: str, status: int) -> None:
    world = World()
    received = one(world.receive(request_text(method)), RequestReceived)
    world.ua.respond(received.tx, status, now=world.now)
    assert responses(world.drain()) == [status]
    assert world.run(3.0) == []
    assert responses(world.receive(request_text(method))) == [status]
    world.run(5.0)
    assert world.ua._server.transactions == {}
    assert world.receive(request_text("ACK")) == []


def test_over_tcp_a_refusal_is_not_repeated() -> None:
    world = World()
    received = one(world.receive(request_text(transport="TCP"), TCP), RequestReceived)
    world.ua.respond(received.tx, 486, now=world.now)
    world.drain()
    assert world.run(60.0) == []


def test_a_2xx_is_repeated_until_ack_even_over_tcp() -> None:
    world = World()
    received = one(world.receive(request_text(transport="TCP"), TCP), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    world.drain()
    times = [at for at, effect in world.run(8.0) if responses([effect]) == [200]]
    assert times == [0.5, 1.5, 3.5, 7.5]
    assert one(world.receive(request_text("ACK", branch="z9hG4bKa", to_tag=key.local_tag), TCP), AckReceived).dialog == key
    assert world.run(60.0) == []


def test_a_2xx_that_is_never_acknowledged_ends_in_bye_after_32_s() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now)
    world.drain()
    found = world.run(40.0)
    timed_out = [(at, effect) for at, effect in found if isinstance(effect, DialogTimedOut)]
    assert [at for at, _ in timed_out] == [32.0]
    assert requests([effect for at, effect in found if at == 32.0])[0].method == "BYE"
    assert key is not None
    assert world.ua.dialog(key) is None
    world.run(64.0)
    assert world.ua.deadline() is None


def test_a_bye_of_ours_waits_for_the_ack_to_our_2xx() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now)
    assert key is not None
    world.drain()
    bye = world.ua.bye(key, now=world.now)
    assert requests(world.drain()) == []
    after_ack = world.receive(request_text("ACK", branch="z9hG4bKa", to_tag=key.local_tag))
    (request,) = requests(after_ack)
    assert request.method == "BYE"
    assert one(world.receive(answer(request, 200)), Responded).request == bye


def test_cancel_is_answered_200_and_the_invite_487() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    world.ua.respond(received.tx, 180, now=world.now)
    world.drain()
    effects = world.receive(request_text("CANCEL"))
    assert responses(effects) == [200, 487]
    assert one(effects, CancelReceived).tx == received.tx
    tags = {message.to_tag for message in sent(effects)}
    assert len(tags) == 1
    assert world.ua.respond(received.tx, 200, now=world.now) is None
    assert world.drain() == []


def test_a_cancel_after_the_final_answer_changes_nothing() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now)
    world.drain()
    effects = world.receive(request_text("CANCEL"))
    assert responses(effects) == [200]
    assert events(effects, CancelReceived) == []
    assert key is not None
    assert world.ua.dialog(key) is not None


@pytest.mark.parametrize("branch", ["z9hG4bKother", "z9hG4bK"])
def test_a_cancel_that_matches_nothing_gets_481(branch: str) -> None:
    world = World()
    world.receive(request_text())
    assert responses(world.receive(request_text("CANCEL", branch=branch))) == [481]


def test_a_cancel_from_another_address_gets_481() -> None:
    world = World()
    world.receive(request_text())
    stranger = Flow(Transport.UDP, 1, UDP.local, Address("203.0.113.5", 5060))
    assert responses(world.receive(request_text("CANCEL"), stranger)) == [481]


def test_bye_is_answered_and_ends_the_dialog() -> None:
    world = World()
    key, tag = accept(world)
    effects = world.receive(request_text("BYE", branch="z9hG4bKbye", cseq=2, to_tag=tag))
    assert responses(effects) == [200]
    assert one(effects, DialogEnded).dialog == key
    assert world.ua.dialog(key) is None
    assert responses(world.receive(request_text("BYE", branch="z9hG4bKbye2", cseq=3, to_tag=tag))) == [481]


@pytest.mark.parametrize(
    ("from_tag", "to_tag", "call_id"),
    [("theirs", "guessed", None), ("guessed", None, None), ("theirs", None, "call-2")],
)
def test_a_forged_bye_or_reinvite_without_the_full_key_gets_481(from_tag: str, to_tag: str | None, call_id: str | None) -> None:
    world = World()
    key, tag = accept(world)
    for method in ("BYE", "INVITE", "INFO"):
        text = request_text(
            method, branch=f"z9hG4bK{method}", cseq=5, from_tag=from_tag, to_tag=to_tag or tag, call_id=call_id or "call-1@192.0.2.99"
        )
        effects = world.receive(text)
        assert responses(effects) == [481]
        assert events(effects, InDialogRequest) == []
    assert world.ua.dialog(key) is not None


def test_a_bye_without_a_to_tag_gets_481() -> None:
    world = World()
    accept(world)
    assert responses(world.receive(request_text("BYE", branch="z9hG4bKb", cseq=2))) == [481]


def test_an_old_cseq_gets_500_and_is_not_handed_up() -> None:
    world = World()
    _, tag = accept(world, cseq=10)
    for cseq in (9, 10):
        effects = world.receive(request_text("INFO", branch=f"z9hG4bK{cseq}", cseq=cseq, to_tag=tag))
        assert responses(effects) == [500]
        assert events(effects, InDialogRequest) == []


def test_a_reinvite_is_handed_up_and_its_2xx_refreshes_the_target() -> None:
    world = World()
    key, tag = accept(world)
    text = request_text("INVITE", branch="z9hG4bKre", cseq=2, to_tag=tag, contact="<sip:moved@192.0.2.99:5099>", body=OFFER)
    received = one(world.receive(text), InDialogRequest)
    assert received.dialog == key
    assert world.ua.respond(received.tx, 200, now=world.now, body=OFFER) == key
    world.drain()
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.remote_target == "sip:moved@192.0.2.99:5099"
    assert one(world.receive(request_text("ACK", branch="z9hG4bKra", cseq=2, to_tag=tag)), AckReceived).dialog == key


def test_a_refused_reinvite_leaves_the_dialog() -> None:
    world = World()
    key, tag = accept(world)
    received = one(world.receive(request_text("INVITE", branch="z9hG4bKre", cseq=2, to_tag=tag)), InDialogRequest)
    world.ua.respond(received.tx, 488, now=world.now)
    assert world.ua.dialog(key) is not None


def test_a_reinvite_that_crosses_ours_gets_491() -> None:
    world = World()
    key, tag = accept(world)
    assert world.ua.reinvite(key, now=world.now, body=OFFER) is not None
    world.drain()
    assert responses(world.receive(request_text("INVITE", branch="z9hG4bKre", cseq=2, to_tag=tag))) == [491]


def test_a_second_reinvite_before_the_first_is_answered_gets_500_with_retry_after() -> None:
    world = World()
    _, tag = accept(world)
    world.receive(request_text("INVITE", branch="z9hG4bKr1", cseq=2, to_tag=tag))
    (refused,) = sent(world.receive(request_text("INVITE", branch="z9hG4bKr2", cseq=3, to_tag=tag)))
    assert isinstance(refused, Response)
    assert refused.status == 500
    assert 0 <= int(refused.headers.get("Retry-After") or "-1") <= 10


def test_a_merged_request_gets_482() -> None:
    world = World()
    world.receive(request_text(branch="z9hG4bKpath1"))
    assert responses(world.receive(request_text(branch="z9hG4bKpath2"))) == [482]


def test_a_spent_max_forwards_stops_an_invite_but_not_options() -> None:
    world = World()
    spent = request_text().replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    assert responses(world.receive(spent)) == [483]
    ping = request_text("OPTIONS", branch="z9hG4bKo", call_id="o").replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    assert responses(world.receive(ping)) == [200]


def test_an_unknown_method_gets_405_with_allow() -> None:
    (refused,) = sent(World().receive(request_text("DANCE")))
    assert isinstance(refused, Response)
    assert refused.status == 405
    assert "INVITE" in (refused.headers.get("Allow") or "")


def test_a_required_extension_gets_420_naming_it() -> None:
    (refused,) = sent(World().receive(request_text(extra="Require: 100rel, nothingSupportsThis, norThis\r\n")))
    assert isinstance(refused, Response)
    assert refused.status == 420
    assert refused.headers.get("Unsupported") == "northis, nothingsupportsthis"


def test_a_foreign_uri_scheme_gets_416_but_tel_is_handed_up() -> None:
    assert responses(World().receive(request_text(uri="nobodyknows:totallyopaque"))) == [416]
    assert responses(World().receive(request_text("OPTIONS", uri="urn:service:sos"))) == [416]
    text = request_text().replace(b"INVITE sip:+4930555@192.0.2.1 SIP", b"INVITE tel:+4930555 SIP")
    assert len(events(World().receive(text), RequestReceived)) == 1


def test_an_invite_without_contact_gets_400() -> None:
    assert responses(World().receive(request_text(contact=None))) == [400]


def test_options_is_answered_without_bothering_anybody() -> None:
    effects = World().receive(request_text("OPTIONS"))
    assert responses(effects) == [200]
    assert events(effects, RequestReceived) == []


def test_a_stray_ack_and_a_stray_response_cause_nothing() -> None:
    world = World()
    assert world.receive(request_text("ACK")) == []
    stray = request_text().replace(b"INVITE sip:+4930555@192.0.2.1 SIP/2.0", b"SIP/2.0 200 OK")
    assert world.receive(stray) == []


def test_answers_go_back_where_the_request_came_from_when_rport_is_asked_for() -> None:
    world = World()
    behind_nat = Flow(Transport.UDP, 1, UDP.local, Address("203.0.113.7", 31337))
    (effect,) = world.receive(request_text("OPTIONS", via_extra=";rport"), behind_nat)
    assert isinstance(effect, Send)
    assert effect.hop == behind_nat
    via = parse(effect.data).via
    assert via.param("received") == "203.0.113.7"
    assert via.param("rport") == "31337"


def test_without_rport_answers_go_to_the_port_of_sent_by() -> None:
    other_port = Flow(Transport.UDP, 1, UDP.local, Address("192.0.2.99", 31337))
    (effect,) = World().receive(request_text("OPTIONS"), other_port)
    assert isinstance(effect, Send)
    assert isinstance(effect.hop, Flow)
    assert effect.hop.remote == Address("192.0.2.99", 5060)


def test_record_route_comes_back_and_becomes_the_route_set() -> None:
    world = World()
    extra = "Record-Route: <sip:p2.example;lr>\r\nRecord-Route: <sip:p1.example;lr>\r\n"
    key, _ = accept_with(world, extra)
    bye = world.ua.bye(key, now=world.now)
    assert bye is not None
    (request,) = requests(world.drain())
    assert request.headers.all("Route") == ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
    assert request.uri == "sip:peer@192.0.2.99:5060"


def accept_with(world: World, extra: str) -> tuple[DialogKey, str]:
    received = one(world.receive(request_text(extra=extra)), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    (ok,) = sent(world.drain())
    assert ok.headers.all("Record-Route") == [line.partition(": ")[2] for line in extra.split("\r\n") if line]
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    world.drain()
    return key, key.local_tag


def test_a_bye_before_our_answer_ends_the_invite_with_487() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 180, now=world.now)
    assert key is not None
    world.drain()
    effects = world.receive(request_text("BYE", branch="z9hG4bKbye", cseq=2, to_tag=key.local_tag))
    assert sorted(responses(effects)) == [200, 487]
    assert one(effects, DialogEnded).dialog == key


def test_a_full_house_answers_503_without_keeping_state() -> None:
    world = World(max_transactions=1)
    world.receive(request_text("OPTIONS", call_id="a", branch="z9hG4bKa"))
    effects = world.receive(request_text("OPTIONS", call_id="b", branch="z9hG4bKb"))
    assert responses(effects) == [503]


def test_nothing_is_left_when_all_is_over() -> None:
    world = World()
    for number in range(20):
        ids = {"call_id": f"c{number}", "branch": f"z9hG4bKi{number}"}
        received = one(world.receive(request_text(**ids)), RequestReceived)  # type: ignore[arg-type]
        if number % 2:
            world.ua.respond(received.tx, 404, now=world.now)
        else:
            key = world.ua.respond(received.tx, 200, now=world.now)
            assert key is not None
            world.receive(request_text("ACK", branch=f"z9hG4bKa{number}", call_id=f"c{number}", to_tag=key.local_tag))
            world.receive(request_text("BYE", branch=f"z9hG4bKb{number}", call_id=f"c{number}", cseq=2, to_tag=key.local_tag))
    world.drain()
    world.run(200.0)
    assert world.ua.deadline() is None
    assert world.ua._server.transactions == {}
    assert world.ua._server.waiting == {}
    assert world.ua._server._merged == set()
    assert len(world.ua._server.answered) == 0
    assert world.ua._server._unacked == {}
    assert world.ua._core.sessions == {}


def test_an_invite_to_the_urn_of_a_service_is_handed_up_for_it_may_be_an_emergency() -> None:
    received = one(World().receive(request_text(uri="urn:service:sos")), RequestReceived)
    assert received.request.uri == "urn:service:sos"


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_dialog_over_tls_never_goes_on_in_the_clear(method: str) -> None:
    tls = Flow(Transport.TLS, 3, Address("192.0.2.1", 5061), Address("192.0.2.99", 40002))
    world = World()
    received = one(world.receive(request_text(), tls), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    world.drain()
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag), tls)
    for clear in (UDP, TCP):
        stray = request_text(method, branch=f"z9hG4bK{clear.transport}", to_tag=key.local_tag, cseq=2)
        assert responses(world.receive(stray, clear)) == [403]
    world.ua.bye(key, now=world.now)
    assert [effect.hop for effect in world.drain() if isinstance(effect, Send)] == [tls]


@pytest.mark.parametrize(
    ("options", "is_sips"),
    [
        ({"uri": "sips:+4930555@192.0.2.1"}, True),
        ({"contact": "<sips:peer@192.0.2.99:5061>"}, True),
        ({"extra": "Record-Route: <sips:192.0.2.98;lr>\r\n"}, True),
        ({"contact": "<sips:peer@192.0.2.99:5061>", "extra": "Record-Route: <sip:192.0.2.98;transport=tls;lr>\r\n"}, False),
        ({}, False),
    ],
)
def test_a_dialog_that_began_with_sips_is_given_a_sips_contact(options: dict[str, str], is_sips: bool) -> None:
    tls = Flow(Transport.TLS, 3, Address("192.0.2.1", 5061), Address("192.0.2.99", 40002))
    world = World()
    received = one(world.receive(request_text(transport="TLS", **options), tls), RequestReceived)  # type: ignore[arg-type]
    world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    (answered,) = sent(world.drain())
    wanted = "<sips:192.0.2.1:5061>" if is_sips else "<sip:192.0.2.1:5061;transport=tls>"
    assert answered.headers.get("Contact") == wanted
