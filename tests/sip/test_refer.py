"""REFER with its implicit subscription, Replaces, Referred-By (RFC 3515, 3891, 3892, 5589), on the engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.sip.effects import (
    Accepted,
    DialogEnded,
    DialogKey,
    InDialogRequest,
    Notified,
    Progress,
    RequestReceived,
    Responded,
    SubscriptionEnded,
)
from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request
from hushwire.sip.refer import (
    SIPFRAG,
    Replaces,
    parse_refer_to,
    parse_replaces,
    parse_sipfrag,
    refer_to,
    refer_to_line,
    sipfrag,
)
from hushwire.sip.uri import parse_sip_uri
from tests.sip.test_useragent_server import accept
from tests.sip.world import OFFER, World, answer, call, events, one, request_text, requests, responses

CARL = parse_sip_uri("sip:carl@example.com")


def refer(tag: str, cseq: int = 2, target: str = "<sip:carl@example.com>", **options: object) -> bytes:
    extra = f"Refer-To: {target}\r\n"
    return request_text("REFER", branch=f"z9hG4bKr{cseq}", cseq=cseq, to_tag=tag, extra=extra, **options)  # type: ignore[arg-type]


def notify(request: Request, cseq: int, state: str, body: bytes = b"", event: str | None = "refer") -> bytes:
    """The peer's NOTIFY within the dialog of a REFER of ours."""
    line = "" if event is None else f"Event: {event}\r\n"
    kind = f"Content-Type: {SIPFRAG}\r\n" if body else ""
    return request_text(
        "NOTIFY", branch=f"z9hG4bKn{cseq}", cseq=cseq, call_id=request.call_id, from_tag=request.to_tag, to_tag=request.from_tag,
        extra=f"{line}Subscription-State: {state}\r\n{kind}", body=body,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- we are asked to call


def test_a_refer_is_handed_up_accepted_with_202_and_told_how_it_goes() -> None:
    world = World()
    key, tag = accept(world)
    received = one(world.receive(refer(tag, 2)), InDialogRequest)
    assert received.dialog == key
    assert refer_to(received.request).uri == CARL
    subscription = world.ua.accept_subscription(received.tx, now=world.now, longest_s=60)
    assert subscription is not None
    assert responses(world.drain()) == [202]
    assert world.ua.notify(subscription, now=world.now, body=sipfrag(100), content_type=SIPFRAG)
    (first,) = requests(world.drain())
    assert (first.method, first.headers.get("Event")) == ("NOTIFY", "refer;id=2")
    assert first.headers.get("Subscription-State") == "active;expires=60"
    assert (first.headers.get("Content-Type"), first.body) == (SIPFRAG, b"SIP/2.0 100 Trying\r\n")
    world.receive(answer(first, 200))
    world.ua.notify(subscription, now=world.now, body=sipfrag(200), content_type=SIPFRAG, is_final=True, reason="noresource")
    (last,) = requests(world.drain())
    assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
    world.receive(answer(last, 200))
    assert not world.ua.notify(subscription, now=world.now, body=sipfrag(200))
    assert world.ua.dialog(key) is not None


def test_one_notify_at_a_time_and_the_newest_state_follows() -> None:
    world = World()
    _, tag = accept(world)
    received = one(world.receive(refer(tag)), InDialogRequest)
    subscription = world.ua.accept_subscription(received.tx, now=world.now)
    assert subscription is not None
    world.drain()
    for status in (100, 180, 183):
        world.ua.notify(subscription, now=world.now, body=sipfrag(status), content_type=SIPFRAG)
    (first,) = requests(world.drain())
    assert parse_sipfrag(first.body) == 100
    (second,) = requests(world.receive(answer(first, 200)))
    assert parse_sipfrag(second.body) == 183
    assert requests(world.receive(answer(second, 200))) == []


def test_the_subscription_outlives_the_call_and_the_dialog_dies_with_it() -> None:
    """The transferor hangs up as soon as it is told 100 (RFC 5589 section 6.1): it is still told how the transfer ended (RFC 5057)."""
    world = World()
    key, tag = accept(world)
    received = one(world.receive(refer(tag)), InDialogRequest)
    subscription = world.ua.accept_subscription(received.tx, now=world.now)
    assert subscription is not None
    world.drain()
    assert one(world.receive(request_text("BYE", branch="z9hG4bKb", cseq=3, to_tag=tag)), DialogEnded).dialog == key
    assert world.ua.dialog(key) is None
    for method in ("BYE", "INVITE", "INFO", "UPDATE"):
        assert responses(world.receive(request_text(method, branch=f"z9hG4bK{method}", cseq=9, to_tag=tag))) == [481]
    assert world.ua.reinvite(key, now=world.now, body=OFFER) is None
    assert world.ua.bye(key, now=world.now) is None
    world.ua.notify(subscription, now=world.now, body=sipfrag(503), content_type=SIPFRAG, is_final=True)
    (last,) = requests(world.drain())
    assert (last.method, last.to_tag) == ("NOTIFY", "theirs")
    world.receive(answer(last, 200))
    assert world.ua._core.sessions == {}
    world.run(200.0)
    assert world.ua.deadline() is None


def test_our_bye_leaves_the_subscription_too() -> None:
    world = World()
    key, tag = accept(world)
    received = one(world.receive(refer(tag)), InDialogRequest)
    subscription = world.ua.accept_subscription(received.tx, now=world.now)
    assert subscription is not None
    world.drain()
    world.ua.bye(key, now=world.now)
    (bye,) = requests(world.drain())
    world.receive(answer(bye, 200))
    assert world.ua.notify(subscription, now=world.now, body=sipfrag(200), is_final=True)
    assert [request.method for request in requests(world.drain())] == ["NOTIFY"]


@pytest.mark.parametrize("status", [481, 489, 603, None])
def test_a_subscriber_that_takes_no_notify_is_forgotten(status: int | None) -> None:
    world = World()
    _, tag = accept(world)
    received = one(world.receive(refer(tag)), InDialogRequest)
    subscription = world.ua.accept_subscription(received.tx, now=world.now)
    assert subscription is not None
    world.ua.notify(subscription, now=world.now, body=sipfrag(100))
    (sent_notify,) = requests(world.drain())
    effects = world.receive(answer(sent_notify, status)) if status else [effect for _, effect in world.run(40.0)]
    assert one(effects, SubscriptionEnded).subscription == subscription
    assert not world.ua.notify(subscription, now=world.now, body=sipfrag(200))


def test_a_subscription_that_nobody_ends_says_so_itself_in_the_end() -> None:
    world = World()
    _, tag = accept(world)
    received = one(world.receive(refer(tag)), InDialogRequest)
    subscription = world.ua.accept_subscription(received.tx, now=world.now, longest_s=60)
    world.drain()
    found = world.run(61.0)
    ((at, ended),) = [(at, effect) for at, effect in found if isinstance(effect, SubscriptionEnded)]
    assert (at, ended.subscription, ended.reason) == (60.0, subscription, "timeout")
    (last, *_) = requests([effect for _, effect in found])
    assert last.headers.get("Subscription-State") == "terminated;reason=timeout"


@pytest.mark.parametrize("line", ["", "Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", "r: <sip:a@b>, <sip:c@d>\r\n"])
def test_a_refer_without_exactly_one_refer_to_gets_400(line: str) -> None:
    world = World()
    _, tag = accept(world)
    text = request_text("REFER", branch="z9hG4bKr", cseq=2, to_tag=tag, extra=line)
    try:
        effects = world.receive(text)
    except ParseError as error:
        world.ua.receive_malformed(error, one(world.all, RequestReceived).flow)
        effects = world.drain()
    assert responses(effects) == [400]


def test_a_refer_outside_dialogs_is_handed_up_and_may_be_refused() -> None:
    world = World()
    received = one(world.receive(request_text("REFER", extra="Refer-To: <sip:carl@example.com>\r\n")), RequestReceived)
    world.ua.respond(received.tx, 403, now=world.now)
    assert responses(world.drain()) == [403]
    world.run(100.0)
    assert world.ua._core.sessions == {}


def test_a_refer_outside_dialogs_that_is_taken_makes_a_dialog_without_a_call() -> None:
    world = World()
    received = one(world.receive(request_text("REFER", extra="Refer-To: <sip:carl@example.com>\r\n")), RequestReceived)
    subscription = world.ua.accept_subscription(received.tx, now=world.now)
    assert subscription is not None
    assert responses(world.drain()) == [202]
    world.ua.notify(subscription, now=world.now, body=sipfrag(200), is_final=True)
    (last,) = requests(world.drain())
    assert (last.uri, last.to_tag) == ("sip:peer@192.0.2.99:5060", "theirs")
    assert world.ua._core.sessions == {}


def test_more_subscriptions_than_anybody_needs_are_refused() -> None:
    world = World()
    _, tag = accept(world)
    outcomes = []
    for number in range(10):
        received = one(world.receive(refer(tag, 2 + number)), InDialogRequest)
        outcomes.append(world.ua.accept_subscription(received.tx, now=world.now) is not None)
        world.drain()
    assert outcomes == [True] * 8 + [False] * 2


# ------------------------------------------------------------------------------------------------ we ask the peer to call


def referred(world: World) -> tuple[DialogKey, int, Request]:
    _, request = call(world)
    accepted = one(world.receive(answer(request, 200, body=OFFER)), Accepted)
    asked = world.ua.refer(accepted.dialog, CARL, now=world.now, replaces=Replaces("other@call", "to-1", "from-1"))
    assert asked is not None
    (sent_refer,) = requests(world.drain())
    return accepted.dialog, asked[1], sent_refer


def test_our_refer_names_the_call_to_replace_and_who_asks() -> None:
    _, _, sent_refer = referred(World())
    target = refer_to(sent_refer)
    assert target.uri == CARL
    assert target.replaces == Replaces("other@call", "to-1", "from-1")
    assert sent_refer.headers.get("Referred-By") == "<sip:anna@acme.example>"


def test_what_the_peer_tells_of_it_is_told_until_it_is_over() -> None:
    world = World()
    _, subscription, sent_refer = referred(world)
    assert one(world.receive(answer(sent_refer, 202)), Responded).status == 202
    effects = world.receive(notify(sent_refer, 1, "active;expires=60", sipfrag(180)))
    assert responses(effects) == [200]
    told = one(effects, Notified)
    assert (told.subscription, told.is_over, parse_sipfrag(told.request.body)) == (subscription, False, 180)
    told = one(world.receive(notify(sent_refer, 2, "terminated;reason=noresource", sipfrag(200))), Notified)
    assert (told.is_over, told.reason, parse_sipfrag(told.request.body)) == (True, "noresource", 200)
    assert responses(world.receive(notify(sent_refer, 3, "terminated", sipfrag(200)))) == [481]


def test_a_notify_that_overtakes_the_202_is_taken() -> None:
    world = World()
    _, subscription, sent_refer = referred(world)
    told = one(world.receive(notify(sent_refer, 1, "active", sipfrag(100), event=f"refer;id={sent_refer.cseq.number}")), Notified)
    assert told.subscription == subscription


@pytest.mark.parametrize(("event", "state", "status"), [("presence", "active", 481), (None, "active", 489), ("refer", "", 400)])
def test_a_notify_that_we_did_not_ask_for_or_that_says_nothing_is_refused(event: str | None, state: str, status: int) -> None:
    world = World()
    _, _, sent_refer = referred(world)
    effects = world.receive(notify(sent_refer, 1, state, event=event))
    assert responses(effects) == [status]
    assert events(effects, Notified) == []


def test_a_refer_that_is_refused_leaves_no_subscription() -> None:
    world = World()
    _, _, sent_refer = referred(world)
    assert one(world.receive(answer(sent_refer, 603)), Responded).status == 603
    assert responses(world.receive(notify(sent_refer, 1, "active"))) == [481]


def test_a_peer_that_never_tells_is_given_up() -> None:
    world = World()
    dialog, subscription, sent_refer = referred(world)
    world.receive(answer(sent_refer, 202))
    ended = one([effect for _, effect in world.run(200.0)], SubscriptionEnded)
    assert (ended.subscription, ended.reason) == (subscription, "timeout")
    assert world.ua.dialog(dialog) is not None


def test_after_our_bye_the_peer_still_tells_how_it_went() -> None:
    world = World()
    dialog, _, sent_refer = referred(world)
    world.receive(answer(sent_refer, 202))
    world.ua.bye(dialog, now=world.now)
    (bye,) = requests(world.drain())
    world.receive(answer(bye, 200))
    assert one(world.receive(notify(sent_refer, 1, "terminated", sipfrag(200))), Notified).is_over
    assert world.ua._core.sessions == {}


# ------------------------------------------------------------------------------------------------------------ Replaces


def replacing(key: DialogKey, extra: str = "", call_id: str | None = None) -> bytes:
    line = f"Replaces: {call_id or key.call_id};to-tag={key.local_tag};from-tag={key.remote_tag}{extra}\r\n"
    return request_text(branch="z9hG4bKreplacing", call_id="replacing", from_tag="third", extra=line)


SUPPORTED = ("100rel", "timer", "replaces")


def test_an_invite_with_replaces_names_a_dialog_that_is_there() -> None:
    world = World(supported=SUPPORTED)
    key, _ = accept(world)
    received = one(world.receive(replacing(key)), RequestReceived)
    assert received.replaces == key


@pytest.mark.parametrize("wrong", ["call_id", "local_tag", "remote_tag", "swapped"])
def test_replaces_matches_by_call_id_and_both_tags(wrong: str) -> None:
    world = World(supported=SUPPORTED)
    key, _ = accept(world)
    named = DialogKey(key.call_id, key.remote_tag, key.local_tag) if wrong == "swapped" else key._replace(**{wrong: "guess"})
    assert responses(world.receive(replacing(named))) == [481]


def test_a_dialog_that_is_over_cannot_be_replaced() -> None:
    world = World(supported=SUPPORTED)
    key, tag = accept(world)
    world.receive(request_text("BYE", branch="z9hG4bKb", cseq=2, to_tag=tag))
    assert responses(world.receive(replacing(key))) == [481]


def test_early_only_spares_an_answered_call() -> None:
    world = World(supported=SUPPORTED)
    key, _ = accept(world)
    assert responses(world.receive(replacing(key, ";early-only"))) == [486]


def test_an_early_dialog_may_be_replaced_where_we_ring_somebody_and_not_where_we_are_rung() -> None:
    world = World(supported=SUPPORTED)
    _, request = call(world)
    early = one(world.receive(answer(request, 180)), Progress)
    assert early.dialog is not None
    assert one(world.receive(replacing(early.dialog, ";early-only")), RequestReceived).replaces == early.dialog
    rung = World(supported=SUPPORTED)
    received = one(rung.receive(request_text()), RequestReceived)
    key = rung.ua.respond(received.tx, 180, now=rung.now)
    assert key is not None
    rung.drain()
    assert responses(rung.receive(replacing(key))) == [481]


@pytest.mark.parametrize(
    "line", ["a;to-tag=b", "a;from-tag=b", ";to-tag=a;from-tag=b", "a;to-tag=b;from-tag=c\r\nJoin: a;to-tag=b;from-tag=c"]
)
def test_a_replaces_that_cannot_be_read_gets_400(line: str) -> None:
    world = World(supported=SUPPORTED)
    assert responses(world.receive(request_text(extra=f"Replaces: {line}\r\n"))) == [400]


def test_where_replaces_is_no_feature_requiring_it_is_refused_and_nothing_is_replaced() -> None:
    world = World()
    key, _ = accept(world)
    text = replacing(key).replace(b"Replaces:", b"Require: replaces\r\nReplaces:")
    assert responses(world.receive(text)) == [420]
    assert (
        one(world.receive(replacing(key).replace(b"Kreplacing", b"Kagain").replace(b"D: replacing", b"D: again")), RequestReceived).replaces
        is None
    )


# ------------------------------------------------------------------------------------------------------------ grammar


def test_refer_to_is_read_without_its_headers_and_method() -> None:
    target = parse_refer_to(
        "<sips:bob@example.com:5061;method=INVITE;user=phone?Replaces=425928%40bobster.example.org%3Bto-tag%3D7743%3Bfrom-tag%3D6472>"
    )
    assert str(target.uri) == "sips:bob@example.com:5061;user=phone"
    assert target.replaces == Replaces("425928@bobster.example.org", "7743", "6472")
    assert target.replaces.dialog == DialogKey("425928@bobster.example.org", "7743", "6472")
    assert str(parse_refer_to("tel:+4930123").uri) == "tel:+4930123"


@pytest.mark.parametrize(
    "value",
    [
        "<sip:a@b;method=BYE>", "<sip:a@b?Replaces=x>", "<sip:a@b?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2&replaces=y>", "<sip:a b>", "",
        "<sip:a@b?Replaces=%ff>",
    ],
)  # fmt: skip
def test_a_refer_to_that_asks_for_something_else_is_refused(value: str) -> None:
    with pytest.raises(ParseError):
        parse_refer_to(value)


@given(st.text("abcXYZ019.!%*_+`'~-", min_size=1, max_size=20), st.text("abc019-.", min_size=1, max_size=12), st.booleans())
def test_replaces_survives_the_way_through_a_refer_to(call_id: str, tag: str, is_early_only: bool) -> None:
    replaces = Replaces(f"{call_id}@192.0.2.1", tag, f"{tag}x", is_early_only)
    assert parse_replaces(str(replaces)) == replaces
    assert parse_refer_to(refer_to_line(CARL, replaces)[1]).replaces == replaces


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"SIP/2.0 200 OK\r\n", 200), (b"SIP/2.0 503 Service Unavailable", 503), (b"\r\nSIP/2.0 180 ", 180), (b"SIP/2.0 200", 200),
        (b"", None), (b"HTTP/1.1 200", None), (b"SIP/2.0 2000", None), (b"\xff", None),
    ],
)  # fmt: skip
def test_a_sipfrag_is_read_by_its_status(body: bytes, status: int | None) -> None:
    assert parse_sipfrag(body) == status
