"""Calls through a whole gateway: real databases, the real media program, peers over loopback UDP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from hushwire.sdp.offer_answer import Answered, Direction, Refusal, Srtp, answer_offer, build_offer
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.uri import NameAddr, SipUri
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, HOST, Peer, World, facts, local_media, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def test_an_agents_call_reaches_the_trunk_with_the_judged_number_and_ends_with_rows(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite("03023125999")
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


async def connected(world: World) -> tuple[Peer, sip.Accepted, DialogKey]:
    """Anna in a call with the carrier, recorded."""
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    dialog, _ = world.carrier.accept(incoming)
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    await world.row("recordings", state="live")
    await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
    return anna, accepted, dialog


async def test_an_extension_rings_the_colleague_on_both_sides_protected(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    anna.invite("102")
    incoming = await ben.expect(sip.RequestReceived)
    assert incoming.request.from_.sip_uri.user == "101"
    ben.accept(incoming, srtp=Srtp.REQUIRED)
    accepted = await anna.expect(sip.Accepted)
    await ben.expect(sip.AckReceived)
    row = await world.row("calls", state="active", direction="internal")
    assert row["peer_agent_id"] is not None
    assert (facts(row, "agent_leg")["media"], facts(row, "peer_leg")["media"]) == ("srtp", "srtp")
    anna.endpoint.bye(accepted.dialog)
    await ben.expect(sip.DialogEnded)
    recording = await world.row("recordings", state="closed")
    assert recording["peer_agent_id"] == row["peer_agent_id"]


async def test_a_device_registered_from_the_carriers_address_is_never_rung(world: World) -> None:
    assert await world.carrier.register("ben") == 200
    anna = await world.peer("anna")
    anna.invite("102")
    assert (await anna.expect(sip.Rejected)).status == 480
    assert world.carrier.events.empty()


async def test_an_emergency_services_urn_reaches_the_trunk_as_its_number(world: World) -> None:
    anna = await world.peer("anna")
    anna.endpoint.invite(
        hop=anna.hop, uri="urn:service:sos", from_=NameAddr(SipUri(HOST, "anna")), to=NameAddr(SipUri(HOST, "sos")),
        body=build_offer(local_media(), Srtp.REQUIRED), credentials=anna.credentials,
    )  # fmt: skip
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith("sip:112@")


@pytest.mark.parametrize("begin", ["reinvite", "update"])
async def test_hold_and_resume_pass_through_from_either_side(world: World, begin: str) -> None:
    anna, accepted, _ = await connected(world)
    assert anna.local is not None
    for direction, seen in ((Direction.SENDONLY, Direction.RECVONLY), (Direction.SENDRECV, Direction.SENDRECV)):
        anna.local = replace(anna.local, version=anna.local.version + 1)
        anna.offer = build_offer(anna.local, Srtp.REQUIRED, direction=direction)
        assert getattr(anna.endpoint, begin)(accepted.dialog, body=anna.offer) is not None
        held = await world.carrier.expect(sip.InDialogRequest)
        outcome = answer_offer(held.request.body, local_media(41000, keys=False), Srtp.NEVER)
        assert not isinstance(outcome, Refusal)
        assert outcome.media.direction is seen
        world.carrier.endpoint.respond(held.tx, 200, body=outcome.body)
        answered = await anna.expect(sip.Responded)
        assert answered.status == 200
        assert anna.answer_of(answered.response).direction is direction
        await world.carrier.expect(sip.AckReceived)
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended")


async def test_a_cancelled_call_is_cancelled_at_the_trunk(world: World) -> None:
    anna = await world.peer("anna")
    invite = anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 180)
    await anna.expect(sip.Progress)
    anna.endpoint.cancel(invite)
    assert (await world.carrier.expect(sip.CancelReceived)).tx == incoming.tx
    assert (await anna.expect(sip.Rejected)).status == 487
    await world.row("calls", state="ended", end_reason="cancelled", sip_status=487)
    assert await world.rows("recordings") == []


@pytest.mark.parametrize(
    ("status", "seen", "reason", "state"),
    [(486, 486, "busy", "ended"), (603, 603, "declined", "ended"), (404, 404, "not-found", "ended"), (503, 503, "trunk-failed", "failed")],
)
async def test_a_refusal_of_the_far_side_reaches_the_agent_and_the_row(
    world: World, status: int, seen: int, reason: str, state: str
) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, status)
    assert (await anna.expect(sip.Rejected)).status == seen
    await world.row("calls", state=state, end_reason=reason, sip_status=seen)


async def test_an_offer_without_protection_is_refused_with_488_where_the_organisation_requires_it(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER, srtp=Srtp.NEVER)
    assert (await anna.expect(sip.Rejected)).status == 488
    await world.row("calls", state="ended", end_reason="no-common-media")
    assert world.carrier.events.empty()


async def test_an_invite_without_an_offer_is_answered_with_ours_and_the_ack_brings_the_answer(world: World) -> None:
    anna = await world.peer("anna")
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", body=b"")
    incoming = await anna.expect(sip.RequestReceived)
    anna.accept(incoming, srtp=Srtp.REQUIRED)
    accepted = await world.carrier.expect(sip.Accepted)
    outcome = answer_offer(accepted.response.body, local_media(41000, keys=False), Srtp.NEVER)
    assert not isinstance(outcome, Refusal)
    world.carrier.endpoint.ack(accepted.dialog, body=outcome.body)
    row = await world.row("calls", state="active")
    assert facts(row, "peer_leg")["codec"] is not None
    world.carrier.endpoint.bye(accepted.dialog)
    await anna.expect(sip.AckReceived)
    await anna.expect(sip.DialogEnded)


async def test_without_credentials_nothing_but_a_challenge_is_given(world: World) -> None:
    stranger = await world.peer()
    stranger.invite(FAR_NUMBER)
    rejected = await stranger.expect(sip.Rejected)
    assert rejected.status == 401
    assert await world.rows("calls") == []


async def test_a_changed_allowlist_is_obeyed_within_a_second(world: World) -> None:
    anna = await world.peer("anna")
    async with world.owner.organisation((await world.rows("orgs"))[0]["id"]) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = '{GB}'")
    await asyncio.sleep(0.5)
    anna.invite(FAR_NUMBER)
    assert (await anna.expect(sip.Rejected)).status == 403


async def test_the_media_program_dying_ends_calls_by_bye_within_a_second_and_new_ones_work_after_its_restart(world: World) -> None:
    anna, _, _ = await connected(world)
    started = asyncio.get_running_loop().time()
    await world.media.kill()
    ended = await anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    assert asyncio.get_running_loop().time() - started < 1.0
    assert "media-lost" in (ended.request.headers.get("Reason") or "")
    await world.row("calls", state="ended", end_reason="media-lost")
    await world.row("recordings", state="crashed")
    await world.media.start()
    await until(lambda: world.gateway.link.is_up)
    anna.invite("echo")
    await anna.expect(sip.Accepted)


async def test_a_restarted_gateway_ends_what_the_killed_one_left(world: World) -> None:
    await connected(world)
    await world.abandon()
    assert (await world.row("calls", state="active"))["ended_at"] is None
    await world.restart()
    await world.row("calls", state="ended", end_reason="orphaned")
    recording = await world.row("recordings", state="closed")
    assert recording["digest"] is not None
    assert await world.gateway.link.client.ping() is None
    assert [entry async for entry in world.gateway.link.client.bridges()] == []


async def test_a_gateway_that_is_asked_to_end_says_bye_on_both_sides_and_writes_the_rows_first(world: World) -> None:
    anna, _, _ = await connected(world)
    started = asyncio.get_running_loop().time()
    world.wired.stop.set()
    await world.task
    assert asyncio.get_running_loop().time() - started < 2.5
    await anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="shutdown")
    await world.row("recordings", state="closed")


async def command(world: World, action: str) -> str:
    """Give the gateway a command as the API does; its outcome."""
    (call,) = await world.rows("calls")
    command_id = uuid4()
    async with world.owner.organisation(call["org_id"]) as connection:
        await connection.execute(
            "INSERT INTO node_commands (id, org_id, node_id, call_id, action, created_at) VALUES ($1, $2, $3, $4, $5, now())",
            command_id, call["org_id"], call["node_id"], call["id"], action,
        )  # fmt: skip

    async def outcome() -> str | None:
        found = [row["outcome"] for row in await world.rows("node_commands") if row["id"] == command_id]
        return found[0] if found else None

    result = await until(outcome)
    assert result is not None
    return result


async def test_commands_pause_resume_stop_start_and_wipe_the_recording_and_hang_up(world: World) -> None:
    anna, _, _ = await connected(world)
    for action in ("recording.pause", "recording.resume", "recording.stop"):
        assert await command(world, action) == "ok"
    await world.row("recordings", state="closed")
    assert await command(world, "recording.pause") != "ok"
    assert await command(world, "recording.start") == "ok"
    assert sorted(row["state"] for row in await world.rows("recordings")) == ["closed", "live"]
    assert await command(world, "recording.wipe") == "ok"
    assert [row["state"] for row in await world.rows("recordings")] == ["closed", "closed"]
    assert await command(world, "hangup") == "ok"
    await anna.ends()
    await world.carrier.ends()
    await world.row("calls", state="ended", end_reason="hangup")


async def test_a_suspended_colleague_cannot_be_reached_and_cannot_call(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    async with world.owner.organisation((await world.rows("orgs"))[0]["id"]) as connection:
        await connection.execute("UPDATE agents SET suspended = true WHERE caller_id_sealed IS NULL")
    await until(lambda: any(agent.is_suspended for agent in world.organisation.by_id.values()))
    anna.invite("102")
    assert (await anna.expect(sip.Rejected)).status == 480
    ben.invite("101")
    assert (await ben.expect(sip.Rejected)).status in (401, 403)
    assert ben.events.empty()


async def test_carriers_reach_assigned_numbers_only(world: World) -> None:
    world.carrier.invite(f"sip:+493023125777@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    assert (await world.carrier.expect(sip.Rejected)).status == 404
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    assert (await world.carrier.expect(sip.Rejected)).status == 480
    await world.row("calls", direction="inbound", state="ended", end_reason="unavailable")


async def test_a_device_that_is_gone_does_not_keep_the_others_from_ringing(world: World) -> None:
    gone, here = await world.peer("anna"), await world.peer("anna")
    await gone.endpoint.close()
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    here.accept(await here.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
    accepted = await world.carrier.expect(sip.Accepted)
    world.carrier.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-peer")


async def test_a_carrier_that_requires_reliable_ringing_gets_it_and_is_answered(world: World) -> None:
    anna = await world.peer("anna")
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, headers=[("Require", "100rel")])
    incoming = await anna.expect(sip.RequestReceived)
    anna.endpoint.respond(incoming.tx, 180)
    ringing = await world.carrier.expect(sip.Progress)
    assert "100rel" in ringing.response.require
    assert "RSeq" in ringing.response.headers
    anna.accept(incoming, srtp=Srtp.REQUIRED)
    accepted = await world.carrier.expect(sip.Accepted)
    # The session is kept alive by who called, if it can.
    assert "timer" in accepted.response.require
    world.carrier.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-peer")


async def test_of_two_sides_that_re_invite_at_once_one_is_told_and_the_others_offer_is_made_again(world: World) -> None:
    anna, accepted, dialog = await connected(world)
    assert anna.local is not None
    anna.offer = build_offer(replace(anna.local, version=2), Srtp.REQUIRED, direction=Direction.SENDONLY)
    anna.endpoint.reinvite(accepted.dialog, body=anna.offer)
    theirs = build_offer(local_media(41000, keys=False, version=2), Srtp.NEVER, direction=Direction.SENDONLY)
    world.carrier.endpoint.reinvite(dialog, body=theirs)
    statuses: list[int] = []

    async def goes_on(peer: Peer, srtp: Srtp) -> None:
        while True:
            event = await peer.events.get()
            if isinstance(event, sip.Responded):
                statuses.append(event.status)
            elif isinstance(event, sip.InDialogRequest):
                answer = answer_offer(event.request.body, local_media(42000, keys=srtp is not Srtp.NEVER, version=3), srtp)
                assert isinstance(answer, Answered)
                peer.endpoint.respond(event.tx, 200, body=answer.body)

    sides = [asyncio.create_task(goes_on(anna, Srtp.REQUIRED)), asyncio.create_task(goes_on(world.carrier, Srtp.NEVER))]
    await until(lambda: len(statuses) == 2 or any(side.done() for side in sides), timeout_s=15, what="both have their answers")
    for side in sides:
        side.cancel()
    await asyncio.gather(*sides, return_exceptions=True)
    assert sorted(statuses) == [200, 491]
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-agent")
