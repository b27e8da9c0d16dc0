"""What the doctor says of signed caller numbers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from hushwire.app.doctor_shaken import files_in_words, trunks_in_words
from hushwire.core.errors import ConfigError
from hushwire.core.ids import TrunkId
from hushwire.store.listing import TrunkRow
from tests.app.test_shaken import configured, written
from tests.sti import CODE_709J, issue

NOW = datetime.now(UTC)


def test_nothing_configured_is_nothing_wrong(tmp_path: Path) -> None:
    assert files_in_words(configured(tmp_path), NOW) == "not used"


def test_a_certificate_that_ends_soon_is_warned_about(tmp_path: Path) -> None:
    signer = issue("SHAKEN 709J", issue("root", ca=True, now=NOW), numbers=CODE_709J, now=NOW)
    config = written(tmp_path, signer)
    assert files_in_words(config, NOW) == "calls can be signed; nobody is believed"
    with pytest.raises(ConfigError, match="certificate has one that ends on"):
        files_in_words(config, NOW + timedelta(days=20))


def test_trunks_that_ask_for_what_is_not_set_up_are_named(tmp_path: Path) -> None:
    plain = TrunkRow(TrunkId(UUID(int=1)), "plain", "sip:192.0.2.1", "never", "sdes", "auto", 0, 1)
    signing = TrunkRow(TrunkId(UUID(int=2)), "signing", "sip:192.0.2.2", "never", "sdes", "auto", 0, 1, signs=True)
    verifying = TrunkRow(TrunkId(UUID(int=3)), "verifying", "sip:192.0.2.3", "never", "sdes", "auto", 0, 1, verify="show")
    nothing = configured(tmp_path)
    assert trunks_in_words([plain], nothing) == "0 signed, 0 verified, of 1"
    with pytest.raises(ConfigError, match=r"^signing: ask for signed callers"):
        trunks_in_words([plain, signing], nothing)
    with pytest.raises(ConfigError, match=r"^verifying: callers are to be verified"):
        trunks_in_words([plain, verifying], nothing)
