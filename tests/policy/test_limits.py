"""Limits as they are set: what they make of the defaults, and what is none."""

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.breaker import EACH_AGENT, ORGANISATION, Action, Bound, Signal
from hushwire.policy.limits import LEVELS, LimitsUnreadableError, book, read, signals_of, written

ORG, AGENT, TEAM = UUID(int=1), UUID(int=2), UUID(int=3)


def test_an_agents_own_limits_stand_over_those_of_each_agent_and_these_over_the_defaults() -> None:
    found = book(
        [
            ("each-agent", ORG, {"concurrent-calls": {"most": 3}, "spend-per-day": {"most": None}}),
            ("agent", AGENT, {"concurrent-calls": {"most": 7, "action": "cut"}, "prefix-cycling": {"action": "off"}}),
            ("organisation", ORG, {"spend-per-day": {"most": 5.5, "action": "warn"}}),
        ]
    )
    assert found.of_agent(AGENT)[Signal.CONCURRENT] == Bound(7, Action.CUT)
    assert found.of_agent(AGENT)[Signal.SPEND] == Bound(None, EACH_AGENT[Signal.SPEND].action)
    assert found.of_agent(AGENT)[Signal.CYCLING].action is Action.OFF
    assert found.of_agent(UUID(int=9))[Signal.CONCURRENT] == Bound(3, Action.REFUSE)
    assert found.organisation[Signal.SPEND] == Bound(5.5, Action.WARN)
    assert found.organisation[Signal.CONCURRENT] == ORGANISATION[Signal.CONCURRENT]
    assert found.of_team(TEAM)[Signal.CONCURRENT].most is None


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_written_is_read_again_the_same(level: str) -> None:
    bounds = {signal: Bound(None, Action.OFF) for signal in signals_of(level)}
    assert read(written(bounds), level) == bounds


@pytest.mark.parametrize(
    ("said", "level", "words"),
    [
        ([], "agent", "must be an object"),
        ({"speed": {"most": 1}}, "agent", "no such limit of an agent"),
        ({"prefix-cycling": {"most": 1}}, "organisation", "no such limit of an organisation"),
        ({"concurrent-calls": 5}, "agent", "concurrent-calls: must be an object"),
        ({"concurrent-calls": {"least": 5}}, "agent", "concurrent-calls: must be an object"),
        ({"concurrent-calls": {"most": -1}}, "agent", "most must be a number"),
        ({"concurrent-calls": {"most": True}}, "agent", "most must be a number"),
        ({"concurrent-calls": {"most": float("nan")}}, "agent", "most must be a number"),
        ({"concurrent-calls": {"most": "5"}}, "agent", "most must be a number"),
        ({"concurrent-calls": {"action": "shout"}}, "agent", "action must be one of"),
    ],
)
def test_what_are_no_limits_is_refused_with_words(said: object, level: str, words: str) -> None:
    with pytest.raises(LimitsUnreadableError, match=words):
        read(said, level)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(list(Signal)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Signal, "most", "action", "x"]), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(LEVELS))
def test_no_json_makes_the_reader_raise_anything_else(said: object, level: str) -> None:
    with contextlib.suppress(LimitsUnreadableError):
        assert set(read(said, level)) <= signals_of(level)
