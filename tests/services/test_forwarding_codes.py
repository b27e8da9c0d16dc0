"""What agents set by dialling a code, and how their calls go then: forwarded, not disturbed, busy while they talk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.services.forwarding import Forwarding
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, Peer, World, need_program, running
from tests.services.test_diversion import MOBILE, answered, forward, rejected, told

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


def settings(world: World, user: str) -> Forwarding:
    return world.organisation.by_username[user].forwarding


async def confirmed(phone: Peer, code: str) -> None:
    """The code is dialled, the call is taken, and ended from our side."""
    phone.invite(code)
    accepted = await phone.expect(sip.Accepted)
    assert phone.answer_of(accepted.response).send_crypto is not None
    assert (await phone.expect(sip.DialogEnded)).dialog == accepted.dialog


async def test_forwarding_is_switched_on_and_off_by_code_and_confirmed_and_stands_in_the_audit_log(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    await confirmed(ben, "*72103")
    await until(lambda: settings(world, "ben").destinations() == {"always": "103"}, what="the gateway knows it")
    sue = await world.peer("sue")
    anna.invite("102")
    _, accepted = await answered(anna, sue, Srtp.REQUIRED)
    anna.endpoint.bye(accepted.dialog)
    await sue.expect(sip.DialogEnded)
    await confirmed(ben, "*73")
    await until(lambda: settings(world, "ben") == Forwarding(), what="the gateway knows it")
    assert [row["forwarding_sealed"] for row in await world.rows("agents") if row["forwarding_sealed"] is not None] == []
    events = [row for row in await world.rows("outbox", "seq") if row["kind"] == "agent.forwarding-changed"]
    assert len(events) == 2
    assert ben.events.empty(), "no phone of ben's was rung"


@pytest.mark.parametrize(("code", "status"), [("*72+33142685300", 403), ("*72112", 403), ("*72102", 403), ("*90sip", 484)])
async def test_where_calls_could_never_go_the_code_is_refused_and_nothing_is_set(world: World, code: str, status: int) -> None:
    ben = await world.peer("ben")
    ben.invite(code)
    assert await rejected(ben) == status
    assert settings(world, "ben") == Forwarding()


async def test_who_is_not_to_be_disturbed_is_not_rung_and_a_caller_hears_so(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    await confirmed(ben, "*78")
    await until(lambda: settings(world, "ben").do_not_disturb, what="the gateway knows it")
    anna.invite("102")
    event = await anna.expect(sip.Rejected)
    assert event.status == 480
    assert event.response is not None
    assert "Do not disturb" in (event.response.headers.get("Reason") or "")
    assert ben.events.empty()
    await confirmed(ben, "*79")
    await until(lambda: not settings(world, "ben").do_not_disturb, what="the gateway knows it")


async def test_without_call_waiting_a_second_caller_finds_the_agent_busy_until_it_hangs_up(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    await confirmed(ben, "*71")
    await until(lambda: not settings(world, "ben").call_waiting, what="the gateway knows it")
    anna.invite("102")
    dialog, _ = await answered(anna, ben, Srtp.REQUIRED)
    sue.invite("102")
    assert await rejected(sue) == 486
    assert ben.events.empty()
    await forward(world, "ben", call_waiting=False, busy=MOBILE)
    sue.invite("102")
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.request_uri.user == MOBILE  # type: ignore[union-attr]
    world.carrier.endpoint.respond(incoming.tx, 603)
    assert await rejected(sue) == 603
    ben.endpoint.bye(dialog)
    await ben.expect(sip.Responded)
    await anna.expect(sip.DialogEnded)
    sue.invite("102")
    _, accepted = await answered(sue, ben, Srtp.REQUIRED)
    sue.endpoint.bye(accepted.dialog)
    await ben.expect(sip.DialogEnded)


async def test_nobody_answers_in_the_time_that_was_set_and_the_call_goes_to_the_number_that_was_set(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "anna", no_answer="102", no_answer_after_s=1)
    ben = await world.peer("ben")
    world.carrier.user = MOBILE
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    ringing = await anna.expect(sip.RequestReceived)
    anna.endpoint.respond(ringing.tx, 180)
    incoming = await ben.expect(sip.RequestReceived)
    assert incoming.request.from_.sip_uri.user == MOBILE, "who diverts hides nothing of who calls"
    await anna.expect(sip.CancelReceived)
    ben.accept(incoming, srtp=Srtp.REQUIRED)
    await ben.expect(sip.AckReceived)
    assert [reason for _, reason, _ in told(await world.row("calls", state="active"))] == ["no-answer"]
