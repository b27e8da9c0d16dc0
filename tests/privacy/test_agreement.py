"""Where data may go, when an answer may be given, how an agreement ends: every branch of the decisions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.privacy.agreement import Answering, Bar, Ending, Standing, Subprocessor, barred, ending, is_inside, may_answer

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CARRIER = Subprocessor(UUID(int=1), "carrier", "DE", None, False)
FREE = Standing(NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("entry", "standing", "why"),
    [
        (CARRIER, FREE, None),
        (None, FREE, Bar.UNKNOWN),
        (replace(CARRIER, is_withdrawn=True), FREE, Bar.WITHDRAWN),
        (CARRIER, None, Bar.NOT_TOLD),
        (CARRIER, Standing(None), Bar.NOT_TOLD),
        (CARRIER, Standing(NOW + timedelta(microseconds=1)), Bar.TOO_EARLY),
        (CARRIER, Standing(NOW), None),
        (CARRIER, replace(FREE, has_objection=True), Bar.OBJECTED),
        (CARRIER, Standing(NOW + timedelta(days=9), has_objection=True), Bar.OBJECTED),
        (replace(CARRIER, country="US"), FREE, Bar.NO_SAFEGUARD),
        (replace(CARRIER, country="US", safeguard="eu-us-dpf"), FREE, None),
        (replace(CARRIER, country="GB"), FREE, Bar.NO_SAFEGUARD),
    ],
)
def test_a_subprocessor_is_used_only_when_nothing_stands_against_it(
    entry: Subprocessor | None, standing: Standing | None, why: Bar | None
) -> None:
    assert barred(entry, standing, "eu", [], NOW) is why


def test_a_safeguard_on_file_for_the_country_lets_a_transfer_out_of_the_region_be() -> None:
    abroad = replace(CARRIER, country="US")
    assert barred(abroad, FREE, "eu", ["US"], NOW) is None
    assert barred(abroad, FREE, "eu", ["GB"], NOW) is Bar.NO_SAFEGUARD
    assert barred(abroad, FREE, "us", [], NOW) is None


def test_regions_are_read_by_their_first_word_and_unknown_ones_as_a_country() -> None:
    assert is_inside("eu", "DE")
    assert is_inside("eu-central", "AT")
    assert not is_inside("eu", "CH")
    assert is_inside("jp", "JP")
    assert not is_inside("jp", "DE")


def test_an_answer_takes_a_word_of_the_customer_or_a_compulsion_and_is_given_once() -> None:
    assert [may_answer(state) for state in ("open", "authorised", "compelled", "answered", "closed")] == [
        Answering.NOT_RELEASED,
        Answering.ALLOWED,
        Answering.ALLOWED,
        Answering.ANSWERED,
        Answering.CLOSED,
    ]


def at(day: float, **more: object) -> Ending:
    facts: dict[str, object] = {
        "effective_at": NOW, "suspended": True, "content_due": NOW + timedelta(days=14.5), "content_erased": False,
        "all_due": NOW + timedelta(days=19.5), "erased": False,
    }  # fmt: skip
    return ending(NOW + timedelta(days=day), **(facts | more))  # type: ignore[arg-type]


def test_an_agreement_ends_in_order() -> None:
    assert at(-1, suspended=False) is Ending.NOTICE
    assert at(0, suspended=False) is Ending.SUSPEND
    assert at(1) is Ending.RETURN
    assert at(14.5) is Ending.ERASE_CONTENT
    assert at(15, content_erased=True) is Ending.NUMBER_DATA
    assert at(19.5, content_erased=True) is Ending.ERASE_ALL
    assert at(30, erased=True, content_erased=True) is Ending.DONE


def test_a_worker_that_slept_past_every_day_suspends_before_it_erases() -> None:
    assert at(40, suspended=False, content_due=None, all_due=None) is Ending.SUSPEND


@given(st.floats(-5, 40), st.booleans(), st.booleans())
def test_nothing_is_erased_before_its_day_whatever_was_done_before(day: float, suspended: bool, content_erased: bool) -> None:
    found = at(day, suspended=suspended, content_erased=content_erased)
    if found is Ending.ERASE_CONTENT:
        assert day >= 14.5
    if found is Ending.ERASE_ALL:
        assert day >= 19.5
