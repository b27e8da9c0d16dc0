"""UPDATE (RFC 3311): before and after the answer, and where two exchanges meet."""

import random

import pytest

from hushwire.sip.effects import Accepted, InDialogRequest, Progress, RequestReceived, Responded
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.message import Response
from hushwire.sip.parse import parse
from hushwire.sip.useragent import UserAgent, UserAgentConfig
from tests.sip.test_reliable import prack, ringing
from tests.sip.test_useragent_server import accept
from tests.sip.world import ANNA, BOB, OFFER, SeededRandom, World, answer, call, events, one, request_text, requests, responses, sent

ALLOW = "Allow: INVITE, ACK, BYE, UPDATE\r\n"


def update(to_tag: str, cseq: int = 2, body: bytes = OFFER, **options: object) -> bytes:
    return request_text("UPDATE", branch=f"z9hG4bKu{cseq}", cseq=cseq, to_tag=to_tag, body=body, **options)  # type: ignore[arg-type]


def test_an_update_with_an_offer_is_handed_up_and_its_2xx_refreshes_the_target() -> None:
    world = World()
    key, tag = accept(world)
    received = one(world.receive(update(tag, contact="<sip:moved@192.0.2.99:5099>")), InDialogRequest)
    assert (received.dialog, received.request.body) == (key, OFFER)
    world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    (ok,) = sent(world.drain())
    assert "Contact" in ok.headers
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.remote_target == "sip:moved@192.0.2.99:5099"


def test_an_update_without_an_offer_is_answered_here_and_refreshes_the_target() -> None:
    world = World()
    key, tag = accept(world)
    effects = world.receive(update(tag, body=b"", contact="<sip:moved@192.0.2.99:5099>"))
    assert responses(effects) == [200]
    assert events(effects, InDialogRequest) == []
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.remote_target == "sip:moved@192.0.2.99:5099"


def test_a_second_update_before_the_first_is_answered_gets_500_with_retry_after() -> None:
    world = World()
    _, tag = accept(world)
    first = one(world.receive(update(tag)), InDialogRequest)
    (refused,) = sent(world.receive(update(tag, 3)))
    assert isinstance(refused, Response)
    assert refused.status == 500
    assert 0 <= int(refused.headers.get("Retry-After") or "-1") <= 10
    world.ua.respond(first.tx, 488, now=world.now)
    world.drain()
    assert len(events(world.receive(update(tag, 4)), InDialogRequest)) == 1


def test_an_update_that_crosses_our_reinvite_or_update_gets_491() -> None:
    for begin in ("reinvite", "update"):
        world = World()
        key, tag = accept(world, extra=ALLOW) if False else accept_allowing(world)
        assert getattr(world.ua, begin)(key, now=world.now, body=OFFER) is not None
        world.drain()
        assert responses(world.receive(update(tag))) == [491]
        assert responses(world.receive(request_text("INVITE", branch="z9hG4bKri", cseq=3, to_tag=tag, body=OFFER))) == [491]


