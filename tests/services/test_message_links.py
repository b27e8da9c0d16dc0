"""How links to carriers stand, told to operators; and messages that go by another carrier while theirs stays away."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import smpp34

from hushwire.api.message_link_metrics import MessageLinkCollector
from hushwire.app.doctor_messages import told as in_words
from hushwire.core.errors import Unavailable, Unfinished
from hushwire.services import message_carriers, message_moves
from hushwire.services.message_centres import Way, choose
from hushwire.services.message_runs import Run
from hushwire.sms.text.segmentation import Numbering, Style
from hushwire.store import message_link_states
from hushwire.store.message_link_states import LinkState
from tests.polling import until
from tests.ports import free_port
from tests.recorded import Chance, House, house
from tests.services.message_texts import Carrying, carrying, numbers

__all__ = ["house"]


async def carriers_of(here: Carrying, ids: list[UUID]) -> list[tuple[str, str]]:
    """(carrier, state) of each of these messages of one part, in their order; the message's own row names the same carrier."""
    async with (await here.house.main("worker")).organisation(here.house.org) as connection:
        rows = await connection.fetch(
            "SELECT p.message_id, c.name, p.state FROM message_parts AS p JOIN messages AS m ON m.id = p.message_id"
            " JOIN message_centres AS c ON c.id = p.centre_id"
        )
    found = {row["message_id"]: (row["name"], row["state"]) for row in rows}
    return [found[one] for one in ids]


async def test_messages_not_begun_go_by_another_carrier_while_theirs_stays_away_and_nothing_that_was_begun_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_carriers, "AWAY_AFTER_S", 0.2)
    server = smpp34.Server("127.0.0.1", (there := free_port()), system_id="smsc")
    await server.start()
    try:
        async with carrying(house) as here:
            await here.provision(free_port(), move_after_s=1)
            await here.provision(there, name="other")
            ids = await here.send_before(*numbers(4))
            begun, doubtful, *free = ids
            async with (await house.main("worker")).organisation(house.org) as connection:
                await connection.execute("UPDATE message_parts SET attempts = 1 WHERE message_id = $1", begun)
                await connection.execute("UPDATE message_parts SET state = 'unknown' WHERE message_id = $1", doubtful)
            await here.start()
            assert isinstance(await server.next(), smpp34.Esme)
            await here.bound()
            with pytest.raises(Unfinished, match="1 of 2"):
                await until_raised(here)
            await here.carriers.tell()
            async with (await house.main("api")).transaction() as connection:
                states = await message_link_states.told(connection, timedelta(days=1))
            assert [(name, state.reason, state.is_bound) for name, state in states] == [("other", "", True), ("smsc", "unreachable", False)]
            with pytest.raises(Unavailable, match="smsc is away: unreachable"):
                in_words(states)
            collector = MessageLinkCollector()
            collector.note(states)
            told = {(s.name, *s.labels.values()): s.value for metric in collector.collect() for s in metric.samples}
            assert told["hushwire_message_links_bound", "other", "1"] == 1
            assert told["hushwire_message_links_unbound", "smsc", "1"] == 1
            assert told["hushwire_message_traffic_total", "other", "binds"] == 1

            async def has_moved() -> bool:
                await here.carriers.upkeep()
                return {name for name, _ in await carriers_of(here, free)} == {"other"}

            await until(has_moved, timeout_s=20)
            for number in range(len(free)):
                (await asyncio.wait_for(server.next(), 20)).accept(f"{number}")
            await here.is_state(free, "submitted")
            assert await carriers_of(here, ids) == [("smsc", "queued"), ("smsc", "unknown"), *[("other", "submitted")] * 2]
    finally:
        await server.stop()


async def until_raised(here: Carrying) -> None:
    """Ask again until the carrier has been away for long enough."""

    async def has_come() -> bool:
        return all(one.away_s() == 0 or one.away_s() > message_carriers.AWAY_AFTER_S for one in here.carriers.carriers)

    await until(has_come)
    await here.carriers.look_away()


