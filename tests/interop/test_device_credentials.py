"""Devices with credentials of their own, minted and revoked over the API, on phones that we did not write."""

import pytest

from tests.deployments import ANNA_NUMBER, Deployment, Kind, Transport

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def agent_id(running: Deployment, username: str) -> str:
    (found,) = [item["id"] for item in (await running.api().get("/v1/agents"))["items"] if item["username"] == username]
    return str(found)


@pytest.mark.parametrize(("kind", "transport"), [("pjsua2", "udp"), ("pjsua2", "tls"), ("baresip", "udp"), ("baresip", "tls")])
async def test_a_phone_uses_its_own_credential_until_it_is_revoked_in_the_middle_of_its_call(
    deployment: Deployment, kind: Kind, transport: Transport
) -> None:
    api, agent = deployment.api(), await agent_id(deployment, "anna")
    others = (await api.get(f"/v1/agents/{agent}"))["devices"]  # of phones that died in tests before
    made = await api.post(f"/v1/agents/{agent}/devices", {"name": f"{kind} {transport}"})
    login = {"username": made["login"], "password": made["password"]}
    async with deployment.carrier() as carrier, deployment.phone("anna", kind=kind, transport=transport, **login) as phone:
        assert (await phone.expect("registration"))["status"] == 200
        host, port = deployment.stack.sip("udp")
        call = await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")
        incoming = await phone.expect("incoming")
        await carrier.expect_state(call, "confirmed")
        api.accepted(await api.ask("DELETE", f"/v1/agents/{agent}/devices/{made['id']}"), "DELETE", "device")
        await carrier.expect_state(call, "disconnected")
        await phone.expect_state(incoming["call"], "disconnected")
        assert (await api.get(f"/v1/agents/{agent}"))["devices"] == others
    async with deployment.phone("anna", kind=kind, transport=transport, **login) as refused:
        assert (await refused.expect("registration"))["status"] == 401
