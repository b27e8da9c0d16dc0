"""MOVE_LEG: a party goes over from one bridge to another as it stands, and never hears an index twice."""

from __future__ import annotations

import uuid

import pytest

from tests.native.call import LOOPBACK, SUITES, Call, Keys, Party, parse, rtp
from tests.native.client import EXISTS, INVALID, NOT_FOUND, STATE, Controller, RequestError, running_media
from tests.native.sent_indexes import SentIndexes
from tests.native.srtp_oracle import written


def beside(control: Controller, call: Call, keys: tuple[Keys | None, Keys | None] = (None, None)) -> Call:
    """A second call of somebody who is in `call`: on the same worker."""
    other = uuid.uuid4()
    control.request("open_bridge", bridge=other, mode=0, beside=call.id)
    made = Call.__new__(Call)
    made.control, made.mode, made.keys, made.options, made.id = control, 0, keys, {}, other
    made.a, made.b = Party(), Party()
    for leg, party in enumerate((made.a, made.b)):
        control.closing.callback(party.close)
        reply = control.request("open_leg", bridge=other, leg=leg)
        party.to = ("127.0.0.1", int(reply["rtp_port"]))  # type: ignore[call-overload]
        made.set_leg(leg)
    return made


def move(control: Controller, source: Call, leg: int, target: Call, to_leg: int) -> None:
    control.request("move_leg", bridge=source.id, leg=leg, to_bridge=target.id, to_leg=to_leg)


@pytest.mark.parametrize("suite", SUITES)
def test_an_attended_transfer_joins_two_parties_who_keep_ports_keys_and_streams(control: Controller, suite: str) -> None:
    """A talks to B, asks C in a second call, and leaves: C's leg takes A's place."""
    b_keys, c_keys = Keys(suite), Keys(suite)
    sent = SentIndexes()
    sent.knows(b_keys, c_keys)
    first = Call(control, keys=(None, b_keys))
    second = beside(control, first, (None, c_keys))
    b, c = first.b, second.b
    for n in range(30):
        first.a.send(rtp(n, 160 * n, 1, b"from a"))
        second.a.send(rtp(n, 160 * n, 1, b"from a"))
        assert parse(sent.receive(b)).payload == parse(sent.receive(c)).payload == b"from a"
    b_tx, c_tx = written(suite, b_keys.recv), written(suite, c_keys.recv)

    control.request("close_leg", bridge=first.id, leg=0)
    move(control, second, 1, first, 0)
    control.request("close_bridge", bridge=second.id)
    for n in range(200):
        b.send(b_tx.seals_rtp(rtp(n, 160 * n, 1, b"from b"), n))
        heard = parse(sent.receive(c))
        assert (heard.payload, heard.ssrc) == (b"from b", c.ssrc)
        c.send(c_tx.seals_rtp(rtp(n, 160 * n, 1, b"from c"), n))
        heard = parse(sent.receive(b))
        assert (heard.payload, heard.ssrc) == (b"from c", b.ssrc)
    assert sent.count(c_keys, "rtp") == sent.count(b_keys, "rtp") == 230
    # The old bridge's end took nothing with it; this one's takes all.
    legs = control.request("close_bridge", bridge=first.id)["leg_stats"]
    assert [(leg["leg"], leg["packets_received"]) for leg in legs] == [(0, 200), (1, 200)]  # type: ignore[attr-defined]


def test_a_leg_goes_back_and_forth_and_packets_in_flight_follow_it(control: Controller) -> None:
    keys, sent = Keys("AES_CM_128_HMAC_SHA1_80"), SentIndexes()
    sent.knows(keys)
    first = Call(control, keys=(None, keys))
    second = beside(control, first)
    control.request("close_leg", bridge=second.id, leg=1)
    n = 0
    for _ in range(20):
        for source, target in ((first, second), (second, first)):
            for _ in range(5):
                source.a.send(rtp(n, 160 * n, 1, bytes([n % 256])))
                assert parse(sent.receive(first.b)).payload == bytes([n % 256])
                n += 1
            move(control, source, 1, target, 1)
    assert sent.count(keys, "rtp") == 200


