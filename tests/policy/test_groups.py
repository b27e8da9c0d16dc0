"""Groups of countries for people, and the table of corrections: what they hold are territories, and nothing stands there by mistake."""

import phonenumbers
import pytest

from hushwire.policy.corrections import CORRECTIONS, corrected
from hushwire.policy.groups import GROUPS, expand
from hushwire.policy.model import Allow, Deny, Reason
from hushwire.policy.territories import TERRITORIES
from tests.policy.rules import judged, rules


def test_every_group_holds_territories_only_and_is_no_territorys_code() -> None:
    for name, codes in GROUPS.items():
        assert codes, name
        assert codes <= TERRITORIES.keys(), name
        assert name not in TERRITORIES


def test_groups_have_as_many_members_as_they_have() -> None:
    assert (len(GROUPS["EU"]), len(GROUPS["EEA"]), len(GROUPS["Schengen area"]), len(GROUPS["UK and Crown Dependencies"])) == (
        27,
        30,
        29,
        4,
    )
    assert GROUPS["NANP countries"] == set(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])
    assert "GB" not in GROUPS["EU"]


def test_a_name_expands_to_its_territories_however_it_is_capitalised_and_beside_codes() -> None:
    assert expand(["eu", "GB"]) == GROUPS["EU"] | {"GB"}
    assert expand([]) == frozenset()
    for unknown in ("Europe", "gb", ""):
        with pytest.raises(KeyError):
            expand([unknown])


def test_corrections_name_territories_and_prefixes_of_canonical_numbers() -> None:
    for prefix, territories in CORRECTIONS.items():
        assert set(territories) <= TERRITORIES.keys(), prefix
        assert prefix[0] == "+"
        assert prefix[1:].isdigit()
        assert corrected(f"{prefix}12345") == territories
    assert corrected("+4930123456") is None


@pytest.mark.parametrize(
    ("number", "needed"),
    [
        ("+79781234567", "RU UA"), ("+78401234567", "RU GE"), ("+903922123456", "TR CY"), ("+37744123456", "MC XK"),
        ("+390549882345", "IT SM"), ("+37447912345", "AM AZ"),
    ],
)  # fmt: skip
def test_a_disputed_range_needs_every_state_that_claims_it(number: str, needed: str) -> None:
    assert isinstance(judged(number, rules("DE", needed)), Allow)
    for alone in needed.split():
        verdict = judged(number, rules("DE", alone))
        assert isinstance(verdict, Deny)
        assert verdict.reason is Reason.SEVERAL_COUNTRIES


def test_stations_in_antarctica_are_not_norfolk_island() -> None:
    assert isinstance(judged("+672106123", rules("DE", "AQ")), Allow)
    assert isinstance(judged("+672106123", rules("DE", "NF")), Deny)
    assert isinstance(judged("+672322123", rules("DE", "NF")), Allow)
