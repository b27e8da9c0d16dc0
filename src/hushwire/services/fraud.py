"""The fraud breaker of a gateway: each attempt to leave the house is counted and judged, and what is too much has its consequences.

Nothing here waits: counters and limits are in memory (`fraud_counts`, the directory), what is to be written is handed on
(`fraud_sharing`). So a credential is locked, and its calls are cut, in the very moment in which an attempt shows it to be stolen, also
while the database is away; the row and the other gateways follow. An emergency call is neither counted nor refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.model import EndReason
from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, CallId, OrgId, TrunkId
from hushwire.core.values import replace
from hushwire.policy.breaker import Action, Facts, Finding, Level, Signal, judge, locks, refuses, used_up
from hushwire.policy.breaker_counters import SHORT_S, tail_and_head
from hushwire.policy.model import Allow, Deny, Malformed, Reason, Verdict
from hushwire.policy.rating import RateTable
from hushwire.services.directory import Directory
from hushwire.services.fraud_calls import Meter, metered, paid_parties
from hushwire.services.fraud_counts import DayUse, Fact, FraudCounts, Kind, OrgCounts, day_of
from hushwire.services.live import LiveCall
from hushwire.services.phone_numbers import REMOTE
from hushwire.services.sharing import Seen, Sharing
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.verdicts import denied
from hushwire.store.fraud import EVERYTHING
from hushwire.store.ids import new_id

_MARK: Final = "fraud.mark"
_MARK_BYTES: Final = 8
COUNT_AGAIN_S: Final = 0.05
"""The exact number of calls is told from the calls themselves, at most so often."""
SEEN_S: Final = 600.0
"""So long the place that a credential was used from is remembered."""
MOST_UNWRITTEN: Final = 20_000
"""Facts of one organisation that wait for a database that is away; they say nothing any more after an hour."""
_MOST_PLACES: Final = 8
_MOST_WATCHED: Final = 20_000
_log = structlog.get_logger(__name__)

_REASONS: Final[Mapping[Signal, Reason]] = {
    Signal.CONCURRENT: Reason.CONCURRENT_CALLS,
    Signal.ATTEMPTS: Reason.ATTEMPTS,
    Signal.MINUTES: Reason.MINUTES,
    Signal.SPEND: Reason.SPEND,
    Signal.DESTINATIONS: Reason.DESTINATIONS,
}


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm as it is raised. `locks`: the credential that is locked for it, `EVERYTHING` where none was shown; None: nothing is."""

    id: UUID
    org_id: OrgId
    agent_id: AgentId
    subject_id: UUID
    credential_id: UUID | None
    finding: Finding
    at: float
    times: int = 1
    locks: UUID | None = None

    @property
    def mints(self) -> bool:
        """Whether another credential is made with the lock. Where none was shown there is none to make another one for."""
        return self.finding.action is Action.REPLACE and self.locks not in (None, EVERYTHING)


@dataclass(slots=True)
class Unwritten:
    """What one organisation's calls made that no row says yet."""

    facts: list[Fact] = field(default_factory=list)
    days: dict[tuple[AgentId, date, str], DayUse] = field(default_factory=dict)
    habits: list[tuple[AgentId, str, str]] = field(default_factory=list)

    def use(self, use: DayUse) -> None:
        """Add to what a day has used."""
        known = self.days.get((use.agent_id, use.day, use.currency))
        if known is not None:
            use = replace(use, talk_ms=use.talk_ms + known.talk_ms, spent_micros=use.spent_micros + known.spent_micros)
        self.days[use.agent_id, use.day, use.currency] = use


@dataclass(slots=True)
class _Watched:
    """Where a credential was used from lately."""

    places: dict[str, tuple[Seen, float]] = field(default_factory=dict)
    shared_at: float = float("-inf")


