"""Locating SIP servers, the pure part: what is asked, in which order it is tried, and where DNS may not lead."""

import ipaddress
from collections import Counter
from random import Random as Chance

import pytest

from hushwire.sip.flow import Transport
from hushwire.sip.public_addresses import is_public
from hushwire.sip.resolve import Naptr, asks_srv, by_weight, may_lead_to, services, transport_of
from hushwire.sip.uri import parse_sip_uri

TLS, TCP, UDP = Transport.TLS, Transport.TCP, Transport.UDP


class Seeded:
    """Chance that repeats."""

    def __init__(self) -> None:
        self._random = Chance(3)

    def token_bytes(self, count: int, /) -> bytes:
        return self._random.randbytes(count)


@pytest.mark.parametrize(
    ("uri", "transport", "has_srv"),
    [
        ("sip:carrier.example", None, True),
        ("sip:carrier.example;transport=tcp", TCP, True),
        ("sip:carrier.example;transport=tls", TLS, True),
        ("sips:carrier.example", TLS, True),
        ("sips:carrier.example;transport=tcp", TLS, True),
        ("sip:carrier.example:5070", UDP, False),
        ("sip:192.0.2.1", UDP, False),
        ("sip:[2001:db8::1]", UDP, False),
        ("sips:192.0.2.1", TLS, False),
    ],
)
def test_the_uri_decides_the_transport_and_whether_srv_is_asked(uri: str, transport: Transport | None, has_srv: bool) -> None:
    assert transport_of(parse_sip_uri(uri)) is transport
    assert asks_srv(parse_sip_uri(uri)) is has_srv


def naptr(order: int, preference: int, service: str, replacement: str, flags: str = "s") -> Naptr:
    return Naptr(order, preference, flags, service, replacement)


def test_naptr_is_followed_by_order_and_preference_over_what_we_speak() -> None:
    records = [
        naptr(100, 50, "SIP+D2U", "_sip._udp.a.example"),
        naptr(90, 50, "SIPS+D2T", "_sips._tcp.b.example"),
        naptr(90, 10, "SIP+D2S", "_sip._sctp.c.example"),
        naptr(100, 10, "sip+d2t", "_sip._tcp.d.example"),
        naptr(1, 1, "E2U+sip", "!^.*$!sip:x@evil.example!", "u"),
        naptr(2, 1, "SIP+D2U", "", "u"),
    ]
    assert services("carrier.example", records, (TLS, TCP, UDP)) == [
        (TLS, "_sips._tcp.b.example"),
        (TCP, "_sip._tcp.d.example"),
        (UDP, "_sip._udp.a.example"),
    ]


def test_a_secure_uri_never_falls_to_what_is_in_the_clear() -> None:
    records = [naptr(1, 1, "SIP+D2U", "_sip._udp.a.example")]
    assert services("carrier.example", records, (TLS,)) == [(TLS, "_sips._tcp.carrier.example")]


def test_without_naptr_every_transport_has_its_usual_name() -> None:
    assert services("carrier.example", [], (TLS, TCP, UDP)) == [
        (TLS, "_sips._tcp.carrier.example"),
        (TCP, "_sip._tcp.carrier.example"),
        (UDP, "_sip._udp.carrier.example"),
    ]


def test_weights_decide_how_often_each_comes_first() -> None:
    entries, chance = [("a", 60), ("b", 30), ("c", 10), ("d", 0)], Seeded()
    first = Counter(by_weight(entries, lambda entry: entry[1], chance)[0][0] for _ in range(1000))
    assert 540 < first["a"] < 660
    assert 240 < first["b"] < 360
    assert 60 < first["c"] < 140
    assert first["d"] < 30


@pytest.mark.parametrize("weight", [0, 1, 65535])
def test_every_entry_is_there_once_whatever_its_weight(weight: int) -> None:
    assert sorted(by_weight(range(7), lambda _: weight, Seeded())) == list(range(7))


@pytest.mark.parametrize(
    ("address", "networks", "may"),
    [
        ("203.0.114.7", (), True),
        ("2a00:1450::1", (), True),
        *((inside, (), False) for inside in (
            "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1",
            "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
            "::1", "::", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "ff02::1", "fe80::1%eth0", "carrier.example", "",
        )),
        ("10.1.2.3", ("10.1.0.0/16",), True),
        ("10.2.2.3", ("10.1.0.0/16",), False),
        ("127.0.0.1", ("127.0.0.0/8",), True),
        ("::ffff:10.1.2.3", ("10.1.0.0/16",), True),
        ("224.0.0.1", ("0.0.0.0/0",), False),
        ("0.0.0.0", ("0.0.0.0/0",), False),
    ],
)  # fmt: skip
def test_dns_leads_to_public_addresses_and_to_networks_that_the_operator_named(address: str, networks: tuple[str, ...], may: bool) -> None:
    assert may_lead_to(address, networks) is may


@pytest.mark.parametrize(
    "address",
    [
        "168.63.129.16", "169.254.169.254", "100.100.100.200", "192.0.0.192", "192.88.99.1", "192.0.2.1", "198.18.0.1", "198.51.100.9",
        "203.0.113.200", "240.0.0.1", "255.255.255.255", "0.1.2.3", "100.64.0.1", "172.31.255.255", "224.0.0.1", "127.9.9.9",
        "::1", "::", "::7f00:1", "::ffff:127.0.0.1", "::ffff:168.63.129.16", "::ffff:0:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::a83f:8110",
        "64:ff9b:1::8.8.8.8", "100::1", "100:0:0:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1",
        "2001:db8::1", "2002:a00:1::1", "2002:a83f:8110::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1",
        "ff02::1", "4000::1", "a000::1",
    ],
)  # fmt: skip
def test_no_address_of_iana_s_special_registries_nor_a_cloud_s_own_is_public(address: str) -> None:
    assert not may_lead_to(address, ())
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "168.63.129.17", "192.88.98.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2606:4700::1111", "2a00:1450::1"],
)
def test_addresses_that_anybody_has_are_public(address: str) -> None:
    assert may_lead_to(address, ())


def test_an_address_that_is_mapped_into_ipv6_lies_in_the_networks_that_are_named_for_it() -> None:
    assert may_lead_to("::ffff:10.5.0.1", ("10.5.0.0/16",))
    assert not may_lead_to("::ffff:10.6.0.1", ("10.5.0.0/16",))
