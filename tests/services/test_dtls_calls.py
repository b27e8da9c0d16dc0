"""Calls whose agent protects by DTLS-SRTP, through a whole gateway and over real sockets; and whoever tries to get less than that."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hushwire.media.dtls import DtlsAssociation, Failure
from hushwire.sdp.dtls import RemoteDtls, Setup
from hushwire.sdp.model import Keying
from hushwire.sdp.offer_answer import LegMedia, Refusal, Srtp, accept_answer, answer_offer, build_offer
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.dtls_phone import DtlsPhone, PlainParty, certificate, close_all, packet
from tests.services.running import FAR_NUMBER, Peer, World, facts, need_program, running, until_ended

pytestmark = need_program

TONE = bytes(range(160))
OTHER = bytes(reversed(range(160)))


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made
        close_all()


class Pair:
    """Anna, protected by DTLS, in a call with a carrier that protects nothing."""

    def __init__(self, world: World, anna: Peer, phone: DtlsPhone, party: PlainParty) -> None:
        self.world, self.anna, self.phone, self.party = world, anna, phone, party
        self.sent = 0

    @classmethod
    async def call(cls, world: World, phone: DtlsPhone | None = None, *, setup: Setup | None = None) -> "Pair":
        """Up to the answer; the handshake is the test's."""
        anna, phone, party = await world.peer("anna"), phone or await DtlsPhone.open(), await PlainParty.open()
        local = phone.local
        if setup is not None:
            assert local.dtls is not None
            local = replace(local, dtls=replace(local.dtls, role=setup))
        anna.invite(FAR_NUMBER, local=local, body=build_offer(local, Srtp.REQUIRED, keying=Keying.DTLS))
        incoming = await world.carrier.expect(sip.RequestReceived)
        _, at_party = world.carrier.accept(incoming, local=party.local)
        party.meet(at_party)
        made = cls(world, anna, phone, party)
        made.accepted = await anna.expect(sip.Accepted)
        made.agreed = anna.answer_of(made.accepted.response)
        await world.carrier.expect(sip.AckReceived)
        return made

    accepted: sip.Accepted
    agreed: LegMedia

    def talk(self) -> None:
        """A packet each way."""
        self.sent += 1
        self.phone.send(packet(self.sent, TONE))
        self.party.send(packet(self.sent, OTHER))

    async def heard_both_ways(self) -> None:
        before = len(self.phone.heard), len(self.party.heard)

        def heard() -> bool:
            self.talk()
            return len(self.phone.heard) > before[0] and len(self.party.heard) > before[1]

        await until(heard, timeout_s=10, what="both hear each other")
        assert set(self.phone.heard[before[0] :]) == {OTHER}
        assert set(self.party.heard[before[1] :]) == {TONE}

    async def reoffer(self, **changes: object) -> LegMedia | Refusal | int:
        """A re-INVITE of Anna's phone; what came of it, or the status that refused it."""
        self.phone_local = replace(self.anna.local or self.phone.local, version=2, **changes)  # type: ignore[arg-type]
        keying = changes.get("keying", Keying.DTLS)
        assert isinstance(keying, Keying)
        offer = build_offer(self.phone_local, Srtp.REQUIRED, keying=keying)
        self.anna.endpoint.reinvite(self.accepted.dialog, body=offer)
        responded = await self.anna.expect(sip.Responded)
        if responded.status != 200:
            return responded.status
        assert responded.response is not None
        return accept_answer(offer, responded.response.body, self.phone_local)


