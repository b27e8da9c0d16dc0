"""How long clocks run: examples worked out by hand from calendars, and what holds for every start."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.core.ids import OrgId
from hushwire.privacy.clocks import (
    RULES,
    Clock,
    ClockKind,
    Sense,
    State,
    Unit,
    checked_evidence,
    checked_outcome,
    due,
    state,
    step,
    times,
    warnings,
)
from hushwire.privacy.jurisdictions import ELSEWHERE, places
from hushwire.privacy.laws import LAWS

ORG = OrgId(uuid4())
BERLIN, NEW_YORK, SINGAPORE, SYDNEY = (
    ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Asia/Singapore", "Australia/Sydney")
)


def at(text: str, zone: ZoneInfo | None = None) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC)


HOURS = [
    # The night in which Berlin puts its clocks back has 25 hours, and the one in which it puts them forward 23.
    ("2026-10-24 20:00", BERLIN, "2026-10-25 19:00", BERLIN),
    ("2027-03-27 20:00", BERLIN, "2027-03-28 21:00", BERLIN),
    ("2026-10-31 20:00", NEW_YORK, "2026-11-01 19:00", NEW_YORK),
    ("2026-04-04 20:00", SYDNEY, "2026-04-05 19:00", SYDNEY),
    ("2028-02-28 08:00", SINGAPORE, "2028-02-29 08:00", SINGAPORE),
]


@pytest.mark.parametrize(("start", "zone", "end", "end_zone"), HOURS)
def test_hours_are_absolute_time_whatever_local_clocks_do(start: str, zone: ZoneInfo, end: str, end_zone: ZoneInfo) -> None:
    for kind in (ClockKind.DATA_SUBJECT_NOTICE, ClockKind.BREACH_NOTICE):
        for tags in (["DE"], ["US-NY", "AU"], []):
            assert due(kind, at(start, zone), tags) == at(end, end_zone).astimezone(UTC)


def test_the_notice_of_a_data_subjects_request_warns_after_12_and_20_hours_and_a_breach_at_its_target_of_one_hour() -> None:
    start = at("2026-05-05 09:00")
    assert warnings(ClockKind.DATA_SUBJECT_NOTICE, start, ["SG"]) == (start + timedelta(hours=12), start + timedelta(hours=20))
    assert warnings(ClockKind.BREACH_NOTICE, start, ["SG"])[0] == start + timedelta(hours=1)


FIFTEEN_DAYS = [
    ("DE", "2027-03-20 09:30", BERLIN, "2027-04-04 09:30"),  # an hour less: clocks go forward on 28 March
    ("DE", "2026-10-20 09:30", BERLIN, "2026-11-04 09:30"),
    ("US-NY", "2026-10-20 12:00", NEW_YORK, "2026-11-04 12:00"),
    ("SG", "2026-05-01 08:00", SINGAPORE, "2026-05-16 08:00"),
    ("AU-NSW", "2026-03-25 09:00", SYDNEY, "2026-04-09 09:00"),
    ("SG", "2028-02-20 20:00", SINGAPORE, "2028-03-06 20:00"),  # over a leap day
    ("SG", "2027-02-20 20:00", SINGAPORE, "2027-03-07 20:00"),
    ("DE", "2028-02-14 23:59", BERLIN, "2028-02-29 23:59"),  # ends on one
    ("DE", "2028-02-29 00:00", BERLIN, "2028-03-15 00:00"),  # begins on one
    ("DE", "2026-12-24 18:00", BERLIN, "2027-01-08 18:00"),
]


@pytest.mark.parametrize(("tag", "start", "zone", "end"), FIFTEEN_DAYS)
def test_a_duty_in_days_is_owed_by_the_same_local_time_of_its_last_day(tag: str, start: str, zone: ZoneInfo, end: str) -> None:
    assert due(ClockKind.ACCOUNT_DELETION, at(start, zone), [tag]) == at(end, zone).astimezone(UTC)


def test_a_duty_that_would_end_in_the_hour_that_is_left_out_ends_before_it() -> None:
    assert due(ClockKind.ACCOUNT_DELETION, at("2027-03-13 02:30", BERLIN), ["DE"]) == at("2027-03-28 00:30")


def test_a_duty_that_ends_in_the_hour_that_comes_twice_ends_with_the_first() -> None:
    assert due(ClockKind.ACCOUNT_DELETION, at("2026-10-10 02:30", BERLIN), ["DE"]) == at("2026-10-25 00:30")


def test_of_several_jurisdictions_a_duty_has_the_earliest_end() -> None:
    start = at("2026-10-20 16:00")  # an hour more in New York, where clocks go back on 1 November
    assert due(ClockKind.ACCOUNT_DELETION, start, ["US-NY"]) == at("2026-11-04 17:00")
    assert due(ClockKind.ACCOUNT_DELETION, start, ["US-NY", "SG"]) == at("2026-11-04 16:00")


TEN_BUSINESS_DAYS = [
    # Good Friday 26 and Easter Monday 29 March 2027; clocks go forward between.
    ("DE", "2027-03-19 10:00", BERLIN, "2027-04-07 00:00"),
    # Christmas Day and New Year's Day on Fridays; Epiphany is a holiday in Bavaria, not in all of Germany.
    ("DE", "2026-12-23 10:00", BERLIN, "2027-01-09 00:00"),
    ("US-NY", "2026-11-13 23:00", NEW_YORK, "2026-12-01 00:00"),  # Thanksgiving
    ("SG", "2026-02-06 10:00", SINGAPORE, "2026-02-25 00:00"),  # Chinese New Year, 17 and 18 February
    ("AU-NSW", "2026-03-30 10:00", SYDNEY, "2026-04-16 00:00"),  # Easter; clocks go back on 5 April
    ("UK", "2027-12-17 10:00", ZoneInfo("Europe/London"), "2028-01-06 00:00"),  # substitutes on 27 and 28 December and 3 January
    ("UK", "2028-02-22 10:00", ZoneInfo("Europe/London"), "2028-03-08 00:00"),  # 29 February is a Tuesday like any other
]


@pytest.mark.parametrize(("tag", "start", "zone", "end"), TEN_BUSINESS_DAYS)
def test_a_change_of_sub_processors_waits_until_the_end_of_the_tenth_business_day(tag: str, start: str, zone: ZoneInfo, end: str) -> None:
    assert due(ClockKind.SUB_PROCESSOR_CHANGE, at(start, zone), [tag]) == at(end, zone).astimezone(UTC)


def test_of_several_jurisdictions_a_period_has_the_latest_end() -> None:
    start = at("2026-11-13 10:00")
    assert due(ClockKind.SUB_PROCESSOR_CHANGE, start, ["DE"]) == at("2026-11-28 00:00", BERLIN).astimezone(UTC)
    assert due(ClockKind.SUB_PROCESSOR_CHANGE, start, ["DE", "US-NY"]) == at("2026-12-01 00:00", NEW_YORK).astimezone(UTC)


def test_an_unknown_place_has_its_own_holidays_and_the_days_of_the_whole_world() -> None:
    start = at("2026-12-14 10:00")
    chile = due(ClockKind.SUB_PROCESSOR_CHANGE, start, ["CL"])
    assert chile == at("2026-12-31 00:00", ZoneInfo("Etc/GMT-14")).astimezone(
        UTC
    )  # where the notice's day is the 15th; Christmas Day is free
    assert due(ClockKind.SUB_PROCESSOR_CHANGE, start, []) > chile


LENGTHS = {
    ClockKind.DATA_SUBJECT_NOTICE: timedelta(hours=24),
    ClockKind.ACCOUNT_DELETION: timedelta(days=15),
    ClockKind.NUMBER_DATA: timedelta(days=20),
    ClockKind.OBJECTION: timedelta(days=18),
    ClockKind.BREACH_NOTICE: timedelta(hours=24),
    ClockKind.DISPUTE: timedelta(days=30),
    ClockKind.TERMINATION_CONTENT: timedelta(days=15),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_every_duty_has_the_length_that_the_agreement_gives_it(kind: ClockKind) -> None:
    start = at("2026-05-01 12:34:56")
    assert due(kind, start, ["SG"]) - start == LENGTHS[kind]
    assert {*LENGTHS, ClockKind.SUB_PROCESSOR_CHANGE, ClockKind.AUDIT_NOTICE} == set(ClockKind)


STARTS = st.datetimes(datetime(2001, 1, 1), datetime(2098, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
TAGS = st.lists(st.sampled_from(sorted([*LAWS, "CL", "??"])), max_size=4)


@given(start=STARTS, tags=TAGS, kind=st.sampled_from(ClockKind))
@settings(max_examples=400, deadline=None)
def test_the_strictest_wins_and_warnings_come_in_order_before_the_end(start: datetime, tags: list[str], kind: ClockKind) -> None:
    planned, rule = times(kind, start, tags), RULES[kind]
    moments = [start, *planned.warn_at, planned.due_at]
    assert moments == sorted(set(moments))
    assert all(moment.utcoffset() == timedelta() for moment in moments)
    if tags:
        each = [due(kind, start, [tag]) for tag in tags]
        assert planned.due_at == (min(each) if rule.sense is Sense.DUTY else max(each))
    if planned.act_at is not None:
        assert start < planned.act_at < planned.due_at


DUTIES_IN_DAYS = [kind for kind in ClockKind if RULES[kind].unit is Unit.DAYS and RULES[kind].sense is Sense.DUTY]


@given(start=STARTS, tag=st.sampled_from(sorted(LAWS)), kind=st.sampled_from(DUTIES_IN_DAYS))
@settings(max_examples=400, deadline=None)
def test_days_are_the_calendars_days_in_every_zone_and_never_more_than_the_strict_count(start: datetime, tag: str, kind: ClockKind) -> None:
    end, count = due(kind, start, [tag]), RULES[kind].count
    assert abs(end - start - timedelta(days=count)) <= timedelta(hours=1)
    for place in places([tag]):
        for zone in place.zones:
            same_time = start.astimezone(zone).replace(tzinfo=None) + timedelta(days=count)
            assert end <= same_time.replace(tzinfo=zone, fold=0).astimezone(UTC)
            assert end <= same_time.replace(tzinfo=zone, fold=1).astimezone(UTC)


@given(start=STARTS, tag=st.sampled_from(sorted(LAWS)))
@settings(max_examples=300, deadline=None)
def test_thirty_whole_days_lie_between_the_notice_of_an_audit_and_its_beginning_in_every_zone(start: datetime, tag: str) -> None:
    end = due(ClockKind.AUDIT_NOTICE, start, [tag])
    for place in places([tag]):
        for zone in place.zones:
            assert (end.astimezone(zone).date() - start.astimezone(zone).date()).days >= 31
    assert end - start <= timedelta(days=32, hours=1)


@given(start=STARTS, tag=st.sampled_from(sorted(LAWS)))
@settings(max_examples=300, deadline=None)
def test_ten_whole_business_days_lie_between_notice_and_activation_in_every_zone(start: datetime, tag: str) -> None:
    end = due(ClockKind.SUB_PROCESSOR_CHANGE, start, [tag])
    (place,) = places([tag])
    for zone in place.zones:
        day, last = start.astimezone(zone).date() + timedelta(days=1), end.astimezone(zone).date()
        days = [day + timedelta(days=passed) for passed in range((last - day).days)]
        assert sum(place.is_business_day(found) for found in days) >= 10


def clock(kind: ClockKind, start: datetime) -> Clock:
    planned = times(kind, start, ["DE"])
    return Clock(uuid4(), ORG, kind, "request", uuid4(), ("DE",), start, planned.due_at, planned.warn_at, planned.act_at)


def test_a_duty_runs_is_warned_of_and_is_overdue_from_the_instant_of_its_end_on() -> None:
    start = at("2026-05-05 09:00")
    row = clock(ClockKind.DATA_SUBJECT_NOTICE, start)
    instants = {0: State.RUNNING, 11.999: State.RUNNING, 12: State.WARNED, 23.999: State.WARNED, 24: State.OVERDUE, 90_000: State.OVERDUE}
    for hours, expected in instants.items():
        assert state(row, start + timedelta(hours=hours)) is expected


def test_a_period_elapses_and_is_never_overdue() -> None:
    row = clock(ClockKind.SUB_PROCESSOR_CHANGE, at("2026-05-05 09:00"))
    assert state(row, row.due_at - timedelta(microseconds=1)) is State.WARNED
    assert state(row, row.due_at + timedelta(days=900)) is State.ELAPSED


def test_the_worker_is_told_what_is_new_and_when_to_look_again() -> None:
    row = clock(ClockKind.NUMBER_DATA, at("2026-05-05 09:00"))
    assert row.act_at is not None
    looks = [row.started_at]
    while (found := step(row, looks[-1])) is not None and found.look_at is not None:
        looks.append(found.look_at)
    assert looks == [row.started_at, *row.warn_at, row.act_at, row.due_at]
    late = step(row, row.due_at + timedelta(days=365))
    assert late is not None
    assert (late.warned, late.is_due, late.acts, late.look_at) == (2, True, True, None)


@pytest.mark.parametrize("value", ["anna@example.org", "Anna", "+4930123", "030 12", "493023125000", "", "x" * 129, "a\nb", "ä"])
def test_evidence_that_could_name_a_person_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="evidence"):
        checked_evidence({"reply": value})
    with pytest.raises(ValueError, match="name of evidence"):
        checked_evidence({value: 1})


def test_evidence_of_ids_digests_codes_and_counts_is_kept_as_it_is() -> None:
    proof = {"notice": str(uuid4()), "digest": "ab" * 32, "reply": "250", "late": False, "count": 3, "none": None}
    assert checked_evidence(proof) == proof
    assert checked_outcome("notice-accepted") == "notice-accepted"
    with pytest.raises(ValueError, match="code"):
        checked_outcome("Told Anna")


def test_the_unknown_place_is_no_tag() -> None:
    assert ELSEWHERE.tag not in LAWS
