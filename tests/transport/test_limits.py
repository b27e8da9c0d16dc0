"""The token bucket of one source."""

from hushwire.transport.limits import SourceLimiter


def test_a_burst_passes_then_the_rate_holds() -> None:
    limiter = SourceLimiter(rate_per_s=10.0, burst=5.0)
    assert [limiter.admit("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limiter.admit("a", 0.1)
    assert not limiter.admit("a", 0.1)
    assert [limiter.admit("a", 100.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_sources_do_not_share_a_bucket_and_the_table_is_bounded() -> None:
    limiter = SourceLimiter(rate_per_s=1.0, burst=1.0, size=10)
    assert all(limiter.admit(str(number), 0.0) for number in range(1000))
    assert len(limiter._buckets) == 10


def test_a_long_message_uses_up_more_than_a_short_one() -> None:
    limiter = SourceLimiter(rate_per_s=10.0, burst=20.0)
    assert limiter.admit("a", 0.0, 16.0)
    assert not limiter.admit("a", 0.0, 16.0)
    assert [limiter.admit("a", 0.0) for _ in range(5)] == [True] * 4 + [False]
