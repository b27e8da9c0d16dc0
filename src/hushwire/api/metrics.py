"""Counters without content: what was asked how often, how long it took, which gateways live."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector, generate_latest

from hushwire.api.message_link_metrics import MessageLinkCollector
from hushwire.api.quality_metrics import QualityCollector
from hushwire.api.trunk_metrics import TrunkCollector
from hushwire.store.work_states import WorkState

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """A registry of this process's own. Labels are route templates, methods and statuses: a closed set, nothing of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.quality = QualityCollector()
        self.registry.register(self.quality)
        self.trunks = TrunkCollector()
        self.registry.register(self.trunks)
        self.message_links = MessageLinkCollector()
        self.registry.register(self.message_links)
        self._requests = Counter("hushwire_http_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry)
        self._seconds = Histogram(
            "hushwire_http_seconds", "Time to the end of the answer", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self._verdicts = Counter("hushwire_checks", "Destinations checked", ["verdict"], registry=self.registry)
        self._gateways = Gauge("hushwire_gateways", "Gateways that gave a sign of life in the last 30 s", registry=self.registry)
        self._bindings = Gauge("hushwire_bindings", "Devices that are registered now, over all gateways", registry=self.registry)
        self._bans = Gauge("hushwire_bans", "Addresses and networks that the gateways hear nothing of now", registry=self.registry)
        self._banned = Gauge("hushwire_bans_pronounced", "Bans that the gateways pronounced since their start", registry=self.registry)
        self._shared = Gauge(
            "hushwire_shared_credentials", "Alarms of shared credentials that the gateways raised since their start", registry=self.registry
        )
        self._unread = Gauge(
            "hushwire_organisations_unread", "Organisations whose rows a gateway can't read: their older rules hold", registry=self.registry
        )
        self._callers = Gauge(
            "hushwire_callers", "Callers from verified trunks since the gateways' start, by verdict", ["verdict"], registry=self.registry
        )
        self._fraud = Gauge(
            "hushwire_fraud", "What the fraud breakers of the gateways did since their start", ["what"], registry=self.registry
        )
        self._failures = Gauge(
            "hushwire_work_failures",
            "How often a role's standing work broke since its start",
            ["role", "task"],
            registry=self.registry,
        )
        self._broken = Gauge(
            "hushwire_work_broken", "Whether a role's standing work is broken now", ["role", "task"], registry=self.registry
        )
        self._subscriptions = Gauge("hushwire_subscriptions", "Subscriptions of phones, over all gateways", registry=self.registry)
        self._spool_bytes = Gauge("hushwire_spool_bytes", "Sealed recordings on their way to the store", registry=self.registry)
        self._spool_oldest = Gauge("hushwire_spool_oldest_seconds", "How long the oldest of them waits", registry=self.registry)
        self._databases = Gauge("hushwire_database_up", "Whether the database answers", ["database"], registry=self.registry)
        self._overdue = Gauge(
            "hushwire_clocks_overdue", "Duties whose time is over and that are not done", ["kind"], registry=self.registry
        )
        # With a label, so that nothing is said where there is no second zone.
        self._zone2_up = Gauge("hushwire_zone2_up", "Whether the second zone follows", ["database"], registry=self.registry)
        self._zone2_lacks = Gauge(
            "hushwire_zone2_lacks_bytes", "Bytes of the log that the second zone lacks", ["database"], registry=self.registry
        )
        self._unsent = Gauge(
            "hushwire_notices_unsent", "Notices queued for more than 5 minutes and not sent", ["state"], registry=self.registry
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request is over."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def note_verdict(self, verdict: str) -> None:
        """One destination was checked."""
        self._verdicts.labels(verdict).inc()

    def note_spool(self, size: int, oldest_s: float) -> None:
        """So much waits in this machine's spool, the oldest for so long."""
        self._spool_bytes.set(size)
        self._spool_oldest.set(oldest_s)

    def note_gateways(self, count: int) -> None:
        """So many gateways live."""
        self._gateways.set(count)

    def note_registrar(self, told: Iterable[Mapping[str, int]]) -> None:
        """What the gateways that live count."""
        counts = list(told)
        self._bindings.set(sum(one.get("bindings", 0) for one in counts))
        self._subscriptions.set(sum(one.get("subscriptions", 0) for one in counts))
        self._shared.set(sum(one.get("shared_credentials", 0) for one in counts))
        for what in ("alarms", "refused", "locks", "calls_cut"):
            self._fraud.labels(what).set(sum(one.get(f"fraud_{what}", 0) for one in counts))
        self._bans.set(max((one.get("bans", 0) for one in counts), default=0))
        self._unread.set(max((one.get("organisations_unread", 0) for one in counts), default=0))
        for verdict in ("passed", "failed", "unverified"):
            self._callers.labels(verdict).set(sum(one.get(f"callers_{verdict}", 0) for one in counts))
        self._banned.set(sum(one.get("bans_pronounced", 0) for one in counts))

    def note_work(self, told: Iterable[tuple[str, WorkState]]) -> None:
        """What roles say of the work that they keep going, all nodes together."""
        self._failures.clear()
        self._broken.clear()
        for role, state in told:
            self._failures.labels(role, state.task).inc(state.failures)
            self._broken.labels(role, state.task).inc(state.since is not None)

    def note_database(self, name: str, is_up: bool) -> None:
        """Whether `main` or `keyring` answered."""
        self._databases.labels(name).set(1 if is_up else 0)

    def note_overdue(self, kind: str, count: int) -> None:
        """So many clocks of a kind are overdue, of all organisations together."""
        self._overdue.labels(kind).set(count)

    def note_zone2(self, lacks: int | None) -> None:
        """How many bytes the keyring's second zone lacks; None: it does not follow."""
        self._zone2_up.labels("keyring").set(0 if lacks is None else 1)
        if lacks is not None:
            self._zone2_lacks.labels("keyring").set(lacks)

    def note_unsent(self, state: str, count: int) -> None:
        """So many notices wait, of all organisations together."""
        self._unsent.labels(state).set(count)

    def text(self) -> bytes:
        """What a scrape is answered with."""
        return generate_latest(self.registry)
