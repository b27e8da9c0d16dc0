"""The fraud breaker's counters and its judgement, in virtual time."""

import itertools
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.breaker import (
    EACH_AGENT,
    OF_TEXTS,
    WEIGHTS,
    Action,
    Bound,
    Facts,
    Finding,
    Level,
    LimitBook,
    Signal,
    judge,
    refuses,
    suspicion,
    used_up,
)
from hushwire.policy.breaker_counters import BURST_S, DAY_S, AgentCounters, Habits, Usage, conforms, tail_and_head
from hushwire.services.fraud_counts import DayUse, Fact, OrgCounts, day_of

AGENT, TEAM = UUID(int=1), UUID(int=2)
NOW = 1_800_000_000.0


def judged(
    agent: AgentCounters, facts: Facts, book: LimitBook | None = None, team: Usage | None = None, org: Usage | None = None
) -> list[Finding]:
    return judge(book or LimitBook(), AGENT, TEAM, agent, team, org or Usage(), facts)


def out(now: float = NOW, **said: object) -> Facts:
    return Facts(now, True, **said)  # type: ignore[arg-type]


def only(**bounds: Bound) -> LimitBook:
    return LimitBook({}, {}, {Signal[name.upper()]: bound for name, bound in bounds.items()})


@given(st.lists(st.floats(0, 5), max_size=40), st.floats(1, 600))
def test_conforming_arrivals_never_exceed_the_rate_by_more_than_the_burst_in_any_interval(gaps: list[float], per_minute: float) -> None:
    at, tat, passed = 0.0, 0.0, []
    for gap in gaps:
        at += gap
        following = conforms(tat, at, 60 / per_minute, BURST_S)
        if following is not None:
            tat = following
            passed.append(at)
    for first, last in itertools.combinations(range(len(passed)), 2):
        assert last - first + 1 <= (passed[last] - passed[first] + BURST_S) * per_minute / 60 + 1 + 1e-6


@given(st.lists(st.floats(0, 70), min_size=1, max_size=120), st.sampled_from([0.0, 3.0, 30.0, 60.0]))
def test_the_rate_is_the_same_whether_it_was_asked_about_all_along_or_only_now(gaps: list[float], per_minute: float) -> None:
    watched, late = Usage(), Usage()
    at = NOW
    for gap in gaps:
        at += gap
        for usage in (watched, late):
            usage.attempt(at)
        watched.rate(per_minute, at)
    told = Usage()
    for arrival in late.arrivals:
        told.attempt(arrival)
    assert late.rate(per_minute, at) == told.rate(per_minute, at)
    assert watched.rate(per_minute, at) <= len(watched.arrivals) or watched.rate(per_minute, at) == per_minute + 1


def test_a_minutes_attempts_at_an_even_rate_are_never_too_many_and_a_flood_is_at_once() -> None:
    usage = Usage()
    for second in range(600):
        usage.attempt(NOW + second)
        assert usage.rate(60, NOW + second) <= 60
    flood = Usage()
    rates = []
    for attempt in range(30):
        flood.attempt(NOW + attempt / 100)
        rates.append(flood.rate(60, NOW + attempt / 100))
    assert max(rates[:21]) <= 60
    assert rates[22] > 60
    flood.attempt(NOW + 60)
    assert flood.rate(60, NOW + 60) <= 60, "who waits may go on"


def test_a_sixth_spelling_of_one_number_within_a_minute_locks_and_five_do_not() -> None:
    agent = AgentCounters()
    for spelling in range(6):
        assert not [one for one in judged(agent, out(NOW + spelling, tail=b"t")) if one.action is Action.LOCK], spelling
        agent.spelled(NOW + spelling, b"t", bytes([spelling]))
    found = judged(agent, out(NOW + 6, tail=b"t"))
    assert (found[0].signal, found[0].action) == (Signal.CYCLING, Action.LOCK)
    assert not list(judged(AgentCounters(), out(NOW + 6, tail=b"t")))
    assert agent.spellings(b"t", NOW + 70) == 0, "a minute later they are forgotten"
    assert agent.spellings(b"another", NOW + 6) == 0


def test_one_spelling_is_dialled_as_often_as_one_likes() -> None:
    agent = AgentCounters()
    for attempt in range(40):
        agent.spelled(NOW + attempt, b"t", b"0049")
    assert agent.spellings(b"t", NOW + 40) == 1


