"""What a provisioning file says of teams, levels, terms and exceptions."""

from pathlib import Path

import pytest

from hushwire.app.provision_file import read
from hushwire.core.errors import ConfigError
from hushwire.policy.groups import GROUPS
from hushwire.policy.rules import ExceptionKind

HEAD = """
[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
"""
AGENT = '[[orgs.agents]]\nusername = "anna"\n'


def org(tmp_path: Path, text: str):
    path = tmp_path / "file.toml"
    path.write_text(HEAD + text)
    return read(path, ["*"]).orgs[0]


def mistake(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        org(tmp_path, text)
    return str(raised.value)


def test_a_file_says_levels_terms_hours_short_codes_and_exceptions(tmp_path: Path) -> None:
    found = org(
        tmp_path,
        """
allowed_countries = ["GB"]
country_groups = ["EU"]
time_zone = "Europe/Berlin"
short_codes = ["116117"]
hours = [{ days = [1, 2, 3, 4, 5], from = "08:00", to = "18:00" }]
[orgs.terms.AT]
ways = "calls"
until = 2026-12-31T00:00:00Z
[[orgs.agents]]
username = "anna"
allowed_countries = ["DE"]
time_zone = "Europe/Vienna"
[[orgs.agents]]
username = "ben"
[[orgs.teams]]
name = "sales"
members = ["anna"]
country_groups = ["DACH"]
classes = []
[[orgs.exceptions]]
kind = "unassigned"
prefix = "+4932"
country = "DE"
reason = "national numbers of our own lines"
""",
    )
    assert found.row.allowed_countries == tuple(sorted(GROUPS["EU"] | {"GB"}))
    assert found.rules.terms == '{"AT":{"until":"2026-12-31T00:00:00Z","ways":"calls"}}'
    assert found.rules.hours == '[{"days":[1,2,3,4,5],"from":"08:00","to":"18:00"}]'
    assert (found.rules.time_zone, found.rules.short_codes, found.rules.risk_packs_off) == ("Europe/Berlin", ("116117",), None)
    anna, ben = found.agents
    assert ben.level is None
    assert anna.level is not None
    assert (anna.level.countries, anna.level.classes, anna.level.time_zone) == (("DE",), None, "Europe/Vienna")
    (team,) = found.teams
    assert (team.members, team.level and team.level.countries, team.level and team.level.classes) == (("anna",), ("AT", "CH", "DE"), ())
    (excepted,) = found.exceptions
    assert (excepted.kind, excepted.said.number, excepted.said.is_prefix) == (ExceptionKind.UNASSIGNED, "+4932", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('country_groups = ["Europe"]', "must be one of"),
        ('allowed_countries = ["EU"]', "ISO 3166-1"),
        ('time_zone = "Europe/Atlantis"', "IANA"),
        ('time_zone = "../../etc/passwd"', "IANA"),
        ('short_codes = ["1"]', "2 to 6 digits"),
        ('short_codes = ["112"]', "emergency"),
        ('terms = { AT = { ways = "fax" } }', "calls, sms or both"),
        ('hours = [{ from = "08:00" }]', "a window"),
        (AGENT + '[[orgs.teams]]\nname = "a"\nmembers = ["ben"]', "no agent"),
        (AGENT + '[[orgs.teams]]\nname = "a"\nmembers = ["anna"]\n[[orgs.teams]]\nname = "b"\nmembers = ["anna"]', "one team at most"),
        ('[[orgs.exceptions]]\nkind = "risk"\ncountry = "DE"\nreason = "x"', "number or prefix"),
        ('[[orgs.exceptions]]\nkind = "unassigned"\nnumber = "+4932999"\ncountry = "AT"\nreason = "x"', "calling code"),
    ],
)
def test_mistakes_are_named_with_their_mend(tmp_path: Path, text: str, words: str) -> None:
    assert words in mistake(tmp_path, text)
