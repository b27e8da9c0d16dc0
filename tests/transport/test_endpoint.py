"""The endpoint over real loopback sockets."""

import asyncio
import shutil
import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from hushwire.core.errors import ConfigError
from hushwire.sip.effects import Accepted, AckReceived, Cause, DialogEnded, Event, Rejected, RequestReceived, Responded
from hushwire.sip.flow import Target, Transport
from hushwire.sip.message import Response
from hushwire.sip.parse import StreamParser, parse
from hushwire.transport.endpoint import EndpointConfig, Listen
from hushwire.transport.tls import client_context, server_context
from tests.ports import free_port
from tests.sip.world import ANNA, BOB, OFFER, request_text
from tests.transport.stage import Stage, answer_calls, certificates, sipp, stage, tls_version, udp_peer

needs_sipp = pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp (package sip-tester) is not installed")


async def read_messages(reader: asyncio.StreamReader, count: int) -> list[object]:
    parser, found = StreamParser(), []
    async with asyncio.timeout(10.0):
        while len(found) < count:
            data = await reader.read(65536)
            assert data, "the connection ended early"
            found += list(parser.feed(data))
    return found


@needs_sipp
@pytest.mark.interop
@pytest.mark.parametrize("mode", ["u1", "t1"])
async def test_sipp_calls_us_over_udp_and_tcp(mode: str) -> None:
    transport = Transport.UDP if mode == "u1" else Transport.TCP
    async with stage(transport) as made:
        arguments = ("-sn", "uac", f"127.0.0.1:{made.port(transport)}", "-t", mode, "-m", "20", "-r", "50", "-d", "100", "-s", "bob")
        async with sipp(*arguments, "-p", str(free_port())) as process, asyncio.timeout(30.0):
            assert await process.wait() == 0
        for _ in range(20):
            await made.next(DialogEnded)


@needs_sipp
@pytest.mark.interop
@pytest.mark.parametrize("mode", ["u1", "t1"])
async def test_we_call_sipp_over_udp_and_tcp(mode: str) -> None:
    transport = Transport.UDP if mode == "u1" else Transport.TCP
    port = free_port()
    async with stage(Transport.UDP, Transport.TCP) as made, sipp("-sn", "uas", "-t", mode, "-p", str(port), "-m", "3") as process:
        for _ in range(3):
            accepted = await call_until_answered(made, Target(transport, "127.0.0.1", port))
            request = made.endpoint.bye(accepted.dialog)
            responded = await made.next(Responded)
            assert isinstance(responded, Responded)
            assert (responded.request, responded.status) == (request, 200)
        async with asyncio.timeout(20.0):
            assert await process.wait() == 0


async def call_until_answered(made: Stage, target: Target) -> Accepted:
    """SIPp needs a moment to listen: UDP retransmits, TCP is refused until then."""
    async with asyncio.timeout(20.0):
        while True:
            made.endpoint.invite(hop=target, uri=f"sip:x@127.0.0.1:{target.port}", from_=ANNA, to=BOB, body=OFFER)
            event = await made.events.get()
            while not isinstance(event, Accepted | Rejected):
                event = await made.events.get()
            if isinstance(event, Accepted):
                return event
            assert event.cause is Cause.TRANSPORT
            await asyncio.sleep(0.05)


async def test_a_tcp_message_torn_into_single_bytes_is_answered() -> None:
    async with stage(Transport.TCP) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        for byte in request_text("OPTIONS", transport="TCP"):
            writer.write(bytes([byte]))
            await writer.drain()
        (response,) = await read_messages(reader, 1)
        assert isinstance(response, Response)
        assert response.status == 200
        writer.close()
        await writer.wait_closed()


async def test_many_messages_in_one_segment_and_pings_are_answered_on_the_same_connection() -> None:
    async with stage(Transport.TCP) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        burst = [request_text("OPTIONS", transport="TCP", branch=f"z9hG4bK{n}", call_id=f"c{n}") for n in range(30)]
        writer.write(b"\r\n\r\n" + b"\r\n\r\n".join(burst))
        found = await read_messages(reader, 30)
        assert {response.status for response in found if isinstance(response, Response)} == {200}
        assert len(found) == 30
        writer.close()
        await writer.wait_closed()


async def test_broken_framing_is_answered_with_400_and_the_connection_ends() -> None:
    async with stage(Transport.TCP) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        writer.write(request_text("OPTIONS", transport="TCP").replace(b"Content-Length: 0\r\n", b""))
        async with asyncio.timeout(10.0):
            answer = await reader.read()
        assert b"SIP/2.0 400 " in answer
        writer.close()
        await writer.wait_closed()


