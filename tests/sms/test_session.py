"""The session with a message centre in virtual time (SMPP 3.4 sections 2, 3 and 7)."""

from dataclasses import replace

import pytest

from hushwire.sms.smpp.bodies import (
    AlertNotification,
    BindReceiverResp,
    BindTransceiverResp,
    BindTransmitterResp,
    Body,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Outbind,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    Unknown,
)
from hushwire.sms.smpp.codes import Status
from hushwire.sms.smpp.fields import Address
from hushwire.sms.smpp.outcomes import Meaning
from hushwire.sms.smpp.pdu import Pdu, decode, encode
from hushwire.sms.smpp.session import Accepted, Bound, Closed, Delivered, Event, Refused, Send, Session, Settings, State, Unanswered

SETTINGS = Settings("esme", "secret", window=4)
MESSAGE = SubmitSm(destination=Address(1, 1, "493023125000"), short_message=b"hello")


def sent(events: list[Event]) -> list[Pdu]:
    return [decode(event.data) for event in events if isinstance(event, Send)]


def told(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Send)]


class Centre:
    """The other side, by hand."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.session = Session(settings)
        self.now = 100.0
        (bind,) = sent(self.session.start(self.now))
        self.bind = bind

    def says(self, body: Body, sequence: int, status: int = 0) -> list[Event]:
        return self.session.receive(encode(Pdu(body, sequence, status)), self.now)

    def submit(self, ref: object) -> int:
        (pdu,) = sent(self.session.submit(ref, MESSAGE, self.now))
        return pdu.sequence

    def passes(self, seconds: float) -> list[Event]:
        """Time goes on, with each timer at its moment."""
        events: list[Event] = []
        until = self.now + seconds
        while (at := self.session.deadline()) is not None and at <= until:
            self.now = max(self.now, at)
            events += self.session.fire(self.now)
        self.now = until
        return events


def bound(settings: Settings = SETTINGS) -> Centre:
    centre = Centre(settings)
    answer = {"transceiver": BindTransceiverResp, "transmitter": BindTransmitterResp, "receiver": BindReceiverResp}[settings.mode]
    assert told(centre.says(answer(system_id="smsc"), centre.bind.sequence)) == [Bound("smsc")]
    return centre


def test_nothing_is_submitted_before_the_centre_lets_us_in() -> None:
    centre = Centre()
    assert centre.session.free(centre.now) == 0
    centre.says(BindTransceiverResp(), centre.bind.sequence + 5)
    assert centre.session.state is State.BINDING
    centre.says(BindTransceiverResp(), centre.bind.sequence)
    assert centre.session.free(centre.now) == 4


@pytest.mark.parametrize("status", [Status.ESME_RINVPASWD, Status.ESME_RBINDFAIL, 0x0000_0455])
def test_a_refused_bind_ends_the_session_and_says_why(status: int) -> None:
    centre = Centre()
    assert told(centre.says(BindTransceiverResp(), centre.bind.sequence, status)) == [Closed("bind-refused", status)]
    assert centre.session.deadline() is None


def test_a_centre_that_answers_nothing_is_left_after_the_time_of_a_bind() -> None:
    centre = Centre()
    assert told(centre.passes(9.9)) == []
    assert told(centre.passes(0.2)) == [Closed("bind-unanswered")]


def test_the_window_bounds_what_is_unanswered_and_answers_come_in_any_order() -> None:
    centre = bound()
    sequences = [centre.submit(ref) for ref in "abcd"]
    assert centre.session.free(centre.now) == 0
    with pytest.raises(RuntimeError):
        centre.session.submit("e", MESSAGE, centre.now)
    assert centre.says(SubmitSmResp(message_id="77"), sequences[2]) == [Accepted("c", "77")]
    assert centre.says(SubmitSmResp(message_id="77"), sequences[2]) == []
    assert centre.session.free(centre.now) == 1


def test_silence_is_asked_about_and_ends_the_session_when_the_question_stays_open() -> None:
    centre = bound()
    (asked,) = sent(centre.passes(30))
    assert asked.body == EnquireLink()
    centre.says(EnquireLinkResp(), asked.sequence)
    assert sent(centre.passes(29)) == []
    events = centre.passes(11.5)
    assert sent(events)[0].body == EnquireLink()
    assert told(events) == [Closed("silent")]


def test_a_message_without_an_answer_is_told_unknown_and_its_late_answer_is_told_too() -> None:
    centre = bound(replace(SETTINGS, enquire_every_s=600))
    sequence = centre.submit("a")
    events = centre.passes(30)
    assert told(events) == [Unanswered("a")]
    (asked,) = sent(events)
    assert asked.body == EnquireLink()
    centre.says(EnquireLinkResp(), asked.sequence)
    assert centre.session.free(centre.now) == 4
    assert centre.says(SubmitSmResp(message_id="9"), sequence) == [Accepted("a", "9", is_late=True)]


@pytest.mark.parametrize("status", [Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL])
def test_a_busy_centre_is_paused_once_for_all_that_it_refused_and_then_given_more_and_more(status: Status) -> None:
    centre = bound()
    sequences = [centre.submit(ref) for ref in "abcd"]
    assert centre.says(SubmitSmResp(message_id="1"), sequences[0]) == [Accepted("a", "1")]
    for ref, sequence in zip("bc", sequences[1:], strict=False):
        assert centre.says(SubmitSmResp(), sequence, status) == [Refused(ref, status, Meaning.BUSY)]
    assert centre.session.free(centre.now) == 0
    # What it was given before the pause is still matched.
    assert centre.says(SubmitSmResp(message_id="4"), sequences[3]) == [Accepted("d", "4")]
    assert centre.session.opens_at(centre.now) == centre.now + 1
    centre.now += 1
    assert centre.session.free(centre.now) == 2
    second = centre.submit("b")
    centre.says(SubmitSmResp(), second, status)
    centre.now += 0.5
    assert centre.session.free(centre.now) == 0
    centre.now += 0.5
    assert centre.session.free(centre.now) == 1
    again = centre.submit("b")
    assert centre.says(SubmitSmResp(), again, status)
    centre.now += 1.5
    assert centre.session.free(centre.now) == 0, "the second pause in a row is longer"
    centre.now += 0.5
    for expected in (1, 2, 4, 4):
        assert centre.session.free(centre.now) == expected
        centre.says(SubmitSmResp(message_id="x"), centre.submit("b"))


def test_the_rate_counts_parts_and_saves_up_no_more_than_a_second() -> None:
    centre = bound(replace(SETTINGS, per_second=2.0, window=50))
    centre.now += 60
    assert centre.session.free(centre.now) == 2
    for ref in "ab":
        centre.says(SubmitSmResp(message_id=ref), centre.submit(ref))
    assert centre.session.free(centre.now) == 0
    assert centre.session.opens_at(centre.now) == centre.now + 0.5
    centre.now += 0.5
    assert centre.session.free(centre.now) == 1


def test_a_carriers_own_statuses_mean_what_it_says() -> None:
    own = {0x455: Meaning.BUSY, Status.ESME_RINVDSTADR: Meaning.LATER}
    centre = bound(replace(SETTINGS, statuses=own))
    assert centre.says(SubmitSmResp(), centre.submit("a"), Status.ESME_RINVDSTADR)[0] == Refused("a", 0x0B, Meaning.LATER)
    assert centre.says(SubmitSmResp(), centre.submit("b"), 0x400) == [Refused("b", 0x400, Meaning.REFUSED)]
    assert centre.says(SubmitSmResp(), centre.submit("c"), 0x455) == [Refused("c", 0x455, Meaning.BUSY)]
    assert centre.session.free(centre.now) == 0


def test_a_delivery_is_answered_when_it_is_committed_and_only_once() -> None:
    centre = bound()
    text = DeliverSm(source=Address(1, 1, "49170"), short_message=b"stop")
    assert centre.says(text, 71) == [Delivered(71, text)]
    assert centre.says(text, 71) == []
    assert sent(centre.session.acknowledge(71)) == [Pdu(DeliverSmResp(), 71)]
    assert centre.session.acknowledge(71) == []
    centre.says(text, 72)
    assert sent(centre.session.acknowledge(72, Status.ESME_RX_T_APPN)) == [Pdu(DeliverSmResp(), 72, Status.ESME_RX_T_APPN)]


def test_more_deliveries_than_can_wait_are_put_off_and_a_transmitter_takes_none() -> None:
    centre = bound(replace(SETTINGS, most_unacknowledged=1))
    centre.says(DeliverSm(), 1)
    assert sent(centre.says(DeliverSm(), 2)) == [Pdu(DeliverSmResp(), 2, Status.ESME_RX_T_APPN)]
    transmitter = bound(replace(SETTINGS, mode="transmitter"))
    assert sent(transmitter.says(DeliverSm(), 1)) == [Pdu(DeliverSmResp(), 1, Status.ESME_RINVBNDSTS)]
    receiver = bound(replace(SETTINGS, mode="receiver"))
    assert receiver.session.free(receiver.now) == 0


def test_what_can_not_be_read_is_answered_and_only_a_lost_beginning_ends_the_session() -> None:
    centre = bound()
    broken = bytes.fromhex("00000012000000050000000000000009") + b"xx"
    assert sent(centre.session.receive(broken, centre.now)) == [Pdu(DeliverSmResp(), 9, Status.ESME_RINVCMDLEN)]
    assert sent(centre.says(Unknown(command=0x77, data=b"?"), 10)) == [Pdu(GenericNack(), 10, Status.ESME_RINVCMDID)]
    assert centre.says(Unknown(command=0x80000077), 11) == []
    assert centre.says(AlertNotification(), 12) == []
    assert centre.says(Outbind(system_id="other"), 13) == []
    ref = centre.submit("a")
    events = centre.session.receive(b"\xff" * 16, centre.now)
    assert [pdu.body for pdu in sent(events)] == [GenericNack()]
    assert told(events) == [Unanswered("a"), Closed("unreadable")]
    assert centre.says(SubmitSmResp(message_id="1"), ref) == []


def test_a_generic_nack_answers_the_request_that_it_names() -> None:
    centre = bound()
    assert centre.says(GenericNack(), centre.submit("a"), Status.ESME_RINVCMDLEN) == [Refused("a", 2, Meaning.REFUSED)]
    (asked,) = sent(centre.passes(30))
    assert centre.says(GenericNack(), asked.sequence, Status.ESME_RINVCMDID) == []
    assert centre.session.state is State.BOUND


def test_leaving_waits_for_the_centre_and_what_it_still_answers_counts() -> None:
    centre = bound()
    sequence = centre.submit("a")
    (unbind,) = sent(centre.session.unbind(centre.now))
    assert unbind.body == Unbind()
    assert centre.session.free(centre.now) == 0
    assert centre.says(SubmitSmResp(message_id="5"), sequence) == [Accepted("a", "5")]
    assert centre.says(UnbindResp(), unbind.sequence) == [Closed("unbound")]
    silent = bound()
    silent.session.unbind(silent.now)
    assert told(silent.passes(10)) == [Closed("unbound")]


def test_a_centre_that_takes_leave_is_answered_and_what_it_left_open_is_unknown() -> None:
    centre = bound()
    centre.submit("a")
    events = centre.says(Unbind(), 5)
    assert sent(events) == [Pdu(UnbindResp(), 5)]
    assert told(events) == [Unanswered("a"), Closed("unbound-by-centre")]


def test_a_lost_connection_leaves_what_was_unanswered_unknown() -> None:
    centre = bound()
    centre.submit("a")
    assert centre.session.lost("disconnected") == [Unanswered("a"), Closed("disconnected")]
    assert centre.session.lost("disconnected") == []


def test_sequence_numbers_begin_again_and_skip_those_in_use() -> None:
    centre = bound()
    first = centre.submit("a")
    centre.session._sequence = 0x7FFF_FFFF
    centre.says(EnquireLinkResp(), 0)
    assert centre.submit("b") == 1
    centre.session._sequence = first - 1
    assert centre.submit("c") == first + 1
