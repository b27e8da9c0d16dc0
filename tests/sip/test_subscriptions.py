"""SUBSCRIBE and NOTIFY (RFC 6665) as notifier: what message waiting and dialog-info need."""

import pytest

from hushwire.sip.effects import InDialogRequest, NotifyTaken, RequestReceived, SubscriptionEnded, SubscriptionId, SubscriptionRefreshed
from hushwire.sip.message import Request
from tests.sip.world import World, answer, events, one, request_text, requests, responses, sent

MWI = b"Messages-Waiting: yes\r\nVoice-Message: 2/8\r\n"
KIND = "application/simple-message-summary"
NAME = "Event: message-summary\r\n"


def subscribe(tag: str | None = None, cseq: int = 1, extra: str = f"{NAME}Expires: 600\r\n") -> bytes:
    return request_text("SUBSCRIBE", branch=f"z9hG4bKs{cseq}", cseq=cseq, to_tag=tag, extra=extra)


def subscribed(world: World, extra: str = f"{NAME}Expires: 600\r\n") -> tuple[SubscriptionId, str]:
    received = one(world.receive(subscribe(extra=extra)), RequestReceived)
    subscription = world.ua.accept_subscription(received.tx, now=world.now, longest_s=3600)
    assert subscription is not None
    (ok,) = sent(world.drain())
    return subscription, ok.to_tag


def notified(world: World, subscription: SubscriptionId, **options: object) -> Request:
    """A state is told and taken."""
    assert world.ua.notify(subscription, now=world.now, body=MWI, content_type=KIND, **options)  # type: ignore[arg-type]
    (request,) = requests(world.drain())
    world.receive(answer(request, 200))
    return request


def test_a_subscription_is_taken_told_and_refreshed_in_its_dialog() -> None:
    world = World()
    received = one(world.receive(subscribe()), RequestReceived)
    subscription = world.ua.accept_subscription(received.tx, now=world.now, longest_s=300)
    assert subscription is not None
    (ok,) = sent(world.drain())
    assert (ok.headers.get("Expires"), "Contact" in ok.headers) == ("300", True)
    first = notified(world, subscription)
    assert (first.headers.get("Event"), first.headers.get("Subscription-State")) == ("message-summary", "active;expires=300")
    world.run(200.0)
    effects = world.receive(subscribe(ok.to_tag, 2))
    assert responses(effects) == [200]
    refreshed = one(effects, SubscriptionRefreshed)
    assert (refreshed.subscription, refreshed.expires_s) == (subscription, 600)
    assert notified(world, subscription).headers.get("Subscription-State") == "active;expires=600"
    assert events([effect for _, effect in world.run(599.0)], SubscriptionEnded) == []


def test_a_subscription_that_is_not_refreshed_ends_with_a_last_word() -> None:
    world = World()
    subscription, _ = subscribed(world)
    notified(world, subscription)
    found = world.run(601.0)
    assert one([effect for _, effect in found], SubscriptionEnded).subscription == subscription
    assert requests([effect for _, effect in found])[0].headers.get("Subscription-State") == "terminated;reason=timeout"
    assert world.ua._core.sessions == {}
    world.run(100.0)
    assert world.ua.deadline() is None


def test_expires_0_in_the_dialog_asks_for_the_last_word() -> None:
    world = World()
    subscription, tag = subscribed(world)
    notified(world, subscription)
    effects = world.receive(subscribe(tag, 2, f"{NAME}Expires: 0\r\n"))
    assert one(effects, SubscriptionRefreshed).expires_s == 0
    last = notified(world, subscription, is_final=True, reason="timeout")
    assert last.headers.get("Subscription-State") == "terminated;reason=timeout"
    assert world.ua._core.sessions == {}
    assert responses(world.receive(subscribe(tag, 3))) == [481]


