"""Addresses that reach one device (RFC 5627)."""

from hushwire.sip import gruu
from hushwire.sip.uri import parse_sip_uri

URN = "urn:uuid:00000000-0000-1000-8000-000A95A0E128"


def test_a_public_gruu_is_the_address_of_record_with_the_instance_and_is_read_back() -> None:
    made = gruu.public("anna", "acme.example.org", f"<{URN}>")
    assert str(made) == f"sip:anna@acme.example.org;gr={URN}"
    assert gruu.instance_of(parse_sip_uri(str(made))) == f"<{URN}>"
    assert gruu.instance_of(parse_sip_uri("sip:anna@acme.example.org")) is None


def test_an_instance_that_is_no_urn_gets_none() -> None:
    for instance in ("", URN, "<>", '<a"b>', "<a;b=c>", "<a b>", f"<{'a' * 201}>"):
        assert gruu.public("anna", "acme.example.org", instance) is None


def test_a_temporary_gruu_carries_what_was_sealed_and_nothing_else_is_read_as_one() -> None:
    made = parse_sip_uri(str(gruu.temporary(b"\x00sealed\xff", "acme.example.org")))
    assert gruu.sealed_of(made.user or "") == b"\x00sealed\xff"
    assert gruu.instance_of(made) is None
    for user in ("anna", "tgruu", "tgruu.1!", "tgruu.a"):
        assert not gruu.sealed_of(user)
