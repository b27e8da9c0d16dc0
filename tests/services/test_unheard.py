"""What a gateway had written down, and not said when it died, its parties hear all the same: an end, and an answer."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hushwire.calls.model import Side
from hushwire.services import adoption
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import Send
from hushwire.sip.flow import Target, Transport
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.transport.endpoint import EndpointConfig, Listen, SipEndpoint
from tests.databases import Databases
from tests.polling import until
from tests.ports import free_port
from tests.services.running import FAR_NUMBER, HOST, Peer, World, need_program, running
from tests.services.test_transfers import to_carrier
from tests.transport.stage import RealClock, RealRandom

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    listen = f'["udp://127.0.0.1:{free_port()}", "tcp://127.0.0.1:{free_port()}"]'
    async with running(databases, tmp_path, environ={"HUSHWIRE_SIP__LISTEN": listen}, record="none") as made:
        yield made


class Connected(Peer):
    """A phone over TCP, which nobody can connect to."""

    def __init__(self, gateway_port: int) -> None:
        super().__init__(gateway_port)
        config = EndpointConfig((Listen(Transport.TCP, "127.0.0.1", 0),), rate_per_s=1e6, burst=1e6, product="peer")
        self.endpoint = SipEndpoint(config, RealClock(), RealRandom(), self.events.put_nowait)

    @property
    def local_port(self) -> int:
        return self.endpoint.addresses[Transport.TCP].port

    @property
    def hop(self) -> Target:
        return Target(Transport.TCP, "127.0.0.1", self.gateway_port)

    def unreachable(self) -> None:
        self.endpoint._listeners.close()

    def cut(self) -> None:
        """Its connection is gone."""
        for connection in list(self.endpoint._connections.values()):
            connection.abort()

    async def comes_back(self) -> None:
        """By a new connection, with the same binding."""
        contact = NameAddr(SipUri("127.0.0.1", self.user, self.local_port, (("transport", "tcp"),)))
        name = NameAddr(SipUri(HOST, self.user))
        asked = self.endpoint.send(
            "REGISTER", hop=self.hop, uri=SipUri(HOST), from_=name, to=name, contact=contact, credentials=self.credentials,
            headers=[("Expires", "300")],
        )  # fmt: skip
        other: list[sip.Event] = []
        while not (isinstance(event := await self.expect(object), sip.Responded) and event.request == asked):
            other.append(event)
        assert event.status == 200
        for each in other:
            self.events.put_nowait(each)

    async def register(self, user: str, *_: object, **__: object) -> int:
        self.user, self.credentials = user, Credentials(user, f"{user}s-password")
        await self.comes_back()
        return 200


async def connected(world: World, user: str) -> Connected:
    phone = Connected(world.gateway.endpoint.addresses[Transport.TCP].port)
    await phone.endpoint.start()
    world.peers.append(phone)
    await phone.register(user)
    return phone


def silenced(world: World, is_kept: Callable[[Send], bool] = lambda _: False) -> None:
    """The gateway sends nothing more, as if it died right after it had written its journal."""
    send = world.gateway.endpoint._send
    world.gateway.endpoint._send = lambda one: send(one) if is_kept(one) else None  # type: ignore[method-assign]


async def killed_and_back(world: World) -> None:
    listen = [f"{name.value}://127.0.0.1:{address.port}" for name, address in world.gateway.endpoint.addresses.items()]
    await world.kill()
    await world.restart(HUSHWIRE_SIP__LISTEN=str(listen).replace("'", '"'))


@pytest.mark.parametrize("is_written", [False, True], ids=["rows are not written", "rows are written"])
@pytest.mark.parametrize("side", list(Side))
async def test_a_bye_that_was_written_and_never_left_is_said_by_the_next_process(world: World, side: Side, is_written: bool) -> None:
    anna = await world.peer("anna")
    _, near, far = await to_carrier(world, anna)
    (gone, dialog), stays = ((anna, near), world.carrier) if side is Side.CALLER else ((world.carrier, far), anna)
    silenced(world)
    gone.endpoint.bye(dialog)
    await until(lambda: all(live.is_ended for live in world.gateway.calling.live), what="the call is over here")
    if is_written:
        await world.row("calls", state="ended")
        await until(lambda: not list(world.gateway.calling.live), what="nothing of it is left")
    await killed_and_back(world)
    ended = await stays.expect(sip.DialogEnded)
    assert ended.dialog == (far if side is Side.CALLER else near)
    await world.row("calls", state="ended", end_reason="bye-agent" if side is Side.CALLER else "bye-peer")
    await until(lambda: not world.gateway.journal._kept, what="the journal has forgotten it")


async def test_a_call_that_we_ended_and_that_neither_party_heard_of_ends_for_both(world: World) -> None:
    anna = await world.peer("anna")
    live, *_ = await to_carrier(world, anna)
    silenced(world)
    world.gateway.calling.hang_up(live)
    await killed_and_back(world)
    for peer in (anna, world.carrier):
        await peer.expect(sip.DialogEnded)


async def test_a_refusal_that_never_left_reaches_its_caller(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 180)
    await anna.expect(sip.Progress)
    silenced(world)
    world.gateway.calling.journal.over = lambda _live: None  # type: ignore[method-assign]  # it dies before rows are written
    world.carrier.endpoint.respond(incoming.tx, 486)
    await until(lambda: all(live.is_ended for live in world.gateway.calling.live), what="it is over here")
    await killed_and_back(world)
    assert (await anna.expect(sip.Rejected)).status in (486, 503)


async def test_a_phone_whose_connection_broke_hears_the_end_of_its_call_once_it_is_back(world: World) -> None:
    anna = await connected(world, "anna")
    _, near, far = await to_carrier(world, anna)
    anna.unreachable()
    anna.cut()
    await until(lambda: not world.gateway.endpoint._connections, what="the gateway knows")
    world.carrier.endpoint.bye(far)
    await world.row("calls", state="ended", end_reason="bye-peer")
    await anna.comes_back()
    assert (await anna.expect(sip.DialogEnded)).dialog == near


@pytest.mark.parametrize("is_killed_again", [False, True])
async def test_a_phone_over_a_connection_hears_after_a_death_that_its_call_had_ended(world: World, is_killed_again: bool) -> None:
    anna = await connected(world, "anna")
    _, near, far = await to_carrier(world, anna)
    anna.unreachable()
    silenced(world)
    world.carrier.endpoint.bye(far)
    await until(lambda: all(live.is_ended for live in world.gateway.calling.live), what="the call is over here")
    for _ in range(1 + is_killed_again):
        await killed_and_back(world)
    await anna.comes_back()
    assert (await anna.expect(sip.DialogEnded)).dialog == near
    await world.row("calls", state="ended", end_reason="bye-peer")


@pytest.mark.parametrize("is_reachable", [False, True], ids=["by its next connection", "by ours"])
async def test_a_caller_over_a_connection_hears_the_answer_that_never_left(world: World, is_reachable: bool) -> None:
    anna = await connected(world, "anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 180)
    await anna.expect(sip.Progress)
    silenced(world)
    dialog, _ = world.carrier.accept(incoming)
    await until(lambda: [live.answered for live in world.gateway.calling.live if live.answered], what="it is answered in the journal")
    if not is_reachable:
        anna.unreachable()
    await killed_and_back(world)
    if not is_reachable:
        await anna.comes_back()
    accepted = await anna.expect(sip.Accepted)
    await until(lambda: not world.gateway.endpoint.ua._server._unacked, what="its ACK")
    await world.carrier.expect(sip.AckReceived)
    if is_reachable:
        await anna.comes_back()
    world.carrier.endpoint.bye(dialog)
    assert (await anna.expect(sip.DialogEnded)).dialog == accepted.dialog


async def test_who_never_comes_back_for_its_answer_leaves_nobody_alone_in_the_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "SAID_AGAIN_S", 1.5)
    anna = await connected(world, "anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    silenced(world)
    dialog, _ = world.carrier.accept(incoming)
    await until(lambda: [live.answered for live in world.gateway.calling.live if live.answered], what="it is answered in the journal")
    await anna.endpoint.close()
    await killed_and_back(world)
    await world.carrier.expect(sip.AckReceived)
    assert (await world.carrier.expect(sip.DialogEnded)).dialog == dialog
    await world.row("calls", state="ended", end_reason="no-ack")
