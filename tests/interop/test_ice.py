"""aioice, a full ICE agent that we did not write, against the program: it nominates, restarts, and keeps or loses consent."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

import aioice
import aioice.ice
import pytest

from hushwire.core.personal import Personal
from hushwire.media.client import MediaClient
from hushwire.media.model import IceCredentials, LegPorts, LegSettings, MediaEvent
from hushwire.media.wire import EventType
from tests.native.call import is_rtcp, parse, rtp
from tests.polling import until
from tests.services.running import MediaProgram, need_program

pytestmark = [pytest.mark.interop, need_program]
BROWSER, PHONE = 0, 1


@dataclass
class Rig:
    """A bridge between an ICE leg and a plain phone, on one address."""

    address: str
    stack: AsyncExitStack
    bridge_id: UUID = field(default_factory=uuid4)
    events: list[MediaEvent] = field(default_factory=list)

    async def open(self, folder: Path) -> None:
        program = MediaProgram(folder, ("--address", self.address))
        await program.start()
        self.stack.push_async_callback(program.stop)
        self.client = MediaClient(self.events.append)
        await self.client.connect(program.socket, 1)
        self.stack.push_async_callback(self.client.close)
        ports = await self.client.open_call(self.bridge_id, legs=(BROWSER, PHONE), mode=0)
        self.ports: LegPorts = ports[BROWSER]
        self.phone = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_DGRAM)
        self.stack.callback(self.phone.close)
        self.phone.bind((self.address, 0))
        self.phone.connect((self.address, ports[PHONE].rtp_port))
        self.phone.setblocking(False)
        here = Personal(ip_address(self.address))
        await self.client.set_leg(self.bridge_id, PHONE, LegSettings(here, self.phone.getsockname()[1]))

    async def agent(self, *, controlling: bool = True, lite: bool = True) -> aioice.Connection:
        """A new agent and, stated to the program, the credentials of both: the first time a start, later a restart."""
        agent = aioice.Connection(ice_controlling=controlling)
        self.stack.push_async_callback(agent.close)
        await agent.gather_candidates()
        ours = IceCredentials(secrets.token_hex(4), secrets.token_hex(16), agent.local_username)
        nowhere = Personal(ip_address("::" if ":" in self.address else "0.0.0.0"))
        await self.client.set_leg(self.bridge_id, BROWSER, LegSettings(nowhere, 9, rtcp_mux=True, ice=ours))
        agent.remote_username, agent.remote_password, agent.remote_is_lite = ours.local_ufrag, ours.local_password, lite
        await agent.add_remote_candidate(aioice.Candidate("1", 1, "udp", 2130706431, str(self.ports.ip), self.ports.rtp_port, "host"))
        await agent.add_remote_candidate(None)
        return agent

    async def talks(self, agent: aioice.Connection, number: int) -> bool:
        """A packet each way, and nothing else in between but reports."""
        await agent.send(rtp(number, 160 * number, 1, b"to the phone %d" % number))
        loop = asyncio.get_running_loop()
        heard = parse(await asyncio.wait_for(loop.sock_recv(self.phone, 2048), 10)).payload
        await loop.sock_sendall(self.phone, rtp(number, 160 * number, 2, b"to the browser %d" % number))
        while is_rtcp(packet := await asyncio.wait_for(agent.recv(), 10)):
            pass
        answered = parse(packet).payload
        return heard == b"to the phone %d" % number and answered == b"to the browser %d" % number

    def told(self, event_type: EventType) -> int:
        return sum(event.type is event_type for event in self.events)


@pytest.fixture(params=["127.0.0.1", "::1"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    address: str = request.param
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [address])  # by itself it leaves out loopback
    async with AsyncExitStack() as stack:
        made = Rig(address, stack)
        await made.open(tmp_path)
        yield made


@pytest.mark.parametrize("lite", [True, False], ids=["regular", "aggressive"])
async def test_a_full_agent_nominates_and_media_flows_both_ways(rig: Rig, lite: bool) -> None:
    """aioice nominates regularly where it knows of a lite peer, aggressively (with the first check) else."""
    agent = await rig.agent(lite=lite)
    await asyncio.wait_for(agent.connect(), 20)
    await until(lambda: rig.told(EventType.ICE_SELECTED) == 1)
    assert await rig.talks(agent, 1)
    assert await rig.talks(agent, 2)


async def test_an_agent_that_takes_itself_for_controlled_is_told_and_takes_control(rig: Rig) -> None:
    agent = await rig.agent(controlling=False)
    await asyncio.wait_for(agent.connect(), 20)
    assert agent.ice_controlling
    assert await rig.talks(agent, 1)


async def test_an_agent_with_a_wrong_password_does_not_connect(rig: Rig) -> None:
    agent = await rig.agent()
    agent.remote_password = secrets.token_hex(16)
    connecting = asyncio.create_task(agent.connect())
    await until(lambda: _refused(rig, 3))  # its check, twice repeated
    assert not connecting.done()
    connecting.cancel()
    assert rig.told(EventType.ICE_SELECTED) == 0


async def test_after_a_restart_the_old_agent_talks_until_the_new_one_has_nominated(rig: Rig) -> None:
    old = await rig.agent()
    await asyncio.wait_for(old.connect(), 20)
    assert await rig.talks(old, 1)
    new = await rig.agent()
    assert await rig.talks(old, 2)
    await asyncio.wait_for(new.connect(), 20)
    await until(lambda: rig.told(EventType.ICE_SELECTED) == 2)
    assert await rig.talks(new, 3)
    assert rig.told(EventType.CONSENT_LOST) == 0


@pytest.mark.slow
async def test_an_agent_that_goes_on_asking_keeps_consent_and_one_that_is_gone_loses_it(rig: Rig) -> None:
    agent = await rig.agent()
    await asyncio.wait_for(agent.connect(), 20)
    began = asyncio.get_running_loop().time()
    number = 0
    while asyncio.get_running_loop().time() - began < 36:  # without its checks consent would have ended after 30 s
        number += 1
        assert await rig.talks(agent, number)
        await rig.client.ping()  # a controller that says nothing for a minute is none
        await asyncio.sleep(2)
    assert rig.told(EventType.CONSENT_LOST) == 0
    await agent.close()
    await rig.client.ping()
    await until(lambda: rig.told(EventType.CONSENT_LOST) == 1, timeout_s=50)
    sent = (await rig.client.bridge(rig.bridge_id)).legs[BROWSER].packets_sent
    await asyncio.get_running_loop().sock_sendall(rig.phone, rtp(number + 1, 160 * number, 2, b"to nobody"))
    await until(lambda: _received(rig, number + 1))
    assert (await rig.client.bridge(rig.bridge_id)).legs[BROWSER].packets_sent == sent == number


async def _refused(rig: Rig, count: int) -> bool:
    return (await rig.client.bridge(rig.bridge_id)).legs[BROWSER].stun_refused >= count


async def _received(rig: Rig, count: int) -> bool:
    return (await rig.client.bridge(rig.bridge_id)).legs[PHONE].packets_received == count
