"""Softphones that protect their media by DTLS-SRTP, through the whole gateway: baresip as agent, calling and called."""

import asyncio
from typing import Any

import numpy as np
import pytest

from hushwire.app.demo.correlate import Match, correlate, correlate_with_slips
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment, Transport
from tests.interop.test_codecs import recorded

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

HEARD = 0.9


async def sound(party: Party, call: int, expected: np.ndarray, own: np.ndarray) -> Match:
    """How well a party heard what it should have, after making sure that it did not hear itself."""
    heard = (await party.heard(call)).samples
    assert len(heard) > RATE, "heard less than a second"
    assert correlate(own, heard, RATE).score < 0.3
    return correlate_with_slips(expected[: len(heard)], heard, RATE)


async def agents_leg(deployment: Deployment) -> dict[str, Any]:
    """What the API says of the agent's leg of the only active call."""
    (row,) = (await deployment.api().get("/v1/calls?state=active"))["items"]
    leg: dict[str, Any] = row["agent_leg"]
    return leg


@pytest.mark.parametrize("transport", ["udp", "tls"])
async def test_a_phone_calls_out_with_dtls_srtp_and_both_hear_each_other(deployment: Deployment, transport: Transport) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna", kind="baresip", transport=transport, srtp="dtls") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        incoming = await carrier.expect("incoming")
        await anna.expect_state(call, "confirmed")
        await anna.expect("encrypted")
        await asyncio.sleep(4)
        leg = await agents_leg(deployment)
        assert leg["media"] == "dtls-srtp"
        assert leg["suite"] in ("AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80")
        await anna.hangup(call)
        await carrier.expect_state(incoming["call"], "disconnected")
        assert (await sound(anna, call, bundled(CARRIER), bundled(AGENT))).score >= HEARD
        assert (await sound(carrier, incoming["call"], bundled(AGENT), bundled(CARRIER))).score >= HEARD


async def test_a_phone_that_knows_only_dtls_is_called_and_both_hear_each_other(deployment: Deployment) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna", kind="baresip", srtp="dtls") as anna:
        host, port = deployment.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = await anna.expect("incoming")
        await carrier.expect_state(call, "confirmed")
        await asyncio.sleep(4)
        assert (await agents_leg(deployment))["media"] == "dtls-srtp"
        await carrier.hangup(call)
        await anna.expect_state(incoming["call"], "disconnected")
        assert (await sound(carrier, call, bundled(AGENT), bundled(CARRIER))).score >= HEARD
        assert (await sound(anna, incoming["call"], bundled(CARRIER), bundled(AGENT))).score >= HEARD


@pytest.mark.parametrize("codec", ["opus", "G722"])
async def test_two_phones_behind_two_handshakes_speak_wideband_and_the_recording_plays_both(deployment: Deployment, codec: str) -> None:
    known = {row["id"] for row in (await deployment.api().get("/v1/recordings"))["items"]}
    codecs = [{"opus": "opus/48000/2", "G722": "g722/16000/1"}[codec]]
    async with (
        deployment.phone("ben", kind="baresip", srtp="dtls", codecs=codecs, speech=bundled(CARRIER)) as ben,
        deployment.phone("anna", kind="baresip", srtp="dtls", codecs=codecs) as anna,
    ):
        call = await anna.call(deployment.uri("102"))
        incoming = await ben.expect("incoming")
        await anna.expect_state(call, "confirmed")
        await asyncio.sleep(4)
        (row,) = (await deployment.api().get("/v1/calls?state=active"))["items"]
        assert [row[leg]["media"] for leg in ("agent_leg", "peer_leg")] == ["dtls-srtp", "dtls-srtp"]
        assert [row[leg]["codec"] for leg in ("agent_leg", "peer_leg")] == [codec, codec]
        await anna.hangup(call)
        await ben.expect_state(incoming["call"], "disconnected")
        assert (await sound(anna, call, bundled(CARRIER), bundled(AGENT))).score >= HEARD
        assert (await sound(ben, incoming["call"], bundled(AGENT), bundled(CARRIER))).score >= HEARD
        rate, left, right = await recorded(deployment, known)
        assert rate == 2 * RATE
        for side, said, other in ((left[::2], AGENT, CARRIER), (right[::2], CARRIER, AGENT)):
            assert correlate_with_slips(bundled(said)[: len(side)], side, RATE).score >= HEARD
            assert correlate(bundled(other), side, RATE).score < 0.3
