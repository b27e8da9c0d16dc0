"""Calls while the database or the keyring is away, and while recording is not possible."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from hushwire.app.gateway import Gateway
from hushwire.services import heartbeat
from hushwire.services.kept import Kept, from_parts
from hushwire.sip import effects as sip
from hushwire.vault import journal
from hushwire.vault.journal import Journal
from hushwire.vault.pool import KeyPool
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, Peer, World, need_program, running, until_ended

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def reachable(databases: Databases, *, allow: bool) -> None:
    """Close the main database to everybody, or open it again."""
    administrator = await asyncpg.connect(databases.cluster.dsn("postgres"))
    try:
        name = databases.names["main"]
        await administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {str(allow).lower()}")
        if not allow:
            await administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    finally:
        await administrator.close()


def read_journal(gateway: Gateway) -> dict[UUID, Kept]:
    """What another process would find."""
    assert gateway.journal is not None
    found = {name: from_parts(parts) for name, parts in journal.read(gateway.journal._path, gateway.journal._key).items()}
    return {name: kept for name, kept in found.items() if kept is not None}


async def called(world: World, anna: Peer, number: str = FAR_NUMBER) -> tuple[sip.Accepted, sip.RequestReceived]:
    anna.invite(number)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.accept(incoming)
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    return accepted, incoming


async def test_a_live_call_outlasts_the_database_and_its_end_is_written_when_it_is_back(world: World, databases: Databases) -> None:
    anna = await world.peer("anna")
    accepted, _ = await called(world, anna)
    await world.row("recordings", state="live")
    await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
    await reachable(databases, allow=False)
    anna.endpoint.bye(accepted.dialog)
    await world.carrier.expect(sip.DialogEnded)
    await anna.expect(sip.Responded)
    await until(lambda: world.gateway.records.waiting == 1)
    await reachable(databases, allow=True)
    await world.row("calls", state="ended", end_reason="bye-agent")
    assert (await world.row("recordings", state="closed"))["digest"] is not None


async def test_a_gateway_that_is_cut_off_from_the_database_ends_its_recordings_but_not_the_calls(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(heartbeat, "ANSWER_S", 0.5)
    monkeypatch.setattr(heartbeat, "RETRY_S", 0.1)
    monkeypatch.setattr(heartbeat, "CUT_OFF_AFTER_S", 0.5)
    async with running(databases, tmp_path, without_recording="unrecorded") as world:
        await called(world, await world.peer("anna"))
        await world.row("recordings", state="live")
        await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
        await reachable(databases, allow=False)

        async def is_recorded() -> list[bool]:
            return [entry.recording_id is not None async for entry in world.gateway.link.client.bridges()]

        async def is_ended() -> bool:
            return await is_recorded() == [False]

        assert await is_recorded() == [True]
        await until(is_ended, timeout_s=10, what="the media process records no more")
        assert len(list(world.gateway.calling.live)) == 1
        await reachable(databases, allow=True)
        assert (await world.row("recordings", state="closed"))["digest"] is not None
        await world.row("calls", state="active")


async def test_while_the_database_is_away_a_call_is_recorded_with_its_row_in_the_journal_which_is_written_once(
    databases: Databases, tmp_path: Path
) -> None:
    async with running(databases, tmp_path, without_recording="refuse") as world:
        anna = await world.peer("anna")
        await until(lambda: world.gateway.pool.ready(world.gateway.directory.organisation_ids()[0], "recording") > 0)
        await reachable(databases, allow=False)
        accepted, _ = await called(world, anna)
        await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
        (live,) = world.gateway.calling.live
        assert live.recording is not None
        assert list(live.unwritten) == [live.recording.id]
        anna.endpoint.bye(accepted.dialog)
        await until_ended(world.carrier)
        await reachable(databases, allow=True)
        await world.row("calls", state="ended", end_reason="bye-agent")
        row = await world.row("recordings", state="closed")
        assert row["digest"] is not None
        assert (world.folder / "spool" / row["spool_name"]).stat().st_size == row["size_bytes"]
        assert len(await world.rows("calls")) == 1
        # What nobody asks for any more is not in the journal.
        await until(lambda: not live.unwritten)


async def test_what_was_recorded_while_the_database_was_away_outlives_the_gateway(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path, without_recording="refuse") as world:
        anna = await world.peer("anna")
        await until(lambda: world.gateway.pool.ready(world.gateway.directory.organisation_ids()[0], "recording") > 0)
        await reachable(databases, allow=False)
        await called(world, anna)
        await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
        (live,) = world.gateway.calling.live
        kept = await asyncio.to_thread(read_journal, world.gateway)
        assert [each.id for each in kept[live.id].unwritten] == list(live.unwritten)
        # Another process has nothing but that.
        await reachable(databases, allow=True)
        await until(lambda: not live.unwritten)
        before = len(await world.rows("recordings"))
        await world.gateway.calling.write_again(kept[live.id])
        assert len(await world.rows("recordings")) == before == 1


async def test_rules_that_could_not_be_read_for_too_long_let_nobody_out_but_who_calls_for_help(world: World, databases: Databases) -> None:
    anna = await world.peer("anna")
    await reachable(databases, allow=False)
    accepted, _ = await called(world, anna)
    anna.endpoint.bye(accepted.dialog)
    await world.carrier.expect(sip.DialogEnded)
    await anna.expect(sip.Responded)
    world.gateway.directory._fresh[world.organisation.id] -= 3600
    anna.invite(FAR_NUMBER)
    refused = await anna.expect(sip.Rejected)
    assert refused.status == 503
    assert refused.response is not None
    assert "could not be read" in (refused.response.headers.get("Reason") or "")
    await called(world, anna, "112")
    await reachable(databases, allow=True)

    async def states() -> bool:
        return {(row["state"], row["verdict_reason"]) for row in await world.rows("calls")} == {
            ("refused", "rules-stale"),
            ("ended", None),
            ("active", None),
        }

    await until(states, what="the rows of all three calls")


@pytest.mark.parametrize("policy", ["refuse", "unrecorded"])
async def test_without_row_and_journal_nothing_is_recorded_and_the_organisation_decides_about_the_call(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr(Journal, "sync", lambda _: False)
    async with running(databases, tmp_path, without_recording=policy) as world:
        anna = await world.peer("anna")
        await until(lambda: world.gateway.pool.ready(world.gateway.directory.organisation_ids()[0], "recording") > 0)
        await reachable(databases, allow=False)
        accepted, _ = await called(world, anna)
        if policy == "refuse":
            ended = await until_ended(anna)
            assert "Recording is not possible" in (ended.request.headers.get("Reason") or "")
            await until_ended(world.carrier)
        else:
            await until(lambda: all(live.recording is None for live in world.gateway.calling.live))
            anna.endpoint.bye(accepted.dialog)
            await until_ended(world.carrier)
        await reachable(databases, allow=True)
        row = await world.row("calls", state="ended")
        assert row["end_reason"] == ("no-recording" if policy == "refuse" else "bye-agent")
        await world.row("recordings", state="failed")
        assert list((world.folder / "spool").iterdir()) == []


@pytest.mark.parametrize(("policy", "status"), [("refuse", 503), ("unrecorded", None)])
async def test_without_a_committed_key_the_organisation_decides_about_the_call(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, status: int | None
) -> None:
    async def none_of_them(*_: object) -> None:
        raise OSError("the keyring's server is away")

    async with running(databases, tmp_path, without_recording=policy) as world:
        monkeypatch.setattr(KeyPool, "take", lambda *_: None)
        monkeypatch.setattr(KeyPool, "prepare", none_of_them)
        anna = await world.peer("anna")
        if status is not None:
            anna.invite(FAR_NUMBER)
            assert (await anna.expect(sip.Rejected)).status == status
            await world.row("calls", state="failed", end_reason="no-recording", sealed_with=None)
        else:
            accepted, _ = await called(world, anna)
            anna.endpoint.bye(accepted.dialog)
            await world.row("calls", state="ended", sealed_with=None, remote_sealed=None)
        assert await world.rows("recordings") == []


@pytest.mark.parametrize("lacks", ["row and journal", "key"])
async def test_an_emergency_call_is_never_refused_or_ended_for_want_of_its_recording(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    async def none_of_them(*_: object) -> None:
        raise OSError("the keyring's server is away")

    async with running(databases, tmp_path, without_recording="refuse") as world:
        anna = await world.peer("anna")
        await until(lambda: world.gateway.pool.ready(world.gateway.directory.organisation_ids()[0], "recording") > 0)
        if lacks == "key":
            monkeypatch.setattr(KeyPool, "take", lambda *_: None)
            monkeypatch.setattr(KeyPool, "prepare", none_of_them)
        else:
            monkeypatch.setattr(Journal, "sync", lambda _: False)
            await reachable(databases, allow=False)
        accepted, incoming = await called(world, anna, "112")
        assert incoming.request.uri.startswith("sip:112@")
        await until(lambda: all(live.recording is None for live in world.gateway.calling.live), timeout_s=8)
        assert len(list(world.gateway.calling.live)) == 1
        anna.endpoint.bye(accepted.dialog)
        await world.carrier.expect(sip.DialogEnded)
        if lacks != "key":
            await reachable(databases, allow=True)
        assert (await world.row("calls", state="ended", end_reason="bye-agent"))["verdict"] == "emergency"


async def test_thirty_calls_that_end_in_every_way_leave_nothing_behind(world: World) -> None:
    await world.limit(concurrent_calls="off", attempts_per_minute="off")
    anna = await world.peer("anna")
    ways = ("bye", "bye-carrier", "busy", "cancel", "hangup", "refused")
    invites = [anna.invite("+33142685300" if ways[n % 6] == "refused" else FAR_NUMBER) for n in range(30)]
    incoming = [await world.carrier.expect(sip.RequestReceived, 10) for _ in range(25)]
    by_way = {way: incoming[at::5] for at, way in enumerate(ways[:5])}
    for event in by_way["busy"]:
        world.carrier.endpoint.respond(event.tx, 486)
    for event in by_way["cancel"]:
        world.carrier.endpoint.respond(event.tx, 180)
    dialogs = [world.carrier.accept(event)[0] for way in ("bye", "bye-carrier", "hangup") for event in by_way[way]]
    accepted, ringing = [], set()
    async with asyncio.timeout(10):
        while len(accepted) < 15 or len(ringing) < 5:
            event = await anna.events.get()
            if isinstance(event, sip.Accepted):
                accepted.append(event)
            elif isinstance(event, sip.Progress):
                ringing.add(event.invite)
    assert ringing <= set(invites)
    for invite in ringing:
        anna.endpoint.cancel(invite)
    for dialog in dialogs[5:10]:
        world.carrier.endpoint.bye(dialog)
    for live in list(world.gateway.calling.live)[:3]:
        world.gateway.calling.hang_up(live)
    for one in accepted:
        anna.endpoint.bye(one.dialog)
    await until(lambda: not list(world.gateway.calling.live), timeout_s=10)
    table = world.gateway.calling.table
    assert [len(names) for names in (table.by_tx, table.by_invite, table.by_dialog, table.by_request)] == [0, 0, 0, 0]
    assert [entry async for entry in world.gateway.link.client.bridges()] == []
    await until(lambda: not world.gateway.endpoint.ua._core.sessions)
    await world.gateway.records.drain(5)
    rows = await world.rows("calls")
    assert len(rows) == 30
    assert {row["state"] for row in rows} == {"ended", "refused"}
    assert all(row["state"] == "closed" and row["digest"] for row in await world.rows("recordings"))
