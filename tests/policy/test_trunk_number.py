"""Numbers as carriers want them written: always read back as the very number that was judged, or not written at all."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from hushwire.policy.trunk_number import NumberFormat, can_be_national, read, written

EXAMPLES = sorted(
    phonenumbers.format_number(example, PhoneNumberFormat.E164)
    for region in phonenumbers.SUPPORTED_REGIONS
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    if (example := phonenumbers.example_number_for_type(region, kind)) is not None
)


@pytest.mark.parametrize(
    ("number", "form", "country", "text"),
    [
        ("+493023125000", NumberFormat.PLUS, None, "+493023125000"),
        ("+493023125000", NumberFormat.BARE, None, "493023125000"),
        ("+493023125000", NumberFormat.NATIONAL, "DE", "03023125000"),
        ("+442079460123", NumberFormat.NATIONAL, "DE", "00442079460123"),
        ("+493023125000", NumberFormat.NATIONAL, "US", "011493023125000"),
        ("+12125550123", NumberFormat.NATIONAL, "US", "12125550123"),
        ("+390612345678", NumberFormat.NATIONAL, "IT", "0612345678"),
        ("+34912345678", NumberFormat.NATIONAL, "ES", "912345678"),
    ],
)
def test_numbers_are_written_as_the_carrier_wants_them(number: str, form: NumberFormat, country: str | None, text: str) -> None:
    assert written(number, form, country) == text
    assert read(text, form, country) == number


@pytest.mark.parametrize(
    "text", ["", "+", "49", "+0123456", "+49302312500;x=1", "+4930 23125", "00493023125000", "+４９３０２３１２５", "112"]
)
@pytest.mark.parametrize("form", list(NumberFormat))
def test_what_is_no_canonical_number_is_not_written(text: str, form: NumberFormat) -> None:
    assert written(text, form, "DE") is None


def test_a_national_carrier_without_a_country_gets_nothing() -> None:
    assert written("+493023125000", NumberFormat.NATIONAL, None) is None
    assert not can_be_national("001")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EXAMPLES), st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_what_is_written_in_any_country_is_read_as_the_same_number(number: str, country: str) -> None:
    for form in NumberFormat:
        text = written(number, form, country)
        if text is not None:
            assert read(text, form, country) == number
            assert text.lstrip("+").isdigit()


def test_nearly_every_country_can_write_nearly_every_number() -> None:
    able = [country for country in phonenumbers.SUPPORTED_REGIONS if can_be_national(country)]
    assert len(able) >= 220
    for country in ("DE", "US", "GB", "FR", "CH", "AT", "IT", "ES", "SG", "AU"):
        unwritten = [number for number in EXAMPLES if written(number, NumberFormat.NATIONAL, country) is None]
        assert len(unwritten) <= len(EXAMPLES) // 50, (country, unwritten[:5])
