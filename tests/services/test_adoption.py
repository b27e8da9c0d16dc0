"""A gateway dies without a word; the next one on the same machine goes on with its calls."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from hushwire.app.gateway import Gateway
from hushwire.calls.model import JoinedAs, Side
from hushwire.sdp.offer_answer import Answered, Direction, Srtp, answer_offer, build_offer
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.flow import Transport
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.vault.journal import NAME
from tests.databases import Databases, databases
from tests.native.call import Party, parse, rtp
from tests.native.srtp_oracle import oracle
from tests.polling import until
from tests.ports import free_port
from tests.services.running import FAR_NUMBER, HOST, Peer, World, local_media, need_program, running

__all__ = ["databases"]
pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, environ={"HUSHWIRE_SIP__LISTEN": f'["udp://127.0.0.1:{free_port()}"]'}) as made:
        yield made


async def killed_and_back(world: World) -> Gateway:
    """The gateway is gone as after kill -9, and another one is there."""
    listen = f'["udp://127.0.0.1:{world.port}"]'
    await world.kill()
    await world.restart(HUSHWIRE_SIP__LISTEN=listen)
    return world.gateway


async def test_whom_a_call_rang_as_its_gateway_died_is_rung_no_more(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    for number, callee in ((f"sip:102@{HOST}", ben), (FAR_NUMBER, world.carrier)):
        anna.invite(number)
        rung = await callee.expect(sip.RequestReceived)
        callee.endpoint.respond(rung.tx, 180)
        await anna.expect(sip.Progress)
        await killed_and_back(world)
        assert (await anna.expect(sip.Rejected)).status == 503
        assert (await callee.expect(sip.CancelReceived)).tx == rung.tx
        assert callee.endpoint.unanswered(rung.tx) is None
    assert not [live for live in world.gateway.calling.live if not live.is_ended]


class Talking:
    """A recorded call of an agent, SRTP, with a carrier, RTP: both have real sockets for sound."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.agent_sound, self.carrier_sound = Party(), Party()
        self.agent_sound.is_muxed = self.carrier_sound.is_muxed = True  # reports come between the sound
        self.sent = 0

    async def begin(self) -> "Talking":
        world = self.world
        self.anna = await world.peer("anna")
        local = local_media(self.agent_sound.port)
        self.anna.invite(FAR_NUMBER, local=local)
        incoming = await world.carrier.expect(sip.RequestReceived)
        self.carrier_dialog, self.carrier_media = world.carrier.accept(incoming, local=local_media(self.carrier_sound.port, keys=False))
        accepted = await self.anna.expect(sip.Accepted)
        await world.carrier.expect(sip.AckReceived)
        self.agent_dialog, self.agent_media = accepted.dialog, self.anna.answer_of(accepted.response)
        self.agent_sound.to = ("127.0.0.1", self.agent_media.port)
        self.carrier_sound.to = ("127.0.0.1", self.carrier_media.port)
        crypto, theirs = self.agent_media.send_crypto, self.agent_media.recv_crypto
        assert crypto is not None
        assert theirs is not None
        self.tx = oracle(crypto.suite.value, crypto.key, is_sender=True)
        self.rx = oracle(theirs.suite.value, theirs.key, is_sender=False)
        await world.row("recordings", state="live")
        await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
        return self

    def is_heard(self) -> None:
        """Each party hears the other."""
        self.sent += 1
        word = b"%04d" % self.sent
        self.agent_sound.send(self.tx.protect(rtp(self.sent, 160 * self.sent, 1, word, 0)))
        assert parse(self.carrier_sound.receive()).payload == word
        self.carrier_sound.send(rtp(self.sent, 160 * self.sent, 2, word, 0))
        assert parse(self.rx.unprotect(self.agent_sound.receive())).payload == word

    def close(self) -> None:
        self.agent_sound.close()
        self.carrier_sound.close()


@pytest.fixture
async def talking(world: World) -> AsyncIterator[Talking]:
    made = Talking(world)
    try:
        yield await made.begin()
    finally:
        made.close()


def answered_again(peer: Peer, event: sip.InDialogRequest, port: int, *, keys: bool) -> None:
    outcome = answer_offer(event.request.body, local_media(port, keys=keys, version=9), peer_srtp(keys))
    assert isinstance(outcome, Answered)
    peer.endpoint.respond(event.tx, 200, body=outcome.body)


def peer_srtp(keys: bool) -> Srtp:
    return Srtp.REQUIRED if keys else Srtp.NEVER