def test_a_carrier_takes_over_where_it_takes_every_number_cuts_alike_and_is_nobody_whom_others_may_object_to() -> None:
    style = Style()

    def way(number: int, *, priority: int = 0, prefixes: tuple[str, ...] = (), cut: Style = style, whose: str | None = None) -> Way:
        return Way(UUID(int=number), priority, 1, prefixes, cut, whose)

    german = way(1, prefixes=("+49", "+4366"))
    others = [
        way(2, prefixes=("+49",)),
        way(3, cut=Style(Numbering.SAR)),
        way(4, whose="somebody"),
        way(5, priority=2),
        way(6, priority=1, prefixes=("+4", "+5")),
    ]

    def instead(*present: int, away: Way = german) -> int | None:
        taking = message_moves.takers(away, [german, *others], {UUID(int=one) for one in present})
        found = message_moves.instead_of(away, None, taking, Chance())
        return None if found is None else found.int

    assert instead(2, 3, 4, 5, 6) == 6
    assert instead(2, 3, 4, 5) == 5
    assert instead(2, 3, 4) is None
    assert instead(1, 6, away=others[3]) is None, "it takes fewer numbers, and none of them is known to be one"


def test_of_carriers_of_a_priority_the_one_with_the_longest_prefix_that_fits_comes_first() -> None:
    def way(number: int, priority: int, *prefixes: str) -> Way:
        return Way(UUID(int=number), priority, 1, prefixes, Style())

    carriers = [way(1, 0), way(2, 0, "+4", "+4915"), way(3, 0, "+49"), way(4, 1, "+491511"), way(5, 0, "+44")]
    assert [one.id.int for one in choose(carriers, "+4915112345678", Chance())] == [2, 3, 1, 4]
    assert [one.id.int for one in choose(carriers, "+493023125000", Chance())] == [3, 2, 1]


async def test_a_narrower_carrier_helps_out_with_the_numbers_that_it_takes_and_with_no_others(house: House) -> None:
    async with carrying(house) as here:
        await here.provision(free_port(), move_after_s=1)
        await here.provision(free_port(), name="narrow", prefixes=("+49",))
        await here.provision(free_port(), name="web", prefixes=("+49151",))
        narrow, web = await here.centre_id("narrow"), await here.centre_id("web")
        async with (await house.main("owner")).transaction() as connection:
            await connection.execute("UPDATE message_centres SET kind = 'http' WHERE id = $1", web)
        near = await here.send_before(*numbers(2), others=(narrow,))
        nearer = await here.send_before(*numbers(2, 4915100000000), others=(web, narrow))
        far = await here.send_before(*numbers(600, 33100000000))
        main, centre = await house.main("worker"), await here.centre_id()
        asked: list[Collection[UUID]] = []

        async def there(ids: Collection[UUID]) -> Collection[UUID]:
            asked.append(ids)
            return here.there

        async def moved() -> list[str]:
            count = await message_moves.move_on(main, centre, house.clock, Chance(), there)
            found = [name for name, _ in await carriers_of(here, [*near, *nearer])]
            assert count <= len(found)
            return found

        assert await moved() == ["smsc"] * 4
        assert asked == [{web}], "one without links is asked whether it is there"
        here.there = {web}
        assert await moved() == ["smsc", "smsc", "web", "web"]
        run = Run(uuid4(), house.node, main, house.clock)
        await run.begin()
        async with main.transaction() as connection:
            await message_link_states.tell(connection, run.id, [LinkState(narrow, 1, "", house.clock.now(), True, 0, 10, {})])
        assert await moved() == ["narrow", "narrow", "web", "web"]
        assert {name for name, _ in await carriers_of(here, far)} == {"smsc"}, "nor do they hide what may move"
        late = await here.send_before(*numbers(1), others=(narrow,))
        async with (await house.main("owner")).transaction() as connection:
            await connection.execute("UPDATE message_centres SET updated_at = now() + interval '1 minute' WHERE id = $1", narrow)
        await moved()
        assert await carriers_of(here, late) == [("smsc", "queued")], "one that changed since may take other numbers"
