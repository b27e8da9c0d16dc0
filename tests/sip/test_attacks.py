"""What strangers and parties may try on the engine, each tried."""

import pytest

from hushwire.sip.digest import Challenger, Credentials
from hushwire.sip.effects import Accepted, DialogEnded, InDialogRequest, RequestReceived, Responded, Send
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.parse import StreamParser
from tests.sip.attacks import ATTACKS, LENGTHS, SMUGGLING, Attack
from tests.sip.test_useragent_server import accept
from tests.sip.world import (
    OFFER,
    THEIRS,
    UDP,
    SeededRandom,
    World,
    answer,
    call,
    events,
    one,
    request_text,
    requests,
    responses,
    sent,
)

STRANGER = Flow(Transport.UDP, 1, UDP.local, Address("203.0.113.5", 5060))
CREDENTIALS = Credentials("trunk", "secret", "carrier.example")


def take(world: World, text: bytes, flow: Flow = UDP) -> list[object]:
    """As the endpoint does."""
    try:
        return list(world.receive(text, flow))
    except ParseError as error:
        world.ua.receive_malformed(error, flow)
        return list(world.drain())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_is_answered_to_its_source_alone_and_leaves_nothing(attack: Attack) -> None:
    world = World()
    effects = take(world, attack.text)
    received = events(effects, RequestReceived)  # type: ignore[arg-type]
    assert bool(received) is attack.is_handed_up
    for request in received:
        world.ua.respond(request.tx, attack.status or 500, now=world.now)
        effects += world.drain()
    assert responses(effects) == ([] if attack.status is None else [attack.status])  # type: ignore[arg-type]
    for effect in effects:
        if isinstance(effect, Send):
            assert isinstance(effect.hop, Flow)
            assert effect.hop.remote.host == THEIRS.host
    world.run(200.0)
    assert world.ua.deadline() is None
    assert world.ua._server.transactions == {}
    assert world.ua._core.sessions == {}


@pytest.mark.parametrize("attack", [item for item in SMUGGLING if "Request-URI" not in item.name], ids=lambda attack: attack.name)
def test_what_is_refused_as_a_datagram_is_refused_in_a_stream(attack: Attack) -> None:
    found = list(StreamParser().feed(attack.text))
    assert found
    assert all(isinstance(item, ParseError) for item in found)


@pytest.mark.parametrize("attack", [item for item in LENGTHS if "beyond" not in item.name], ids=lambda attack: attack.name)
def test_a_doubtful_length_ends_a_stream_and_what_follows_is_never_read(attack: Attack) -> None:
    follower = request_text("BYE", branch="z9hG4bKsmuggled", to_tag="x")
    parser = StreamParser()
    found = list(parser.feed(attack.text + follower))
    if attack.name == "two lengths that agree":
        # Both readings frame alike; the message itself is refused, and the next one is what it says.
        assert [type(item).__name__ for item in found] == ["ParseError", "Request"]
        return
    assert len(found) == 1
    assert isinstance(found[0], ParseError)
    assert found[0].is_fatal
    assert list(parser.feed(follower)) == []


def test_a_body_never_becomes_a_message_of_its_own() -> None:
    hidden = request_text("BYE", branch="z9hG4bKhidden", to_tag="x")
    (whole,) = StreamParser().feed(request_text("MESSAGE", body=hidden))
    assert not isinstance(whole, ParseError)
    assert whole.body == hidden  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------------------ dialogs


@pytest.mark.parametrize("flow", [UDP, STRANGER], ids=["same source", "stranger"])
@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "MESSAGE"])
@pytest.mark.parametrize(
    ("from_tag", "to_tag"), [("guess", None), ("theirs", "guess"), ("guess", "guess"), ("", None)], ids=["from", "to", "both", "none"]
)
def test_a_call_id_is_no_key_to_a_dialog(method: str, flow: Flow, from_tag: str, to_tag: str | None) -> None:
    world = World()
    key, tag = accept(world)
    text = request_text(method, branch="z9hG4bKforged", cseq=9, from_tag=from_tag, to_tag=to_tag or tag)
    if not from_tag:
        text = text.replace(b";tag=\r\n", b"\r\n")
    effects = take(world, text, flow)
    assert responses(effects) == [481]  # type: ignore[arg-type]
    assert not events(effects, InDialogRequest)  # type: ignore[arg-type]
    assert not events(effects, DialogEnded)  # type: ignore[arg-type]
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.hop == UDP
    assert dialog.remote_cseq == 1


def test_swapped_tags_are_another_dialog() -> None:
    world = World()
    key, tag = accept(world)
    effects = world.receive(request_text("BYE", branch="z9hG4bKswap", cseq=9, from_tag=tag, to_tag="theirs"))
    assert responses(effects) == [481]
    assert world.ua.dialog(key) is not None


