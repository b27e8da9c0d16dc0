"""RFC 3263 against a real DNS server: NAPTR, SRV, A and AAAA, with their order, their times, and what is refused."""

import pytest

from hushwire.sip.flow import Target, Transport
from hushwire.sip.uri import parse_sip_uri
from hushwire.transport.locating import Located, locate
from hushwire.transport.lookups import Lookups, Unanswered
from tests.names import Zone, served

TLS, TCP, UDP = Transport.TLS, Transport.TCP, Transport.UDP
ONE, TWO, THREE = "203.0.114.1", "203.0.114.2", "203.0.114.3"


async def located(zone: Zone, uri: str, **how: object) -> Located:
    return await locate(parse_sip_uri(uri), Lookups([zone.server]), **how)  # type: ignore[arg-type]


def ways(found: Located) -> list[tuple[Transport, str, int]]:
    return [(way.target.transport, way.target.host, way.target.port) for way in sorted(found.ways, key=lambda way: way.priority)]


async def test_naptr_srv_and_addresses_lead_to_every_server_in_order_and_the_shortest_ttl_counts() -> None:
    zone = f"""
carrier.example. 600 IN NAPTR 20 1 "s" "SIP+D2U" "" _sip._udp.carrier.example.
carrier.example. 600 IN NAPTR 10 1 "s" "SIPS+D2T" "" _sips._tcp.carrier.example.
_sips._tcp.carrier.example. 300 IN SRV 10 60 5061 a.carrier.example.
_sips._tcp.carrier.example. 300 IN SRV 20 10 5063 b.carrier.example.
_sip._udp.carrier.example. 300 IN SRV 1 1 5060 a.carrier.example.
a.carrier.example. 120 IN A {ONE}
b.carrier.example. 900 IN A {TWO}
b.carrier.example. 900 IN AAAA 2a00:1450::2
"""
    with served(zone) as dns:
        found = await located(dns, "sip:carrier.example")
    assert ways(found) == [(TLS, ONE, 5061), (TLS, TWO, 5063), (TLS, "2a00:1450::2", 5063), (UDP, ONE, 5060)]
    assert [way.weight for way in found.ways] == [60, 10, 10, 1]
    assert {way.target.tls_name for way in found.ways} == {"carrier.example"}
    assert found.ttl_s <= 120


@pytest.mark.parametrize(
    ("uri", "expected", "asked"),
    [
        ("sip:carrier.example;transport=tcp", [(TCP, ONE, 5070)], [("_sip._tcp.carrier.example", "SRV")]),
        ("sip:carrier.example:5090;transport=tcp", [(TCP, THREE, 5090)], []),
        ("sip:carrier.example:5090", [(UDP, THREE, 5090)], []),
        ("sip:bare.example", [(UDP, TWO, 5060)], [("bare.example", "NAPTR")]),
        ("sips:bare.example", [(TLS, TWO, 5061)], [("bare.example", "NAPTR"), ("_sips._tcp.bare.example", "SRV")]),
        ("sip:198.51.100.9:5071", [(UDP, "198.51.100.9", 5071)], []),
    ],
)
async def test_each_form_of_uri_asks_what_the_rfc_says(uri: str, expected: list[object], asked: list[tuple[str, str]]) -> None:
    zone = f"""
_sip._tcp.carrier.example. 300 IN SRV 1 1 5070 a.carrier.example.
a.carrier.example. 300 IN A {ONE}
carrier.example. 300 IN A {THREE}
bare.example. 300 IN A {TWO}
"""
    with served(zone) as dns:
        assert ways(await located(dns, uri)) == expected
        assert [question for question in asked if question not in dns.asked] == []
        if ":5090" in uri or "198." in uri:
            assert not [kind for _, kind in dns.asked if kind in ("SRV", "NAPTR")]


async def test_without_naptr_the_srv_records_of_every_transport_count() -> None:
    zone = f"_sip._udp.carrier.example. 300 IN SRV 5 1 5062 a.carrier.example.\na.carrier.example. 300 IN A {ONE}\n"
    with served(zone) as dns:
        assert ways(await located(dns, "sip:carrier.example")) == [(UDP, ONE, 5062)]


async def test_a_service_that_is_decidedly_not_there_has_no_ways() -> None:
    zone = f"_sip._udp.carrier.example. 300 IN SRV 0 0 0 .\ncarrier.example. 300 IN A {ONE}\n"
    with served(zone) as dns:
        assert (await located(dns, "sip:carrier.example;transport=udp")).ways == []


async def test_addresses_inside_are_refused_unless_the_operator_named_their_network() -> None:
    zone = f"""
carrier.example. 300 IN A 127.0.0.1
carrier.example. 300 IN A 169.254.169.254
carrier.example. 300 IN A 10.1.2.3
carrier.example. 300 IN A {ONE}
carrier.example. 300 IN AAAA ::1
carrier.example. 300 IN AAAA ::ffff:7f00:1
"""
    with served(zone) as dns:
        found = await located(dns, "sip:carrier.example:5060")
        assert ways(found) == [(UDP, ONE, 5060)]
        assert found.refused == 5
        within = await located(dns, "sip:carrier.example:5060", networks=("10.1.0.0/16",))
        assert ways(within) == [(UDP, "10.1.2.3", 5060), (UDP, ONE, 5060)]


async def test_a_name_that_leads_only_inside_does_not_fall_back_to_anything() -> None:
    zone = f"_sip._udp.carrier.example. 300 IN SRV 1 1 5060 a.example.\na.example. 300 IN A 127.0.0.1\ncarrier.example. 300 IN A {ONE}\n"
    with served(zone) as dns:
        found = await located(dns, "sip:carrier.example;transport=udp")
    assert (found.ways, found.refused) == ([], 1)


async def test_families_without_a_socket_of_ours_are_passed_over() -> None:
    with served(f"carrier.example. 300 IN A {ONE}\ncarrier.example. 300 IN AAAA 2a00:1450::1\n") as dns:
        found = await located(dns, "sip:carrier.example:5060", can_reach=lambda transport, address: ":" not in address)
    assert ways(found) == [(UDP, ONE, 5060)]


async def test_pins_go_with_every_way() -> None:
    pins = ("sha256:" + "0" * 64,)
    with served(f"carrier.example. 300 IN A {ONE}\n") as dns:
        (way,) = (await located(dns, "sips:carrier.example", pins=pins)).ways
    assert way.target == Target(TLS, ONE, 5061, "carrier.example", pins)


async def test_an_unknown_name_has_no_ways_and_a_server_that_fails_is_told_from_that() -> None:
    with served(f"carrier.example. 300 IN A {ONE}\n") as dns:
        assert (await located(dns, "sip:nobody.example")).ways == []
        dns.is_away = True
        with pytest.raises(Unanswered):
            await located(dns, "sip:carrier.example")


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_name_of_the_machines_own_hosts_file_is_found_where_dns_knows_none_or_says_nothing(is_away: bool) -> None:
    with served("") as dns:
        dns.is_away = is_away
        lookups = Lookups()
        # The system's servers, which no test may ask, are this one here.
        lookups._resolver = Lookups([dns.server])._resolving()
        found = await locate(parse_sip_uri("sip:localhost:5060"), lookups, networks=("127.0.0.0/8", "::1/128"))
    assert ("127.0.0.1", 5060) in {(way.target.host, way.target.port) for way in found.ways}
