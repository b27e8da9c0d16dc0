"""What the doctor says of trunks."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from hushwire.app.doctor_trunks import protection_in_words, standing_in_words
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.core.ids import NodeId, TrunkId
from hushwire.store.listing import TrunkRow
from hushwire.store.trunk_states import TrunkState


def row(uri: str, srtp: str, keying: str = "sdes") -> TrunkRow:
    return TrunkRow(TrunkId(UUID(int=1)), "carrier", uri, srtp, keying, "auto", 0, 1)


def state(standing: str, reason: str | None) -> tuple[str, TrunkState]:
    told = TrunkState(NodeId(UUID(int=7)), TrunkId(UUID(int=1)), standing, reason, datetime(2026, 11, 26, tzinfo=UTC), 0, 1, {}, None)
    return "carrier", told


@pytest.mark.parametrize(
    ("uri", "srtp", "keying", "is_right"),
    [
        ("sip:192.0.2.1;transport=udp", "required", "sdes", False),
        ("sip:192.0.2.1", "optional", "best-effort", False),
        ("sip:carrier.example", "required", "sdes", False),
        ("sip:192.0.2.1;transport=tcp", "optional", "sdes", False),
        ("sip:192.0.2.1;transport=tls", "required", "sdes", True),
        ("sips:carrier.example", "required", "sdes", True),
        ("sip:192.0.2.1;transport=udp", "required", "dtls", True),
        ("sip:192.0.2.1;transport=udp", "never", "sdes", True),
    ],
)
def test_keys_that_travel_in_the_clear_are_warned_about(uri: str, srtp: str, keying: str, is_right: bool) -> None:
    if is_right:
        assert "1 trunks" in protection_in_words([row(uri, srtp, keying)])
    else:
        with pytest.raises(ConfigError, match="carrier: SRTP keys"):
            protection_in_words([row(uri, srtp, keying)])


def test_carriers_in_trouble_are_named_with_the_reason() -> None:
    assert "all are up" in standing_in_words([state("up", None)])
    with pytest.raises(Unavailable, match=r"carrier is down \(silent\)"):
        standing_in_words([state("up", None), state("down", "silent")])
