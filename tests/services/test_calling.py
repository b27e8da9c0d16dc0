"""Calls through a whole gateway: real databases, the real media program, peers over loopback UDP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, World, facts, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def test_an_agents_call_reaches_the_trunk_with_the_judged_number_and_ends_with_rows(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite("030 23125 999".replace(" ", ""))
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri == f"sip:{FAR_NUMBER}@127.0.0.1:{world.carrier.local_port};transport=udp"
    assert incoming.request.from_.sip_uri.user == ANNA_NUMBER
    world.carrier.endpoint.respond(incoming.tx, 180)
    progress = await anna.expect(sip.Progress)
    assert progress.response.status == 180
    dialog, _ = world.carrier.accept(incoming)
    accepted = await anna.expect(sip.Accepted)
    assert anna.answer_of(accepted.response).send_crypto is not None
    await world.carrier.expect(sip.AckReceived)
    recording = await world.row("recordings", state="live")
    row = await world.row("calls", state="active", recording_id=recording["id"])
    assert facts(row, "agent_leg")["media"] == "srtp"
    assert facts(row, "peer_leg")["media"] == "rtp"
    anna.endpoint.bye(accepted.dialog)
    ended = await world.carrier.expect(sip.DialogEnded)
    assert ended.dialog == dialog
    row = await world.row("calls", state="ended", end_reason="bye-agent")
    assert row["direction"] == "outbound"
    assert row["verdict"] == "allow"
    assert row["country"] == "DE"
    assert row["sealed_with"] == row["id"]
    recording = await world.row("recordings", state="closed")
    assert recording["call_id"] == row["id"]
    assert recording["digest"] is not None
    assert (world.folder / "spool" / recording["spool_name"]).exists()


async def test_a_destination_off_the_list_is_refused_before_the_trunk_hears_of_it(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite("+33142685300")
    rejected = await anna.expect(sip.Rejected)
    assert rejected.status == 403
    assert rejected.response is not None
    assert "SIP;cause=403" in (rejected.response.headers.get("Reason") or "")
    row = await world.row("calls", state="refused")
    assert (row["verdict"], row["verdict_reason"], row["country"]) == ("deny", "country", "FR")
    assert row["remote_sealed"] is not None
    assert world.carrier.events.empty()


async def test_an_inbound_call_rings_every_device_and_the_first_answer_wins(world: World) -> None:
    one, two = await world.peer("anna"), await world.peer("anna")
    world.carrier.user = "+493023125999"
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    ringing = [await one.expect(sip.RequestReceived), await two.expect(sip.RequestReceived)]
    one.endpoint.respond(ringing[0].tx, 180)
    assert (await world.carrier.expect(sip.Progress)).response.status == 180
    two.accept(ringing[1], srtp=Srtp.REQUIRED)
    accepted = await world.carrier.expect(sip.Accepted)
    assert world.carrier.answer_of(accepted.response).send_crypto is None
    await one.expect(sip.CancelReceived)
    await two.expect(sip.AckReceived)
    world.carrier.endpoint.bye(accepted.dialog)
    await two.expect(sip.DialogEnded)
    row = await world.row("calls", state="ended", end_reason="bye-peer")
    assert row["direction"] == "inbound"


async def test_the_echo_number_answers_a_registered_agent(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite("echo")
    accepted = await anna.expect(sip.Accepted)
    anna.answer_of(accepted.response)
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended", direction="echo", end_reason="bye-agent")
