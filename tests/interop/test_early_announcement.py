"""Softphones and a carrier that we did not write, called and calling with the announcement before the answer."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.deployments import ANNA_NUMBER, FAR_NUMBER, PROVISIONING, Deployment, Kind, start_deployment
from tests.interop.test_sounds import ANNOUNCEMENT, KINDS, heard_s, hears
from tests.polling import until
from tests.services.listening import tone_file

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

ANNOUNCEMENT_S = 4.0
"""So long that one who hears most of it heard it, and not once more: a busy machine's phones lose whole tenths of a second of it."""
MOST_S = 3.0
WANTED = """\
agent_srtp = "required"
recording_consent = "announced"
announcement = "both"
announce_at = "before"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def announcing() -> AsyncIterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="hushwire-announcing-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        more = f'[sounds]\nannouncement = "{tone_file(folder / "announcement.wav", ANNOUNCEMENT, ANNOUNCEMENT_S)}"\n'
        async with start_deployment(more=more, provisioning=PROVISIONING.replace('agent_srtp = "required"\n', WANTED, 1)) as running:
            yield running


async def evidence(deployment: Deployment, count: int) -> list[str]:
    """The consents of the only active call, once there are so many."""
    (live,) = [row for row in (await deployment.api().get("/v1/calls"))["items"] if row["state"] == "active"]

    async def found() -> list[str] | None:
        rows = (await deployment.api().get(f"/v1/privacy/consents?call={live['id']}"))["items"]
        return [row["how"] for row in rows] if len(rows) == count else None

    result = await until(found, timeout_s=20, what=f"{count} consents")
    assert result is not None
    return result


@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_who_calls_hears_it_while_nobody_is_rung_and_the_carrier_once_it_answers(announcing: Deployment, kind: Kind) -> None:
    async with announcing.carrier() as carrier, announcing.phone("anna", kind=kind) as anna:
        call = await anna.call(announcing.uri(FAR_NUMBER))
        await anna.expect_state(call, "early")
        await hears(anna, call, ANNOUNCEMENT, 0.5)
        assert not [event for event in carrier.events if event["event"] == "incoming"]
        incoming = (await carrier.expect("incoming"))["call"]
        before = await heard_s(anna, call, ANNOUNCEMENT)
        assert before >= MOST_S
        await anna.expect_state(call, "confirmed")
        await hears(carrier, incoming, ANNOUNCEMENT, MOST_S)
        assert await evidence(announcing, 1) == ["announcement-played"]  # the other party's
        assert await heard_s(anna, call, ANNOUNCEMENT) < before + 1.0  # not once more
        await anna.hangup(call)


@pytest.mark.parametrize("kind", KINDS)
async def test_who_calls_an_agent_hears_it_before_the_agents_phone_rings(announcing: Deployment, kind: Kind) -> None:
    async with announcing.carrier() as carrier, announcing.phone("anna", kind=kind) as anna:
        call = await carrier.call(f"sip:{ANNA_NUMBER}@127.0.0.1:{announcing.stack.sip('udp')[1]}")
        await carrier.expect_state(call, "early")
        await hears(carrier, call, ANNOUNCEMENT, 0.5)
        assert not [event for event in anna.events if event["event"] == "incoming"]
        incoming = (await anna.expect("incoming"))["call"]
        assert await heard_s(carrier, call, ANNOUNCEMENT) >= MOST_S
        await carrier.expect_state(call, "confirmed")
        # `both`: who is called hears it at answer. Of what baresip heard, what it hands out has holes.
        await hears(anna, incoming, ANNOUNCEMENT, MOST_S if kind == "pjsua2" else 0.8)
        assert await evidence(announcing, 1) == ["announcement-played"]
        await carrier.hangup(call)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_who_gives_up_within_it_has_called_nobody(announcing: Deployment, kind: Kind) -> None:
    async with announcing.carrier() as carrier, announcing.phone("anna", kind=kind) as anna:
        call = await anna.call(announcing.uri(FAR_NUMBER))
        await anna.expect_state(call, "early")
        await anna.hangup(call)
        await anna.expect_state(call, "disconnected")

        async def is_over() -> bool:
            return (await announcing.api().get("/v1/calls"))["items"][0]["state"] == "ended"

        await until(is_over, timeout_s=20, what="the call's row")
        assert [event for event in carrier.events if event["event"] == "incoming"] == []
