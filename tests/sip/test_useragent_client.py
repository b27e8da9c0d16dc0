"""The client half of the user agent, in virtual time."""

from hushwire.sip.digest import Challenger, Credentials, Outcome, ha1, parse_authorization
from hushwire.sip.effects import Accepted, Cause, InDialogRequest, Progress, Rejected, Responded, Send
from hushwire.sip.flow import Target, Transport
from tests.sip.test_useragent_server import accept
from tests.sip.world import (
    ANNA,
    BOB,
    OFFER,
    TCP,
    TRUNK,
    SeededRandom,
    World,
    answer,
    call,
    events,
    one,
    request_text,
    requests,
    responses,
)

CREDENTIALS = Credentials("trunk", "secret", "carrier.example")


def test_invite_retransmits_at_doubling_intervals_then_gives_up_after_32_s() -> None:
    world = World()
    invite, _ = call(world)
    found = world.run(40.0)
    assert [at for at, effect in found if isinstance(effect, Send)] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    ((at, rejected),) = [(at, effect) for at, effect in found if isinstance(effect, Rejected)]
    assert at == 32.0
    assert (rejected.invite, rejected.status, rejected.cause) == (invite, 408, Cause.TIMEOUT)


def test_a_silent_trunk_is_given_up_as_early_as_asked() -> None:
    world = World()
    call(world, silence_s=4.0)
    ((at, _),) = [(at, effect) for at, effect in world.run(40.0) if isinstance(effect, Rejected)]
    assert at == 4.0


def test_other_requests_retransmit_up_to_every_4_s_and_give_up_after_32_s() -> None:
    world = World()
    request = world.ua.send("OPTIONS", hop=TRUNK, uri="sip:carrier.example", from_=ANNA, to=BOB, now=world.now)
    world.drain()
    found = world.run(40.0)
    assert [at for at, effect in found if isinstance(effect, Send)] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    ((at, responded),) = [(at, effect) for at, effect in found if isinstance(effect, Responded)]
    assert at == 32.0
    assert (responded.request, responded.status, responded.cause) == (request, 408, Cause.TIMEOUT)


def test_over_tcp_nothing_is_retransmitted() -> None:
    world = World()
    call(world, hop=TCP)
    assert [effect for _, effect in world.run(31.0)] == []


def test_ringing_then_answer_then_bye() -> None:
    world = World()
    invite, request = call(world)
    assert world.receive(answer(request, 100, tag=None)) == []
    ringing = one(world.receive(answer(request, 180)), Progress)
    assert ringing.invite == invite
    effects = world.receive(answer(request, 200, body=OFFER))
    accepted = one(effects, Accepted)
    assert accepted.dialog == ringing.dialog
    (ack,) = requests(effects)
    assert (ack.method, ack.uri, ack.cseq.number) == ("ACK", "sip:far@192.0.2.99:5070", 1)
    bye = world.ua.bye(accepted.dialog, now=world.now)
    (request,) = requests(world.drain())
    assert (request.method, request.cseq.number) == ("BYE", 2)
    assert one(world.receive(answer(request, 200)), Responded).request == bye
    world.run(100.0)
    assert world.ua.deadline() is None


def test_the_ack_is_sent_again_for_each_repeated_2xx() -> None:
    world = World()
    _, request = call(world)
    (first,) = requests(world.receive(answer(request, 200)))
    effects = world.receive(answer(request, 200))
    assert events(effects, Accepted) == []
    (again,) = requests(effects)
    assert again.to_bytes() == first.to_bytes()


def test_a_refusal_is_acknowledged_again_and_again_but_told_once() -> None:
    world = World()
    _, request = call(world)
    effects = world.receive(answer(request, 486))
    assert one(effects, Rejected).status == 486
    assert [item.method for item in requests(effects)] == ["ACK"]
    effects = world.receive(answer(request, 486))
    assert [item.method for item in requests(effects)] == ["ACK"]
    assert events(effects, Rejected) == []


