"""kill -9 of the process that holds the links, under load: nothing is lost, nothing is sent twice (docs/adr/0049)."""

import random

from tests.interop.message_centre import message_centre, need_centre
from tests.polling import until
from tests.recorded import House, house
from tests.services.message_roles import accept, role
from tests.services.message_texts import Carrying, numbers

__all__ = ["house"]

WINDOW, MESSAGES, KILLS = 20, 300, 2


async def test_kill_9_under_load_loses_nothing_doubles_nothing_and_leaves_no_more_in_doubt_than_a_window(house: House) -> None:
    need_centre()
    here = Carrying(house)
    async with message_centre(policy={"receipt": "tlv", "quiet": True, "delay_ms": 3}) as smsc:
        await here.provision(smsc.port, window=WINDOW, unknown_after_s=6, when_unknown="resend")
        ids = await accept(house, await here.centre_id(), numbers(MESSAGES, 4915100000000))

        async def counts() -> dict[str, int]:
            found = list((await here.states()).values())
            return {state: found.count(state) for state in set(found)}

        for _ in range(KILLS):
            async with role(house):
                before = (await smsc.ask("report"))["messages"]
                wanted = before + random.randrange(20, MESSAGES // (KILLS + 1))

                async def has_sent(wanted: int = wanted) -> bool:
                    return bool((await smsc.ask("report"))["messages"] >= wanted)

                doubtful = (await counts()).get("unknown", 0)
                await until(has_sent, timeout_s=90, every_s=0.005)
            assert (await counts()).get("sending", 0) <= WINDOW
            assert (await counts()).get("unknown", 0) <= doubtful + WINDOW
        async with role(house):

            async def is_over() -> bool:
                return await counts() == {"delivered": len(ids)}

            await until(is_over, timeout_s=90, every_s=0.2, what="all delivered")
        report = await smsc.ask("report")
        assert (report["distinct"], report["doubled"]) == (MESSAGES, 0)
