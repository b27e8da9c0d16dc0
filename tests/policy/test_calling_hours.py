"""Hours of telemarketing: read strictly, and asked of every time zone in which a number may be."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.policy.calling_hours import CallingHours, closed_where, parse, zones

NEW_YORK, GERMAN, RUSSIAN, SATELLITE = "+12125550123", "+4930123456", "+79161234567", "+881612345678"
WEEK = (parse("* mon-fri 08:00-20:00"), parse("FR mon-fri 10:00-13:00"), parse("FR mon-fri 14:00-20:00"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "country", "now", "closed"),
    [
        # Thursday, 26 November 2026: Berlin is one hour ahead, New York five behind, Los Angeles eight, Honolulu ten.
        (GERMAN, "DE", "2026-11-26T07:00", None),
        (GERMAN, "DE", "2026-11-26T06:59", "Europe/Berlin"),
        (GERMAN, "DE", "2026-11-26T18:59", None),
        (GERMAN, "DE", "2026-11-26T19:00", "Europe/Berlin"),
        (GERMAN, "DE", "2026-11-28T12:00", "Europe/Berlin"),
        # Summer time: the same clock there is an hour earlier here.
        (GERMAN, "DE", "2026-07-02T06:00", None),
        (NEW_YORK, "US", "2026-11-26T07:00", "America/New_York"),
        (NEW_YORK, "US", "2026-11-26T13:00", None),
        # Russian mobiles may be anywhere from Kaliningrad (2 hours ahead) to Kamchatka (12): two hours are left of twelve.
        (RUSSIAN, "RU", "2026-11-26T05:59", "Europe/Kaliningrad"),
        (RUSSIAN, "RU", "2026-11-26T06:00", None),
        (RUSSIAN, "RU", "2026-11-26T08:00", "Asia/Anadyr"),
        ("+33145678901", "FR", "2026-11-26T12:30", "Europe/Paris"),
        ("+33145678901", "FR", "2026-11-26T13:00", None),
        (SATELLITE, None, "2026-11-26T12:00", ""),
    ],
)
def test_a_number_is_called_while_every_zone_that_it_may_be_in_is_inside_the_hours(
    number: str, country: str | None, now: str, closed: str | None
) -> None:
    found = closed_where(number, country, WEEK, at(now))
    assert (found is None) == (closed is None)
    if number != RUSSIAN:
        assert found == closed


def test_a_country_without_hours_of_its_own_has_those_of_everywhere_or_none() -> None:
    night = at("2026-11-26T02:00")
    assert closed_where(GERMAN, "DE", (), night) is None
    assert closed_where(GERMAN, "DE", (parse("FR mon-fri 10:00-13:00"),), night) is None
    assert closed_where(GERMAN, "DE", (parse("DE mon-sun 00:00-24:00"), parse("* mon 08:00-09:00")), night) is None


def test_an_entry_is_read_as_it_is_meant() -> None:
    assert parse("DE sat 09:00-24:00") == CallingHours("DE", frozenset({5}), 540, 1440)
    assert parse("* fri-mon 00:00-00:01").days == {4, 5, 6, 0}
    assert parse("* mon-sun 08:00-20:00").days == set(range(7))


@pytest.mark.parametrize(
    "text",
    ["", "DE", "de mon 08:00-20:00", "ZZ mon 08:00-20:00", "DE mon 20:00-08:00", "DE mon 08:00-08:00", "DE mon 08:00-25:00",
     "DE mon 08:00-24:01", "DE mon 8:00-20:00", "DE mon-xyz 08:00-20:00", "DE mon 08:00-20:00 ",
     "DE  mon 08:00-20:00", "DE mon 08:00-20:0٠"],
)  # fmt: skip
def test_what_is_no_entry_is_refused_in_words_that_do_not_repeat_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|begins") as refused:
        parse(text)
    assert not text or text not in str(refused.value)


@given(st.text(max_size=40) | st.from_regex(r"\+[0-9]{1,15}", fullmatch=True))
def test_no_number_makes_the_question_raise(number: str) -> None:
    zones(number)
    closed_where(number, None, WEEK, at("2026-11-26T12:00"))
