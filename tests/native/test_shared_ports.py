"""Many legs on one UDP port over real sockets: who is found how, who is not, and what floods and duplicates do to others."""

from __future__ import annotations

import ipaddress
import os
import socket
import uuid
from collections.abc import Iterator

import pytest

from tests.native.call import Keys, is_rtcp, parse, rtp
from tests.native.client import EXISTS, STATE, Controller, RequestError, running_media
from tests.native.ice_peer import Credentials, ask, check, is_success
from tests.native.srtp_oracle import Oracle, oracle

SUITE = "AES_CM_128_HMAC_SHA1_80"
OWN, BY_ADDRESS, BY_KEY, BY_ICE = range(4)
PENDING = 8


@pytest.fixture(params=["127.0.0.1", "::1"])
def plane(request: pytest.FixtureRequest, media_program: str) -> Iterator[Controller]:
    """The program on IPv4 and on IPv6, with two workers."""
    with running_media(media_program, "--address", request.param, "--workers", "2") as media, media.controller() as control:
        yield control


class End:
    """A party with one socket, on a leg that was opened as wished."""

    def __init__(self, control: Controller, bridge: uuid.UUID, leg: int, ports: int, *, host: str | None = None, **opening: object) -> None:
        self.control, self.bridge, self.leg = control, bridge, leg
        self.opened = control.request("open_leg", bridge=bridge, leg=leg, ports=ports, **opening)
        self.local_ip = ipaddress.ip_address(bytes(self.opened["local_ip"]))  # type: ignore[call-overload]
        self.to = (str(self.local_ip), int(self.opened["rtp_port"]))  # type: ignore[call-overload]
        self.sock = self.socket(host)
        self.tx: Oracle | None = None
        self.rx: Oracle | None = None

    def socket(self, host: str | None = None) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if self.local_ip.version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.control.closing.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((host or str(self.local_ip), 0))
        sock.settimeout(10)
        return sock

    @property
    def is_shared(self) -> bool:
        return self.opened["is_shared"] == 1

    def set(self, keys: Keys | None = None, *, at: socket.socket | None = None, **changes: object) -> None:
        """SET_LEG, with the socket's own address as the announced one."""
        ip, port = (at or self.sock).getsockname()[:2]
        secure = {} if keys is None else keys.fields()
        fields = {"remote_ip": ipaddress.ip_address(ip).packed, "remote_port": port, "rtcp_mux": 1, **secure, **changes}
        self.control.request("set_leg", bridge=self.bridge, leg=self.leg, **fields)
        if keys is not None:
            self.tx = oracle(keys.suite, keys.recv, is_sender=True)
            self.rx = oracle(keys.suite, keys.send, is_sender=False)

    def send(self, n: int, payload: bytes, *, ssrc: int = 7, via: socket.socket | None = None) -> None:
        packet = rtp(n, 160 * n, ssrc, payload)
        (via or self.sock).sendto(packet if self.tx is None else self.tx.protect(packet), self.to)

    def hears(self, via: socket.socket | None = None) -> bytes:
        packet = (via or self.sock).recv(4096)
        while is_rtcp(packet):  # hushwire's own reports come by the clock
            packet = (via or self.sock).recv(4096)
        return parse(packet if self.rx is None else self.rx.unprotect(packet)).payload

    def stats(self) -> dict[str, int]:
        reply = self.control.request("get_bridge", bridge=self.bridge)
        return next(s for s in reply["leg_stats"] if s["leg"] == self.leg)  # type: ignore[attr-defined]


def bridge(control: Controller) -> uuid.UUID:
    name = uuid.uuid4()
    control.request("open_bridge", bridge=name, mode=0)
    return name


def plain_call(control: Controller, ports: int = BY_ADDRESS) -> tuple[End, End]:
    """Both ends plain RTP, set and ready."""
    name = bridge(control)
    ends = End(control, name, 0, ports), End(control, name, 1, ports)
    for end in ends:
        end.set()
    return ends


def secure_call(control: Controller, signalling: str | None = None) -> tuple[End, End]:
    """An agent that is found by its key, whose announced address is not where it sends from, and a plain carrier."""
    name = bridge(control)
    ip = ipaddress.ip_address(signalling).packed if signalling else local_ip(control).packed
    agent, carrier = End(control, name, 0, BY_KEY, signalling_ip=ip), End(control, name, 1, BY_ADDRESS)
    agent.set(Keys(SUITE), remote_port=9, signalling_ip=ip)
    carrier.set()
    return agent, carrier


def local_ip(control: Controller) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(bytes(control.hello["local_ip"]))  # type: ignore[call-overload]


def talk(a: End, b: End, first: int) -> None:
    """Both hear each other, and each the other's words alone."""
    for n in range(first, first + 5):
        a.send(n, b"a %d %d" % (a.leg, n) + a.bridge.bytes)
        b.send(n, b"b %d %d" % (b.leg, n) + b.bridge.bytes)
        assert b.hears() == b"a %d %d" % (a.leg, n) + a.bridge.bytes
        assert a.hears() == b"b %d %d" % (b.leg, n) + b.bridge.bytes