def test_refused_destinations_are_counted_once_each_and_lock_beyond_their_bound() -> None:
    agent = AgentCounters()
    for attempt in range(60):
        agent.refused(NOW + attempt / 10, bytes([attempt % 12]))
    assert not judged(agent, Facts(NOW + 6, False))
    agent.refused(NOW + 6, b"a thirteenth")
    assert judged(agent, Facts(NOW + 6, False))[0].signal is Signal.PROBING


def test_short_calls_within_ten_minutes_lock_and_older_ones_do_not_count() -> None:
    agent = AgentCounters()
    for call in range(31):
        agent.hung_up_soon(NOW + call)
    assert judged(agent, out(NOW + 31))[0].signal is Signal.SHORT_CALLS
    assert not judged(AgentCounters(), out(NOW + 31))
    assert agent.short_calls(NOW + 700) == 0


@pytest.mark.parametrize(("level", "seen"), [(Level.AGENT, 20), (Level.TEAM, 5), (Level.ORGANISATION, 1000)])
def test_one_call_more_than_a_level_may_have_out_is_refused_at_that_level(level: Level, seen: int) -> None:
    book = LimitBook(teams={TEAM: {Signal.CONCURRENT: Bound(5, Action.REFUSE)}})
    for calls, is_refused in ((seen - 1, False), (seen, True)):
        agent, team, org = AgentCounters(), Usage(), Usage()
        {Level.AGENT: agent.usage, Level.TEAM: team, Level.ORGANISATION: org}[level].calls_out = calls
        found = judged(agent, out(), book, team, org)
        assert [one.level for one in found if refuses(one.action)] == ([level] if is_refused else [])