def test_an_invite_without_offer_waits_for_the_answer_to_acknowledge() -> None:
    world = World()
    _, request = call(world, body=b"")
    effects = world.receive(answer(request, 200, body=OFFER))
    accepted = one(effects, Accepted)
    assert requests(effects) == []
    assert world.receive(answer(request, 200, body=OFFER)) == []
    world.ua.ack(accepted.dialog, now=world.now, body=OFFER)
    (ack,) = requests(world.drain())
    assert ack.body == OFFER
    assert [item.method for item in requests(world.receive(answer(request, 200, body=OFFER)))] == ["ACK"]


def test_cancel_waits_for_a_provisional_response() -> None:
    world = World()
    invite, request = call(world)
    world.ua.cancel(invite, now=world.now)
    assert world.drain() == []
    (cancel,) = requests(world.receive(answer(request, 100, tag=None)))
    assert cancel.method == "CANCEL"
    assert cancel.via == request.via
    assert world.receive(answer(cancel, 200)) == []
    rejected = one(world.receive(answer(request, 487)), Rejected)
    assert (rejected.status, rejected.cause) == (487, Cause.CANCELLED)


def test_a_2xx_that_crosses_our_cancel_is_acknowledged_and_ended() -> None:
    world = World()
    invite, request = call(world)
    world.receive(answer(request, 180))
    world.ua.cancel(invite, now=world.now)
    assert [item.method for item in requests(world.drain())] == ["CANCEL"]
    effects = world.receive(answer(request, 200))
    assert [item.method for item in requests(effects)] == ["ACK", "BYE"]
    assert events(effects, Accepted) == []
    assert one(effects, Rejected).cause is Cause.CANCELLED
    assert world.ua._core.sessions == {}


def test_a_peer_that_ignores_cancel_is_forgotten_after_32_s() -> None:
    world = World()
    invite, request = call(world)
    world.receive(answer(request, 180))
    world.ua.cancel(invite, now=world.now)
    world.drain()
    ((at, rejected),) = [(at, effect) for at, effect in world.run(60.0) if isinstance(effect, Rejected)]
    assert at == 32.0
    assert rejected.cause is Cause.CANCELLED
    world.run(60.0)
    assert world.ua._client.transactions == {}


def test_forks_ring_in_dialogs_of_their_own_and_the_first_2xx_wins() -> None:
    world = World()
    _, request = call(world)
    first = one(world.receive(answer(request, 180, tag="one")), Progress)
    second = one(world.receive(answer(request, 183, tag="two")), Progress)
    assert first.dialog != second.dialog
    won = world.receive(answer(request, 200, tag="two"))
    assert one(won, Accepted).dialog == second.dialog
    lost = world.receive(answer(request, 200, tag="one"))
    assert [item.method for item in requests(lost)] == ["ACK", "BYE"]
    assert {item.to_tag for item in requests(lost)} == {"one"}
    assert events(lost, Accepted) == []
    assert list(world.ua._core.sessions) == [second.dialog]


def test_the_peer_may_ask_within_an_early_dialog() -> None:
    world = World()
    _, request = call(world)
    early = one(world.receive(answer(request, 183, tag="early")), Progress)
    assert early.dialog is not None
    text = request_text("INFO", branch="z9hG4bKi", call_id=request.call_id, from_tag="early", to_tag=request.from_tag)
    assert one(world.receive(text), InDialogRequest).dialog == early.dialog


def test_a_connection_that_fails_is_told_as_503() -> None:
    world = World()
    target = Target(Transport.TCP, "192.0.2.99", 5060)
    invite = world.ua.invite(hop=target, uri="sip:a@b.example", from_=ANNA, to=BOB, now=world.now, body=OFFER)
    (send,) = [effect for effect in world.drain() if isinstance(effect, Send)]
    assert send.transaction is not None
    world.ua.send_failed(send.transaction, world.now)
    rejected = one(world.drain(), Rejected)
    assert (rejected.invite, rejected.status, rejected.cause) == (invite, 503, Cause.TRANSPORT)


