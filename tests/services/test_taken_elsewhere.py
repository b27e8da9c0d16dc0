"""Calls that one gateway holds are taken by phones of another: parked ones, ringing ones, and those that a name leads to."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.app.gateway import Gateway
from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.core.ids import CallId
from hushwire.services.live import LiveCall
from hushwire.services.pickup_names import pickup_name
from hushwire.services.shared_counts import Counted
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.flow import Target, Transport
from hushwire.sip.forward import Pass, route_to
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, NODE, Peer, Srtp, World, need_program, running
from tests.services.test_takeovers import named
from tests.services.test_transfers import Heard, accept, refer, settled, to_carrier
from tests.services.test_two_gateways import OTHER, another, known, port

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def acquainted(world: World, other: Gateway) -> None:
    both = lambda: other.neighbours.hop(world.wired.node_id) and world.gateway.neighbours.hop(OTHER)  # noqa: E731
    await until(both, timeout_s=20, what="the gateways know each other")


async def phone_of(world: World, gateway: Gateway, user: str) -> Peer:
    phone = await Peer.open(port(gateway))
    world.peers.append(phone)
    assert await phone.register(user) == 200
    return phone


@asynccontextmanager
async def beside(world: World, folder: Path, **environ: str) -> AsyncIterator[tuple[Gateway, Peer]]:
    """A second gateway that knows the first and is known to it, and ben's phone, registered there."""
    async with another(world.databases, folder, **environ) as other:
        await acquainted(world, other)
        yield other, await phone_of(world, other, "ben")


async def parked(world: World, phone: Peer, slot: str = "*68") -> tuple[LiveCall, DialogKey, int | None]:
    """A call of the phone's, parked: ours, the carrier's dialog, and what the phone was told."""
    live, near, far = await to_carrier(world, phone)
    refer(phone, near, slot)
    told = Heard(phone)
    await told.until(lambda heard: heard.is_over and heard.ended, "the phone is out of the call")
    await told.stop()
    await until(lambda: live.call.state is State.WAITING, what="the carrier's party waits")
    return live, far, told.statuses[-1]


async def slots(world: World) -> Mapping[str, UUID]:
    return {row["slot"]: row["node_id"] for row in await world.rows("parked_calls", "slot")}


async def refused(phone: Peer) -> int:
    return (await phone.expect(sip.Rejected)).status


