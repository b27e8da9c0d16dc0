"""One session with a message centre, as a pure machine: bytes and time go in, bytes and events come out (SMPP 3.4 section 2).

    OPEN --bind--> BINDING --bind_resp--> BOUND --unbind--> UNBINDING --> CLOSED

The window bounds requests that were sent and not answered. A centre that says that it is busy (ESME_RTHROTTLED, ESME_RMSGQFUL) is given
nothing for a while that doubles each time, then one message, then two, and so on up to the window; what it was given before stays known
under its sequence number. A response that comes too late is told all the same.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from hushwire.core.values import frozen
from hushwire.sms.smpp.bodies import (
    AlertNotification,
    BindReceiver,
    BindReceiverResp,
    BindResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    Body,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    MessageResp,
    Outbind,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
)
from hushwire.sms.smpp.codes import RESPONSE, Status
from hushwire.sms.smpp.errors import PduError
from hushwire.sms.smpp.outcomes import Meaning, meaning
from hushwire.sms.smpp.pdu import LAST_SEQUENCE, Framing, Pdu, encode

Mode = Literal["transmitter", "receiver", "transceiver"]
MOST_LATE: Final = 1024
"""So many requests that were not answered in time are remembered."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one session behaves. Times in seconds."""

    system_id: str
    password: str = field(repr=False)
    mode: Mode = "transceiver"
    system_type: str = ""
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = field(default="", repr=False)
    window: int = 10
    """Requests that may wait for their answers."""
    per_second: float = 0.0
    """Parts a second; 0: as many as the window lets through."""
    bind_within_s: float = 10.0
    answer_within_s: float = 30.0
    enquire_every_s: float = 30.0
    """Of silence, before the centre is asked whether it is there."""
    pause_first_s: float = 1.0
    pause_most_s: float = 60.0
    most_unacknowledged: int = 500
    """Deliveries that may wait to be committed; more are put off with ESME_RX_T_APPN."""
    statuses: Mapping[int, Meaning] = field(default_factory=lambda: MappingProxyType({}))
    """What the carrier means by statuses, where it differs."""


class State(StrEnum):
    OPEN = "open"
    BINDING = "binding"
    BOUND = "bound"
    UNBINDING = "unbinding"
    CLOSED = "closed"


@frozen
class Send:
    """Bytes for the peer."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bound:
    """The centre let us in."""

    system_id: str


@frozen
class Accepted:
    """The centre took a message over, and calls it `message_id`. `is_late`: it was `Unanswered` before."""

    ref: object
    message_id: str
    is_late: bool = False


@frozen
class Refused:
    """The centre did not take a message, and what that means."""

    ref: object
    status: int
    meaning: Meaning
    is_late: bool = False


@frozen
class Unanswered:
    """Nobody knows whether the centre took a message: no answer in time, or none before the end."""

    ref: object


@frozen
class Delivered:
    """Something came in: a message or a receipt. It waits for `acknowledge`."""

    sequence: int
    body: DeliverSm | DataSm


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over, and the connection is to be closed. `reason` is a word, or a status's name or number."""

    reason: str
    status: int | None = None


Event: TypeAlias = Send | Bound | Accepted | Refused | Unanswered | Delivered | Closed

_BINDS: Final[Mapping[Mode, tuple[type[BindTransmitter | BindReceiver | BindTransceiver], type[BindResp]]]] = {
    "transmitter": (BindTransmitter, BindTransmitterResp),
    "receiver": (BindReceiver, BindReceiverResp),
    "transceiver": (BindTransceiver, BindTransceiverResp),
}


@dataclass(slots=True)
class _Waiting:
    """A message without its answer."""

    ref: object
    until: float


