"""Agents record their own greetings by phone, and callers hear them: a whole gateway, and beside it what the worker does for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import orjson

from hushwire.privacy.retention import Rule
from hushwire.services.erasure import Erasures
from hushwire.services.greetings import GreetingsToErase
from hushwire.services.queries import Queries
from hushwire.services.recordings import Recordings
from hushwire.services.retention import RetentionRules
from hushwire.services.voicemail_reading import Answering
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.recorded import Chance, House
from tests.services.listening import Ear, tone_file
from tests.services.running import NODE, ROOT, Peer, World, local_media, need_program
from tests.services.test_call_sounds import events
from tests.services.test_mailbox_calls import press, until_asked
from tests.services.test_voicemail import BEEP, GREETING, QUIET, SPEECH, answering, expected, into, newest, records, say

pytestmark = need_program
PROMPTS = {"record": 700.0, "menu": 1700.0, "kept": 2100.0, "removed": 2500.0, "unchanged": 2900.0}


@asynccontextmanager
async def office(databases: Databases, folder: Path, *, reads: bool = True) -> AsyncIterator[tuple[World, House]]:
    """A gateway, and a worker that does what concerns greetings."""
    said = {f"greeting-{name}": str(tone_file(folder / f"{name}.wav", hertz, 0.4)) for name, hertz in PROMPTS.items()}
    async with answering(databases, folder, environ={"HUSHWIRE_SOUNDS__VOICEMAIL": orjson.dumps(said).decode()}) as world:
        house = House(databases, ROOT, world.folder, world.organisation.id, NODE)
        main, keyring = await house.main("worker"), await house.keyring("worker")
        recordings = Recordings(main, keyring, house.blobs(), house.spool, house.clock)
        erasing = GreetingsToErase(main, Erasures(main, keyring, house.clock, Chance(), ends_organisations=True), house.clock)
        reading, bell = Answering(main, recordings, Queries(main, keyring, house.clock, Chance()), house.clock), asyncio.Event()
        await main.listen("hushwire_work", lambda _topic: bell.set())

        async def work() -> None:
            while True:
                bell.clear()
                if reads:
                    await reading.answer_all()
                await erasing.erase_all()
                await bell.wait()

        task = asyncio.create_task(work())
        try:
            yield world, house
        finally:
            task.cancel()
            assert not (await asyncio.gather(task, return_exceptions=True)) or task.cancelled(), task


async def visit(world: World) -> tuple[Peer, sip.Accepted, Ear]:
    phone, ear = await world.peer("ben"), Ear()
    phone.invite("*96", local=local_media(ear.port))
    accepted = await phone.expect(sip.Accepted)
    await expected(world, newest(world, lambda live: live.route.makes_greeting))
    ear.agree(phone.answer_of(accepted.response))
    ear.speak(QUIET, 5)
    return phone, accepted, ear


async def recorded(world: World, seconds: float = 1.5) -> tuple[Peer, sip.Accepted, Ear]:
    """Ben has recorded a greeting, and not decided about it."""
    phone, accepted, ear = await visit(world)
    await ear.hears(PROMPTS["record"], packets=5)
    live = next(live for live in world.gateway.calling.live if live.route.makes_greeting)
    await records(live)
    await ear.hears(BEEP, packets=5)
    await say(ear, seconds)
    await press(phone, accepted, "#")
    return phone, accepted, ear


async def kept(world: World, seconds: float = 1.5) -> None:
    phone, accepted, ear = await recorded(world, seconds)
    await ear.hears(PROMPTS["menu"], packets=5)
    await press(phone, accepted, "1")
    await phone.expect(sip.DialogEnded)
    await until(lambda: not world.gateway.calling.table.calls, what="the visit is over")


async def test_an_agent_records_its_greeting_keeps_it_and_callers_hear_it_instead_of_the_configured_one(
    databases: Databases, tmp_path: Path
) -> None:
    async with office(databases, tmp_path) as (world, house):
        phone, accepted, ear = await recorded(world)
        await ear.hears(SPEECH, packets=10)
        await ear.hears(PROMPTS["menu"], packets=5)
        assert [row["state"] for row in await world.rows("voicemail_greetings", "made_at")] == ["draft"]
        await press(phone, accepted, "1")
        await ear.hears(PROMPTS["kept"], packets=5)
        await phone.expect(sip.DialogEnded)
        await until(lambda: not world.gateway.calling.table.calls, what="the visit is over")
        run = await world.row("recordings", state="closed", lawful_basis="consent")
        (own,) = await world.rows("voicemail_greetings", "made_at")
        ben = world.organisation.by_username["ben"].id
        assert (own["recording_id"], own["agent_id"], own["state"]) == (run["id"], ben, "used")
        assert await world.rows("voicemail_messages", "left_at") == [], "a greeting is no message"
        caller, accepted, ear, _ = await into(world)
        ear.speak(QUIET)
        await ear.hears(SPEECH, packets=10)
        await ear.hears(BEEP, packets=5)
        caller.endpoint.bye(accepted.dialog)
        await caller.expect(sip.Responded)
        assert len(await events(world, "announcement.played")) == 1
        opened = [row["actor"] for row in await world.rows("access_log", "at") if row["purpose"] == "voicemail"]
        assert opened == [f"agent:{ben}", "system:answering-machine"]
        assert await world.rows("voicemail_readings") == []
        rules = RetentionRules(await house.main("api"), house.clock, Chance())
        await rules.put(world.organisation.id, [Rule("recording", 1, None)], None, actor="user:x")
        report = await rules.preview(world.organisation.id, house.clock.now() + timedelta(days=30))
        assert report.classes["recording"].due == len(await world.rows("recordings")) - 1, "all but the greeting"


async def test_a_greeting_that_is_replaced_or_removed_is_erased_by_the_one_path_and_so_is_a_draft(
    databases: Databases, tmp_path: Path
) -> None:
    async with office(databases, tmp_path) as (world, _):
        await kept(world)
        (own,) = await world.rows("voicemail_greetings", "made_at")
        phone, accepted, ear = await visit(world)
        await ear.hears(SPEECH, packets=10)
        await press(phone, accepted, "2")
        await ear.hears(PROMPTS["record"], packets=5)
        live = next(live for live in world.gateway.calling.live if live.route.makes_greeting)
        await records(live)
        phone.endpoint.bye(accepted.dialog)  # in the middle of it
        await phone.expect(sip.Responded)

        async def gone() -> list[object]:
            return [row["id"] for row in await world.rows("recordings") if row["state"] == "erased"]

        assert own["recording_id"] not in await until(gone, what="the draft is erased")
        phone, accepted, ear = await visit(world)
        await ear.hears(SPEECH, packets=10)
        await press(phone, accepted, "3")
        await ear.hears(PROMPTS["removed"], packets=5)
        await phone.expect(sip.DialogEnded)

        async def erased() -> bool:
            return all(row["state"] == "erased" for row in await world.rows("recordings"))

        await until(erased, what="the greeting is erased")
        ledger = await world.rows("erasure_ledger")
        assert {(row["actor"], row["reason"]) for row in ledger} == {(f"agent:{own['agent_id']}", "owner-request")}
        assert all(row["receipt"] is not None for row in ledger)
        _, _, ear, _ = await into(world)
        ear.speak(QUIET)
        await ear.hears(GREETING, packets=5)


async def test_where_nobody_opens_the_greeting_callers_hear_the_configured_one(databases: Databases, tmp_path: Path) -> None:
    async with office(databases, tmp_path, reads=False) as (world, _):
        phone, accepted, ear = await recorded(world)
        assert await until_asked(world), "its owner is to hear it"
        await press(phone, accepted, "1")
        await phone.expect(sip.DialogEnded)
        await until(lambda: not world.gateway.calling.table.calls, what="the visit is over")
        assert [row["state"] for row in await world.rows("voicemail_greetings", "made_at")] == ["used"]
        phone, accepted, ear, live = await into(world)
        ear.speak(QUIET)
        await ear.hears(GREETING, packets=5)
        await records(live)
        phone.endpoint.bye(accepted.dialog)
        await phone.expect(sip.Responded)


async def test_an_erasure_ends_a_greeting_that_is_being_heard_and_the_caller_hears_the_configured_one(
    databases: Databases, tmp_path: Path
) -> None:
    async with office(databases, tmp_path) as (world, house):
        await kept(world, 4.0)
        (own,) = await world.rows("voicemail_greetings", "made_at")
        phone, accepted, ear, live = await into(world)
        ear.speak(QUIET)
        await ear.hears(SPEECH, packets=10)
        erased = await (await house.erasures("worker")).erase(
            world.organisation.id, own["recording_id"], actor="api-key:x", reason="customer-request"
        )
        assert type(erased).__name__ == "Erased"
        await ear.hears(GREETING, packets=5)
        await records(live)
        phone.endpoint.bye(accepted.dialog)
        await phone.expect(sip.Responded)


async def test_a_gateway_that_is_killed_ends_the_recording_and_the_owner_decides_about_what_there_is(
    databases: Databases, tmp_path: Path
) -> None:
    async with office(databases, tmp_path) as (world, _):
        port = world.port
        phone, accepted, ear = await visit(world)
        await ear.hears(PROMPTS["record"], packets=5)
        await records(next(live for live in world.gateway.calling.live if live.route.makes_greeting))
        await say(ear, 1.0)
        await world.kill()
        await world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{port}"]')
        await ear.hears(SPEECH, packets=10)
        await press(phone, accepted, "1")
        await phone.expect(sip.DialogEnded)
        assert [row["state"] for row in await world.rows("voicemail_greetings", "made_at")] == ["used"]
