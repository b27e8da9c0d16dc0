"""What of a change two must agree to: for every change, what is saved at once opens nothing that is guarded."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.four_eyes import Lists, Opening, held, opened, without
from hushwire.policy.rules import Term, Ways, Window

countries = st.frozensets(st.sampled_from(["DE", "GB", "CU", "SO", "LV"]))
classes = st.frozensets(st.sampled_from(["premium", "satellite"]))
guards = st.frozensets(st.sampled_from(["CU", "SO", "premium", "satellite", "*"]))
ends = st.none() | st.sampled_from([datetime(2026, 12, day, tzinfo=UTC) for day in (1, 2)])
terms = st.dictionaries(
    st.sampled_from(["DE", "CU", "premium"]),
    st.builds(Term, st.sampled_from(Ways), ends, st.sampled_from([(), (Window(frozenset({1}), 0, 60),)])).filter(lambda one: one != Term()),
).map(lambda found: tuple(sorted(found.items(), key=lambda item: item[0])))
lists = st.builds(Lists, countries, classes, guards, terms)


@given(lists, lists)
def test_what_takes_effect_at_once_opens_nothing_guarded_and_agreed_to_it_is_the_whole_change(before: Lists, after: Lists) -> None:
    opening = held(before, after)
    now = without(before, after, opening)
    for name in (now.countries - before.countries) | (now.classes - before.classes):
        assert name not in before.guarded
        assert "*" not in before.guarded
    assert before.guarded - now.guarded == frozenset() or "*" in now.guarded
    assert held(before, now) == Opening()
    agreed = opened(now, opening)
    assert (agreed.countries, agreed.classes, agreed.terms) == (after.countries, after.classes, after.terms)


@given(lists, countries, classes)
def test_narrowing_never_waits(before: Lists, kept: frozenset[str], left: frozenset[str]) -> None:
    after = Lists(before.countries & kept, before.classes & left, before.guarded, before.terms)
    assert not held(before, after)


def test_other_terms_of_what_is_guarded_wait_unless_they_let_less_through() -> None:
    end = datetime(2026, 12, 1, tzinfo=UTC)

    def lists_with(**terms: Term) -> Lists:
        return Lists(frozenset({"CU", "DE"}), frozenset(), frozenset({"CU"}), tuple(terms.items()))

    limited = lists_with(CU=Term(Ways.SMS, end))
    assert not held(lists_with(), limited)
    assert held(limited, lists_with()).terms == (("CU", Term()),)
    assert held(limited, lists_with(CU=Term(Ways.BOTH, end)))
    assert held(limited, lists_with(CU=Term(Ways.SMS, end + timedelta(days=1))))
    assert not held(limited, lists_with(CU=Term(Ways.SMS, end - timedelta(days=1)), DE=Term()))
    assert not held(lists_with(DE=Term(until=end)), lists_with())


def test_the_guard_is_lifted_by_two_as_well() -> None:
    before = Lists(frozenset({"DE"}), frozenset(), frozenset({"CU", "premium"}))
    assert held(before, Lists(frozenset({"DE", "CU", "GB"}), frozenset({"premium", "satellite"}), frozenset())) == Opening(
        frozenset({"CU"}), frozenset({"premium"}), frozenset({"CU", "premium"})
    )
    assert not held(before, Lists(frozenset({"DE", "GB"}), frozenset(), frozenset({"*"})))
