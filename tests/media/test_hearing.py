"""Whom legs hear, whose speech is recorded, and legs that move, through the client against the real hushwire-media."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hushwire.core.personal import Personal
from hushwire.media.client import MediaClient
from hushwire.media.model import LegSettings, MediaRefused, Mode, RecordingOrder
from hushwire.media.wire import Status
from hushwire.recording.entries import EntryKind
from hushwire.recording.hwr import Closed, Identity, read
from tests.polling import until
from tests.services.running import MediaProgram, need_program

pytestmark = need_program
KEY = bytes(range(32))


class Party:
    """A plain RTP endpoint."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.to = 0
        self._count = 0

    async def join(self, client: MediaClient, bridge: UUID, leg: int) -> None:
        self.to = (await client.open_leg(bridge, leg)).rtp_port
        port = self.socket.getsockname()[1]
        await client.set_leg(bridge, leg, LegSettings(Personal(ip_address("127.0.0.1")), port))

    def say(self, words: bytes) -> None:
        self._count += 1
        packet = struct.pack(">BBHII", 0x80, 0, self._count, 160 * self._count, id(self) & 0xFFFFFFFF) + words
        self.socket.sendto(packet, ("127.0.0.1", self.to))

    async def hear(self) -> bytes:
        async with asyncio.timeout(10):
            return (await asyncio.get_running_loop().sock_recv(self.socket, 2048))[12:]


@pytest.fixture
def parties() -> Iterator[list[Party]]:
    made = [Party() for _ in range(4)]
    yield made
    for party in made:
        party.socket.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[MediaClient]:
    program = MediaProgram(tmp_path, ())
    await program.start()
    made = MediaClient(lambda _event: None)
    await made.connect(program.socket, 1)
    try:
        yield made
    finally:
        await made.close()
        await program.stop()


async def test_the_speech_of_who_barges_in_is_recorded_and_that_of_who_whispers_is_not(
    client: MediaClient, tmp_path: Path, parties: list[Party]
) -> None:
    bridge, who = uuid4(), Identity(uuid4(), uuid4())
    await client.open_bridge(bridge)
    for leg, party in enumerate(parties[:3]):
        await party.join(client, bridge, leg)
    agent, customer, supervisor, _ = parties
    order = RecordingOrder(who.org_id, who.recording_id, 0, KEY, "one.hwr", b'{"legs":[{},{},{}]}', 1)
    await client.start_recording(bridge, order)

    said: list[bytes] = []

    async def spoken(words: bytes) -> None:
        """All three say it, and it is taken in."""
        for party in (supervisor, agent, customer):
            party.say(words)
        said.append(words)

        async def taken() -> bool:
            return all(leg.packets_received == len(said) for leg in (await client.bridge(bridge)).legs)

        await until(taken, what="what was said was taken in")

    await client.set_hears(bridge, 2, [0, 1])
    await spoken(b"whispered")
    await client.set_recorded(bridge, [0, 1, 2])
    await spoken(b"barged in")
    await client.set_recorded(bridge, [0, 1])
    await spoken(b"and left")
    assert (await client.close_leg(bridge, 2)).legs[0].packets_received == 3
    report = await client.close_bridge(bridge)
    assert report.recording is not None
    blob = next(tmp_path.rglob("one.hwr")).read_bytes()
    assert hashlib.sha256(blob).digest() == report.recording.digest
    closed = Closed(report.recording.frames, report.recording.digest)
    found = [(entry.leg, entry.data[12:]) for entry in read([blob], KEY, who, closed=closed) if entry.kind is EntryKind.RTP]
    assert [words for leg, words in found if leg == 2] == [b"barged in"]
    for party in (0, 1):
        assert [words for leg, words in found if leg == party] == [b"whispered", b"barged in", b"and left"]


async def test_after_a_transfer_the_next_segment_holds_the_party_who_came_and_no_packet_is_in_two(
    client: MediaClient, tmp_path: Path, parties: list[Party]
) -> None:
    first, second, org, one, two = (uuid4() for _ in range(5))
    agent, customer, again, colleague = parties
    await client.open_bridge(first)
    await client.open_bridge(second, Mode.RELAY, beside=first)
    for bridge, pair in ((first, (agent, customer)), (second, (again, colleague))):
        for leg, party in enumerate(pair):
            await party.join(client, bridge, leg)
    await client.start_recording(first, RecordingOrder(org, one, 0, KEY, "one.hwr", b'{"legs":[{},{}]}', 1))
    customer.say(b"to the agent")
    assert await agent.hear() == b"to the agent"
    await client.close_leg(first, 0)
    await client.move_leg(second, 1, first, 0)
    await client.close_bridge(second)
    await client.switch_recording(first, RecordingOrder(org, two, 1, KEY, "two.hwr", b'{"legs":[{},{}]}', 1))
    customer.say(b"to the colleague")
    assert await colleague.hear() == b"to the colleague"
    colleague.say(b"from the colleague")
    assert await customer.hear() == b"from the colleague"
    await client.close_bridge(first)
    spoken = []
    for name, who in (("one.hwr", Identity(org, one, 0)), ("two.hwr", Identity(org, two, 1))):
        entries = read([next(tmp_path.rglob(name)).read_bytes()], KEY, who)
        spoken.append([(entry.leg, entry.data[12:]) for entry in entries if entry.kind is EntryKind.RTP])
    assert spoken == [[(1, b"to the agent")], [(1, b"to the colleague"), (0, b"from the colleague")]]


async def test_what_the_media_process_refuses_is_told_with_its_status(client: MediaClient) -> None:
    one, two = uuid4(), uuid4()
    await client.open_bridge(one)
    await client.open_bridge(two, beside=one)
    await client.open_leg(one, 0)
    await client.open_leg(two, 3)
    for asked, status in (
        (client.set_hears(one, 5, [0]), Status.NOT_FOUND),
        (client.set_hears(one, 0, [0]), Status.INVALID),
        (client.close_leg(one, 5), Status.NOT_FOUND),
        (client.move_leg(one, 0, two, 3), Status.EXISTS),
        (client.move_leg(one, 0, uuid4(), 3), Status.NOT_FOUND),
        (client.set_recorded(uuid4(), [0]), Status.NOT_FOUND),
    ):
        with pytest.raises(MediaRefused) as caught:
            await asked
        assert caught.value.status is status
