"""Two parties that talk: each may offer anew, be replaced by another, and go; ports move, and the media process may be another one."""

from hushwire.calls import effects, events, failures
from hushwire.calls.effects import Effect
from hushwire.calls.ends import End
from hushwire.calls.machine import Machine
from hushwire.calls.model import EndReason, Plan, Side
from hushwire.calls.own_offers import Fate, OwnOffers
from hushwire.calls.reoffer import MOST_RETRIES, Reoffer
from hushwire.calls.states import State
from hushwire.core.clock import Random
from hushwire.sdp.dtls import Fingerprint
from hushwire.sdp.offer_answer import Direction


class Talk(Machine):
    """A call from its answer on."""

    def __init__(self, plan: Plan, random: Random, fingerprint: Fingerprint | None = None) -> None:
        super().__init__(plan, random, fingerprint)
        self._own = OwnOffers()
        self._unrenewed: set[Side] = set()
        self._renewals_tried = 0

    # A party offers anew.

    def _reoffered(self, event: events.Reoffered) -> None:
        here, there = self.end(event.side), self.end(event.side.other)
        if here is None or self._reoffer is not None or self._own.asked is not None:
            # RFC 3261 section 14.2: an exchange is under way already; the party tries again after a random time.
            self._do(effects.RespondReinvite(event.tx, 491))
            return
        self._reoffer = exchange = Reoffer(event.side, event.tx, here, there, holds_with_music=self.plan.holds_with_music)
        self._carry_on(exchange, exchange.begin(event.body))

    def _reanswered(self, event: events.Reanswered) -> None:
        if event.side is self._own.asked:
            self._moved(event)
            return
        exchange = self._reoffer
        if exchange is None or event.side is not exchange.side.other:
            return
        if event.status in (408, 481):
            # RFC 3261 section 12.2.1.2: the dialog is gone over there.
            if exchange.tx_open:
                self._do(effects.RespondReinvite(exchange.tx, 481))
            self._reoffer = None
            self._hang_up(exchange.side.other, self._bye(event.side))
            return
        self._carry_on(exchange, exchange.reanswered(event.status, event.body, event.retry_after_s))

    def _retry_due(self, event: events.RetryDue) -> None:
        exchange = self._reoffer
        if exchange is not None and self._own.asked is None and event.side is exchange.side.other:
            self._carry_on(exchange, exchange.retry())
        else:
            self._move_next()

    def _acknowledged(self, event: events.Acknowledged) -> None:
        exchange = self._reoffer
        if exchange is not None and exchange.awaits_ack and event.side is exchange.side:
            self._carry_on(exchange, exchange.acknowledged(event.body))
        self._move_next()

    def _carry_on(self, exchange: Reoffer, steps: list[Effect]) -> None:
        self._do(*steps)
        if exchange.is_done:
            self._reoffer = None
            self._move_next()
        if exchange.has_changed:
            exchange.has_changed = False
            ends = self._ends()
            # Media is set before the answer goes out: whoever reads it may send at once.
            self._effects.insert(0, self._statements(*ends))
            self._do(effects.FormatChanged())

    # A leg's ports move, or a session is refreshed: what is agreed is offered again.

    def _ports_moved(self, event: events.PortsMoved) -> None:
        self._ports[event.leg] = event.ports
        for side in Side:
            end = self.end(side)
            if end is not None and end.terms.leg == event.leg:
                end.move(event.ports)
                self._own.owe(side)
        if self.state is State.ACTIVE:
            self._move_next()

    def is_owed(self, side: Side) -> bool:
        """Whether a party has yet to agree to an offer of ours."""
        return side in self._own.owed

    def _refresh_due(self, event: events.RefreshDue) -> None:
        """What is agreed is offered again as it is."""
        self._own.owe(event.side)
        self._move_next()

    def _move_next(self) -> None:
        if self._reoffer is None:
            self._do(*self._own.next(self.end))

    def _moved(self, event: events.Reanswered) -> None:
        """The answer to an offer of our own."""
        fate, end = self._own.answered(event.side, event.status, event.retry_after_s), self.end(event.side)
        if fate is Fate.GONE:
            self._hang_up(event.side, self._bye(event.side))
        elif fate is Fate.AGAIN and event.retry_after_s is not None:
            self._do(effects.ArmRetry(event.side, event.retry_after_s))
        elif fate in (Fate.TAKEN, Fate.RESUMED):
            if 200 <= event.status < 300 and end is not None and end.take_answer(event.body) is None:
                self._set_legs(*self._ends())
                self._do(effects.FormatChanged())
                if fate is Fate.RESUMED:
                    self._pass_hold_on(event.side, end)
            self._move_next()

    def _pass_hold_on(self, side: Side, end: End) -> None:
        """Who holds goes on holding, whoever it talks with now; where that is not answered by music the other party is told."""
        there = self.end(side.other)
        if there is None or end.agreed is None or not end.agreed.is_held or self.plan.holds_with_music or self._reoffer is not None:
            return
        self._reoffer = exchange = Reoffer.begun_by_us(side, end, there)
        self._carry_on(exchange, exchange.pass_on())

    # A party's place is taken.

    def _replaced(self, event: events.Replaced) -> None:
        """A party goes, another comes; the one that stays notices no more than whom it hears."""
        if self._end_of(event.side) is None or self._end_of(event.side.other) is None:
            return
        self._leave_exchange(event.side)
        self._do(effects.Succeed(event.side, failures.ENDED_BY[EndReason.TRANSFERRED]))  # before anything is said in the new dialog
        self._aside, self.state = None, State.ACTIVE
        if event.side is Side.CALLER:
            self._caller = event.end
        elif self.winner is not None:
            self._branches[self.winner].end = event.end
        self._set_legs(*self._ends())
        for side in Side:
            end = self.end(side)
            if end is None or end.agreed is None:
                continue
            is_held = end.agreed.direction is not Direction.SENDRECV  # by who is gone; where it holds itself its answer says so again
            if is_held or self._own.resumes(side) or side in event.told:
                self._own.owe(side, resumes=is_held)
        self._do(effects.FormatChanged())
        self._move_next()

    def _stood_aside(self, event: events.StoodAside) -> None:
        if self.end(event.side) is None or self.end(event.side.other) is None:
            self._hang_up(event.side, self._bye(event.side))
            return
        self._leave_exchange(event.side)
        if not event.is_gone:
            self._do(effects.SendBye(event.side, failures.ENDED_BY[EndReason.TRANSFERRED]))
        self._aside, self.state = event.side, State.WAITING
        self._set_legs(*self._ends())

    def _yielded(self, event: events.Yielded) -> None:
        self._leave_exchange(event.side.other)
        if self.end(event.side.other) is not None:
            self._do(effects.SendBye(event.side.other, failures.ENDED_BY[EndReason.TRANSFERRED]))
        self._end(EndReason.TRANSFERRED, None)

    def _leave_exchange(self, gone: Side) -> None:
        """What is under way between the parties is begun anew by whoever wants it; in the dialog that ends it is over (section 15.1.2)."""
        if self._reoffer is not None and self._reoffer.tx_open:
            self._do(effects.RespondReinvite(self._reoffer.tx, 487 if self._reoffer.side is gone else 491))
        self._reoffer = None
        self._own.forget(gone)

    # The media process died: another bridge, then a re-INVITE to each party.

    def _lost(self, _event: events.MediaLost) -> None:
        """The bridge is gone; the dialogs are not. What was under way between the parties is begun anew by whoever wants it."""
        if self._reoffer is not None and self._reoffer.tx_open:
            self._do(effects.RespondReinvite(self._reoffer.tx, 491))
        self._reoffer = None
        self._renewals_tried = 0
        self.state = State.RENEWING
        self._do(effects.OpenMedia(is_echo=self.plan.is_echo, legs=self.plan.legs))

    def _reopened(self, event: events.MediaOpened) -> None:
        self._ports = dict(zip(self.plan.legs, event.ports, strict=True))
        self._own.settle()  # all ports are new
        for side in Side:
            if (end := self.end(side)) is None:
                continue
            body = end.renew(self._ports[end.terms.leg])
            if body is None:
                self._stop(EndReason.MEDIA_LOST)
                return
            self._unrenewed.add(side)
            self._do(effects.SendReinvite(side, body))

    def _renewed(self, event: events.Reanswered) -> None:
        end = self.end(event.side)
        if event.side not in self._unrenewed or end is None:
            return
        if event.retry_after_s is not None and self._renewals_tried < 2 * MOST_RETRIES:
            self._renewals_tried += 1
            self._do(effects.ArmRetry(event.side, event.retry_after_s))
            return
        if not 200 <= event.status < 300 or end.take_answer(event.body) is not None:
            self._stop(EndReason.MEDIA_LOST)
            return
        self._unrenewed.discard(event.side)
        if self._unrenewed:
            return
        self.state = State.ACTIVE
        self._set_legs(*(item for item in (self.end(Side.CALLER), self.end(Side.CALLEE)) if item is not None))
        self._do(effects.MediaRenewed())

    def _renew_again(self, event: events.RetryDue) -> None:
        end = self.end(event.side)
        if event.side in self._unrenewed and end is not None and end.agreed is not None:
            self._do(effects.SendReinvite(event.side, end.offer(end.agreed, direction=end.agreed.direction)))
