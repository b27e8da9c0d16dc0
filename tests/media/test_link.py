"""The lasting link to a real hushwire-media: reconnecting, fencing, events, and noticing that it died."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from hushwire.core.errors import Unavailable
from hushwire.media import link as link_module
from hushwire.media.link import MediaLink
from hushwire.media.model import Greeting, MediaEvent, MediaRefused, Mode, RecordingOrder, RecordingState
from hushwire.media.wire import EventType, Status
from tests.polling import until
from tests.services.running import MediaProgram, need_program

pytestmark = need_program
FORMAT = b'{"legs":[{},{}]}'


@dataclass
class Observer:
    """What the link told, in order."""

    told: list[str] = field(default_factory=list)
    events: list[MediaEvent] = field(default_factory=list)

    def media_ready(self, greeting: Greeting) -> None:
        self.told.append("ready")

    def media_lost(self, *, is_gone: bool) -> None:
        self.told.append("lost" if is_gone else "silent")

    def media_event(self, event: MediaEvent) -> None:
        self.events.append(event)


@dataclass
class Rig:
    """A media program, and links to it under ever greater epochs."""

    program: MediaProgram
    epochs: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    links: list[MediaLink] = field(default_factory=list)

    async def link(self) -> tuple[MediaLink, Observer]:
        async def next_epoch() -> int:
            return next(self.epochs)

        observer = Observer()
        made = MediaLink(self.program.socket, next_epoch, observer)
        self.links.append(made)
        await made.start()
        return made, observer


@asynccontextmanager
async def started(folder: Path, *options: str) -> AsyncIterator[Rig]:
    rig = Rig(MediaProgram(folder, options))
    await rig.program.start()
    try:
        yield rig
    finally:
        for link in rig.links:
            await link.close()
        await rig.program.stop()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with started(tmp_path) as made:
        yield made


def order(name: str = "one.hwr") -> RecordingOrder:
    return RecordingOrder(uuid4(), uuid4(), 0, bytes(range(32)), name, FORMAT, 1_700_000_000_000_000)


async def test_a_call_gets_its_bridge_and_both_pairs_of_ports_in_one_go(rig: Rig) -> None:
    link, observer = await rig.link()
    bridge = uuid4()
    one, two = await link.client.open_call(bridge, Mode.RELAY, (0, 1))
    assert {one.rtp_port % 2, two.rtp_port % 2} == {0}
    assert len({one.rtp_port, one.rtcp_port, two.rtp_port, two.rtcp_port}) == 4
    assert observer.told == ["ready"]
    with pytest.raises(MediaRefused) as refused:
        await link.client.open_call(bridge, Mode.RELAY, (0, 1))
    assert refused.value.status is Status.EXISTS


async def test_without_free_ports_no_half_opened_bridge_stays(tmp_path: Path) -> None:
    async with started(tmp_path, "--ports", "47310-47311") as rig:
        link, _ = await rig.link()
        with pytest.raises(MediaRefused) as refused:
            await link.client.open_call(uuid4(), Mode.RELAY, (0, 1))
        assert refused.value.status is Status.NO_PORTS
        assert [entry async for entry in link.client.bridges()] == []


async def test_a_connection_that_is_cut_is_made_again_and_bridges_stay(rig: Rig) -> None:
    link, observer = await rig.link()
    bridge = uuid4()
    await link.client.open_call(bridge, Mode.RELAY, (0, 1))
    before = link.client
    assert before._control is not None
    before._control.transport.abort()
    await until(lambda: link.is_up and link.client is not before, timeout_s=20)
    assert observer.told == ["ready"]
    assert [entry.bridge_id async for entry in link.client.bridges()] == [bridge]


async def test_the_program_dying_is_told_within_a_second_and_its_successor_is_found(rig: Rig) -> None:
    link, observer = await rig.link()
    instance = link.instance
    loop = asyncio.get_running_loop()
    died_at = loop.time()
    await rig.program.kill()
    await until(lambda: observer.told == ["ready", "lost"], timeout_s=20)
    assert loop.time() - died_at < 1.0
    with pytest.raises(Unavailable):
        link.client  # noqa: B018 (reading it is what raises)
    await rig.program.start()
    await until(lambda: observer.told == ["ready", "lost", "ready"], timeout_s=5)
    assert link.instance != instance


@contextmanager
def stopped(program: MediaProgram) -> Iterator[None]:
    """The program does nothing for a while, but it is there, with all its keys."""
    assert program.process is not None
    program.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.process.send_signal(signal.SIGCONT)


async def test_a_program_that_stalls_for_seconds_keeps_its_bridges(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_PING_EVERY_S", 0.05)
    link, observer = await rig.link()
    bridge = uuid4()
    await link.client.open_call(bridge, Mode.RELAY, (0, 1))
    before = link.client
    with stopped(rig.program):
        await asyncio.sleep(6.0)
        assert observer.told == ["ready"]
    assert [entry.bridge_id async for entry in before.bridges()] == [bridge]
    assert link.client is before
    assert observer.told == ["ready"]


async def test_a_program_that_stays_silent_is_told_apart_from_one_that_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_PING_EVERY_S", 0.05)
    monkeypatch.setattr(link_module, "PATIENCE_S", 0.3)
    link, observer = await rig.link()
    instance = link.instance
    with stopped(rig.program):
        await until(lambda: observer.told == ["ready", "silent"])
    await until(lambda: observer.told == ["ready", "silent", "ready"], timeout_s=10)
    assert link.instance == instance


async def test_a_successor_that_does_not_answer_yet_is_not_taken_for_the_program_that_died(rig: Rig) -> None:
    """A restart may take longer than a lost connection is given: its socket is there, and takes connections, before it answers."""
    _, observer = await rig.link()
    await rig.program.kill()
    rig.program.socket.unlink(missing_ok=True)
    taken: list[asyncio.StreamWriter] = []
    is_over = False

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_over:
            writer.close()  # it was on its way in as the server closed
        else:
            taken.append(writer)

    async with await asyncio.start_unix_server(take, rig.program.socket) as server:
        await until(lambda: len(observer.told) > 1)
        assert observer.told == ["ready", "lost"]
        server.close()  # first: the link comes again at once
        is_over = True
        while taken:
            writer = taken.pop()
            writer.close()
            await writer.wait_closed()
    rig.program.socket.unlink(missing_ok=True)
    await rig.program.start()
    await until(lambda: observer.told == ["ready", "lost", "ready"], timeout_s=15)


async def test_a_newer_controller_takes_over_and_gets_the_events_that_nobody_acknowledged(rig: Rig) -> None:
    first, _ = await rig.link()
    bridge, wanted = uuid4(), order()
    await first.client.open_call(bridge, Mode.RELAY, (0, 1))
    await first.client.start_recording(bridge, wanted)
    result = await first.client.stop_recording(bridge)
    assert (result.recording_id, result.state) == (wanted.recording_id, RecordingState.CLOSED)
    assert len(result.digest) == 32
    await first.close()
    second, observer = await rig.link()
    await until(lambda: [event.type for event in observer.events] == [EventType.RECORDING_CLOSED])
    assert observer.events[0].report.recording == result
    second.acknowledge(observer.events[0].id)
    await second.client.ping()
    await second.close()
    third, seen = await rig.link()
    await third.client.ping()
    assert seen.events == []


async def test_pause_and_resume_follow_the_recordings_state(rig: Rig) -> None:
    link, _ = await rig.link()
    bridge = uuid4()
    await link.client.open_call(bridge, Mode.RELAY, (0, 1))
    with pytest.raises(MediaRefused) as refused:
        await link.client.pause_recording(bridge)
    assert refused.value.status is Status.STATE
    await link.client.start_recording(bridge, order())
    await link.client.pause_recording(bridge)
    await link.client.resume_recording(bridge)
    report = await link.client.close_bridge(bridge)
    assert report.recording is not None
    assert report.recording.state is RecordingState.CLOSED


async def test_nobody_listening_is_said_after_the_wait(tmp_path: Path) -> None:
    async def next_epoch() -> int:
        return 1

    link = MediaLink(tmp_path / "nowhere.sock", next_epoch, Observer())
    with pytest.raises(Unavailable, match="does not answer"):
        await link.start(timeout_s=0.2)
