"""Agents hear their messages by phone: a whole gateway, and beside it what the worker does for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from hushwire.calls.model import AnsweredBy
from hushwire.media.sounds import SoundCodec
from hushwire.services.erasure import Erasures
from hushwire.services.queries import Queries
from hushwire.services.recordings import Recordings
from hushwire.services.voicemail_boxes import MessagesToErase
from hushwire.services.voicemail_reading import Answering, Asking, NotRead
from hushwire.sip import effects as sip
from hushwire.sip import refusals
from tests.databases import Databases
from tests.polling import until
from tests.recorded import Chance, House
from tests.services.listening import Ear, tone_file
from tests.services.running import NODE, ROOT, Peer, World, local_media, need_program, until_ended
from tests.services.test_voicemail import QUIET, SPEECH, answering, expected, into, message_row, newest, records, say
from tests.services.watcher import Watcher

pytestmark = need_program
PROMPTS = {"new": 700.0, "menu": 1500.0, "deleted": 1900.0, "end": 2300.0, "empty": 2700.0, "unplayable": 3100.0, "not-called": 3500.0}


@asynccontextmanager
async def office(databases: Databases, folder: Path, **environ: str) -> AsyncIterator[tuple[World, House]]:
    """A gateway, and a worker that does what concerns mailboxes."""
    said = orjson.dumps({name: str(tone_file(folder / f"{name}.wav", hertz, 0.4)) for name, hertz in PROMPTS.items()}).decode()
    async with answering(databases, folder, environ={"HUSHWIRE_SOUNDS__VOICEMAIL": said, **environ}) as world:
        house = House(databases, ROOT, world.folder, world.organisation.id, NODE)
        main, keyring = await house.main("worker"), await house.keyring("worker")
        recordings = Recordings(main, keyring, house.blobs(), house.spool, house.clock)
        erasing = MessagesToErase(main, Erasures(main, keyring, house.clock, Chance(), ends_organisations=True))
        reading, bell = Answering(main, recordings, Queries(main, keyring, house.clock, Chance()), house.clock), asyncio.Event()
        await main.listen("hushwire_work", lambda _topic: bell.set())

        async def work() -> None:
            while True:
                bell.clear()
                await reading.answer_all()
                await erasing.erase_all()
                await bell.wait()

        task = asyncio.create_task(work())
        try:
            yield world, house
        finally:
            task.cancel()
            assert not (await asyncio.gather(task, return_exceptions=True)) or task.cancelled(), task


async def leave_message(world: World, seconds: float = 1.5) -> None:
    phone, accepted, ear, live = await into(world)
    await records(live)
    await say(ear, seconds)
    phone.endpoint.bye(accepted.dialog)
    await phone.expect(sip.Responded)
    await until(lambda: not world.gateway.calling.table.calls, what="the message is complete")


async def visit(world: World, name: str = "ben") -> tuple[Peer, sip.Accepted, Ear]:
    phone, ear = await world.peer(name), Ear()
    phone.invite("*97", local=local_media(ear.port))
    accepted = await phone.expect(sip.Accepted)
    await expected(world, newest(world, lambda live: live.route.plan.answered_by is AnsweredBy.MAILBOX))
    ear.agree(phone.answer_of(accepted.response))
    ear.speak(QUIET, 5)
    return phone, accepted, ear


async def press(phone: Peer, accepted: sip.Accepted, key: str) -> None:
    body = f"Signal={key}\r\nDuration=160\r\n".encode()
    phone.endpoint.request(accepted.dialog, "INFO", body=body, content_type="application/dtmf-relay")
    assert (await phone.expect(sip.Responded)).status == 200


async def test_an_agent_hears_its_message_and_its_lamp_goes_out_and_deletes_it_by_the_one_path(
    databases: Databases, tmp_path: Path
) -> None:
    async with office(databases, tmp_path) as (world, _):
        await leave_message(world)
        lamp = await Watcher.open(world.port, "ben")
        await lamp.subscribe("ben", "message-summary")
        assert b"Voice-Message: 1/0" in (await lamp.told()).body
        phone, accepted, ear = await visit(world)
        await ear.hears(PROMPTS["new"], packets=5)
        await ear.hears(SPEECH, packets=10)
        await ear.hears(PROMPTS["menu"], packets=5)
        assert b"Voice-Message: 0/1" in (await lamp.told()).body
        await message_row(world)
        assert await world.rows("voicemail_readings") == []
        (noted,) = [row for row in await world.rows("access_log", "at") if row["purpose"] == "voicemail"]
        assert noted["actor"] == f"agent:{world.organisation.by_username['ben'].id}"
        await press(phone, accepted, "7")
        await ear.hears(PROMPTS["deleted"], packets=5)
        assert b"Voice-Message: 0/0" in (await lamp.told()).body
        run = await world.row("recordings", state="erased")
        assert (await world.row("erasure_ledger"))["actor"] == noted["actor"]
        assert run["erased_at"] is not None
        await ear.hears(PROMPTS["end"], packets=5)
        await phone.expect(sip.DialogEnded)
        lamp.close()


async def test_an_erasure_elsewhere_ends_what_is_being_heard(databases: Databases, tmp_path: Path) -> None:
    async with office(databases, tmp_path) as (world, house):
        await leave_message(world, 4.0)
        phone, _, ear = await visit(world)
        await ear.hears(SPEECH, packets=10)
        erased = await (await house.erasures("worker")).erase(
            world.organisation.id, (await world.row("recordings"))["id"], actor="api-key:x", reason="customer-request"
        )
        assert type(erased).__name__ == "Erased"
        await ear.hears(PROMPTS["end"], packets=5, timeout_s=4.0)
        await until_ended(phone)


async def test_what_holds_no_speech_is_erased_by_the_one_path_and_nobody_is_told_of_a_message(databases: Databases, tmp_path: Path) -> None:
    async with office(databases, tmp_path) as (world, _):
        phone, accepted, ear, live = await into(world)
        await records(live)
        await say(ear, 0.5, QUIET)
        phone.endpoint.bye(accepted.dialog)
        await world.row("recordings", state="erased")
        entry = await world.row("erasure_ledger")
        assert (entry["actor"], entry["reason"]) == ("system:worker", "empty-message")
        assert entry["receipt"] is not None


async def test_an_empty_mailbox_says_so_and_a_colleagues_message_is_not_read_out(databases: Databases, tmp_path: Path) -> None:
    async with office(databases, tmp_path) as (world, house):
        await leave_message(world)
        phone, _, ear = await visit(world, "anna")
        await ear.hears(PROMPTS["empty"], packets=5)
        await phone.expect(sip.DialogEnded)
        asking = Asking(await house.main("gateway"), house.clock, Chance())
        (message,) = await world.rows("recordings")
        by_name = world.organisation.by_username
        mine = await asking.read(world.organisation.id, by_name["ben"].id, message["id"], SoundCodec.OPUS)
        assert not isinstance(mine, NotRead)
        assert 1400 <= mine.duration_ms <= 3000
        foreign = asyncio.create_task(asking.read(world.organisation.id, by_name["anna"].id, message["id"], SoundCodec.OPUS))
        await until(lambda: bool(asking._asker._waiting))
        rows = await until_asked(world)
        assert rows[0]["answered_at"] is None
        foreign.cancel()


async def test_a_mailbox_is_heard_twice_at_once_and_no_more_and_a_colleagues_is_another_matter(
    databases: Databases, tmp_path: Path
) -> None:
    async with office(databases, tmp_path) as (world, _):
        await leave_message(world)
        visits = [await visit(world) for _ in range(2)]
        third = await world.peer("ben")
        third.invite("*97")
        refused = await third.expect(sip.Rejected)
        assert refused.status == 486
        assert refused.response is not None
        assert refused.response.headers.get("Reason") == refusals.header("mailbox-in-use")
        await visit(world, "anna")
        phone, accepted, _ear = visits[0]
        phone.endpoint.bye(accepted.dialog)
        await phone.expect(sip.Responded)
        await visit(world)


async def until_asked(world: World) -> list[object]:
    async def asked() -> list[object]:
        return list(await world.rows("voicemail_readings"))

    found = await until(asked, what="the question stands")
    assert found
    return found
