"""Numbers as carriers write them: +E.164 where that is sure, and as they came where it is not."""

import re

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, from_regex, sampled_from, text

from hushwire.services.message_parties import Form, form_of, is_number, party

I, N, U, O = Form.INTERNATIONAL, Form.NATIONAL, Form.UNTYPED, Form.OTHER  # noqa: E741


@pytest.mark.parametrize(
    ("written", "form", "country", "found"),
    [
        ("491701234567", I, None, "+491701234567"),
        ("+491701234567", U, None, "+491701234567"),
        ("00491701234567", I, None, "+491701234567"),
        ("015112345678", N, "DE", "+4915112345678"),
        ("15112345678", N, "DE", "+4915112345678"),
        ("015112345678", U, "DE", "+4915112345678"),
        ("0612345678", U, "FR", "+33612345678"),
        ("2025550123", N, "US", "+12025550123"),
        ("4915112345678", U, None, "+4915112345678"),
        ("15112345678", U, "DE", "+4915112345678"),  # +1 511 2345678 is nobody's
        ("015112345678", I, "DE", "+4915112345678"),  # a carrier that types everything as international
        ("+015112345678", U, "DE", "+4915112345678"),
        # What is not sure stands for itself.
        ("015112345678", N, None, "015112345678"),
        ("+015112345678", U, None, "015112345678"),
        ("72727", U, "DE", "72727"),
        ("72727", N, "DE", "72727"),
        ("72727", O, "DE", "72727"),
        ("ACME", O, "DE", "ACME"),
        ("+ACME", U, "DE", "ACME"),
        ("99999999999", U, "DE", "99999999999"),
        ("0000000000000", U, "DE", "0000000000000"),
        ("", U, "DE", ""),
    ],
)
def test_a_party_is_a_number_only_where_that_is_sure(written: str, form: Form, country: str | None, found: str) -> None:
    assert party(written, form, country) == found


def test_untyped_numbers_are_read_as_the_carrier_writes_them() -> None:
    # A number of Egypt, and one of Connecticut in national form.
    assert party("2032123456", U, "US") == "+2032123456"
    assert party("2032123456", U, "US", untyped_is_national=True) == "+12032123456"


@given(
    written=text(max_size=24) | from_regex(r"[+0-9 ]{1,18}", fullmatch=True),
    form=sampled_from(Form),
    country=sampled_from([None, "DE", "US", "IT", "ZZ", "001"]),
    is_national=booleans(),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_becomes_a_number_or_itself_and_never_a_number_that_begins_with_zero(
    written: str, form: Form, country: str | None, is_national: bool
) -> None:
    found = party(written, form, country, untyped_is_national=is_national)
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", found, re.ASCII) or found == written.strip().lstrip("+")
    assert party(found, Form.UNTYPED, country) == found or not is_number(found)


def test_types_of_numbers_are_those_of_smpp() -> None:
    assert [form_of(ton, 1) for ton in (0, 1, 2, 3, 4, 5, 6, 99)] == [U, I, N, O, O, O, O, O]
    assert form_of(0, 8) is N
