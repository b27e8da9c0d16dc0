"""Rate tables: what a call is estimated to cost, and files that are none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.rating import Rate, RatesUnreadableError, RateTable, read_csv

GOOD = "prefix,currency,per_minute,connection,first_s,next_s\n49,EUR,0.012,,,\n+491,EUR,0.12,0.05,60,1\n1,USD,0.01,0,30,6\n"


def test_the_longest_prefix_decides_and_an_unknown_number_costs_as_the_dearest() -> None:
    table = RateTable(read_csv(GOOD))
    assert table.find("+493023125999") == Rate("EUR", 12_000)
    assert table.find("+4915112345678") == Rate("EUR", 120_000, 50_000, 60, 1)
    assert table.find("+12025550123") == Rate("USD", 10_000, 0, 30, 6)
    assert table.find("+5351234567") == Rate("EUR", 120_000, 50_000, 60, 1)
    assert RateTable({}).find("+4930") is None


@pytest.mark.parametrize(
    ("seconds", "micros"), [(0, 0), (0.2, 5_000), (30, 5_000), (30.1, 6_000), (36, 6_000), (36.5, 7_000), (90, 15_000)]
)
def test_time_is_charged_in_whole_increments(seconds: float, micros: int) -> None:
    assert Rate("USD", 10_000, 0, 30, 6).cost(seconds) == micros


@given(st.integers(0, 10**9), st.integers(0, 10**8), st.integers(1, 3600), st.integers(1, 3600), st.floats(0, 10**6), st.floats(0, 10**6))
def test_a_longer_call_never_costs_less_and_is_never_charged_for_less_than_it_lasted(
    minute: int, connection: int, first: int, following: int, one: float, other: float
) -> None:
    rate = Rate("EUR", minute, connection, first, following)
    shorter, longer = sorted((one, other))
    assert rate.cost(shorter) <= rate.cost(longer)
    if longer:
        assert rate.cost(longer) >= connection + int(minute * longer / 60)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("49,EUR,0.1\n", "line 1: the header lacks"),
        ("prefix,currency,per_minute,colour\n", "line 1: the header may name"),
        ("prefix,currency,per_minute,prefix\n", "line 1: the header may name"),
        (GOOD + "49,EUR,0.1,,,\n", "line 5: the prefix stands in the file twice"),
        (GOOD + "49x,EUR,0.1,,,\n", "line 5: prefix must be"),
        (GOOD + ",EUR,0.1,,,\n", "line 5: prefix must be"),
        (GOOD + "33,eur,0.1,,,\n", "line 5: currency must be"),
        (GOOD + "33,EUR,-1,,,\n", "line 5: per_minute must be"),
        (GOOD + "33,EUR,NaN,,,\n", "line 5: per_minute must be"),
        (GOOD + "33,EUR,1e9,,,\n", "line 5: per_minute must be"),
        (GOOD + "33,EUR,0.1,,0,\n", "line 5: first_s must be"),
        (GOOD + "33,EUR,0.1\n", "line 5: 6 columns are needed"),
        ('prefix,currency,per_minute\n49,EUR,"0.1\n', "this is no CSV"),
    ],
)
def test_a_file_that_is_no_rate_table_is_refused_with_its_line_and_without_its_words(text: str, words: str) -> None:
    with pytest.raises(RatesUnreadableError) as refused:
        read_csv(text)
    assert words in str(refused.value)
    assert "49x" not in str(refused.value)


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_raise_anything_else(text: str) -> None:
    for given_text in (text, GOOD + text):
        with contextlib.suppress(RatesUnreadableError):
            read_csv(given_text)


def test_a_short_code_is_no_number_of_the_calling_code_that_it_begins_with() -> None:
    usa, own, dear = Rate("EUR", 10_000), Rate("EUR", 50_000), Rate("EUR", 900_000)
    table = RateTable({"1": usa, "22044": own, "49900": dear})
    assert table.find("+12125550100") is usa
    assert table.find("22044") is own
    assert table.find("110110") is dear
