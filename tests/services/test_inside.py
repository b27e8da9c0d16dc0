"""Contact, Route, Record-Route, Via and SDP that point inside: at loopback, link-local, the metadata service, our own API. Nobody
who names them makes the gateway go there: whatever is sent, goes to where the peers really are."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytest_socket import socket_allow_hosts

from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.sdp.offer_answer import Refusal, Srtp, answer_offer, build_offer
from hushwire.sip import effects as sip
from hushwire.sip.digest import Credentials
from hushwire.sip.flow import Address, Target, Transport
from hushwire.sip.uri import NameAddr, SipUri, parse_name_addr
from hushwire.transport.endpoint import Listen, SipEndpoint
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, HOST, Peer, World, local_media, need_program, running

pytestmark = need_program

METADATA = "169.254.169.254:80"
LINK_LOCAL = "[fe80::1]:5060"
NOWHERE = "0.0.0.0:5060"
MANY = "224.0.0.1:5060"
OUR_API = "our API"
INSIDE = [METADATA, LINK_LOCAL, NOWHERE, MANY, OUR_API]


@dataclass
class Watched:
    """Where the endpoint really sends and connects to, and a trap at the port of our API."""

    trap: socket.socket
    reached: set[tuple[str, int]] = field(default_factory=set)

    def named(self, place: str) -> str:
        """The place as a URI's host and port."""
        return f"127.0.0.1:{self.trap.getsockname()[1]}" if place == OUR_API else place

    def watch(self, endpoint: SipEndpoint) -> None:
        for datagrams in endpoint._udp.values():
            datagrams.send = self._noting(datagrams.send)  # type: ignore[method-assign]
        connect = endpoint._connect

        async def noted(target: Target) -> None:
            self.reached.add((target.host, target.port))
            await connect(target)

        endpoint._connect = noted  # type: ignore[method-assign]

    def _noting(self, send: Any) -> Any:
        def noted(data: bytes, remote: Address) -> bool:
            self.reached.add((remote.host, remote.port))
            return bool(send(data, remote))

        return noted

    def only(self, *peers: Peer) -> None:
        assert self.reached <= {("127.0.0.1", peer.local_port) for peer in peers}
        self.reached.clear()
        with pytest.raises(BlockingIOError):
            self.trap.accept()


@pytest.fixture
def watched() -> Iterator[Watched]:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        yield Watched(trap)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path, watched: Watched) -> AsyncIterator[World]:
    port = watched.trap.getsockname()[1]
    async with running(databases, tmp_path, environ={"HUSHWIRE_API__LISTEN": f"https://127.0.0.1:{port}"}) as made:
        watched.watch(made.gateway.endpoint)
        yield made


async def test_a_registered_contact_is_refused_or_the_call_goes_to_where_the_phone_is(world: World, watched: Watched) -> None:
    for place in INSIDE:
        await contact_registered(world, watched, place)


async def contact_registered(world: World, watched: Watched, place: str) -> None:
    phone = await world.peer()
    phone.user = "anna"
    assert await phone.register("anna") == 200
    await phone.register("anna", expires=0)
    name = NameAddr(SipUri(HOST, "anna"))
    contact = parse_name_addr(f"<sip:anna@{watched.named(place)}>")
    phone.endpoint.send("REGISTER", hop=phone.hop, uri=SipUri(HOST), from_=name, to=name, contact=contact,
                        credentials=phone.credentials, headers=[("Expires", "300")])  # fmt: skip
    status = (await phone.expect(sip.Responded)).status
    assert status in (200, 403)
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    if status == 200:
        incoming = await phone.expect(sip.RequestReceived)
        assert incoming.request.uri == f"sip:anna@{watched.named(place)}"
        phone.endpoint.respond(incoming.tx, 486)
    async with asyncio.timeout(10):
        while not isinstance(await world.carrier.events.get(), sip.Rejected):
            pass
    watched.only(*world.peers, world.carrier)
    if status == 200:
        assert await phone.register("anna", expires=0) == 200


async def test_contact_route_and_record_route_of_both_parties_lead_nowhere_but_back_to_them(world: World, watched: Watched) -> None:
    for place in INSIDE:
        await routed(world, watched, place)


async def routed(world: World, watched: Watched, place: str) -> None:
    inside = watched.named(place)
    phone = await world.peer("anna")
    phone.local = local_media()
    phone.offer = build_offer(phone.local, Srtp.REQUIRED)
    uri = SipUri(HOST, FAR_NUMBER)
    phone.endpoint.invite(
        hop=phone.hop, uri=uri, from_=NameAddr(SipUri(HOST, "anna")), to=NameAddr(uri), body=phone.offer, credentials=phone.credentials,
        contact=parse_name_addr(f"<sip:anna@{inside}>"),
        headers=[("Route", f"<sip:{inside};lr>"), ("Record-Route", f"<sip:{inside};lr>")],
    )  # fmt: skip
    incoming = await world.carrier.expect(sip.RequestReceived)
    outcome = answer_offer(incoming.request.body, local_media(41000, keys=False), Srtp.NEVER)
    assert not isinstance(outcome, Refusal), outcome
    world.carrier.endpoint.respond(
        incoming.tx, 200, body=outcome.body, contact=parse_name_addr(f"<sip:gw@{inside}>"), headers=[("Record-Route", f"<sip:{inside};lr>")]
    )
    await world.carrier.expect(sip.AckReceived)
    await phone.expect(sip.Accepted)
    (live,) = world.gateway.calling.live
    world.gateway.calling.hang_up(live)
    await phone.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    await until(lambda: not list(world.gateway.calling.live), timeout_s=10, what="the call is over")
    watched.only(*world.peers, world.carrier)
    assert await phone.register("anna", expires=0) == 200


