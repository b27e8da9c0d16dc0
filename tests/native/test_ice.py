"""ICE-lite over real sockets: who may send, where it goes, and what strangers, replays and floods achieve (nothing)."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest
from aioice import stun

from tests.native.call import Keys, Party, parse, rtp
from tests.native.client import INVALID, Controller, RequestError
from tests.native.ice_peer import Credentials, IceCall, ask, check, is_success
from tests.native.srtp_oracle import oracle


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.9", 0))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def second() -> Iterator[Party]:
    party = Party()
    yield party
    party.close()


def talks(call: IceCall, party: Party | None = None, first: int = 1) -> bool:
    """Both ends hear each other."""
    party = party or call.a
    party.to = call.a.to
    party.send(rtp(first, 160 * first, 1, b"to b %d" % first))
    call.b.send(rtp(first, 160 * first, 2, b"to a %d" % first))
    heard = parse(party.receive())
    return parse(call.b.receive()).payload == b"to b %d" % first and heard.payload == b"to a %d" % first


def test_a_nominated_check_opens_the_leg_and_nothing_passes_before(control: Controller) -> None:
    call = IceCall(control)
    call.a.send(rtp(1, 160, 1))
    call.settle(0, "dropped_unchecked", 1)
    call.b.send(rtp(1, 160, 2, b"too early"))
    call.settle(1, "dropped_unsent", 1)
    assert is_success(call.ask(check(call.credentials)), call.credentials, call.a.rtp)
    call.b.send(rtp(2, 320, 2, b"still too early: checked, not nominated"))
    call.settle(1, "dropped_unsent", 2)
    call.nominate()
    event = control.event("ice_selected").fields
    assert (event["leg"], event["remote_ip"], event["remote_port"]) == (0, socket.inet_aton("127.0.0.1"), call.a.port)
    assert talks(call, first=3)
    stats = call.stats(0)
    assert (stats["stun_received"], stats["stun_answered"], stats["stun_refused"]) == (2, 2, 0)


def test_a_check_that_is_wrong_in_any_way_opens_nothing(control: Controller, stranger: socket.socket) -> None:
    call = IceCall(control)
    call.nominate()
    own = call.credentials
    for request, code in (
        (check(own, nominate=True, password="x" * 24), 401),
        (check(own, nominate=True, username=f"{own.remote_ufrag}:{own.local_ufrag}"), 401),
        (check(own, nominate=True, username=f"{own.local_ufrag}:other"), 401),
        (check(Credentials(), nominate=True), 401),
        (check(own, nominate=True, role="ICE-CONTROLLED"), 487),
    ):
        refused = ask(stranger, call.a.to, request)
        assert (refused.message_class, refused.error_code) == (stun.Class.ERROR, code)
        # Only who knows the password gets an answer signed with it.
        assert refused.check_message_integrity(own.local_password.encode()) is (code == 487)
    stranger.sendto(rtp(1, 160, 1, b"foreign"), call.a.to)
    call.settle(0, "dropped_unchecked", 1)
    assert talks(call)


def test_an_attribute_that_must_be_understood_and_is_not_gets_420(control: Controller) -> None:
    call = IceCall(control)
    request = check(call.credentials, nominate=True)
    body = request[20 : request.index(b"\x00\x08\x00\x14")] + b"\x7a\xbc\x00\x02hi\x00\x00"
    key = call.credentials.local_password.encode()
    signed = request[:2] + (len(body) + 24).to_bytes(2, "big") + request[4:20] + body
    signed += b"\x00\x08\x00\x14" + stun.message_integrity(request[:2] + len(body).to_bytes(2, "big") + request[4:20] + body, key)
    whole = signed[:2] + (len(body) + 32).to_bytes(2, "big") + signed[4:]
    whole += b"\x80\x28\x00\x04" + stun.message_fingerprint(signed).to_bytes(4, "big")
    call.a.rtp.sendto(whole, call.a.to)
    reply = call.a.receive()
    assert reply[:2] == b"\x01\x11"
    assert b"\x00\x0a\x00\x02\x7a\xbc" in reply
    assert "stun_answered" in call.stats(0)
    call.a.send(rtp(1, 160, 1))
    call.settle(0, "dropped_unchecked", 1)


def test_malformed_checks_are_dropped_without_an_answer_and_harm_nothing(control: Controller, stranger: socket.socket) -> None:
    call = IceCall(control)
    call.nominate()
    whole = check(call.credentials, nominate=True)
    bad = [check(call.credentials, nominate=True, has_fingerprint=False)]
    bad += [whole[:n] for n in range(1, len(whole))]
    for at in [2, *attribute_lengths(whole)]:
        bad += [
            whole[:at] + lie.to_bytes(2, "big") + whole[at + 2 :] for lie in (0, 1, 3, 21, 255, 509, 0x7FFF, 0xFFFF) if lie != whole[at + 1]
        ]
    bad += [bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]) for at in range(1, len(whole))]
    for datagram in bad:
        stranger.sendto(datagram, call.a.to)
    stats = call.settle(0, "stun_received", 1 + len(bad))
    # Some of them are sound messages with a wrong name or tag: those are answered with an error, and never more than a few a second.
    assert stats["stun_refused"] + stats["stun_limited"] >= len(bad) - 1
    assert stats["stun_answered"] == 1
    stranger.sendto(rtp(1, 160, 1, b"foreign"), call.a.to)
    call.settle(0, "dropped_unchecked", 1)
    assert talks(call)


def attribute_lengths(message: bytes) -> Iterator[int]:
    at = 20
    while at < len(message):
        yield at + 2
        at += 4 + (int.from_bytes(message[at + 2 : at + 4], "big") + 3) // 4 * 4


def test_a_replayed_check_from_another_address_moves_nothing_and_lets_nothing_in(control: Controller, stranger: socket.socket) -> None:
    call = IceCall(control)
    overheard = [check(call.credentials), check(call.credentials, nominate=True)]
    for request in overheard:
        assert is_success(call.ask(request), call.credentials, call.a.rtp)
    for request in overheard * 5:
        stranger.sendto(request, call.a.to)
    call.settle(0, "stun_repeated", 10)
    stranger.sendto(rtp(1, 160, 1, b"foreign"), call.a.to)
    call.settle(0, "dropped_unchecked", 1)
    assert talks(call)
    stranger.setblocking(False)
    with pytest.raises(BlockingIOError):
        stranger.recv(4096)


def test_media_moves_with_a_nomination_and_with_nothing_else(control: Controller, second: Party, stranger: socket.socket) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = IceCall(control, **keys.fields())
    tx, rx = oracle(keys.suite, keys.recv, is_sender=True), oracle(keys.suite, keys.send, is_sender=False)
    call.nominate()
    call.a.send(tx.protect(rtp(1, 160, 1, b"one")))
    assert parse(call.b.receive()).payload == b"one"
    packet = tx.protect(rtp(2, 320, 1, b"two"))
    stranger.sendto(packet, call.a.to)  # whole and right, but from where no check came
    call.settle(0, "dropped_unchecked", 1)
    call.a.send(packet)
    assert parse(call.b.receive()).payload == b"two"
    assert is_success(call.ask(check(call.credentials), second), call.credentials, second.rtp)
    second.to = call.a.to
    second.send(tx.protect(rtp(3, 480, 1, b"three")))  # heard: this address is proven
    assert parse(call.b.receive()).payload == b"three"
    call.b.send(rtp(1, 160, 2, b"to the nominated pair"))
    assert parse(rx.unprotect(call.a.receive())).payload == b"to the nominated pair"
    call.nominate(second)
    call.b.send(rtp(2, 320, 2, b"moved"))
    assert parse(rx.unprotect(second.receive())).payload == b"moved"
    assert [control.event("ice_selected").fields["remote_port"] for _ in range(2)] == [call.a.port, second.port]


def test_a_restart_keeps_the_old_pair_until_the_new_one_is_nominated(control: Controller, second: Party) -> None:
    call = IceCall(control)
    call.nominate()
    assert talks(call)
    old = call.restart()
    assert talks(call, first=2)
    assert is_success(call.ask(check(old)), old, call.a.rtp)
    assert is_success(call.ask(check(call.credentials), second), call.credentials, second.rtp)
    assert talks(call, first=3)
    call.nominate(second)
    assert talks(call, second, first=4)
    assert call.ask(check(old, nominate=True)).error_code == 401
    assert talks(call, second, first=5)


def test_a_hundred_thousand_requests_are_answered_at_a_bounded_rate_and_the_call_goes_on(
    control: Controller, stranger: socket.socket
) -> None:
    call = IceCall(control)
    call.nominate()
    flood = [check(call.credentials, nominate=True, password="x" * 24) for _ in range(50)]  # the right name, so each costs us a digest
    flood += [check(call.credentials, nominate=True) for _ in range(50)]
    for request in flood[50:]:
        call.a.rtp.sendto(request, call.a.to)  # the peer's own, overheard and then replayed by the stranger
    call.settle(0, "stun_received", 51)
    before = call.stats(0)["stun_answered"]
    sent, said = 0, 10
    while sent < 100_000:
        for request in flood:
            stranger.sendto(request, call.a.to)
        sent += len(flood)
        if sent % 10_000 == 0:  # the call in the midst of it
            said += 1
            assert talks_beside_stun(call, said)
    assert is_success(call.ask(check(call.credentials)), call.credentials, call.a.rtp)
    stats = call.settle(0, "stun_repeated", 1)
    # A stranger's replays are never answered, wrong passwords at five a second; what the kernel dropped before us is not counted.
    assert stats["stun_answered"] == before + 1
    answers = 0
    stranger.setblocking(False)
    while True:
        try:
            reply = stun.parse_message(stranger.recv(4096))
        except BlockingIOError:
            break
        assert reply.error_code == 401
        answers += 1
    assert 0 < answers < 1000
    assert talks_beside_stun(call, said + 1)


def talks_beside_stun(call: IceCall, number: int) -> bool:
    """Both ends hear each other within ten tries: the flood fills the leg's own socket buffer, where some packets get lost."""
    call.b.send(rtp(number, 160 * number, 2, b"to a %d" % number))
    while (data := call.a.receive())[0] < 4:
        pass
    is_heard = parse(data).payload == b"to a %d" % number
    call.b.rtp.settimeout(1)
    for n in range(10):
        call.a.send(rtp(number * 20 + n, 160 * (number * 20 + n), 1, b"to b"))
        try:
            return is_heard and parse(call.b.receive()).payload == b"to b"
        except TimeoutError:
            continue
        finally:
            drain(call.b.rtp)
    return False


