"""Signed caller numbers in calls (STIR/SHAKEN): what comes from a trunk is verified, what goes to one is signed, as each trunk is set.

verify   off   nothing is looked at
         note  the verdict stands in the call's row
         show  and the agent's phones are told (verstat, 3GPP TS 24.229 section 7.2A.20)
"""

import re
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final

import structlog

from hushwire.calls.model import Target
from hushwire.services.caller_attestation import CallerAttestation
from hushwire.services.caller_verification import CallerVerification
from hushwire.services.live import LiveCall
from hushwire.services.trunk import Trunk
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.passport import Attestation
from hushwire.sip.shaken import Standing, Verdict
from hushwire.sip.uri import NameAddr, SipUri, TelUri, parse_name_addr

_GLOBAL: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)
_VERSTAT: Final = {Standing.FAILED: "TN-Validation-Failed", Standing.UNVERIFIED: "No-TN-Validation"}
_PASSED: Final = {
    Attestation.FULL: "TN-Validation-Passed",
    Attestation.PARTIAL: "TN-Validation-Passed-B",
    Attestation.GATEWAY: "TN-Validation-Passed-C",
}
_ASSERTED: Final = "P-Asserted-Identity"
log = structlog.get_logger(__name__)


class Shaken:
    """Both directions. Without `attestation` nothing is signed, without `verification` nothing verified."""

    def __init__(self, verification: CallerVerification | None = None, attestation: CallerAttestation | None = None) -> None:
        self._verification = verification
        self._attestation = attestation
        self._verdicts: Counter[Standing] = Counter()

    def told(self) -> dict[str, int]:
        """For the metrics: how many callers there were with each verdict, since the start."""
        return {f"callers_{standing.value}": count for standing, count in self._verdicts.items()}

    def begin(self, live: LiveCall) -> Coroutine[Any, Any, None] | None:
        """Verify who calls from a trunk: done at once where nothing is returned, else once that was awaited (bounded)."""
        trunk, request, local = live.route.trunk, live.invite, live.route.local
        if trunk is None or request is None or local is None or trunk.verify == "off" or self._verification is None:
            return None
        # Who is hidden from the agent is signed for all the same.
        number = live.route.withheld or live.route.remote
        shown = None if number is None else number.reveal()
        caller = shown if shown is not None and _GLOBAL.fullmatch(shown) else None
        found = self._verification.begin(request, caller, local.reveal(), _meant(request))
        if isinstance(found, Verdict):
            self._note(live, found)
            return None
        return self._awaited(live, found)

    async def _awaited(self, live: LiveCall, coming: Coroutine[Any, Any, Verdict]) -> None:
        self._note(live, await coming)

    def _note(self, live: LiveCall, verdict: Verdict) -> None:
        live.verification = verdict
        self._verdicts[verdict.standing] += 1
        log.debug("call.caller_verified", verdict=verdict.standing.value, reason=verdict.reason)

    def headers(self, live: LiveCall, branch: int) -> tuple[Line, ...]:
        """The headers of the INVITE to one of a call's targets: as planned, signed where it leaves, with the verdict where it comes in."""
        target = live.route.plan.targets[branch]
        out = live.route.trunks[branch] if branch < len(live.route.trunks) else None
        if out is not None:
            return self._signed(live, branch, out, target)
        verdict, trunk, number = live.verification, live.route.trunk, live.route.remote
        if verdict is None or trunk is None or trunk.verify != "show" or number is None:
            return target.headers
        return _told(target, verdict, number.reveal())

    def _signed(self, live: LiveCall, branch: int, trunk: Trunk, target: Target) -> tuple[Line, ...]:
        if not trunk.signs:
            return target.headers
        if self._attestation is None:
            log.warning("trunk.can_not_sign", trunk=trunk.name, mend="set [shaken] key and certificate_url")
            return target.headers
        made = self._attestation.sign(trunk, target, live.route.org.id, live.route.plan.direction)
        if made is None:
            return target.headers
        line, attestation = made
        if live.attempts and live.attempts[-1].branch == branch:
            live.attempts[-1].attestation = attestation.value
        return (*target.headers, line)


def _meant(request: Request) -> str | None:
    """Whom the call was meant for before anybody sent it elsewhere, by To."""
    try:
        uri = request.to.uri
        text = uri.user_unescaped if isinstance(uri, SipUri) else uri.digits if isinstance(uri, TelUri) else None
    except ParseError:
        return None
    number = f"+{(text or '').removeprefix('+')}"
    return number if _GLOBAL.fullmatch(number) else None


def _told(target: Target, verdict: Verdict, number: str) -> tuple[Line, ...]:
    """With the verdict beside the number that it is about; nothing where another one is shown, or none (masked and hidden callers)."""
    word = _PASSED.get(verdict.attestation) if verdict.attestation is not None else None
    word = word or _VERSTAT[Standing.UNVERIFIED if verdict.standing is Standing.PASSED else verdict.standing]
    asserted = [value for name, value in target.headers if name.lower() == _ASSERTED.lower()]
    lines = [line for line in target.headers if line[0].lower() != _ASSERTED.lower()]
    for value in asserted or [f"<{target.from_.uri}>"]:
        try:
            told = _with_verstat(parse_name_addr(value), word, number)
        except ParseError:
            told = None
        if told is not None:
            lines.append((_ASSERTED, str(told)))
        elif asserted:
            lines.append((_ASSERTED, value))
    return tuple(lines)


def _with_verstat(name: NameAddr, word: str, number: str) -> NameAddr | None:
    """A tel URI's parameter; in a SIP URI it stands in the user part, as all of a number's parameters do (RFC 3261 section 19.1.6)."""
    uri = name.uri
    if isinstance(uri, TelUri):
        return None if uri.digits != number else replace(name, uri=replace(uri, params=(*uri.params, ("verstat", word))))
    if not isinstance(uri, SipUri) or uri.user_unescaped != number or not _GLOBAL.fullmatch(number):
        return None
    params = (*(pair for pair in uri.params if pair[0] != "user"), ("user", "phone"))
    return replace(name, uri=replace(uri, user=f"{uri.user};verstat={word}", params=params))
