"""One call between two parties, as a pure machine: `handle(event)` returns the effects to carry out, in order.

    NEW -> OPENING -> [ANNOUNCING ->] RINGING -> ACTIVE -> ENDED
                         `----> OFFERING (our 2xx held the offer; the caller's ACK brings the answer) -> ACTIVE
                   RINGING -> DIVERTING (nobody takes it: the services say whom to ring next) -> RINGING
    ACTIVE -> RENEWING (the media process died: another bridge, then a re-INVITE to each party) -> ACTIVE
    ACTIVE -> WAITING (a party stood aside, to be replaced by another) -> ACTIVE

Every path ends in exactly one `Ended`. What a state does with an event is one method; `states.STEPS` says which. Here is how a call comes
about; `talk.py` is what its parties do then, `machine.py` what both have in common.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from hushwire.calls import effects, events, failures
from hushwire.calls.diversion import DiversionReason
from hushwire.calls.effects import Effect
from hushwire.calls.ends import End, shared
from hushwire.calls.events import Event
from hushwire.calls.kept import KeptCall
from hushwire.calls.machine import Branch
from hushwire.calls.model import CallDirection, EndReason, Plan, Ports, Side
from hushwire.calls.own_offers import OwnOffers
from hushwire.calls.reoffer import Reoffer
from hushwire.calls.states import LIVE, STEPS, State
from hushwire.calls.talk import Talk
from hushwire.core.clock import Random
from hushwire.core.values import replace
from hushwire.sdp.dtls import Fingerprint
from hushwire.sdp.offer_answer import Direction, LegMedia, Refusal, Srtp
from hushwire.sip import reason as reasons
from hushwire.sip.reason import Reason
from hushwire.sip.refusals import REFUSALS, reason_header

__all__ = ["LIVE", "Call", "State"]


class Call(Talk):
    """A call from the caller's INVITE on. `offer` is that INVITE's body; empty asks for ours (RFC 3261 section 13.2.1).

    `fingerprint` is that of the certificate that DTLS handshakes of this call show; None: no leg of it does DTLS.
    """

    steps: ClassVar[Mapping[tuple[State, type[Any]], str]] = STEPS
    """The method that takes an event in a state."""

    def __init__(self, plan: Plan, offer: bytes, random: Random, fingerprint: Fingerprint | None = None) -> None:
        super().__init__(plan, random, fingerprint)
        self._offer = offer
        self._offered: LegMedia | None = None
        self._first = 0  # of the targets that are rung now: those before did not take the call
        self._leads_out = plan.direction is CallDirection.OUTBOUND
        self._refusal = (480, EndReason.UNAVAILABLE)
        self._failures: list[tuple[int, EndReason]] = []
        self._network_causes: dict[tuple[int, EndReason], Reason] = {}
        self._answer = b""
        self._answer_like: LegMedia | None = None
        self._announces = False
        self._early_codec: str | None = None
        self._is_ringing = False
        self._told_status = 0

    # ----------------------------------------------------------------------------------------------------------- use

    def start(self, *, announces: bool = False) -> list[Effect]:
        """Begin: the bridge is opened first, since every SDP names its ports.

        `announces`: before anybody is rung the caller hears an announcement, where it can be answered early.
        """
        self.state = State.OPENING
        self._announces = announces
        return [effects.OpenMedia(is_echo=self.plan.is_echo, legs=self.plan.legs)]

    def handle(self, event: Event) -> list[Effect]:
        """What follows from an event; nothing where the call's state has no use for it (crossing events are no error)."""
        name = self.steps.get((self.state, type(event)))
        if name is not None:
            getattr(self, name)(event)
        elif isinstance(event, events.Accepted):
            # Answered when nobody needed it any more: RFC 3261 section 13.2.2.4 wants the dialog acknowledged and ended.
            self._do(effects.ByeBranch(event.branch))
        elif isinstance(event, events.Reoffered):
            is_busy = self.state in (State.OFFERING, State.RENEWING)
            self._do(effects.RespondReinvite(event.tx, 491 if is_busy else 481))
        done, self._effects = self._effects, []
        return done

    def keep(self) -> KeptCall | None:
        """What another process needs to go on with the call; None where it is not one that goes on by itself."""
        caller, winner = self._caller, self.winner
        if self.state not in (State.ACTIVE, State.RENEWING, State.WAITING) or caller is None or self.plan.joins is not None:
            return None
        callee = None if winner is None else self._branches[winner].end
        targets = () if winner is None else (self.plan.targets[winner],)
        plan = self.plan if targets == self.plan.targets else replace(self.plan, targets=targets)
        return KeptCall(plan, caller.keep(), None if callee is None else callee.keep(), self._own.owed, self._aside)

    @classmethod
    def adopted(cls, kept: KeptCall, random: Random, fingerprint: Fingerprint | None = None) -> "Call":
        """The call that `keep` told of. Its parties talk; what was under way between them is begun anew by whoever wants it."""
        call = cls(kept.plan, b"", random, fingerprint)
        call.state = State.ACTIVE
        call._caller = End.adopted(kept.caller, random)
        if kept.callee is not None:
            call.winner = 0
            branch = Branch(0, End.adopted(kept.callee, random))
            branch.is_open = False
            call._branches = [branch]
        for end in (call._caller, call.end(Side.CALLEE)):
            if end is not None:
                call._ports[end.terms.leg] = Ports(end.local.address, end.local.port, end.local.rtcp_port or end.local.port)
        call._own = OwnOffers(kept.unmoved)
        if kept.aside is not None:
            call.state, call._aside = State.WAITING, kept.aside
        return call

    def resume(self) -> list[Effect]:
        """Go on after `adopted`: the media process is told all legs again, and parties of ports that moved are asked again."""
        self._set_legs(*self._ends())
        self._move_next()
        done, self._effects = self._effects, []
        return done

    @property
    def caller_offer(self) -> bytes:
        """What the caller's INVITE offered, or nothing."""
        return self._offer

    @property
    def tried(self) -> int:
        """How many of the plan's targets were rung."""
        return len(self._branches)

    # -------------------------------------------------------------------------------------------------------- opening

    def _opened(self, event: events.MediaOpened) -> None:
        self._ports = dict(zip(self.plan.legs, event.ports, strict=True))
        self._caller = caller = End(self.plan.caller, self._ports[self.plan.caller.leg], self._random, self._fingerprint)
        if self._offer:
            offered = caller.read(self._offer)
            if isinstance(offered, Refusal):
                self._refuse(488, EndReason.NO_COMMON_MEDIA, failures.WORDS.get(offered))
                return
            self._offered = offered
        if self.plan.answered_by is not None:
            self._answer_ourselves(caller)
        elif self.plan.is_echo or self.plan.joins is not None:
            self._answer_echo(caller)
        elif self.plan.not_rung is not None:
            self._ask_diversion(self.plan.not_rung, 480, EndReason.UNAVAILABLE)
        else:
            self._ring_or_announce(caller)

    def _ring_or_announce(self, caller: End) -> None:
        announces, self._announces = self._announces and self.plan.is_recorded, False
        if announces and self._offered is not None and self._answer_early(caller, self._offered, self.plan.announces_with):
            self.state = State.ANNOUNCING
            self._do(effects.Announce())
            return
        self._ring_targets()

    def _announced(self, _event: events.Announced) -> None:
        self._ring_targets()

    def _ring_targets(self) -> None:
        self.state = State.RINGING
        targets = self.plan.targets[self._first :]
        for _ in targets[:1] if self.plan.is_serial else targets:
            self._ring_next()
        self._do(effects.ArmRing(self.plan.ring_s))

    def _ring_next(self) -> None:
        index = len(self._branches)
        target = self.plan.targets[index]
        end = End(target.terms, self._ports[target.terms.leg], self._random, self._fingerprint)
        self._branches.append(Branch(index, end))
        self._do(effects.SendInvite(index, target, end.offer(self._to_offer())))

    def _answer_echo(self, caller: End) -> None:
        if not self._offer:
            self._refuse(488, EndReason.NO_COMMON_MEDIA)
            return
        body = caller.answer(self._offer)
        if isinstance(body, Refusal):
            self._refuse(488, EndReason.NO_COMMON_MEDIA)
            return
        self.state = State.ACTIVE
        self._set_legs(caller)
        self._do(effects.Respond(200, body), effects.Answered(None))

    def _answer_ourselves(self, caller: End) -> None:
        """No party takes the call, but something of ours that plays and listens."""
        if not self._offer:
            if caller.terms.srtp is Srtp.OPTIONAL:
                caller.prefer_clear()  # as towards a party: there is no second try after a 2xx
            self.state = State.OFFERING
            self._do(effects.Respond(200, caller.offer()))
            return
        body = self._answer or caller.answer(self._offer)
        if isinstance(body, Refusal):
            self._refuse(488, EndReason.NO_COMMON_MEDIA)
            return
        self.state = State.ACTIVE
        self._set_legs(caller)
        self._do(effects.Respond(200, body), effects.Answered(None))

    def _reoffered_early(self, event: events.Reoffered) -> None:
        """Who was answered early may offer anew before the call is answered (RFC 3262 section 5, RFC 3311 section 5.2).

        It stays between the caller and us: who is rung is asked nothing. A codec in which something is played stays.
        """
        caller = self._caller
        if caller is None or event.side is not Side.CALLER or not self._answer or not event.body:
            self._do(effects.RespondReinvite(event.tx, 488))
            return
        offered = caller.read(event.body)
        callee = next((branch.end for branch in self._branches if branch.has_early_answer and branch.is_open), None)
        like = None if callee is None else callee.agreed
        if self._early_codec is not None and not isinstance(offered, Refusal):
            kept = tuple(codec for codec in offered.codecs if codec.name == self._early_codec)
            like = replace(offered, codecs=kept) if kept else None
        is_lost = self._early_codec is not None and like is None
        direction = Direction.SENDRECV if callee is None or like is None else like.direction.reversed
        body = Refusal.NO_COMMON_CODEC if is_lost else caller.answer(event.body, like, direction=direction)
        if isinstance(offered, Refusal) or isinstance(body, Refusal):
            self._do(effects.RespondReinvite(event.tx, 488))
            return
        self._offer, self._offered, self._answer, self._answer_like = event.body, offered, body, None if callee is None else like
        self._set_legs(*(end for end in (caller, callee) if end is not None))
        self._do(effects.RespondReinvite(event.tx, 200, body))

    # -------------------------------------------------------------------------------------------------------- ringing

    def _progressed(self, event: events.Progressed) -> None:
        branch = self._branches[event.branch]
        if not branch.is_open or self._caller is None:
            return
        # Early media of several devices at once would be a mixture that nobody asked for: they only ring.
        if event.body and self._offer and not self._rings_many and not branch.has_early_answer:
            if branch.end.take_answer(event.body) is not None:
                return  # an early answer that can't be used: the final one decides
            branch.has_answered = True
            if not event.is_heard:
                self._tell(180)
                return
            branch.has_early_answer = True
            body = self._answer_caller(branch.end)
            if body is not None:
                self._set_legs(self._caller, branch.end)
                self._tell(event.status, body)
                if self._is_ringing:
                    self._do(effects.StopRinging())
            return
        if event.status in (180, 183) and self._offered is not None and self._ring(self._caller, self._offered, event.status):
            return
        self._tell(180 if event.status == 183 and self._rings_many else event.status)

    @property
    def _rings_many(self) -> bool:
        return len(self._branches) - self._first > 1 and not self.plan.is_serial

    def _ring(self, caller: End, offered: LegMedia, status: int) -> bool:
        """Let the caller hear ringing from us, once: where it is to, and where it was answered early, since then it makes none itself.
        True where its answer is all that it needs to be told."""
        if self._is_ringing or any(branch.has_early_answer and branch.is_open for branch in self._branches):
            return False
        is_told = bool(self._answer)
        if not is_told and (status != 180 or not self._answer_early(caller, offered, self.plan.rings_with)):
            return False
        if caller.agreed is not None:
            self._is_ringing = True
            self._do(effects.Ring(caller.agreed))
        return not is_told

    def _answer_early(self, caller: End, offered: LegMedia, names: tuple[str, ...]) -> bool:
        """Answer the caller by 183 in one codec that the other side will most likely agree to; False where it knows none of these."""
        known = {codec.name: codec for codec in offered.codecs}
        codec = next((known[name] for name in names if name in known), None)
        if codec is None or not offered.direction.sends:
            return False
        body = caller.answer(self._offer, replace(offered, codecs=(codec,)))
        if isinstance(body, Refusal) or caller.agreed is None:
            return False
        self._answer, self._early_codec = body, codec.name
        self._set_legs(caller)
        self._tell(183, body)
        return True

    def _to_offer(self) -> LegMedia | None:
        """What a callee is offered: the caller's codecs, and before the others the one that the caller was answered with already.

        Whoever takes the first needs no second offer, within which it would hear of an announcement at answer nothing.
        """
        if self._offered is None or self._early_codec is None:
            return self._offered
        return replace(self._offered, codecs=tuple(sorted(self._offered.codecs, key=lambda codec: codec.name != self._early_codec)))

    def _tell(self, status: int, body: bytes = b"") -> None:
        # RFC 3261 section 13.2.1: once there is an answer, it is the same in every later response.
        body = body or self._answer
        if status != self._told_status or body:
            self._told_status = status
            self._do(effects.Respond(status, body))

    def side_of(self, branch: int) -> Side:
        """On which side of the call the party of this target is."""
        return Side.CALLEE

    def awaits(self, branch: int) -> bool:
        """Whether an answer of this target would be taken."""
        return self.state is State.RINGING and self._branches[branch].is_open

    def _accepted(self, event: events.Accepted) -> None:
        branch = self._branches[event.branch]
        if not branch.is_open:
            # It crossed our CANCEL, and the call has gone on to somebody else.
            self._do(effects.ByeBranch(event.branch))
            return
        self.winner = branch.index
        branch.is_open = False
        self._cancel_branches(str(reasons.ELSEWHERE))
        caller = self._caller
        if caller is None:
            return
        # Some carriers answer early in 183 and leave the 200 empty.
        failure = None if branch.has_answered and not event.body else branch.end.take_answer(event.body)
        if failure is not None:
            self._do(effects.SendBye(Side.CALLEE, failures.ENDED_BY[EndReason.NO_COMMON_MEDIA]))
            self._refuse(488, EndReason.NO_COMMON_MEDIA)
            return
        self._taken(branch, caller)

    def _taken(self, branch: Branch, caller: End) -> None:
        """The caller is told what was agreed on with who answered."""
        if not self._offer:
            self._offer_to_caller(caller, branch.end)
            return
        body = self._answer_caller(branch.end)
        if body is None:
            self._do(effects.SendBye(Side.CALLEE, failures.ENDED_BY[EndReason.NO_COMMON_MEDIA]))
            self._refuse(488, EndReason.NO_COMMON_MEDIA)
            return
        self.state = State.ACTIVE
        self._set_legs(caller, branch.end)
        self._do(effects.Respond(200, body), effects.Answered(branch.index))
        if self._sends_otherwise(branch.end):
            # The caller was answered in one codec; the other side agreed to it, and would rather send another: it is told.
            self._reoffer = exchange = Reoffer.begun_by_us(Side.CALLER, caller, branch.end)
            self._carry_on(exchange, exchange.pass_on())

    def _answer_caller(self, callee: End) -> bytes | None:
        """The caller's answer for what the callee agreed to: the one already given where it still fits."""
        caller, like = self._caller, callee.agreed
        if caller is None or like is None:
            return None
        is_transcoded = self._offered is not None and not shared(self._offered, like)
        if self._early_codec is not None and (is_transcoded or self._early_codec in (codec.name for codec in like.codecs)):
            return self._answer
        if self._answer and self._answer_like is not None:
            before = self._answer_like
            if [codec.name for codec in before.codecs] == [codec.name for codec in like.codecs] and before.direction is like.direction:
                return self._answer
        body = caller.answer(self._offer, like, direction=like.direction.reversed)
        if isinstance(body, Refusal):
            return None
        self._answer, self._answer_like = body, like
        return body

    def _sends_otherwise(self, callee: End) -> bool:
        names = [] if callee.agreed is None else [codec.name for codec in callee.agreed.codecs]
        return self._early_codec in names[1:]

    def _offer_to_caller(self, caller: End, callee: End) -> None:
        like = callee.agreed
        if like is None:
            return
        if caller.terms.srtp is Srtp.OPTIONAL:
            # There is no second try after a 2xx: the offer that every peer of this kind understands.
            caller.prefer_clear()
        self.state = State.OFFERING
        self._do(effects.Respond(200, caller.offer(like, direction=like.direction.reversed)))

    def _answered_by_ack(self, event: events.Acknowledged) -> None:
        caller, callee = self._caller, self.end(Side.CALLEE)
        if event.side is not Side.CALLER or caller is None or (callee is None and self.plan.answered_by is None):
            return
        if not event.body or caller.take_answer(event.body) is not None:
            self._stop(EndReason.NO_COMMON_MEDIA)
            return
        self.state = State.ACTIVE
        self._set_legs(*(end for end in (caller, callee) if end is not None))
        self._do(effects.Answered(self.winner))

    def _rejected(self, event: events.Rejected) -> None:
        branch = self._branches[event.branch]
        if not branch.is_open:
            return
        is_about_media = event.status in (415, 488, 606) and not event.is_silent and not branch.has_answered
        if is_about_media and (branch.end.fall_back() or self._begin_transcoding(branch)):
            # This protection is not understood there: once more with the next, or in the clear where it was optional. In the end
            # with codecs that the caller lacks.
            offer = branch.end.offer(self._to_offer(), with_others=branch.may_transcode)
            self._do(effects.SendInvite(branch.index, self.plan.targets[branch.index], offer))
            return
        branch.is_open = False
        failure = failures.to_caller(event.status, is_silent=event.is_silent, to_trunk=self.to_trunk)
        self._failures.append(failure)
        for said in event.said:
            if said.protocol == "Q.850":
                self._network_causes.setdefault(failure, said)
        moves_on = self.plan.is_emergency or failures.moves_on(event.status, is_silent=event.is_silent)
        if self._has_another_way and not branch.has_early_answer and moves_on:
            # What the caller heard of one way can't go on by another: only before that.
            self._ring_next()
        elif failures.is_final(event.status) and not event.is_silent and not self.plan.are_several:
            self._cancel_branches(reason_header(event.status))
            self._not_taken(*self._failures[-1])
        elif not any(other.is_open for other in self._branches):
            self._not_taken(*failures.best(self._failures))

    @property
    def _has_another_way(self) -> bool:
        return self.plan.is_serial and len(self._branches) < len(self.plan.targets)

    def _begin_transcoding(self, branch: Branch) -> bool:
        """From the first protection on again, with all codecs; False where the caller's were all already, or that was tried."""
        if branch.may_transcode or self._offered is None or not branch.end.can_offer_more(self._offered):
            return False
        target = self.plan.targets[branch.index]
        branch.end = End(target.terms, self._ports[target.terms.leg], self._random, self._fingerprint)
        branch.may_transcode = True
        return True

    @property
    def to_trunk(self) -> bool:
        """Whether the targets are the telephone network's."""
        return self._leads_out

    def _nobody_answered(self, _event: events.RingTimeout) -> None:
        self._cancel_branches(None)
        self._not_taken(480, EndReason.NO_ANSWER)

    def _came(self, _event: events.CallerCame) -> None:
        """Who calls is there from the beginning."""

    def _picking_up(self, _event: events.PickingUp) -> None:
        # Legs are about to be moved: the call must not go on to others meanwhile, whose leg is another party's by then.
        self._do(effects.DisarmRing())
        self._cancel_branches(str(reasons.ELSEWHERE))

    def _picked_up(self, event: events.PickedUp) -> None:
        branch = Branch(len(self._branches), event.end)
        branch.is_open, branch.has_answered = False, True
        # A target stands where its branch does.
        self.plan = replace(self.plan, targets=(*self.plan.targets[: branch.index], event.target))
        self._branches.append(branch)
        self.winner = branch.index
        self._do(effects.Succeed(Side.CALLEE))
        if self._caller is not None:
            self._taken(branch, self._caller)

    # ------------------------------------------------------------------------------------------------------ diverting

    def _not_taken(self, status: int, why: EndReason) -> None:
        """Nobody who was rung takes it: perhaps somebody else does."""
        reason = failures.diversion_reason(why)
        if self.plan.diverts and reason is not None:
            self._ask_diversion(reason, status, why)
        else:
            self._refuse(status, why)

    def _ask_diversion(self, reason: DiversionReason, status: int, why: EndReason) -> None:
        self.state = State.DIVERTING
        self._refusal = (status, why)
        self._do(effects.AskDiversion(reason))

    def _diverted(self, event: events.Diverted) -> None:
        if not event.targets or self._caller is None:
            self._not_diverted(events.NotDiverted())
            return
        self._turn(event)
        self._tell(181)  # RFC 3261 section 21.1.3
        self._ring_or_announce(self._caller)

    def _turn(self, event: events.Diverted) -> None:
        """Others are to be rung from now on."""
        plan = self.plan
        self._first = len(self._branches)
        self._leads_out = event.leads_out
        self._failures, self._network_causes = [], {}
        self.plan = replace(
            plan,
            # Ways that were not tried any more are none of the call's: a target stands where its branch does.
            targets=plan.targets[: self._first] + event.targets,
            ring_s=event.ring_s,
            is_serial=event.is_serial,
            are_several=event.are_several,
            is_recorded=plan.is_recorded and event.is_recorded,
        )

    def _answered_here(self, event: events.AnsweredHere) -> None:
        """Something of ours takes the call; ways that were not tried any more are none of it."""
        if self._caller is None:
            return
        self._first = len(self._branches)
        targets = self.plan.targets[: self._first]
        self.plan = replace(self.plan, targets=targets, answered_by=event.by, is_recorded=False, diverts=False)
        self._answer_ourselves(self._caller)

    def _not_diverted(self, _event: events.NotDiverted) -> None:
        self._refuse(*self._refusal)

    def _cancelled(self, event: events.Cancelled) -> None:
        self._cancel_branches(reasons.value(event.said))
        self._end(EndReason.ANSWERED_ELSEWHERE if reasons.is_answered_elsewhere(event.said) else EndReason.CANCELLED, 487)

    def _refuse(self, status: int, why: EndReason, words: str | None = None) -> None:
        """Refuse the caller, with the network's cause (Q.850) where that of a target is passed on."""
        network = self._network_causes.get((status, why))
        if why is EndReason.NO_ANSWER:
            words = words or REFUSALS[why.value].words
        said = reason_header(status, words)
        self._do(effects.Respond(status, reason=said if network is None else f"{said}, {network}"))
        self._end(why, status)
