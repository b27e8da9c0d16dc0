"""Which addresses a peer may name, and where a dialog's requests go then."""

import pytest

from hushwire.sip.effects import RequestReceived
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.routing import may_name, numeric
from tests.sip.world import UDP, World, one, request_text


@pytest.mark.parametrize(
    ("peer", "host", "allowed"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("8.8.8.8", "127.0.0.1", False),
        ("8.8.8.8", "[::1]", False),
        ("8.8.8.8", "[::ffff:127.0.0.1]", False),
        ("8.8.8.8", "169.254.169.254", False),
        ("8.8.8.8", "10.0.0.1", False),
        ("8.8.8.8", "0.0.0.0", False),
        ("8.8.8.8", "224.0.0.1", False),
        ("8.8.8.8", "localhost", False),
        ("8.8.8.8", "0x7f.1", False),
        ("127.0.0.1", "127.0.0.2", True),
        ("127.0.0.1", "10.0.0.1", True),
        ("10.0.0.5", "192.168.1.1", True),
        ("10.0.0.5", "127.0.0.1", False),
        ("10.0.0.5", "8.8.8.8", True),
        ("169.254.1.1", "169.254.1.2", True),
    ],
)
def test_inside_addresses_are_believed_only_from_inside(peer: str, host: str, allowed: bool) -> None:
    assert may_name(peer, host) is allowed


def test_only_figures_are_numeric() -> None:
    assert str(numeric("[2001:db8::1]")) == "2001:db8::1"
    assert str(numeric("::ffff:192.0.2.1")) == "192.0.2.1"
    assert numeric("2130706433") is None
    assert numeric("127.1") is None


def dialog_hop(contact: str, extra: str = "", *, follow: bool = True) -> object:
    world = World()
    received = one(world.receive(request_text(contact=contact, extra=extra)), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now, follow_contact=follow)
    assert key is not None
    dialog = world.ua.dialog(key)
    assert dialog is not None
    return dialog.hop


def test_a_callees_dialog_follows_contact_or_record_route_only_where_asked() -> None:
    assert dialog_hop("<sip:x@192.0.2.50:5090>", follow=False) == UDP
    assert dialog_hop("<sip:x@192.0.2.50:5090>") == Target(Transport.UDP, "192.0.2.50", 5090)
    assert dialog_hop("<sip:x@192.0.2.50>", "Record-Route: <sip:192.0.2.60;lr>\r\n") == Target(Transport.UDP, "192.0.2.60", 5060)
    assert dialog_hop("<sip:x@192.0.2.50;transport=tcp>") == UDP
    assert dialog_hop("<sip:x@127.0.0.1>") == UDP
    assert dialog_hop("<sip:x@a-name.example>") == UDP


def test_a_phone_that_moved_is_reached_where_its_last_request_came_from() -> None:
    world = World()
    received = one(world.receive(request_text()), RequestReceived)
    key = world.ua.respond(received.tx, 200, now=world.now)
    assert key is not None
    world.receive(request_text("ACK", branch="z9hG4bKa", to_tag=key.local_tag))
    moved = Flow(Transport.UDP, 1, UDP.local, Address("192.0.2.99", 40404))
    world.receive(request_text("INFO", branch="z9hG4bKi", cseq=2, to_tag=key.local_tag), moved)
    dialog = world.ua.dialog(key)
    assert dialog is not None
    assert dialog.hop == moved
