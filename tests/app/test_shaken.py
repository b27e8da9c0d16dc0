"""`[shaken]`: files that can't be used are named with the mend, before anything starts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hushwire.app import shaken
from hushwire.app.config import Config, load
from hushwire.core.errors import ConfigError
from tests.sti import CODE_709J, Authority, issue

NOW = datetime.now(UTC)
ROOT = issue("root", ca=True, now=NOW)


def configured(folder: Path, **files: Path) -> Config:
    environ = {f"HUSHWIRE_SHAKEN__{name.upper()}": str(path) for name, path in files.items()}
    if "key" in files:
        environ["HUSHWIRE_SHAKEN__CERTIFICATE_URL"] = "https://cert.example.org/sti.pem"
    return load(None, {"HUSHWIRE_DATA__DIR": str(folder), **environ})


def written(folder: Path, signer: Authority, key: bytes | None = None, mode: int = 0o600) -> Config:
    certificate, secret = folder / "sti.pem", folder / "sti.key"
    certificate.write_bytes(signer.pem)
    secret.write_bytes(signer.key_pem if key is None else key)
    secret.chmod(mode)
    return configured(folder, key=secret, certificate=certificate)


def test_a_key_with_its_certificate_is_taken(tmp_path: Path) -> None:
    signer = issue("SHAKEN 709J", ROOT, numbers=CODE_709J, now=NOW)
    found = shaken.signing_key(written(tmp_path, signer))
    assert found is not None
    assert found.url == "https://cert.example.org/sti.pem"
    assert found.key.public_key() == signer.key.public_key()
    assert repr(found) == "SigningKey(url='https://cert.example.org/sti.pem')", "a key is never shown"
    assert shaken.signing_key(configured(tmp_path)) is None


@pytest.mark.parametrize(
    ("signer", "key", "mode", "words"),
    [
        (issue("a", ROOT, numbers=CODE_709J, now=NOW), None, 0o640, "chmod 600"),
        (issue("b", ROOT, numbers=CODE_709J, now=NOW), ROOT.key_pem, 0o600, "is not the key of sti.pem"),
        (issue("c", ROOT, numbers=CODE_709J, now=NOW), b"nothing", 0o600, "must be a PEM key without a passphrase"),
        (issue("d", ROOT, numbers=CODE_709J, curve=ec.SECP384R1(), now=NOW), None, 0o600, "must be a P-256 key"),
        (issue("e", ROOT, now=NOW), None, 0o600, "no list of numbers"),
        (issue("f", ROOT, numbers=b"\x30\x00", now=NOW), None, 0o600, "no list of numbers"),
        (issue("g", ROOT, numbers=CODE_709J, ends=NOW - timedelta(minutes=1), now=NOW), None, 0o600, "has expired"),
    ],
)
def test_a_key_that_nobody_would_believe_is_refused_with_the_mend(
    tmp_path: Path, signer: Authority, key: bytes | None, mode: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        shaken.signing_key(written(tmp_path, signer, key, mode))
    assert str(caught.value).startswith("[shaken] ")


def test_files_that_are_missing_or_hold_something_else_are_named(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("something else")
    with pytest.raises(ConfigError, match=r"authorities.*can't be read"):
        shaken.trusted(configured(tmp_path, authorities=tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"authorities.*no PEM certificate"):
        shaken.trusted(configured(tmp_path, authorities=other))
    with pytest.raises(ConfigError, match=r"revoked.*revocation list"):
        shaken.revoked(configured(tmp_path, revoked=other))


def test_keys_of_a_signer_stand_together_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="together"):
        load(None, {"HUSHWIRE_DATA__DIR": str(tmp_path), "HUSHWIRE_SHAKEN__KEY": "sti.key"})
    with pytest.raises(ConfigError, match=r"https://cert.example.org"):
        load(None, {"HUSHWIRE_DATA__DIR": str(tmp_path), "HUSHWIRE_SHAKEN__CERTIFICATE_URL": "http://cert.example.org/"})


@pytest.mark.parametrize("is_indirect", [False, True])
def test_a_revocation_list_says_whose_certificates_count_no_more(tmp_path: Path, is_indirect: bool) -> None:
    signers = [issue(name, ROOT, numbers=CODE_709J, now=NOW) for name in "ab"]
    lister = issue("lists for all", ca=True, now=NOW) if is_indirect else ROOT
    builder = x509.CertificateRevocationListBuilder().issuer_name(lister.certificate.subject).last_update(NOW).next_update(NOW)
    entry = x509.RevokedCertificateBuilder().serial_number(signers[0].certificate.serial_number).revocation_date(NOW)
    if is_indirect:
        entry = entry.add_extension(x509.CertificateIssuer([x509.DirectoryName(ROOT.certificate.subject)]), critical=True)
    listed = builder.add_revoked_certificate(entry.build()).sign(lister.key, hashes.SHA256())
    for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
        (tmp_path / "list").write_bytes(listed.public_bytes(encoding))
        found = shaken.revoked(configured(tmp_path, revoked=tmp_path / "list"))
        assert [found.holds(signer.certificate) for signer in signers] == [True, False]