async def test_a_redirection_inside_is_not_followed(world: World, watched: Watched) -> None:
    for place in INSIDE:
        await redirected(world, watched, place)


async def redirected(world: World, watched: Watched, place: str) -> None:
    phone = await world.peer("anna")
    phone.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 302, headers=[("Contact", f"<sip:+4930123@{watched.named(place)}>")])
    rejected = await phone.expect(sip.Rejected)
    assert rejected.status >= 400
    watched.only(*world.peers, world.carrier)
    assert await phone.register("anna", expires=0) == 200


async def test_an_answer_goes_to_where_the_request_came_from_whatever_its_via_says(world: World, watched: Watched) -> None:
    for number, place in enumerate(INSIDE):
        for params in (f";rport;branch=z9hG4bKa{number}", f";received=169.254.169.254;rport;branch=z9hG4bKb{number}",
                       f";maddr=169.254.169.254;rport;branch=z9hG4bKc{number}"):  # fmt: skip
            watched.reached.clear()
            await asked_by_via(world, watched, place, params)


async def asked_by_via(world: World, watched: Watched, place: str, params: str) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Socket(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            received.put_nowait(data)

    wire, _ = await asyncio.get_running_loop().create_datagram_endpoint(Socket, remote_addr=("127.0.0.1", world.port))
    try:
        wire.sendto(
            (
                f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {watched.named(place)}{params}\r\n"
                f"From: <sip:anna@{HOST}>;tag=1\r\nTo: <sip:anna@{HOST}>\r\n"
                f"Call-ID: {params}\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\r\n"
            ).encode()
        )
        async with asyncio.timeout(10):
            assert b"SIP/2.0 401" in await received.get()
        assert watched.reached == {("127.0.0.1", wire.get_extra_info("sockname")[1])}
    finally:
        wire.close()


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1"])
async def test_media_are_not_sent_to_an_address_inside_that_a_description_names(world: World, address: str) -> None:
    phone = await world.peer("anna")
    phone.local = local_media()
    offer = build_offer(phone.local, Srtp.REQUIRED).replace(b"127.0.0.1", address.encode())
    phone.invite(FAR_NUMBER, body=offer)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.accept(incoming)
    await phone.expect(sip.Accepted)
    (live,) = world.gateway.calling.live

    def told() -> bool:
        return 0 in live.stated and 1 in live.stated

    await until(told, timeout_s=10, what="both legs are stated")
    # Unknown: where the party's own media come from, once they are proven to be its own.
    assert (live.stated[0].media.address, live.stated[0].media.port) == ("0.0.0.0", 0)
    assert live.stated[1].media.address == "127.0.0.1"


def own_address() -> str | None:
    """An address of this machine that is neither loopback nor link-local."""
    found = [item.address for listed in psutil.net_if_addrs().values() for item in listed if item.family is socket.AF_INET]
    return next((address for address in found if not address.startswith(("127.", "169.254."))), None)


async def test_a_peer_from_outside_gets_no_call_and_no_media_to_loopback(databases: Databases, tmp_path: Path) -> None:
    host = own_address()
    if host is None:
        pytest.xfail("this machine has no address but loopback")
    socket_allow_hosts(["127.0.0.1", "::1", "localhost", host], allow_unix_socket=True)
    async with running(databases, tmp_path, environ={"HUSHWIRE_SIP__LISTEN": '["udp://0.0.0.0:0"]'}, allow_sdes_in_clear=True) as world:
        phone = Peer(world.port)
        config = replace(phone.endpoint.config, listen=(Listen(Transport.UDP, host, 0),))
        phone.endpoint = SipEndpoint(config, SystemClock(), SystemRandom(), phone.events.put_nowait)
        await phone.endpoint.start()
        world.peers.append(phone)
        hop = Target(Transport.UDP, host, world.port)
        name = NameAddr(SipUri(HOST, "anna"))
        phone.user, phone.credentials = "anna", Credentials("anna", "annas-password")
        for contact, status in (("127.0.0.1:40000", 403), ("127.0.0.1:5432", 403), (f"{host}:{phone.local_port}", 200)):
            phone.endpoint.send("REGISTER", hop=hop, uri=SipUri(HOST), from_=name, to=name, credentials=phone.credentials,
                                contact=parse_name_addr(f"<sip:anna@{contact}>"), headers=[("Expires", "300")])  # fmt: skip
            assert (await phone.expect(sip.Responded)).status == status
        phone.local = local_media()
        uri = SipUri(HOST, FAR_NUMBER)
        phone.endpoint.invite(hop=hop, uri=uri, from_=name, to=NameAddr(uri), body=build_offer(phone.local, Srtp.REQUIRED),
                              credentials=phone.credentials)  # fmt: skip
        incoming = await world.carrier.expect(sip.RequestReceived)
        world.carrier.accept(incoming)
        await phone.expect(sip.Accepted)
        (live,) = world.gateway.calling.live
        await until(lambda: 0 in live.stated, timeout_s=10, what="the phone's leg is stated")
        assert (live.stated[0].media.address, live.stated[0].media.port) == ("0.0.0.0", 0)
