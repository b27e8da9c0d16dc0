"""The table of corrections: every line names a source that stands above it, and what phonenumbers knows itself says the same."""

import re

import pytest
from phonenumbers import parse
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geocoder import description_for_number
from phonenumbers.geodata import GEOCODE_DATA

from hushwire.policy import corrections
from hushwire.policy.corrections import CORRECTIONS, corrected

_SOURCED = re.compile(r"\[([a-z0-9-]+)\]")
LINES = corrections._TABLE.strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_each_line_has_a_source_that_is_named_above(line: str) -> None:
    assert corrections.__doc__ is not None
    named = _SOURCED.findall(line) + re.findall(r"A/RES|S/RES", line)
    assert named
    for name in _SOURCED.findall(line):
        assert re.search(rf"(?m)^    {name} ", corrections.__doc__), name


@pytest.mark.parametrize(
    ("prefix", "known", "name"),
    [
        ("374471", GEOCODE_DATA, "Stepanakert"),
        ("97256", CARRIER_DATA, "Ooredoo"),
        ("97259", CARRIER_DATA, "Jawwal"),
        ("67210", GEOCODE_DATA, "Davis"),
        ("67211", GEOCODE_DATA, "Mawson"),
        ("67212", GEOCODE_DATA, "Casey"),
        ("67213", GEOCODE_DATA, "Macquarie Island"),
    ],
)
def test_the_place_or_carrier_that_phonenumbers_gives_to_a_range_is_what_its_territory_is_corrected_by(
    prefix: str, known: dict[str, dict[str, str]], name: str
) -> None:
    assert known[prefix]["en"] == name
    assert corrected(f"+{prefix}12345") is not None


def test_phonenumbers_knows_that_baikonur_is_in_the_russian_plan() -> None:
    assert description_for_number(parse("+73362212345"), "en") == "Baikonur"
    assert corrected("+73362212345") == ("RU", "KZ")


def test_a_correction_never_asks_for_fewer_territories_than_its_plans_own() -> None:
    """Antarctica alone has no plan: Norfolk Island's is not asked for, since nobody there is reached."""
    for prefix, territories in CORRECTIONS.items():
        assert len(territories) >= 2 or prefix == "+6721", prefix
