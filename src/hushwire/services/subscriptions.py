"""Subscriptions of agents (RFC 6665): who may watch what, and that each watcher is told what changes, not too often.

Only agents subscribe, proven by digest, and only to agents of their own organisation. Who may not see somebody is answered as if there
was nobody. A subscription ends when its time is over, when a NOTIFY is refused or nobody answers it, when the device that made it is not
registered any more, and when its agent is suspended, its credential revoked, or the right to watch taken away.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import AgentId, OrgId
from hushwire.policy.model import AllowContact, Attempt, Channel
from hushwire.services.addressed import own_user
from hushwire.services.directory import Directory
from hushwire.services.event_packages import AnyPackage, Watched, accepts
from hushwire.services.identity import Authenticator, Known, Unknown
from hushwire.services.kept_subscriptions import KeptWatch, SubscriptionJournal
from hushwire.services.lines import Lines
from hushwire.services.verdicts import Judge
from hushwire.services.watches import Watch, Watches
from hushwire.sip import effects as sip
from hushwire.sip import refusals
from hushwire.sip.effects import SubscriptionId, TxId
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.subscriptions import event_name
from hushwire.sip.uri import SipUri, escape_user
from hushwire.transport.endpoint import SipEndpoint

BATCH: Final = 16
"""So many NOTIFYs are sent in one go, and then calls have their turn: one agent may have hundreds of watchers."""
CHECKED: Final = 64
"""So many are looked at in one go after the directory changed."""
SLICE_S: Final = 0.02
TICK_S: Final = 5.0
PATIENCE_S: Final = 1.0
BindingAt = Callable[[AgentId, UUID, Flow], UUID | None]
"""The binding of an agent that was made with a credential by a flow."""
BindingsOf = Callable[[AgentId], frozenset[UUID]]
Left = Callable[[UUID, Flow], None]
"""A connection of an earlier process, with a subscription on it, that a credential's device had."""


OF_SUBSCRIPTIONS: Final = (sip.SubscriptionRefreshed, sip.NotifyTaken, sip.SubscriptionEnded)
"""The events that `Notifier.take` has to be asked about."""


