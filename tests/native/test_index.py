"""No SRTP index is ever protected twice, whatever comes in and whatever is re-set: (key, SSRC, index) of everything that is sent."""

from __future__ import annotations

import random
import struct

import pytest

from tests.native.call import SUITES, Call, Keys, Party, parse, rtp
from tests.native.client import Controller, running_media
from tests.native.rtcp import Sender, description, sender_report
from tests.native.sent_indexes import RTCP, RTP, SentIndexes
from tests.native.srtp_oracle import written

ONE_OF_EACH_KIND = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM")


def secured(control: Controller, suite: str) -> tuple[Call, Keys, SentIndexes]:
    """A call whose leg 0 is SRTP: what `a` hears is collected."""
    keys, sent = Keys(suite), SentIndexes()
    sent.knows(keys)
    return Call(control, keys=(keys, None)), keys, sent


def hears(call: Call, sent: SentIndexes, *packets: bytes, expect: int) -> list[bytes]:
    """`b` sends the packets; `a` must hear so many of them."""
    for packet in packets:
        call.b.send(packet)
    return [parse(sent.receive(call.a)).payload for _ in range(expect)]


@pytest.mark.parametrize("suite", SUITES)
def test_input_that_is_duplicated_replayed_and_reordered(control: Controller, suite: str) -> None:
    call, _, sent = secured(control, suite)
    first = [rtp(n, 160 * n, 1, bytes([n])) for n in (1, 2, 2, 4, 3, 3, 1)]
    assert hears(call, sent, *first, expect=4) == [b"\1", b"\2", b"\4", b"\3"]
    assert hears(call, sent, *first, *first, rtp(5, 800, 1, b"\5"), expect=1) == [b"\5"]
    assert sent.count() == 5


@pytest.mark.parametrize("suite", SUITES)
def test_a_reinvite_with_the_same_key_a_new_key_and_the_old_key_coming_back(control: Controller, suite: str) -> None:
    call, first, sent = secured(control, suite)
    second, seq = Keys(suite), 0
    for keys in (first, first, second, first, second, second, first):
        sent.knows(keys)
        call.keys = (keys, None)
        call.set_leg(0)
        hears(call, sent, *[rtp(n, 160 * n, 1) for n in range(seq, seq + 20)], expect=20)
        hears(call, sent, rtp(seq, 160 * seq, 1), expect=0)
        seq += 20
    assert sent.count(first) == 80
    assert sent.count(second) == 60


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND)
def test_an_input_that_changes_its_ssrc_goes_back_and_has_two_at_once(control: Controller, suite: str) -> None:
    call, _, sent = secured(control, suite)
    hears(call, sent, *[rtp(n, 160 * n, 1) for n in range(10)], expect=10)
    hears(call, sent, *[rtp(n, 160 * n, 2) for n in range(10)], expect=10)
    hears(call, sent, *[rtp(n, 160 * n, 1) for n in range(10, 20)], expect=10)
    # Two streams in one session, packet by packet: each change is a run of its own, and none is lost.
    hears(call, sent, *[rtp(100 + n, 160 * n, 3 + n % 2) for n in range(40)], expect=40)
    assert sent.count() == 70


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND)
def test_a_leg_that_is_transferred_to_another_party_and_back(control: Controller, suite: str) -> None:
    """`b` talks, `c` takes its place with another key but the same SSRC and sequence; then `b` is back with its old key, and so on."""
    keys = (Keys(suite), Keys(suite))
    sent, third = SentIndexes(), Keys(suite)
    sent.knows(*keys, third)
    call, c = Call(control, keys=keys), Party()
    control.closing.callback(c.close)
    b_tx, a_tx = written(suite, keys[1].recv), written(suite, keys[0].recv)
    c_tx, c.to = written(suite, third.recv), call.b.to
    n = 0
    for party, tx, theirs in [(call.b, b_tx, keys[1]), (c, c_tx, third), (call.b, b_tx, keys[1]), (c, c_tx, third)]:
        call.set_leg(1, remote_port=party.port, **theirs.fields())
        for _ in range(10):
            n += 1
            party.send(tx.protect(rtp(n, 160 * n, 0xB)))
            sent.receive(call.a)
            call.a.send(a_tx.protect(rtp(n, 160 * n, 0xA)))
            sent.receive(party)
    assert sent.count(keys[0]) == 40
    assert sent.count(keys[1]) == sent.count(third) == 20


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND)
def test_a_stream_beyond_its_65536th_packet(control: Controller, suite: str) -> None:
    call, keys, sent = secured(control, suite)
    for begin in range(0, 66_000, 200):
        hears(call, sent, *[rtp(n, n, 1, b"voice") for n in range(begin, begin + 200)], expect=200)
    assert sent.count(keys, RTP) == 66_000
    assert max(index for _, _, _, index in sent.seen) > 0xFFFF, "the rollover counter went on"


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND)
def test_reports_have_indexes_of_their_own_that_survive_reinvites(control: Controller, suite: str) -> None:
    call, keys, sent = secured(control, suite)
    hears(call, sent, rtp(1, 160, 0xB), expect=1)
    for _ in range(2):
        sent.receive_rtcp(call.a)
        call.set_leg(0)
    control.request("close_bridge", bridge=call.id)
    sent.receive_rtcp(call.a)
    assert sent.count(keys, RTCP) >= 3


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND)
def test_an_echo(control: Controller, suite: str) -> None:
    keys, sent = Keys(suite), SentIndexes()
    sent.knows(keys)
    call, tx = Call(control, mode=1, keys=(keys, None)), written(suite, keys.recv)
    packets = [tx.seals_rtp(rtp(n, 160 * n, 1, bytes([n])), n) for n in (1, 2, 3, 3, 2, 5, 4)]
    for packet in packets * 2:
        call.a.send(packet)
    assert [parse(sent.receive(call.a)).payload for _ in range(5)] == [b"\1", b"\2", b"\3", b"\5", b"\4"]
    call.settle(0, "dropped_replay", 9)
    assert not sent.drain(call.a)


