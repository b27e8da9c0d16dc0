"""How a target's refusal reaches the caller, and what the row says of it."""

from collections.abc import Iterable
from typing import Final

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import EndReason
from hushwire.sdp.model import Refusal
from hushwire.sip.refusals import REFUSALS, header

_BY_STATUS: Final[dict[int, tuple[int, EndReason]]] = {
    401: (503, EndReason.TRUNK_FAILED),  # the challenge is between us and the trunk: never passed on
    407: (503, EndReason.TRUNK_FAILED),
    403: (403, EndReason.REJECTED),
    404: (404, EndReason.NOT_FOUND),
    408: (480, EndReason.UNAVAILABLE),
    410: (404, EndReason.NOT_FOUND),
    415: (488, EndReason.NO_COMMON_MEDIA),
    480: (480, EndReason.UNAVAILABLE),
    484: (484, EndReason.NOT_FOUND),
    486: (486, EndReason.BUSY),
    488: (488, EndReason.NO_COMMON_MEDIA),
    600: (486, EndReason.BUSY),
    603: (603, EndReason.DECLINED),
    604: (404, EndReason.NOT_FOUND),
    606: (488, EndReason.NO_COMMON_MEDIA),
    607: (603, EndReason.DECLINED),
    608: (603, EndReason.DECLINED),
}
# Of several devices that all refused, the most telling refusal counts (RFC 3261 section 16.7, step 6: 6xx, else the lowest class).
_ORDER: Final = (603, 486, 488, 403, 404, 484, 480, 503)


_DIVERTS: Final = {
    EndReason.NO_ANSWER: DiversionReason.NO_ANSWER,
    EndReason.BUSY: DiversionReason.USER_BUSY,
    # Pressing "decline" at a phone says "not now", as networks take it (3GPP TS 24.604: user determined user busy).
    EndReason.DECLINED: DiversionReason.USER_BUSY,
    EndReason.UNAVAILABLE: DiversionReason.UNAVAILABLE,
    EndReason.NOT_FOUND: DiversionReason.UNAVAILABLE,
    EndReason.REJECTED: DiversionReason.UNAVAILABLE,
    EndReason.NO_COMMON_MEDIA: DiversionReason.UNAVAILABLE,
    EndReason.TRUNK_FAILED: DiversionReason.UNAVAILABLE,
}


def diversion_reason(why: EndReason) -> DiversionReason | None:
    """What the failure of all who were rung says of who was called; None where it says nothing of them."""
    return _DIVERTS.get(why)


def to_caller(status: int, *, is_silent: bool, to_trunk: bool) -> tuple[int, EndReason]:
    """The status for the caller and the reason for the row.

    A silent trunk is a trunk that failed; a silent device is an agent that can't be reached. Redirections are not followed.
    """
    if is_silent or (status >= 500 and status not in _BY_STATUS):
        return (503, EndReason.TRUNK_FAILED) if to_trunk else (480, EndReason.UNAVAILABLE)
    if 300 <= status < 400:
        return 480, EndReason.REJECTED
    found = _BY_STATUS.get(status)
    if found is None:
        return 480, EndReason.REJECTED
    if not to_trunk and found[1] is EndReason.TRUNK_FAILED:
        return 480, EndReason.REJECTED
    return found


def best(failures: Iterable[tuple[int, EndReason]]) -> tuple[int, EndReason]:
    """The failure to report of several."""
    return min(failures, key=lambda item: _ORDER.index(item[0]) if item[0] in _ORDER else len(_ORDER))


def moves_on(status: int, *, is_silent: bool) -> bool:
    """Whether another way to the same party is worth trying: this one failed, and nobody decided about the call.

    401 and 407 are between us and a carrier whose challenge our credentials don't fit; all else of 4xx and 6xx is a decision.
    """
    return is_silent or status in (401, 407, 408) or 500 <= status < 600


def is_final(status: int) -> bool:
    """Whether one device's refusal speaks for the agent: 6xx ends the search (RFC 3261 section 16.7, step 5)."""
    return status >= 600


WORDS: Final[dict[Refusal, str]] = {
    Refusal.SRTP_REQUIRED: REFUSALS["srtp-required"].words,
    Refusal.SRTP_NOT_ALLOWED: REFUSALS["srtp-not-allowed"].words,
    Refusal.NO_COMMON_CRYPTO: REFUSALS["no-common-crypto"].words,
    Refusal.NO_FINGERPRINT: REFUSALS["no-fingerprint"].words,
    Refusal.NO_COMMON_CODEC: REFUSALS["no-common-codec"].words,
    Refusal.NO_AUDIO: REFUSALS["no-audio"].words,
}

ENDED_BY: Final[dict[EndReason, str]] = {
    reason: header(reason.value)
    for reason in (
        EndReason.HANGUP,
        EndReason.ANSWERED_ELSEWHERE,
        EndReason.SUSPENDED,
        EndReason.RULES_CHANGED,
        EndReason.CREDENTIAL_LOCKED,
        EndReason.LIMIT_REACHED,
        EndReason.MEDIA_LOST,
        EndReason.MEDIA_FAILED,
        EndReason.MEDIA_TIMEOUT,
        EndReason.NOT_PROTECTED,
        EndReason.NO_RECORDING,
        EndReason.SHUTDOWN,
        EndReason.NO_ACK,
        EndReason.NO_COMMON_MEDIA,
        EndReason.NOT_ALLOWED,
        EndReason.JOINED_ENDED,
        EndReason.MESSAGE_LEFT,
        EndReason.MAILBOX_LEFT,
        EndReason.TRANSFERRED,
        EndReason.INTERNAL_ERROR,
    )
}
"""What a party is told where we end its call."""
