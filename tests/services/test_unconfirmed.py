"""What the media process did not answer is not believed, and what can not be sent keeps nothing open."""

import signal
from pathlib import Path
from typing import Any

from hushwire.core.errors import Unavailable
from hushwire.media import link
from hushwire.media.client import MediaClient
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import World, need_program, running

pytestmark = need_program


async def call(world: World) -> sip.Accepted:
    anna = await world.peer("anna")
    anna.invite("03023125999")
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    return accepted


async def recorded(world: World) -> list[bool]:
    return [entry.recording_id is not None async for entry in world.gateway.link.client.bridges()]


async def test_a_recording_whose_start_was_not_confirmed_is_ended(databases: Databases, tmp_path: Path, monkeypatch: Any) -> None:
    begin = MediaClient.start_recording
    seen: list[list[bool]] = []

    async def begin_unheard(client: MediaClient, *arguments: Any) -> None:
        await begin(client, *arguments)
        seen.append([entry.recording_id is not None async for entry in client.bridges()])
        raise Unavailable("the reply came too late")

    monkeypatch.setattr(MediaClient, "start_recording", begin_unheard)
    async with running(databases, tmp_path, without_recording="unrecorded") as world:
        await call(world)
        await world.row("recordings", state="failed")
        assert seen == [[True]]

        async def is_ended() -> bool:
            return await recorded(world) == [False]

        await until(is_ended, what="the unconfirmed recording is ended")


async def test_while_the_media_process_does_not_answer_no_recording_counts_as_ended(
    databases: Databases, tmp_path: Path, monkeypatch: Any
) -> None:
    async with running(databases, tmp_path) as world:
        await call(world)
        await world.row("recordings", state="live")
        await world.abandon()
        close = MediaClient.close_bridge
        asked = 0

        async def too_slow(client: MediaClient, *arguments: Any) -> None:
            nonlocal asked
            asked += 1
            raise Unavailable("a slow disk")

        monkeypatch.setattr(MediaClient, "close_bridge", too_slow)
        await world.restart()
        await world.row("calls", state="ended")
        await until(lambda: asked >= 2, what="it is asked again")
        await world.row("recordings", state="live")
        monkeypatch.setattr(MediaClient, "close_bridge", close)
        closed = await world.row("recordings", state="closed")
        assert closed["digest"] is not None


async def test_the_recording_of_a_media_process_that_stalls_stays_live_until_it_has_wiped_its_key(
    databases: Databases, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(link, "_PING_EVERY_S", 0.05)
    monkeypatch.setattr(link, "PATIENCE_S", 0.3)
    async with running(databases, tmp_path) as world:
        await call(world)
        await world.row("recordings", state="live")
        await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
        assert world.media.process is not None
        world.media.process.send_signal(signal.SIGSTOP)
        try:
            await world.carrier.expect(sip.DialogEnded)
            await world.row("calls", state="ended", end_reason="media-lost")
            await world.row("recordings", state="live")
        finally:
            world.media.process.send_signal(signal.SIGCONT)
        assert (await world.row("recordings", state="closed"))["digest"] is not None


async def test_a_bye_that_can_not_be_sent_keeps_neither_bridge_nor_rows_open(
    databases: Databases, tmp_path: Path, monkeypatch: Any
) -> None:
    async with running(databases, tmp_path) as world:
        anna = await world.peer("anna")
        anna.invite("03023125999")
        dialog, _ = world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
        await anna.expect(sip.Accepted)
        await world.carrier.expect(sip.AckReceived)
        await world.row("recordings", state="live")

        def broken(*_: Any, **__: Any) -> None:
            raise ValueError("can not be said")

        monkeypatch.setattr(world.gateway.endpoint, "bye", broken)
        world.carrier.endpoint.bye(dialog)
        await world.row("calls", state="ended")
        await world.row("recordings", state="closed")
        assert [entry async for entry in world.gateway.link.client.bridges()] == []