@pytest.mark.parametrize("setup", [None, Setup.ACTIVE, Setup.PASSIVE])
async def test_media_flows_both_ways_after_the_handshake_in_either_role_and_the_row_says_so(world: World, setup: Setup | None) -> None:
    pair = await Pair.call(world, setup=setup)
    assert pair.agreed.dtls is not None
    assert pair.agreed.dtls.is_client is (setup is not Setup.PASSIVE)
    row = await world.row("calls", state="active")
    assert facts(row, "agent_leg")["media"] == "dtls-srtp"
    pair.phone.meet(pair.agreed)
    keys = await pair.phone.keyed()
    await pair.heard_both_ways()
    row = await world.row("calls", state="active")

    async def told() -> bool:
        return facts(await world.row("calls", state="active"), "agent_leg")["suite"] == keys.sending.suite.name

    await until(told, what="the row names the suite")
    assert facts(row, "peer_leg")["media"] == "rtp"
    pair.anna.endpoint.bye(pair.accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-agent")
    assert len(world.gateway.calling.handshakes) == 0, "nothing is kept of handshakes that are over"


async def test_before_the_handshake_nothing_passes_in_either_direction(world: World) -> None:
    pair = await Pair.call(world)
    pair.phone._to = (pair.agreed.address, pair.agreed.port)
    live = next(iter(world.gateway.calling.live))
    numbers = itertools.count(1)

    async def counted() -> bool:
        number = next(numbers)
        pair.phone.send_raw(packet(number, TONE))
        pair.party.send(packet(number, OTHER))
        report = await world.gateway.link.client.bridge(live.id)
        return report.legs[1].packets_received >= 20 and report.legs[0].dropped_unkeyed >= 20

    await until(counted, what="what the carrier sent was seen")
    report = await world.gateway.link.client.bridge(live.id)
    assert [leg.packets_sent for leg in report.legs] == [0, 0]
    assert pair.party.heard == []
    assert [data for data in pair.phone.raw if data[0] >= 128] == []
    pair.phone.meet(pair.agreed)
    await pair.phone.keyed()
    await pair.heard_both_ways()


async def test_whoever_shows_another_certificate_than_was_announced_gets_no_key_and_the_call_ends_on_both_sides(world: World) -> None:
    pair = await Pair.call(world, await DtlsPhone.open(shows=certificate()))
    pair.phone.meet(pair.agreed)
    await world.carrier.expect(sip.DialogEnded)
    await until_ended(pair.anna)
    assert pair.phone.association is not None
    await until(lambda: pair.phone.association is not None and pair.phone.association.failure is Failure.REFUSED, what="the alert came")
    await world.row("calls", state="ended", end_reason="not-protected")
    assert pair.party.heard == []
    assert [data for data in pair.phone.raw if data[0] >= 128] == []


async def test_a_handshake_that_never_comes_ends_the_call_when_patience_does(world: World) -> None:
    world.gateway.calling.handshakes._patience_s = 0.5
    await Pair.call(world)
    await world.carrier.expect(sip.DialogEnded)
    row = await world.row("calls", state="ended", end_reason="not-protected")
    assert facts(row, "agent_leg")["suite"] is None


async def test_a_handshake_from_elsewhere_does_not_take_the_place_of_the_announced_party(world: World) -> None:
    pair, stranger = await Pair.call(world), await DtlsPhone.open()
    stranger.meet(pair.agreed, shows=pair.phone.announced)  # even with the right certificate: it is not where SDP says
    for _ in range(20):
        stranger.send_raw(b"\x16\xfe\xfd" + bytes(60), (pair.agreed.address, pair.agreed.port))
    pair.phone.meet(pair.agreed)
    await pair.phone.keyed()
    await pair.heard_both_ways()
    assert stranger.association is not None
    assert stranger.association.keys is None


async def test_a_re_invite_with_the_same_certificate_keeps_the_keys_and_media_goes_on(world: World) -> None:
    pair = await Pair.call(world)
    pair.phone.meet(pair.agreed)
    keys = await pair.phone.keyed()
    await pair.heard_both_ways()
    again = await pair.reoffer()
    assert isinstance(again, LegMedia)
    await pair.heard_both_ways()
    assert pair.phone.association is not None
    assert pair.phone.association.keys == keys


async def test_a_re_invite_with_a_new_certificate_needs_a_new_handshake_and_the_old_keys_end_at_once(world: World) -> None:
    pair = await Pair.call(world)
    pair.phone.meet(pair.agreed)
    old = await pair.phone.keyed()
    await pair.heard_both_ways()
    pair.phone.announced = pair.phone.shows = certificate()
    again = await pair.reoffer(dtls=replace(pair.phone.local.dtls, role=None))  # type: ignore[type-var]
    assert isinstance(again, LegMedia)
    count = len(pair.party.heard)
    for _ in range(20):
        pair.talk()
    pair.phone.meet(again)
    new = await pair.phone.keyed()
    assert new.sending.key != old.sending.key
    await pair.heard_both_ways()
    assert len(pair.party.heard) >= count + 1


async def test_a_call_is_never_talked_down_to_less_protection(world: World) -> None:
    anna, phone = await world.peer("anna"), await DtlsPhone.open()
    protected = build_offer(phone.local, Srtp.REQUIRED, keying=Keying.DTLS)
    for weaker in (
        protected.replace(b"UDP/TLS/RTP/SAVP", b"RTP/AVP"),
        b"\r\n".join(line for line in protected.split(b"\r\n") if not line.startswith(b"a=fingerprint")),
        protected.replace(b"sha-256 ", b"sha-1 "),
        protected.replace(b"a=setup:actpass", b"a=setup:actpass\r\na=setup:passive"),
    ):
        anna.invite(FAR_NUMBER, body=weaker)
        rejected = await anna.expect(sip.Rejected)
        assert rejected.status == 488
        assert rejected.response is not None
        assert "SIP;cause=488" in (rejected.response.headers.get("Reason") or "")
    assert world.carrier.events.empty()
    pair = await Pair.call(world)
    pair.phone.meet(pair.agreed)
    await pair.phone.keyed()
    clear = build_offer(replace(pair.phone.local, version=3), Srtp.NEVER)
    pair.anna.endpoint.reinvite(pair.accepted.dialog, body=clear)
    assert (await pair.anna.expect(sip.Responded)).status == 488
    await pair.heard_both_ways()


async def test_a_called_phone_that_answers_with_a_fingerprint_is_protected_by_it(world: World) -> None:
    anna, phone, party = await world.peer("anna"), await DtlsPhone.open(), await PlainParty.open()
    world.carrier.user = "+493023125999"
    world.carrier.invite(f"sip:+493023125000@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=party.local)
    ringing = await anna.expect(sip.RequestReceived)
    outcome = answer_offer(ringing.request.body, phone.local, Srtp.REQUIRED)
    assert not isinstance(outcome, Refusal)
    anna.endpoint.respond(ringing.tx, 200, body=outcome.body)
    accepted = await world.carrier.expect(sip.Accepted)
    party.meet(world.carrier.answer_of(accepted.response))
    phone.meet(outcome.media)
    await phone.keyed()
    pair = Pair(world, anna, phone, party)
    await pair.heard_both_ways()


async def test_two_agents_are_protected_by_two_handshakes(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    here, there = await DtlsPhone.open(), await DtlsPhone.open()
    anna.invite("102", local=here.local, body=build_offer(here.local, Srtp.REQUIRED, keying=Keying.DTLS))
    ringing = await ben.expect(sip.RequestReceived)
    outcome = answer_offer(ringing.request.body, there.local, Srtp.REQUIRED)
    assert not isinstance(outcome, Refusal)
    ben.endpoint.respond(ringing.tx, 200, body=outcome.body)
    accepted = await anna.expect(sip.Accepted)
    here.meet(anna.answer_of(accepted.response))
    there.meet(outcome.media)
    keys = await asyncio.gather(here.keyed(), there.keyed())
    assert keys[0].sending.key != keys[1].receiving.key

    numbers = itertools.count(1)

    def heard() -> bool:
        number = next(numbers)
        here.send(packet(number, TONE))
        there.send(packet(number, OTHER))
        return TONE in there.heard and OTHER in here.heard

    await until(heard, timeout_s=10, what="both hear each other")
    assert set(there.heard) == {TONE}
    assert set(here.heard) == {OTHER}


async def test_a_flood_under_the_partys_own_address_does_not_keep_the_party_out_and_is_not_worked_for(world: World) -> None:
    """Who forges the announced address does not hear what is sent there, so it has no cookie; alerts and garbage end nothing."""
    pair = await Pair.call(world)
    to = (pair.agreed.address, pair.agreed.port)
    (hello,) = DtlsAssociation(certificate(), RemoteDtls((pair.phone.announced.fingerprint,), is_client=True)).start()

    def flood(count: int) -> None:
        """Hellos of as many clients, some with made-up cookies; fatal alerts; records of every kind that say nothing."""
        for n in range(count):
            forged = hello[:27] + os.urandom(32) + hello[59:]
            if n % 3 == 1:
                forged = forged[:60] + bytes([16]) + os.urandom(16) + forged[61:]
            pair.phone.send_raw(forged, to)
            if n % 5 == 0:
                pair.phone.send_raw(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", to)
                pair.phone.send_raw(b"\x16\xfe\xfd\0\1" + os.urandom(6) + b"\0\x40" + os.urandom(64), to)

    flood(2_000)
    # The cookies that the flood asks for come to the party, whose own patience is not what is tried here.
    pair.phone.meet(pair.agreed, most=1_000_000)
    for _ in range(2_000):
        association = pair.phone.association
        assert association is not None
        assert association.failure is None
        if association.keys is not None:
            break
        flood(20)
        await asyncio.sleep(0.005)
    await pair.phone.keyed()
    await pair.heard_both_ways()
    live = next(iter(world.gateway.calling.live))
    leg = (await world.gateway.link.client.bridge(live.id)).legs[0]
    assert leg.dtls_refused >= 2_000
