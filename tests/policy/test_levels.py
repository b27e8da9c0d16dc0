"""Organisation, team and agent: what each may narrow, on which terms, at which hours; and what is excepted."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.policy.judge import Judge, decide
from hushwire.policy.model import Allow, Attempt, Channel, Deny, Emergency, NumberClass, Reason, Verdict
from hushwire.policy.rules import ExceptionKind, Level, NumberException, Rules, Term, Ways, Window
from hushwire.policy.terms import hours_of, read_hours, read_terms, terms_of, window, written_hours, written_terms
from tests.policy.rules import NOW, OWN

BERLIN, VIENNA, PREMIUM, UNASSIGNED = "+4930123456", "+4312345678", "+499001234567", "+4932999"
OFFICE = window((1, 2, 3, 4, 5), "08:00", "18:00")
THURSDAY_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUNDAY_NOON = datetime(2026, 1, 4, 12, tzinfo=UTC)


def known(**more: object) -> Rules:
    said = {"version": 1, "home_country": "DE", "allowed_countries": frozenset({"DE", "AT"}), "own_hosts": OWN}
    return Rules(**(said | more))  # type: ignore[arg-type]


def judged(number: str, rules: Rules, now: datetime = NOW, channel: Channel = Channel.INVITE) -> Verdict:
    return decide(Attempt(number, channel), rules, now)


def refused(verdict: Verdict) -> tuple[Reason, str]:
    assert isinstance(verdict, Deny)
    return verdict.reason, verdict.rule


def test_each_level_narrows_countries_classes_and_short_codes_and_says_so() -> None:
    rules = known(classes=frozenset({NumberClass.PREMIUM}), short_codes=frozenset({"116117"}))
    assert isinstance(judged(PREMIUM, rules), Allow)
    assert isinstance(judged("116117", rules), Allow)
    for name in ("team", "agent"):
        narrow = Level(name, frozenset({"AT"}))
        verdict = judged(BERLIN, known(narrower=(narrow,)))
        assert refused(verdict) == (Reason.COUNTRY, f"{name} countries")
        assert verdict.explanation == f"Germany (DE) is not on the {name}'s list of allowed countries."
        without = Level(name, classes=frozenset(), short_codes=frozenset())
        narrowed = known(classes=rules.classes, short_codes=rules.short_codes, narrower=(without,))
        assert refused(judged(PREMIUM, narrowed)) == (Reason.CLASS, f"{name} classes")
        assert refused(judged("116117", narrowed)) == (Reason.SHORT_CODE, f"{name} short-codes")


def test_a_country_may_be_for_calls_or_for_messages_only() -> None:
    rules = known(terms=(("AT", Term(Ways.SMS)), ("DE", Term(Ways.CALLS))))
    assert refused(judged(VIENNA, rules)) == (Reason.WAY, "organisation terms AT")
    assert isinstance(judged(VIENNA, rules, channel=Channel.SMS), Allow)
    assert isinstance(judged(VIENNA, rules, channel=Channel.MESSAGE), Allow)
    assert isinstance(judged(BERLIN, rules), Allow)
    assert refused(judged(BERLIN, rules, channel=Channel.SMS)) == (Reason.WAY, "organisation terms DE")
    assert judged(VIENNA, rules).explanation == "Austria (AT) is allowed for messages only."


def test_a_permission_ends_at_its_moment_and_not_before() -> None:
    end = NOW + timedelta(hours=1)
    rules = known(terms=(("AT", Term(until=end)),), narrower=(Level("agent", terms=(("DE", Term(until=end)),)),))
    for number, level, code in ((VIENNA, "organisation", "AT"), (BERLIN, "agent", "DE")):
        assert isinstance(judged(number, rules, end - timedelta(microseconds=1)), Allow)
        assert refused(judged(number, rules, end)) == (Reason.EXPIRED, f"{level} terms {code}")


def test_a_class_has_terms_too() -> None:
    rules = known(classes=frozenset({NumberClass.PREMIUM}), terms=(("premium", Term(until=NOW)),))
    assert refused(judged(PREMIUM, rules)) == (Reason.EXPIRED, "organisation terms premium")
    assert isinstance(judged(BERLIN, rules), Allow)


def test_windows_hold_in_the_zone_of_the_rules_summer_and_winter() -> None:
    rules = known(terms=(("DE", Term(windows=(OFFICE,))),), zone=ZoneInfo("Europe/Berlin"))
    for moment, is_open in (
        (datetime(2026, 1, 8, 6, 59, tzinfo=UTC), False),
        (datetime(2026, 1, 8, 7, 0, tzinfo=UTC), True),
        (datetime(2026, 1, 8, 17, 0, tzinfo=UTC), False),
        (datetime(2026, 7, 9, 6, 0, tzinfo=UTC), True),
        (datetime(2026, 7, 9, 16, 0, tzinfo=UTC), False),
        (datetime(2026, 7, 11, 10, 0, tzinfo=UTC), False),
    ):
        verdict = judged(BERLIN, rules, moment)
        assert isinstance(verdict, Allow) is is_open, moment
        assert is_open or refused(verdict) == (Reason.HOURS, "organisation terms DE")


def test_hours_of_a_level_close_everything_but_emergency_calls() -> None:
    for rules, level in ((known(hours=(OFFICE,)), "organisation"), (known(narrower=(Level("team", hours=(OFFICE,)),)), "team")):
        assert isinstance(judged(BERLIN, rules, THURSDAY_NOON), Allow)
        assert refused(judged(BERLIN, rules, SUNDAY_NOON)) == (Reason.HOURS, f"{level} hours")
        assert isinstance(judged("112", rules, SUNDAY_NOON), Emergency)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    night = window((5,), "22:00", "06:00")
    friday = datetime(2026, 1, 2, 21, 59, tzinfo=UTC)
    assert [night.holds(friday + timedelta(minutes=add)) for add in (0, 1, 120, 8 * 60, 8 * 60 + 1)] == [False, True, True, True, False]
    assert not night.holds(friday - timedelta(hours=20))
    assert Window(frozenset({7}), 22 * 60, 60).holds(datetime(2026, 1, 5, 0, 30, tzinfo=UTC))


def test_an_unassigned_number_goes_out_where_it_is_excepted_and_its_country_allowed() -> None:
    assert refused(judged(UNASSIGNED, known()))[0] in (Reason.INVALID, Reason.INCOMPLETE)
    end = NOW + timedelta(days=1)
    excepted = NumberException(ExceptionKind.UNASSIGNED, UNASSIGNED, False, "DE", end)
    verdict = judged(UNASSIGNED, known(exceptions=(excepted,)))
    assert isinstance(verdict, Allow)
    assert (verdict.number, verdict.country, verdict.rule) == (UNASSIGNED, "DE", "organisation exceptions DE")
    assert not isinstance(judged(UNASSIGNED, known(exceptions=(excepted,)), end), Allow)
    assert not isinstance(judged(UNASSIGNED + "1", known(exceptions=(excepted,))), Allow)
    prefix = NumberException(ExceptionKind.UNASSIGNED, "+4932", True, "DE")
    assert isinstance(judged(UNASSIGNED + "1", known(exceptions=(prefix,))), Allow)
    assert isinstance(judged("032999", known(exceptions=(prefix,))), Allow)
    assert refused(judged(UNASSIGNED, known(allowed_countries=frozenset({"AT"}), exceptions=(prefix,))))[0] is Reason.COUNTRY


def test_a_listed_short_code_is_dialled_exactly_or_behind_the_outside_prefix_and_in_the_home_country_only() -> None:
    rules = known(short_codes=frozenset({"116117"}), outside_prefix="0")
    for dialled in ("116117", "0116117"):
        verdict = judged(dialled, rules)
        assert isinstance(verdict, Allow)
        assert (verdict.number, verdict.country, verdict.number_class) == ("116117", "DE", NumberClass.SHORT_CODE)
    for dialled in ("1161171", "+116117", "116116", "00116117", "+49116117", "tel:116117;phone-context=+49"):
        assert not isinstance(judged(dialled, rules), Allow), dialled
    assert refused(judged("116117", known(allowed_countries=frozenset({"AT"}), short_codes=frozenset({"116117"}))))[0] is Reason.COUNTRY


def test_the_memory_forgets_an_answer_when_a_window_or_a_permission_ends_and_before_it_began() -> None:
    judge, end = Judge(), THURSDAY_NOON + timedelta(seconds=30)
    expiring, hours = known(terms=(("DE", Term(until=end)),)), known(hours=(OFFICE,))
    attempt = Attempt(BERLIN, Channel.INVITE)
    assert isinstance(judge.decide(attempt, expiring, THURSDAY_NOON), Allow)
    assert isinstance(judge.decide(attempt, expiring, end), Deny)
    assert isinstance(judge.decide(attempt, expiring, end - timedelta(microseconds=1)), Allow)
    closing = THURSDAY_NOON.replace(hour=17, minute=59, second=59)
    assert isinstance(judge.decide(attempt, hours, closing), Allow)
    assert isinstance(judge.decide(attempt, hours, closing + timedelta(seconds=1)), Deny)
    assert isinstance(judge.decide(attempt, hours, closing), Allow)


windows = st.builds(
    window, st.sets(st.integers(1, 7), min_size=1), *[st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))] * 2
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))
terms = st.builds(
    Term,
    st.sampled_from(list(Ways)),
    st.none() | moments.map(lambda m: m.replace(microsecond=0)),
    st.lists(windows, max_size=3, unique=True).map(tuple),
)
levels = st.builds(
    Level,
    st.just("team"),
    st.none() | st.frozensets(st.sampled_from(["DE", "AT", "GB"])),
    terms=st.dictionaries(st.sampled_from(["DE", "AT"]), terms).map(lambda said: tuple(sorted(said.items()))),
    hours=st.lists(windows, max_size=2).map(tuple),
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham"]).map(ZoneInfo)


@settings(max_examples=300, deadline=None)
@given(levels, zones, moments, st.integers(0, 7200), st.sampled_from([BERLIN, VIENNA]), st.sampled_from([Channel.INVITE, Channel.SMS]))
def test_whatever_the_memory_says_is_what_the_judge_says_now(level, zone, now, later_s, number, channel) -> None:
    rules, judge = known(narrower=(level,), zone=zone), Judge()
    for moment in (now, now + timedelta(seconds=later_s), now):
        assert judge.decide(Attempt(number, channel), rules, moment) == judged(number, rules, moment, channel)


@settings(max_examples=300, deadline=None)
@given(levels, zones, moments, st.sampled_from([BERLIN, VIENNA, "+442079460000", "112", PREMIUM]))
def test_a_level_never_allows_what_the_one_above_refuses(level, zone, now, number) -> None:
    whole = known(zone=zone)
    if isinstance(judged(number, known(narrower=(level,), zone=zone), now), Allow):
        assert isinstance(judged(number, whole, now), Allow)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["DE", "AT", "premium"]), terms), st.lists(windows, max_size=4, unique=True))
def test_terms_and_hours_are_read_as_they_were_written(said, hours) -> None:
    kept = tuple((subject, term) for subject, term in sorted(said.items()) if term != Term())
    again = read_terms(written_terms(kept))
    assert written_terms(again) == written_terms(kept)
    assert [(subject, term.ways, term.until, set(term.windows)) for subject, term in again] == [
        (subject, term.ways, term.until, set(term.windows)) for subject, term in kept
    ]
    assert set(read_hours(written_hours(hours))) == set(hours)


@pytest.mark.parametrize(
    "said",
    [
        {"XX": {}},
        {"fixed": {}},
        {"DE": []},
        {"DE": {"way": "calls"}},
        {"DE": {"ways": "fax"}},
        {"DE": {"ways": ["calls"]}},
        {"DE": {"until": "0001-01-01T00:00:00+23:59"}},
        {"DE": {"until": "9999-12-31T23:59:59-23:59"}},
        {"DE": {"until": "2026-12-31"}},
        {"DE": {"until": 5}},
        {"DE": {"windows": {}}},
        {"DE": {"windows": [{"days": [8], "from": "08:00", "to": "09:00"}]}},
        {"DE": {"windows": [{"days": [], "from": "08:00", "to": "09:00"}]}},
        {"DE": {"windows": [{"days": ["1"], "from": "08:00", "to": "09:00"}]}},
        {"DE": {"windows": [{"from": "8:00", "to": "09:00"}]}},
        {"DE": {"windows": [{"from": "08:00", "to": "24:01"}]}},
        {"DE": {"windows": [{"from": "08:00"}]}},
    ],
)
def test_terms_that_are_none_are_refused_with_words(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        terms_of(said)


@pytest.mark.parametrize("said", [5, "08:00", [{}], [[]], [{"from": "08:00", "to": "09:00"}] * 40])
def test_hours_that_are_none_are_refused_with_words(said: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        hours_of(said)


def test_an_exception_for_a_prefix_opens_no_range_that_is_charged_otherwise_nor_another_territory_of_its_code() -> None:
    german = NumberException(ExceptionKind.UNASSIGNED, "+49", True, "DE")
    too_long = PREMIUM + "00000"
    assert refused(judged(too_long, known(exceptions=(german,)))) == (Reason.CLASS, "organisation classes")
    assert isinstance(judged(too_long, known(exceptions=(german,), classes=frozenset({NumberClass.PREMIUM}))), Allow)
    american = NumberException(ExceptionKind.UNASSIGNED, "+1", True, "US")
    allowed = frozenset({"US", "DE"})
    for number in ("+18761110000", "+16581110000", "+12421110000"):
        assert not isinstance(judged(number, known(allowed_countries=allowed, exceptions=(american,))), Allow), number


@pytest.mark.parametrize("opens", ["24:00"])
def test_no_window_opens_at_the_end_of_a_day(opens: str) -> None:
    with pytest.raises(ValueError, match="23:59"):
        window((1,), opens, "06:00")
    assert window((1,), "00:00", "24:00").closes_min == 1440