def test_a_leg_of_a_shared_port_moves_and_is_still_found_by_its_address(media_program: str) -> None:
    with running_media(media_program, "--workers", "2") as media, Controller(media.socket) as control:
        first = Call(control)
        second = uuid.uuid4()
        control.request("open_bridge", bridge=second, mode=0, beside=first.id)
        party = Party()
        control.closing.callback(party.close)
        reply = control.request("open_leg", bridge=second, leg=1, ports=1, remote_ip=LOOPBACK, remote_port=party.port)
        assert reply["is_shared"] == 1
        party.to = ("127.0.0.1", int(reply["rtp_port"]))  # type: ignore[call-overload]
        control.request("set_leg", bridge=second, leg=1, remote_ip=LOOPBACK, remote_port=party.port, rtcp_mux=1)
        party.is_muxed = True
        party.send(rtp(1, 160, 5, b"nobody is there yet"))
        control.request("close_leg", bridge=first.id, leg=1)
        control.request("move_leg", bridge=second, leg=1, to_bridge=first.id, to_leg=1)
        party.send(rtp(2, 320, 5, b"to the agent"))
        assert parse(first.a.receive()).payload == b"to the agent"
        first.a.send(rtp(1, 160, 6, b"from the agent"))
        assert parse(party.receive()).payload == b"from the agent"
        far = Call(control)  # on the other worker, which does not read this port
        with pytest.raises(RequestError) as caught:
            control.request("move_leg", bridge=first.id, leg=1, to_bridge=far.id, to_leg=5)
        assert caught.value.status == STATE
        control.request("close_bridge", bridge=second)
        first.a.send(rtp(2, 320, 6, b"still"))
        assert parse(party.receive()).payload == b"still"


def test_a_leg_of_a_shared_port_that_was_given_a_pair_of_its_own_goes_to_another_thread(media_program: str) -> None:
    keys, sent = Keys("AES_CM_128_HMAC_SHA1_80"), SentIndexes()
    sent.knows(keys)
    with running_media(media_program, "--workers", "2") as media, Controller(media.socket) as control:
        first, party = Call(control), Party()
        control.closing.callback(party.close)
        far = Call(control)  # on the other worker
        assert control.request("is_beside", bridge=first.id, to_bridge=far.id)["on_one_thread"] == 0
        control.request("close_leg", bridge=first.id, leg=1)
        shared = control.request("open_leg", bridge=first.id, leg=1, ports=1, remote_ip=LOOPBACK, remote_port=party.port)
        stated = dict(bridge=first.id, leg=1, remote_ip=LOOPBACK, remote_port=party.port, rtcp_mux=1, **keys.fields())
        control.request("set_leg", **stated)
        party.to, party.is_muxed, tx = ("127.0.0.1", int(shared["rtp_port"])), True, written(keys.suite, keys.recv)  # type: ignore[call-overload]
        party.send(tx.seals_rtp(rtp(1, 160, 5, b"on the shared port"), 1))
        assert parse(first.a.receive()).payload == b"on the shared port"
        own = control.request("reopen_leg", bridge=first.id, leg=1)
        # Until it is stated anew what is sent to it comes from the port that it knows.
        with pytest.raises(RequestError) as caught:
            control.request("move_leg", bridge=first.id, leg=1, to_bridge=far.id, to_leg=5)
        assert caught.value.status == STATE
        control.request("set_leg", **stated)
        first.a.send(rtp(1, 160, 6, b"from its own"))
        assert parse(sent.receive(party)).payload == b"from its own"
        control.request("close_leg", bridge=far.id, leg=1)
        control.request("move_leg", bridge=first.id, leg=1, to_bridge=far.id, to_leg=1)
        party.send(tx.seals_rtp(rtp(2, 320, 5, b"too late"), 2))
        party.to = ("127.0.0.1", int(own["rtp_port"]))  # type: ignore[call-overload]
        party.send(tx.seals_rtp(rtp(3, 480, 5, b"over there"), 3))
        assert parse(far.a.receive()).payload == b"over there"
        far.a.send(rtp(1, 160, 7, b"and back"))
        assert parse(sent.receive(party)).payload == b"and back"
        assert sum(port["count"] for port in control.request("get_ports")["shared_port"]) == 0, "the shared port is left"  # type: ignore[attr-defined]


