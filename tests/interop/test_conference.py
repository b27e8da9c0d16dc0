"""A conference of softphones that we did not write: PJSUA2 and baresip dial a room, and each hears the others."""

from typing import Any

import pytest

from tests.deployments import Deployment
from tests.interop.tones import hears, tone
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

ANNA, BEN, SUE = 420.0, 1020.0, 1620.0


async def test_three_phones_dial_a_room_hear_each_other_and_leave_one_by_one(deployment: Deployment) -> None:
    async with (
        deployment.phone("anna", speech=tone(ANNA)) as anna,
        deployment.phone("ben", kind="baresip", speech=tone(BEN)) as ben,
        deployment.phone("sue", transport="tls", speech=tone(SUE), codecs=["G722"]) as sue,
    ):
        phones = (anna, ben, sue)
        calls = [await phone.call(deployment.uri("*8842")) for phone in phones]
        for phone, call in zip(phones, calls, strict=True):
            await phone.expect_state(call, "confirmed")
        await hears(anna, calls[0], (BEN, SUE), (ANNA,))
        await hears(ben, calls[1], (ANNA, SUE), (BEN,))
        await hears(sue, calls[2], (ANNA, BEN), (SUE,))
        await anna.hangup(calls[0])
        await hears(ben, calls[1], (SUE,), (ANNA, BEN))
        await hears(sue, calls[2], (BEN,), (ANNA, SUE))
        await ben.hangup(calls[1])
        await sue.hangup(calls[2])
    api = deployment.api()

    async def over() -> list[dict[str, Any]] | None:
        rows: list[dict[str, Any]] = (await api.get("/v1/calls?direction=conference"))["items"]
        return rows if len(rows) == 4 and all(row["state"] == "ended" for row in rows) else None

    rows = await until(over, timeout_s=10, what="all rows are closed")
    assert rows is not None
    (room,) = [row for row in rows if row["joined_call_id"] is None]
    assert room["end_reason"] == "everybody-left"
    assert room["recording_id"] is not None
    assert {row["agent"] for row in rows if row["joined_call_id"] == room["id"]} == {"anna", "ben", "sue"}
    assert {row["remote"] for row in rows} == {"*8842"}
