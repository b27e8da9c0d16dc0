"""Trunks over TLS, with the carrier's certificate verified, and trunks whose media is SRTP: a PJSUA2 carrier, real sound."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, PROVISIONING, Deployment, start_deployment
from tests.interop.authorities import Certified, Tap, ThrowAway
from tests.interop.hearing import hears
from tests.polling import until
from tests.ports import free_port

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

# Another loopback address: what comes from it is the trunk's, what comes from 127.0.0.1 an agent's.
CARRIER_HOST, NOBODY = "127.0.0.2", "127.0.0.9"
PLAIN_TRUNK = 'uri = "sip:127.0.0.1:{carrier};transport=udp"\nsrtp = "never"'


def trunk(uri: str, srtp: str) -> str:
    """The tests' provisioning with another trunk."""
    assert PLAIN_TRUNK in PROVISIONING
    return PROVISIONING.replace(PLAIN_TRUNK, f'uri = "{uri}"\naddresses = ["{CARRIER_HOST}"]\nsrtp = "{srtp}"')


@dataclass
class Secured:
    """A hushwire whose only trunk is over TLS, and the authority that it trusts for carriers."""

    running: Deployment
    authority: ThrowAway
    stranger: ThrowAway

    @asynccontextmanager
    async def carrier(self, shown: Certified, *, bind: str = CARRIER_HOST, port: int = 0, **options: Any) -> AsyncIterator[Party]:
        opened = {
            "transport": "tls",
            "bind": bind,
            "port": port or self.running.carrier_port,
            "ca": str(self.running.stack.authority),
            "certificate": str(shown.certificate),
            "key": str(shown.key),
        }
        async with self.running.carrier(opened=opened, **options) as party:
            yield party

    @property
    def honest(self) -> Certified:
        return self.authority.certify(address=CARRIER_HOST)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    uri = f"sip:{CARRIER_HOST}:{{carrier}};transport=tls"
    async with start_secured(tmp_path_factory.mktemp("authorities"), uri) as started:
        yield started


@asynccontextmanager
async def start_secured(folder: Path, uri: str, *, is_private: bool = True) -> AsyncIterator[Secured]:
    """A hushwire with a trunk over TLS that must carry SRTP; the system's authorities count unless there `is_private` one."""
    authority, stranger = ThrowAway.make(folder / "good"), ThrowAway.make(folder / "other")
    more = f'[tls]\ntrunk_authorities = "{authority.file}"' if is_private else ""
    async with start_deployment(more=more, provisioning=trunk(uri, "required")) as running:
        yield Secured(running, authority, stranger)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def optional() -> AsyncIterator[Deployment]:
    """A hushwire whose only trunk is over UDP, with SRTP where the carrier knows it."""
    async with start_deployment(provisioning=trunk(f"sip:{CARRIER_HOST}:{{carrier}};transport=udp", "optional")) as running:
        yield running


async def hear_each_other(anna: Party, call: int, carrier: Party, theirs: int) -> None:
    """Each side hears the other, and not itself."""
    await hears(anna, call, CARRIER, AGENT)
    await hears(carrier, theirs, AGENT, CARRIER)


async def live(running: Deployment) -> dict[str, Any]:
    (row,) = (await running.api().get("/v1/calls?state=active"))["items"]
    return dict(row)


async def fails(running: Deployment, anna: Party) -> tuple[int, str]:
    """A call of anna's that must fail: the status that she sees, and the reason that its row gives (it follows by moments)."""

    async def rows() -> list[dict[str, Any]]:
        return list((await running.api().get("/v1/calls"))["items"])

    known = {row["id"] for row in await rows()}
    call = await anna.call(running.uri(FAR_NUMBER))
    ended = await anna.expect_state(call, "disconnected")

    async def look() -> list[dict[str, Any]]:
        return [row for row in await rows() if row["id"] not in known and row["state"] in ("ended", "failed")]

    row: dict[str, Any]
    (row,) = await until(look, what="a row of the call that failed")
    return int(ended["status"]), str(row["end_reason"])


async def talk_out(running: Deployment, carrier: Party, anna: Party) -> dict[str, Any]:
    """A call from anna to the carrier in which they hear each other, ended by her; the row while it was live."""
    seen = len(carrier.events)
    call = await anna.call(running.uri(FAR_NUMBER))
    incoming = await carrier.expect("incoming", since=seen)
    await anna.expect_state(call, "confirmed")
    await hear_each_other(anna, call, carrier, incoming["call"])
    row = await live(running)
    await anna.hangup(call)
    await carrier.expect_state(incoming["call"], "disconnected")
    return row


async def talk_in(running: Deployment, carrier: Party, anna: Party, transport: Any) -> dict[str, Any]:
    """A call from the carrier to anna's number in which they hear each other, ended by the carrier; the row while it was live."""
    host, port = running.stack.sip(transport)
    seen = len(anna.events)
    theirs = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port};transport={transport}")
    incoming = await anna.expect("incoming", since=seen)
    await carrier.expect_state(theirs, "confirmed")
    await hear_each_other(anna, incoming["call"], carrier, theirs)
    row = await live(running)
    await carrier.hangup(theirs)
    await anna.expect_state(incoming["call"], "disconnected")
    return row


