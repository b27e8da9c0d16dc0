"""Softphones that protect their media by DTLS-SRTP, through the whole gateway: baresip as agent, calling and called."""

from typing import Any

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment, Transport
from tests.interop.hearing import RECORDED, hears, holds
from tests.interop.test_codecs import recorded

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


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
        await hears(carrier, incoming["call"], AGENT, CARRIER)
        await hears(anna, call, CARRIER, AGENT)
        leg = await agents_leg(deployment)
        assert leg["media"] == "dtls-srtp"
        assert leg["suite"] in ("AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80")
        await anna.hangup(call)
        await carrier.expect_state(incoming["call"], "disconnected")


async def test_a_phone_that_knows_only_dtls_is_called_and_both_hear_each_other(deployment: Deployment) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna", kind="baresip", srtp="dtls") as anna:
        host, port = deployment.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = await anna.expect("incoming")
        await carrier.expect_state(call, "confirmed")
        await hears(carrier, call, AGENT, CARRIER)
        await hears(anna, incoming["call"], CARRIER, AGENT)
        assert (await agents_leg(deployment))["media"] == "dtls-srtp"
        await carrier.hangup(call)
        await anna.expect_state(incoming["call"], "disconnected")


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
        await hears(ben, incoming["call"], AGENT, CARRIER)
        await hears(anna, call, CARRIER, AGENT)
        (row,) = (await deployment.api().get("/v1/calls?state=active"))["items"]
        assert [row[leg]["media"] for leg in ("agent_leg", "peer_leg")] == ["dtls-srtp", "dtls-srtp"]
        assert [row[leg]["codec"] for leg in ("agent_leg", "peer_leg")] == [codec, codec]
        await anna.hangup(call)
        await ben.expect_state(incoming["call"], "disconnected")
        rate, left, right = await recorded(deployment, known)
        assert rate == 2 * RATE
        for side, said, other in ((left, AGENT, CARRIER), (right, CARRIER, AGENT)):
            assert holds(side, rate, said) >= RECORDED
            assert holds(side, rate, other) < 0.5
