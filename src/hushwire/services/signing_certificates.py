"""The certificates of those who sign for callers: fetched once, judged, and kept for a while. Who waits for one decides how long."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from cryptography import x509

from hushwire.core.clock import Clock
from hushwire.sip.sti_certificate import NONE_REVOKED, Fault, Revoked, Signer, judge, read_chain
from hushwire.transport.fetching import Fetched, NotFetched

MOST_KEPT: Final = 512
MOST_AT_ONCE: Final = 16
LONGEST_S: Final = 86_400
USUAL_S: Final = 3_600
SHORTEST_S: Final = 60
"""So long a signer is kept at least, whatever its server says: else a server could have us ask for each call."""
FAULTY_S: Final = 300
ABSENT_S: Final = 30
_log = structlog.get_logger(__name__)

Known = Signer | Fault | NotFetched
"""What came of a URL: NotFetched where nothing did."""


class Source(Protocol):
    """Where documents come from."""

    async def get(self, url: str) -> Fetched:
        """The document. Raises NotFetched."""


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: Known
    until: float


class SigningCertificates:
    """Judged against `roots`, which the operator chose. At most MOST_AT_ONCE are fetched at a time, each URL once."""

    def __init__(self, source: Source, roots: Sequence[x509.Certificate], clock: Clock, revoked: Revoked = NONE_REVOKED) -> None:
        self._source = source
        self._roots = tuple(roots)
        self._clock = clock
        self._revoked = revoked
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._coming: dict[str, asyncio.Task[Known]] = {}

    @property
    def has_roots(self) -> bool:
        """Whether anybody is trusted at all."""
        return bool(self._roots)

    def known(self, url: str) -> Known | None:
        """What is known of a URL now; None: it has to be fetched."""
        kept = self._kept.get(url)
        if kept is None or kept.until <= self._clock.monotonic():
            return None
        self._kept.move_to_end(url)
        if isinstance(kept.outcome, Signer) and kept.outcome.until < self._clock.now():
            return Fault.EXPIRED
        return kept.outcome

    def fetch(self, url: str) -> asyncio.Task[Known] | None:
        """Fetch it, or share the fetch that is under way; None where too many are. The task never raises, and needs nobody who waits."""
        task = self._coming.get(url)
        if task is None and len(self._coming) < MOST_AT_ONCE:
            task = self._coming[url] = asyncio.create_task(self._learn(url), name="signing-certificate")
            task.add_done_callback(lambda _: self._coming.pop(url, None))
        return task

    async def close(self) -> None:
        """Fetch no more."""
        tasks = list(self._coming.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn(self, url: str) -> Known:
        outcome: Known
        try:
            fetched = await self._source.get(url)
        except NotFetched as error:
            outcome, kept_s = error, ABSENT_S
            _log.warning("signing_certificate.not_fetched", reason=error.reason)
        else:
            chain = read_chain(fetched.body)
            outcome = chain if isinstance(chain, Fault) else judge(chain, self._roots, self._clock.now(), self._revoked)
            if isinstance(outcome, Fault):
                kept_s = FAULTY_S
                _log.warning("signing_certificate.refused", reason=outcome.value)
            else:
                kept_s = min(LONGEST_S, max(SHORTEST_S, USUAL_S if fetched.max_age_s is None else fetched.max_age_s))
        self._kept[url] = _Kept(outcome, self._clock.monotonic() + kept_s)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return outcome
