"""Carriers of short messages in a provisioning file."""

from pathlib import Path
from typing import Any

import pytest

from hushwire.app.provision_file import read
from hushwire.core.errors import ConfigError
from hushwire.services.message_centres import read_settings
from hushwire.sms.smpp.outcomes import Meaning
from hushwire.sms.text.alphabets import Language
from hushwire.sms.text.segmentation import Numbering

GOOD = """\
[[message_centres]]
name = "texts"
system_id = "acme"
password = "secret"
links = [{ host = "smpp.example.org", port = 3550, mode = "transmitter" },
  { host = "192.0.2.7", port = 2775, mode = "receiver", tls = false }]
window = 50
numbering = "sar"
languages = ["turkish"]
receipt_ids = "hex"
statuses = { "0x00000455" = "busy" }
prefixes = ["+49"]
country = "DE"
untyped_numbers = "national"
subprocessor = "carrier-one"
"""


def declared(folder: Path, text: str) -> Any:
    file = folder / "provision.toml"
    file.write_text(text)
    (spec,) = read(file, ["*"]).message_centres
    return spec


def test_a_carrier_reads_as_it_is_declared_with_tls_unless_it_says_otherwise(tmp_path: Path) -> None:
    spec = declared(tmp_path, GOOD)
    assert (spec.name, spec.kind, spec.prefixes, spec.password) == ("texts", "smpp", ("+49",), "secret")
    settings = read_settings(spec.settings)
    assert [(link.host, link.tls, link.mode) for link in settings.links] == [
        ("smpp.example.org", True, "transmitter"),
        ("192.0.2.7", False, "receiver"),
    ]
    assert (settings.window, settings.style.numbering, settings.style.languages) == (50, Numbering.SAR, frozenset({Language.TURKISH}))
    assert (settings.receipt_ids, settings.statuses[0x455], settings.when_unknown) == ("hex", Meaning.BUSY, "fail")
    assert (settings.country, settings.untyped_is_national, settings.subprocessor) == ("DE", True, "carrier-one")
    assert "secret" not in repr(spec)


@pytest.mark.parametrize(
    ("was", "wrong", "said"),
    [
        ('"secret"', '"ninechars"', "1 to 8 characters"),
        ('mode = "transmitter"', 'mode = "receiver"', "nothing could be sent"),
        ('"turkish"', '"latin"', "must be one of"),
        ("0x00000455", "455", "must be a status"),
        ("window = 50", 'pins = ["sha256:' + "0" * 64 + '"]', "over TLS"),
        ("window = 50", "windows = 50", "windows"),
        ('country = "DE"', 'country = "de"', "country"),
        ('"national"', '"regional"', "untyped_numbers"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, was: str, wrong: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        declared(tmp_path, GOOD.replace(was, wrong))
