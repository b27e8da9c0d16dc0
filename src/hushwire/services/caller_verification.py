"""Whether the number that a carrier shows is vouched for: a verdict at once where the signer is known, else after a short, bounded wait."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from hushwire.core.clock import Clock
from hushwire.services.signing_certificates import Known, SigningCertificates
from hushwire.sip import shaken
from hushwire.sip.message import Request
from hushwire.sip.passport import Token
from hushwire.sip.shaken import FRESH_S, Standing, Verdict
from hushwire.transport.fetching import NotFetched

WAIT_S: Final = 0.5
MOST_REMEMBERED: Final = 100_000


class CallerVerification:
    """Verifies. A call waits at most `wait_s` for a certificate; then it goes on unverified, and the certificate is there for the next."""

    def __init__(self, certificates: SigningCertificates, clock: Clock, wait_s: float = WAIT_S, fresh_s: float = FRESH_S) -> None:
        self._certificates = certificates
        self._clock = clock
        self._wait_s = wait_s
        self._fresh_s = fresh_s
        self._said: dict[bytes, tuple[str, float]] = {}

    def begin(self, request: Request, caller: str | None, called: str) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The verdict on an INVITE, or what has to be awaited for it. Numbers are canonical +E.164; `caller` None where none is shown."""
        statement = shaken.read(request.headers)
        if isinstance(statement, Verdict):
            return statement
        token = statement.token
        against = shaken.contradicts(token.passport, caller, (called,), self._clock.now().timestamp(), self._fresh_s)
        if against is not None:
            return against
        if not self._certificates.has_roots:
            return shaken.unverified("no-authorities")
        signer = self._certificates.known(statement.url)
        if signer is not None:
            return self._concluded(token, signer, request.call_id)
        return self._waited(token, statement.url, request.call_id)

    async def _waited(self, token: Token, url: str, call_id: str) -> Verdict:
        coming = self._certificates.fetch(url)
        if coming is None:
            return shaken.unverified("busy")
        await asyncio.wait({coming}, timeout=self._wait_s)
        if not coming.done() or coming.cancelled():
            return shaken.unverified("late")
        return self._concluded(token, coming.result(), call_id)

    def _concluded(self, token: Token, signer: Known, call_id: str) -> Verdict:
        if isinstance(signer, NotFetched):
            return shaken.unverified("certificate-unreachable")
        verdict = shaken.confirm(token, signer)
        if verdict.standing is Standing.PASSED and self._was_said(token, call_id):
            return shaken.failed("replayed")
        return verdict

    def _was_said(self, token: Token, call_id: str) -> bool:
        """Whether the statement was made for another call before, while it is fresh (RFC 8224 section 12.1).

        Whoever calls twice in a second is signed for twice.
        """
        now = self._clock.monotonic()
        while self._said:
            oldest = next(iter(self._said))
            if self._said[oldest][1] > now and len(self._said) < MOST_REMEMBERED:
                break
            del self._said[oldest]
        mark = token.mark
        known = self._said.get(mark)
        if known is None:
            self._said[mark] = (call_id, now + 2 * self._fresh_s)
        return known is not None and known[0] != call_id
