"""Which outside calls are out on whose account: for the fraud breaker's counts, and for what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hushwire.calls.model import CallDirection
from hushwire.core.ids import AgentId, TrunkId
from hushwire.core.values import frozen
from hushwire.policy.model import Allow
from hushwire.policy.rating import Rate, RateTable
from hushwire.services.live import LiveCall
from hushwire.services.route import Route


@frozen
class Paid:
    """One party behind a carrier that was called, and on whose account."""

    agent_id: AgentId
    number: str = field(repr=False)
    trunk_id: TrunkId | None
    country: str | None = None


def paid_parties(route: Route) -> list[Paid]:
    """Everybody outside who was called, first who the call was for. An emergency call is on nobody's account."""
    found = []
    if isinstance(route.verdict, Allow):
        is_inbound = route.plan.direction is CallDirection.INBOUND
        trunk = route.out_trunk if is_inbound else route.trunk
        found.append(Paid(_payer(route), route.verdict.number, None if trunk is None else trunk.id, route.verdict.country))
    if route.payers:
        # Who came in later, by the right of somebody who may have left since.
        for number, further in zip(route.others, route.further_trunks, strict=False):
            found.append(Paid(route.payers[0].id, number.reveal(), further.id))
    return found


def _payer(route: Route) -> AgentId:
    if route.leads_out and route.diversions:
        return route.diversions[-1].agent_id
    return route.payers[0].id if route.payers and route.plan.direction is CallDirection.OUTBOUND else route.agent.id


@dataclass(slots=True)
class Meter:
    """How much of one party's time was counted already."""

    paid: Paid
    rate: Rate | None
    since: float
    seconds: float = 0.0
    micros: int = 0

    @property
    def currency(self) -> str:
        """Of its price; empty where its trunk has no rates."""
        return "" if self.rate is None else self.rate.currency

    def advance(self, now: float) -> tuple[float, int]:
        """What came since the last time: seconds, and what they cost in millionths."""
        seconds = max(0.0, now - self.since)
        micros = 0 if self.rate is None else self.rate.cost(seconds)
        more = seconds - self.seconds, micros - self.micros
        self.seconds, self.micros = seconds, micros
        return more


def metered(live: LiveCall, meters: list[Meter], rates: Mapping[TrunkId, RateTable], now: float) -> None:
    """Give each party that was called a meter. The first one's runs from the answer, those who came later from when they are seen."""
    if live.answered is None:
        return
    for position, paid in enumerate(paid_parties(live.route)):
        if position < len(meters) and meters[position].paid == paid:
            continue
        table = None if paid.trunk_id is None else rates.get(paid.trunk_id)
        rate = None if table is None else table.find(paid.number)
        meter = Meter(paid, rate, live.answered if position == 0 and not meters else now)
        meters[position:] = [meter]
