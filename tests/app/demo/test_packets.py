import socket
import struct

import numpy as np
import pytest

from hushwire.app.demo.packets import SAMPLES, Sniffer, look, mulaw_to_linear
from hushwire.app.demo.sockettap import SocketTap, udp_payload
from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from tests.polling import until


def mulaw(samples: np.ndarray) -> bytes:
    """The nearest code of each sample, by looking it up."""
    table = mulaw_to_linear(bytes(range(256))).astype(np.int32)
    order = np.argsort(table)
    places = np.searchsorted(table[order], samples).clip(0, 255)
    return order[places].astype(np.uint8).tobytes()


def rtp(payload: bytes, first_sequence: int, size: int = SAMPLES, tag: bytes = b"") -> list[bytes]:
    return [
        struct.pack("!BBHII", 0x80, 0, (first_sequence + n) & 0xFFFF, n * SAMPLES, 7) + payload[n * size : (n + 1) * size] + tag
        for n in range(len(payload) // size)
    ]


def test_mulaw_decodes_the_corner_values_of_g711() -> None:
    assert mulaw_to_linear(bytes([0x00, 0x80, 0x7F, 0xFF, 0x8F])).tolist() == [-32124, 32124, 0, 0, 16764]


def test_plain_rtp_is_recognised_by_its_size_and_by_the_speech_in_it() -> None:
    speech = bundled(AGENT)
    seen = look(rtp(mulaw(speech), 65_500), speech)
    assert seen.is_plain
    assert not seen.is_protected
    assert not look(rtp(mulaw(speech), 0), bundled(CARRIER)).is_plain


def test_protected_rtp_is_recognised_by_its_tag_and_by_the_absence_of_speech() -> None:
    speech = bundled(AGENT)
    noise = np.random.default_rng(3).integers(0, 256, 500 * SAMPLES, dtype=np.uint8).tobytes()
    seen = look(rtp(noise, 1, tag=bytes(10)), speech)
    assert seen.is_protected
    assert not seen.is_plain


def test_speech_with_a_tag_pinned_on_is_not_taken_for_protected() -> None:
    speech = bundled(AGENT)
    seen = look(rtp(mulaw(speech), 1, tag=bytes(10)), speech)
    assert not seen.is_protected
    assert not seen.is_plain


def test_nothing_seen_proves_nothing() -> None:
    seen = look([], bundled(AGENT))
    assert not seen.is_plain
    assert not seen.is_protected


@pytest.mark.parametrize("packet", [b"", bytes(28), b"\x45" + bytes(30), b"\x4f" + bytes(8) + b"\x11" + bytes(20)])
def test_a_packet_that_is_not_udp_over_ipv4_has_no_payload(packet: bytes) -> None:
    assert udp_payload(packet) is None


async def test_a_socket_tap_gets_what_its_socket_sent_from_the_kernel() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        sender.bind(("127.0.0.1", 0))
        tap = SocketTap.on_local_port(sender.getsockname()[1])
        try:
            sent = [bytes([n]) * 172 for n in range(20)]
            for packet in sent:
                sender.sendto(packet, receiver.getsockname())
            await until(lambda: len(tap.packets()) >= len(sent))
            assert tap.packets() == sent
        finally:
            tap.close()


def test_a_tap_on_a_port_of_nobody_is_an_error() -> None:
    with pytest.raises(LookupError):
        SocketTap.on_local_port(1)


async def test_the_sniffer_sees_each_packet_of_its_ports_once_and_no_others() -> None:
    if not Sniffer.is_possible():
        pytest.skip("looking at packets on an interface needs CAP_NET_RAW")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        for sock in (receiver, sender, stranger):
            sock.bind(("127.0.0.1", 0))
        watched, other, outside = (sock.getsockname()[1] for sock in (receiver, sender, stranger))
        sniffer = Sniffer.open([1, watched, 2])
        try:
            sender.sendto(b"unseen", ("127.0.0.1", outside))
            sender.sendto(b"one", ("127.0.0.1", watched))
            receiver.sendto(b"two", ("127.0.0.1", other))
            await until(lambda: sniffer.sent_from(watched))
        finally:
            sniffer.close()
        assert sniffer.sent_to(watched) == [b"one"]
        assert sniffer.sent_from(watched) == [b"two"]
        assert sniffer.sent_to(outside) == []
