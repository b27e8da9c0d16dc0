"""Every way out that SIP has, tried by SIPp: it sends whatever it is told, and looks at nothing that it is answered but the status."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.interop.sipp import answer
from tests.polling import until
from tests.redteam.campaigns import Stack, Way, tricks
from tests.redteam.house import CODES, House, emptied, reached_alike
from tests.redteam.sipp_attacker import REFUSED, Stacks, call, one_of, redirecting, request
from tests.redteam.tricks import ALLOWED, Trick
from tests.redteam.ways import HOST, SALES, whole

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def all_arrived(house: House, played: Sequence[Trick]) -> None:
    """The carrier was asked once for the number of each twin, and for nothing else."""

    def calls() -> set[str]:
        return {line for text in house.invited() for line in text.splitlines() if line.lower().startswith("call-id:")}

    await until(lambda: len(calls()) >= len(played), timeout_s=10, what=f"{len(played)} arrived, and not {len(calls())}")
    assert len(calls()) == len(played)
    assert {text.split()[1].partition("@")[0] for text in house.invited()} == {f"sip:{trick.known_as}" for trick in played}
    house.carrier.seen.clear()


async def test_no_invite_of_sipp_gets_out(house: House, tmp_path: Path) -> None:
    played, stacks = tricks(Way.INVITE, Stack.SIPP), Stacks(house.deployment.stack.sip("udp")[1], tmp_path)
    for trick in played:
        await stacks.call_all([whole(trick.sent)], REFUSED)
        emptied(house, trick)
    await stacks.call_all((whole(trick.twin) for trick in played), (486,))
    await all_arrived(house, played)


async def test_no_blind_transfer_of_sipp_gets_out(house: House, tmp_path: Path) -> None:
    ben = await house.phone("ben")
    ben.reply = lambda _request: "200"
    played, stacks, target = tricks(Way.BLIND, Stack.SIPP), Stacks(house.deployment.stack.sip("udp")[1], tmp_path), f"sip:102@{HOST}"

    def refer(text: str) -> list[str]:
        """In a call with Ben: it is refused at once, or told that nothing came of it; with an allowed number, the same."""
        to = f"Refer-To: <{whole(text)}>\n"
        return [
            *call(target, (200,), "anna"), request("REFER", target, target, 3, to), '<recv response="401" auth="true"/>',
            request("REFER", target, target, 4, to + "[authentication]\n"),
            '<recv response="202" optional="true" next="2"/>', *one_of(REFUSED, 4),
            '<label id="2"/>',
            '<recv request="NOTIFY"><action><ereg regexp="terminated" search_in="hdr" header="Subscription-State:" assign_to="over"/>'
            '<ereg regexp="SIP/2.0 [4-6]" search_in="body" assign_to="failed"/></action></recv>',
            answer(200, "OK").replace(";tag=[call_number]carrier", "").replace("<send>", '<send next="3" test="over">'), '<nop next="2"/>',
            '<label id="3"/>', '<nop next="4" test="failed"/>', '<recv request="NEVER"/>',
            '<label id="4"/>', request("BYE", target, target, 5), '<recv response="200"/>', '<Reference variables="over,failed"/>',
        ]  # fmt: skip

    for trick in played:
        await stacks.play(refer(trick.sent), target)
        emptied(house, trick)
    await asyncio.gather(*(stacks.play(refer(trick.twin), target) for trick in played))
    await all_arrived(house, played)


async def test_no_redirection_of_a_phone_of_sipp_gets_out(house: House, tmp_path: Path) -> None:
    anna, ben = await house.phone("anna"), await house.phone("ben")
    played = tricks(Way.REDIRECT, Stack.SIPP)
    async with house.away(ben) as port:
        async with await redirecting(tmp_path / "sent", port, [trick.sent for trick in played]) as phone:
            for trick in played:
                assert (await anna.invite(f"sip:102@{HOST}"))[0] >= 400
                emptied(house, trick)
            await phone.succeeded()
        async with await redirecting(tmp_path / "twins", port, [trick.twin for trick in played]) as phone:
            for _ in played:
                await anna.invite(f"sip:102@{HOST}")
            await phone.succeeded()
    await all_arrived(house, played)


async def test_a_carrier_of_sipp_that_redirects_gets_nowhere_at_all(house: House, tmp_path: Path) -> None:
    anna, played = await house.phone("anna"), tricks(Way.CARRIER_REDIRECT, Stack.SIPP)
    async with house.away(house.carrier) as port:
        texts = [text for trick in played for text in (trick.sent, trick.twin)]
        async with await redirecting(tmp_path, port, texts) as carrier:
            for _ in texts:
                assert (await anna.invite(f"sip:+493023125999@{HOST}"))[0] >= 400
            asked = [line for line in carrier.messages().splitlines() if line.startswith("INVITE ")]
    assert len(asked) == len(texts), "each call arrived, once"
    assert all(line.startswith("INVITE sip:+493023125999@") for line in asked)


async def test_no_code_of_sipp_lets_calls_to_an_agent_or_its_group_out(house: House, tmp_path: Path) -> None:
    played = tricks(Way.FORWARD, Stack.SIPP)
    assert played == tricks(Way.GROUP, Stack.SIPP)
    anna, _, stacks = await house.phone("anna"), await house.phone("ben"), Stacks(house.deployment.stack.sip("udp")[1], tmp_path, "ben")
    await house.quiet(anna)
    await stacks.call_all((whole(CODES["always"] + trick.sent) for trick in played), REFUSED)
    for extension in ("102", SALES):
        await anna.invite(f"sip:{extension}@{HOST}")
        emptied(house, *played)
    for trick in played:
        await stacks.call_all([whole(CODES["always"] + trick.twin)], (200,))
        await reached_alike(house, anna, "102", trick)
        house.carrier.seen.clear()
        await anna.invite(f"sip:{SALES}@{HOST}")
        emptied(house, trick)  # a member's wish leads no call of a group out, not even where it may go


async def test_no_code_of_sipp_that_picks_calls_up_gets_out(house: House, tmp_path: Path) -> None:
    ben, carl, stacks = await house.phone("ben"), await house.phone("carl"), Stacks(house.deployment.stack.sip("udp")[1], tmp_path)
    for trick in tricks(Way.PICKUP, Stack.SIPP):
        await stacks.call_all([whole("**" + text) for text in (trick.sent, trick.twin)], REFUSED)
        emptied(house, trick)
    carl.reply = lambda _request: None

    async def pick_up() -> int:
        await stacks.call_all([f"sip:**103@{HOST}"], (200,))
        return 200

    await house.picked_up(ben, carl, pick_up)
    assert ALLOWED not in "".join(house.carrier.seen)
