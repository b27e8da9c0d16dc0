"""What a provisioning file says of limits of calls and of trunks' rates."""

from pathlib import Path

import pytest

from hushwire.app.provision_file import read
from hushwire.core.errors import ConfigError
from hushwire.policy.breaker import Action, Signal
from hushwire.policy.limits import read as read_limits
from hushwire.policy.rating import Rate

TRUNK = '[[trunks]]\nname = "carrier"\nuri = "sip:192.0.2.7"\nsrtp = "never"\nrates = "rates.csv"\n'
HEAD = '[[orgs]]\nslug = "acme"\nname = "Acme"\nhome_country = "DE"\nresidency = "eu"\n'


def file(tmp_path: Path, text: str, rates: str | None = None) -> Path:
    if rates is not None:
        (tmp_path / "rates.csv").write_text(rates)
    path = tmp_path / "file.toml"
    path.write_text(text)
    return path


def test_limits_are_said_by_level_or_all_off_or_not_at_all(tmp_path: Path) -> None:
    said = 'limits = { each_agent = { "concurrent-calls" = { most = 5 }, "prefix-cycling" = "off" } }\n'
    found = read(file(tmp_path, HEAD + said), ["*"]).orgs[0].limits
    assert found == {"each-agent": {"concurrent-calls": {"most": 5}, "prefix-cycling": "off"}}
    assert read(file(tmp_path, HEAD), ["*"]).orgs[0].limits is None
    off = read(file(tmp_path, HEAD + 'limits = "off"\n'), ["*"]).orgs[0].limits
    assert off is not None
    for level, bounds in off.items():
        assert {bound.action for bound in read_limits(bounds, level).values()} == {Action.OFF}
    assert set(off["each-agent"]) == set(Signal)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('limits = "on"', "limits"),
        ("limits = { agents = {} }", "there are no limits of agents"),
        ('limits = { organisation = { "prefix-cycling" = "off" } }', "there is no such limit of an organisation"),
        ('limits = { each_agent = { "concurrent-calls" = { most = -1 } } }', "most must be a number"),
    ],
)
def test_what_are_no_limits_is_named(tmp_path: Path, said: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(file(tmp_path, HEAD + said + "\n"), ["*"])


def test_a_trunks_rates_stand_in_a_file_beside_and_what_is_wrong_with_it_is_named_by_line(tmp_path: Path) -> None:
    good = "prefix,currency,per_minute\n49,EUR,0.012\n"
    assert read(file(tmp_path, TRUNK + HEAD, good), ["*"]).rates == {"carrier": {"49": Rate("EUR", 12_000)}}
    with pytest.raises(ConfigError, match=r'trunks "carrier" rates: .*line 3: currency'):
        read(file(tmp_path, TRUNK + HEAD, good + "1,dollars,1\n"), ["*"])
    (tmp_path / "rates.csv").unlink()
    with pytest.raises(ConfigError, match=r"rates.csv: can't be read"):
        read(file(tmp_path, TRUNK + HEAD), ["*"])
