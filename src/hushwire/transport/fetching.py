"""A small document over https from an address that a stranger named, by the guard of `transport/outgoing.py`."""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hushwire.core.errors import PeerError
from hushwire.transport.locating import Dns
from hushwire.transport.outgoing import MOST_BYTES, NotReached, Outgoing, Reply

__all__ = ["MOST_BYTES", "TIMEOUT_S", "Fetched", "Fetching", "NotFetched"]

TIMEOUT_S: Final = 3.0
_ACCEPT: Final = (("Accept", "application/pem-certificate-chain, */*"),)
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])", re.ASCII | re.IGNORECASE)


class NotFetched(PeerError):
    """The document did not come; `reason` is a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fetched:
    """The document, and for how many seconds its server lets it be kept (None: it does not say)."""

    body: bytes
    max_age_s: int | None


class Fetching:
    """Fetches. `networks` are those inside that the operator named, `ports` those that may be connected to."""

    def __init__(
        self, dns: Dns, tls: ssl.SSLContext, networks: Sequence[str] = (), ports: Sequence[int] = (443, 8443), timeout_s: float = TIMEOUT_S
    ) -> None:
        self._outgoing = Outgoing(dns, tls, networks, ports, timeout_s)

    async def get(self, url: str) -> Fetched:
        """What stands at an https URL. Raises NotFetched."""
        try:
            reply = await self._outgoing.ask("GET", url, _ACCEPT)
        except NotReached as error:
            raise NotFetched(error.reason) from None
        if reply.status != 200:
            raise NotFetched("redirect" if 300 <= reply.status < 400 else "status")
        return Fetched(reply.body, _max_age(reply))


def _max_age(reply: Reply) -> int | None:
    for name, value in reply.headers:
        if name == b"cache-control":
            text = value.decode("latin-1")
            if "no-store" in text.lower() or "no-cache" in text.lower():
                return 0
            found = _MAX_AGE.search(text)
            if found is not None:
                return int(found[1])
    return None
