"""Digits keyed during a call and sent as SIP INFO: `application/dtmf-relay` and `application/dtmf`.

No RFC: RFC 6086 calls it legacy usage (section 3), carried without an Info-Package. Telephones that send it know no RFC 4733.
"""

from typing import Final

from hushwire.core.personal import Personal
from hushwire.core.values import frozen

__all__ = ["Keyed", "parse_info"]

TYPES: Final = ("application/dtmf-relay", "application/dtmf")
DEFAULT_MS: Final = 100
MIN_MS: Final = 40  # ITU-T Q.24: shorter ones are not heard
MAX_MS: Final = 5000
MAX_BODY: Final = 256
# Some telephones number the keys as RFC 4733 does.
_NUMBERED: Final = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
_KEYS: Final = frozenset("0123456789*#ABCD")


@frozen
class Keyed:
    """One key, and for how long it was held."""

    digit: Personal[str]
    duration_ms: int


def parse_info(content_type: str | None, body: bytes) -> Keyed | None:
    """The key of an INFO, or None where it holds none that we know (a hook flash, another package)."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in TYPES or len(body) > MAX_BODY or not body.isascii():
        return None
    text = body.decode("ascii")
    if kind == "application/dtmf":
        return _keyed(text.strip(), None)
    fields: dict[str, str] = {}
    for line in text.replace("\r", "\n").split("\n"):
        name, equals, value = line.partition("=")
        if equals:
            fields.setdefault(name.strip().lower(), value.strip())
    return _keyed(fields.get("signal", ""), fields.get("duration"))


def _keyed(signal: str, duration: str | None) -> Keyed | None:
    digit = _NUMBERED.get(signal, signal.upper())
    if digit not in _KEYS:
        return None
    duration_ms = int(duration) if duration is not None and duration.isdigit() and len(duration) <= 5 else DEFAULT_MS
    return Keyed(Personal(digit), min(max(duration_ms, MIN_MS), MAX_MS))
