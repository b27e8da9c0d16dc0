"""Signed caller numbers between hushwire and what others wrote: SIPp as the carrier, joserfc's tokens, openssl's certificates."""

import json
import shutil
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import ECKey

from tests.deployments import ANNA_NUMBER, FAR_NUMBER, PROVISIONING, start_deployment
from tests.interop.sipp import Sipp, ack_of_refusal, answer, expect, invite_received, invite_to, receive
from tests.polling import until
from tests.sti import made_by_openssl, repository

pytestmark = [
    pytest.mark.interop,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

CALLER = "+442079460999"
REGISTRY = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)


@pytest.mark.slow  # a whole hushwire, with settings of its own
async def test_a_carriers_signature_is_believed_and_ours_is_one_that_others_verify(tmp_path: Path) -> None:
    made_by_openssl(tmp_path)
    (tmp_path / "leaf.key").chmod(0o600)
    key = ECKey.import_key((tmp_path / "leaf.key").read_bytes())
    async with repository(tmp_path) as web:
        url = web.serve("/505J.pem", (tmp_path / "leaf.pem").read_bytes())
        settings = f"""
[shaken]
key = "{tmp_path}/leaf.key"
certificate = "{tmp_path}/leaf.pem"
certificate_url = "{url}"
authorities = "{tmp_path}/ca.pem"
repositories = "{web.authority}"
networks = ["127.0.0.0/8"]
ports = [{web.port}]
wait_ms = 5000
"""
        trunk = PROVISIONING.replace('name = "carrier"\n', 'name = "carrier"\nsigns = true\nverify = "show"\n', 1)
        async with start_deployment(more=settings, provisioning=trunk) as running, running.phone("anna") as anna:

            def identity(**claims: Any) -> str:
                header = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": url}
                said = {"attest": "A", "dest": {"tn": [ANNA_NUMBER[1:]]}, "iat": int(time.time()), "orig": {"tn": CALLER[1:]},
                        "origid": str(uuid4()), **claims}  # fmt: skip
                token = jws.serialize_compact(header, json.dumps(said).encode(), key, registry=REGISTRY)
                return f"Identity: {token};info=<{url}>;alg=ES256;ppt=shaken"

            async def rows() -> list[dict[str, Any]]:
                return [dict(row) for row in (await running.api().get("/v1/calls"))["items"] if row["ended_at"]]

            async def next_row(seen: int) -> dict[str, Any]:
                async def look() -> list[dict[str, Any]] | None:
                    found = await rows()
                    return found if len(found) > seen else None

                found = await until(look, timeout_s=15, what="the row of a call that is over")
                assert found is not None
                return found[0]

            async def comes_in(name: str, line: str) -> dict[str, Any]:
                seen, known = len(anna.events), len(await rows())
                invite = invite_to(ANNA_NUMBER, CALLER).replace("Max-Forwards: 70", f"{line}\nMax-Forwards: 70")
                scenario = [invite, expect(100, optional=True), expect(180, optional=True), expect(183, optional=True),
                            '<recv response="486"/>', ack_of_refusal(ANNA_NUMBER, CALLER)]  # fmt: skip
                host, port = running.stack.sip("udp")
                async with await Sipp.start(tmp_path / name, scenario, port=running.carrier_port, towards=(host, port)) as carrier:
                    await anna.expect("incoming", since=seen)
                    await carrier.succeeded()
                return await next_row(known)

            await anna.tell("policy", status=486, ring_s=0.1)
            row = await comes_in("signed", identity())
            assert (row["caller_verdict"], row["caller_attestation"], row["caller_signer"]) == ("passed", "A", "505J")
            assert web.asked == ["/505J.pem"]

            # The other way: what reaches the carrier is verified with what stands at our certificate's URL.
            known = len(await rows())
            busy = [invite_received(), answer(486, "Busy Here"), receive("ACK")]
            async with await Sipp.start(tmp_path / "out", busy, port=running.carrier_port) as carrier:
                call = await anna.call(running.uri(FAR_NUMBER))
                await anna.expect_state(call, "disconnected")
                await carrier.succeeded()
                sent = carrier.messages()
            value = next(line for line in sent.splitlines() if line.startswith("Identity: ")).removeprefix("Identity: ")
            token, _, params = value.strip().partition(";")
            assert params == f"info=<{url}>;alg=ES256;ppt=shaken"
            leaf = x509.load_pem_x509_certificate((tmp_path / "leaf.pem").read_bytes())
            pem = leaf.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            said = json.loads(jws.deserialize_compact(token, ECKey.import_key(pem), registry=REGISTRY).payload)
            assert (said["orig"], said["dest"], said["attest"]) == ({"tn": ANNA_NUMBER[1:]}, {"tn": [FAR_NUMBER[1:]]}, "A")
            row = await next_row(known)
            assert [(one["trunk"], one["attestation"]) for one in row["trunk_attempts"]] == [("carrier", "A")]
            log = running.stack.log.read_text()
            for secret in (CALLER[1:], token[:40], "505J.pem"):
                assert secret not in log, "neither numbers nor tokens nor strangers' addresses are logged"
