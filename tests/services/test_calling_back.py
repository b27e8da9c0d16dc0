"""Who left a message is called back out of the mailbox: judged as the owner's own call, in the owner's own dialog."""

from pathlib import Path

import pytest

from hushwire.calls.originated import Originated
from hushwire.sdp.offer_answer import Srtp
from hushwire.sip import effects as sip
from hushwire.sip.headers import Line
from tests.databases import Databases
from tests.polling import until
from tests.services.clicking import BRITISH, allow
from tests.services.listening import Ear
from tests.services.running import ANNA_NUMBER, Peer, World, local_media, need_program
from tests.services.test_diversion import forward
from tests.services.test_mailbox_calls import PROMPTS, office, press, visit
from tests.services.test_voicemail import SPEECH, records, say

pytestmark = need_program
ULAW = (b"\x11" * 160, b"\x22" * 160)


async def left(world: World, number: str, headers: tuple[Line, ...] = ()) -> None:
    """Somebody outside leaves Anna a message."""
    await forward(world, "anna", always="voicemail")
    carrier, ear = world.carrier, Ear()
    carrier.user = number
    carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=local_media(ear.port, keys=False), headers=headers)
    while not isinstance(event := await carrier.events.get(), sip.Accepted):
        assert isinstance(event, sip.Progress)
    ear.agree(carrier.answer_of(event.response))
    live = next(live for live in world.gateway.calling.live if live.route.mailbox is not None)
    await records(live)
    await say(ear, 1.5)
    carrier.endpoint.bye(event.dialog)
    await carrier.expect(sip.Responded)
    await until(lambda: not world.gateway.calling.table.calls, what="the message is complete")


async def heard(world: World) -> tuple[Peer, sip.Accepted, Ear]:
    """Anna hears it."""
    phone, accepted, ear = await visit(world, "anna")
    await ear.hears(PROMPTS["new"], packets=5)
    await ear.hears(SPEECH, packets=10)
    return phone, accepted, ear


async def test_a_key_calls_who_left_the_message_and_both_talk_in_a_call_of_its_own(databases: Databases, tmp_path: Path) -> None:
    async with office(databases, tmp_path) as (world, _):
        await left(world, BRITISH)
        phone, accepted, ear = await heard(world)
        await press(phone, accepted, "8")
        incoming = await world.carrier.expect(sip.RequestReceived)
        assert incoming.request.uri.startswith(f"sip:{BRITISH}@")
        assert ANNA_NUMBER in str(incoming.request.from_)
        far = Ear()
        _, media = world.carrier.accept(incoming, local=local_media(far.port, keys=False))
        far.agree(media)
        await world.carrier.expect(sip.AckReceived)

        def both_hear() -> bool:
            ear.speak(ULAW[0])
            far.speak(ULAW[1])
            return any(one.payload == ULAW[1] for one in ear.packets) and any(one.payload == ULAW[0] for one in far.packets)

        await until(both_hear, what="they hear each other")
        (live,) = (one for one in world.gateway.calling.live if not one.is_ended)
        await until(lambda: live.recording is not None and live.recording.is_running, what="it is recorded as every call")
        phone.endpoint.bye(accepted.dialog)
        await world.carrier.expect(sip.DialogEnded)

        async def written() -> bool:
            rows = {row["direction"]: row for row in await world.rows("calls")}
            return len(rows) == 3 and all(row["state"] == "ended" for row in rows.values())

        await until(written, what="all rows are closed")
        rows = {row["direction"]: row for row in await world.rows("calls")}
        assert (rows["voicemail"]["end_reason"], rows["outbound"]["end_reason"]) == ("transferred", "bye-agent")
        assert (rows["outbound"]["verdict"], rows["outbound"]["country"]) == ("allow", "GB")
        people = world.organisation.by_username
        assert (rows["outbound"]["agent_id"], rows["outbound"]["device_id"]) == (people["anna"].id, people["anna"].id)
        noted = [row["actor"] for row in await world.rows("access_log", "at") if row["object"] == f"call:{rows['inbound']['id']}"]
        assert f"agent:{people['anna'].id}" in noted, "who was told the number stands in the access log"


@pytest.mark.parametrize("where", ["handing-over", "the-machine"])
async def test_no_call_back_that_breaks_off_leaves_a_call_that_waits_for_nobody(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The visitor's leg is in the other call already, and nobody knows it there: both calls are over."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with office(databases, tmp_path) as (world, _):
        await left(world, BRITISH)
        phone, accepted, _ear = await heard(world)
        (visited,) = world.gateway.calling.table.calls
        monkeypatch.setattr(*((world.gateway.calling.handshakes, "move") if where == "handing-over" else (Originated, "_came")), broken)
        await press(phone, accepted, "8")
        assert (await phone.expect(sip.DialogEnded)).dialog == accepted.dialog
        await until(lambda: not world.gateway.calling.table.calls, what="both calls are over")
        ended = {row["id"]: row["end_reason"] for row in (await world.rows("calls", "started_at"))[-2:]}
        assert ended.pop(visited) == ("internal-error" if where == "handing-over" else "transferred")
        assert list(ended.values()) == ["internal-error"]
        assert world.carrier.events.empty(), "nobody was called"


async def test_who_may_not_be_called_is_not_called_back_and_the_visit_goes_on(databases: Databases, tmp_path: Path) -> None:
    async with office(databases, tmp_path) as (world, _):
        await left(world, BRITISH)
        phone, accepted, _ = await heard(world)
        await allow(world, "DE")
        await press(phone, accepted, "8")

        async def refused() -> bool:
            return any(row["verdict_reason"] == "country" for row in await world.rows("calls"))

        await until(refused, what="the refusal is a row")
        assert world.carrier.events.empty()
        await allow(world, "DE", "GB")
        await press(phone, accepted, "2")
        await press(phone, accepted, "8")
        assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith(f"sip:{BRITISH}@"), "an allowed one is"


@pytest.mark.parametrize("privacy", ["id", None])
async def test_who_withheld_the_number_can_not_be_called_back(databases: Databases, tmp_path: Path, privacy: str | None) -> None:
    async with office(databases, tmp_path) as (world, _):
        await left(world, BRITISH if privacy else "anonymous", (("Privacy", privacy),) if privacy else ())
        phone, accepted, ear = await heard(world)
        await press(phone, accepted, "8")
        await ear.hears(PROMPTS["not-called"], packets=5)
        assert world.carrier.events.empty()
        await press(phone, accepted, "#")
        await phone.expect(sip.DialogEnded)
        assert [row["direction"] for row in await world.rows("calls", "started_at")] == ["inbound", "voicemail"]


@pytest.mark.parametrize("shown", ["112", "102"])
async def test_who_shows_an_emergency_number_or_an_extension_from_outside_is_not_called_back(
    databases: Databases, tmp_path: Path, shown: str
) -> None:
    """Callers show the number that they like: a key pressed at a message calls neither for help nor a colleague."""
    async with office(databases, tmp_path) as (world, _):
        await left(world, shown)
        phone, accepted, ear = await heard(world)
        await press(phone, accepted, "8")
        await ear.hears(PROMPTS["not-called"], packets=5)
        (live,) = (one for one in world.gateway.calling.live if not one.is_ended)
        assert await world.gateway.calling.originating.call_back(live, "112") == "no-such-number"
        assert world.carrier.events.empty()
        await press(phone, accepted, "#")
        await phone.expect(sip.DialogEnded)
        assert [row["direction"] for row in await world.rows("calls", "started_at")] == ["inbound", "voicemail"]
