"""Requests that get no answer at all: of programs that look for open gateways, and for domains that are not ours.

Silence tells them least. It saves the log and the CPU, and guards nothing: whoever lies about a name is met by the limits like everybody.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request
from hushwire.sip.routing import numeric
from hushwire.sip.uri import SipUri

NAMES: Final = (
    "friendly-scanner", "friendly-request", "sipvicious", "sip-scan", "sipscan", "sundayddr", "iwar", "sivus", "smap", "pplsip", "sipcli",
    "vaxsipuseragent",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Silence:
    """What is met with silence. `domain` with all below it is ours; `names` are those of scanners."""

    domain: str
    names: tuple[str, ...] = NAMES
    _names: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        words = "|".join(re.escape(name) for name in self.names)
        object.__setattr__(self, "_names", re.compile(rf"\b(?:{words})\b", re.IGNORECASE) if words else None)

    def is_scanner(self, request: Request) -> bool:
        """Whether a request calls itself one of these programs; the oldest of them says its name in From too."""
        if self._names is None:
            return False
        said = (request.headers.get("User-Agent") or "")[:256]
        return self._names.search(said) is not None or "sipvicious" in (request.headers.get("From") or "")[:128].lower()

    def is_foreign(self, request: Request) -> bool:
        """Whether a request concerns other people's domains alone: the one that it is sent to, and the one that it says it is from.

        An agent that dials a foreign address is told why that is refused, so one's own domain in From is enough. OPTIONS asks us whatever
        it names. Numeric addresses may be ours behind a NAT.
        """
        if request.method == "OPTIONS":
            return False
        try:
            uris = [request.request_uri, request.to.uri if request.method == "REGISTER" else request.from_.uri]
        except ParseError:
            return False
        return not any(not isinstance(uri, SipUri) or self._is_ours(uri.host) for uri in uris)

    def _is_ours(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        return host == self.domain or host.endswith(f".{self.domain}") or host in _NAMELESS or numeric(host) is not None


_NAMELESS: Final = frozenset({"anonymous.invalid", "localhost"})
