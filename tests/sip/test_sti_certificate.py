"""Certificates that sign for telephone numbers (RFC 8226): ones that openssl made, and chains that must not count."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hushwire.sip.sti_certificate import Fault, Revoked, Signer, judge, read_chain
from hushwire.sip.tn_authority import Numbers, read
from tests.sti import CODE_709J, NOW, Authority, issue, made_by_openssl

ROOT = issue("root", ca=True)
MIDDLE = issue("middle", ROOT, ca=True, path_length=0, usage=True)


def leaf(by: Authority = MIDDLE, numbers: bytes | None = CODE_709J, **more: object) -> Authority:
    return issue("SHAKEN 709J", by, numbers=numbers, **more)  # type: ignore[arg-type]


def judged(signer: Authority, *, roots: tuple[Authority, ...] = (ROOT,)) -> Signer | Fault:
    return judge(signer.chain, [root.certificate for root in roots], NOW)


def test_a_chain_to_a_trusted_root_gives_the_signer() -> None:
    signer = leaf()
    found = judged(signer)
    assert isinstance(found, Signer)
    assert found.key == signer.key.public_key()
    assert found.numbers == Numbers(("709J",))
    assert found.until == NOW + timedelta(days=30)


def test_the_end_of_the_chain_is_that_of_its_shortest_certificate() -> None:
    short = issue("middle", ROOT, ca=True, ends=NOW + timedelta(hours=1))
    found = judged(leaf(short))
    assert isinstance(found, Signer)
    assert found.until == NOW + timedelta(hours=1)


def test_an_authority_that_the_operator_trusts_itself_needs_no_root() -> None:
    assert isinstance(judged(leaf(), roots=(MIDDLE,)), Signer)


@pytest.mark.parametrize(
    ("signer", "fault"),
    [
        (leaf(issue("stranger", ca=True)), Fault.UNTRUSTED),
        (leaf(issue("root", ca=True)), Fault.UNTRUSTED),  # of the same name, with another key
        (leaf(issue("no authority", ROOT)), Fault.UNTRUSTED),
        (leaf(issue("not for certificates", ROOT, ca=True, usage=False)), Fault.UNTRUSTED),
        (leaf(issue("one too many", MIDDLE, ca=True)), Fault.UNTRUSTED),  # MIDDLE may have none below it
        (leaf(ca=True), Fault.UNTRUSTED),
        (leaf(usage=False), Fault.UNTRUSTED),
        (leaf(curve=ec.SECP384R1()), Fault.UNTRUSTED),
        (leaf(extra=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")), Fault.UNTRUSTED),
        (leaf(begins=NOW + timedelta(seconds=1)), Fault.EXPIRED),
        (leaf(begins=NOW - timedelta(days=2), ends=NOW - timedelta(seconds=1)), Fault.EXPIRED),
        (leaf(issue("old", ROOT, ca=True, begins=NOW - timedelta(days=2), ends=NOW - timedelta(seconds=1))), Fault.EXPIRED),
        (leaf(numbers=None), Fault.NO_AUTHORITY),
        (leaf(numbers=b"\x30\x00"), Fault.UNREADABLE),
        (leaf(numbers=b"\x30\x80\x00\x00"), Fault.UNREADABLE),
        (leaf(numbers=CODE_709J + b"\x00"), Fault.UNREADABLE),
        (ROOT, Fault.UNTRUSTED),
    ],
)
def test_chains_that_prove_nothing_do_not_count(signer: Authority, fault: Fault) -> None:
    assert judged(signer) is fault


def test_a_chain_without_its_middle_does_not_reach_the_root() -> None:
    assert judge(leaf().chain[:1], [ROOT.certificate], NOW) is Fault.UNTRUSTED


def test_what_is_revoked_does_not_count_wherever_it_stands_in_the_chain() -> None:
    signer = leaf()
    for one in signer.chain:
        revoked = Revoked(frozenset({(one.issuer.public_bytes(), one.serial_number)}))
        assert judge(signer.chain, [ROOT.certificate], NOW, revoked) is Fault.REVOKED


def test_pem_chains_and_single_der_are_read_and_all_else_is_not() -> None:
    signer = leaf()
    assert read_chain(signer.pem) == tuple(signer.chain)
    assert read_chain(signer.certificate.public_bytes(serialization.Encoding.DER)) == (signer.certificate,)
    for data in (b"", b"nothing", signer.pem[:200], signer.pem * 4, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        assert read_chain(data) is Fault.UNREADABLE


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_certificates_that_openssl_makes_are_read(tmp_path: Path) -> None:
    made_by_openssl(tmp_path)
    chain, roots = read_chain((tmp_path / "leaf.pem").read_bytes()), read_chain((tmp_path / "ca.pem").read_bytes())
    assert isinstance(chain, tuple)
    assert isinstance(roots, tuple)
    found = judge(chain, roots, chain[0].not_valid_before_utc + timedelta(minutes=1))
    assert isinstance(found, Signer)
    assert found.numbers == Numbers(("505J",), (("4930231250", "4930231349"), ("441632960000", "441632960000")))


def test_a_list_of_numbers_covers_those_and_a_providers_code_all() -> None:
    def entry(tag: int, body: bytes) -> bytes:
        return bytes([tag, len(body)]) + body

    one = read(entry(0x30, entry(0xA2, entry(0x16, b"4930123"))))
    assert one.covers("4930123")
    assert not one.covers("4930124")

    def numbers(start: bytes, count: bytes) -> Numbers:
        return read(entry(0x30, entry(0xA1, entry(0x30, entry(0x16, start) + entry(0x02, count)))))

    some = numbers(b"0995", b"\x05")
    assert some.ranges == (("0995", "0999"),)
    assert [some.covers(number) for number in ("0994", "0995", "0999", "1000", "995", "09950")] == [False, True, True, False, False, False]
    assert Numbers(("709J",)).covers("1")
    for count in (b"\x06", b"\xff", b"\x01\x00\x00\x00\x00\x00\x00\x00\x00"):  # beyond its digits, less than nothing, too long
        with pytest.raises(ValueError, match="range"):
            numbers(b"9995", count)


@pytest.mark.parametrize("length", range(len(CODE_709J)))
def test_a_list_that_is_cut_off_is_not_read(length: int) -> None:
    with pytest.raises(ValueError, match=r"cut off|no list"):
        read(CODE_709J[:length])