async def hold(world: World, peer: Peer, dialog: DialogKey, other: Peer, *, has_keys: bool, port: int, direction: Direction) -> None:
    """`peer` holds or resumes; the other party is told and agrees."""
    assert peer.local is not None or not has_keys
    local = peer.local if peer.local is not None else local_media(port, keys=False, version=5)
    peer.endpoint.reinvite(dialog, body=build_offer(local, peer_srtp(has_keys), direction=direction))
    event = await other.expect(sip.InDialogRequest)
    assert f"a={direction.value}".encode() in event.request.body
    answered_again(other, event, 41000, keys=not has_keys)
    done = await peer.expect(sip.Responded)
    assert done.status == 200
    await other.expect(sip.AckReceived)


async def test_both_still_hear_each_other_and_the_recording_has_every_packet(world: World, talking: Talking) -> None:
    talking.is_heard()
    before = (await world.row("recordings"))["id"]
    await killed_and_back(world)
    talking.is_heard()
    (live,) = world.gateway.calling.live
    assert live.recording is not None
    assert live.recording.id == before
    assert live.has_bridge
    talking.anna.endpoint.bye(talking.agent_dialog)
    await world.carrier.expect(sip.DialogEnded)
    row = await world.row("calls", state="ended", end_reason="bye-agent")
    assert row["duration_ms"] > 0
    recording = await world.row("recordings", state="closed")
    assert recording["id"] == before
    assert recording["digest"] is not None


@pytest.mark.parametrize("side", list(Side))
async def test_each_party_can_end_the_call_afterwards(world: World, talking: Talking, side: Side) -> None:
    await killed_and_back(world)
    if side is Side.CALLER:
        talking.anna.endpoint.bye(talking.agent_dialog)
        await world.carrier.expect(sip.DialogEnded)
    else:
        world.carrier.endpoint.bye(talking.carrier_dialog)
        await talking.anna.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="bye-agent" if side is Side.CALLER else "bye-peer")


async def test_we_can_end_it_afterwards_with_bye_to_both(world: World, talking: Talking) -> None:
    gateway = await killed_and_back(world)
    (live,) = gateway.calling.live
    gateway.calling.hang_up(live)
    await talking.anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="hangup")


async def test_hold_and_resume_work_afterwards_with_the_keys_of_before(world: World, talking: Talking) -> None:
    await killed_and_back(world)
    for direction in (Direction.SENDONLY, Direction.SENDRECV):
        await hold(world, talking.anna, talking.agent_dialog, world.carrier, has_keys=True, port=0, direction=direction)
    await killed_and_back(world)
    talking.anna.endpoint.bye(talking.agent_dialog)
    await world.carrier.expect(sip.DialogEnded)


async def test_a_hold_that_was_under_way_is_carried_out_by_the_next_process(world: World, talking: Talking) -> None:
    anna = talking.anna
    assert anna.local is not None
    anna.endpoint.reinvite(talking.agent_dialog, body=build_offer(anna.local, peer_srtp(True), direction=Direction.SENDONLY))
    lost = await world.carrier.expect(sip.InDialogRequest)
    await killed_and_back(world)
    # The carrier is still busy with what the dead process asked of it: the hold is granted all the same, on our side of it.
    done = await anna.expect(sip.Responded, timeout_s=40)
    assert done.status == 200
    assert b"a=recvonly" in (b"" if done.response is None else done.response.body)
    answered_again(world.carrier, lost, talking.carrier_sound.port, keys=False)
    talking.anna.endpoint.bye(talking.agent_dialog)
    async with asyncio.timeout(10):
        while not isinstance(await world.carrier.events.get(), sip.DialogEnded):
            pass


async def test_a_call_that_was_ringing_is_refused_and_has_its_row(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 180)
    await anna.expect(sip.Progress)
    await killed_and_back(world)
    rejected = await anna.expect(sip.Rejected, timeout_s=10)
    assert rejected.status == 503
    row = await world.row("calls", end_reason="orphaned")
    assert row["ended_at"] is not None

    async def is_bare() -> bool:
        return [entry async for entry in world.gateway.link.client.bridges()] == []

    await until(is_bare, what="its bridge is ended")


async def test_a_call_whose_bridge_is_gone_too_ends_for_both(world: World, talking: Talking) -> None:
    listen = f'["udp://127.0.0.1:{world.port}"]'
    await world.kill()
    await world.media.kill()
    await world.media.start()
    await world.restart(HUSHWIRE_SIP__LISTEN=listen)
    await talking.anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="media-lost")


async def test_the_journal_is_sealed_and_forgets_calls_that_are_over(world: World, talking: Talking) -> None:
    path = world.wired.folders.journal / NAME
    data = path.read_bytes()
    assert FAR_NUMBER.encode() not in data
    assert b"anna" not in data
    talking.anna.endpoint.bye(talking.agent_dialog)
    await world.row("calls", state="ended")
    await until(lambda: not list(world.gateway.calling.live))
    gateway = await killed_and_back(world)
    assert list(gateway.calling.live) == []
    assert len(await world.rows("calls")) == 1
    assert gateway.endpoint.addresses[Transport.UDP].port == world.port


