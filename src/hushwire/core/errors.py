"""The one error tree.

    HushwireError
    |-- PeerError            the other side broke a rule: a packet, a header, a request
    |   |-- MalformedError   bytes that do not follow their grammar
    |   `-- RefusedError     a well-formed wish that is not granted
    `-- LocalError           our side: configuration, a missing key, a service that is away
        |-- ConfigError      a file or key to mend; says which and how
        |-- KeyUnavailable   a key that is missing, wrong or destroyed
        |-- CustomerHeld     a key that is there, and that only the customer can open
        |-- Unfinished       some of many things broke, and those beside them were done
        `-- Unavailable      a database, media process or store that does not answer now

Messages never hold peer bytes or personal values. Expected outcomes (busy, refused by policy, no common codec) are values.
"""


class HushwireError(Exception):
    """Root of everything that hushwire raises on purpose."""


class PeerError(HushwireError):
    """The peer's mistake."""


class MalformedError(PeerError):
    """Bytes that do not follow their grammar."""


class RefusedError(PeerError):
    """A well-formed wish that is not granted."""


class LocalError(HushwireError):
    """Our own side's trouble."""


class ConfigError(LocalError):
    """Configuration to mend: the message names the file, the key and the mend."""


class KeyUnavailable(LocalError):
    """A key is missing, wrong or destroyed."""


class CustomerHeld(LocalError):
    """The key exists, sealed to the customer's own keys only: hushwire can't open it, on purpose."""


class Unfinished(LocalError):
    """Of many things some broke, and those beside them were done. The message counts them by the class of what went wrong."""


class Unavailable(LocalError):
    """A service that we depend on does not answer now."""
