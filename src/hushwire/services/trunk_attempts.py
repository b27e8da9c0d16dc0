"""The ways to a carrier that a call tried, one after the other: who had it, for how long, and how that ended."""

from dataclasses import dataclass
from typing import Final

from hushwire.calls.model import CallDirection
from hushwire.core.clock import Clock
from hushwire.core.values import replace
from hushwire.policy.model import Emergency
from hushwire.services.live import LiveCall
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.sip import effects as sip
from hushwire.sip import flow as flows
from hushwire.sip.effects import Cause
from hushwire.sip.message import Response

_OVERLOADED: Final = 503
_HEARD: Final = frozenset({"sendrecv", "sendonly", "supported"})


@dataclass(slots=True)
class TrunkAttempt:
    """One way that was tried. `outcome` is a word of ours or the status that came; None while it is open."""

    branch: int
    trunk: Trunk
    began: float
    outcome: str | None = None
    after_ms: int | None = None
    attestation: str | None = None
    """What was signed there (STIR/SHAKEN)."""


class TrunkAttempts:
    """Follows calls over their ways, and tells `TrunkStates` what they met there."""

    def __init__(self, states: TrunkStates, clock: Clock) -> None:
        self._states = states
        self._clock = clock

    def begin(self, live: LiveCall, branch: int) -> bool:
        """The call turns to one of its ways. False where its trunk has no channel free any more: the way is not tried."""
        trunk = _trunk_of(live, branch)
        if trunk is None or (live.attempts and live.attempts[-1].branch == branch):
            return True
        # A carrier's call that was diverted to a carrier is with both.
        is_second = live.route.plan.direction is CallDirection.INBOUND
        held = live.route.out_trunk if is_second else live.route.trunk
        if held is not trunk:
            live.route = replace(live.route, out_trunk=trunk) if is_second else replace(live.route, trunk=trunk)
        live.attempts.append(TrunkAttempt(branch, trunk, self._clock.monotonic()))
        # The call is counted where it stands: with its first trunk from its start on, with another from here on.
        is_emergency = isinstance(live.route.verdict, Emergency)
        if is_emergency or held is trunk or not self._states.is_full(trunk, more=0):
            return True
        self._close(live, "full")
        return False

    def is_heard(self, live: LiveCall, branch: int, response: Response) -> bool:
        """Whether early media of this response is for the caller: as the trunk is set, and as the carrier says (RFC 5009 section 8)."""
        if not live.route.plan.targets[branch].early_media:
            return False
        said = response.headers.get("P-Early-Media")
        if said is None or _trunk_of(live, branch) is None:
            return True
        return said.split(",")[0].split(";")[0].strip().lower() in _HEARD

    def progressed(self, live: LiveCall, branch: int) -> None:
        """It rings."""
        if (way := self._way(live, branch)) is not None:
            self._states.health(*way).carried()

    def accepted(self, live: LiveCall, branch: int) -> None:
        """It is answered."""
        if (way := self._way(live, branch)) is not None:
            self._states.health(*way).carried()
            self._close(live, "answered")

    def rejected(self, live: LiveCall, branch: int, event: sip.Rejected) -> None:
        """It came to nothing."""
        way = self._way(live, branch)
        if way is None:
            return
        if event.cause in (Cause.TIMEOUT, Cause.TRANSPORT):
            word = "silent" if event.cause is Cause.TIMEOUT else "unreachable"
            self._states.rests(*way, word)
            self._close(live, word)
            return
        if event.status == _OVERLOADED and event.response is not None:
            # RFC 3261 section 21.5.4: how long it wants to be left alone.
            self._states.rests(*way, "overloaded", _retry_after(event.response))
        elif event.cause is Cause.RESPONSE:
            self._states.health(*way).carried()
        self._close(live, str(event.status))

    def ended(self, live: LiveCall, reason: str) -> None:
        """The call is over; what is still open ended by that."""
        self._close(live, reason)

    def facts(self, live: LiveCall) -> list[dict[str, str | int | None]] | None:
        """For the row, in order; None for calls that tried no trunk."""
        told: list[dict[str, str | int | None]] = [
            {"trunk": one.trunk.name, "outcome": one.outcome, "after_ms": one.after_ms}
            | ({"attestation": one.attestation} if one.attestation else {})
            for one in live.attempts
        ]
        return told or None

    def _way(self, live: LiveCall, branch: int) -> tuple[Trunk, flows.Target] | None:
        trunk = _trunk_of(live, branch)
        if trunk is None:
            return None
        hop = live.route.plan.targets[branch].hop
        return (trunk, hop) if isinstance(hop, flows.Target) else None

    def _close(self, live: LiveCall, outcome: str) -> None:
        if live.attempts and live.attempts[-1].outcome is None:
            last = live.attempts[-1]
            last.outcome = outcome
            self._states.outcomes(last.trunk)[outcome] += 1
            last.after_ms = round((self._clock.monotonic() - last.began) * 1000)


def _trunk_of(live: LiveCall, branch: int) -> Trunk | None:
    """The carrier that a branch leads to, if it does."""
    trunks = live.route.trunks
    return trunks[branch] if branch < len(trunks) else None


def _retry_after(response: Response) -> float | None:
    text = (response.headers.get("Retry-After") or "").split(";")[0].split("(")[0].strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None