async def test_a_malformed_datagram_gets_400_and_the_endpoint_lives_on() -> None:
    async with stage(Transport.UDP) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        text = request_text("OPTIONS", via_extra=";rport")
        wire.sendto(text.replace(b"CSeq: 1", b"CSeq: many"))
        async with asyncio.timeout(10.0):
            assert b"SIP/2.0 400 " in await peer.received.get()
            wire.sendto(text)
            assert b"SIP/2.0 200 " in await peer.received.get()


async def test_an_exception_above_becomes_500_and_the_endpoint_lives_on() -> None:
    def fail(made: Stage, event: Event) -> None:
        raise RuntimeError("not for the log")

    async with stage(Transport.UDP, react=fail) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        wire.sendto(request_text("MESSAGE", via_extra=";rport"))
        async with asyncio.timeout(10.0):
            assert b"SIP/2.0 500 " in await peer.received.get()


async def test_a_flood_from_one_source_is_cut_before_parsing() -> None:
    async with stage(Transport.UDP, rate_per_s=0.001, burst=5.0) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        for number in range(50):
            wire.sendto(request_text("OPTIONS", via_extra=";rport", branch=f"z9hG4bK{number}", call_id=f"c{number}"))
        async with asyncio.timeout(10.0):
            for _ in range(5):
                await peer.received.get()
        await asyncio.sleep(0.1)
        assert peer.received.empty()
        made.endpoint.trust(["127.0.0.1"])
        wire.sendto(request_text("OPTIONS", via_extra=";rport", branch="z9hG4bKlast", call_id="last"))
        async with asyncio.timeout(10.0):
            assert b"SIP/2.0 200 " in await peer.received.get()


async def test_a_flood_of_pings_on_a_connection_is_answered_once_and_then_cut_off() -> None:
    async with stage(Transport.TCP, rate_per_s=1.0, burst=100.0) as us:
        reader, writer = await asyncio.open_connection("127.0.0.1", us.port(Transport.TCP))
        writer.write(b"\r\n\r\n" * 20)
        assert await reader.read(100) == b"\r\n"
        writer.write(b"\r\n\r\n" * 16_000)
        with suppress(ConnectionError):
            assert len(await reader.read()) <= 32
        writer.close()


async def test_a_flood_of_messages_on_a_connection_is_read_no_faster_than_its_rate() -> None:
    async with stage(Transport.TCP, rate_per_s=1.0, burst=5.0) as us:
        reader, writer = await asyncio.open_connection("127.0.0.1", us.port(Transport.TCP))
        for number in range(50):
            writer.write(request_text("OPTIONS", transport="TCP", branch=f"z9hG4bK{number}", call_id=f"c{number}"))
        assert len(await read_messages(reader, 5)) == 5
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                assert (await reader.read(65_536)).count(b"SIP/2.0 200 ") <= 1
        writer.close()