def accept_allowing(world: World) -> tuple[object, str]:
    received = one(world.receive(request_text(body=OFFER, extra=ALLOW)), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    world.drain()
    return key, key.local_tag


def test_an_update_during_the_peers_own_reinvite_gets_500() -> None:
    world = World()
    _, tag = accept(world)
    world.receive(request_text("INVITE", branch="z9hG4bKri", cseq=2, to_tag=tag, body=OFFER))
    assert responses(world.receive(update(tag, 3))) == [500]


def test_before_the_answer_an_update_with_an_offer_needs_the_first_exchange_to_be_over() -> None:
    world = World()
    _, progress = ringing(world, OFFER)
    assert responses(world.receive(update(progress.to_tag, 2))) == [500]
    assert responses(world.receive(prack(progress, 3))) == [200]
    received = one(world.receive(update(progress.to_tag, 4)), InDialogRequest)
    world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert responses(world.drain()) == [200]


def test_as_caller_an_update_before_the_answer_meets_our_open_offer() -> None:
    world = World()
    _, request = call(world)
    early = one(world.receive(answer(request, 180, tag="early", extra=ALLOW)), Progress)
    assert early.dialog is not None
    assert world.ua.update(early.dialog, now=world.now, body=OFFER) is None
    ids = {"call_id": request.call_id, "from_tag": "early"}
    assert responses(world.receive(update(request.from_tag, 1, **ids))) == [491]
    reliable = answer(request, 183, tag="early", extra=f"{ALLOW}Require: 100rel\r\nRSeq: 1\r\n", body=OFFER)
    assert [message.method for message in requests(world.receive(reliable))] == ["PRACK"]
    assert len(events(world.receive(update(request.from_tag, 2, **ids)), InDialogRequest)) == 1


def test_our_update_before_the_answer_lives_on_in_the_answered_dialog() -> None:
    world = World()
    _, request = call(world)
    early = one(world.receive(answer(request, 183, extra=f"{ALLOW}Require: 100rel\r\nRSeq: 1\r\n", body=OFFER)), Progress)
    assert early.dialog is not None
    world.drain()
    asked = world.ua.update(early.dialog, now=world.now, body=OFFER)
    assert asked is not None
    (ours,) = requests(world.drain())
    accepted = one(world.receive(answer(request, 200, extra=ALLOW)), Accepted)
    assert one(world.receive(answer(ours, 200, body=OFFER)), Responded).request == asked
    assert world.ua.reinvite(accepted.dialog, now=world.now, body=OFFER) is not None


def test_a_peer_that_allows_no_update_is_sent_none() -> None:
    world = World()
    key, _ = accept(world)
    assert world.ua.update(key, now=world.now, body=OFFER) is None


@pytest.mark.parametrize("method", ["reinvite", "update"])
@pytest.mark.parametrize("seed", range(100))
def test_glare_is_resolved_by_waiting_as_both_sides_are_told(seed: int, method: str) -> None:
    """Both sides offer at once, over a network that delays: each gets 491 at most once, and both exchanges come to their end."""
    chance = random.Random(seed)
    addresses = (Address("192.0.2.1", 5060), Address("192.0.2.2", 5060))
    agents = [
        UserAgent(UserAgentConfig(sent_by={Transport.UDP: address}), SeededRandom(2 * seed + n)) for n, address in enumerate(addresses)
    ]
    now, flying, again = 0.0, list[tuple[float, int, bytes]](), list[tuple[float, int]]()
    keys: dict[int, object] = {}
    done: dict[int, list[int]] = {0: [], 1: []}

    def pump() -> None:
        for at, agent in enumerate(agents):
            for effect in agent.drain():
                if hasattr(effect, "data"):
                    flying.append((now + chance.uniform(0.005, 0.15), 1 - at, effect.data))
                elif isinstance(effect, RequestReceived):
                    keys[at] = agent.respond(effect.tx, 200, now=now, body=OFFER)
                elif isinstance(effect, InDialogRequest):
                    agent.respond(effect.tx, 200, now=now, body=OFFER)
                elif isinstance(effect, Accepted):
                    keys[at] = effect.dialog
                elif isinstance(effect, Responded):
                    done[at].append(effect.status)
                    if effect.status == 491:
                        assert effect.retry_after_s is not None
                        again.append((now + effect.retry_after_s, at))

    def step() -> bool:
        nonlocal now
        times = [agent.deadline() for agent in agents]
        times += [item[0] for item in (*flying, *again)]
        due = [at for at in times if at is not None]
        if not due or min(due) > 600:
            return False
        now = max(now, min(due))
        for item in sorted(item for item in flying if item[0] <= now):
            flying.remove(item)
            to = item[1]
            agents[to].receive(parse(item[2]), Flow(Transport.UDP, 1, addresses[to], addresses[1 - to]), now)
            pump()
        for item in [item for item in again if item[0] <= now]:
            again.remove(item)
            offer(item[1])
        for agent in agents:
            agent.handle_timer(now)
        pump()
        return True

    def offer(at: int) -> None:
        if getattr(agents[at], method)(keys[at], now=now, body=OFFER) is None:
            again.append((now + 0.5, at))

    agents[0].invite(hop=Target(Transport.UDP, *addresses[1]), uri="sip:bob@192.0.2.2", from_=ANNA, to=BOB, now=now, body=OFFER)
    pump()
    while not (len(keys) == 2 and not flying):
        assert step()
    offer(0)
    offer(1)
    pump()
    for _ in range(500):
        if not step():
            break
    assert [statuses[-1:] for statuses in done.values()] == [[200], [200]]
    assert all(statuses.count(491) <= 2 for statuses in done.values())
