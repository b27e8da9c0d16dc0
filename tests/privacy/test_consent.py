"""Whether a call may be recorded: law, declaration, and the strictest of several."""

import pytest

from hushwire.privacy.consent import Declaration, standing, unsatisfied
from hushwire.privacy.jurisdictions import Consent
from hushwire.privacy.laws import LAWS

ONE_PARTY, ALL_PARTY = ("US-NY",), ("DE",)


@pytest.mark.parametrize("tag", sorted(LAWS))
@pytest.mark.parametrize("declaration", [Declaration.ANNOUNCED, Declaration.CONTRACT])
def test_what_the_organisation_declares_counts_as_its_instruction_everywhere(tag: str, declaration: Declaration) -> None:
    assert standing(declaration, (tag,), (None,)).may_record


@pytest.mark.parametrize("tag", sorted(LAWS))
def test_who_declares_no_consent_records_only_where_one_party_is_enough(tag: str) -> None:
    assert standing(Declaration.NONE, (tag,), ()).may_record == (LAWS[tag].consent is Consent.ONE_PARTY)


def test_of_the_organisations_law_and_that_of_who_is_called_the_strictest_decides() -> None:
    assert standing(Declaration.NONE, ("UK",), ("GB",)).may_record
    assert not standing(Declaration.NONE, ("UK",), ("DE",)).may_record
    assert not standing(Declaration.NONE, ("DE",), ("GB",)).may_record
    assert not standing(Declaration.NONE, ("UK", "DE"), ("GB",)).may_record
    assert not standing(Declaration.NONE, ("UK",), ("GB", "DE")).may_record


def test_where_nobody_knows_where_the_other_party_is_the_strictest_rule_holds() -> None:
    assert not standing(Declaration.NONE, ("UK",), (None,)).may_record
    assert not standing(Declaration.NONE, ("UK",), ("XK",)).may_record


def test_an_announcement_satisfies_every_rule_a_contract_only_where_one_party_is_enough() -> None:
    for tag in LAWS:
        assert standing(Declaration.ANNOUNCED, (tag,), ()).is_satisfied
        assert standing(Declaration.CONTRACT, (tag,), ()).is_satisfied == (LAWS[tag].consent is Consent.ONE_PARTY)
    assert standing(Declaration.NONE, ONE_PARTY, ()).is_satisfied
    assert not standing(Declaration.NONE, ("UK",), ()).is_satisfied
    assert unsatisfied(Declaration.CONTRACT, ("UK",), ["GB", "DE", "AT"]) == ("AT", "DE")
    assert unsatisfied(Declaration.ANNOUNCED, ("DE",), ["GB", "DE"]) == ()


def test_a_declaration_is_the_lawful_basis_of_recordings_and_the_explanation_says_what_is_missing() -> None:
    assert [declaration.lawful_basis for declaration in Declaration] == ["consent", "contract", "legitimate-interest"]
    assert "may not meet" in standing(Declaration.CONTRACT, ALL_PARTY, ("DE",)).explanation
    assert "not recorded" in standing(Declaration.NONE, ALL_PARTY, ("DE",)).explanation
