"""Who left a message is called back by a key: forged callers' messages, heard with PJSUA2, the carrier's socket as the proof.

Callers choose what number to show, so a message is bait. Each is left over SIP and RTP; one visit of the owner's phone then goes through
all of them, and presses the key that calls back at each.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, bundled
from hushwire.calls import mailbox
from hushwire.core import purposes
from hushwire.core.ids import CallId
from hushwire.policy.limits import signals_of
from hushwire.sdp.offer_answer import LegMedia, Srtp, accept_answer, build_offer
from hushwire.services.queries import CallView, Queries
from hushwire.services.voicemail import MOST_AT_ONCE
from hushwire.sip import effects as sip
from hushwire.sip.uri import NameAddr, parse_name_addr, parse_sip_uri
from hushwire.vault.unseal import Why
from tests.databases import Databases
from tests.deployments import need_module
from tests.polling import until
from tests.recorded import Chance, House
from tests.redteam.campaigns import Stack, Way, tricks
from tests.redteam.tricks import ALLOWED, Caller
from tests.redteam.ways import ATTACKER
from tests.services.listening import Ear, tone_file
from tests.services.running import ANNA_NUMBER, HOST, World, local_media, need_program
from tests.services.test_diversion import forward
from tests.services.test_mailbox_calls import office
from tests.services.test_voicemail import records, say

pytestmark = [pytest.mark.interop, need_program]


async def test_no_caller_whose_message_pjsip_hears_is_called_back_where_the_list_forbids_it(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_module("pjsua2")
    monkeypatch.setattr(mailbox, "WAIT_S", 60.0)  # the next message comes by the key alone, however slow the machine is
    callers = [trick for trick in tricks(Way.CALLBACK, Stack.PJSIP) if isinstance(trick, Caller)]
    async with office(databases, tmp_path, **quick(tmp_path, {caller.reason for caller in callers if caller.reason})) as (world, house):
        await world.limit(**{signal.value.replace("-", "_"): "off" for signal in signals_of("each-agent")})
        await forward(world, "anna", always="voicemail")
        for first in range(0, len(callers), MOST_AT_ONCE):
            await left(world, [caller.sent for caller in callers[first : first + MOST_AT_ONCE]])
        await left(world, [callers[0].twin])
        await until(lambda: waiting(world, len(callers) + 1), what="all messages are in the mailbox")
        async with softphone(world) as anna:
            visit = await anna.call(f"sip:*97@{HOST}")
            await anna.expect_state(visit, "confirmed")
            for done in range(1, len(callers) + 1):
                await until_read(world, "recording", done)
                await anna.tell("keys", call=visit, digits="8")
                await until_read(world, "call", done)
                await anna.tell("keys", call=visit, digits="1")
            await until_read(world, "recording", len(callers) + 1)
            await until(lambda: refused(world, sum(bool(caller.reason) for caller in callers)), what="the judge's refusals are rows")
            assert world.carrier.events.empty(), "nothing of them came to the carrier"
            await anna.tell("keys", call=visit, digits="8")
            incoming = await world.carrier.expect(sip.RequestReceived)
            assert incoming.request.uri.startswith(f"sip:{ALLOWED}@"), "in the same visit, who is allowed is called back"
            world.carrier.endpoint.respond(incoming.tx, 486)
            await anna.expect_state(visit, "disconnected")
        by_number = {caller.shown: caller for caller in callers}
        played = [view.remote or "" for view in await calls_of_messages(house, world)]
        assert sorted(played[:-1]) == sorted(by_number), "each message was played once, under the number that its caller showed"
        assert played[-1] == ALLOWED
        wanted = [(by_number[number].judged, by_number[number].reason) for number in played[:-1] if by_number[number].reason]
        rows = [row for row in await world.rows("calls", "started_at, id") if row["end_reason"] == "refused"]
        views = await opened(house, world, [row["id"] for row in rows])
        assert [(view.remote, view.row.verdict_reason) for view in views] == wanted, (
            "each was refused by the judge, for what is wrong with it"
        )


def quick(folder: Path, reasons: set[str]) -> dict[str, str]:
    """Short tones for all that is said, and messages of any length."""
    tone = str(tone_file(folder / "short.wav", 1000.0, 0.1))
    return {
        "HUSHWIRE_SOUNDS__REFUSALS": orjson.dumps(dict.fromkeys(reasons, tone)).decode(),
        "HUSHWIRE_SOUNDS__GREETINGS": orjson.dumps({"default": tone}).decode(),
        "HUSHWIRE_VOICEMAIL__LEAST_S": "0",
    }


async def left(world: World, callers: Sequence[str]) -> None:
    """These leave Anna a message each, all at once, and have hung up."""
    carrier, called = world.carrier, parse_sip_uri(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}")
    offers = {}
    for caller in callers:
        ear = Ear()
        local = local_media(ear.port, keys=False)
        body = build_offer(local, Srtp.NEVER)
        invite = carrier.endpoint.invite(hop=carrier.hop, uri=called, from_=parse_name_addr(caller), to=NameAddr(called), body=body)
        offers[invite] = ear, local, body
    dialogs = []
    while len(dialogs) < len(callers):
        event = await carrier.events.get()
        if isinstance(event, sip.Progress):
            continue
        assert isinstance(event, sip.Accepted), event
        ear, local, body = offers[event.invite]
        media = accept_answer(body, event.response.body, local)
        assert isinstance(media, LegMedia), media
        ear.agree(media)
        dialogs.append(event.dialog)
    speaking = [live for live in world.gateway.calling.live if live.route.mailbox is not None and not live.is_ended]
    assert len(speaking) == len(callers)
    for live in speaking:
        await records(live)
    for ear, _, _ in offers.values():
        await say(ear, 0.2)
    for dialog in dialogs:
        carrier.endpoint.bye(dialog)
    for _ in dialogs:
        assert (await carrier.expect(sip.Responded)).status == 200
    await until(lambda: not world.gateway.calling.table.calls, what="the messages are complete")


@asynccontextmanager
async def softphone(world: World) -> AsyncIterator[Party]:
    """Anna's phone."""
    async with await Party.start("anna", program=ATTACKER, transport="udp", speech=bundled(AGENT)) as party:
        await party.tell(
            "account", uri=f"sip:anna@{HOST}", proxy=f"sip:127.0.0.1:{world.port};transport=udp;lr", username="anna",
            password="annas-password", srtp="mandatory", registrar=f"sip:{HOST};transport=udp",
        )  # fmt: skip
        assert (await party.expect("registration"))["status"] == 200
        yield party