async def test_calls_both_ways_over_a_tls_trunk_of_a_private_authority_carry_srtp_on_both_legs(secured: Secured) -> None:
    running = secured.running
    async with secured.carrier(secured.honest, srtp="mandatory") as carrier, running.phone("anna", transport="tls") as anna:
        for talk in (talk_out(running, carrier, anna), talk_in(running, carrier, anna, "tls")):
            row = await talk
            for leg in ("agent_leg", "peer_leg"):
                assert row[leg]["transport"] == "tls"
                assert row[leg]["tls"] is True
                assert row[leg]["media"] == "srtp"
                assert row[leg]["suite"] in ("AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80")
        for event in carrier.events:
            if event["event"] == "media" and "srtp" in event:
                assert event["srtp"], event
                assert event["profile"] == "RTP/SAVP"


@pytest.mark.parametrize("fault", ["another authority's", "another address's", "none"])
async def test_a_carrier_whose_certificate_is_wrong_hears_nothing_and_the_call_fails(secured: Secured, fault: str) -> None:
    running = secured.running
    shown = {
        "another authority's": secured.stranger.certify(address=CARRIER_HOST),
        "another address's": secured.authority.certify(address=NOBODY),
        "none": secured.honest,
    }[fault]
    behind = free_port()
    async with (
        secured.carrier(shown, bind="127.0.0.1", port=behind, srtp="mandatory", status=486) as carrier,
        Tap(("127.0.0.1", behind)).listen(CARRIER_HOST, running.carrier_port) as tap,
        running.phone("anna", transport="tls") as anna,
    ):
        failure = await fails(running, anna)
        assert tap.connections >= 1
        assert tap.said[:1] == b"\x16", "what was sent is no TLS handshake"
        assert not any(word in tap.said for word in (b"SIP/2.0", b"INVITE", FAR_NUMBER[1:].encode(), ANNA_NUMBER[1:].encode()))
        assert tap.datagrams == []
        if fault == "none":
            # The same way with an honest certificate leads to the carrier.
            assert failure == (486, "busy")
            assert carrier.events
        else:
            assert failure == (503, "trunk-failed")
            assert carrier.events == []


async def test_a_trunk_by_sips_is_reached_over_tls_only_and_both_hear_each_other(tmp_path: Path) -> None:
    async with (
        start_secured(tmp_path, f"sips:{CARRIER_HOST}:{{carrier}}") as secured,
        secured.carrier(secured.honest, srtp="mandatory") as carrier,
        secured.running.phone("anna", transport="tls") as anna,
    ):
        row = await talk_out(secured.running, carrier, anna)
        assert row["peer_leg"]["tls"] is True


async def test_without_authorities_of_its_own_only_the_systems_count(tmp_path: Path) -> None:
    async with (
        start_secured(tmp_path, f"sip:{CARRIER_HOST}:{{carrier}};transport=tls", is_private=False) as secured,
        secured.carrier(secured.honest, srtp="mandatory") as carrier,
        secured.running.phone("anna", transport="tls") as anna,
    ):
        assert await fails(secured.running, anna) == (503, "trunk-failed")
        assert carrier.events == []


async def test_a_carrier_without_srtp_gets_no_call_where_the_trunk_requires_it(secured: Secured) -> None:
    running = secured.running
    async with secured.carrier(secured.honest, srtp="off") as carrier, running.phone("anna", transport="tls") as anna:
        assert await fails(running, anna) == (488, "no-common-media")
        assert not [e for e in carrier.events if e["event"] == "media" and e.get("codec")]
        # Nor is its own call taken.
        host, port = running.stack.sip("tls")
        theirs = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port};transport=tls")
        assert (await carrier.expect_state(theirs, "disconnected"))["status"] == 488
        assert not [e for e in anna.events if e["event"] == "incoming"]


async def test_optional_srtp_is_offered_first_and_taken_by_a_carrier_that_knows_it(optional: Deployment) -> None:
    opened = {"bind": CARRIER_HOST}
    async with optional.carrier(srtp="mandatory", opened=opened) as carrier, optional.phone("anna") as anna:
        for talk in (talk_out(optional, carrier, anna), talk_in(optional, carrier, anna, "udp")):
            row = await talk
            assert row["agent_leg"]["media"] == row["peer_leg"]["media"] == "srtp"
            assert row["peer_leg"]["suite"]
            assert row["peer_leg"]["tls"] is False
        assert len([e for e in carrier.events if e["event"] == "incoming"]) == 1, "it was asked twice"


async def test_optional_srtp_falls_back_to_rtp_for_a_carrier_that_refuses_it_and_the_api_says_so(optional: Deployment) -> None:
    opened = {"bind": CARRIER_HOST}
    async with optional.carrier(srtp="off", opened=opened) as carrier, optional.phone("anna") as anna:
        for talk in (talk_out(optional, carrier, anna), talk_in(optional, carrier, anna, "udp")):
            row = await talk
            assert row["agent_leg"]["media"] == "srtp"
            assert row["peer_leg"] == {"transport": "udp", "tls": False, "media": "rtp", "suite": None, "codec": "PCMU"}
        assert {e["profile"] for e in carrier.events if e["event"] == "media" and "profile" in e} == {"RTP/AVP"}
