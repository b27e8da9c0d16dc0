"""The own authority and what it signs."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from hushwire.app import certificates
from hushwire.app.config import Config, load
from hushwire.app.folders import Account, Folders, account, prepare
from hushwire.core.errors import ConfigError

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def configured(folder: Path, **more: str) -> tuple[Config, Folders]:
    config = load(None, {"HUSHWIRE_CONFIG": "", "HUSHWIRE_DATA__DIR": str(folder), "HUSHWIRE_SIP__DOMAIN": "voice.example.org", **more})
    folders = Folders(config.data.dir)
    prepare(folders, None)
    return config, folders


def test_the_certificate_stands_for_the_domain_its_organisations_and_the_addresses(tmp_path: Path) -> None:
    config, folders = configured(tmp_path, HUSHWIRE_MEDIA__ADVERTISE="192.0.2.10")
    made = certificates.ensure(config, folders, None, NOW)
    leaf = x509.load_pem_x509_certificate(made.chain.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"voice.example.org", "*.voice.example.org", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "::1", "192.0.2.10"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}


def test_keys_are_ours_alone_and_the_authority_is_for_everyone(tmp_path: Path) -> None:
    config, folders = configured(tmp_path)
    made = certificates.ensure(config, folders, None, NOW)
    assert os.stat(made.key).st_mode & 0o777 == 0o600
    assert os.stat(folders.tls / "ca.key").st_mode & 0o777 == 0o600
    assert os.stat(folders.tls / "ca.pem").st_mode & 0o777 == 0o644


def test_a_client_that_trusts_the_authority_accepts_the_server(tmp_path: Path) -> None:
    config, folders = configured(tmp_path)
    made = certificates.ensure(config, folders, None, datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain, made.key)
    client = ssl.create_default_context(cafile=str(made.authority))
    for name in ("voice.example.org", "acme.voice.example.org", "127.0.0.1", "localhost"):
        assert handshake(client, server, name)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (one, two):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    return done == {one, two}


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    config, folders = configured(tmp_path)
    first = certificates.ensure(config, folders, None, NOW)
    before = first.chain.read_bytes()
    assert not certificates.ensure(config, folders, None, NOW + timedelta(days=300)).is_new
    assert first.chain.read_bytes() == before


def test_the_server_certificate_is_renewed_sixty_days_before_its_end_under_the_same_authority(tmp_path: Path) -> None:
    config, folders = configured(tmp_path)
    first = certificates.ensure(config, folders, None, NOW)
    authority = (folders.tls / "ca.pem").read_bytes()
    later = certificates.ensure(config, folders, None, NOW + timedelta(days=340))
    assert first.is_new
    assert later.is_new
    assert (folders.tls / "ca.pem").read_bytes() == authority


def test_a_new_name_gets_a_new_certificate(tmp_path: Path) -> None:
    config, folders = configured(tmp_path)
    certificates.ensure(config, folders, None, NOW)
    other, _ = configured(tmp_path, HUSHWIRE_MEDIA__ADVERTISE="192.0.2.77")
    assert certificates.ensure(other, folders, None, NOW).is_new


def test_a_foreign_authority_key_is_refused_not_replaced(tmp_path: Path) -> None:
    config, folders = configured(tmp_path / "a")
    other_config, other = configured(tmp_path / "b")
    certificates.ensure(config, folders, None, NOW)
    certificates.ensure(other_config, other, None, NOW)
    (folders.tls / "ca.key").write_bytes((other.tls / "ca.key").read_bytes())
    with pytest.raises(ConfigError, match=r"ca\.key: is not the key of"):
        certificates.ensure(config, folders, None, NOW)


def test_configured_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    config, folders = configured(tmp_path / "a")
    other_config, other = configured(tmp_path / "b")
    one = certificates.ensure(config, folders, None, NOW)
    two = certificates.ensure(other_config, other, None, NOW)
    mixed, _ = configured(tmp_path / "a", HUSHWIRE_TLS__CERTIFICATE=str(one.chain), HUSHWIRE_TLS__KEY=str(two.key))
    with pytest.raises(ConfigError, match="is not the key of"):
        certificates.ensure(mixed, folders, None, NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_configured_key_that_only_root_may_read_reaches_the_dropped_roles_as_a_copy_of_their_own(data_folder: Path) -> None:
    config, folders = configured(data_folder / "a")
    made = certificates.ensure(config, folders, None, datetime.now(UTC))
    theirs, there = configured(data_folder / "b", HUSHWIRE_TLS__CERTIFICATE=str(made.chain), HUSHWIRE_TLS__KEY=str(made.key))
    owner = account("nobody")
    assert owner is not None
    served = certificates.ensure(theirs, there, owner, NOW)
    assert (os.stat(served.key).st_uid, os.stat(served.key).st_mode & 0o777) == (owner.uid, 0o600)
    assert certificates.settled(theirs, served, None).tls.key == served.key
    assert os.stat(made.key).st_uid == 0


def test_damage_to_the_server_certificate_is_mended(tmp_path: Path) -> None:
    config, folders = configured(tmp_path)
    made = certificates.ensure(config, folders, None, NOW)
    made.chain.write_text("not a certificate")
    assert certificates.ensure(config, folders, None, NOW).is_new


def test_carriers_authorities_reach_the_gateway_as_a_file_that_it_may_read_and_a_bad_one_is_named(data_folder: Path) -> None:
    plain, folders = configured(data_folder / "a")
    assert certificates.ensure_trunk_authorities(plain, folders, None) is None
    made = certificates.ensure(plain, folders, None, datetime.now(UTC))
    file = data_folder / "carriers.pem"
    config, there = configured(data_folder / "b", HUSHWIRE_TLS__TRUNK_AUTHORITIES=str(file))
    with pytest.raises(ConfigError, match=r"trunk_authorities: .*carriers\.pem: can't be read"):
        certificates.ensure_trunk_authorities(config, there, None)
    file.write_text("not a certificate")
    with pytest.raises(ConfigError, match="holds no PEM certificate"):
        certificates.ensure_trunk_authorities(config, there, None)
    file.write_bytes(made.chain.read_bytes())
    assert certificates.ensure_trunk_authorities(config, there, None) == file
    copy = certificates.ensure_trunk_authorities(config, there, Account("nobody", 65534, 65534))
    assert copy is not None
    assert copy.read_bytes() == file.read_bytes()
    assert os.stat(copy).st_mode & 0o777 == 0o644
    assert certificates.settled(config, made, copy).tls.trunk_authorities == copy
