"""Reliable provisional responses (RFC 3262), as caller and as callee."""

import pytest

from hushwire.sip.effects import Accepted, CancelReceived, DialogEnded, DialogTimedOut, InDialogRequest, Progress, RequestReceived, Send
from hushwire.sip.message import Response
from tests.sip.world import OFFER, World, answer, call, events, one, request_text, requests, responses, sent

RELIABLE = "Require: 100rel\r\nRSeq: {}\r\n"


def ringing(world: World, body: bytes = b"", extra: str = "Require: 100rel\r\n") -> tuple[RequestReceived, Response]:
    """An INVITE that requires 100rel, and our reliable 183 to it."""
    received = one(world.receive(request_text(body=OFFER, extra=extra)), RequestReceived)
    world.ua.respond(received.tx, 183, now=world.now, body=body)
    (progress,) = sent(world.drain())
    assert isinstance(progress, Response)
    return received, progress


def prack(progress: Response, cseq: int = 2, rack: str | None = None, **options: object) -> bytes:
    line = rack if rack is not None else f"{progress.headers.get('RSeq')} 1 INVITE"
    return request_text("PRACK", branch=f"z9hG4bKprack{cseq}", cseq=cseq, to_tag=progress.to_tag, extra=f"RAck: {line}\r\n", **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ as caller


def test_we_say_that_we_support_it_where_the_invite_holds_an_offer() -> None:
    _, request = call(World())
    assert "100rel" in request.supported
    _, request = call(World(), body=b"")
    assert "100rel" not in request.supported


def test_a_reliable_183_is_acknowledged_by_prack_in_its_early_dialog_and_told_once() -> None:
    world = World()
    invite, request = call(world)
    progress = answer(request, 183, extra=RELIABLE.format(17), body=OFFER)
    effects = world.receive(progress)
    (prack_sent,) = requests(effects)
    assert (prack_sent.method, prack_sent.cseq.number, prack_sent.to_tag) == ("PRACK", 2, "peer-tag")
    assert prack_sent.headers.get("RAck") == "17 1 INVITE"
    assert prack_sent.uri == "sip:far@192.0.2.99:5070"
    assert one(effects, Progress).invite == invite
    assert world.receive(progress) == []
    assert world.receive(answer(prack_sent, 200)) == []
    effects = world.receive(answer(request, 200, body=OFFER))
    accepted = one(effects, Accepted)
    world.ua.bye(accepted.dialog, now=world.now)
    (bye,) = requests(world.drain())
    assert bye.cseq.number == 3


def test_reliable_responses_are_taken_in_their_order_alone() -> None:
    world = World()
    _, request = call(world)
    assert len(requests(world.receive(answer(request, 180, extra=RELIABLE.format(5))))) == 1
    assert world.receive(answer(request, 183, extra=RELIABLE.format(7))) == []
    (second,) = requests(world.receive(answer(request, 183, extra=RELIABLE.format(6))))
    assert second.headers.get("RAck") == "6 1 INVITE"
    assert len(requests(world.receive(answer(request, 183, extra=RELIABLE.format(7))))) == 1


def test_each_fork_has_numbers_of_its_own() -> None:
    world = World()
    _, request = call(world)
    for tag, number in (("one", 100), ("two", 3)):
        (sent_prack,) = requests(world.receive(answer(request, 183, tag=tag, extra=RELIABLE.format(number))))
        assert sent_prack.headers.get("RAck") == f"{number} 1 INVITE"
        assert sent_prack.to_tag == tag


@pytest.mark.parametrize("number", ["", "-1", "1.5", "99999999999999999999", "one"])
def test_a_number_that_is_none_is_neither_acknowledged_nor_told(number: str) -> None:
    world = World()
    _, request = call(world)
    assert world.receive(answer(request, 183, extra=RELIABLE.format(number))) == []


def test_without_require_a_number_means_nothing() -> None:
    world = World()
    _, request = call(world)
    effects = world.receive(answer(request, 183, extra="RSeq: 4\r\n"))
    assert requests(effects) == []
    assert len(events(effects, Progress)) == 1


def test_a_prack_that_is_refused_or_lost_ends_nothing() -> None:
    world = World()
    _, request = call(world)
    (refused,) = requests(world.receive(answer(request, 183, extra=RELIABLE.format(1))))
    assert world.receive(answer(refused, 481)) == []
    world.run(10.0)
    assert len(events(world.receive(answer(request, 200, body=OFFER)), Accepted)) == 1


# ------------------------------------------------------------------------------------------------------------ as callee


def test_a_caller_that_requires_it_gets_reliable_responses_repeated_until_prack() -> None:
    world = World()
    _, progress = ringing(world)
    assert "100rel" in progress.require
    assert int(progress.headers.get("RSeq") or "0") > 0
    times = [at for at, effect in world.run(8.0) if isinstance(effect, Send)]
    assert times == [0.5, 1.5, 3.5, 7.5]
    assert responses(world.receive(prack(progress))) == [200]
    assert world.run(20.0) == []


def test_a_caller_that_only_supports_it_gets_ordinary_ones() -> None:
    world = World()
    _, progress = ringing(world, extra="Supported: 100rel\r\n")
    assert "RSeq" not in progress.headers
    assert world.run(20.0) == []


@pytest.mark.parametrize("rack", ["1 1 INVITE", "{} 2 INVITE", "{} 1 UPDATE"])
def test_a_prack_of_something_else_gets_481_and_the_repetition_goes_on(rack: str) -> None:
    world = World()
    _, progress = ringing(world)
    number = int(progress.headers.get("RSeq") or "0")
    wrong = rack.format(number) if "{}" in rack else f"{number + 1} 1 INVITE"
    assert responses(world.receive(prack(progress, rack=wrong))) == [481]
    assert len(world.run(0.6)) == 1


@pytest.mark.parametrize("rack", ["", "1 INVITE", "a b c", "1 2 3 4"])
def test_a_prack_that_cannot_be_read_gets_400(rack: str) -> None:
    world = World()
    _, progress = ringing(world)
    assert responses(world.receive(prack(progress, rack=rack))) == [400]


def test_a_second_prack_for_the_same_response_gets_481() -> None:
    world = World()
    _, progress = ringing(world)
    assert responses(world.receive(prack(progress))) == [200]
    assert responses(world.receive(prack(progress, cseq=3))) == [481]


def test_the_next_reliable_response_waits_for_the_prack_of_the_first_and_has_the_next_number() -> None:
    world = World()
    received, first = ringing(world)
    world.ua.respond(received.tx, 180, now=world.now)
    assert world.drain() == []
    effects = world.receive(prack(first))
    assert responses(effects) == [180, 200]
    (second,) = [message for message in sent(effects) if isinstance(message, Response) and message.status == 180]
    assert int(second.headers.get("RSeq") or "0") == int(first.headers.get("RSeq") or "0") + 1
    assert responses(world.receive(prack(second, cseq=3))) == [200]


def test_a_2xx_waits_until_the_description_in_a_183_is_acknowledged() -> None:
    world = World()
    received, progress = ringing(world, OFFER)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    assert world.drain() == []
    assert world.ua.respond(received.tx, 486, now=world.now) is None
    assert responses(world.receive(prack(progress))) == [200, 200]
    assert world.ua.dialog(key) is not None


def test_a_2xx_without_a_description_before_it_goes_at_once_and_the_late_prack_is_welcome() -> None:
    world = World()
    received, progress = ringing(world)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert responses(world.drain()) == [200]
    assert responses(world.receive(prack(progress))) == [200]
    assert key is not None
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    assert world.run(40.0) == []


def test_a_refusal_waits_for_nothing() -> None:
    world = World()
    received, _ = ringing(world, OFFER)
    world.ua.respond(received.tx, 486, now=world.now)
    assert responses(world.drain()) == [486]


def test_a_caller_that_never_acknowledges_is_refused_with_504_after_32_s() -> None:
    world = World()
    received, _ = ringing(world)
    found = world.run(33.0)
    assert next(at for at, effect in found if responses([effect]) == [504]) == 32.0
    assert one([effect for _, effect in found], CancelReceived).tx == received.tx
    world.run(100.0)
    assert world.ua.deadline() is None
    assert world.ua._core.sessions == {}


def test_a_held_2xx_of_a_caller_that_never_acknowledges_is_told_as_the_end_of_the_dialog() -> None:
    world = World()
    received, _ = ringing(world, OFFER)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    effects = [effect for _, effect in world.run(33.0)]
    assert one(effects, DialogTimedOut).dialog == key
    assert events(effects, CancelReceived) == []


def test_a_cancel_while_a_2xx_is_held_is_told_as_the_end_of_the_dialog() -> None:
    world = World()
    received, _ = ringing(world, OFFER)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    effects = world.receive(request_text("CANCEL"))
    assert responses(effects) == [200, 487]
    assert one(effects, DialogEnded).dialog == key
    world.run(100.0)
    assert world.ua.deadline() is None
    assert world.ua._core.sessions == {}


def test_an_offer_in_prack_is_answered_in_its_2xx() -> None:
    world = World()
    received, progress = ringing(world, OFFER)
    asked = one(world.receive(prack(progress, body=OFFER)), InDialogRequest)
    assert (asked.request.method, asked.request.body) == ("PRACK", OFFER)
    assert world.run(3.0) == [], "what it acknowledges is acknowledged, and not repeated"
    world.ua.respond(asked.tx, 200, now=world.now, body=OFFER)
    (ok,) = sent(world.drain())
    assert isinstance(ok, Response)
    assert (ok.status, ok.cseq.method, ok.body) == (200, "PRACK", OFFER)
    assert world.ua.respond(received.tx, 200, now=world.now, body=OFFER) is not None
    assert responses(world.drain()) == [200]


def test_a_2xx_waits_until_an_offer_in_prack_is_answered() -> None:
    world = World()
    received, progress = ringing(world, OFFER)
    asked = one(world.receive(prack(progress, body=OFFER)), InDialogRequest)
    world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert world.drain() == []
    world.ua.respond(asked.tx, 488, now=world.now)
    assert [message.cseq.method for message in sent(world.drain())] == ["PRACK", "INVITE"]


def test_a_description_in_prack_that_nobody_may_send_now_is_refused_and_what_it_acknowledges_is_acknowledged() -> None:
    world = World()
    _, progress = ringing(world)  # the INVITE's offer is not answered yet: a second one must wait (RFC 3264 section 4)
    assert responses(world.receive(prack(progress, body=OFFER))) == [488]
    assert world.run(20.0) == []


def test_a_caller_who_gives_up_before_its_offer_in_prack_is_answered_leaves_nothing() -> None:
    world = World()
    _, progress = ringing(world, OFFER)
    asked = one(world.receive(prack(progress, body=OFFER)), InDialogRequest)
    assert responses(world.receive(request_text("CANCEL"))) == [200, 487]
    world.ua.respond(asked.tx, 200, now=world.now, body=OFFER)
    world.run(100.0)
    assert world.ua.deadline() is None
    assert world.ua._core.sessions == {}


def test_a_repeated_invite_is_met_with_the_newest_response() -> None:
    world = World()
    ringing(world)
    assert responses(world.receive(request_text(body=OFFER, extra="Require: 100rel\r\n"))) == [183]
