"""Access that was given to one agent: it opens exactly what it names until it ends, and takes nothing away."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.grants import Grant, with_grants
from hushwire.policy.judge import decide
from hushwire.policy.model import Allow, Attempt, Channel, Deny
from hushwire.policy.rules import AGENT, TEAM, Level, Rules, Term, Ways

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NUMBERS = {"DE": "+4930123456", "FR": "+33145678901", "GB": "+442079460000", "US": "+12125550123"}
codes = st.frozensets(st.sampled_from(sorted(NUMBERS)))
terms = st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.sampled_from([Term(Ways.SMS), Term(until=NOW)])).map(
    lambda found: tuple(sorted(found.items(), key=lambda item: item[0]))
)
levels = st.tuples(
    *(st.builds(Level, st.just(name), countries=st.none() | codes, terms=terms) for name in (TEAM, AGENT)),
)
rules = st.builds(Rules, st.just(1), st.just("DE"), codes, terms=terms, narrower=levels)


def goes_out(under: Rules, country: str, at: datetime) -> bool:
    return isinstance(decide(Attempt(NUMBERS[country], Channel.INVITE), under, at), Allow)


@given(rules, codes)
def test_it_opens_what_it_names_until_it_ends_and_changes_nothing_else(before: Rules, countries: frozenset[str]) -> None:
    end = NOW + timedelta(hours=1)
    after = with_grants(before, [Grant(countries, end)])
    for country in NUMBERS:
        was = goes_out(before, country, NOW)
        assert goes_out(after, country, NOW) == (was or country in countries)
        assert goes_out(after, country, end) == goes_out(before, country, end)


def test_the_longest_of_several_counts_and_a_class_stays_closed() -> None:
    before = Rules(1, "DE", frozenset({"DE"}), narrower=(Level(AGENT, frozenset()),))
    two = [Grant(frozenset({"FR"}), NOW + timedelta(hours=hours)) for hours in (2, 1)]
    after = with_grants(before, two)
    assert goes_out(after, "FR", NOW + timedelta(minutes=90))
    premium = decide(Attempt("+33899123456", Channel.INVITE), after, NOW)
    assert isinstance(premium, Deny)
