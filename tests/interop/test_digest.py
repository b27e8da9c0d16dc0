"""Who may register: digest as RFC 7616 and RFC 8760 want it, seen from the wire."""

import pytest

from hushwire.app.demo.stack import DOMAIN
from tests.deployments import Deployment
from tests.interop.rawsip import RawSip, challenges, digest, status

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

HOME = f"acme.{DOMAIN}"
URI = f"sip:{HOME}"
PASSWORD = "anna's secret"


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("username", ["anna", "anna@acme"])
async def test_both_algorithms_and_both_forms_of_the_name_register(deployment: Deployment, algorithm: str, username: str) -> None:
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        asked = challenges(await raw.ask(raw.register("anna", HOME)))
        assert [c["algorithm"] for c in asked] == ["SHA-256", "MD5"], "the stronger one is to be offered first (RFC 8760)"
        assert all(c["qop"] == "auth" and c["realm"] == DOMAIN for c in asked)
        chosen = next(c for c in asked if c["algorithm"] == algorithm)
        answer = await raw.ask(raw.register("anna", HOME, digest(chosen, username, PASSWORD, "REGISTER", URI)))
        assert status(answer) == 200
        assert f"127.0.0.1:{raw.port}" in answer
        gone = digest(chosen, username, PASSWORD, "REGISTER", URI, count=2)
        assert status(await raw.ask(raw.register("anna", HOME, gone, expires_s=0))) == 200


async def test_a_replayed_nonce_count_is_refused(deployment: Deployment) -> None:
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        challenge = challenges(await raw.ask(raw.register("anna", HOME)))[0]
        overheard = digest(challenge, "anna", PASSWORD, "REGISTER", URI)
        assert status(await raw.ask(raw.register("anna", HOME, overheard))) == 200
        async with await RawSip.open(deployment.stack.sip("udp")) as thief:
            answer = await thief.ask(thief.register("anna", HOME, overheard))
            assert status(answer) == 401
            assert f":{thief.port}" not in answer.split("Contact:")[-1] or "Contact:" not in answer
        second = digest(challenge, "anna", PASSWORD, "REGISTER", URI, count=2)
        assert status(await raw.ask(raw.register("anna", HOME, second, expires_s=0))) == 200


async def test_wrong_secrets_never_get_in_and_unknown_names_look_the_same(deployment: Deployment) -> None:
    answers = {}
    for user, password in (("anna", "guess"), ("nobody-here", "guess"), ("anna", "ben's secret")):
        async with await RawSip.open(deployment.stack.sip("udp")) as raw:
            challenge = challenges(await raw.ask(raw.register(user, HOME)))[0]
            answer = await raw.ask(raw.register(user, HOME, digest(challenge, user, password, "REGISTER", URI)))
            answers[(user, password)] = status(answer)
    assert len(set(answers.values())) == 1, answers
    assert set(answers.values()) <= {401, 403}


async def test_bens_credentials_do_not_register_annas_address(deployment: Deployment) -> None:
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        challenge = challenges(await raw.ask(raw.register("anna", HOME)))[0]
        answer = await raw.ask(raw.register("anna", HOME, digest(challenge, "ben", "ben's secret", "REGISTER", URI)))
        assert status(answer) in (401, 403)


async def test_a_made_up_nonce_is_answered_with_a_new_challenge(deployment: Deployment) -> None:
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        challenge = challenges(await raw.ask(raw.register("anna", HOME)))[0]
        forged = {**challenge, "nonce": "0" * len(challenge["nonce"])}
        answer = await raw.ask(raw.register("anna", HOME, digest(forged, "anna", PASSWORD, "REGISTER", URI)))
        assert status(answer) == 401
        assert challenges(answer)[0]["nonce"] != forged["nonce"]


async def test_options_is_answered_without_credentials(deployment: Deployment) -> None:
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        assert status(await raw.ask(raw.request("OPTIONS", f"sip:{DOMAIN}", "sip:probe@127.0.0.1"))) == 200


async def test_an_invite_without_credentials_goes_nowhere(deployment: Deployment) -> None:
    async with deployment.carrier() as carrier, await RawSip.open(deployment.stack.sip("udp")) as raw:
        answer = await raw.ask(raw.request("INVITE", f"sip:+442079460123@{HOME}", f"sip:anna@{HOME}", to=f"sip:+442079460123@{HOME}"))
        assert status(answer) in (401, 407)
        assert carrier.events == []