async def waiting(world: World, wanted: int) -> bool:
    anna = world.organisation.by_username["anna"].id
    counts = (await world.gateway.waiting.mailboxes.counts(world.organisation.id, [anna])).get(anna)
    return counts is not None and counts.new == wanted


async def opened_by_anna(world: World, kind: str) -> list[UUID]:
    """What was opened for the visit so far, in order: messages to be played (`recording`), and their calls, for who left them (`call`)."""
    rows = [row["object"].partition(":") for row in await world.rows("access_log", "at, id") if row["purpose"] == purposes.VOICEMAIL]
    return [UUID(name) for found, _, name in rows if found == kind]


async def until_read(world: World, kind: str, wanted: int) -> None:
    """The visit has come so far, and nothing to the carrier."""

    async def is_read() -> bool:
        assert world.carrier.events.empty(), f"one of the first {wanted} callers was called back"
        return len(await opened_by_anna(world, kind)) == wanted

    await until(is_read, what=f"the {kind} of message {wanted} is opened")


async def refused(world: World, wanted: int) -> bool:
    return sum(row["end_reason"] == "refused" for row in await world.rows("calls")) == wanted


async def calls_of_messages(house: House, world: World) -> list[CallView]:
    """By which calls the messages came, in the order in which they were played."""
    call_of = {row["id"]: row["call_id"] for row in await world.rows("recordings")}
    return await opened(house, world, [call_of[message] for message in await opened_by_anna(world, "recording")])


async def opened(house: House, world: World, calls: Sequence[UUID]) -> list[CallView]:
    queries = Queries(await house.main("worker"), await house.keyring("worker"), house.clock, Chance())
    found = await queries.calls_of(world.organisation.id, Why("api-key:redteam", "quality"), [CallId(call) for call in calls])
    return [found[CallId(call)] for call in calls]