def drain(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        while True:
            sock.recv(4096)
    except BlockingIOError:
        sock.settimeout(10)


def test_settings_that_ice_can_not_mean_are_refused_and_change_nothing(control: Controller) -> None:
    call = IceCall(control)
    call.nominate()
    for wrong in (
        {"ice_local_ufrag": "ab:cd"},
        {"ice_remote_ufrag": "a b c d"},
        {"ice_local_password": "0123456789abcdefghij-_"},
        {"rtcp_mux": 0},
        {"ice_local_ufrag": "abc"},
        {"ice_local_password": "short"},
        {"ice_local_password": secrets.token_hex(200)},
        {"keying": 2},
    ):
        with pytest.raises(RequestError) as refused:
            call.set_leg(0, **wrong)
        assert refused.value.status == INVALID
    fields = {"bridge": call.id, "leg": 0, "remote_ip": bytes(4), "remote_port": 9, "rtcp_mux": 1, "ice_local_ufrag": "abcd"}
    with pytest.raises(RequestError) as refused:
        control.request("set_leg", **fields)
    assert refused.value.status == INVALID
    assert talks(call)


class SharedIceCall(IceCall):
    """An ICE call whose leg 0 is on a port that other legs use as well."""

    def __post_init__(self) -> None:
        self.a, self.b = Party(), Party()
        for party in (self.a, self.b):
            self.control.closing.callback(party.close)
        self.control.request("open_bridge", bridge=self.id, mode=0)
        for leg in (0, 1):
            reply = self.control.request("open_leg", bridge=self.id, leg=leg, ports=3 if leg == 0 else 0)
            self.party(leg).to = ("127.0.0.1", int(reply["rtp_port"]))  # type: ignore[call-overload]
            self.set_leg(leg)


def test_legs_on_one_port_are_told_apart_by_name_and_none_gets_at_another(control: Controller, second: Party) -> None:
    calls = [SharedIceCall(control)]
    while calls[-1].a.to not in [call.a.to for call in calls[:-1]]:  # there are a few shared ports: two calls soon meet at one
        calls.append(SharedIceCall(control))
    last = calls.pop()
    first = next(call for call in calls if call.a.to == last.a.to)
    for call in (first, last):
        call.nominate()
        assert talks(call)
    # The one's party knows its own password, and forges the other's address: the other's leg looks at it, and knows no such name.
    forged = check(last.credentials, nominate=True)
    assert first.ask(forged).error_code == 401
    for number, call in enumerate((first, last, first), 2):
        assert talks(call, first=number)
    # It may move its own leg wherever it can send from, and nothing of the other's comes along.
    last.nominate(second)
    assert talks(last, second, first=9)
    assert talks(first, first=9)
    assert last.a.hears_nothing()


def test_a_restart_on_a_shared_port_moves_to_a_new_address(control: Controller, second: Party) -> None:
    call = SharedIceCall(control)
    call.nominate()
    assert talks(call)
    old = call.restart()
    assert is_success(call.ask(check(old)), old, call.a.rtp)  # from where it is known, the old name still counts
    assert talks(call, first=2)
    call.nominate(second)
    assert talks(call, second, first=3)