def test_a_closed_flow_fails_what_waits_on_it() -> None:
    world = World()
    call(world, hop=TCP)
    world.ua.flow_closed(TCP, world.now)
    assert one(world.drain(), Rejected).cause is Cause.TRANSPORT


def challenge(realm: str = "carrier.example", now: float = 1000.0, **options: bool) -> str:
    challenger = Challenger(b"k" * 32, realm, SeededRandom(7))
    return "".join(f"Proxy-Authenticate: {value}\r\n" for value in challenger.challenge(now, **options))


def test_a_trunks_challenge_is_answered_once_with_the_next_cseq() -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    effects = world.receive(answer(request, 407, extra=challenge()))
    ack, retry = requests(effects)
    assert ack.method == "ACK"
    assert (retry.method, retry.cseq.number, retry.call_id, retry.from_tag) == ("INVITE", 2, request.call_id, request.from_tag)
    assert retry.via.branch != request.via.branch
    given = parse_authorization(retry.headers.get("Proxy-Authorization") or "")
    challenger = Challenger(b"k" * 32, "carrier.example", SeededRandom(7))
    kept = ha1(given.algorithm, "trunk", "carrier.example", "secret")
    assert given.algorithm == "SHA-256"
    assert challenger.check(given, kept, method="INVITE", uri=retry.uri, now=1001.0) is Outcome.OK
    refused = world.receive(answer(retry, 407, extra=challenge(now=1001.0)))
    assert one(refused, Rejected).status == 407


def test_a_stale_nonce_gets_one_more_try() -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    _, retry = requests(world.receive(answer(request, 407, extra=challenge())))
    _, again = requests(world.receive(answer(retry, 407, extra=challenge(now=1001.0, stale=True))))
    assert again.cseq.number == 3
    assert one(world.receive(answer(again, 407, extra=challenge(now=1002.0, stale=True))), Rejected).status == 407


def test_a_challenge_of_another_realm_is_never_answered() -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    effects = world.receive(answer(request, 407, extra=challenge("elsewhere.example")))
    assert one(effects, Rejected).status == 407
    assert [item.method for item in requests(effects)] == ["ACK"]


def test_without_credentials_no_challenge_is_answered() -> None:
    world = World()
    _, request = call(world)
    effects = world.receive(answer(request, 407, extra=challenge()))
    assert one(effects, Rejected).status == 407


def test_our_bye_in_a_dialog_that_the_peer_opened_never_answers_a_challenge() -> None:
    world = World()
    key, _ = accept(world)
    world.ua.bye(key, now=world.now)
    (bye,) = requests(world.drain())
    assert "Authorization" not in bye.headers
    effects = world.receive(answer(bye, 407, extra=challenge()))
    assert one(effects, Responded).status == 407
    assert requests(effects) == []


def test_a_bye_to_the_trunk_answers_its_challenge() -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    accepted = one(world.receive(answer(request, 200)), Accepted)
    world.ua.bye(accepted.dialog, now=world.now)
    (bye,) = requests(world.drain())
    (retry,) = requests(world.receive(answer(bye, 407, extra=challenge())))
    assert (retry.method, retry.cseq.number) == ("BYE", 3)
    assert "Proxy-Authorization" in retry.headers


def test_the_next_call_uses_the_nonce_again_with_a_higher_count() -> None:
    world = World()
    _, request = call(world, credentials=CREDENTIALS)
    _, retry = requests(world.receive(answer(request, 407, extra=challenge())))
    world.receive(answer(retry, 200))
    _, second = call(world, credentials=CREDENTIALS)
    given = parse_authorization(second.headers.get("Proxy-Authorization") or "")
    assert given.nc == 2
    _, elsewhere = call(world, hop=Target(Transport.UDP, "198.51.100.1", 5060), credentials=CREDENTIALS)
    assert "Proxy-Authorization" not in elsewhere.headers


