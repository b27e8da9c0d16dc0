"""What SDP says of ICE (RFC 8839): credentials, and our one candidate. We are a lite agent (RFC 8445 section 2.5): peers check, we answer.

The peer's candidates are not used: where it is, its checks show. They are only counted, so that nobody makes us carry thousands.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sdp.session import Attribute, SdpError

MAX_CANDIDATES: Final = 100
# RFC 8839 section 5.4: ice-ufrag is 4 to 256 ice-chars, ice-pwd 22 to 256.
_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
# RFC 8445 section 5.1.2.1 with type preference 126 and local preference 65535, component 1.
_HOST_PRIORITY: Final = 126 << 24 | 65535 << 8 | 255


@frozen(repr=False)
class IceCredentials:
    """`ufrag` names a side in checks, `password` keys their integrity."""

    ufrag: str
    password: str

    def __repr__(self) -> str:
        return f"IceCredentials({SHOWN})"


def parse_credentials(ufrags: Sequence[str | None], passwords: Sequence[str | None]) -> IceCredentials | None:
    """A section's credentials; None where it has none. Raises SdpError for half of them, two of them, and bad lengths or characters."""
    if not ufrags and not passwords:
        return None
    if len(ufrags) != 1 or len(passwords) != 1:
        raise SdpError("ice-ufrag and ice-pwd do not stand exactly once each")
    ufrag, password = ufrags[0] or "", passwords[0] or ""
    if not _UFRAG.fullmatch(ufrag) or not _PASSWORD.fullmatch(password):
        raise SdpError("ice-ufrag or ice-pwd does not follow its grammar")
    return IceCredentials(ufrag, password)


def check_candidates(values: Sequence[str | None]) -> None:
    """Raises SdpError where there are more candidates than any honest peer has."""
    if len(values) > MAX_CANDIDATES:
        raise SdpError("a section has too many candidates")


def candidate(address: str, port: int) -> str:
    """The value of our a=candidate line: a host candidate of component 1 (RFC 8839 section 5.1). Raises ValueError for a name."""
    ipaddress.ip_address(address)
    return f"1 1 udp {_HOST_PRIORITY} {address} {port} typ host"


def ice_lines(local: IceCredentials, address: str, port: int) -> list[Attribute]:
    """Our lines in a section; `a=ice-lite` stands in the session's part. All that we have is there at once: nothing trickles."""
    return [
        ("ice-ufrag", local.ufrag),
        ("ice-pwd", local.password),
        ("candidate", candidate(address, port)),
        ("end-of-candidates", None),
    ]
