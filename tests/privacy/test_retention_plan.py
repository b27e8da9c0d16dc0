"""The planner of retention: properties that hold for every inventory, rule, hold and time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.privacy import retention
from hushwire.privacy.retention import Doubt, Item, Plan, Rule, doubt_of_clock, due_at, is_confirmed, is_large, plan

KINDS = ("recording", "call", "contact")
AGENTS = [UUID(int=number) for number in range(1, 4)]
times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
items = st.builds(
    Item,
    kind=st.sampled_from(KINDS),
    id=st.uuids(),
    began_at=times,
    agents=st.lists(st.sampled_from(AGENTS), max_size=2, unique=True).map(tuple),
)
inventories = st.lists(items, max_size=30, unique_by=lambda item: item.id)
rules = st.lists(
    st.builds(
        Rule,
        kind=st.sampled_from(KINDS),
        keep_days=st.integers(0, 40_000),
        agent=st.none() | st.sampled_from(AGENTS),
    ),
    max_size=6,
    unique_by=lambda rule: (rule.kind, rule.agent),
)


def ids(found: Plan) -> set[UUID]:
    return {item_id for batch in found.batches for item_id in batch.ids}


@given(inventories, rules, times, st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_held_is_never_planned_and_is_counted(found: list[Item], wanted: list[Rule], now: datetime, data: st.DataObject) -> None:
    held = set(data.draw(st.lists(st.sampled_from([item.id for item in found]), unique=True))) if found else set()
    made = plan(found, wanted, held, now)
    assert not ids(made) & held
    assert ids(made) | {item.id for item in found if item.id in held} >= ids(plan(found, wanted, set(), now))
    assert sum(made.held.values()) + len(ids(made)) == len(ids(plan(found, wanted, set(), now)))


@given(inventories, rules, times)
@settings(max_examples=200, deadline=None)
def test_nothing_goes_that_is_younger_than_the_shortest_rule_that_could_concern_it(
    found: list[Item], wanted: list[Rule], now: datetime
) -> None:
    planned = ids(plan(found, wanted, set(), now))
    for item in found:
        if item.id in planned:
            days = [rule.keep_days for rule in wanted if rule.kind == item.kind and rule.agent in (None, *item.agents)]
            assert now - item.began_at >= timedelta(days=min(days))


@given(inventories, rules, times)
@settings(max_examples=200, deadline=None)
def test_everything_that_is_older_than_every_rule_by_a_day_goes(found: list[Item], wanted: list[Rule], now: datetime) -> None:
    planned = ids(plan(found, wanted, set(), now))
    for item in found:
        days = [rule.keep_days for rule in wanted if rule.kind == item.kind and rule.agent in (None, *item.agents)]
        if days and now - item.began_at >= timedelta(days=max(days) + 1):
            assert item.id in planned


@given(inventories, rules, times, st.timedeltas(timedelta(), timedelta(days=90_000)))
@settings(max_examples=200, deadline=None)
def test_later_means_the_same_things_and_more(found: list[Item], wanted: list[Rule], now: datetime, passed: timedelta) -> None:
    assert ids(plan(found, wanted, set(), now)) <= ids(plan(found, wanted, set(), now + passed))


@given(inventories, rules, times, st.randoms())
@settings(max_examples=100, deadline=None)
def test_no_order_makes_a_difference(found: list[Item], wanted: list[Rule], now: datetime, random: object) -> None:
    shuffled, turned = found.copy(), wanted.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(turned)  # type: ignore[attr-defined]
    assert plan(found, wanted, set(), now) == plan([*shuffled, *found], turned, set(), now)


@given(inventories, rules, times)
@settings(max_examples=100, deadline=None)
def test_what_was_carried_out_is_not_planned_again(found: list[Item], wanted: list[Rule], now: datetime) -> None:
    gone = ids(plan(found, wanted, set(), now))
    assert plan([item for item in found if item.id not in gone], wanted, set(), now).batches == ()


@given(inventories, rules, times, st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_batches_are_disjoint_complete_in_bounds_and_of_one_class(found: list[Item], wanted: list[Rule], now: datetime, size: int) -> None:
    made = plan(found, wanted, set(), now, batch=size)
    listed = [item_id for batch in made.batches for item_id in batch.ids]
    assert len(listed) == len(set(listed))
    assert set(listed) == ids(plan(found, wanted, set(), now))
    kinds = {item.id: item.kind for item in found}
    for batch in made.batches:
        assert 1 <= len(batch.ids) <= size
        assert {kinds[item_id] for item_id in batch.ids} == {batch.kind}


@given(items, rules, times)
@settings(max_examples=200, deadline=None)
def test_the_cutoff_leaves_out_nothing_that_is_due(item: Item, wanted: list[Rule], now: datetime) -> None:
    moment = due_at(item, wanted)
    if moment is not None and moment <= now:
        cutoff = retention.cutoff(item.kind, wanted, now)
        assert cutoff is not None
        assert item.began_at < cutoff


def test_an_agents_own_rule_stands_in_place_of_the_general_one_and_of_two_the_shorter_holds() -> None:
    wanted = [Rule("call", 30), Rule("call", 90, AGENTS[0]), Rule("call", 10, AGENTS[1])]
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def days(*agents: UUID) -> int:
        moment = due_at(Item("call", UUID(int=9), began, agents), wanted)
        assert moment is not None
        return (moment - datetime(2026, 3, 2, tzinfo=UTC)).days

    assert (days(), days(AGENTS[2]), days(AGENTS[0]), days(AGENTS[0], AGENTS[1])) == (30, 30, 90, 10)


@pytest.mark.parametrize(
    ("began", "days", "due"),
    [
        ("2028-02-28T23:59:59+00:00", 1, "2028-03-01T00:00:00+00:00"),  # a leap day is a day
        ("2027-02-28T23:59:59+00:00", 1, "2027-03-02T00:00:00+00:00"),
        ("2028-02-29T00:00:00+00:00", 365, "2029-03-01T00:00:00+00:00"),
        ("2026-03-28T23:30:00+01:00", 1, "2026-03-30T00:00:00+00:00"),  # the night in which Berlin's clocks change
        ("2026-03-29T01:30:00+02:00", 0, "2026-03-29T00:00:00+00:00"),
        ("2026-12-31T12:00:00+00:00", 0, "2027-01-01T00:00:00+00:00"),
    ],
)
def test_days_are_utc_days(began: str, days: int, due: str) -> None:
    item = Item("call", UUID(int=1), datetime.fromisoformat(began))
    assert due_at(item, [Rule("call", days)]) == datetime.fromisoformat(due)


def test_a_clock_is_believed_within_a_day_of_what_was_last_seen_and_not_backwards() -> None:
    seen = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert doubt_of_clock(seen + timedelta(days=1), seen) is None
    assert doubt_of_clock(seen + timedelta(days=1, seconds=1), seen) is Doubt.CLOCK_AHEAD
    assert doubt_of_clock(seen.replace(year=2036), seen) is Doubt.CLOCK_AHEAD
    assert doubt_of_clock(seen - timedelta(minutes=5), seen) is None
    assert doubt_of_clock(seen - timedelta(minutes=6), seen) is Doubt.CLOCK_BACK


def test_a_large_share_is_large_only_beyond_a_few() -> None:
    assert not is_large(100, 100, 20)
    assert is_large(101, 101, 20)
    assert not is_large(200, 1000, 20)
    assert is_large(201, 1000, 20)


def test_a_confirmation_counts_for_the_doubt_the_day_and_the_number_that_it_was_given_for() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert is_confirmed(Doubt.LARGE_SHARE, Doubt.LARGE_SHARE, now, 1000, now + timedelta(hours=1), 1100)
    assert not is_confirmed(Doubt.LARGE_SHARE, Doubt.LARGE_SHARE, now, 1000, now + timedelta(hours=1), 1101)
    assert not is_confirmed(Doubt.LARGE_SHARE, Doubt.LARGE_SHARE, now, 1000, now + timedelta(days=2), 1000)
    assert not is_confirmed(Doubt.CLOCK_AHEAD, Doubt.LARGE_SHARE, now, 1000, now, 1)
    assert not is_confirmed(Doubt.CLOCK_AHEAD, None, now, 1000, now, 1)
