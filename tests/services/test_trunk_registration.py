"""Registering at a carrier: digest, refresh, 423, refusals, Service-Route, and calls that come to our Contact."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hushwire.app.sources import SystemRandom
from hushwire.sdp.offer_answer import Srtp, build_offer
from hushwire.services.trunk_health import Standing
from hushwire.services.trunk_registrations import granted_s, service_route
from hushwire.sip import effects as sip
from hushwire.sip.digest import Challenger, Outcome, ha1, parse_authorization
from hushwire.sip.headers import Line
from hushwire.sip.message import Request, Response
from hushwire.sip.parse import parse
from hushwire.sip.uri import NameAddr, parse_sip_uri
from tests.databases import Databases
from tests.polling import until
from tests.services.carriers import provision, trunk_spec
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, Peer, World, local_media, need_program, running

pytestmark = need_program
USER, PASSWORD, REALM = "hush001", "the-trunks-password", "carrier.example"


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, record="none") as made:
        yield made


@dataclass
class Registrar:
    """What a carrier does with REGISTER: each is challenged, then answered as `answers` say, the last one for ever."""

    carrier: Peer
    answers: list[tuple[int, list[Line]]]
    seen: list[Request] = field(default_factory=list)
    challenger: Challenger = field(default_factory=lambda: Challenger(bytes(32), REALM, SystemRandom()))

    async def serve(self) -> None:
        while True:
            event = await self.carrier.events.get()
            if isinstance(event, sip.RequestReceived) and event.request.method == "REGISTER":
                self.answer(event)
            else:
                self.calls.put_nowait(event)

    calls: asyncio.Queue[sip.Event] = field(default_factory=asyncio.Queue)

    def answer(self, event: sip.RequestReceived) -> None:
        request, now = event.request, self.carrier.endpoint.now()
        value = request.headers.get("Authorization")
        if value is None:
            lines = [("WWW-Authenticate", text) for text in self.challenger.challenge(now)]
            self.carrier.endpoint.respond(event.tx, 401, headers=lines)
            return
        answer = parse_authorization(value)
        kept = ha1(answer.algorithm, USER, REALM, PASSWORD)
        if self.challenger.check(answer, kept, method="REGISTER", uri=request.uri, now=now) is not Outcome.OK:
            self.carrier.endpoint.respond(event.tx, 403)
            return
        self.seen.append(request)
        status, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.carrier.endpoint.respond(event.tx, status, headers=headers)


async def registering(world: World, *answers: tuple[int, list[Line]]) -> tuple[Registrar, asyncio.Task[None]]:
    registrar = Registrar(world.carrier, list(answers))
    task = asyncio.create_task(registrar.serve())
    spec = trunk_spec("registered", world.carrier, username=USER, password=PASSWORD, realm=REALM, register_every_s=60)
    await provision(world, spec, record="none")
    return registrar, task


def standing(world: World) -> Standing:
    (trunk,) = world.gateway.directory.trunks
    return world.gateway.trunks.states.standing(trunk)


async def test_a_registration_is_made_with_digest_and_brings_calls_to_our_contact(world: World) -> None:
    registrar, task = await registering(world, (200, [("Expires", "60")]))
    await until(lambda: standing(world) is Standing.UP, what="the registration stands")
    (request, *_) = registrar.seen
    assert request.uri == f"sip:127.0.0.1:{world.carrier.local_port};transport=udp"
    assert request.to.sip_uri.user == request.from_.sip_uri.user == USER
    assert request.headers.get("Expires") == "60"
    contact = request.contact
    assert contact is not None
    assert (contact.sip_uri.user, contact.sip_uri.port) == (USER, world.port)
    (trunk,) = world.gateway.directory.trunks
    assert world.gateway.trunks.registrations.until(trunk) is not None
    # The carrier calls our Contact; whom it calls stands in To.
    anna = await world.peer("anna")
    for headers in ([("P-Called-Party-ID", f"<sip:{ANNA_NUMBER}@carrier.example>")], []):
        to = USER if headers else ANNA_NUMBER
        uri = parse_sip_uri(f"sip:{USER}@127.0.0.1:{world.port}")
        called = NameAddr(parse_sip_uri(f"sip:{to}@carrier.example"))
        body = build_offer(local_media(keys=False), Srtp.NEVER)
        caller = NameAddr(parse_sip_uri(f"sip:{FAR_NUMBER}@carrier.example"))
        world.carrier.endpoint.invite(hop=world.carrier.hop, uri=uri, from_=caller, to=called, body=body, headers=headers)
        incoming = await anna.expect(sip.RequestReceived)
        anna.endpoint.respond(incoming.tx, 486)
        rejected = await asyncio.wait_for(registrar.calls.get(), 5)
        assert isinstance(rejected, sip.Rejected)
        assert rejected.status == 486
    task.cancel()


async def test_an_interval_that_is_too_brief_is_asked_for_again_as_the_carrier_wants_it(world: World) -> None:
    registrar, task = await registering(world, (423, [("Min-Expires", "1800")]), (200, [("Expires", "1800")]))
    await until(lambda: standing(world) is Standing.UP, what="the registration stands")
    assert [request.headers.get("Expires") for request in registrar.seen] == ["60", "1800"]
    assert len({request.call_id for request in registrar.seen}) == 1
    numbers = [request.cseq.number for request in registrar.seen]
    assert numbers == sorted(set(numbers))
    task.cancel()


async def test_a_carrier_that_refuses_our_registration_is_down_and_asked_again(world: World) -> None:
    registrar, task = await registering(world, (403, []), (200, [("Expires", "60")]))
    (trunk,) = world.gateway.directory.trunks
    await until(lambda: world.gateway.trunks.states.reason(trunk) == "403", what="the refusal is known")
    assert standing(world) is Standing.DOWN
    await until(lambda: standing(world) is Standing.UP, timeout_s=20, what="the second try stands")
    assert len(registrar.seen) == 2
    task.cancel()


async def test_a_registration_is_refreshed_before_it_runs_out(world: World) -> None:
    registrar, task = await registering(world, (200, [("Expires", "4")]))
    await until(lambda: len(registrar.seen) >= 3, timeout_s=20, what="it is refreshed")
    assert standing(world) is Standing.UP
    task.cancel()


async def test_calls_go_out_by_the_route_that_the_registration_told(world: World) -> None:
    route = f"<sip:127.0.0.1:{world.carrier.local_port};lr>"
    registrar, task = await registering(world, (200, [("Expires", "60"), ("Service-Route", f"{route}, <sip:orig@home.example;lr>")]))
    await until(lambda: standing(world) is Standing.UP, what="the registration stands")
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await asyncio.wait_for(registrar.calls.get(), 5)
    assert isinstance(incoming, sip.RequestReceived)
    assert incoming.request.headers.listed("Route") == [route, "<sip:orig@home.example;lr>"]
    world.carrier.endpoint.respond(incoming.tx, 486)
    task.cancel()


def response(*lines: str) -> Response:
    head = ["SIP/2.0 200 OK", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx", "From: <sip:a@b>;tag=1", "To: <sip:a@b>;tag=2",
            "Call-ID: x", "CSeq: 1 REGISTER", *lines, "Content-Length: 0", "", ""]  # fmt: skip
    found = parse("\r\n".join(head).encode())
    assert isinstance(found, Response)
    return found


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Contact: <sip:hush001@192.0.2.1:5060>;expires=300", "Expires: 3600"], 300),
        (["Contact: <sip:other@192.0.2.9>;expires=5, <sip:hush001@192.0.2.1:5060>;expires=300"], 300),
        (["Contact: <sip:other@192.0.2.9>;expires=5", "Expires: 900"], 900),
        (["Contact: <sip:hush001@192.0.2.1:5060>;expires=x", "Expires: 900"], 900),
        (["Expires: 0"], 600),
        ([], 600),
    ],
)
def test_the_life_of_a_registration_is_what_the_carrier_says_of_our_contact(lines: list[str], seconds: int) -> None:
    assert granted_s(response(*lines), parse_sip_uri("sip:hush001@192.0.2.1:5060"), 600) == seconds


def test_a_route_that_can_not_be_followed_is_not_followed() -> None:
    assert service_route(response("Service-Route: <sip:strict.example>")) == ()
    assert service_route(response("Service-Route: nonsense")) == ()
    assert service_route(response("Service-Route: <sip:a.example;lr>")) == (("Route", "<sip:a.example;lr>"),)
