"""Session timers (RFC 4028) in both roles."""

import pytest

from hushwire.sip.effects import Accepted, DialogKey, DialogTimedOut, RefreshDue, Rejected, RequestReceived, Responded
from hushwire.sip.message import Request, Response
from hushwire.sip.session_timer import SessionTimer
from tests.sip.world import OFFER, World, answer, call, events, one, request_text, requests, responses, sent

ALLOW = "Allow: INVITE, ACK, BYE, UPDATE\r\n"


def called(world: World, extra: str) -> tuple[DialogKey, Response]:
    """The peer's INVITE with these headers, accepted and acknowledged."""
    received = one(world.receive(request_text(body=OFFER, extra=extra)), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    (ok,) = sent(world.drain())
    assert key is not None
    assert isinstance(ok, Response)
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    world.drain()
    return key, ok


def calling(world: World, extra: str) -> DialogKey:
    _, request = call(world)
    return one(world.receive(answer(request, 200, extra=extra, body=OFFER)), Accepted).dialog


def at_of(found: list[tuple[float, object]], kind: type) -> list[float]:
    return [at for at, effect in found if isinstance(effect, kind)]


# --------------------------------------------------------------------------------------------------------- negotiation


def test_our_invite_asks_for_half_an_hour() -> None:
    _, request = call(World())
    assert request.headers.get("Session-Expires") == "1800"
    assert "timer" in request.supported


@pytest.mark.parametrize(
    ("extra", "said", "is_ours"),
    [
        ("Supported: timer\r\n", "1800;refresher=uac", False),
        ("Supported: timer\r\nSession-Expires: 600\r\n", "600;refresher=uac", False),
        ("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n", "600;refresher=uas", True),
        ("k: timer\r\nx: 600;refresher=uac\r\n", "600;refresher=uac", False),
        ("Supported: timer\r\nSession-Expires: 999999\r\n", "1800;refresher=uac", False),
        ("Supported: timer\r\nSession-Expires: 100\r\nMin-SE: 120\r\n", "120;refresher=uac", False),
        ("Session-Expires: 600\r\n", "600;refresher=uas", True),
    ],
)
def test_what_a_caller_asks_for_is_met_within_our_bounds(extra: str, said: str, is_ours: bool) -> None:
    world = World()
    key, ok = called(world, extra)
    assert ok.headers.get("Session-Expires") == said
    assert ("timer" in ok.require) is not is_ours
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.timer == SessionTimer(int(said.partition(";")[0]), is_ours)


def test_a_caller_that_knows_no_timers_gets_none() -> None:
    world = World()
    key, ok = called(world, "")
    assert "Session-Expires" not in ok.headers
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.timer is None
    assert world.ua.deadline() is None or world.run(4000.0) == []


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_interval_that_is_too_brief_gets_422_naming_our_least(method: str) -> None:
    world = World()
    extra = "Supported: timer\r\nSession-Expires: 60\r\n"
    if method == "INVITE":
        effects = world.receive(request_text(extra=extra))
    else:
        key, _ = called(world, "Supported: timer\r\n")
        effects = world.receive(request_text("UPDATE", branch="z9hG4bKu", cseq=2, to_tag=key.local_tag, extra=extra))
    (refused,) = sent(effects)
    assert responses(effects) == [422]
    assert refused.headers.get("Min-SE") == "90"
    assert events(effects, RequestReceived) == []


@pytest.mark.parametrize("value", ["soon", "-5", "1e3", ";refresher=uac", "600;refresher"])
def test_an_interval_that_cannot_be_read_gets_400_or_is_taken_without_its_role(value: str) -> None:
    world = World()
    effects = world.receive(request_text(extra=f"Supported: timer\r\nSession-Expires: {value}\r\n"))
    assert responses(effects) == ([] if value.startswith("600") else [400])


def test_a_422_is_answered_once_with_what_it_wants() -> None:
    world = World()
    _, request = call(world)
    ack, again = requests(world.receive(answer(request, 422, extra="Min-SE: 3600\r\n")))
    assert ack.method == "ACK"
    assert (again.method, again.cseq.number, again.call_id) == ("INVITE", 2, request.call_id)
    assert (again.headers.get("Session-Expires"), again.headers.get("Min-SE")) == ("3600", "3600")
    assert one(world.receive(answer(again, 422, extra="Min-SE: 7200\r\n")), Rejected).status == 422


@pytest.mark.parametrize(
    ("extra", "timer"),
    [
        ("Session-Expires: 600;refresher=uac\r\n", SessionTimer(600, is_ours=True)),
        ("Session-Expires: 600;refresher=uas\r\n", SessionTimer(600, is_ours=False)),
        ("Session-Expires: 600\r\n", SessionTimer(600, is_ours=True)),
        ("Session-Expires: 5;refresher=uac\r\n", SessionTimer(90, is_ours=True)),
        ("Session-Expires: nonsense\r\n", None),
        ("", None),
    ],
)
def test_a_callees_word_holds(extra: str, timer: SessionTimer | None) -> None:
    world = World()
    dialog = world.ua.dialog(calling(world, extra))
    assert dialog is not None
    assert dialog.timer == timer


# ------------------------------------------------------------------------------------------------------- we refresh


def test_we_refresh_by_update_at_half_the_interval_again_and_again() -> None:
    world = World()
    key = calling(world, f"{ALLOW}Session-Expires: 600;refresher=uac\r\n")
    for number in range(3):
        (request, *_) = requests([effect for _, effect in world.run(301.2)])
        assert (request.method, request.cseq.number, request.body) == ("UPDATE", 2 + number, b"")
        assert request.headers.get("Session-Expires") == "600;refresher=uac"
        effects = world.receive(answer(request, 200, extra=f"{ALLOW}Session-Expires: 600;refresher=uac\r\n"))
        assert events(effects, Responded) == []
    assert world.ua.dialog(key) is not None


def test_a_peer_without_update_makes_us_ask_for_a_reinvite_which_refreshes() -> None:
    world = World()
    key = calling(world, "Session-Expires: 600;refresher=uac\r\n")
    found = world.run(310.0)
    assert [round(at) for at in at_of(found, RefreshDue)] == [301]
    assert world.ua.reinvite(key, now=world.now, body=OFFER) is not None
    (request,) = requests(world.drain())
    assert request.headers.get("Session-Expires") == "600;refresher=uac"
    world.receive(answer(request, 200, extra="Session-Expires: 600;refresher=uac\r\n", body=OFFER))
    assert at_of(world.run(299.0), RefreshDue) == []
    assert len(at_of(world.run(10.0), RefreshDue)) == 1


def test_an_update_that_is_not_understood_is_followed_by_a_reinvite() -> None:
    world = World()
    calling(world, f"{ALLOW}Session-Expires: 600;refresher=uac\r\n")
    (request, *_) = requests([effect for _, effect in world.run(302.0)])
    assert len(events(world.receive(answer(request, 501)), RefreshDue)) == 1


def test_a_refresh_that_meets_the_peers_exchange_is_tried_again_soon() -> None:
    world = World()
    calling(world, f"{ALLOW}Session-Expires: 600;refresher=uac\r\n")
    (request, *_) = requests([effect for _, effect in world.run(302.0)])
    assert world.receive(answer(request, 491)) == []
    again = requests([effect for _, effect in world.run(6.0)])
    assert again
    assert {item.method for item in again} == {"UPDATE"}
    assert again[0].cseq.number == 3


@pytest.mark.parametrize("status", [481, 408, None])
def test_a_refresh_that_nobody_knows_or_answers_ends_the_dialog(status: int | None) -> None:
    world = World()
    key = calling(world, f"{ALLOW}Session-Expires: 600;refresher=uac\r\n")
    (request, *_) = requests([effect for _, effect in world.run(302.0)])
    effects = world.receive(answer(request, status)) if status else [effect for _, effect in world.run(40.0)]
    assert one(effects, DialogTimedOut).dialog == key
    assert world.ua.dialog(key) is None
    world.run(100.0)
    assert world.ua.deadline() is None


def test_a_refresh_may_be_challenged() -> None:
    from tests.sip.test_useragent_client import CREDENTIALS, challenge

    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    world.receive(answer(request, 200, extra=f"{ALLOW}Session-Expires: 600;refresher=uac\r\n", body=OFFER))
    (update, *_) = requests([effect for _, effect in world.run(302.0)])
    (again,) = requests(world.receive(answer(update, 407, extra=challenge(now=world.now))))
    assert (again.method, "Proxy-Authorization" in again.headers) == ("UPDATE", True)


# ------------------------------------------------------------------------------------------------------- they refresh


def test_a_session_that_the_peer_does_not_refresh_ends_32_s_before_its_time() -> None:
    world = World()
    key, _ = called(world, "Supported: timer\r\nSession-Expires: 600\r\n")
    found = world.run(567.0)
    assert at_of(found, DialogTimedOut) == []
    found = world.run(3.0)
    ((_, timed_out),) = [(at, effect) for at, effect in found if isinstance(effect, DialogTimedOut)]
    assert timed_out.dialog == key
    bye = requests([effect for _, effect in found])[0]
    assert bye.method == "BYE"
    assert "cause=408" in (bye.headers.get("Reason") or "")


def test_a_refresh_of_the_peers_by_update_or_reinvite_gives_the_session_its_time_again() -> None:
    world = World()
    key, _ = called(world, "Supported: timer\r\nSession-Expires: 600\r\n")
    extra = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n"
    for number in range(4):
        assert at_of(world.run(500.0), DialogTimedOut) == []
        method = ("UPDATE", "INVITE")[number % 2]
        effects = world.receive(request_text(method, branch=f"z9hG4bKr{number}", cseq=2 + number, to_tag=key.local_tag, extra=extra))
        if method == "INVITE":
            tx = next(effect.tx for effect in effects if hasattr(effect, "tx"))
            world.ua.respond(tx, 200, now=world.now, body=OFFER)
            effects = world.drain()
            world.receive(request_text("ACK", branch=f"z9hG4bKa{number}", cseq=2 + number, to_tag=key.local_tag))
        (ok,) = sent(effects)
        assert ok.headers.get("Session-Expires") == "600;refresher=uac"
    assert world.ua.dialog(key) is not None


def test_a_dialog_that_ends_leaves_no_timer() -> None:
    world = World()
    key = calling(world, f"{ALLOW}Session-Expires: 600;refresher=uac\r\n")
    world.ua.bye(key, now=world.now)
    (bye,) = requests(world.drain())
    world.receive(answer(bye, 200))
    world.run(40.0)
    assert world.ua.deadline() is None
    assert world.ua._core.watch._due == {}


def test_an_adopted_dialog_is_refreshed_soon() -> None:
    before = World()
    dialog = before.ua.dialog(calling(before, f"{ALLOW}Session-Expires: 600;refresher=uac\r\n"))
    assert dialog is not None
    after = World(seed=9)
    after.ua.adopt(dialog, now=after.now)
    (update, *_) = requests([effect for _, effect in after.run(7.0)])
    assert isinstance(update, Request)
    assert (update.method, update.cseq.number) == ("UPDATE", 2)
