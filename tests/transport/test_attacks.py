"""The same attacks as tests/sip/test_attacks.py, over real sockets: the endpoint answers as it should, and goes on."""

import asyncio

import pytest

from hushwire.sip.effects import AckReceived, DialogEnded, InDialogRequest, RequestReceived
from hushwire.sip.flow import Transport
from hushwire.sip.parse import parse
from tests.sip.attacks import ATTACKS, LENGTHS, SMUGGLING, Attack
from tests.sip.world import OFFER, request_text
from tests.transport.stage import Peer, Stage, stage, udp_peer

PROBE = request_text("OPTIONS", branch="z9hG4bKprobe", call_id="probe", from_tag="probe", via_extra=";rport")


def refuse_calls(made: Stage, event: object) -> None:
    if isinstance(event, RequestReceived):
        made.endpoint.respond(event.tx, 404)


def asking_back(text: bytes) -> bytes:
    """The text with `rport` in its top Via, so that answers come to the socket that it went from, whatever else Via says."""
    return text.replace(b";branch=z9hG4bKone", b";rport;branch=z9hG4bKone", 1) if b";rport=" not in text else text


async def statuses_until_probe(peer: Peer) -> set[int]:
    """Of what came before the answer to PROBE: datagrams on loopback keep their order. Answers echo what can't be parsed."""
    found: set[int] = set()
    async with asyncio.timeout(20.0):
        while b"Call-ID: probe" not in (data := await peer.received.get()):
            found.add(int(data.split(b" ", 2)[1]))
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_over_udp(attack: Attack) -> None:
    async with stage(Transport.UDP, react=refuse_calls) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        wire.sendto(asking_back(attack.text))
        wire.sendto(PROBE)
        statuses = await statuses_until_probe(peer)
        # Without rport the answer goes to sent-by's port, which is not ours: then nothing arrives here, which is as good.
        assert statuses <= {attack.status}
        if attack.status is not None and b";rport;" in asking_back(attack.text):
            assert statuses == {attack.status}
        assert made.events.qsize() == (1 if attack.is_handed_up else 0)


@pytest.mark.parametrize("attack", [*SMUGGLING, *LENGTHS], ids=lambda attack: attack.name)
async def test_over_tcp_nothing_gets_in_behind_it(attack: Attack) -> None:
    async with stage(Transport.TCP, react=refuse_calls) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        writer.write(attack.text.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        writer.write_eof()
        async with asyncio.timeout(20.0):
            await reader.read()
        writer.close()
        assert made.events.empty()
        again, other = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        other.write(PROBE.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        async with asyncio.timeout(20.0):
            assert (await again.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200")
        other.close()


async def test_a_forged_bye_or_reinvite_on_the_call_id_alone_ends_no_call() -> None:
    async with stage(Transport.UDP) as made:
        port = made.port(Transport.UDP)
        async with udp_peer(port) as (phone, peer), udp_peer(port) as (attacker, watched):
            phone.sendto(asking_back(request_text(body=OFFER)))
            async with asyncio.timeout(20.0):
                while (ok := parse(await peer.received.get())).to_tag == "" or getattr(ok, "status", 0) != 200:
                    pass
            phone.sendto(request_text("ACK", branch="z9hG4bKack", to_tag=ok.to_tag))
            await made.next(AckReceived)
            for number, (method, tags) in enumerate(
                (method, tags)
                for method in ("BYE", "INVITE", "UPDATE", "INFO")
                for tags in ({}, {"to_tag": "guess"}, {"to_tag": ok.to_tag, "from_tag": "guess"})
            ):
                if method == "INVITE" and not tags:
                    continue  # a new call, not a re-INVITE
                text = request_text(method, branch=f"z9hG4bKf{number}", cseq=7 + number, via_extra=";rport", **tags)
                attacker.sendto(text)
                async with asyncio.timeout(20.0):
                    assert getattr(parse(await watched.received.get()), "status", 0) == 481
            assert made.events.empty()
            phone.sendto(request_text("INFO", branch="z9hG4bKinfo", cseq=2, to_tag=ok.to_tag))
            assert isinstance(await made.next(InDialogRequest), InDialogRequest)
            phone.sendto(request_text("BYE", branch="z9hG4bKbye", cseq=3, to_tag=ok.to_tag))
            await made.next(DialogEnded)
