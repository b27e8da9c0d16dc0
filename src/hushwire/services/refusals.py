"""Every reason for which a call is refused or ends, with its words for headers, ears, rows and programs: one catalogue.

It is put together from the reasons of the rules (`policy.model.Reason`), of the gateway (`sip.refusals`) and of the engine, which answers
by status alone. Whoever shows a refusal reads it here: the Reason header, the spoken sentence, the API and a console say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hushwire.policy.model import SENTENCES, Reason
from hushwire.sip.refusals import REFUSALS, STATUSES, reason_header

_SPOKEN_OTHERWISE: Final = "You are not allowed to call this number."
_SPOKEN: Final[Mapping[Reason, str]] = {
    Reason.COUNTRY: "Calls to this country are not allowed.",
    Reason.INVALID: "This number does not exist.",
    Reason.INCOMPLETE: "This number is not complete.",
    Reason.DO_NOT_CALL: "This number must not be called.",
    Reason.QUIET_HOURS: "This number must not be called at this hour.",
    Reason.CONCURRENT_CALLS: "Too many calls are made at once.",
    Reason.ATTEMPTS: "Too many calls are tried. Please wait a minute.",
    Reason.MINUTES: "The calls of this day are used up.",
    Reason.SPEND: "The calls of this day are used up.",
    Reason.DESTINATIONS: "Too many different numbers were called. Please wait.",
    Reason.FRAUD_SUSPECTED: "Calls are locked. Please ask your administrator.",
    Reason.RECORDING_CONSENT: "This call can not be made, because it would have to be recorded.",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """One reason. `header` is the Reason header's value (RFC 3326), `spoken` what an agent may hear, `problem` its URN (RFC 9457)."""

    code: str
    status: int | None
    words: str
    header: str | None
    spoken: str | None
    problem: str

    @property
    def sentence(self) -> str:
        """The words for people."""
        return f"{self.words}."


def _explained(code: str, status: int | None, words: str, header: str | None, spoken: str | None = None) -> Explained:
    return Explained(code, status, words, header, spoken, f"urn:hushwire:problem:call-{code}")


_RULES: Final = [
    _explained(reason.value, reason.sip_status, SENTENCES[reason], reason.sip_reason, _SPOKEN.get(reason, _SPOKEN_OTHERWISE))
    for reason in Reason
]
_GATEWAY: Final = [
    _explained(one.code, one.status, one.words, None if one.status is None else reason_header(one.status, one.words))
    for one in REFUSALS.values()
]
_ENGINE: Final = [_explained(f"sip-{status}", status, words, None) for status, words in STATUSES.items()]
CATALOGUE: Final[Mapping[str, Explained]] = {one.code: one for one in (*_RULES, *_GATEWAY, *_ENGINE)}


def spoken(reason: str) -> str:
    """What an agent hears who is refused for a reason of the rules."""
    found = CATALOGUE.get(reason)
    return _SPOKEN_OTHERWISE if found is None or found.spoken is None else found.spoken


def explained(verdict_reason: str | None, end_reason: str | None) -> Explained | None:
    """Why a row's call is over: the rules' reason where they refused it, else how it ended. None while it lasts."""
    return CATALOGUE.get(verdict_reason or "") or CATALOGUE.get(end_reason or "")