async def test_a_supervisor_is_taken_out_of_a_call_that_goes_on_and_neither_hears_nor_is_heard(world: World, talking: Talking) -> None:
    sue = await world.peer("sue")
    (live,) = world.gateway.calling.live
    sue_id = world.organisation.by_username["sue"].id
    supervision = world.gateway.calling.supervision
    assert await supervision.supervise(live, JoinedAs.BARGE, sue_id, actor="api-key:test", purpose="training") == "ok"
    incoming = await sue.expect(sip.RequestReceived)
    sue.accept(incoming, srtp=Srtp.REQUIRED)
    await sue.expect(sip.AckReceived)
    await until(lambda: live.recorded == {0, 1, 2}, what="the supervisor is in the call")
    await killed_and_back(world)
    await sue.expect(sip.DialogEnded)

    async def alone() -> bool:
        return [leg.leg for leg in (await world.gateway.link.client.bridge(live.id)).legs] == [0, 1]

    await until(alone, what="the supervisor's leg is closed")
    talking.is_heard()  # packet by packet as they are: nobody is mixed any more
    talking.anna.endpoint.bye(talking.agent_dialog)
    await world.carrier.expect(sip.DialogEnded)

    async def written() -> bool:
        rows = {row["direction"]: row["end_reason"] for row in await world.rows("calls") if row["state"] == "ended"}
        return rows == {"outbound": "bye-agent", "supervision": "orphaned"}

    await until(written, what="both rows are closed")


async def test_members_of_a_conference_are_told_that_it_is_over(world: World) -> None:
    phones = [await world.peer(name) for name in ("anna", "ben")]
    for phone in phones:
        phone.invite("*8812")
        await phone.expect(sip.Accepted)
    await until(lambda: len(world.gateway.calling.table.calls) == 3, what="room and members are there")
    await world.rows("calls")
    await killed_and_back(world)
    for phone in phones:
        await phone.expect(sip.DialogEnded)

    async def over() -> bool:
        rows = await world.rows("calls")
        return (
            len(rows) == 3 and all(row["state"] == "ended" for row in rows) and not [b async for b in world.gateway.link.client.bridges()]
        )

    await until(over, what="rows and bridge are closed")


@pytest.mark.parametrize("gives_up", [False, True])
async def test_an_answer_that_was_written_and_never_left_reaches_its_caller_afterwards(world: World, gives_up: bool) -> None:
    anna = await world.peer("anna")
    call = anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 180)
    await anna.expect(sip.Progress)
    world.gateway.endpoint._send = lambda _send: None  # type: ignore[method-assign, assignment]
    world.carrier.accept(incoming)
    await until(lambda: [live.answered for live in world.gateway.calling.live if live.answered], what="it is answered in the journal")
    if gives_up:
        anna.endpoint.cancel(call)
    await killed_and_back(world)
    if gives_up:
        assert (await anna.expect(sip.Rejected)).status == 487
        async with asyncio.timeout(30):
            while not isinstance(await world.carrier.events.get(), sip.DialogEnded):  # the ACK may come before, or not at all
                pass
        await world.row("calls", state="ended", end_reason="bye-agent")
        return
    accepted = await anna.expect(sip.Accepted)
    anna.answer_of(accepted.response)
    await world.carrier.expect(sip.AckReceived)
    await until(lambda: not world.gateway.endpoint.ua._server._unacked, what="its ACK")
    anna.endpoint.bye(accepted.dialog)
    await world.carrier.expect(sip.DialogEnded)


async def test_a_phone_that_registers_while_the_gateway_begins_is_answered_once_it_may_be_and_a_call_goes_elsewhere(world: World) -> None:
    ben, other = await Peer.open(world.port), await Peer.open(world.port)
    world.peers += [ben, other]
    await world.kill()
    administrator = await asyncpg.connect(world.databases.dsn("main", "administrator"))
    try:
        await administrator.execute("BEGIN; LOCK TABLE orgs IN ACCESS EXCLUSIVE MODE")
        back = asyncio.create_task(world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{world.port}"]'))
        assert await asks(other) == 503, "it is there, and knows nobody yet"
        registering = asyncio.create_task(ben.register("ben"))
        assert await asks(other) == 503, "read after the REGISTER"
        assert not registering.done()
        await administrator.execute("ROLLBACK")
        await back
    finally:
        await administrator.close()
    assert await registering == 200


async def asks(peer: Peer) -> int:
    """What an OPTIONS is answered."""
    there = NameAddr(SipUri(HOST))
    peer.endpoint.send("OPTIONS", hop=peer.hop, uri=SipUri(HOST), from_=there, to=there)
    return (await peer.expect(sip.Responded)).status
