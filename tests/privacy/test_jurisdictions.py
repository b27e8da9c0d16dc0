"""Which laws apply, and that the strictest of several wins."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.privacy.jurisdictions import ELSEWHERE, Consent, law_of, places, strictest, tag_of, tags_for_country
from hushwire.privacy.laws import EUROPEAN, LAWS


@pytest.mark.parametrize(
    ("spelled", "tag"),
    [("EU/DE", "DE"), ("gb", "UK"), ("UK", "UK"), ("us-ca", "US-CA"), (" SG ", "SG"), ("EU", "EU"), ("AU-NSW", "AU-NSW")],
)
def test_a_tag_has_one_spelling_and_is_read_in_several(spelled: str, tag: str) -> None:
    assert tag_of(spelled) == tag


@pytest.mark.parametrize("text", ["", "XX", "US-XX", "DE-", "Germany", "EU/", "EU/EU/DE", "ＤＥ", "DE\n", "US-CA-LA", "elsewhere"])
def test_a_place_that_the_table_does_not_know_is_refused_as_a_tag(text: str) -> None:
    if text == "DE\n":
        assert tag_of(text) == "DE"  # blanks around are nobody's fault
        return
    with pytest.raises(ValueError, match="must be one of"):
        tag_of(text)


CONSENT = [
    (["DE"], Consent.ALL_PARTY),  # StGB s. 201
    (["US-NY"], Consent.ONE_PARTY),
    (["US-CA"], Consent.ALL_PARTY),  # Penal Code s. 632
    (["US"], Consent.ALL_PARTY),
    (["UK"], Consent.ONE_PARTY),
    (["CH"], Consent.ALL_PARTY),  # StGB art. 179bis
    (["AU"], Consent.ALL_PARTY),
    (["US-NY", "US-CA"], Consent.ALL_PARTY),
    (["UK", "US-NY"], Consent.ONE_PARTY),
    (["GB", "KP"], Consent.ALL_PARTY),  # unknown law
    ([], Consent.ALL_PARTY),
]


@pytest.mark.parametrize(("tags", "consent"), CONSENT)
def test_all_parties_must_agree_as_soon_as_one_law_asks_for_it(tags: list[str], consent: Consent) -> None:
    assert strictest(tags).consent is consent


def test_the_states_that_ask_for_every_partys_consent() -> None:
    asking = {tag for tag, law in LAWS.items() if tag.startswith("US-") and law.consent is Consent.ALL_PARTY}
    statutes = "CA CT DE FL IL MA MD MI MT NH NV OR PA VT WA"
    assert asking == {f"US-{state}" for state in statutes.split()}


@pytest.mark.parametrize(
    ("tags", "hours"), [(["DE"], 72), (["UK", "IN"], 6), (["US-CA"], 360), (["US-NY"], 720), (["US-NY", "SG"], 72), ([], 72)]
)
def test_the_regulator_is_told_within_the_shortest_time(tags: list[str], hours: int) -> None:
    assert strictest(tags).regulator_hours == hours


def test_european_law_is_the_unions_the_eeas_the_united_kingdoms_and_switzerlands() -> None:
    assert {"EU", "DE", "IS", "NO", "LI", "UK", "CH"} <= EUROPEAN
    assert strictest(["SG", "FR"]).is_european
    assert not strictest(["SG", "US-CA"]).is_european
    assert strictest([]).is_european
    assert len(EUROPEAN) == 1 + 27 + 3 + 2


@given(st.lists(st.sampled_from(sorted(LAWS)), min_size=1, max_size=4), st.sampled_from(sorted(LAWS)))
def test_another_law_never_makes_the_rules_milder(tags: list[str], more: str) -> None:
    before, after = strictest(tags), strictest([*tags, more])
    assert after.regulator_hours <= before.regulator_hours
    assert after.must_announce or not before.must_announce
    assert after.consent is Consent.ALL_PARTY or before.consent is Consent.ONE_PARTY
    assert after.is_european or not before.is_european


def test_every_tag_has_zones_a_calendar_and_sources() -> None:
    for tag, law in LAWS.items():
        assert all(ZoneInfo(name) for name in law.zones), tag
        assert law.consent_source, tag
        assert law.breach_source, tag
        assert law.regulator, tag
        (place,) = places([tag])
        weekdays = [day for day in (date(2026, 1, 1) + timedelta(days=passed) for passed in range(365)) if day.weekday() < 5]
        assert 3 <= sum(not place.is_business_day(day) for day in weekdays) <= 25, tag


def test_an_organisation_without_tags_is_under_its_home_countrys_law() -> None:
    assert law_of(*tags_for_country("GB")).tag == "UK"
    assert law_of(*tags_for_country("DE")).calendar == "DE"
    unknown = law_of(*tags_for_country("CL"))
    assert (unknown.calendar, unknown.consent) == ("CL", Consent.ALL_PARTY)
    assert law_of("XK") is ELSEWHERE or law_of("XK").calendar == "XK"
