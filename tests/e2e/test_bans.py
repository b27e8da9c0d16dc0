"""`hushwire bans` beside a running hushwire: the gateway obeys, trunks are safe, and what is printed is what machines can read."""

import asyncio
import json

import pytest

from tests.deployments import Deployment
from tests.interop.rawsip import RawSip
from tests.polling import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_operator_bans_lists_exports_and_frees_and_the_gateway_obeys_at_once(deployment: Deployment) -> None:
    stack = deployment.stack
    host, port = stack.sip("udp")
    source = "127.0.0.77"

    async def is_answered() -> bool:
        raw = await RawSip.open((host, port), local=source)
        try:
            message = raw.request("OPTIONS", f"sip:{host}:{port}", "sip:x@127.0.0.1")
            raw.transport.sendto(message, raw.target)
            async with asyncio.timeout(1.0):
                return (await raw.protocol.received.get()).startswith(b"SIP/2.0 200")
        except TimeoutError:
            return False
        finally:
            raw.transport.close()

    assert await is_answered()
    added = json.loads(await stack.run("bans", "add", source, "198.51.100.0/24", "--for", "2h", "--json", "--config", str(stack.config)))
    assert added == {"added": [source, "198.51.100.0/24"], "for_s": 7200}
    await until(lambda: _not(is_answered()), timeout_s=30, what="the banned source gets no answer")
    listed = json.loads(await stack.run("bans", "list", "--json", "--config", str(stack.config)))["bans"]
    assert {(ban["source"], ban["why"]) for ban in listed} == {(source, "operator"), ("198.51.100.0/24", "operator")}
    rules = await stack.run("bans", "export", "--config", str(stack.config))
    assert "delete table inet hushwire" in rules
    assert f"{source} timeout 7" in rules
    assert source in await stack.run("bans", "list", "--config", str(stack.config))
    removed = json.loads(await stack.run("bans", "remove", source, "198.51.100.0/24", "--json", "--config", str(stack.config)))
    assert removed == {"removed": 2}
    await until(is_answered, timeout_s=30, what="the source is answered again")
    status, _, _ = await stack.attempt("bans", "remove", source, "--config", str(stack.config))
    assert status == 1


async def _not(asked: object) -> bool:
    return not await asked  # type: ignore[misc]


async def test_what_can_not_be_banned_is_refused_in_one_sentence_and_nothing_is(deployment: Deployment) -> None:
    stack = deployment.stack
    for arguments, words in (
        (["192.0.2.1", "127.0.0.0/8"], 'the trunk "carrier"'),
        (["192.0.2.1", "nonsense"], "no IP address or network: nonsense"),
        (["192.0.2.1", "--for", "400d"], "at most 366d"),
    ):
        status, out, err = await stack.attempt("bans", "add", *arguments, "--config", str(stack.config))
        assert (status, out) == (1, "")
        assert words in " ".join(err.split())
    assert json.loads(await stack.run("bans", "list", "--json", "--config", str(stack.config))) == {"bans": []}
