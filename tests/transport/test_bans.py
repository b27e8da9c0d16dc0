"""Bans, strikes, what is met with silence, and the kernel's rules: pure, and an endpoint that obeys them on real sockets."""

import asyncio
import os
import shutil
import subprocess
from contextlib import suppress

import pytest

from hushwire.sip.flow import Transport
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.transport.bans import Banned, Strikes
from hushwire.transport.nftables import ruleset
from hushwire.transport.scanners import Silence
from hushwire.transport.sources import AddressSet, parse_source, source_key
from tests.polling import until
from tests.transport.stage import stage, udp_peer
from tests.transport.test_websocket import options


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:5060", None),
        ("192.0.2", None),
        ("carrier.example", None),
        ("", None),
    ],
)
def test_a_source_has_one_spelling(written: str, meant: str | None) -> None:
    assert parse_source(written) == meant


def test_whoever_has_one_ipv6_address_has_all_of_its_64_bits() -> None:
    assert source_key("2001:db8:1:2:aaaa::1") == source_key("2001:db8:1:2:bbbb::2") == "2001:db8:1:2::/64"
    assert source_key("2001:db8:1:3::1") != source_key("2001:db8:1:2::1")
    assert source_key("fe80::1%eth0") == "fe80::/64"


def test_a_ban_covers_its_addresses_until_its_end_and_no_others() -> None:
    banned = Banned()
    for source in ("192.0.2.1", "198.51.100.0/24", "2001:db8:1:2::/64", "2001:db9::/32"):
        banned.add(source, 100.0)
    assert [banned.covers(host, 99.0) for host in ("192.0.2.1", "198.51.100.255", "2001:db8:1:2::9", "2001:db9:ffff::1")] == [True] * 4
    assert [banned.covers(host, 99.0) for host in ("192.0.2.2", "198.51.101.0", "2001:db8:1:3::9", "2001:dba::1")] == [False] * 4
    assert banned.covers("::ffff:192.0.2.1", 99.0)
    assert banned.covers("::ffff:198.51.100.7", 99.0)
    assert not banned.covers("192.0.2.1", 100.0)
    banned.add("192.0.2.1", 50.0)
    assert banned.covers("192.0.2.1", 99.0)
    banned.remove("198.51.100.0/24")
    banned.remove("198.51.100.0/24")
    assert not banned.covers("198.51.100.255", 99.0)
    banned.prune(100.0)
    assert len(banned) == 0
    assert not banned.covers("2001:db9:ffff::1", 99.0)


def test_failures_add_up_fade_and_are_made_good_by_success() -> None:
    strikes = Strikes(5, 100.0)
    assert [strikes.add("192.0.2.1", 0.0) for _ in range(6)] == [False] * 4 + [True, False]
    assert not any(strikes.add("192.0.2.2", 25.0 * at) for at in range(40))
    for _ in range(40):
        assert not strikes.add("192.0.2.3", 0.0, 2.0)
        strikes.forgive("192.0.2.3", 0.0)


def test_strikes_are_counted_for_a_bounded_number_of_sources() -> None:
    strikes = Strikes(5, 100.0, size=10)
    for number in range(1000):
        strikes.add(f"192.0.2.{number}", 0.0)
    assert len(strikes._levels) == 10


def request(
    method: str = "INVITE", uri: str = "sip:1@voice.example.org", sender: str = "sip:x@voice.example.org", agent: str = ""
) -> Request:
    more = f"User-Agent: {agent}\r\n" if agent else ""
    message = parse(
        (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a.b;branch=z9hG4bKx\r\nFrom: <{sender}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: 1\r\n"
            f"CSeq: 1 {method}\r\n{more}\r\n"
        ).encode()
    )
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(
    ("agent", "is_one"),
    [
        ("friendly-scanner", True),
        ("SIPVicious 0.3", True),
        ("sundayddr", True),
        ("Foo (sipcli/v1.8)", True),
        ("PJSUA v2.15", False),
        ("Linphone/5.2 osmapp", False),
        ("", False),
    ],
)
def test_scanners_are_known_by_their_names(agent: str, is_one: bool) -> None:
    assert Silence("voice.example.org").is_scanner(request(agent=agent)) is is_one
    assert not Silence("voice.example.org", ()).is_scanner(request(agent=agent))


