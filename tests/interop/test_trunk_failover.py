"""Carriers that are silent, lie, refuse or answer nonsense: SIPp as the first carrier, PJSUA2 with real sound as the second."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import PROVISIONING, Deployment, start_deployment
from tests.interop.hearing import hears
from tests.interop.sipp import Sipp, answer, invite_received, pause, receive, reply_in_dialog
from tests.polling import until
from tests.ports import free_port

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

# Each bad carrier has numbers of its own, so that the rest of one is no other test's business.
BAD = {
    "silent": "+442079460101",
    "stalling": "+442079460102",
    "overloaded": "+442079460103",
    "mute": "+442079460104",
    "strange": "+442079460105",
    "busy": "+442079460106",
}
PORTS: dict[str, int] = {}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running() -> AsyncIterator[Deployment]:
    entries = []
    for name, number in BAD.items():
        PORTS[name] = free_port()
        entries.append(f"""
[[trunks]]
name = "{name}"
uri = "sip:127.0.0.1:{PORTS[name]};transport=udp"
srtp = "never"
prefixes = ["{number}"]
number_format = "e164"
username = "hush001"
password = "the-trunks-password"
realm = "carrier.example"
""")
    good = PROVISIONING.replace('name = "carrier"\n', 'name = "carrier"\npriority = 10\n', 1)
    async with start_deployment(provisioning="".join(entries) + good) as started:
        yield started


@asynccontextmanager
async def bad(tmp_path: Path, name: str, *scenario: str) -> AsyncIterator[Sipp]:
    async with await Sipp.start(tmp_path / name, [invite_received(), *scenario], port=PORTS[name], timeout_s=60) as made:
        yield made


async def row_of(running: Deployment, first: str) -> dict[str, Any]:
    """The row of the call that tried this carrier first, once it is over."""

    async def look() -> dict[str, Any] | None:
        rows = (await running.api().get("/v1/calls"))["items"]
        return next((dict(row) for row in rows if row["trunk_attempts"] and row["trunk_attempts"][0]["trunk"] == first), None)

    found = await until(look, timeout_s=15, what="the row of a call that is over")
    assert found is not None
    return found


def attempts(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["trunk"], one["outcome"]) for one in row["trunk_attempts"]]


async def talk(running: Deployment, anna: Party, good: Party, number: str) -> dict[str, Any]:
    """A call that the second carrier must get: both hear each other; the row."""
    seen = len(good.events)
    call = await anna.call(running.uri(number))
    incoming = await good.expect("incoming", since=seen)
    assert number in incoming["to"]
    await anna.expect_state(call, "confirmed")
    await hears(anna, call, CARRIER, AGENT)
    await hears(good, incoming["call"], AGENT, CARRIER)
    await anna.hangup(call)
    await good.expect_state(incoming["call"], "disconnected")
    return await row_of(running, next(name for name, own in BAD.items() if own == number))


async def test_a_silent_carrier_is_left_within_4_s_and_the_second_carries_sound_both_ways(running: Deployment, tmp_path: Path) -> None:
    async with (
        bad(tmp_path, "silent", pause(30000)) as silent, running.carrier() as good, running.phone("anna") as anna,
    ):  # fmt: skip
        row = await talk(running, anna, good, BAD["silent"])
        assert attempts(row) == [("silent", "silent"), ("carrier", "answered")]
        assert 3900 <= row["trunk_attempts"][0]["after_ms"] < 8000
        assert f"INVITE sip:{BAD['silent'][1:]}@" in silent.messages(), "its own number format"

        async def is_counted() -> bool:
            text = (await running.api().ask("GET", "/metrics")).body.decode()
            return 'hushwire_trunk_attempts_total{outcome="silent",trunk="silent"}' in text and 'hushwire_trunk_up{gateway="' in text

        await until(is_counted, timeout_s=20, what="the metrics tell of trunks")


@pytest.mark.slow  # a carrier that stalls is borne for 16 s
async def test_a_carrier_that_says_100_and_then_nothing_is_cancelled_and_left(running: Deployment, tmp_path: Path) -> None:
    cancelled = [receive("CANCEL"), answer(200, "OK")]
    async with (
        bad(tmp_path, "stalling", answer(100, "Trying"), *cancelled) as stalling,
        running.carrier() as good,
        running.phone("anna") as anna,
    ):
        seen = len(good.events)
        call = await anna.call(running.uri(BAD["stalling"]))
        incoming = await good.expect("incoming", since=seen, timeout_s=40)
        await anna.expect_state(call, "confirmed")
        await anna.hangup(call)
        await good.expect_state(incoming["call"], "disconnected")
        assert "CANCEL sip:" in stalling.messages()
        assert attempts(await row_of(running, "stalling")) == [("stalling", "silent"), ("carrier", "answered")]


async def test_a_carrier_that_is_overloaded_is_followed_by_the_second(running: Deployment, tmp_path: Path) -> None:
    async with (
        bad(tmp_path, "overloaded", answer(503, "Overloaded", extra="Retry-After: 60"), receive("ACK")) as overloaded,
        running.carrier() as good,
        running.phone("anna") as anna,
    ):
        row = await talk(running, anna, good, BAD["overloaded"])
        assert attempts(row) == [("overloaded", "503"), ("carrier", "answered")]
        await overloaded.succeeded()

        async def is_told() -> bool:
            trunks = (await running.api().get("/v1/trunks"))["items"]
            found = {trunk["name"]: trunk["health"][0] for trunk in trunks if trunk["health"]}
            return bool(found) and (found["overloaded"]["standing"], found["overloaded"]["reason"]) == ("resting", "overloaded")

        await until(is_told, timeout_s=15, what="the API says that it rests")


async def test_a_carrier_that_challenges_for_another_realm_learns_no_digest_and_the_second_carries_the_call(
    running: Deployment, tmp_path: Path
) -> None:
    challenge = 'WWW-Authenticate: Digest realm="evil.example", nonce="f00", qop="auth", algorithm=MD5'
    async with (
        bad(tmp_path, "strange", answer(401, "Unauthorized", extra=challenge), receive("ACK")) as strange,
        running.carrier() as good,
        running.phone("anna") as anna,
    ):
        row = await talk(running, anna, good, BAD["strange"])
        assert attempts(row) == [("strange", "401"), ("carrier", "answered")]
        await strange.succeeded()
        assert "Authorization:" not in strange.messages()


async def test_a_carrier_that_answers_without_a_description_is_ended_and_nobody_else_is_rung(running: Deployment, tmp_path: Path) -> None:
    ended = [receive("ACK"), receive("BYE"), reply_in_dialog(200, "OK")]
    async with (
        bad(tmp_path, "mute", answer(200, "OK", retransmit=True), *ended) as mute,
        running.carrier() as good,
        running.phone("anna") as anna,
    ):
        call = await anna.call(running.uri(BAD["mute"]))
        assert (await anna.expect_state(call, "disconnected"))["status"] == 488
        await mute.succeeded()
        row = await row_of(running, "mute")
        assert (attempts(row), row["end_reason"]) == ([("mute", "answered")], "no-common-media")
        assert not [event for event in good.events if event["event"] == "incoming"]


async def test_a_busy_number_is_busy_and_not_tried_elsewhere(running: Deployment, tmp_path: Path) -> None:
    async with (
        bad(tmp_path, "busy", answer(486, "Busy Here"), receive("ACK")) as busy,
        running.carrier() as good,
        running.phone("anna") as anna,
    ):
        call = await anna.call(running.uri(BAD["busy"]))
        assert (await anna.expect_state(call, "disconnected"))["status"] == 486
        await busy.succeeded()
        assert attempts(await row_of(running, "busy")) == [("busy", "486")]
        assert not [event for event in good.events if event["event"] == "incoming"]