def counted(control: Controller, name: str) -> int:
    """A counter over all shared ports."""
    return sum(port[name] for port in control.request("get_ports")["shared_port"])  # type: ignore[attr-defined]


def wait_counted(control: Controller, name: str, value: int) -> None:
    """Return once the counter has got there (each request passes through the workers, so this needs no sleep)."""
    for _ in range(50_000):
        if counted(control, name) >= value:
            return
    raise AssertionError(f"{name} is {counted(control, name)}, not {value}")


def test_parties_of_many_calls_share_a_port_and_each_hears_its_own(plane: Controller) -> None:
    calls = [plain_call(plane) for _ in range(6)] + [secure_call(plane) for _ in range(6)]
    assert all(end.is_shared and end.opened["rtp_port"] == end.opened["rtcp_port"] for call in calls for end in call)
    used = {end.to[1] for call in calls for end in call}
    assert len(used) == 2  # one for each worker
    for first in (1, 100):
        for a, b in calls:
            talk(a, b, first)
    for a, _ in calls:
        plane.request("close_bridge", bridge=a.bridge)
    assert counted(plane, "count") == 0
    assert {event.kind for event in plane.events} == {"leg_source"}


def test_a_phone_is_found_by_its_key_behind_a_nat_and_again_by_its_ssrc_where_the_nat_moves_it(plane: Controller) -> None:
    agent, carrier = secure_call(plane)
    agent.send(1, b"from behind a NAT")
    assert carrier.hears() == b"from behind a NAT"
    carrier.send(1, b"answered there")
    assert agent.hears() == b"answered there"
    moved = agent.socket()
    agent.send(2, b"moved", via=moved)
    assert carrier.hears() == b"moved"
    carrier.send(2, b"found")
    assert agent.hears(moved) == b"found"
    assert agent.stats()["dropped_tag"] == 0


def test_a_phone_that_uses_its_port_again_is_its_new_call_at_once(plane: Controller) -> None:
    first, _ = secure_call(plane)
    first.send(1, b"first call")
    second, carrier = secure_call(plane)
    # The same worker, or the address is no question at all.
    while second.to != first.to:
        second, carrier = secure_call(plane)
    second.send(1, b"second call", ssrc=8, via=first.sock)
    assert carrier.hears() == b"second call"


def test_of_eight_pending_phones_at_one_address_each_is_found_and_a_ninth_gets_another_port(plane: Controller) -> None:
    calls = [secure_call(plane) for _ in range(2 * (PENDING + 1))]
    per_port: dict[int, int] = {}
    for agent, _ in calls:
        per_port[agent.to[1]] = per_port.get(agent.to[1], 0) + 1
    assert max(per_port.values()) == PENDING
    for agent, carrier in reversed(calls):
        agent.send(1, agent.bridge.bytes)
        assert carrier.hears() == agent.bridge.bytes


def test_where_every_shared_port_has_its_eight_the_next_leg_gets_a_pair_of_its_own(media_program: str) -> None:
    with running_media(media_program) as media, media.controller() as control:
        ports = len(control.request("get_ports")["shared_port"])  # type: ignore[arg-type]
        calls = [secure_call(control) for _ in range(PENDING * ports + 1)]
        assert [agent.is_shared for agent, _ in calls] == [True] * (PENDING * ports) + [False]
        agent, carrier = calls[-1]
        assert agent.opened["rtcp_port"] == agent.to[1] + 1
        talk_through_own = rtp(1, 160, 1, b"own pair")
        assert agent.tx is not None
        agent.sock.sendto(agent.tx.protect(talk_through_own), agent.to)
        assert carrier.hears() == b"own pair"


def test_an_address_that_two_plain_legs_announce_is_the_first_ones_and_the_second_moves_to_its_own_port(plane: Controller) -> None:
    calls = [plain_call(plane)]
    while len(calls) < 2 or calls[-1][0].to != calls[0][0].to:
        calls.append(plain_call(plane))
    (one, one_peer), (two, two_peer) = calls[0], calls[-1]
    with pytest.raises(RequestError) as refused:
        two.set(at=one.sock)
    assert refused.value.status == EXISTS
    talk(two, two_peer, 1)  # nothing has changed
    talk(one, one_peer, 1)

    own = plane.request("reopen_leg", bridge=two.bridge, leg=0)
    assert own["is_shared"] == 0
    assert own["rtcp_port"] == int(own["rtp_port"]) + 1  # type: ignore[call-overload]
    with pytest.raises(RequestError) as again:
        plane.request("reopen_leg", bridge=two.bridge, leg=0)
    assert again.value.status == STATE
    talk(two, two_peer, 10)  # the shared port goes on until SET_LEG
    two.set(at=one.sock)
    one.sock.sendto(rtp(20, 3200, 9, b"by the own port"), (two.to[0], int(own["rtp_port"])))  # type: ignore[call-overload]
    assert two_peer.hears() == b"by the own port"
    two_peer.send(20, b"back")
    data, source = one.sock.recvfrom(4096)
    assert (parse(data).payload, source[1]) == (b"back", own["rtp_port"])
    talk(one, one_peer, 10)


