"""One spelling of JSON (RFC 8785), and a reader without ambiguities."""

import pytest

from hushwire.core.errors import MalformedError
from hushwire.privacy.canonical import canonical, parse


def test_names_are_sorted_by_utf16_code_units_as_rfc_8785_section_3_2_3_shows() -> None:
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert canonical(value).decode() == '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'


def test_strings_are_escaped_as_rfc_8785_section_3_2_2_2_says() -> None:
    assert canonical('\u20ac$\x0f\nA\'B"\\\\"/\x7f') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f"'.encode()


def test_values_come_back_as_they_were() -> None:
    value = {"b": [1, -5, True, None, "x"], "a": {"z": "", "y": 2**53 - 1}}
    assert canonical(value) == b'{"a":{"y":9007199254740991,"z":""},"b":[1,-5,true,null,"x"]}'
    assert parse(canonical(value)) == value


@pytest.mark.parametrize("value", [1.0, 2**53, -(2**53), "\ud800", {1: 2}, {"a": object()}, b"x", float("nan")])
def test_what_has_no_single_spelling_is_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        canonical(value)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'[{"a":1,"a":2}]',
        b"1.0",
        b"1e3",
        b"-0",
        b"NaN",
        b"9007199254740992",
        b"[1,]",
        b"",
        b"\xff",
        b"[" * 99 + b"]" * 99,
        b'"\\ud800"',
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(text)