class Breaker:
    """One gateway's. `coming_and_there` gives its calls that are not over; `hang_up` ends one; `write_alarm` has an alarm written."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        random: Random,
        coming_and_there: Callable[[], Iterable[LiveCall]],
        hang_up: Callable[[LiveCall, EndReason], None],
        write_alarm: Callable[[Raised], None],
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._random = random
        self._coming_and_there = coming_and_there
        self._hang_up = hang_up
        self.write_alarm = write_alarm
        self.counts = FraudCounts()
        self.rates: Mapping[TrunkId, RateTable] = {}
        self.unwritten: dict[OrgId, Unwritten] = {}
        self.elsewhere: Callable[[], Mapping[AgentId, int]] = dict
        """How many outside calls other gateways have, by whose account they are on."""
        self._meters: dict[CallId, list[Meter]] = {}
        self._counted_at = float("-inf")
        self._watched: dict[UUID, _Watched] = {}
        self._sharing = Sharing(_MOST_PLACES)
        self._raised: dict[tuple[UUID, Signal, UUID | None], tuple[Raised, float]] = {}
        self._told = {"fraud_alarms": 0, "fraud_refused": 0, "fraud_locks": 0, "fraud_calls_cut": 0}

    def told(self) -> dict[str, int]:
        """Counts for metrics, since the start."""
        return dict(self._told)

    # What calls ask.

    def admit(
        self, org: Organisation, agent: Agent, verdict: Verdict, dialled: str, credential_id: UUID | None = None, host: str | None = None
    ) -> Verdict:
        """The verdict on a real attempt, with what was done before in view: an Allow may become a Deny, everything else stays as it is.

        `dialled` is what was asked for, as it came; `credential_id` is what the asking device showed and `host` where it is; None where
        no device asked, such as for a call that is forwarded.
        """
        if not isinstance(verdict, Allow | Deny | Malformed):
            return verdict
        now = self._clock.now().timestamp()
        counts, team_id = self.counts.of(org.id), org.team_of(agent)
        is_allowed = isinstance(verdict, Allow)
        fact = self._fact(org, agent, verdict, dialled, now, "out" if is_allowed else "refused")
        self._note(org.id, counts, fact, team_id)
        country = verdict.country if isinstance(verdict, Allow) else None
        is_elsewhere = credential_id is not None and host is not None and self._is_in_two_places(credential_id, host, now)
        hour = datetime.fromtimestamp(now, UTC).hour
        facts = Facts(now, is_allowed, country, hour, is_elsewhere, fact.tail or b"")
        found = self._judge(org, agent, facts)
        if any(one.signal is Signal.CONCURRENT for one in found) and self._count_calls():
            found = self._judge(org, agent, facts)
        refused: Finding | None = None
        for finding in found:
            self._act(org, agent, finding, credential_id, now)
            refused = refused or (finding if refuses(finding.action) else None)
        if isinstance(verdict, Allow) and self._directory.is_locked(agent.id, EVERYTHING):
            self._told["fraud_refused"] += 1
            return denied(verdict, Reason.FRAUD_SUSPECTED)
        if isinstance(verdict, Allow) and refused is not None:
            self._told["fraud_refused"] += 1
            return denied(verdict, Reason.FRAUD_SUSPECTED if locks(refused.action) else _reason(refused))
        if is_allowed:
            for usage in counts.usages(agent.id, team_id):
                usage.calls_out += 1
        return verdict

    def _judge(self, org: Organisation, agent: Agent, facts: Facts) -> list[Finding]:
        counts, team_id = self.counts.of(org.id), org.team_of(agent)
        return judge(org.limits, agent.id, team_id, counts.agent(agent.id), counts.team(team_id), counts.usage, facts)

    def _fact(self, org: Organisation, agent: Agent, verdict: Allow | Deny | Malformed, dialled: str, now: float, kind: Kind) -> Fact:
        spelling = tail_and_head(dialled.partition("@")[0])
        number = None if isinstance(verdict, Malformed) else verdict.number
        tail = head = None
        if spelling is not None:
            tail, head = org.keys.index(_MARK, spelling[0])[:_MARK_BYTES], org.keys.index(_MARK, spelling[1])[:_MARK_BYTES]
        if number is None:
            # What can't be read as a number may be no text either.
            destination = org.keys.index(_MARK, dialled[:256].encode("utf-8", "backslashreplace").decode())
        else:
            destination = org.keys.index(REMOTE, number)
        return Fact(self._new_id(now), agent.id, now, kind, destination, tail, head)

    def _note(self, org_id: OrgId, counts: OrgCounts, fact: Fact, team_id: UUID | None) -> None:
        if counts.take(fact, team_id):
            facts = self._unwritten(org_id).facts
            facts.append(fact)
            if len(facts) > MOST_UNWRITTEN:
                del facts[: MOST_UNWRITTEN // 2]

    def _unwritten(self, org_id: OrgId) -> Unwritten:
        known = self.unwritten.get(org_id)
        if known is None:
            known = self.unwritten[org_id] = Unwritten()
        return known

    # Where credentials are used.

    def shared(self, agent_id: AgentId, credential_id: UUID) -> None:
        """A credential was seen to be registered in two places."""
        agent = self._directory.agent(agent_id)
        org = None if agent is None else self._directory.organisation(agent.org_id)
        if agent is None or org is None:
            return
        now = self._clock.now().timestamp()
        self._watch(credential_id).shared_at = now
        facts = Facts(now, is_going_out=False, is_in_two_networks=True)
        for finding in self._judge(org, agent, facts):
            if finding.signal in (Signal.NETWORKS, Signal.SUSPICION):
                self._act(org, agent, finding, credential_id, now)

    def _watch(self, credential_id: UUID) -> _Watched:
        watched = self._watched.pop(credential_id, None) or _Watched()
        self._watched[credential_id] = watched
        if len(self._watched) > _MOST_WATCHED:
            over = next(iter(self._watched))
            del self._watched[over]
            self._sharing.forget(over)
        return watched

    def _is_in_two_places(self, credential_id: UUID, host: str, now: float) -> bool:
        """Whether calls come by one credential from two places by turns: a phone that moved does not come back within minutes."""
        watched = self._watch(credential_id)
        seen = Seen(None, host, host)
        place = seen.place or host
        watched.places = {name: one for name, one in watched.places.items() if now - one[1] < SEEN_S}
        watched.places[place] = (seen, now)
        if len(watched.places) > _MOST_PLACES:
            del watched.places[next(iter(watched.places))]
        if self._sharing.look(credential_id, [one for one, _ in watched.places.values()], seen) is not None:
            watched.shared_at = now
        return now - watched.shared_at < SEEN_S

    # What follows.

    def _act(self, org: Organisation, agent: Agent, finding: Finding, credential_id: UUID | None, now: float) -> None:
        subject = {Level.AGENT: agent.id, Level.ORGANISATION: org.id}.get(finding.level) or org.team_of(agent) or agent.id
        locked: UUID | None = None
        if locks(finding.action):
            locked = EVERYTHING if credential_id is None or finding.level is not Level.AGENT else credential_id
        key = (subject, finding.signal, credential_id)
        known = self._raised.get(key)
        is_new_lock = locked is not None and not self._directory.is_locked(agent.id, locked)
        if known is not None and not is_new_lock and int(known[0].at // 3600) == int(now // 3600):
            self._raised[key] = (replace(known[0], times=known[0].times + 1, finding=finding), now)
        else:
            raised = Raised(self._new_id(now), org.id, agent.id, subject, credential_id, finding, now, locks=locked)
            self._raised[key] = (replace(raised, times=0), now)
            self._tell(raised)
            if locked is not None and is_new_lock:
                self._told["fraud_locks"] += 1
                self._directory.lock(agent.id, locked)
            self.write_alarm(raised)
        if is_new_lock:
            self.cut_locked()
        elif finding.action is Action.CUT:
            self._cut(org.id, agent, finding)

    def _tell(self, raised: Raised) -> None:
        self._told["fraud_alarms"] += 1
        _log.warning(
            "fraud.alarm",
            alarm=str(raised.id),
            org_id=str(raised.org_id),
            agent=str(raised.agent_id),
            level=raised.finding.level.value,
            signal=raised.finding.signal.value,
            action=raised.finding.action.value,
        )

    def again(self) -> list[Raised]:
        """Alarms that went on since they were written last, with how often; those of past hours are forgotten."""
        now = self._clock.now().timestamp()
        found = []
        for key, (raised, at) in list(self._raised.items()):
            if raised.times:
                found.append(raised)
                self._raised[key] = (replace(raised, times=0), at)
            elif now - at > 3600:
                del self._raised[key]
        return found

    def cut_locked(self) -> None:
        """End the calls that a locked credential is in, and outside calls of whose wish nothing may leave any more."""
        for live in list(self._coming_and_there()):
            if not live.is_ended and self.is_locked(live):
                _log.info("call.cut", call_id=str(live.id), why="locked")
                self._told["fraud_calls_cut"] += 1
                self._hang_up(live, EndReason.CREDENTIAL_LOCKED)

    def is_locked(self, live: LiveCall) -> bool:
        """Whether a call is one that a lock ends. An emergency call never is."""
        if not self._directory.has_locks or live.is_emergency:
            return False
        if any(self._directory.is_locked(agent_id, device_id) for agent_id, device_id in live.credentials()):
            return True
        return any(self._directory.is_locked(paid.agent_id, EVERYTHING) for paid in paid_parties(live.route))

    def _cut(self, org_id: OrgId, agent: Agent, finding: Finding) -> None:
        """End what is out on the account of whom the finding concerns."""
        for live in list(self._coming_and_there()):
            if live.is_ended or live.is_emergency or live.route.org.id != org_id:
                continue
            if any(self._is_concerned(paid.agent_id, agent, finding.level) for paid in paid_parties(live.route)):
                _log.info("call.cut", call_id=str(live.id), why=finding.signal.value)
                self._told["fraud_calls_cut"] += 1
                self._hang_up(live, EndReason.LIMIT_REACHED)

    def _is_concerned(self, payer_id: AgentId, agent: Agent, level: Level) -> bool:
        if level is Level.ORGANISATION:
            return True
        if level is Level.AGENT:
            return payer_id == agent.id
        team_id = self._directory.team_of(agent.id)
        return team_id is not None and self._directory.team_of(payer_id) == team_id

    # Time that passes.

    def meter(self) -> None:
        """Count the talking time of calls that are out, and end those whose budget is used up. Called every few seconds."""
        self._count_calls(at_once=True)
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        payers: dict[OrgId, set[AgentId]] = {}
        for live in list(self._coming_and_there()):
            if live.answered is None or live.is_ended or live.is_emergency:
                continue
            self._advance(live, now, wall)
            for paid in paid_parties(live.route):
                payers.setdefault(live.route.org.id, set()).add(paid.agent_id)
        for org_id, agent_ids in payers.items():
            self._check_budgets(org_id, agent_ids, wall)

    def ended(self, live: LiveCall) -> None:
        """A call is over: its last seconds count, and what it says of its agent's habits, or against it."""
        if not live.is_emergency:
            for paid in paid_parties(live.route):
                payer = self._directory.agent(paid.agent_id)
                team_id = self._directory.team_of(paid.agent_id)
                for usage in () if payer is None else self.counts.of(live.route.org.id).usages(payer.id, team_id):
                    usage.calls_out = max(0, usage.calls_out - 1)
        if live.answered is None or live.is_emergency:
            self._meters.pop(live.id, None)
            return
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        self._advance(live, now, wall)
        meters = self._meters.pop(live.id, None)
        if not meters:
            return
        paid, seconds = meters[0].paid, meters[0].seconds
        agent, org_id = self._directory.agent(paid.agent_id), live.route.org.id
        if agent is None:
            return
        if seconds < SHORT_S:
            short = Fact(self._new_id(wall), agent.id, wall, "short")
            self._note(org_id, self.counts.of(org_id), short, self._directory.team_of(agent.id))
            return
        hour = live.started_at.astimezone(UTC).hour
        self.counts.of(org_id).agent(agent.id).habits.learn(paid.country, hour)
        seen = [(agent.id, "hour", str(hour)), (agent.id, "all", "")]
        if paid.country is not None:
            seen.append((agent.id, "country", paid.country))
        self._unwritten(org_id).habits += seen

    def _advance(self, live: LiveCall, now: float, wall: float) -> None:
        meters = self._meters.setdefault(live.id, [])
        before = list(meters)
        metered(live, meters, self.rates, now)
        # Of a party that left meanwhile what was counted stays.
        for meter in meters:
            seconds, micros = meter.advance(now)
            if seconds or micros:
                self._use(live.route.org.id, meter, seconds, micros, wall)
        if not meters and not before:
            del self._meters[live.id]

    def _use(self, org_id: OrgId, meter: Meter, seconds: float, micros: int, wall: float) -> None:
        agent = self._directory.agent(meter.paid.agent_id)
        if agent is None:
            return
        for usage in self.counts.of(org_id).usages(agent.id, self._directory.team_of(agent.id)):
            usage.use(wall, seconds, meter.currency, micros)
        use = DayUse(agent.id, day_of(wall), meter.currency, round(seconds * 1000), micros)
        self._unwritten(org_id).use(use)

    def _check_budgets(self, org_id: OrgId, agent_ids: Iterable[AgentId], wall: float) -> None:
        org = self._directory.organisation(org_id)
        if org is None:
            return
        counts = self.counts.of(org_id)
        of_org = used_up(Level.ORGANISATION, org.limits.organisation, counts.usage, wall)
        for agent_id in agent_ids:
            agent, team_id = self._directory.agent(agent_id), self._directory.team_of(agent_id)
            if agent is None:
                continue
            found = of_org + used_up(Level.AGENT, org.limits.of_agent(agent_id), counts.agent(agent_id).usage, wall)
            team = counts.team(team_id)
            if team is not None and team_id is not None:
                found += used_up(Level.TEAM, org.limits.of_team(team_id), team, wall)
            for finding in found:
                if finding.action is Action.CUT or locks(finding.action):
                    self._act(org, agent, finding, None, wall)

    def _count_calls(self, *, at_once: bool = False) -> bool:
        """Put what is out now in place of what was reckoned; whether that was done."""
        now = self._clock.monotonic()
        if not at_once and now - self._counted_at < COUNT_AGAIN_S:
            return False
        self._counted_at = now
        for _, counts in self.counts.known():
            for usage in (counts.usage, *counts.teams.values(), *(agent.usage for agent in counts.agents.values())):
                usage.calls_out = 0
        for out in (self.out_here(), self.elsewhere()):
            for agent_id, count in out.items():
                agent = self._directory.agent(agent_id)
                if agent is not None:
                    for usage in self.counts.of(agent.org_id).usages(agent_id, self._directory.team_of(agent_id)):
                        usage.calls_out += count
        return True

    def recount(self) -> None:
        """Put what is out now in place of what was reckoned."""
        self._count_calls(at_once=True)

    def out_here(self) -> dict[AgentId, int]:
        """Outside calls of this gateway by whose account they are on: what the others are told."""
        out: dict[AgentId, int] = {}
        for live in self._coming_and_there():
            if not live.is_ended and not live.is_emergency:
                for paid in paid_parties(live.route):
                    out[paid.agent_id] = out.get(paid.agent_id, 0) + 1
        return out

    def undone(self, org_id: OrgId) -> None:
        """Something was undone for an organisation: what stands is told by its rows, and what comes is new."""
        self._raised = {key: one for key, one in self._raised.items() if one[0].org_id != org_id}
        for watched in self._watched.values():
            watched.shared_at = float("-inf")

    def _new_id(self, now: float) -> UUID:
        return new_id(int(now * 1000), self._random.token_bytes(10))


def _reason(finding: Finding) -> Reason:
    return _REASONS.get(finding.signal, Reason.FRAUD_SUSPECTED)
