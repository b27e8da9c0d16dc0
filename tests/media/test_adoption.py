"""A controller dies in the middle of a recorded call; the next one finds the bridge, goes on with it, and ends it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import pytest

from hushwire.core.errors import Unavailable
from hushwire.core.personal import Personal
from hushwire.media.model import LegSettings, MediaRefused, Mode, Protection, RecordingOrder, RecordingState, Suite
from hushwire.media.statement import settings_digest
from hushwire.media.wire import EventType, Frame, FrameReader, Status
from tests.media.test_link import Rig, started
from tests.native.call import Party, parse, rtp
from tests.native.hwr_reader import read
from tests.native.srtp_oracle import oracle
from tests.polling import until
from tests.services.running import need_program

pytestmark = need_program
SUITE = "AES_CM_128_HMAC_SHA1_80"
LOOPBACK = IPv4Address("127.0.0.1")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with started(tmp_path) as made:
        yield made


@pytest.fixture
def parties() -> Iterator[tuple[Party, Party]]:
    agent, far = Party(), Party()
    yield agent, far
    agent.close()
    far.close()


def stated(party: Party, *, keys: tuple[bytes, bytes] | None = None) -> LegSettings:
    plain = LegSettings(Personal(LOOPBACK), party.port, signalling_ip=Personal(LOOPBACK), payload_types=((96, 101),))
    if keys is None:
        return plain
    suite = Suite.AES_CM_128_HMAC_SHA1_80
    return replace(plain, sending=Protection(suite, keys[0]), receiving=Protection(suite, keys[1]))


async def test_legs_are_stated_before_anybody_waits_for_it(rig: Rig, parties: tuple[Party, Party]) -> None:
    """Their parties may send as soon as an answer leaves, which is before the loop comes to what waits."""
    observer, _ = await rig.link()
    bridge = uuid4()
    await observer.client.open_call(bridge, Mode.RELAY, (0, 1))
    legs = [stated(party) for party in parties]
    stating = observer.client.set_legs(bridge, list(enumerate(legs)))
    found = await observer.client.state(bridge)
    assert [found.legs[number].digest for number in (0, 1)] == [settings_digest(leg) for leg in legs]
    await stating
    await observer.close()


async def test_a_new_controller_goes_on_with_a_call_that_it_did_not_open(rig: Rig, parties: tuple[Party, Party]) -> None:
    agent, far = parties
    keys = os.urandom(30), os.urandom(30)
    bridge, order = uuid4(), RecordingOrder(uuid4(), uuid4(), 3, os.urandom(32), "call.hwr", b'{"legs":[{},{}]}', 1_700_000_000_000_000)
    first, _ = await rig.link()
    ports = await first.client.open_call(bridge, Mode.RELAY, (0, 1))
    legs = [stated(agent, keys=keys), stated(far)]
    await first.client.set_legs(bridge, list(enumerate(legs)))
    await first.client.start_recording(bridge, order)
    agent.to, far.to = ("127.0.0.1", ports[0].rtp_port), ("127.0.0.1", ports[1].rtp_port)
    tx = oracle(SUITE, keys[1], is_sender=True)

    def said(sender: object, n: int) -> None:
        agent.send(sender.protect(rtp(n, 160 * n, 1, b"%04d" % n)))  # type: ignore[attr-defined]
        assert parse(far.receive()).payload == b"%04d" % n

    said(tx, 1)
    await first.close()  # and nothing is said of it: as after kill -9
    said(tx, 2)  # nobody controls: the call goes on

    second, observer = await rig.link()
    assert [(entry.bridge_id, entry.recording_id) async for entry in second.client.bridges()] == [(bridge, order.recording_id)]
    found = await second.client.state(bridge)
    assert (found.mode, found.is_sensitive) == (Mode.RELAY, False)
    assert found.recording is not None
    assert (found.recording.recording_id, found.recording.segment, found.recording.file) == (order.recording_id, 3, "call.hwr")
    assert not found.recording.is_paused
    for number, leg in found.legs.items():
        assert (leg.rtp_port, leg.rtcp_port, leg.ssrc) == (ports[number].rtp_port, ports[number].rtcp_port, leg.ssrc)
        assert leg.digest == settings_digest(legs[number])
        assert leg.remote is not None
        assert leg.remote.reveal() == (LOOPBACK, (agent, far)[number].port)
        assert leg.payload_types == ((96, 101),)
        assert (leg.sends, leg.receives, leg.learns, leg.media_timeout_ms) == (True, True, True, 30_000)
    assert found.legs[0].send_suite is found.legs[0].receive_suite is Suite.AES_CM_128_HMAC_SHA1_80
    assert found.legs[1].send_suite is found.legs[1].receive_suite is None
    assert found.legs[0].source is not None
    assert found.legs[0].source.reveal() == (LOOPBACK, agent.port)
    assert [leg.packets_received for leg in found.report.legs] == [2, 0]
    await until(lambda: any(event.type is EventType.LEG_SOURCE for event in observer.events))  # what nobody acknowledged comes again

    fresh = os.urandom(30), os.urandom(30)  # a re-INVITE of the adopted call
    await second.client.set_leg(bridge, 0, stated(agent, keys=fresh))
    renewed = (await second.client.state(bridge)).legs[0]
    assert renewed.digest == settings_digest(stated(agent, keys=fresh)) != found.legs[0].digest
    assert renewed.ssrc != found.legs[0].ssrc
    said(oracle(SUITE, fresh[1], is_sender=True), 3)
    await second.client.pause_recording(bridge)
    paused = (await second.client.state(bridge)).recording
    assert paused is not None
    assert paused.is_paused
    await second.client.resume_recording(bridge)
    result = await second.client.stop_recording(bridge)
    assert (result.state, result.segment) == (RecordingState.CLOSED, 3)
    file = (rig.program.folder / "spool" / "call.hwr").read_bytes()
    assert hashlib.sha256(file).digest() == result.digest
    assert [e.data[12:] for e in read(file, order.data_key).entries if e.kind == "packet"] == [b"0001", b"0002", b"0003"]
    assert [leg.packets_received for leg in (await second.client.close_bridge(bridge)).legs] == [3, 0]
    with pytest.raises(MediaRefused) as gone:
        await second.client.state(bridge)
    assert gone.value.status is Status.NOT_FOUND


async def test_the_controller_that_was_taken_over_from_can_do_nothing_any_more(rig: Rig) -> None:
    first, _ = await rig.link()
    bridge = uuid4()
    await first.client.open_call(bridge, Mode.RELAY, (0, 1))
    old = first.client
    assert first._task is not None
    first._task.cancel()  # it hangs: it would not connect again by itself
    await asyncio.gather(first._task, return_exceptions=True)
    second, _ = await rig.link()
    with pytest.raises((Unavailable, MediaRefused)):
        await old.close_bridge(bridge)
    assert [entry.bridge_id async for entry in second.client.bridges()] == [bridge]


async def test_no_key_is_ever_told(rig: Rig, parties: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = os.urandom(30), os.urandom(30)
    order = RecordingOrder(uuid4(), uuid4(), 0, os.urandom(32), "one.hwr", b"{}", 1)
    link, _ = await rig.link()
    bridge = uuid4()
    await link.client.open_call(bridge, Mode.RELAY, (0, 1))
    await link.client.set_leg(bridge, 0, stated(parties[0], keys=keys))
    await link.client.start_recording(bridge, order)
    heard = bytearray()
    feed = FrameReader.feed

    def spying(self: FrameReader, data: bytes) -> Iterator[Frame]:
        heard.extend(data)
        return feed(self, data)

    monkeypatch.setattr(FrameReader, "feed", spying)
    await link.client.state(bridge)
    _ = [entry async for entry in link.client.bridges()]
    await link.client.close_bridge(bridge)
    monkeypatch.undo()
    assert bridge.bytes in heard
    for secret in (*keys, order.data_key):
        assert not any(secret[at : at + 8] in heard for at in range(0, len(secret) - 7, 8))
