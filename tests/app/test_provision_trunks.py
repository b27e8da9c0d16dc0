"""`[[trunks]]` of the provisioning file: every key is read, and what contradicts itself says how to mend it."""

from pathlib import Path

import pytest

from tests.app.test_provision_file import TRUNK, mistakes, read

PIN = "sha256:" + "ab" * 32


def test_every_key_of_a_trunk_is_read(tmp_path: Path) -> None:
    text = f"""
[[trunks]]
name = "carrier"
uri = "sips:carrier.example"
srtp = "required"
username = "hush001"
password = "a password"
priority = 10
weight = 5
prefixes = ["+49", "+43"]
channels = 30
silent_after_s = 3
number_format = "national"
country = "DE"
caller_id = "pass"
caller_ids = ["+493023125*", "+493099999999"]
caller_id_otherwise = "+493023125000"
codecs = ["PCMA", "opus"]
early_media = false
options_every_s = 30
down_after = 3
up_after = 1
register_every_s = 600
pins = ["{PIN}"]
networks = ["10.1.0.0/16", "fd00::/8"]
"""
    (trunk,) = read(tmp_path, text).trunks
    assert (trunk.priority, trunk.weight, trunk.channels, trunk.silent_after_s) == (10, 5, 30, 3)
    assert (trunk.prefixes, trunk.number_format, trunk.country) == (("+49", "+43"), "national", "DE")
    assert (trunk.caller_ids, trunk.caller_id_otherwise) == (("+493023125*", "+493099999999"), "+493023125000")
    assert (trunk.codecs, trunk.early_media) == (("PCMA", "opus"), False)
    assert (trunk.options_every_s, trunk.down_after, trunk.up_after, trunk.register_every_s) == (30, 3, 1, 600)
    assert (trunk.pins, trunk.networks) == ((PIN,), ("10.1.0.0/16", "fd00::/8"))


def test_a_trunk_of_the_contract_alone_is_as_it_was(tmp_path: Path) -> None:
    (trunk,) = read(tmp_path, TRUNK).trunks
    assert (trunk.priority, trunk.weight, trunk.number_format, trunk.caller_id) == (0, 1, "+e164", "pass")
    assert (trunk.options_every_s, trunk.register_every_s, trunk.channels, trunk.early_media) == (0, 0, None, True)


@pytest.mark.parametrize(
    ("line", "mend"),
    [
        ('number_format = "national"', "needs the country"),
        ('number_format = "national"\ncountry = "BR"', "needs the country"),
        ("register_every_s = 600", "needs username and password"),
        ("register_every_s = 5", "register_every_s"),
        ("options_every_s = 1", "options_every_s"),
        (f'pins = ["{PIN}"]', "over TLS"),
        ('pins = ["md5:00"]', "64 lower-case hex"),
        ('caller_id = "nobody"', "caller_id"),
        ('caller_id = "anonymous"\ncaller_ids = ["+49*"]', 'for caller_id = "pass"'),
        ('caller_ids = ["0301234"]', "its beginning and a star"),
        ('prefixes = ["49"]', "beginning of a number"),
        ('codecs = ["G729"]', "codecs"),
        ('networks = ["10.0.0.1/8"]', "must be a network"),
        ("weight = 0", "weight"),
        ("channels = 0", "channels"),
        ("silent_after_s = 60", "silent_after_s"),
    ],
)
def test_what_does_not_fit_names_the_trunk_and_the_mend(tmp_path: Path, line: str, mend: str) -> None:
    said = mistakes(tmp_path, TRUNK + line + "\n")
    assert 'trunks[1] "c"' in said
    assert mend in said