def test_what_can_not_be_moved_is_refused_and_stays(media_program: str) -> None:
    with running_media(media_program, "--workers", "2") as media, Controller(media.socket) as control:
        first = Call(control)
        near, echo = beside(control, first), Call(control, mode=1)
        for source, leg, target, to_leg, status in (
            (first, 2, near.id, 2, NOT_FOUND),
            (first, 0, uuid.uuid4(), 2, NOT_FOUND),
            (first, 0, near.id, 16, INVALID),
            (first, 0, near.id, 1, EXISTS),
            (first, 0, first.id, 0, EXISTS),
            (echo, 0, near.id, 2, INVALID),
            (first, 0, echo.id, 1, INVALID),
        ):
            with pytest.raises(RequestError) as caught:
                control.request("move_leg", bridge=source.id, leg=leg, to_bridge=target, to_leg=to_leg)
            assert caught.value.status == status
        first.a.send(rtp(1, 160, 1, b"as before"))
        assert parse(first.b.receive()).payload == b"as before"


@pytest.mark.parametrize("suite", SUITES)
def test_a_leg_with_sockets_of_its_own_moves_between_threads_and_back_and_misses_nothing(media_program: str, suite: str) -> None:
    b_keys, c_keys, sent = Keys(suite), Keys(suite), SentIndexes()
    sent.knows(b_keys, c_keys)
    with running_media(media_program, "--workers", "2") as media, Controller(media.socket) as control:
        # The emptier worker takes a bridge: these two are on different ones.
        first, second = Call(control, keys=(None, b_keys)), Call(control, keys=(None, c_keys))
        b, c = first.b, second.b
        b_tx, c_tx = written(suite, b_keys.recv), written(suite, c_keys.recv)
        for n in range(30):
            first.a.send(rtp(n, 160 * n, 1, b"from a"))
            second.a.send(rtp(n, 160 * n, 1, b"from a"))
            assert parse(sent.receive(b)).payload == parse(sent.receive(c)).payload == b"from a"
        control.request("close_leg", bridge=first.id, leg=0)
        n = 0
        for _ in range(20):
            move(control, second, 1, first, 0)
            for _ in range(10):
                b.send(b_tx.seals_rtp(rtp(n, 160 * n, 1, b"from b"), n))
                assert parse(sent.receive(c)).payload == b"from b"
                c.send(c_tx.seals_rtp(rtp(n, 160 * n, 1, b"from c"), n))
                assert parse(sent.receive(b)).payload == b"from c"
                n += 1
            move(control, first, 0, second, 1)
            second.a.send(rtp(100 + n, 160 * n, 1, b"from a"))
            assert parse(sent.receive(c)).payload == b"from a"
            c.send(c_tx.seals_rtp(rtp(n, 160 * n, 1, b"to a"), n))
            assert parse(second.a.receive()).payload == b"to a"
            n += 1


def test_whatever_is_asked_of_two_bridges_while_a_leg_goes_from_one_to_the_other_waits(media_program: str) -> None:
    with running_media(media_program, "--workers", "2") as media, Controller(media.socket) as control:
        for _ in range(30):
            first, second = Call(control), Call(control)
            control.request("close_leg", bridge=first.id, leg=0)
            asked = [control.send("move_leg", bridge=second.id, leg=1, to_bridge=first.id, to_leg=0)]
            asked += [control.send("close_bridge", bridge=call.id) for call in (second, first)]
            answers = {ident: reply for kind, _, ident, reply in (control.read() for _ in asked) if kind == 1}
            assert [answers[ident]["status"] for ident in asked] == [0, 0, 0]
            ended = answers[asked[2]]["leg_stats"]
            assert [leg["leg"] for leg in ended] == [0, 1]  # type: ignore[attr-defined]
        assert control.request("list_bridges")["more"] == 0
