"""Timer values of transactions (RFC 3261 table 4, RFC 6026 section 7.1), in seconds."""

from enum import StrEnum

from hushwire.core.values import frozen


class Timer(StrEnum):
    """Timers by their letters in RFC 3261 and RFC 6026; TRYING is the 200 ms after which an INVITE gets its 100."""

    A = "A"
    B = "B"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741
    J = "J"
    K = "K"
    L = "L"
    M = "M"
    TRYING = "100"


@frozen
class Timings:
    """`t1` round-trip estimate, `t2` longest retransmission interval, `t4` longest life of a message in the network."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def timeout(self) -> float:
        """64*T1: timers B, F, H, J, L and M."""
        return 64 * self.t1
