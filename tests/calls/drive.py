"""Drives the pure call machine: parties' descriptions of media, and what came out of it by kind."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

from hushwire.calls import effects, events
from hushwire.calls.call import Call
from hushwire.calls.effects import Effect
from hushwire.calls.model import CallDirection, Plan, Ports, Target, Terms
from hushwire.sdp.offer_answer import (
    AUDIO_CODECS,
    TELEPHONE_EVENT,
    Answered,
    Codec,
    Direction,
    LegMedia,
    LocalMedia,
    Refusal,
    Srtp,
    Suite,
    accept_answer,
    answer_offer,
    build_offer,
)
from hushwire.sip import flow as flows
from hushwire.sip.flow import Transport
from hushwire.sip.uri import NameAddr, SipUri

E = TypeVar("E")
NAME = NameAddr(SipUri("example.org", "somebody"))


class Counted:
    """Bytes that differ each time and are the same in each run."""

    def __init__(self) -> None:
        self._next = 0

    def token_bytes(self, count: int, /) -> bytes:
        self._next += 1
        return self._next.to_bytes(4, "big") * (count // 4) + bytes(count % 4)


@dataclass
class Party:
    """A far end: what it offers and answers, at an address of its own."""

    port: int
    srtp: Srtp = Srtp.NEVER
    codecs: tuple[Codec, ...] = AUDIO_CODECS
    dtmf_payload_type: int = 101
    address: str = "192.0.2.7"
    local: LocalMedia = field(init=False)
    offered: bytes = b""

    def __post_init__(self) -> None:
        keys = {suite: bytes([self.port % 251]) * suite.key_bytes for suite in Suite} if self.srtp is not Srtp.NEVER else {}
        events = (replace(TELEPHONE_EVENT, payload_type=self.dtmf_payload_type),)
        self.local = LocalMedia(self.address, self.port, self.port + 1, keys, 1, 1, codecs=self.codecs, events=events)

    def offer(self, direction: Direction = Direction.SENDRECV) -> bytes:
        self.local = replace(self.local, version=self.local.version + 1)
        self.offered = build_offer(self.local, self.srtp, direction=direction)
        return self.offered

    def answer(self, offer: bytes, direction: Direction = Direction.SENDRECV) -> bytes:
        outcome = answer_offer(offer, self.local, self.srtp, direction=direction)
        assert isinstance(outcome, Answered), outcome
        return outcome.body

    def read(self, answer: bytes) -> LegMedia:
        media = accept_answer(self.offered, answer, self.local)
        assert not isinstance(media, Refusal), media
        return media


def target(srtp: Srtp = Srtp.NEVER, leg: int = 1) -> Target:
    hop = flows.Target(Transport.UDP, "192.0.2.9", 5060)
    return Target(hop, "sip:+493023125999@192.0.2.9", NAME, NAME, Terms(leg, srtp, "192.0.2.9"))


def plan(*targets: Target, direction: CallDirection = CallDirection.OUTBOUND, srtp: Srtp = Srtp.REQUIRED, is_recorded: bool = True) -> Plan:
    leg = 1 if direction is CallDirection.INBOUND else 0
    return Plan(direction, Terms(leg, srtp, "192.0.2.7"), targets, 60.0, is_recorded)


@dataclass
class Driven:
    """A machine and everything that it asked for."""

    call: Call
    done: list[Effect] = field(default_factory=list)

    def feed(self, event: events.Event) -> list[Effect]:
        steps = self.call.handle(event)
        self.done += steps
        return steps

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.done if isinstance(effect, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    @property
    def ended(self) -> effects.Ended:
        (end,) = self.all(effects.Ended)
        return end


def opened(the_plan: Plan, offer: bytes) -> Driven:
    """A call whose media stands."""
    driven = Driven(Call(the_plan, offer, Counted()))
    driven.done += driven.call.start()
    assert isinstance(driven.done[0], effects.OpenMedia)
    ports = tuple(Ports("127.0.0.1", 20000 + 2 * leg, 20001 + 2 * leg) for leg in driven.done[0].legs)
    driven.feed(events.MediaOpened(ports))
    return driven


def answered(caller: Party, callee: Party, the_plan: Plan | None = None) -> Driven:
    """A call that both parties are in."""
    driven = opened(the_plan or plan(target(callee.srtp)), caller.offer())
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    return driven
