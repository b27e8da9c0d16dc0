"""PDUs from bytes and back (SMPP 3.4 sections 3 and 4)."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.sms.smpp import bodies
from hushwire.sms.smpp.bodies import BODIES, BindTransceiver, Body, DeliverSm, EnquireLink, SubmitSm, SubmitSmResp, Unknown
from hushwire.sms.smpp.codes import Command, Status, Tag
from hushwire.sms.smpp.errors import PduError
from hushwire.sms.smpp.fields import Address, Tlv
from hushwire.sms.smpp.pdu import Framing, Pdu, decode, encode

# The example of SMPP 3.4 section 3.2.3 in its octets.
BIND = bytes.fromhex(
    "0000002F 00000002 00000000 0000000153 4D 50 50 33 54 45 53 54 00  73 65 63 72 65 74 30 38 00  53 55 42 4D 49 54 31 00  34 01 01 00"
)
LETTERS = st.characters(min_codepoint=1, max_codepoint=255)
TLVS = st.lists(st.builds(Tlv, st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4).map(tuple)


def values_of(name: str, kind: type[Body]) -> st.SearchStrategy[object]:
    limits = {"service_type": 5, "message_id": 64, "system_id": 15, "password": 8, "system_type": 12, "address_range": 40}
    if name in ("source", "destination", "esme"):
        long = kind in (bodies.DataSm, bodies.AlertNotification)
        return st.builds(Address, st.integers(0, 255), st.integers(0, 255), st.text(LETTERS, max_size=64 if long else 20))
    if name in limits:
        return st.text(LETTERS, max_size=limits[name])
    if name in ("schedule_delivery_time", "validity_period", "final_date"):
        return st.just("") | st.text(LETTERS, min_size=16, max_size=16)
    if name == "short_message":
        return st.binary(max_size=254)
    if name == "tlvs":
        return TLVS
    return st.integers(0, 255)


def any_body() -> st.SearchStrategy[Body]:
    def built(kind: type[Body]) -> st.SearchStrategy[Body]:
        return st.builds(kind, **{field.name: values_of(field.name, kind) for field in fields(kind)})

    return st.sampled_from(sorted(BODIES)).flatmap(lambda command: built(BODIES[command]))


@given(any_body(), st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF))
def test_every_pdu_that_can_be_written_reads_as_what_was_written(body: Body, sequence: int, status: int) -> None:
    pdu = Pdu(body, sequence, status)
    assert decode(encode(pdu)) == pdu


def test_the_specifications_own_example_of_a_bind_reads_and_writes_to_the_octet() -> None:
    found = decode(BIND)
    assert found == Pdu(
        bodies.BindTransmitter(
            system_id="SMPP3TEST", password="secret08", system_type="SUBMIT1", interface_version=0x34, addr_ton=1, addr_npi=1
        ),
        1,
    )
    assert encode(found) == BIND


def test_unknown_commands_and_unknown_optional_parameters_are_kept_as_they_came() -> None:
    foreign = bytes.fromhex("00000013000102030000000000000009") + b"abc"
    assert decode(foreign) == Pdu(Unknown(command=0x0001_0203, data=b"abc"), 9)
    assert encode(decode(foreign)) == foreign
    own = Pdu(SubmitSmResp(message_id="7", tlvs=(Tlv(0x1401, b"x"), Tlv(0x1401, b""), Tlv(0x0005, b"\0"))), 3)
    assert decode(encode(own)) == own
    assert own.body.tlv(Tag.MESSAGE_PAYLOAD) is None


def test_a_response_may_lack_its_body_and_a_request_may_not() -> None:
    assert decode(bytes.fromhex("00000010800000040000005800000002")) == Pdu(SubmitSmResp(), 2, Status.ESME_RTHROTTLED)
    with pytest.raises(PduError) as caught:
        decode(bytes.fromhex("00000010000000050000000000000002"))
    assert (caught.value.status, caught.value.command, caught.value.sequence) == (Status.ESME_RINVCMDLEN, Command.DELIVER_SM, 2)
    assert not caught.value.is_fatal


@pytest.mark.parametrize(
    ("cut", "status"),
    [
        (lambda data: data[:-1], Status.ESME_RINVMSGLEN),  # the message is shorter than sm_length
        (lambda data: data + b"\x04\x24\x00", Status.ESME_RINVOPTPARSTREAM),
        (lambda data: data + b"\x04\x24\x00\x05hell", Status.ESME_RINVOPTPARSTREAM),
    ],
)
def test_lengths_that_are_not_the_pdus_are_errors_that_say_which(cut: object, status: Status) -> None:
    good = encode(Pdu(DeliverSm(source=Address(1, 1, "491"), destination=Address(1, 1, "492"), short_message=b"hello"), 5))
    bad = cut(good)  # type: ignore[operator]
    with pytest.raises(PduError) as caught:
        decode(len(bad).to_bytes(4, "big") + bad[4:])
    assert (caught.value.status, caught.value.sequence) == (status, 5)


def test_a_text_longer_than_its_field_is_refused_by_the_status_of_that_field() -> None:
    body = bytes(1) + bytes([1, 1]) + b"1" * 21 + b"\0" + bytes(20)
    with pytest.raises(PduError) as caught:
        decode((16 + len(body)).to_bytes(4, "big") + bytes.fromhex("000000040000000000000001") + body)
    assert caught.value.status == Status.ESME_RINVSRCADR
    for bad in (
        SubmitSm(source=Address(1, 1, "1" * 21)),
        SubmitSm(short_message=bytes(255)),
        SubmitSm(validity_period="soon"),
        BindTransceiver(password="ninechars"),
        SubmitSm(source=Address(300, 1, "1")),
        SubmitSm(source=Address(1, 1, "a\0b")),
    ):
        with pytest.raises(ValueError, match=r"must|at most|range"):
            encode(Pdu(bad, 1))


@given(st.lists(any_body(), max_size=4), st.data())
def test_a_stream_reads_alike_however_it_is_torn(some: list[Body], data: st.DataObject) -> None:
    stream = b"".join(encode(Pdu(body, number + 1)) for number, body in enumerate(some))
    size = data.draw(st.integers(1, 60))
    framing = Framing()
    found = [item for at in range(0, len(stream), size) for item in framing.feed(stream[at : at + size])]
    assert found == [Pdu(body, number + 1) for number, body in enumerate(some)]


def test_a_length_out_of_bounds_ends_the_reading_and_one_bad_body_does_not() -> None:
    good = encode(Pdu(EnquireLink(), 1))
    bad = bytes.fromhex("00000012000000050000000000000002") + b"xx"
    framing = Framing()
    first, second, third = framing.feed(good + bad + good)
    assert (first, third) == (Pdu(EnquireLink(), 1), Pdu(EnquireLink(), 1))
    assert isinstance(second, PduError)
    assert not second.is_fatal
    for length in (0, 15, 70_001, 0xFFFF_FFFF):
        (only,) = Framing().feed(length.to_bytes(4, "big") + good[4:] + good)
        assert isinstance(only, PduError)
        assert only.is_fatal


def test_nothing_personal_or_secret_is_shown() -> None:
    shown = repr(
        [
            Pdu(BindTransceiver(system_id="esme", password="secret08", address_range="4930"), 1),
            Pdu(SubmitSm(source=Address(1, 1, "493023125000"), short_message=b"hello", tlvs=(Tlv(0x424, b"hidden"),)), 2),
        ]
    )
    assert not any(word in shown for word in ("secret08", "493023125000", "4930", "hello", "hidden"))