def test_a_days_minutes_and_money_are_forgotten_at_midnight_utc_and_currencies_are_not_added() -> None:
    usage, evening = Usage(), (NOW // DAY_S + 1) * DAY_S - 1
    usage.use(evening, 600, "EUR", 5_000_000)
    usage.use(evening, 600, "USD", 7_000_000)
    usage.use(evening, 600, "", 0)
    assert (usage.seconds(evening), usage.spent(evening)) == (1800, 7.0)
    bounds = {Signal.SPEND: Bound(7, Action.CUT), Signal.MINUTES: Bound(31, Action.REFUSE)}
    assert [one.signal for one in used_up(Level.AGENT, bounds, usage, evening)] == [Signal.SPEND]
    assert (usage.seconds(evening + 2), usage.spent(evening + 2)) == (0, 0)


def test_a_clock_that_is_put_back_refuses_nothing_and_locks_nobody() -> None:
    agent = AgentCounters()
    for tick in range(30):
        agent.usage.attempt(NOW + tick)
        agent.refused(NOW + tick, b"before %d" % (tick % 12))
        agent.hung_up_soon(NOW + tick)
    earlier = NOW - 3600
    for call in range(20):
        at = earlier + 100.0 * call
        agent.usage.attempt(at)
        agent.refused(at, b"%d" % call)
        assert judged(agent, out(at)) == []
    assert (agent.refused_destinations(at), agent.short_calls(at)) == (1, 0)


def test_a_country_or_an_hour_is_unusual_only_for_whom_there_is_something_to_tell_from() -> None:
    habits = Habits()
    for _ in range(30):
        habits.learn("DE", 9)
    assert not habits.is_new_country("CU"), "all on one day"
    habits.days = 6
    assert habits.is_new_country("CU")
    assert not habits.is_new_country("DE")
    assert not habits.is_new_country(None)
    assert [hour for hour in range(24) if not habits.is_new_hour(hour)] == [8, 9, 10]
    agent = AgentCounters(habits=habits)
    found = judged(agent, out(country="CU", hour=3))
    assert {one.signal for one in found} == {Signal.COUNTRY, Signal.HOURS}
    assert not any(refuses(one.action) for one in found)


def test_signals_that_say_little_alone_lock_together_and_fade_within_the_hour() -> None:
    agent = AgentCounters(habits=Habits(30, 6, {"DE": 30}, {9: 30}))
    assert not any(refuses(one.action) for one in judged(agent, out(hour=3, is_in_two_networks=True)))
    found = judged(agent, out(NOW + 600, country="CU", hour=9, is_in_two_networks=False))
    assert (found[0].signal, found[0].action) == (Signal.SUSPICION, Action.LOCK)
    assert found[0].seen == pytest.approx(WEIGHTS[Signal.COUNTRY] + WEIGHTS[Signal.HOURS] + WEIGHTS[Signal.NETWORKS])
    assert not any(refuses(one.action) for one in judged(agent, out(NOW + 3600 * 2, country="DE", hour=9)))
    assert suspicion(agent.suspected, NOW + 3600 * 2) == 0


def test_what_is_switched_off_is_never_found() -> None:
    agent = AgentCounters(habits=Habits(30, 6, {"DE": 30}, {9: 30}))
    for attempt in range(200):
        agent.usage.attempt(NOW)
        agent.spelled(NOW, b"t", bytes([attempt]))
        agent.refused(NOW, bytes([attempt]))
        agent.called(NOW, bytes([attempt]))
        agent.called(NOW, bytes([attempt, 1]))
        agent.hung_up_soon(NOW)
    agent.usage.calls_out = 1000
    agent.usage.use(NOW, 1e6, "EUR", 10**12)
    off = {signal: Bound(bound.most, Action.OFF) for signal, bound in EACH_AGENT.items()}
    facts = out(country="CU", hour=3, is_in_two_networks=True, tail=b"t")
    assert judged(agent, facts, LimitBook({}, {}, off)) == []
    assert {one.signal for one in judged(agent, facts)} == set(Signal) - OF_TEXTS - {Signal.SUSPICION}


def test_from_refuse_on_every_action_refuses_the_attempt_itself() -> None:
    assert {action for action in Action if refuses(action)} == {Action.REFUSE, Action.CUT, Action.LOCK, Action.REPLACE}


@pytest.mark.parametrize(
    "dialled", ["+493023125999", "00493023125999", "011493023125999", "03023125999", "9 00 49 30 23125999", "+49 (30) 2312-5999"]
)
def test_spellings_of_one_number_have_one_tail(dialled: str) -> None:
    found = tail_and_head(dialled)
    assert found is not None
    assert found[0] == "3125999"


def test_what_is_too_short_for_a_number_has_no_tail() -> None:
    assert tail_and_head("112") is None
    assert tail_and_head("") is None


FACTS = st.builds(
    Fact,
    st.integers(0, 40).map(lambda n: UUID(int=n)),
    st.sampled_from([AGENT, TEAM]),
    st.floats(NOW - 50, NOW),
    st.sampled_from(["out", "refused", "short"]),
    st.sampled_from([None, b"a", b"b"]),
    st.sampled_from([None, b"t"]),
    st.sampled_from([None, b"h", b"g"]),
)


@given(st.lists(FACTS, unique_by=lambda fact: fact.id), st.randoms(use_true_random=False))
def test_the_same_facts_make_the_same_counts_in_whatever_order_and_however_often_they_are_told(facts: list[Fact], random: object) -> None:
    facts.sort(key=lambda fact: fact.at)
    once, often = OrgCounts(), OrgCounts()
    for fact in facts:
        once.take(fact, None)
    again = facts + facts
    random.shuffle(again)  # type: ignore[attr-defined]
    for fact in again:
        often.take(fact, None)
    for agent_id in (AGENT, TEAM):
        one, other = once.agent(agent_id), often.agent(agent_id)  # type: ignore[arg-type]
        assert one.destinations(NOW) == other.destinations(NOW)
        assert one.refused_destinations(NOW) == other.refused_destinations(NOW)
        assert one.spellings(b"t", NOW) == other.spellings(b"t", NOW)
        assert len(one._short) == len(other._short)
        assert len(one.usage.arrivals) == len(other.usage.arrivals)


def test_sums_of_a_day_are_put_in_place_of_what_was_reckoned_for_agent_team_and_organisation() -> None:
    counts = OrgCounts()
    for usage in counts.usages(AGENT, TEAM):  # type: ignore[arg-type]
        usage.use(NOW, 999, "EUR", 999)
    today = day_of(NOW)
    rows = [DayUse(AGENT, today, "EUR", 60_000, 1_000_000), DayUse(UUID(int=3), today, "EUR", 30_000, 500_000)]  # type: ignore[arg-type]
    counts.use_days(rows, lambda agent: TEAM if agent == AGENT else None)
    assert counts.agent(AGENT).usage.seconds(NOW) == 60  # type: ignore[arg-type]
    assert counts.teams[TEAM].spent(NOW) == 1.0
    assert (counts.usage.seconds(NOW), counts.usage.spent(NOW)) == (90, 1.5)


@pytest.mark.parametrize("behind_s", [20.0, 40.0, 59.0])
def test_attempts_of_a_gateway_whose_clock_is_behind_or_that_come_late_make_no_false_rate(behind_s: float) -> None:
    usage = Usage()
    for number in range(20):
        usage.attempt(NOW + number)
        usage.attempt(NOW + number + 0.5 - behind_s)
        # Two gateways, each an attempt a second, of a limit that both keep to together.
        assert usage.rate(120, NOW + number) <= 120
    assert list(usage.arrivals) == sorted(usage.arrivals)