def test_a_program_that_is_restarted_with_the_keys_of_before(media_program: str) -> None:
    """The gateway makes new keys for every call (tests/calls/test_ends.py). Should a controller give old ones, the SSRC is new."""
    keys, sent = Keys("AEAD_AES_256_GCM"), SentIndexes()
    sent.knows(keys)
    for _ in range(3):
        with running_media(media_program) as media, media.controller() as control:
            call = Call(control, keys=(keys, None))
            hears(call, sent, *[rtp(n, 160 * n, 1) for n in range(50)], expect=50)
    assert sent.count(keys) == 150


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_of_it(control: Controller, seed: int) -> None:
    """Random packets and settings on both legs; whatever is heard is opened, and no index comes twice."""
    chance, sent = random.Random(seed), SentIndexes()
    pool = [[Keys(chance.choice(list(SUITES))) for _ in range(3)] for _ in range(2)]
    call = Call(control, keys=(pool[0][0], pool[1][0]))
    sent.knows(*pool[0], *pool[1])
    c = Party()
    control.closing.callback(c.close)
    c.to = call.b.to
    place: list[Party] = [call.a, call.b]
    seqs: dict[tuple[int, int], int] = {}
    earlier: list[tuple[Party, bytes]] = []

    def speak(leg: int) -> None:
        keys, ssrc = call.keys[leg], chance.choice([1, 2])
        assert keys
        seq = seqs.get((leg, ssrc), chance.randrange(0x8000)) + chance.choice([1, 1, 1, 1, 2, 700])
        seqs[leg, ssrc] = seq
        if chance.random() < 0.1:
            packet = written(keys.suite, keys.recv).seals_rtcp(
                sender_report(ssrc, Sender(1, seq, 1, 1)) + description(ssrc, b"x"), len(earlier)
            )
            place[leg].send_rtcp(packet)
            return
        late = max(seq - chance.choice([0, 0, 0, 1, 5]), 0)
        packet = written(keys.suite, keys.recv).seals_rtp(rtp(late, 160 * late, ssrc), late)
        earlier.append((place[leg], packet))
        for _ in range(chance.choice([1, 1, 1, 3])):
            place[leg].send(packet)

    def replay() -> None:
        for party, packet in chance.choices(earlier, k=min(len(earlier), 10)):
            party.send(packet)

    def reset() -> None:
        leg = chance.randrange(2)
        keys = chance.choice([call.keys[leg], *pool[leg]])
        call.keys = (keys, call.keys[1]) if leg == 0 else (call.keys[0], keys)
        if leg == 1:
            place[1] = chance.choice([call.b, c])
        call.set_leg(leg, remote_port=place[leg].port)

    for _ in range(1500):
        act = chance.random()
        if act < 0.9:
            speak(chance.randrange(2))
        elif act < 0.95:
            replay()
        else:
            reset()
        sent.drain(call.a, call.b, c)
    call.stats(0)  # the worker has served all that came before
    sent.drain(call.a, call.b, c)
    assert sent.count() > 400
    assert len({key for key, _, _, _ in sent.seen}) >= 5, "most of the keys were used, and came back"


def test_the_collector_itself_sees_a_repeated_index_and_a_packet_of_no_key() -> None:
    keys, sent = Keys("AEAD_AES_128_GCM"), SentIndexes()
    sent.knows(keys)
    with pytest.raises(AssertionError, match="no key"):
        sent.take(written(keys.suite, keys.recv).seals_rtp(rtp(1, 1, 1), 1))
    opener = written(keys.suite, keys.send)
    for index in (0xFFFF, 0x10000, 0x10001):
        sent.take(opener.seals_rtp(rtp(index, 1, 1), index))
    sent.take(opener.seals_rtcp(sender_report(1, Sender(1, 1, 1, 1)), 1))
    with pytest.raises(AssertionError, match="twice"):
        sent.take(opener.seals_rtp(rtp(0x10000, 2, 1, b"other"), 0x10000))
    with pytest.raises(AssertionError, match="twice"):
        sent.take(opener.seals_rtcp(sender_report(1, Sender(1, 2, 1, 1)), 1))
    assert struct.unpack(">I", sent.take(opener.seals_rtp(rtp(0x10001, 2, 2), 0x10001))[8:12]) == (2,)
