"""STUN on the SIP port: the answer's bytes, and that a real client understands them."""

import struct

import pytest
from aioice import stun as aioice_stun

from hushwire.sip.flow import Address, Transport
from hushwire.transport.stun import answer
from tests.transport.stage import stage, udp_peer

HERE = Address("192.0.2.1", 32853)


def request(*, attributes: bytes = b"", kind: int = 1, cookie: int = 0x2112A442) -> bytes:
    return struct.pack("!HHI", kind, len(attributes), cookie) + bytes(range(12)) + attributes


@pytest.mark.parametrize("source", [HERE, Address("2001:db8:1234:5678:11:2233:4455:6677", 32853)])
def test_another_implementation_reads_where_it_was_seen_from(source: Address) -> None:
    made = answer(request(), source)
    assert made is not None
    read = aioice_stun.parse_message(made)
    assert (read.message_class, read.message_method) == (aioice_stun.Class.RESPONSE, aioice_stun.Method.BINDING)
    assert read.attributes["XOR-MAPPED-ADDRESS"] == tuple(source)
    assert read.transaction_id == bytes(range(12))


def test_optional_attributes_are_passed_over_and_required_ones_that_are_unknown_are_named() -> None:
    software = struct.pack("!HH", 0x8022, 5) + b"phone\0\0\0"
    assert answer(request(attributes=software), HERE) == answer(request(), HERE)
    refused = answer(request(attributes=software + struct.pack("!HHI", 0x0003, 4, 6)), HERE)
    assert refused is not None
    read = aioice_stun.parse_message(refused)
    assert read.message_class is aioice_stun.Class.ERROR
    assert read.attributes["ERROR-CODE"][0] == 420
    assert refused.endswith(struct.pack("!HHHH", 0x000A, 2, 0x0003, 0))


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        request()[:19],
        request(kind=0x0101),
        request(kind=0x0111),
        request(cookie=0),
        request() + b"\0\0\0\0",
        request(attributes=struct.pack("!HH", 0x8022, 400)),
        request(attributes=b"\x80\x22\0"),
        request(attributes=bytes(600)),
    ],
)
def test_what_is_no_request_or_does_not_add_up_gets_no_answer(datagram: bytes) -> None:
    assert answer(datagram, HERE) is None


async def test_a_phone_that_asks_the_sip_port_learns_its_address_and_a_flood_is_not_answered() -> None:
    async with stage(Transport.UDP, rate_per_s=1.0, burst=5.0) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        wire.sendto(request())
        read = aioice_stun.parse_message(await peer.received.get())
        assert read.attributes["XOR-MAPPED-ADDRESS"] == wire.get_extra_info("sockname")
        for _ in range(50):
            wire.sendto(request())
        for _ in range(4):
            await peer.received.get()
        assert peer.received.qsize() <= 2