def test_our_tags_are_never_the_same_and_never_what_the_peer_asked_for() -> None:
    world = World()
    tags = set()
    for number in range(50):
        received = one(world.receive(request_text(call_id=f"c{number}", branch=f"z9hG4bK{number}")), RequestReceived)
        key = world.ua.respond(received.tx, 200, now=world.now)
        assert key is not None
        assert len(key.local_tag) >= 12
        tags.add(key.local_tag)
    assert len(tags) == 50


def test_a_forged_ack_does_not_confirm_our_2xx() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now)
    assert key is not None
    world.drain()
    for forged in (
        request_text("ACK", branch="z9hG4bKf1", to_tag="guess"),
        request_text("ACK", branch="z9hG4bKf2", to_tag=key.local_tag, cseq=2),
        request_text("ACK", branch="z9hG4bKf3", to_tag=key.local_tag, from_tag="guess"),
    ):
        assert world.receive(forged, STRANGER) == []
    assert [at for at, effect in world.run(1.0) if responses([effect]) == [200]] == [0.5]


@pytest.mark.parametrize("status", [200, 180, 486, 302, 407])
def test_a_response_is_matched_by_our_branch_and_nothing_else(status: int) -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    good = answer(request, status)
    branch = (request.via.branch or "").encode()
    for forged in (
        good.replace(branch, b"z9hG4bK" + b"0" * 15),
        good.replace(b";branch=" + branch, b""),
        good.replace(branch, branch.upper()),
        good.replace(b"CSeq: 1 INVITE", b"CSeq: 2 INVITE"),
        good.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
        good.replace(b"\r\nFrom:", b"\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKx\r\nFrom:"),
    ):
        assert forged != good
        assert world.receive(forged, STRANGER) == []


def test_route_sets_of_a_peer_never_name_where_we_send() -> None:
    """Record-Route and Contact are written into our requests as the RFC says, while they go where the dialog's flow is."""
    world = World()
    inside = "Record-Route: <sip:169.254.169.254:80;lr>, <sip:127.0.0.1:5432;lr>\r\n"
    received = one(world.receive(request_text(extra=inside, contact="<sip:x@127.0.0.1:6379>")), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    world.ua.reinvite(key, now=world.now, body=OFFER)
    world.ua.bye(key, now=world.now)
    world.drain()
    hops = {effect.hop for effect in world.all if isinstance(effect, Send)}
    assert hops == {UDP}


def test_a_route_set_that_we_are_asked_to_follow_never_leads_inside() -> None:
    world = World()
    _, request = call(world, follow_contact=True)
    for route in (
        "<sip:127.0.0.1:5432;lr>",
        "<sip:169.254.169.254;lr>",
        "<sip:[::ffff:127.0.0.1];lr>",
        "<sip:0.0.0.0;lr>",
        "<sip:224.0.0.1;lr>",
    ):
        world = World()
        _, request = call(world, follow_contact=True)
        accepted = one(world.receive(answer(request, 200, extra=f"Record-Route: {route}\r\n")), Accepted)
        world.ua.bye(accepted.dialog, now=world.now)
        world.drain()
        assert {getattr(effect.hop, "host", None) for effect in world.all if isinstance(effect, Send)} == {"192.0.2.99"}


# ------------------------------------------------------------------------------------------------------------- digests


def challenge(realm: str = "carrier.example") -> str:
    values = Challenger(b"k" * 32, realm, SeededRandom(7)).challenge(1000.0)
    return "".join(f"Proxy-Authenticate: {value}\r\nWWW-Authenticate: {value}\r\n" for value in values)


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO", "NOTIFY"])
def test_a_phone_that_challenges_us_with_the_trunks_realm_learns_nothing(method: str, status: int) -> None:
    """The digest leak: the phone puts us on hold, we send a request in its dialog, and it asks for the trunk's password."""
    world = World()
    call(world, credentials=CREDENTIALS)  # the trunk's credentials are in use on this engine, and its nonce is known
    _, first = call(world, credentials=CREDENTIALS)
    world.receive(answer(first, 407, extra=challenge()))
    key, _ = accept(world)
    if method == "BYE":
        world.ua.bye(key, now=world.now)
    elif method == "INVITE":
        world.ua.reinvite(key, now=world.now, body=OFFER)
    else:
        world.ua.request(key, method, now=world.now)
    (ours,) = requests(world.drain())
    assert not {"Authorization", "Proxy-Authorization"} & {name for name, _ in ours.headers}
    effects = world.receive(answer(ours, status, extra=challenge()))
    assert one(effects, Responded).status == status
    assert [message.method for message in requests(effects)] == (["ACK"] if method == "INVITE" else [])
    assert all("response=" not in str(line) for message in sent(effects) for line in message.headers)


def test_a_trunks_dialog_that_moved_to_another_address_carries_no_password_there() -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS, follow_contact=True)
    accepted = one(world.receive(answer(request, 200, contact="<sip:far@192.0.2.66:5070>")), Accepted)
    world.ua.bye(accepted.dialog, now=world.now)
    (bye,) = requests(world.drain())
    effects = world.receive(answer(bye, 407, extra=challenge()))
    assert one(effects, Responded).status == 407
    assert requests(effects) == []
