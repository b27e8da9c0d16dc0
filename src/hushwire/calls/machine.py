"""What every state of a call has: its two ends, the effects that it yields, and how it ends."""

from hushwire.calls import effects, events, failures
from hushwire.calls.effects import Effect, LegStatement
from hushwire.calls.ends import End, payload_map
from hushwire.calls.model import EndReason, Plan, Ports, Side
from hushwire.calls.reoffer import Reoffer
from hushwire.calls.states import State
from hushwire.core.clock import Random
from hushwire.core.values import replace
from hushwire.sdp.dtls import Fingerprint
from hushwire.sdp.offer_answer import Direction, LegMedia
from hushwire.sip import reason as reasons
from hushwire.sip.reason import Reason


class Branch:
    """One target being rung: our end of its media, and its fate so far."""

    __slots__ = ("end", "has_answered", "has_early_answer", "index", "is_open", "may_transcode")

    def __init__(self, index: int, end: End) -> None:
        self.index = index
        self.end = end
        self.is_open = True
        self.has_answered = False  # it described its media already
        self.has_early_answer = False  # and the caller hears it
        self.may_transcode = False  # the caller's codecs alone were refused


class Machine:
    """The call's ends, and what is done with them whatever its state."""

    def __init__(self, plan: Plan, random: Random, fingerprint: Fingerprint | None = None) -> None:
        self.plan = plan
        self._fingerprint = fingerprint
        self.state = State.NEW
        self.winner: int | None = None
        self._random = random
        self._effects: list[Effect] = []
        self._ports: dict[int, Ports] = {}
        self._caller: End | None = None
        self._branches: list[Branch] = []
        self._reoffer: Reoffer | None = None
        self._aside: Side | None = None

    def media(self, side: Side) -> LegMedia | None:
        """What is agreed with a party now."""
        end = self.end(side)
        return None if end is None else end.agreed

    def end(self, side: Side) -> End | None:
        """Our end of a party's media; the winner's for the callee. None for one that stood aside."""
        if side is self._aside:
            return None
        return self._end_of(side)

    def leg(self, side: Side) -> int | None:
        """The number of a party's leg, also where nobody is there now."""
        end = self._end_of(side)
        return None if end is None else end.terms.leg

    def legs(self) -> dict[int, LegMedia]:
        """What is agreed with each party, by leg."""
        ends = (end for side in Side if (end := self.end(side)) is not None)
        return {end.terms.leg: end.agreed for end in ends if end.agreed is not None}

    def _ends(self) -> list[End]:
        return [end for side in Side if (end := self.end(side)) is not None]

    def _end_of(self, side: Side) -> End | None:
        if side is Side.CALLER:
            return self._caller
        return None if self.winner is None else self._branches[self.winner].end

    # What a party, or what carries the call, has ended.

    def _hung_up(self, event: events.HungUp) -> None:
        if event.side is self._aside:
            return  # its BYE crossed ours
        self._hang_up(event.side, self._bye(event.side), event.said)

    def _hang_up(self, side: Side, why: EndReason, said: tuple[Reason, ...] = ()) -> None:
        """`side` is gone; the other party is told, and why as far as that was said."""
        self._answer_open_reinvite()
        if self.end(side.other) is not None:
            self._do(effects.SendBye(side.other, reasons.value(said)))
        self._end(why, None)

    def _answer_open_reinvite(self) -> None:
        """RFC 3261 section 15.1.2: what is pending in a dialog that ends is answered with 487."""
        if self._reoffer is not None and self._reoffer.tx_open:
            self._do(effects.RespondReinvite(self._reoffer.tx, 487))

    def _never_acknowledged(self, event: events.NeverAcknowledged) -> None:
        self._answer_open_reinvite()
        if self.end(event.side.other) is not None:
            self._do(effects.SendBye(event.side.other, failures.ENDED_BY[EndReason.NO_ACK]))
        self._end(EndReason.NO_ACK, None)

    def _failed(self, _event: events.MediaFailed) -> None:
        self._stop(EndReason.MEDIA_FAILED)

    # We end it.

    def _stopped(self, event: events.Stopped) -> None:
        self._stop(event.reason)

    def _stop(self, why: EndReason) -> None:
        """We end it, in whatever state it is."""
        words = failures.ENDED_BY.get(why)
        if self.state in (State.ACTIVE, State.OFFERING, State.RENEWING, State.WAITING):
            self._answer_open_reinvite()
            for side in Side:
                if self.end(side) is not None:
                    self._do(effects.SendBye(side, words))
            self._end(why, None)
            return
        self._cancel_branches(words)
        status = (
            480
            if why in (EndReason.HANGUP, EndReason.SUSPENDED)
            else 403
            if why in (EndReason.RULES_CHANGED, EndReason.CREDENTIAL_LOCKED, EndReason.LIMIT_REACHED)
            else 488
            if why in (EndReason.NO_COMMON_MEDIA, EndReason.NOT_PROTECTED)
            else 503
        )
        self._do(effects.Respond(status, reason=words))
        self._end(why, status)

    def _cancel_branches(self, reason: str | None) -> None:
        for branch in self._branches:
            if branch.is_open:
                branch.is_open = False
                self._do(effects.SendCancel(branch.index, reason))

    def _end(self, why: EndReason, status: int | None) -> None:
        self.state = State.ENDED
        self._do(effects.Ended(why, status))

    # What is yielded.

    def _bye(self, side: Side) -> EndReason:
        """Who ended the call. Who joins another call is an agent, whatever its leg there is."""
        end = self.end(side)
        terms = self.plan.caller if end is None else end.terms
        is_agents = (terms.leg == 0 and not terms.is_outside) or self.plan.joins is not None
        return EndReason.BYE_AGENT if is_agents else EndReason.BYE_PEER

    def _set_legs(self, *ends: End) -> None:
        self._do(self._statements(*ends))

    def _statements(self, *ends: End) -> effects.SetLegs:
        legs = []
        for end in ends:
            other = next((item.agreed for item in ends if item is not end), None)
            if end.agreed is not None:
                pairs = payload_map(end.agreed, other) if other is not None else ()
                media = end.agreed
                if self.plan.holds_with_music and other is not None and other.is_held:
                    # What is said while waiting goes nowhere: nobody hears it, and it is not recorded.
                    media = replace(media, direction=media.direction.narrowed(Direction.SENDONLY))
                legs.append(LegStatement(end.terms.leg, media, end.terms.signalling_address, pairs))
        return effects.SetLegs(tuple(legs))

    def _do(self, *steps: Effect) -> None:
        self._effects += steps
