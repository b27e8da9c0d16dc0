"""Whether the number that a carrier shows is vouched for: a verdict at once where the signer is known, else after a short, bounded wait."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from hushwire.core.clock import Clock
from hushwire.services.signing_certificates import Known, SigningCertificates
from hushwire.sip import shaken
from hushwire.sip.message import Request
from hushwire.sip.passport import Token
from hushwire.sip.shaken import FRESH_S, Standing, Statement, Verdict
from hushwire.sip.sti_certificate import Fault, Signer
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

    def begin(self, request: Request, caller: str | None, called: str, meant: str | None = None) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The verdict on an INVITE, or what has to be awaited for it. Numbers are canonical +E.164; `caller` None where none is shown."""
        statement = shaken.read(request.headers)
        if isinstance(statement, Verdict):
            return statement
        chain = shaken.about(statement, caller, called, meant, self._clock.now().timestamp(), self._fresh_s)
        if isinstance(chain, Verdict):
            return chain
        if not self._certificates.has_roots:
            return shaken.unverified("no-authorities")
        signers = [self._certificates.known(one.url) for one in chain]
        if all(signer is not None for signer in signers):
            return self._concluded(chain, signers, request.call_id)
        return self._waited(chain, request.call_id)

    async def _waited(self, chain: Sequence[Statement], call_id: str) -> Verdict:
        coming = [self._certificates.fetch(one.url) for one in chain if self._certificates.known(one.url) is None]
        tasks = [task for task in coming if task is not None]
        if len(tasks) < len(coming):
            return shaken.unverified("busy")
        if tasks:
            await asyncio.wait(tasks, timeout=self._wait_s)
        signers = [self._certificates.known(one.url) for one in chain]
        return self._concluded(chain, signers, call_id)

    def _concluded(self, chain: Sequence[Statement], signers: Sequence[Known | None], call_id: str) -> Verdict:
        found: list[tuple[Token, Signer | Fault]] = []
        for one, signer in zip(chain, signers, strict=True):
            if signer is None:
                return shaken.unverified("late")
            if isinstance(signer, NotFetched):
                return shaken.unverified("certificate-unreachable")
            found.append((one.token, signer))
        verdict = shaken.confirm(found)
        if verdict.standing is Standing.PASSED and self._was_said(chain[0].token, call_id):
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