@pytest.mark.parametrize(
    ("asked", "is_foreign"),
    [
        (request(), False),
        (request(uri="sip:1@evil.example"), False),
        (request(uri="sip:1@evil.example", sender="sip:x@evil.example"), True),
        (request(uri="sip:1@evil.example", sender="sip:x@acme.voice.example.org"), False),
        (request(uri="sip:1@evil.example", sender="sip:x@notvoice.example.org"), True),
        (request(uri="sip:1@evil.example", sender="sip:x@192.0.2.1"), False),
        (request(uri="sip:1@evil.example", sender="sip:anonymous@anonymous.invalid"), False),
        (request("OPTIONS", "sip:evil.example", "sip:x@evil.example"), False),
        (request("REGISTER", "sip:evil.example", "sip:x@voice.example.org"), True),
        (request("REGISTER", "sip:acme.voice.example.org", "sip:x@evil.example"), False),
        (request(uri="tel:+4930123", sender="sip:x@evil.example"), False),
    ],
)
def test_only_what_concerns_other_peoples_domains_alone_is_foreign(asked: Request, is_foreign: bool) -> None:
    assert Silence("voice.example.org").is_foreign(asked) is is_foreign


def test_addresses_as_trunks_declare_them_are_found_and_what_overlaps_them_too() -> None:
    addresses = AddressSet(["192.0.2.1:5060", "198.51.100.0/24", "[2001:db8::1]:5061", "2001:db9::/32", "carrier.example"])
    assert all(host in addresses for host in ("192.0.2.1", "198.51.100.9", "2001:db8::1", "2001:db9::7"))
    assert not any(host in addresses for host in ("192.0.2.2", "198.51.101.1", "2001:db8::2", "nonsense"))
    assert [addresses.overlaps(source) for source in ("192.0.2.0/24", "198.51.100.9", "2001:db8::/64", "10.0.0.0/8")] == [
        True,
        True,
        True,
        False,
    ]


SOURCES = {"192.0.2.1": 60, "198.51.100.0/24": 10, "198.51.100.7": 99, "2001:db8:1:2::/64": 7, "192.0.2.0/31": 3}


def test_the_kernels_sets_hold_no_intervals_that_overlap() -> None:
    rules = ruleset(SOURCES)
    assert "elements = { 192.0.2.0/31 timeout 3s, 198.51.100.0/24 timeout 10s }" in rules
    assert "elements = { 2001:db8:1:2::/64 timeout 7s }" in rules
    assert ruleset({}).count("elements") == 0


@pytest.mark.parametrize("sources", [SOURCES, {}])
def test_nft_itself_takes_the_rules(sources: dict[str, int]) -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if nft is None:
        if os.environ.get("CI"):
            pytest.fail("nftables is not installed")
        pytest.skip("nftables is not installed")
    # In a network of its own, where it may write: the rules are really made, twice.
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        f'cat > /dev/null; for _ in 1 2; do printf %s "$0" | {nft} -f -; done',
    ]
    command.append(ruleset(sources))
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    if b"unshare" in done.stderr or b"Operation not permitted" in done.stderr:
        done = subprocess.run([nft, "--check", "--file", "-"], input=ruleset(sources).encode(), capture_output=True, check=False)
        if b"Operation not permitted" in done.stderr or b"cache initialization failed" in done.stderr:
            pytest.skip("this machine lets nobody ask its packet filter")
    assert (done.returncode, done.stderr) == (0, b"")


async def test_a_banned_source_gets_no_answer_its_connections_end_and_a_carriers_address_is_spared() -> None:
    async with stage(Transport.UDP, Transport.TCP) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        wire.sendto(options("one"))
        writer.write(options("two", more="Content-Length: 0\r\n"))
        async with asyncio.timeout(10):
            assert (await peer.received.get()).startswith(b"SIP/2.0 200")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200")
        made.endpoint.banned.add("127.0.0.1", made.endpoint.now() + 3600)
        made.endpoint.cut_off()
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        wire.sendto(options("silent"))
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        writer.close()
        made.endpoint.trust([], ["127.0.0.1"])
        wire.sendto(options("spared"))
        async with asyncio.timeout(10):
            assert b"z9hG4bKspared" in await peer.received.get()


async def test_what_is_ignored_makes_no_transaction_and_gets_no_answer() -> None:
    async with stage(Transport.UDP) as made, udp_peer(made.port(Transport.UDP)) as (wire, peer):
        silence = Silence("voice.example.org")
        made.endpoint.ignores = lambda asked, _flow: silence.is_scanner(asked)
        wire.sendto(options("scan", more="User-Agent: friendly-scanner\r\n"))
        wire.sendto(options("phone", more="User-Agent: a phone\r\n"))
        async with asyncio.timeout(10):
            assert b"z9hG4bKphone" in await peer.received.get()
        assert peer.received.empty()
        await until(lambda: len(made.endpoint.ua._server.transactions) <= 1, what="nothing is kept of it")