class Session:
    """One connection's life. Drive it by `start`, `receive`, `fire`, `submit`, `acknowledge`, `unbind` and `lost`; all return events."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._framing = Framing()
        self._sequence = 0
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._late: OrderedDict[int, object] = OrderedDict()
        self._deliveries: dict[int, type[MessageResp]] = {}
        self._asked: tuple[int, float] | None = None  # the bind, unbind or enquire_link that waits, and how long it may
        self._heard_at = 0.0
        self._allowed = settings.window
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._next_at = 0.0
        self.state = State.OPEN

    # What it is at.

    @property
    def is_sender(self) -> bool:
        """Whether messages may be submitted at all."""
        return self.state is State.BOUND and self._settings.mode != "receiver"

    @property
    def unanswered(self) -> int:
        """How many messages wait for their answers."""
        return len(self._waiting)

    def free(self, now: float) -> int:
        """How many messages may be submitted now."""
        if not self.is_sender or now < self._paused_until:
            return 0
        room = max(0, self._allowed - len(self._waiting))
        if self._settings.per_second > 0:
            # A second's worth at once at the most, however long nothing was sent.
            earned = (now - max(self._next_at, now - 1.0)) * self._settings.per_second
            room = min(room, int(earned + 1e-9))
        return room

    def opens_at(self, now: float) -> float | None:
        """When, without an answer before, the next message may be submitted: after a pause, or by the rate; None: only an answer helps."""
        if not self.is_sender or len(self._waiting) >= self._allowed:
            return None
        at = max(now, self._paused_until)
        if self._settings.per_second > 0:
            at = max(at, self._next_at + 1.0 / self._settings.per_second)
        return at

    def deadline(self) -> float | None:
        """Monotonic second at which `fire` must next be called, or None."""
        if self.state in (State.OPEN, State.CLOSED):
            return None
        times = [self._asked[1]] if self._asked is not None else [self._heard_at + self._settings.enquire_every_s]
        if self._waiting:
            times.append(next(iter(self._waiting.values())).until)
        return min(times)

    # What happens to it.

    def start(self, now: float) -> list[Event]:
        """The connection stands: ask to be let in."""
        settings = self._settings
        kind, _ = _BINDS[settings.mode]
        self.state, self._heard_at = State.BINDING, now
        self._next_at = now - 1.0
        body = kind(
            system_id=settings.system_id,
            password=settings.password,
            system_type=settings.system_type,
            addr_ton=settings.addr_ton,
            addr_npi=settings.addr_npi,
            address_range=settings.address_range,
        )
        return [self._ask(body, now + settings.bind_within_s)]

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes came."""
        events: list[Event] = []
        if self.state is State.CLOSED:
            return events
        self._heard_at = now
        for item in self._framing.feed(data):
            if isinstance(item, PduError):
                events += self._unreadable(item)
            else:
                events += self._pdu(item, now)
            if self._is_closed():
                break
        return events

    def fire(self, now: float) -> list[Event]:
        """What the timers that are due by `now` cause."""
        events: list[Event] = []
        is_overdue = False
        while self._waiting and next(iter(self._waiting.values())).until <= now:
            sequence, waiting = self._waiting.popitem(last=False)
            self._late[sequence] = waiting.ref
            if len(self._late) > MOST_LATE:
                self._late.popitem(last=False)
            events.append(Unanswered(waiting.ref))
            is_overdue = True
        if self._asked is not None:
            if self._asked[1] <= now:
                reason = {State.BINDING: "bind-unanswered", State.UNBINDING: "unbound"}.get(self.state, "silent")
                events += self._close(reason)
        elif self.state is State.BOUND and (is_overdue or self._heard_at + self._settings.enquire_every_s <= now):
            # A message without an answer is a reason to ask at once (section 7.2: the response timer).
            events.append(self._ask(EnquireLink(), now + min(self._settings.bind_within_s, self._settings.answer_within_s)))
        return events

    def submit(self, ref: object, body: SubmitSm | DataSm, now: float) -> list[Event]:
        """Send one message, of which `free` must allow one; `ref` comes back with what became of it. Raises ValueError as `encode` does."""
        if self.free(now) < 1:
            raise RuntimeError("no message may be submitted now")
        sequence = self._next()
        data = encode(Pdu(body, sequence))
        self._waiting[sequence] = _Waiting(ref, now + self._settings.answer_within_s)
        if self._settings.per_second > 0:
            self._next_at = max(self._next_at, now - 1.0) + 1.0 / self._settings.per_second
        return [Send(data)]

    def acknowledge(self, sequence: int, status: int = Status.ESME_ROK) -> list[Event]:
        """Answer a delivery: it is committed, or (another status) it is to come again."""
        kind = self._deliveries.pop(sequence, None)
        if kind is None or self.state is State.CLOSED:
            return []
        return [Send(encode(Pdu(kind(), sequence, status)))]

    def unbind(self, now: float) -> list[Event]:
        """Take leave. What is unanswered may still be answered before the centre says that it is over."""
        if self.state is not State.BOUND:
            return self._close("unbound")
        self.state = State.UNBINDING
        return [self._ask(Unbind(), now + self._settings.bind_within_s)]

    def lost(self, reason: str) -> list[Event]:
        """The connection is gone."""
        return self._close(reason)

    # PDUs.

    def _pdu(self, pdu: Pdu, now: float) -> list[Event]:
        body = pdu.body
        match body:
            case SubmitSmResp() | DataSmResp():
                return self._answer(pdu.sequence, pdu.status, body.message_id, now)
            case DeliverSm() | DataSm():
                return self._delivery(pdu.sequence, body)
            case EnquireLink():
                return [_answered(EnquireLinkResp(), pdu.sequence)]
            case EnquireLinkResp():
                if self.state is State.BOUND and self._is_asked(pdu.sequence):
                    self._asked = None
                return []
            case BindResp():
                return self._bind_answer(pdu, body)
            case Unbind():
                return [_answered(UnbindResp(), pdu.sequence), *self._close("unbound-by-centre")]
            case UnbindResp():
                return self._close("unbound") if self.state is State.UNBINDING and self._is_asked(pdu.sequence) else []
            case GenericNack():
                return self._nack(pdu, now)
            case Outbind() | AlertNotification():
                return []  # neither is answered; who we are is our own setting, not what an outbind says
            case _:
                return self._foreign(body, pdu.sequence)

    def _bind_answer(self, pdu: Pdu, body: BindResp) -> list[Event]:
        if self.state is not State.BINDING or not self._is_asked(pdu.sequence) or not isinstance(body, _BINDS[self._settings.mode][1]):
            return []
        if pdu.status != Status.ESME_ROK:
            return self._close("bind-refused", pdu.status)
        self._asked = None
        self.state = State.BOUND
        return [Bound(body.system_id)]

    def _answer(self, sequence: int, status: int, message_id: str, now: float) -> list[Event]:
        waiting = self._waiting.pop(sequence, None)
        is_late = waiting is None and sequence in self._late
        if waiting is None and not is_late:
            return []  # to nothing that we asked
        ref = self._late.pop(sequence) if waiting is None else waiting.ref
        if status == Status.ESME_ROK:
            self._pause_s = 0.0
            self._allowed = min(self._settings.window, self._allowed * 2)
            return [Accepted(ref, message_id, is_late)]
        means = meaning(status, self._settings.statuses)
        if means is Meaning.BUSY and now >= self._paused_until:  # all that was under way is refused with it: that is one pause
            self._pause_s = min(self._settings.pause_most_s, self._pause_s * 2 or self._settings.pause_first_s)
            self._paused_until = now + self._pause_s
            self._allowed = 1
        return [Refused(ref, status, means, is_late)]

    def _delivery(self, sequence: int, body: DeliverSm | DataSm) -> list[Event]:
        kind: type[MessageResp] = DeliverSmResp if isinstance(body, DeliverSm) else DataSmResp
        if self.state not in (State.BOUND, State.UNBINDING) or self._settings.mode == "transmitter":
            return [_answered(kind(), sequence, Status.ESME_RINVBNDSTS)]
        if sequence in self._deliveries:
            return []  # the same once more, before we answered: one answer is enough
        if len(self._deliveries) >= self._settings.most_unacknowledged:
            return [_answered(kind(), sequence, Status.ESME_RX_T_APPN)]
        self._deliveries[sequence] = kind
        return [Delivered(sequence, body)]

    def _nack(self, pdu: Pdu, now: float) -> list[Event]:
        """A request of ours could not be read, or is not known there (section 4.3.1)."""
        if pdu.sequence in self._waiting or pdu.sequence in self._late:
            return self._answer(pdu.sequence, pdu.status or Status.ESME_RUNKNOWNERR, "", now)
        if self._is_asked(pdu.sequence):
            if self.state is State.BINDING:
                return self._close("bind-refused", pdu.status)
            if self.state is State.UNBINDING:
                return self._close("unbound")
            self._asked = None  # a centre without enquire_link is there, too
        return []

    def _foreign(self, body: Body, sequence: int) -> list[Event]:
        """A request that an ESME is never sent, or a command that nobody knows; responses to nothing are not answered."""
        command = getattr(body, "command", 0) or body.COMMAND
        if command & RESPONSE:
            return []
        return [_answered(GenericNack(), sequence, Status.ESME_RINVCMDID)]

    def _unreadable(self, error: PduError) -> list[Event]:
        """Answered by its own response where it has one, and never dropped without a word, since its sender waits (section 3.3)."""
        if error.is_fatal:
            return [_answered(GenericNack(), error.sequence, error.status), *self._close("unreadable")]
        if error.command == DeliverSm.COMMAND:
            return [_answered(DeliverSmResp(), error.sequence, error.status)]
        if error.command == DataSm.COMMAND:
            return [_answered(DataSmResp(), error.sequence, error.status)]
        if error.command & RESPONSE:
            return []  # its request runs into its time limit: what it said nobody knows
        return [_answered(GenericNack(), error.sequence, error.status)]

    # Endings and numbers.

    def _close(self, reason: str, status: int | None = None) -> list[Event]:
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        left: list[Event] = [Unanswered(waiting.ref) for waiting in self._waiting.values()]
        self._waiting.clear()
        self._late.clear()
        self._deliveries.clear()
        self._asked = None
        return [*left, Closed(reason, status)]

    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def _is_asked(self, sequence: int) -> bool:
        return self._asked is not None and self._asked[0] == sequence

    def _ask(self, body: Body, until: float) -> Send:
        sequence = self._next()
        self._asked = (sequence, until)
        return Send(encode(Pdu(body, sequence)))

    def _next(self) -> int:
        """The next sequence number that no request of ours waits under."""
        while True:
            self._sequence = self._sequence % LAST_SEQUENCE + 1
            if self._sequence not in self._waiting and self._sequence not in self._late:
                return self._sequence


def _answered(body: Body, sequence: int, status: int = Status.ESME_ROK) -> Send:
    return Send(encode(Pdu(body, sequence, status)))
