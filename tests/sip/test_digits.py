"""Digits in SIP INFO."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.sip.digits import MAX_MS, MIN_MS, parse_info


@pytest.mark.parametrize(
    ("kind", "body", "digit", "duration_ms"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5", 160),
        ("application/dtmf-relay", b"Signal= 5\nDuration= 160", "5", 160),
        ("Application/DTMF-Relay; charset=utf-8", b"signal=#\r\nduration=250", "#", 250),
        ("application/dtmf-relay", b"Signal=11\r\n", "#", 100),
        ("application/dtmf-relay", b"Signal=d\r\nDuration=1", "D", MIN_MS),
        ("application/dtmf-relay", b"Signal=1\r\nDuration=99999", "1", MAX_MS),
        ("application/dtmf-relay", b"Signal=1\r\nSignal=2\r\nDuration=x", "1", 100),
        ("application/dtmf", b"9", "9", 100),
        ("application/dtmf", b"*\r\n", "*", 100),
    ],
)
def test_what_telephones_send_is_one_key_with_a_bounded_duration(kind: str, body: bytes, digit: str, duration_ms: int) -> None:
    keyed = parse_info(kind, body)
    assert keyed is not None
    assert (keyed.digit.reveal(), keyed.duration_ms) == (digit, duration_ms)
    assert digit not in repr(keyed).replace(str(duration_ms), "")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dtmf-relay", b"Signal=16\r\nDuration=160"),
        ("application/dtmf-relay", b"Signal=!\r\n"),
        ("application/dtmf-relay", b"Duration=160"),
        ("application/dtmf-relay", b""),
        ("application/dtmf", b"55"),
        ("application/dtmf", "\u0665".encode()),
        ("application/dtmf-relay", b"Signal=5" + b"\n" * 300),
        ("application/sdp", b"Signal=5"),
        (None, b"Signal=5"),
    ],
)
def test_what_is_no_key_is_none(kind: str | None, body: bytes) -> None:
    assert parse_info(kind, body) is None


@given(st.sampled_from(["application/dtmf-relay", "application/dtmf"]), st.binary(max_size=300))
def test_no_body_raises_or_gives_anything_but_a_key(kind: str, body: bytes) -> None:
    keyed = parse_info(kind, body)
    if keyed is not None:
        assert keyed.digit.reveal() in set("0123456789*#ABCD")
        assert MIN_MS <= keyed.duration_ms <= MAX_MS
