"""No input makes the SIP and SDP readers raise anything but their own error, nor the engine or the endpoint fall over."""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hushwire.sdp.crypto import parse_crypto
from hushwire.sdp.offer_answer import Answered, LegMedia, Refusal, Srtp, accept_answer, answer_offer, build_offer
from hushwire.sdp.session import SdpError, parse_session
from hushwire.sip.digest import parse_authorization, parse_challenge
from hushwire.sip.effects import InDialogRequest, RequestReceived, Send
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Transport
from hushwire.sip.message import Message, Request
from hushwire.sip.parse import StreamParser, parse
from hushwire.sip.registrar import register
from hushwire.sip.uri import parse_name_addr, parse_uri
from tests.conformance.test_rfc4475 import BADBRANCH, ESC01, INTMETH, INV2543, TRANSPORTS, UNREASON, WSINV
from tests.sdp.test_offer_answer import THEIR_KEY, offer, ours
from tests.sip.world import OFFER, UDP, World, answer, call, request_text, requests
from tests.transport.stage import stage, udp_peer

SEEDS = [
    request_text(body=OFFER, extra="Content-Type: application/sdp\r\n"),
    request_text("REGISTER", extra='Authorization: Digest username="a", realm="r", nonce="n", uri="sip:x", response="0", nc=1\r\n'),
    request_text("BYE", to_tag="x"),
    WSINV,
    INTMETH,
    ESC01,
    TRANSPORTS,
    UNREASON,
    BADBRANCH,
    INV2543,
]  # fmt: skip
SDP_SEEDS = [
    offer(f"m=audio 4000 RTP/SAVP 0 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"),
    offer("m=video 5000 RTP/AVP 99\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=ptime:20\r\na=sendonly\r\n"),
]
PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b";", b",", b":", b'"', b"<", b">", b"@", b"=", b"\\", b"%", b"%00", b"\xff", b"Via: ",
          b"l: 5\r\n", b"\r\n ", b"sip:", b"999999999999", b"-1", b"[", b"]", b"?", b"*"]  # fmt: skip


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good message with some pieces put in, cut out or doubled."""

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, len(data)))
            kind = draw(st.integers(0, 3))
            if kind == 0:
                data[at:at] = draw(st.sampled_from(PIECES))
            elif kind == 1:
                del data[at : at + draw(st.integers(1, 30))]
            elif kind == 2:
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
            elif data:
                data[at % len(data)] = draw(st.integers(0, 255))
        return bytes(data)

    return build()


def look_at_everything(message: Message) -> None:
    """Each typed property either has a value or raises ParseError."""
    _ = message.via, message.from_tag, message.to_tag, message.call_id, message.cseq
    for name in (
        "vias",
        "contacts",
        "contact",
        "routes",
        "record_routes",
        "max_forwards",
        "expires",
        "require",
        "supported",
        "content_type",
    ):
        try:
            getattr(message, name)
        except ParseError:
            continue


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=300), mutated(SEEDS)))
def test_the_parser_raises_nothing_but_parse_error_and_what_it_takes_it_can_write(data: bytes) -> None:
    try:
        message = parse(data)
    except ParseError:
        return
    look_at_everything(message)
    again = parse(message.to_bytes())
    assert again.headers.without("Content-Length") == message.headers.without("Content-Length")
    assert again.body == message.body


@settings(max_examples=200, deadline=None)
@given(mutated(SEEDS), st.integers(1, 64))
def test_a_stream_gives_the_same_however_it_is_torn(data: bytes, size: int) -> None:
    whole = [type(item).__name__ for item in StreamParser().feed(data)]
    parser = StreamParser()
    torn = [type(item).__name__ for start in range(0, len(data), size) for item in parser.feed(data[start : start + size])]
    assert torn == whole


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_the_small_grammars_raise_nothing_but_parse_error(text: str) -> None:
    for reader in (parse_uri, parse_name_addr, parse_authorization, parse_challenge):
        for prefix in ("", "sip:", "<sip:", "Digest ", '"', 'Digest realm="r", nonce="n", '):
            try:
                value = reader(prefix + text)
            except ParseError:
                continue
            if reader in (parse_uri, parse_name_addr):
                assert str(reader(str(value))) == str(value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), mutated(SDP_SEEDS)))
def test_session_descriptions_are_read_or_refused(data: bytes) -> None:
    try:
        session = parse_session(data)
    except SdpError:
        pass
    else:
        parse_session(session.to_bytes())
        for media in session.media:
            for value in media.all("crypto"):
                parse_crypto(value)
    for srtp in Srtp:
        outcome = answer_offer(data, ours(), srtp)
        assert isinstance(outcome, Answered | Refusal)
        if isinstance(outcome, Answered):
            parse_session(outcome.body)
        assert isinstance(accept_answer(build_offer(ours(), srtp), data, ours()), LegMedia | Refusal)


@settings(max_examples=300, deadline=None)
@given(st.lists(mutated(SEEDS), min_size=1, max_size=8))
def test_the_engine_takes_any_messages_and_forgets_them_all(texts: list[bytes]) -> None:
    world = World()
    for data in texts:
        try:
            effects = world.receive(data)
        except ParseError as error:
            world.ua.receive_malformed(error, UDP)
            effects = world.drain()
        for effect in effects:
            if isinstance(effect, RequestReceived | InDialogRequest):
                if effect.request.method == "REGISTER":
                    register(effect.request, UDP, (), world.now)
                world.ua.respond(effect.tx, 200 if effect.request.method == "INVITE" else 404, now=world.now)
        world.run(3.0)
    world.run(400.0)
    assert world.ua.deadline() is None
    assert world.ua._server.transactions == {}
    assert world.ua._core.sessions == {}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_engine_takes_any_answers_to_its_invite_and_forgets_them_all(data: st.DataObject) -> None:
    world = World()
    invite, request = call(world)
    seeds = [answer(request, status) for status in (100, 180, 200, 302, 407, 486)]
    for _ in range(data.draw(st.integers(1, 6))):
        text = data.draw(st.one_of(st.sampled_from(seeds), mutated(seeds)))
        try:
            world.receive(text)
        except ParseError:
            continue
        world.run(1.0)
    world.ua.cancel(invite, now=world.now)  # type: ignore[arg-type]
    for key in list(world.ua._core.sessions):
        world.ua.bye(key, now=world.now)
    world.drain()
    world.run(400.0)
    assert world.ua.deadline() is None
    assert world.ua._client.transactions == {}
    assert world.ua._core.sessions == {}


@pytest.mark.slow
async def test_ten_thousand_random_datagrams_leave_the_endpoint_answering() -> None:
    chance = random.Random(5)
    async with stage(Transport.UDP, rate_per_s=1e9, burst=1e9) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        for number in range(10_000):
            data = bytearray(chance.choice(SEEDS)) if number % 2 else bytearray(chance.randbytes(chance.randrange(1, 400)))
            for _ in range(chance.randrange(0, 12)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            wire.sendto(bytes(data))
            await asyncio.sleep(0.001 if number % 100 == 0 else 0)
        # Datagrams that the kernel dropped while its buffer was full are repeated, as any phone would.
        async with asyncio.timeout(20.0):
            found, number = b"", 0
            while b"still-alive" not in found:
                wire.sendto(request_text("OPTIONS", via_extra=";rport", branch=f"z9hG4bKalive{number}", call_id=f"still-alive{number}"))
                number += 1
                await asyncio.sleep(0.02)
                while not peer.received.empty() and b"still-alive" not in found:
                    found = peer.received.get_nowait()


def test_what_the_engine_sends_is_always_readable() -> None:
    world = World()
    call(world)
    for effect in world.all:
        if isinstance(effect, Send):
            assert isinstance(parse(effect.data), Request)
    assert requests(world.all)
