"""A call with marker numbers must leave them in no log, metric, error body or row: only sealed."""

import asyncio
import base64
import re
from pathlib import Path

import pytest

from hushwire.app.demo.stack import Answer
from tests.deployments import PROVISIONING, Deployment, start_deployment

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ANNA, FAR, REFUSED = "+493023125777", "+442079460888", "+33199008765"
PASSWORD = "marker-password-x7Qp"
MARKED = PROVISIONING.replace("+493023125000", ANNA).replace("anna's secret", PASSWORD)


def forms(number: str) -> list[bytes]:
    """How a number could stand somewhere: as dialled, canonical, national, in hex or base64."""
    digits = number.lstrip("+")
    plain = [digits, "00" + digits, digits[2:]]
    encoded = [digits.encode().hex()]
    encoded += [base64.b64encode(b" " * lead + digits.encode())[4 if lead else 0 : -4].decode() for lead in range(3)]
    return [text.encode() for text in plain + encoded]


NEEDLES = {needle for number in (ANNA, FAR, REFUSED) for needle in forms(number)} | {PASSWORD.encode()}


def leaks(data: bytes) -> list[bytes]:
    return sorted(needle for needle in NEEDLES if needle in data)


async def test_marker_numbers_stand_in_no_log_metric_error_or_row() -> None:
    async with start_deployment(provisioning=MARKED) as running:
        (running.stack.folder / "provisioning.toml").unlink()
        bodies = await drive(running)
        for name, answer in bodies.items():
            assert leaks(answer.body) == [], f"{name} tells a marker"
            assert leaks(str(answer.headers).encode()) == [], f"the headers of {name} tell a marker"
        log = running.stack.log.read_bytes()
        assert b"call." in log, "the log says nothing of calls: is it the right file?"
        assert leaks(log) == []
        for name in ("main", "keyring"):
            async with running.database(name) as database:
                await database.execute("CHECKPOINT")
                tables = await database.fetch(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
                )
                for (table,) in tables:
                    text = "\n".join(row[0] for row in await database.fetch(f'SELECT t::text FROM "{table}" AS t'))
                    assert leaks(text.encode()) == [], f"table {table} of {name} tells a marker"
        for path in sorted(running.stack.folder.rglob("*")):
            if path.is_file() and path.name not in ("secrets.json",):
                assert leaks(path.read_bytes()) == [], f"{path} tells a marker"


async def drive(running: Deployment) -> dict[str, Answer]:
    """Calls out, in, refused and mistyped; errors of the API provoked with markers. Returns what must not tell them."""
    async with running.carrier() as carrier, running.phone("anna", password=PASSWORD) as anna:
        await anna.expect("registration", lambda e: e["status"] == 200)
        call = await anna.call(running.uri(FAR))
        await anna.expect_state(call, "confirmed")
        await asyncio.sleep(1)
        await anna.hangup(call)
        for number in (REFUSED, REFUSED + "x", FAR + "%00", FAR[:6]):
            await anna.expect_state(await anna.call(running.uri(number)), "disconnected")
        host, port = running.stack.sip("udp")
        inbound = await carrier.call(f"sip:{ANNA}@{host}:{port}")
        await carrier.expect_state(inbound, "confirmed")
        await carrier.hangup(inbound)
        await carrier.expect_state(await carrier.call(f"sip:{REFUSED}@{host}:{port}"), "disconnected")
    async with running.phone("anna", password=PASSWORD + "wrong") as stranger:
        await stranger.expect("registration")
    api = running.api()
    found = {
        "metrics": await api.ask("GET", "/metrics"),
        "a page that is not there": await api.ask("GET", f"/v1/calls/{FAR}"),
        "a search that is malformed": await api.ask("POST", "/v1/recordings/search", {"number": FAR + "x", "nonsense": REFUSED}),
        "a wrong body": await api.ask("PUT", "/v1/voice-security", {"allowed_countries": [FAR, {"x": REFUSED}]}),
        "a stranger's request": await running.stack.api("").ask("POST", "/v1/calls/search", {"number": FAR}),
    }
    assert found["metrics"].status == 200
    assert all(400 <= found[name].status < 500 for name in found if name != "metrics")
    searched = await api.ask("POST", "/v1/calls/search", {"number": FAR})
    assert searched.status == 200, "the search itself must work"
    assert searched.json()["items"], "the blind index does not find the call"
    assert not re.search(rb"sip:\+?\d{6,}", found["metrics"].body)
    assert isinstance(Path(running.stack.log), Path)
    return found