def test_a_plain_leg_on_a_shared_port_is_heard_from_its_announced_address_and_from_nowhere_else(plane: Controller) -> None:
    a, b = plain_call(plane)
    stranger = a.socket()
    a.send(1, b"stranger", via=stranger)
    wait_counted(plane, "strangers", 1)
    a.send(2, b"party")
    assert b.hears() == b"party"
    assert a.stats()["packets_received"] == 1


def test_a_leg_that_nothing_comes_from_is_told_of_after_two_seconds_and_once(plane: Controller) -> None:
    a, b = plain_call(plane)
    b.send(1, b"only b speaks")
    assert a.hears() == b"only b speaks"
    event = plane.event("leg_ports")
    assert (event.fields["bridge"], event.fields["leg"], event.fields["cause"]) == (a.bridge.bytes, 0, 1)
    # And on a pair of its own it may be learnt.
    own = plane.request("reopen_leg", bridge=a.bridge, leg=0)
    a.set()
    elsewhere = a.socket()
    elsewhere.sendto(rtp(1, 160, 7, b"from another port"), (a.to[0], int(own["rtp_port"])))  # type: ignore[call-overload]
    assert b.hears() == b"from another port"
    assert [e.kind for e in plane.events].count("leg_ports") == 0


def test_what_fails_under_every_key_is_tried_so_often_and_no_more_while_the_call_goes_on(plane: Controller) -> None:
    agent, carrier = secure_call(plane)
    talk_agent = agent.sock
    agent.send(1, b"found")
    assert carrier.hears() == b"found"
    pending, _ = secure_call(plane)
    while pending.to != agent.to:
        pending, _ = secure_call(plane)
    attacker = agent.socket()
    forger = oracle(SUITE, os.urandom(30), is_sender=True)
    for n in range(200):
        attacker.sendto(forger.protect(rtp(n, 160 * n, 66)), agent.to)
    wait_counted(plane, "over_budget", 1)
    assert 1 <= counted(plane, "unproven") <= 64
    agent.send(2, b"still here", via=talk_agent)
    assert carrier.hears() == b"still here"
    assert pending.stats()["dropped_tag"] == 0  # a trial is not the leg's failure


def test_strangers_of_every_kind_reach_nobody(plane: Controller) -> None:
    agent, carrier = secure_call(plane)
    agent.send(1, b"found")
    assert carrier.hears() == b"found"
    stranger = agent.socket()
    junk = [b"", b"\x00", b"\x80", bytes(2000), b"\x16\xfe\xfd" + bytes(50), b"\x80\xc8" + bytes(30), rtp(1, 1, 1), os.urandom(300)]
    junk.append(check(Credentials()))
    for data in junk * 20:
        stranger.sendto(data, agent.to)
    wait_counted(plane, "strangers", 20 * (len(junk) - 2))
    agent.send(2, b"still here")
    assert carrier.hears() == b"still here"
    assert agent.stats()["packets_received"] == 2


def test_a_flood_at_one_port_costs_calls_at_others_nothing(plane: Controller) -> None:
    flooded, _ = plain_call(plane)
    calls = [plain_call(plane, OWN), secure_call(plane), plain_call(plane)]
    stranger, own_flooded = flooded.socket(), calls[0][0]
    for n in range(1, 60):
        for _ in range(150):
            stranger.sendto(bytes(172), flooded.to)
            stranger.sendto(bytes(172), own_flooded.to)
        for a, b in calls[1:]:
            a.send(n, b"%d" % n)
            assert b.hears() == b"%d" % n
    wait_counted(plane, "strangers", 1)


def test_a_leg_that_sends_ten_times_what_voice_does_is_cut_to_its_allowance(media_program: str) -> None:
    with running_media(media_program, "--leg-rate", "400:200") as media, media.controller() as control:
        a, b = plain_call(control)
        for n in range(1, 1001):
            a.send(n, b"%d" % n)
        while (stats := a.stats())["packets_received"] + stats["dropped_budget"] < 1000:
            pass
        assert stats["dropped_budget"] >= 300  # 200 at once, 400 a second, and a second or so for sending
        talk_back = b"not limited"
        b.send(1, talk_back)
        assert a.hears() == talk_back


def test_stun_on_a_shared_port_finds_its_leg_by_our_user_name_and_media_follows_it(plane: Controller) -> None:
    name = bridge(plane)
    browser, carrier = End(plane, name, 0, BY_ICE), End(plane, name, 1, BY_ADDRESS)
    other = Credentials()
    credentials = Credentials()
    browser.set(remote_port=9, **credentials.fields())
    carrier.set()
    media = browser.sock
    browser.send(1, b"before any check")
    wait_counted(plane, "strangers", 1)
    media.sendto(check(other, nominate=True), browser.to)
    wait_counted(plane, "strangers", 2)
    assert is_success(ask(media, browser.to, check(credentials, nominate=True)), credentials, media)
    browser.send(2, b"after it")
    assert carrier.hears() == b"after it"
    carrier.send(2, b"back")
    assert browser.hears() == b"back"
