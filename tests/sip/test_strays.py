"""A 2xx to an INVITE of which nothing is known here any more; loops; and what RFC 4320 forbids."""

import pytest

from hushwire.sip.effects import Accepted, RequestReceived, Send
from hushwire.sip.message import Request
from tests.sip.world import UDP, World, answer, call, one, request_text, requests, responses


def late(world: World, body: bytes = b"") -> tuple[Request, bytes]:
    """What an engine before this one sent, and its peer's late 2xx."""
    before = World(seed=77)
    _, request = call(before)
    return request, answer(
        request, 200, tag="far", body=body, extra="Record-Route: <sip:p1.example;lr>\r\nRecord-Route: <sip:p2.example;lr>\r\n"
    )


def test_a_2xx_to_an_invite_of_the_process_before_is_acknowledged_and_ended_where_it_came_from() -> None:
    world = World()
    request, ok = late(world)
    effects = world.receive(ok)
    ack, bye = requests(effects)
    assert (ack.method, ack.cseq.number) == ("ACK", 1)
    assert (bye.method, bye.cseq.number) == ("BYE", 2)
    for message in (ack, bye):
        assert (message.call_id, message.from_tag, message.to_tag) == (request.call_id, request.from_tag, "far")
        assert message.uri == "sip:far@192.0.2.99:5070"
        assert message.headers.all("Route") == ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
    assert {effect.hop for effect in effects if isinstance(effect, Send)} == {UDP}
    assert world.ua.deadline() is None
    assert world.ua._core.sessions == {}


def test_a_2xx_of_a_dialog_that_was_adopted_is_acknowledged_and_the_dialog_lives() -> None:
    before = World(seed=77)
    _, request = call(before)
    accepted = one(before.receive(answer(request, 200)), Accepted)
    dialog = before.ua.dialog(accepted.dialog)
    assert dialog is not None
    world = World()
    world.ua.adopt(dialog)
    (ack,) = requests(world.receive(answer(request, 200)))
    assert (ack.method, ack.cseq.number) == ("ACK", 1)
    assert world.ua.dialog(accepted.dialog) == dialog


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("branch=z9hG4bK", "branch=z9hG4bKx"),
        ("UDP 192.0.2.1:5060", "UDP 192.0.2.7:5060"),
        (";tag=far", ""),
        ("SIP/2.0 200", "SIP/2.0 486"),
        ("SIP/2.0 200", "SIP/2.0 180"),
    ],
)
def test_what_is_no_2xx_to_us_is_dropped(old: str, new: str) -> None:
    world = World()
    _, ok = late(world)
    changed = ok.replace(old.encode(), new.encode())
    assert changed != ok
    assert world.receive(changed) == []


def test_so_many_a_second_and_no_more() -> None:
    world = World()
    _, ok = late(world)
    answered = sum(bool(requests(world.receive(ok))) for _ in range(100))
    assert answered == 20
    world.now += 1.0
    assert sum(bool(requests(world.receive(ok))) for _ in range(100)) == 10


def test_a_request_of_ours_that_comes_back_gets_482() -> None:
    world = World()
    _, request = call(world)
    looped = request_text(branch="z9hG4bKproxy", call_id="another").replace(
        b"Max-Forwards", f"Via: {request.headers.get('Via')}\r\nMax-Forwards".encode(), 1
    )
    assert responses(world.receive(looped)) == [482]
    other = (
        looped.replace((request.via.branch or "").encode(), b"z9hG4bKsomebody").replace(b"another", b"third").replace(b"Kproxy", b"Kother")
    )
    assert responses(world.receive(other)) == []


def test_a_request_that_nobody_answers_gets_100_once_the_client_asks_every_4_s_alone() -> None:
    world = World()
    world.receive(request_text("REGISTER"))
    found = [(at, responses([effect])) for at, effect in world.run(20.0)]
    assert found == [(3.5, [100])]
    assert responses(world.receive(request_text("REGISTER"))) == [100]


@pytest.mark.parametrize("status", [180, 183, 199, 408])
def test_other_requests_than_invite_get_no_1xx_but_100_and_no_408(status: int) -> None:
    world = World()
    received = one(world.receive(request_text("MESSAGE")), RequestReceived)
    world.ua.respond(received.tx, status, now=world.now)
    assert world.drain() == []
    if status == 408:
        assert world.receive(request_text("MESSAGE")) == []


@pytest.mark.parametrize("count", [1, 5])
def test_an_invite_repeated_after_our_2xx_is_absorbed_until_timer_l(count: int) -> None:
    """RFC 6026 section 7.1: in Accepted the transaction lives on, so that a repetition is no new call."""
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now)
    assert key is not None
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    world.drain()
    for _ in range(count):
        world.run(31.0 / count)
        assert world.receive(request_text()) == []