async def test_a_call_that_is_parked_on_one_gateway_is_taken_on_another_and_ended_from_either(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        for is_ended_by_carrier in (False, True):
            live, far, _ = await parked(world, anna)
            assert await slots(world) == {"1": NODE}
            ben.invite("*692")
            assert await refused(ben) == 404
            ben.invite("*691")
            dialog = (await ben.expect(sip.Accepted)).dialog
            heard = Heard(ben)
            await until(lambda live=live: live.call.state is State.ACTIVE, timeout_s=10, what="they talk")
            await settled(live)
            assert not list(b.calling.live), "the gateway in between keeps nothing of the call"
            if is_ended_by_carrier:
                # Whatever connections there were between the gateways: BYE goes to where the other one listens.
                for connection in list(world.gateway.endpoint._connections.values()):
                    connection.abort()
                world.carrier.endpoint.bye(far)
                await heard.until(lambda phone: phone.ended, "the phone is told the end")
                await world.carrier.expect(sip.Responded)
            else:
                ben.endpoint.bye(dialog)
                assert (await world.carrier.expect(sip.DialogEnded)).dialog == far
                await heard.until(lambda phone: phone.answers, "BYE is answered")
            await until(no_slot_of(world), what="the slot is free again")
            await heard.stop()


async def test_slots_are_the_organisations_and_who_gives_up_leaves_the_call_in_its_slot(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b", HUSHWIRE_SIP__LISTEN='["udp://127.0.0.1:0"]') as (b, ben):
        live, *_ = await parked(world, anna)
        # CANCEL follows its INVITE to the gateway that has the call, which has not answered yet.
        held = world.gateway.calling._takeovers._come
        waiting: list[sip.TxId] = []
        world.gateway.calling._takeovers._come = lambda tx, *_: waiting.append(tx)  # type: ignore[method-assign,assignment,misc]
        invite = ben.invite("*691")
        await until(lambda: waiting, what="the other gateway has it")
        world.gateway.endpoint.respond(waiting[0], 180)
        await ben.expect(sip.Progress)
        ben.endpoint.cancel(invite)
        assert await refused(ben) == 487
        world.gateway.calling._takeovers._come = held  # type: ignore[method-assign]
        assert live.call.state is State.WAITING
        # The next free slot is that of all gateways, and the one that is taken is nobody else's.
        sue = await phone_of(world, b, "sue")
        ben.invite("103")
        dialog, _ = sue.accept(await sue.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
        near = (await ben.expect(sip.Accepted)).dialog
        await sue.expect(sip.AckReceived)
        assert await b.elsewhere.claim(world.organisation.id, CallId(uuid4()), "1", lambda _: True) is None
        refer(ben, near, "*68")
        heard = Heard(ben)
        await heard.until(lambda phone: phone.is_over and phone.ended, "ben is told a slot, and out of the call")
        assert await slots(world) == {"1": NODE, "2": OTHER}
        assert sue.endpoint.ua.dialog(dialog) is not None


def no_slot_of(world: World) -> Callable[[], Awaitable[bool]]:
    async def is_free() -> bool:
        return not await slots(world)

    return is_free


async def test_a_slot_whose_gateway_is_not_heard_of_any_more_is_anybodys(world: World, tmp_path: Path) -> None:
    org, dead = world.organisation.id, uuid4()
    administrator = await asyncpg.connect(world.databases.dsn("main", "administrator"))
    for node, age, slot in ((dead, timedelta(seconds=100), "1"), (OTHER, timedelta(seconds=30), "2")):
        await administrator.execute("INSERT INTO nodes (id, started_at, seen_at) VALUES ($1, now(), now() - $2::interval)", node, age)
        await administrator.execute("INSERT INTO parked_calls VALUES ($1, $2, $3, $4, now())", org, slot, node, uuid4())
    # What this node's process of before left is its own to free.
    await administrator.execute("INSERT INTO parked_calls VALUES ($1, '7', $2, $3, now())", org, NODE, uuid4())
    await administrator.close()
    anna = await world.peer("anna")
    live, *_ = await parked(world, anna)
    assert world.gateway.calling.transfers.park.find(org, "1") is live
    await world.gateway.elsewhere.tidy(world.gateway.calling.transfers.park.held)

    async def tidied() -> bool:
        return await slots(world) == {"1": NODE, "2": OTHER}

    await until(tidied, what="only what is held has a slot")


async def test_a_restarted_gateway_keeps_its_parked_call_in_its_slot_and_others_take_it_there(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        live, *_ = await parked(world, anna)
        before, address = live.id, world.port
        await world.kill()
        await world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{address}", "tcp://127.0.0.1:0"]')
        ports = {address.port for address in world.gateway.endpoint.addresses.values()}
        await until(lambda: (hop := b.neighbours.hop(NODE)) is not None and hop.port in ports, timeout_s=20, what="b knows the new process")
        assert await slots(world) == {"1": NODE}
        ben.invite("*691")
        await ben.expect(sip.Accepted)
        heard = Heard(ben)
        adopted = world.gateway.calling.find(before)
        assert adopted is not None
        await until(lambda: adopted.call.state is State.ACTIVE, timeout_s=10, what="they talk")
        await heard.stop()


async def test_a_call_that_rings_on_one_gateway_is_picked_up_on_another_by_code_or_by_the_name_that_its_lamp_shows(
    world: World, tmp_path: Path
) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        ben.invite("**101")
        assert await refused(ben) == 404
        for by_code in (True, False):
            world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
            incoming = await anna.expect(sip.RequestReceived)
            anna.endpoint.respond(incoming.tx, 180)
            (live,) = (live for live in world.gateway.calling.live if not live.is_ended)
            await until(ringing(world, live.id), what="others know that it rings")
            if by_code:
                ben.invite("**101")
            else:
                name = pickup_name(live.id, b.neighbours.tag)
                for wrong in (name._replace(local_tag="0" * 16), DialogKey("nothing", "a", "b")):
                    ben.invite("101", headers=named(wrong))
                    assert await refused(ben) == 481
                ben.invite("101", headers=named(name))
            dialog = (await ben.expect(sip.Accepted)).dialog
            await anna.expect(sip.CancelReceived)
            while not isinstance(await world.carrier.expect(sip.Event), sip.Accepted):  # type: ignore[arg-type]
                pass
            agent = live.party(Side.CALLEE).agent
            assert agent is not None
            assert agent.username.reveal() == "ben"
            heard = Heard(ben)
            await settled(live)
            ben.endpoint.bye(dialog)
            await world.carrier.expect(sip.DialogEnded)
            await heard.until(lambda phone: phone.answers, "BYE is answered")
            await heard.stop()


def ringing(world: World, call_id: CallId) -> Callable[[], Awaitable[bool]]:
    async def is_known() -> bool:
        return any(row["id"] == call_id and row["state"] == "ringing" for row in await world.rows("calls"))

    return is_known


async def test_an_agents_own_call_moves_to_its_phone_at_another_gateway_and_nobody_elses(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with another(world.databases, tmp_path / "b") as b:
        await acquainted(world, b)
        mobile, ben = await phone_of(world, b, "anna"), await phone_of(world, b, "ben")
        live, near, far = await to_carrier(world, anna)
        await world.row("calls", state="active")
        ben.invite("101", headers=named(near))
        assert await refused(ben) == 481
        mobile.invite("101", headers=named(near))
        moved = (await mobile.expect(sip.Accepted)).dialog
        heard = Heard(mobile)
        await anna.expect(sip.DialogEnded)
        await settled(live)
        await heard.stop()
        mobile.endpoint.bye(moved)
        assert (await world.carrier.expect(sip.DialogEnded)).dialog == far


async def test_nobody_but_a_gateway_is_believed_who_somebody_is(world: World) -> None:
    """A pass that a phone makes up, or has seen, is worth nothing: whoever sends it is challenged like everybody."""
    anna = await world.peer("anna")
    await parked(world, anna)
    stranger = await world.peer()
    org, (agent, *_) = world.organisation, world.organisation.by_id
    made_up, mine = Pass(OTHER, agent, agent, Transport.UDP), Pass(NODE, agent, agent, Transport.UDP)
    for said, tag in ((made_up, lambda _: bytes(32)), (mine, world.gateway.neighbours.tag), (made_up, world.gateway.neighbours.tag)):
        user = said.text(seen(), tag)
        stranger.invite("*691", headers=[("Route", route_to(Target(Transport.UDP, "127.0.0.1", world.port), user))])
        assert await refused(stranger) == 401
    assert world.gateway.calling.transfers.park.find(org.id, "1") is not None


def seen() -> Request:
    """An INVITE as somebody sent it before."""
    lines = "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", "From: <sip:a@b>;tag=f", "To: <sip:a@b>", "Call-ID: c", "CSeq: 1 INVITE"
    message = parse(("\r\n".join(("INVITE sip:*691@b SIP/2.0", *lines)) + "\r\nContent-Length: 0\r\n\r\n").encode())
    assert isinstance(message, Request)
    return message


async def test_what_a_phone_came_by_is_what_its_gateway_saw_and_not_what_its_via_says(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (_, ben):
        live, *_ = await parked(world, anna)
        handing, seen = world.gateway.calling._takeovers._handing, []
        assert handing is not None
        read = handing.bearer
        handing.bearer = lambda request, flow: seen.append(read(request, flow)) or seen[-1]  # type: ignore[method-assign,func-returns-value]
        honest = ben.endpoint.ua._core.via
        ben.endpoint.ua._core.via = lambda hop, branch: honest(hop, branch).replace("/UDP ", "/TLS ")  # type: ignore[method-assign]
        ben.invite("*691")
        dialog = (await ben.expect(sip.Accepted)).dialog
        heard = Heard(ben)
        await settled(live)
        (bearer,) = seen
        assert bearer is not None
        assert bearer.seen.transport is Transport.UDP
        ben.endpoint.bye(dialog)
        await heard.until(lambda phone: phone.answers, "BYE is answered")
        await heard.stop()


async def test_who_talks_by_one_gateway_consults_there_from_a_phone_of_another_and_transfers(world: World, tmp_path: Path) -> None:
    async with another(world.databases, tmp_path / "b") as b:
        await acquainted(world, b)
        anna, ben = await phone_of(world, b, "anna"), await phone_of(world, b, "ben")
        await known(world.gateway, "anna")
        await known(world.gateway, "ben")
        world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
        near = accept(anna, await anna.expect(sip.RequestReceived))
        await world.carrier.expect(sip.Accepted)
        await anna.expect(sip.AckReceived)
        (host,) = world.gateway.calling.live
        talks = world.organisation.by_username["anna"].id
        await until(lambda: b.counts.engaged_at(talks) == NODE, what="the other gateway knows where anna talks")
        anna.invite("*43")
        echo = (await anna.expect(sip.Accepted)).dialog
        assert len(list(b.calling.live)) == 1, "what a code does is done where it is dialled"
        anna.endpoint.bye(echo)
        await anna.expect(sip.Responded)
        await until(lambda: not list(b.calling.live), what="the echo is over")
        anna.invite("102")
        accept(ben, await ben.expect(sip.RequestReceived))
        consulted = (await anna.expect(sip.Accepted)).dialog
        await ben.expect(sip.AckReceived)
        assert not list(b.calling.live), "her second call is where her first one is"
        refer(anna, near, "102", replaces=consulted)
        told, heard = Heard(anna), Heard(ben)
        await told.until(lambda phone: phone.is_over and len(phone.ended) == 2, "both of anna's dialogs are over")
        assert told.statuses[-1] == 200
        await settled(host)
        assert host.party(Side.CALLEE).agent == world.organisation.by_username["ben"]
        await heard.stop()


async def nothing(_connection: object) -> None:
    """No row says otherwise."""


async def test_where_the_other_gateway_says_nothing_any_more_a_call_begins_where_it_came_and_is_given_up_there(
    world: World, request: pytest.FixtureRequest
) -> None:
    """It has died, and nobody knows yet."""
    talks = world.organisation.by_username["anna"].id
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    request.addfinalizer(silent.close)
    world.gateway.neighbours.refresh = nothing  # type: ignore[method-assign]
    world.gateway.neighbours._found = {OTHER: Target(Transport.UDP, "127.0.0.1", silent.getsockname()[1])}
    world.gateway.counts._elsewhere.hear(OTHER, {(Counted.ENGAGED, talks): 1}, None)
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    await world.carrier.expect(sip.RequestReceived, timeout_s=10)
    (live,) = world.gateway.calling.live
    assert live.route.agent.id == talks
    cancelled = anna.invite("103")
    await until(lambda: world.gateway.calling._takeovers._handing._unheard, what="it was handed over")  # type: ignore[union-attr]
    anna.endpoint.cancel(cancelled)
    while not isinstance(event := await anna.expect(sip.Event), sip.Rejected):  # type: ignore[arg-type]
        pass
    assert event.status == 487
