"""INVITEs to peers that are silent, stall, or lose their connection: given up in time, and nobody is rung behind our back."""

import pytest

from hushwire.sip.effects import Cause, Progress, Rejected, Send
from hushwire.sip.flow import Target, Transport
from tests.sip.world import OFFER, World, answer, call, events, one, requests

OVER_TCP = Target(Transport.TCP, "192.0.2.99", 5060)


def silent(world: World, seconds: float = 4.0, **how: object) -> tuple[object, object]:
    """An INVITE that had no answer at all until it was given up."""
    invite, request = call(world, silence_s=4.0, **how)
    found = world.run(seconds)
    ((at, rejected),) = [(at, effect) for at, effect in found if isinstance(effect, Rejected)]
    assert at == 4.0
    assert (rejected.invite, rejected.status, rejected.cause) == (invite, 408, Cause.TIMEOUT)
    return invite, request


def test_an_invite_that_was_given_up_is_sent_no_more() -> None:
    world = World()
    silent(world)
    assert not [effect for _, effect in world.run(60.0) if isinstance(effect, Send)]
    assert world.ua.deadline() is None


def test_a_peer_that_rings_after_it_was_given_up_is_cancelled() -> None:
    world = World()
    _, request = silent(world)
    effects = world.receive(answer(request, 180))
    (cancel,) = requests(effects)
    assert cancel.method == "CANCEL"
    assert cancel.via.branch == request.via.branch
    assert not events(effects, Progress)
    assert not events(world.receive(answer(request, 487)), Rejected)


def test_a_peer_that_answers_after_it_was_given_up_is_acknowledged_and_sent_bye() -> None:
    world = World()
    _, request = silent(world)
    effects = world.receive(answer(request, 200, body=OFFER))
    assert [sent.method for sent in requests(effects)] == ["ACK", "BYE"]
    assert not [effect for effect in effects if not isinstance(effect, Send)]


def test_any_provisional_stops_the_clock() -> None:
    world = World()
    _, request = call(world, silence_s=4.0)
    world.run(3.9)
    world.receive(answer(request, 100, tag=None))
    assert not [effect for _, effect in world.run(120.0) if isinstance(effect, Rejected)]


def test_a_peer_that_says_100_and_then_nothing_is_cancelled_after_its_time() -> None:
    world = World()
    invite, request = call(world, silence_s=4.0, progress_s=16.0)
    world.run(1.0)
    world.receive(answer(request, 100, tag=None))
    found = world.run(17.0)
    ((at, rejected),) = [(at, effect) for at, effect in found if isinstance(effect, Rejected)]
    assert at == 16.0
    assert (rejected.invite, rejected.cause) == (invite, Cause.TIMEOUT)
    (cancel, *_) = requests([effect for _, effect in found])
    assert cancel.method == "CANCEL"


def test_ringing_ends_the_time_that_a_peer_has_after_its_100() -> None:
    world = World()
    _, request = call(world, silence_s=4.0, progress_s=16.0)
    world.receive(answer(request, 100, tag=None))
    world.receive(answer(request, 180))
    assert not [effect for _, effect in world.run(200.0) if isinstance(effect, Rejected)]


@pytest.mark.parametrize("said", [None, 100])
def test_a_connection_that_ends_before_anything_rang_fails_its_invite_at_once(said: int | None) -> None:
    world = World()
    invite, request = call(world, hop=OVER_TCP)
    if said is not None:
        world.receive(answer(request, said, tag=None))
    world.ua.flow_closed(OVER_TCP, world.now)
    effects = world.drain()
    rejected = one(effects, Rejected)
    assert (rejected.invite, rejected.status, rejected.cause) == (invite, 503, Cause.TRANSPORT)
    assert [sent.method for sent in requests(effects)] == ([] if said is None else ["CANCEL"])
    # It had the INVITE all the same, and answers by a connection of its own.
    assert [sent.method for sent in requests(world.receive(answer(request, 200, body=OFFER)))] == ["ACK", "BYE"]


def test_a_connection_that_ends_while_it_rings_is_waited_for() -> None:
    world = World()
    _, request = call(world, hop=OVER_TCP)
    world.receive(answer(request, 180))
    world.ua.flow_closed(OVER_TCP, world.now)
    assert not events(world.drain(), Rejected)


def test_an_invite_that_was_given_up_before_its_connection_stood_is_not_sent_any_more() -> None:
    world = World()
    call(world, hop=OVER_TCP, silence_s=4.0)
    (first,) = [effect for effect in world.all if isinstance(effect, Send)]
    assert first.transaction is not None
    assert world.ua.awaits(first.transaction)
    world.run(4.0)
    assert not world.ua.awaits(first.transaction)
