"""Rules for tests in one line."""

from datetime import UTC, datetime

from hushwire.policy.judge import decide
from hushwire.policy.model import Attempt, Channel, NumberClass, OwnHosts, Verdict
from hushwire.policy.rules import Rules

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWN = OwnHosts(
    names=frozenset({"pbx.test", "acme.pbx.test"}),
    addresses=frozenset({"192.0.2.1", "2001:db8::1"}),
    ports=frozenset({5060, 5061}),
)


def rules(home: str = "DE", allowed: str = "", *, prefix: str | None = None, classes: str = "", version: int = 1) -> Rules:
    """`allowed` and `classes` separated by blanks."""
    return Rules(
        version,
        home,
        frozenset(allowed.split()),
        outside_prefix=prefix,
        classes=frozenset(NumberClass(name) for name in classes.split()),
        own_hosts=OWN,
    )


def judged(destination: str, snapshot: Rules, channel: Channel = Channel.INVITE, peer: str | None = None) -> Verdict:
    return decide(Attempt(destination, channel, peer), snapshot, NOW)