async def test_connections_of_one_source_are_bounded() -> None:
    async with stage(Transport.TCP, max_connections_per_source=2) as made:
        port = made.port(Transport.TCP)
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for number, (reader, writer) in enumerate(kept):
            writer.write(request_text("OPTIONS", transport="TCP", branch=f"z9hG4bK{number}", call_id=f"c{number}"))
            await read_messages(reader, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(10.0):
            with pytest.raises(ConnectionError):
                if await reader.read() == b"":
                    raise ConnectionResetError
        for _, open_writer in [*kept, (reader, writer)]:
            open_writer.close()
            await asyncio.gather(open_writer.wait_closed(), return_exceptions=True)


async def open_handshake(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TLS connection whose peer never says a word."""
    return await asyncio.open_connection("127.0.0.1", port)


async def ended(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        assert await reader.read() == b""


async def test_handshakes_in_progress_count_against_the_limits_of_connections(tmp_path: Path) -> None:
    _, certificate, key = certificates(tmp_path)
    context = server_context(certificate, key)
    async with stage(Transport.TLS, server_tls=context, max_connections_per_source=10, handshake_s=60.0) as made:
        opened = [await open_handshake(made.port(Transport.TLS)) for _ in range(40)]
        waiting = {asyncio.create_task(ended(reader)) for reader, _ in opened}
        async with asyncio.timeout(10.0):
            while len(waiting) > 10:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert made.endpoint._places.taken == 10
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*waiting, *(writer.wait_closed() for _, writer in opened), return_exceptions=True)
        async with asyncio.timeout(10.0):
            while made.endpoint._places.taken:  # noqa: ASYNC110 - the ends arrive by themselves
                await asyncio.sleep(0.01)


async def test_a_handshake_that_is_not_done_in_time_is_cut_off_and_leaves_its_place(tmp_path: Path) -> None:
    ca, certificate, key = certificates(tmp_path)
    context = server_context(certificate, key)
    async with stage(Transport.TLS, server_tls=context, max_connections=1, handshake_s=0.2) as made:
        reader, writer = await open_handshake(made.port(Transport.TLS))
        async with asyncio.timeout(5.0):
            await ended(reader)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        assert await options_over_tls(made.port(Transport.TLS), client_context(ca)) == 200


async def options_over_tls(port: int, context: ssl.SSLContext, number: int = 0) -> int:
    """The status of an OPTIONS that is sent with the end of the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(request_text("OPTIONS", transport="TLS", branch=f"z9hG4bK{number}", call_id=f"c{number}"))
    (response,) = await read_messages(reader, 1)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert isinstance(response, Response)
    return response.status


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tls_peers_that_speak_at_once_are_heard_on_every_loop(tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    peers = 40

    async def speak() -> list[int]:
        ca, certificate, key = certificates(tmp_path)
        async with stage(Transport.TLS, server_tls=server_context(certificate, key)) as made:
            port, context = made.port(Transport.TLS), client_context(ca)
            return await asyncio.gather(*(options_over_tls(port, context, number) for number in range(peers)))

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(speak()) == [200] * peers


async def test_a_silent_connection_is_closed() -> None:
    async with stage(Transport.TCP, idle_s=0.2) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        async with asyncio.timeout(10.0):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_tls_is_1_2_or_newer_and_its_version_is_on_the_flow(tmp_path: Path) -> None:
    ca, certificate, key = certificates(tmp_path)
    async with stage(Transport.TLS, server_tls=server_context(certificate, key)) as made:
        port = made.port(Transport.TLS)
        for context, version in ((client_context(ca), "TLSv1.3"), (tls_version(client_context(ca)), "TLSv1.2")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.write(request_text("MESSAGE", transport="TLS", branch=f"z9hG4bK{version}", call_id=version))
            event = await made.next(RequestReceived)
            assert isinstance(event, RequestReceived)
            assert event.flow.tls_version == version
            assert event.flow.transport.is_protected
            await read_messages(reader, 1)
            writer.close()
            await writer.wait_closed()
        old = client_context(ca)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1_1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old, server_hostname="localhost")


async def test_a_call_between_two_endpoints_over_tls_reuses_its_connection(tmp_path: Path) -> None:
    ca, certificate, key = certificates(tmp_path)
    tls = server_context(certificate, key)
    async with stage(Transport.TLS, server_tls=tls) as callee, stage(Transport.UDP, client_tls=client_context(ca)) as caller:
        target = Target(Transport.TLS, "127.0.0.1", callee.port(Transport.TLS), tls_name="localhost")
        flows = set()
        for _ in range(3):
            caller.endpoint.invite(hop=target, uri="sip:bob@localhost", from_=ANNA, to=BOB, body=OFFER)
            accepted = await caller.next(Accepted)
            assert isinstance(accepted, Accepted)
            received = await callee.next(RequestReceived)
            assert isinstance(received, RequestReceived)
            flows.add(received.flow)
            acked = await callee.next(AckReceived)
            assert isinstance(acked, AckReceived)
            # The callee's own BYE goes back on the connection that the call came by.
            callee.endpoint.bye(acked.dialog)
            assert isinstance(await caller.next(DialogEnded), DialogEnded)
            responded = await callee.next(Responded)
            assert isinstance(responded, Responded)
            assert responded.status == 200
        assert len(flows) == 1


async def test_a_certificate_of_another_name_or_ca_is_refused(tmp_path: Path) -> None:
    ca, certificate, key = certificates(tmp_path, "other.example")
    (tmp_path / "second").mkdir()
    other_ca, _, _ = certificates(tmp_path / "second")
    async with stage(Transport.TLS, server_tls=server_context(certificate, key)) as callee:
        port = callee.port(Transport.TLS)
        for trusted, name in ((ca, "carrier.example"), (other_ca, "other.example")):
            async with stage(Transport.UDP, client_tls=client_context(trusted)) as caller:
                target = Target(Transport.TLS, "127.0.0.1", port, tls_name=name)
                caller.endpoint.invite(hop=target, uri="sip:bob@localhost", from_=ANNA, to=BOB, body=OFFER)
                rejected = await caller.next(Rejected)
                assert isinstance(rejected, Rejected)
                assert (rejected.status, rejected.cause) == (503, Cause.TRANSPORT)
                assert callee.events.empty()


async def test_a_refused_connection_and_an_unknown_name_fail_the_call_at_once() -> None:
    async with stage(Transport.UDP) as made:
        for target in (Target(Transport.TCP, "127.0.0.1", free_port()), Target(Transport.UDP, "no such name", 5060)):
            made.endpoint.invite(hop=target, uri="sip:bob@localhost", from_=ANNA, to=BOB, body=OFFER)
            rejected = await made.next(Rejected)
            assert isinstance(rejected, Rejected)
            assert rejected.cause is Cause.TRANSPORT


async def test_a_name_is_resolved_for_udp() -> None:
    async with stage(Transport.UDP) as callee, stage(Transport.UDP) as caller:
        target = Target(Transport.UDP, "localhost", callee.port(Transport.UDP))
        caller.endpoint.send("MESSAGE", hop=target, uri="sip:bob@localhost", from_=ANNA, to=BOB)
        responded = await caller.next(Responded)
        assert isinstance(responded, Responded)
        assert responded.status == 200


async def test_a_listener_that_can_not_be_bound_says_which_and_how_to_mend_it() -> None:
    async with stage(Transport.UDP) as made:
        port = made.port(Transport.UDP)
        second = Stage(EndpointConfig((Listen(Transport.UDP, "127.0.0.1", port),)), answer_calls)
        with pytest.raises(ConfigError, match=f"udp://127.0.0.1:{port} can't be bound"):
            await second.endpoint.start()
        third = Stage(EndpointConfig((Listen(Transport.TLS, "127.0.0.1", 0),)), answer_calls)
        with pytest.raises(ConfigError, match="needs a certificate"):
            await third.endpoint.start()
        await third.endpoint.close()


async def test_an_answer_parses_again() -> None:
    async with stage(Transport.UDP) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        wire.sendto(request_text(body=OFFER, via_extra=";rport", extra="Content-Type: application/sdp\r\n"))
        async with asyncio.timeout(10.0):
            first, second = parse(await peer.received.get()), parse(await peer.received.get())
        assert isinstance(first, Response)
        assert isinstance(second, Response)
        assert (first.status, second.status) == (180, 200)
        assert second.body == OFFER
        assert first.to_tag == second.to_tag != ""


async def test_a_call_over_ipv6_writes_its_addresses_in_brackets() -> None:
    async with stage(Transport.UDP, Transport.TCP, host="::1") as callee, stage(Transport.UDP, host="::1") as caller:
        for transport in (Transport.UDP, Transport.TCP):
            target = Target(transport, "::1", callee.port(transport))
            caller.endpoint.invite(hop=target, uri=f"sip:bob@[::1]:{target.port}", from_=ANNA, to=BOB, body=OFFER)
            received = await callee.next(RequestReceived)
            assert isinstance(received, RequestReceived)
            assert received.request.via.host == "[::1]"
            acked = await callee.next(AckReceived)
            assert isinstance(acked, AckReceived)
            callee.endpoint.bye(acked.dialog)
            assert isinstance(await caller.next(DialogEnded), DialogEnded)


async def test_a_connection_that_ended_is_told_and_requests_to_it_fail() -> None:
    gone = asyncio.Event()
    async with stage(Transport.TCP) as made:
        made.endpoint._on_flow_closed = lambda flow: gone.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        writer.write(request_text("MESSAGE", transport="TCP"))
        received = await made.next(RequestReceived)
        assert isinstance(received, RequestReceived)
        await read_messages(reader, 1)
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10.0):
            await gone.wait()
        made.endpoint.invite(hop=received.flow, uri="sip:peer@127.0.0.1", from_=ANNA, to=BOB, body=OFFER)
        rejected = await made.next(Rejected)
        assert isinstance(rejected, Rejected)
        assert rejected.cause is Cause.TRANSPORT


async def test_listening_on_all_addresses_we_never_call_ourselves_by_the_wildcard() -> None:
    async with stage(Transport.UDP) as callee, stage(Transport.UDP, host="0.0.0.0") as caller:
        target = Target(Transport.UDP, "127.0.0.1", callee.port(Transport.UDP))
        caller.endpoint.invite(hop=target, uri="sip:bob@127.0.0.1", from_=ANNA, to=BOB, body=OFFER)
        received = await callee.next(RequestReceived)
        assert isinstance(received, RequestReceived)
        assert received.request.via.host == "127.0.0.1"
        assert received.request.contact is not None
        assert received.request.contact.sip_uri.host == "127.0.0.1"
        acked = await callee.next(AckReceived)
        assert isinstance(acked, AckReceived)
        callee.endpoint.bye(acked.dialog)
        assert isinstance(await caller.next(DialogEnded), DialogEnded)