def test_expires_0_at_once_fetches_the_state() -> None:
    world = World()
    subscription, _ = subscribed(world, f"{NAME}Expires: 0\r\n")
    assert notified(world, subscription, is_final=True).body == MWI
    world.run(100.0)
    assert world.ua._core.sessions == {}


@pytest.mark.parametrize("extra", ["", "Event: \r\n", "Event: a\r\nEvent: b\r\n", "Event: ;id=3\r\n"])
def test_a_subscription_to_nothing_or_two_things_gets_489(extra: str) -> None:
    world = World()
    effects = world.receive(subscribe(extra=extra))
    assert responses(effects) == [489]
    assert events(effects, RequestReceived) == []


def test_another_event_in_the_same_dialog_is_a_subscription_of_its_own() -> None:
    world = World()
    first, tag = subscribed(world)
    received = one(world.receive(subscribe(tag, 2, "Event: dialog;id=7\r\n")), InDialogRequest)
    second = world.ua.accept_subscription(received.tx, now=world.now)
    world.drain()
    assert second is not None
    assert second != first
    assert notified(world, second).headers.get("Event") == "dialog;id=7"
    assert notified(world, first).headers.get("Event") == "message-summary"
    notified(world, first, is_final=True)
    assert world.ua._core.sessions != {}
    notified(world, second, is_final=True)
    assert world.ua._core.sessions == {}


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO", "UPDATE"])
def test_a_dialog_without_a_call_takes_nothing_of_calls(method: str) -> None:
    world = World()
    _, tag = subscribed(world)
    assert responses(world.receive(request_text(method, branch="z9hG4bKx", cseq=5, to_tag=tag))) == [481]


def test_a_full_house_takes_no_subscription() -> None:
    world = World(max_dialogs=1, max_subscriptions=1)
    subscribed(world)
    received = one(world.receive(request_text("SUBSCRIBE", branch="z9hG4bKo", call_id="other", extra=NAME)), RequestReceived)
    assert world.ua.accept_subscription(received.tx, now=world.now) is None
    assert responses(world.drain()) == [503]


def test_subscriptions_keep_no_call_out() -> None:
    world = World(max_dialogs=1)
    subscribed(world)
    one(world.receive(request_text("INVITE", branch="z9hG4bKi", call_id="a-call")), RequestReceived)


def test_who_would_come_again_too_soon_is_told_how_long_at_least() -> None:
    world = World(min_subscription_s=60)
    received = one(world.receive(subscribe(extra=f"{NAME}Expires: 59\r\n")), RequestReceived)
    assert world.ua.accept_subscription(received.tx, now=world.now) is None
    (refused,) = sent(world.drain())
    assert (refused.status, refused.headers.get("Min-Expires")) == (423, "60")
    world = World(min_subscription_s=60)
    subscription, tag = subscribed(world)
    assert responses(world.receive(subscribe(tag, 2, f"{NAME}Expires: 1\r\n"))) == [423]
    assert notified(world, subscription).headers.get("Subscription-State") == "active;expires=600"


def test_a_notify_that_was_taken_is_told_and_one_that_another_follows_is_not() -> None:
    world = World()
    subscription, _ = subscribed(world)
    assert world.ua.notify(subscription, now=world.now, body=MWI, content_type=KIND)
    (first,) = requests(world.drain())
    assert world.ua.notify(subscription, now=world.now, body=MWI, content_type=KIND)
    effects = world.receive(answer(first, 200))
    assert events(effects, NotifyTaken) == []
    (second,) = requests(effects)
    assert one(world.receive(answer(second, 200)), NotifyTaken).subscription == subscription


def test_an_unknown_package_is_told_which_there_are() -> None:
    world = World(events=("dialog", "message-summary"))
    received = one(world.receive(subscribe(extra="Event: weather\r\n")), RequestReceived)
    world.ua.respond(received.tx, 489, now=world.now)
    (refused,) = sent(world.drain())
    assert (refused.status, refused.headers.get("Allow-Events")) == (489, "dialog, message-summary")
