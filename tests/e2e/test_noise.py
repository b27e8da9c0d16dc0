"""Strangers' bytes: 10,000 random datagrams and torn streams at every open port, with calls going on all the while."""

import asyncio
import os
import random
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER
from hushwire.app.demo.stack import DOMAIN, descendants
from tests.deployments import FAR_NUMBER, Deployment
from tests.interop.hearing import hears, samples
from tests.interop.rawsip import RawSip, status

pytestmark = pytest.mark.asyncio(loop_scope="session")

DATAGRAMS = 10_000


def open_udp_ports(pids: list[int]) -> set[int]:
    """UDP ports that these processes hold, from the kernel's own tables."""
    if os.geteuid() != 0:
        pytest.skip("only root may look at the sockets of processes that can't be dumped")
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = str(link.readlink())
            except FileNotFoundError:
                continue
            if name.startswith("socket:["):
                inodes.add(name[8:-1])
    ports = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def noise(count: int, seed: int) -> list[bytes]:
    """Random bytes, and bytes that look a little like SIP, RTP, RTCP and STUN."""
    chance = random.Random(seed)
    starts = [
        b"", b"", b"\x80\x00", b"\x80\xc8", b"\x00\x01\x00\x00\x21\x12\xa4\x42", b"INVITE sip:x SIP/2.0\r\n", b"SIP/2.0 200 OK\r\nVia: ",
        b"REGISTER sip:", b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK", b"\r\n\r\n",
    ]  # fmt: skip
    return [chance.choice(starts) + chance.randbytes(chance.choice([0, 1, 12, 40, 172, 400, 1400])) for _ in range(count)]


async def test_ten_thousand_random_datagrams_at_each_open_port_change_nothing(deployment: Deployment) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        incoming = await carrier.expect("incoming")
        await anna.expect_state(call, "confirmed")
        pids = deployment.stack.children()
        ports = open_udp_ports([pids["gateway"], pids["hushwire-media"]])
        assert deployment.stack.sip("udp")[1] in ports
        assert len(ports) >= 5, "one SIP port and two pairs of media ports should be open"

        def pour(port: int) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for number, data in enumerate(noise(DATAGRAMS, port)):
                    sock.sendto(data, ("127.0.0.1", port))
                    if number % 200 == 0:
                        # The kernel drops what a full buffer can't take: the receiver is to see most of it.
                        sock.settimeout(0.002)
                        try:
                            sock.recv(65536)
                        except (TimeoutError, ConnectionError):
                            continue

        await asyncio.gather(*(asyncio.to_thread(pour, port) for port in sorted(ports)))
        async with await RawSip.open(deployment.stack.sip("udp")) as raw:
            assert status(await raw.ask(raw.request("OPTIONS", f"sip:{DOMAIN}", "sip:probe@127.0.0.1"), timeout_s=10)) == 200
        assert deployment.stack.children() == pids, "a process was started again"
        seen = await samples(anna, call), await samples(carrier, incoming["call"])
        await hears(anna, call, CARRIER, AGENT, since=seen[0])
        await hears(carrier, incoming["call"], AGENT, CARRIER, since=seen[1])
        await anna.hangup(call)
        await carrier.expect_state(incoming["call"], "disconnected")


async def test_streams_of_noise_and_half_a_message_leave_the_gateway_answering(deployment: Deployment) -> None:
    for transport in ("tcp", "tls"):
        host, port = deployment.stack.sip(transport)
        for data in noise(50, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(data)
            writer.close()
            del reader
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 70_000)
        answer = b""
        # Closed with bytes of ours unread, TCP says so by a reset.
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                answer = await reader.read(65536)
        assert b"200 OK" not in answer
        writer.close()
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        assert status(await raw.ask(raw.request("OPTIONS", f"sip:{DOMAIN}", "sip:probe@127.0.0.1"))) == 200
    assert {"gateway", "api", "worker", "hushwire-media"} <= set(descendants_by_name(deployment))


def descendants_by_name(deployment: Deployment) -> dict[str, int]:
    assert descendants(deployment.stack.process.pid)
    return deployment.stack.children()
