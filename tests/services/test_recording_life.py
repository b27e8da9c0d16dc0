"""Recordings of a whole gateway: carried on as the party changes, and ended by a spool that is full."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hushwire.core.ids import AgentId
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.native.call import Party, rtp
from tests.native.hwr_reader import Recording as Opened
from tests.native.hwr_reader import read
from tests.polling import until
from tests.services.running import FAR_NUMBER, Peer, World, local_media, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


@pytest.fixture
def far() -> Iterator[Party]:
    """The carrier's end of the audio, with real sockets."""
    party = Party()
    yield party
    party.close()


async def talking(world: World, far: Party) -> tuple[Peer, sip.Accepted, LiveCall]:
    """Anna in a recorded call with the carrier, whose audio comes from `far`."""
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    _, media = world.carrier.accept(incoming, local=local_media(far.port, keys=False))
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    far.to = ("127.0.0.1", media.port)
    live = next(iter(world.gateway.calling.live))
    await until(lambda: live.recording is not None and live.recording.is_running)
    return anna, accepted, live


async def heard(world: World, live: LiveCall, packets: int) -> None:
    """Return once the media process has taken in so many packets of the carrier."""

    async def count() -> bool:
        report = await world.gateway.link.client.bridge(live.id)
        return sum(leg.packets_received for leg in report.legs) >= packets

    await until(count)


def opened(world: World, name: str, key: bytes) -> Opened:
    return read((world.folder / "spool" / name).read_bytes(), key)


def numbers(file: Opened) -> list[int]:
    return [int.from_bytes(entry.data[2:4], "big") for entry in file.entries if entry.kind == "packet"]


async def test_a_recording_is_carried_on_for_another_agent_as_a_segment_of_its_own(world: World, far: Party) -> None:
    anna, accepted, live = await talking(world, far)
    ben = AgentId(next(row["id"] for row in await world.rows("agents") if row["id"] != live.route.agent.id))
    for n in range(20):
        far.send(rtp(n, 160 * n, 7))
    await heard(world, live, 20)
    assert live.recording is not None
    first = live.recording
    assert await world.gateway.calling.recorder.continue_as(live, ben) == "ok"
    second = live.recording
    assert second is not None
    assert (second.segment, second.is_running) == (1, True)
    for n in range(20, 40):
        far.send(rtp(n, 160 * n, 7))
    await heard(world, live, 40)
    anna.endpoint.bye(accepted.dialog)
    await world.carrier.expect(sip.DialogEnded)
    await world.row("calls", state="ended")

    async def both_closed() -> bool:
        return [row["state"] for row in await world.rows("recordings", "segment")] == ["closed", "closed"]

    await until(both_closed)
    rows = await world.rows("recordings", "segment")
    assert [row["segment"] for row in rows] == [0, 1]
    assert [row["agent_id"] for row in rows] == [live.route.agent.id, ben]
    assert rows[0]["call_id"] == rows[1]["call_id"] == live.id
    assert rows[0]["key_fingerprint"] != rows[1]["key_fingerprint"]
    files = [opened(world, run.spool_name, run.key.key) for run in (first, second)]
    assert all(file.is_final for file in files)
    assert [numbers(file) for file in files] == [list(range(20)), list(range(20, 40))]
    told = [row["kind"] for row in await world.rows("outbox") if row["kind"].startswith("recording.")]
    assert told == ["recording.started", "recording.started", "recording.closed", "recording.closed"]


async def test_what_cannot_be_carried_on_goes_on_as_it_was(world: World, far: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, accepted, live = await talking(world, far)
    recorder, run = world.gateway.calling.recorder, live.recording
    with monkeypatch.context() as patched:
        patched.setattr(world.gateway.calling.keys, "take", lambda *_: None)
        assert await recorder.continue_as(live, live.route.agent.id) == "no recording key is ready"
    _limit(world, 0)  # a file can't even take its header
    assert await recorder.continue_as(live, live.route.agent.id) == "the next segment could not be begun"
    _limit(world, resource.RLIM_INFINITY)
    assert live.recording is run
    far.send(rtp(1, 160, 7))
    await heard(world, live, 1)
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended")

    async def as_expected() -> bool:
        return sorted(row["state"] for row in await world.rows("recordings")) == ["closed", "failed"]

    await until(as_expected)
    assert run is not None
    assert numbers(opened(world, run.spool_name, run.key.key)) == [1]
    assert await recorder.continue_as(live, live.route.agent.id) == "nothing is being recorded"


def _limit(world: World, size: int) -> None:
    """No file of the media process grows beyond this from now on: to it, the spool's disk is full."""
    assert world.media.process is not None
    resource.prlimit(world.media.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("policy", ["refuse", "unrecorded"])
async def test_a_full_spool_ends_the_recording_with_a_row_and_the_call_as_the_organisation_says(
    databases: Databases, tmp_path: Path, far: Party, policy: str
) -> None:
    async with running(databases, tmp_path, without_recording=policy) as world:
        anna, accepted, live = await talking(world, far)
        run = live.recording
        assert run is not None
        _limit(world, 30_000)
        sent = 0
        while live.recording is not None and not live.is_ended:
            far.send(rtp(sent, 160 * sent, 7))
            sent += 1
            await asyncio.sleep(0.004)  # the pace of speech, five times
            assert sent < 3000
        if policy == "refuse":
            ended = await anna.expect(sip.DialogEnded)
            assert "Recording is not possible" in (ended.request.headers.get("Reason") or "")
            await world.carrier.expect(sip.DialogEnded)
            assert (await world.row("calls", state="ended"))["end_reason"] == "no-recording"
        else:
            far.send(rtp(sent, 160 * sent, 7))
            await heard(world, live, sent + 1)  # the call goes on
            anna.endpoint.bye(accepted.dialog)
            await world.carrier.expect(sip.DialogEnded)
            assert (await world.row("calls", state="ended"))["end_reason"] == "bye-agent"
        await world.row("recordings", state="crashed")
        file = opened(world, run.spool_name, run.key.key)  # what was sealed before plays
        assert not file.is_final
        assert numbers(file) == list(range(len(numbers(file))))
        assert len(numbers(file)) > 50
