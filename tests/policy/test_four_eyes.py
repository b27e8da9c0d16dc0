"""What of a change two must agree to: for every change, what is saved at once opens nothing that is guarded."""

from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.four_eyes import Lists, Opening, held, opened, without

countries = st.frozensets(st.sampled_from(["DE", "GB", "CU", "SO", "LV"]))
classes = st.frozensets(st.sampled_from(["premium", "satellite"]))
guards = st.frozensets(st.sampled_from(["CU", "SO", "premium", "satellite", "*"]))
lists = st.builds(Lists, countries, classes, guards)


@given(lists, lists)
def test_what_takes_effect_at_once_opens_nothing_guarded_and_agreed_to_it_is_the_whole_change(before: Lists, after: Lists) -> None:
    opening = held(before, after)
    now = without(after, opening)
    for name in (now.countries - before.countries) | (now.classes - before.classes):
        assert name not in before.guarded
        assert "*" not in before.guarded
    assert before.guarded - now.guarded == frozenset() or "*" in now.guarded
    assert held(before, now) == Opening()
    agreed = opened(now, opening)
    assert (agreed.countries, agreed.classes) == (after.countries, after.classes)


@given(lists, countries, classes)
def test_narrowing_never_waits(before: Lists, kept: frozenset[str], left: frozenset[str]) -> None:
    after = Lists(before.countries & kept, before.classes & left, before.guarded)
    assert not held(before, after)


def test_the_guard_is_lifted_by_two_as_well() -> None:
    before = Lists(frozenset({"DE"}), frozenset(), frozenset({"CU", "premium"}))
    assert held(before, Lists(frozenset({"DE", "CU", "GB"}), frozenset({"premium", "satellite"}), frozenset())) == Opening(
        frozenset({"CU"}), frozenset({"premium"}), frozenset({"CU", "premium"})
    )
    assert not held(before, Lists(frozenset({"DE", "GB"}), frozenset(), frozenset({"*"})))