def test_a_reinvite_is_acknowledged_and_told() -> None:
    world = World()
    _, request = call(world)
    accepted = one(world.receive(answer(request, 200)), Accepted)
    reinvite = world.ua.reinvite(accepted.dialog, now=world.now, body=OFFER)
    (request,) = requests(world.drain())
    assert world.ua.reinvite(accepted.dialog, now=world.now, body=OFFER) is None
    effects = world.receive(answer(request, 200, contact="<sip:new@192.0.2.99:5071>"))
    assert one(effects, Responded).request == reinvite
    (ack,) = requests(effects)
    assert (ack.method, ack.uri, ack.cseq.number) == ("ACK", "sip:new@192.0.2.99:5071", 2)
    (again,) = requests(world.receive(answer(request, 200, contact="<sip:new@192.0.2.99:5071>")))
    assert again.to_bytes() == ack.to_bytes()


def test_an_unreadable_contact_in_a_2xx_ends_the_call_cleanly() -> None:
    world = World()
    _, request = call(world)
    effects = world.receive(answer(request, 200, contact="<sip:bro ken>"))
    assert [item.method for item in requests(effects)] == ["ACK", "BYE"]
    assert one(effects, Rejected).status == 502


def test_a_strict_router_gets_its_uri_on_top_and_the_target_last() -> None:
    world = World()
    _, request = call(world)
    route = "Record-Route: <sip:p1.example;lr>, <sip:strict.example>\r\n"
    (ack,) = requests(world.receive(answer(request, 200, extra=route)))
    assert ack.uri == "sip:strict.example"
    assert ack.headers.all("Route") == ["<sip:p1.example;lr>", "<sip:far@192.0.2.99:5070>"]


def test_following_a_contact_never_leads_inside() -> None:
    for contact, port in (("<sip:far@192.0.2.98:5070>", 5070), ("<sip:far@127.0.0.1:22>", 5060), ("<sip:far@169.254.169.254>", 5060)):
        world = World()
        _, request = call(world, follow_contact=True)
        effects = world.receive(answer(request, 200, contact=contact))
        accepted = one(effects, Accepted)
        dialog = world.ua.dialog(accepted.dialog)
        assert dialog is not None
        assert isinstance(dialog.hop, Target)
        assert dialog.hop.port == port


def test_responses_for_other_branches_are_dropped() -> None:
    world = World()
    _, request = call(world)
    forged = answer(request, 200).replace((request.via.branch or "").encode(), b"z9hG4bKguess")
    assert world.receive(forged) == []
    two_vias = answer(request, 200).replace(b"From:", b"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKx\r\nFrom:")
    assert world.receive(two_vias) == []
    assert responses(world.all) == []


def test_nothing_is_left_when_all_is_over() -> None:
    world = World()
    for number in range(12):
        invite, request = call(world)
        if number % 3 == 0:
            world.receive(answer(request, 486))
        elif number % 3 == 1:
            world.receive(answer(request, 180))
            world.ua.cancel(invite, now=world.now)
            world.receive(answer(request, 487))
        else:
            accepted = one(world.receive(answer(request, 200)), Accepted)
            world.ua.bye(accepted.dialog, now=world.now)
            world.drain()
    world.run(200.0)
    assert world.ua.deadline() is None
    assert world.ua._client.transactions == {}
    assert world.ua._client.invites == {}
    assert world.ua._core.sessions == {}


def test_an_invite_to_a_sips_uri_names_a_sips_contact() -> None:
    hop = Target(Transport.TLS, "192.0.2.99", 5061)
    for uri, contact in (
        ("sips:+4930123@192.0.2.99", "<sips:192.0.2.1:5061>"),
        ("sip:+4930123@192.0.2.99;transport=tls", "<sip:192.0.2.1:5061;transport=tls>"),
    ):
        world = World()
        world.ua.invite(hop=hop, uri=uri, from_=ANNA, to=BOB, now=world.now, body=OFFER)
        (request,) = requests(world.drain())
        assert request.headers.get("Contact") == contact