class Notifier:
    """All subscriptions of one gateway."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        directory: Directory,
        authenticator: Authenticator,
        judge: Judge,
        packages: Iterable[AnyPackage],
        lines: Lines,
        clock: Clock,
        *,
        binding_at: BindingAt,
        bindings_of: BindingsOf,
        left: Left,
        journal: SubscriptionJournal,
        most_per_credential: int = 200,
        most_per_org: int = 10_000,
    ) -> None:
        self._journal = journal
        self._endpoint = endpoint
        self._directory = directory
        self._authenticator = authenticator
        self._judge = judge
        self._packages = {package.name: package for package in packages}
        self._lines = lines
        self._clock = clock
        self._binding_at = binding_at
        self._bindings_of = bindings_of
        self._left = left
        self._most = most_per_credential
        self._most_per_org = most_per_org
        self._watches = Watches()
        self._stale: dict[SubscriptionId, Watch] = {}
        self._unchecked: list[SubscriptionId] = []
        self._next_sweep = float("-inf")
        self._later: list[tuple[float, SubscriptionId]] = []
        self._wake = asyncio.Event()
        self.notified = 0
        """NOTIFYs since the start."""

    # What happens elsewhere.

    def watched(self, *packages: str) -> dict[AgentId, OrgId]:
        """Whom somebody is subscribed to."""
        return {watch.agent_id: watch.org_id for watch in self._watches if watch.package.name in packages}

    def watches(self, binding_id: UUID, agent_id: AgentId, package: str) -> bool:
        """Whether the device of a binding of this agent is itself subscribed to this of the agent."""
        own = self._watches.by(agent_id)
        return any(watch.binding_id == binding_id and watch.agent_id == agent_id and watch.package.name == package for watch in own)

    def changed(self, agent_id: AgentId, *packages: str) -> None:
        """Something that these packages tell of an agent may be otherwise now. Costs nothing where nobody watches."""
        for watch in self._watches.of(agent_id):
            if watch.package.name in packages:
                self._mark(watch)

    def registrations_changed(self, agent_id: AgentId) -> None:
        """Devices of an agent came or went: what a device subscribed to ends with its registration."""
        own = self._watches.by(agent_id)
        if own:
            bindings = self._bindings_of(agent_id)
            for watch in [watch for watch in own if watch.binding_id is not None and watch.binding_id not in bindings]:
                self._end(watch, "timeout")

    def obey_directory(self) -> None:
        """What changed of agents, credentials and rights holds for subscriptions that there are: each is looked at, some at a time.

        Nothing is told meanwhile of what may be told no more: before each NOTIFY it is looked at again.
        """
        self._unchecked = [watch.id for watch in self._watches]
        self._wake.set()

    def flow_closed(self, flow: Flow) -> None:
        """A connection ended: who subscribed over it can't be told before it is back. Its time runs on."""
        for watch in self._watches.at(flow):
            watch.is_away = True

    def moved(self, old: Flow, new: Flow) -> None:
        """A device registered again by another flow, and takes its subscriptions along."""
        for watch in list(self._watches.at(old)):
            self._watches.place(watch, new)
            watch.is_away, watch.is_full_due = False, True
            self._mark(watch)

    def adopt(self, id_: SubscriptionId, kept: KeptWatch) -> None:
        """Go on with a subscription of the process before this one: its subscriber is told all."""
        package = self._packages.get(kept.package)
        held = self._endpoint.subscription(id_)
        if package is None or held is None:
            self._endpoint.notify(id_, is_final=True, reason="deactivated")
            return
        hop = held.dialog.hop
        is_away = hop.transport.is_reliable
        watch = Watch(
            id_, package, kept.org_id, kept.watcher_id, kept.agent_id, kept.credential_id, kept.ends_at, kept.binding_id,
            version=kept.document, flow=hop, is_away=is_away, name=kept.name,
        )  # fmt: skip
        self._watches.put(watch)
        if is_away and kept.binding_id is not None and isinstance(hop, Flow):
            self._left(kept.credential_id, hop)
        if self._obey(watch) is not None:
            self._mark(watch)

    def go(self) -> None:
        """This gateway is about to end for good: who is subscribed here subscribes elsewhere (RFC 6665 section 4.1.3, `deactivated`)."""
        for watch in list(self._watches):
            self._end(watch, "deactivated")

    def told(self) -> dict[str, int]:
        """Counts for metrics."""
        return {"subscriptions": len(self._watches), "notified": self.notified}

    # SUBSCRIBE.

    def request(self, tx: TxId, request: Request, flow: Flow) -> None:
        """Answer a SUBSCRIBE outside any dialog."""
        known = self._authenticator.identify(request, flow)
        if isinstance(known, Unknown):
            self._endpoint.respond(tx, known.status, headers=known.headers)
            return
        package = self._packages.get(event_name(request).package)
        if package is None:
            self._endpoint.respond(tx, 489)
            return
        try:
            if not accepts(request, package.content_type):
                self._endpoint.respond(tx, 406, headers=[("Accept", package.content_type)])
                return
            watched = self._find(known, request)
            contacts = request.contacts
        except ParseError:
            self._endpoint.respond(tx, 400)
            return
        if watched is None or not package.may_watch(watched):
            # One answer for who is not there, who is another organisation's, and who may not be watched.
            self._refuse(tx, 404, "nobody-to-watch")
        elif request.is_contact_star or len(contacts) != 1:
            self._refuse(tx, 400, "one-contact")
        elif not self._is_outside(str(contacts[0].uri), flow, watched):
            self._refuse(tx, 403, "foreign-contact")
        elif self._count(known) >= self._most:
            self._refuse(tx, 503, "too-many-subscriptions", ("Retry-After", "60"))
        elif len(self._watches.within(known.org.id)) >= self._most_per_org:
            self._refuse(tx, 503, "too-many-in-org", ("Retry-After", "60"))
        else:
            self._accept(tx, request, flow, known, package, watched)

    def take(self, event: sip.Event) -> bool:
        """Whether an event of the SIP engine is of one of these subscriptions."""
        match event:
            case sip.SubscriptionRefreshed():
                watch = self._watches.get(event.subscription)
                if watch is not None:
                    self._refreshed(watch, event.expires_s)
            case sip.NotifyTaken():
                watch = self._watches.get(event.subscription)
                if watch is not None:
                    watch.is_busy = False
                    if watch.is_stale:
                        self._queue(watch, watch.next_at)
            case sip.SubscriptionEnded():
                watch = self._watches.get(event.subscription)
                if watch is not None:
                    self._forget(watch)
            case _:
                return False
        return watch is not None

    def _find(self, known: Known, request: Request) -> Watched | None:
        user = own_user(request, known.org)
        line = None if user is None else self._lines.named(known.org, user)
        return None if line is None else Watched(known.org, known.agent, line, self._entity(known.org.slug, line.user))

    def _entity(self, slug: str, username: str) -> str:
        return str(SipUri(f"{slug}.{self._directory.domain}", escape_user(username)))

    def _is_outside(self, contact: str, flow: Flow, watched: Watched) -> bool:
        """Whether a Contact is none of our own or inner addresses: NOTIFYs go by the flow, but a proxy on it follows their Request-URI."""
        verdict = self._judge(Attempt(contact, Channel.REGISTER_CONTACT, peer=flow.remote.host), watched.org.rules)
        return isinstance(verdict, AllowContact)

    def _count(self, known: Known) -> int:
        own = self._watches.by(known.agent.id)
        return sum(1 for watch in own if watch.credential_id == known.credential.id and not watch.is_last)

    def _accept(self, tx: TxId, request: Request, flow: Flow, known: Known, package: AnyPackage, watched: Watched) -> None:
        longest_s, ends_at = package.longest_s, known.credential.expires_at
        if ends_at is not None:
            longest_s = max(1, min(longest_s, int((ends_at - self._clock.now()).total_seconds())))
        is_fetch = request.expires == 0
        # Nobody reads an answer before the journal has what follows from it.
        with self._endpoint.held():
            id_ = self._endpoint.accept_subscription(tx, longest_s=longest_s)
            if id_ is not None:
                self._begin(id_, flow, known, package, watched, ends_at, is_fetch=is_fetch)

    def _begin(
        self,
        id_: SubscriptionId,
        flow: Flow,
        known: Known,
        package: AnyPackage,
        watched: Watched,
        ends_at: datetime | None,
        *,
        is_fetch: bool,
    ) -> None:
        agent_id, credential_id = known.agent.id, known.credential.id
        binding_id = self._binding_at(agent_id, credential_id, flow)
        watch = Watch(id_, package, known.org.id, agent_id, watched.line.id, credential_id, ends_at, binding_id)
        watch.flow = flow
        watch.is_last, watch.patient_until = is_fetch, self._clock.monotonic() + PATIENCE_S
        self._watches.put(watch)
        if not is_fetch:
            self._note(watch)
        self._tell(watch, watched)

    def _refreshed(self, watch: Watch, expires_s: int) -> None:
        watched = self._obey(watch)
        if watched is None:
            return
        watch.is_last = not expires_s
        if watch.is_last:
            self._tell(watch, watched)
            return
        self._note(watch)
        # Who refreshes may have lost what it knew: it is told all.
        watch.is_full_due = True
        self._mark(watch)

    def _note(self, watch: Watch) -> None:
        """Write down what the next process needs to go on with it."""
        held = self._endpoint.subscription(watch.id)
        if held is None:
            return
        self._watches.place(watch, held.dialog.hop)
        watch.is_away = False
        expires_at = self._clock.now() + timedelta(seconds=held.left_s)
        watch.name = self._journal.put(
            KeptWatch(
                watch.package.name, held.event, watch.org_id, watch.watcher_id, watch.agent_id, watch.credential_id, expires_at,
                held.dialog, watch.version, watch.ends_at, watch.binding_id,
            )
        )  # fmt: skip

    def _refuse(self, tx: TxId, status: int, code: str, *more: Line) -> None:
        self._endpoint.respond(tx, status, headers=[*more, ("Reason", refusals.header(code))])

    # Telling.

    async def run(self) -> None:
        """Tell watchers what changed, until cancelled."""
        while True:
            self._wake.clear()
            pause_s = self.tick()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    if pause_s > SLICE_S:
                        await self._wake.wait()
                    await asyncio.sleep(SLICE_S)

    def tick(self) -> float:
        """Send what is due, not more than a batch; the seconds until there may be more to do."""
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            watch = self._watches.get(heapq.heappop(self._later)[1])
            if watch is not None and watch.is_stale:
                self._stale[watch.id] = watch
        for watch in list(self._stale.values())[:BATCH]:
            del self._stale[watch.id]
            if not watch.is_busy:
                self._tell(watch, self._obey(watch))
        self._check()
        if now >= self._next_sweep:
            self._next_sweep = now + TICK_S
            wall = self._clock.now()
            for watch in [watch for watch in self._watches if watch.ends_at is not None and watch.ends_at <= wall]:
                self._end(watch, "rejected")
        if self._stale or self._unchecked:
            return SLICE_S
        return min(TICK_S, max(SLICE_S, self._later[0][0] - now)) if self._later else TICK_S

    def _check(self) -> None:
        """Look at some of those that the directory's change may concern."""
        for _ in range(min(CHECKED, len(self._unchecked))):
            watch = self._watches.get(self._unchecked.pop())
            if watch is not None and self._obey(watch) is not None:
                self._mark(watch)

    def _mark(self, watch: Watch) -> None:
        watch.is_stale = True
        if not watch.is_busy:  # else the answer to the NOTIFY under way brings it up
            self._queue(watch, watch.next_at)

    def _queue(self, watch: Watch, at: float) -> None:
        now = self._clock.monotonic()
        if at <= now:
            self._stale[watch.id] = watch
        elif not now < watch.scheduled_at <= at:
            watch.scheduled_at = at
            heapq.heappush(self._later, (at, watch.id))
        self._wake.set()

    def _tell(self, watch: Watch, watched: Watched | None) -> None:
        """Send the state, if it is news."""
        if watched is None or watch.is_away or watch.id not in self._watches:
            return
        state = watch.package.state(watched)
        if state is None and watch.is_full_due and self._clock.monotonic() < watch.patient_until:
            watch.is_stale = True
            self._queue(watch, watch.patient_until)
            return
        watch.is_stale = False
        if watch.is_last:
            self._end(watch, "timeout", watched)
            return
        if not watch.is_full_due and (state is None or state == watch.told):
            return
        body = b"" if state is None else self._write(watch, watched, state)
        watch.is_busy = True
        watch.next_at = self._clock.monotonic() + watch.package.interval_s
        # A state that was not known is told as soon as it is.
        watch.is_full_due, watch.told = state is None, state
        self.notified += 1
        self._endpoint.notify(watch.id, body=body, content_type=watch.package.content_type if body else "")

    def _write(self, watch: Watch, watched: Watched, state: Any) -> bytes:
        body = watch.package.write(watched, state, None if watch.is_full_due else watch.told, watch.version)
        watch.version += 1
        return body

    # Ends.

    def _obey(self, watch: Watch) -> Watched | None:
        """Who watches whom by what is known now; None where that may not be any more, and the subscription is over."""
        org, directory = self._directory.organisation(watch.org_id), self._directory
        watcher = None if org is None else org.by_id.get(watch.watcher_id)
        if org is None or watcher is None or watcher.is_suspended or directory.is_revoked(watcher.id, watch.credential_id):
            self._end(watch, "rejected")
            return None
        line = self._lines.of(org, watch.agent_id)
        if line is None:
            self._end(watch, "noresource")
            return None
        watched = Watched(org, watcher, line, self._entity(org.slug, line.user))
        if not watch.package.may_watch(watched):
            self._end(watch, "rejected")
            return None
        return watched

    def _end(self, watch: Watch, reason: str, watched: Watched | None = None) -> None:
        """Say the last word: with the state for who asked for it, without for who may see it no more."""
        state = None if watched is None else watch.package.state(watched)
        watch.is_full_due = True
        body = b"" if state is None or watched is None else self._write(watch, watched, state)
        self._forget(watch)
        self.notified += 1
        self._endpoint.notify(watch.id, body=body, content_type=watch.package.content_type if body else "", is_final=True, reason=reason)

    def _forget(self, watch: Watch) -> None:
        self._watches.drop(watch)
        self._stale.pop(watch.id, None)
        if watch.name is not None:
            self._journal.drop(watch.name)
