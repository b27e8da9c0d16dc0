"""Who is talked with now, said by a new From within the dialog (RFC 4916), in both roles."""

from dataclasses import replace

import pytest

from hushwire.sip.effects import Accepted, DialogKey, InDialogRequest, RequestReceived
from hushwire.sip.message import Request
from hushwire.sip.uri import parse_name_addr
from tests.sip.world import OFFER, World, answer, call, one, request_text, requests, sent

BEN = parse_name_addr('"Ben" <sip:102@acme.example>')
FOLLOWS = "Supported: from-change\r\n"


def called(world: World, extra: str) -> DialogKey:
    received = one(world.receive(request_text(body=OFFER, extra=extra)), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, body=OFFER)
    assert key is not None
    world.drain()
    world.receive(request_text("ACK", branch="z9hG4bKack", to_tag=key.local_tag))
    world.drain()
    return key


def calling(world: World, extra: str) -> DialogKey:
    _, request = call(world)
    return one(world.receive(answer(request, 200, extra=extra, body=OFFER)), Accepted).dialog


def reinvited(world: World, key: DialogKey) -> Request:
    world.ua.reinvite(key, now=world.now, body=OFFER, identity=BEN)
    (invite,) = requests(world.drain())
    return invite


@pytest.mark.parametrize("begin", [called, calling])
def test_a_peer_that_follows_it_is_told_by_the_from_of_this_and_all_later_requests(begin: object) -> None:
    world = World()
    key = begin(world, FOLLOWS)  # type: ignore[operator]
    invite = reinvited(world, key)
    assert invite.from_ == BEN.with_param("tag", key.local_tag)
    (ack,) = requests(world.receive(answer(invite, 200, body=OFFER)))
    assert (ack.method, ack.from_) == ("ACK", invite.from_)
    world.ua.bye(key, now=world.now)
    (bye,) = requests(world.drain())
    assert (bye.method, bye.from_) == ("BYE", invite.from_)


@pytest.mark.parametrize("begin", [called, calling])
def test_a_peer_that_does_not_say_that_it_follows_sees_the_from_that_it_knows(begin: object) -> None:
    world = World()
    key = begin(world, "Supported: timer\r\n")  # type: ignore[operator]
    before = world.ua.dialog(key)
    assert before is not None
    assert reinvited(world, key).from_ == before.local


def test_a_next_process_goes_on_with_the_new_name() -> None:
    before, after = World(), World(seed=9)
    key = calling(before, FOLLOWS)
    reinvited(before, key)
    dialog = before.ua.dialog(key)
    assert dialog is not None
    after.ua.adopt(dialog)
    after.ua.bye(key, now=after.now)
    (bye,) = requests(after.drain())
    assert bye.from_.uri == BEN.uri


def test_a_peers_new_name_is_the_to_of_our_requests_once_its_request_was_accepted() -> None:
    world = World()
    key = called(world, FOLLOWS)
    renamed = b"From: <sip:colleague@192.0.2.99>;tag=theirs"
    for number, status in enumerate((488, 200)):
        data = request_text(branch=f"z9hG4bKre{number}", cseq=2 + number, to_tag=key.local_tag, body=OFFER)
        asked = one(world.receive(data.replace(b"From: <sip:peer@192.0.2.99>;tag=theirs", renamed)), InDialogRequest)
        world.ua.respond(asked.tx, status, now=world.now, body=OFFER if status == 200 else b"")
        assert [message.status for message in sent(world.drain())] == [status]  # type: ignore[union-attr]
        dialog = world.ua.dialog(key)
        assert dialog is not None
        assert ("colleague" in str(dialog.remote)) is (status == 200)
    world.receive(request_text("ACK", branch="z9hG4bKack2", cseq=3, to_tag=key.local_tag))
    world.ua.bye(key, now=world.now)
    (bye,) = requests(world.drain())
    assert bye.to == replace(parse_name_addr("<sip:colleague@192.0.2.99>"), params=(("tag", "theirs"),))
