"""Carriers whose certificates are known one by one, carriers that ask for ours, and connections that end under an INVITE."""

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hushwire.sip.effects import Cause, Rejected, Responded
from hushwire.sip.flow import Target, Transport
from hushwire.transport.tls import client_context, is_pinned, pinned_context, server_context
from tests.polling import until
from tests.sip.world import ANNA, BOB, OFFER
from tests.transport.stage import certificates, stage


def pin_of(certificate: Path) -> str:
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


@pytest.mark.parametrize("is_right", [True, False])
async def test_a_pinned_certificate_counts_whoever_signed_it_and_no_other_does(is_right: bool, tmp_path: Path) -> None:
    _, chain, key = certificates(tmp_path, "somebody.else.example")
    pins = (pin_of(chain) if is_right else "sha256:" + "0" * 64,)
    async with stage(Transport.TLS, server_tls=server_context(chain, key)) as carrier, stage(pinned_tls=pinned_context()) as made:
        hop = Target(Transport.TLS, "127.0.0.1", carrier.port(Transport.TLS), "carrier.example", pins)
        made.endpoint.send("MESSAGE", hop=hop, uri=BOB.sip_uri, from_=ANNA, to=BOB)
        event = await made.next(Responded)
        assert isinstance(event, Responded)
        assert event.cause is (Cause.RESPONSE if is_right else Cause.TRANSPORT)
        assert carrier.events.empty() is not is_right, "something was said to a carrier that is not the one"


async def test_a_pin_is_no_way_around_verification_for_others(tmp_path: Path) -> None:
    _, chain, key = certificates(tmp_path)
    async with (
        stage(Transport.TLS, server_tls=server_context(chain, key)) as carrier,
        stage(pinned_tls=pinned_context(), client_tls=client_context()) as made,
    ):
        made.endpoint.send(
            "MESSAGE", hop=Target(Transport.TLS, "127.0.0.1", carrier.port(Transport.TLS)), uri=BOB.sip_uri, from_=ANNA, to=BOB
        )
        event = await made.next(Responded)
        assert isinstance(event, Responded)
        assert event.cause is Cause.TRANSPORT


def test_nothing_is_pinned_without_a_certificate() -> None:
    assert not is_pinned(None, ("sha256:" + hashlib.sha256(b"").hexdigest(),))
    assert is_pinned(b"x", ("sha256:" + "0" * 64, f"sha256:{hashlib.sha256(b'x').hexdigest()}"))


@pytest.mark.parametrize("shows", [True, False])
async def test_a_carrier_that_asks_for_our_certificate_is_shown_it(shows: bool, tmp_path: Path) -> None:
    ca, chain, key = certificates(tmp_path)
    asking = server_context(chain, key)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(str(ca))
    # Without ours TLS 1.3 tells only after the handshake; 1.2 fails within it.
    asking.maximum_version = ssl.TLSVersion.TLSv1_2
    ours = client_context(ca, chain, key) if shows else client_context(ca)
    async with stage(Transport.TLS, server_tls=asking) as carrier, stage(client_tls=ours) as made:
        made.endpoint.send(
            "MESSAGE", hop=Target(Transport.TLS, "127.0.0.1", carrier.port(Transport.TLS)), uri=BOB.sip_uri, from_=ANNA, to=BOB
        )
        event = await made.next(Responded)
        assert isinstance(event, Responded)
        assert event.cause is (Cause.RESPONSE if shows else Cause.TRANSPORT)


async def test_a_connection_that_drops_after_the_invite_was_sent_fails_it_at_once_and_not_after_32_s() -> None:
    async def take_and_drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take_and_drop, "127.0.0.1", 0)
    async with server, stage() as made:
        hop = Target(Transport.TCP, "127.0.0.1", server.sockets[0].getsockname()[1])
        began = made.endpoint.now()
        made.endpoint.invite(hop=hop, uri=BOB.sip_uri, from_=ANNA, to=BOB, body=OFFER)
        event = await made.next(Rejected, timeout_s=20)
        assert isinstance(event, Rejected)
        assert (event.status, event.cause) == (503, Cause.TRANSPORT)
        assert made.endpoint.now() - began < 16


async def test_an_invite_that_was_given_up_while_its_connection_was_made_is_never_sent() -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            heard.extend(data)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server, stage() as made:
        hop = Target(Transport.TCP, "127.0.0.1", server.sockets[0].getsockname()[1])
        invite = made.endpoint.invite(hop=hop, uri=BOB.sip_uri, from_=ANNA, to=BOB, body=OFFER, silence_s=4.0)
        tx = next(iter(made.endpoint.ua._client.transactions.values()))
        made.endpoint.ua._client.abandon(tx, Cause.TIMEOUT, made.endpoint.now())
        made.endpoint.flush()
        event = await made.next(Rejected)
        assert isinstance(event, Rejected)
        assert event.invite == invite
        # What is wanted goes by the same connection, and is the first thing that the carrier hears.
        made.endpoint.send("OPTIONS", hop=hop, uri=BOB.sip_uri, from_=ANNA, to=BOB)
        await until(lambda: b"\r\n\r\n" in heard, what="the carrier hears something")
        assert heard.startswith(b"OPTIONS ")
        assert b"INVITE sip" not in heard
