"""Receipts as carriers write them (SMPP 3.4 appendix B and section 5.3.2)."""

import pytest

from hushwire.sms.smpp.bodies import DataSm, DeliverSm
from hushwire.sms.smpp.fields import Tlv
from hushwire.sms.smpp.receipts import Fate, Receipt, canonical, is_receipt, receipt_of

APPENDIX_B = (
    b"id:0123456789 sub:001 dlvrd:001 submit date:2611260801 done date:2611260802 stat:DELIVRD err:000 text:Hello there stat:EXPIRED"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (APPENDIX_B, Receipt("0123456789", Fate.DELIVERED, None)),
        (
            b"id:7F3a sub:001 dlvrd:000 submit date:2611260801 done date:2611260802 stat:UNDELIV err:012 text:",
            Receipt("7F3a", Fate.FAILED, "err-012"),
        ),
        (b"ID: 99 SUB: 1 STAT: Expired ERR: 0", Receipt("99", Fate.EXPIRED, "expired")),
        (b"id:5ff0-a1 stat:ENROUTE", Receipt("5ff0-a1", Fate.PENDING, "enroute")),
        (b"id:1 stat:ACCEPTD err:000", Receipt("1", Fate.PENDING, "accepted")),
        (b"id:1 stat:REJECTD err:1b", Receipt("1", Fate.FAILED, "err-1b")),
        (b"id:1 stat:DELETED", Receipt("1", Fate.FAILED, "deleted")),
        (b"stat:DELIVERED id:1 err:000", Receipt("1", Fate.DELIVERED, None)),
        (b"id:1 err:secretwords stat:FAILED", Receipt("1", Fate.FAILED, "undeliverable")),
    ],
)
def test_receipts_in_text_are_read_in_every_spelling(text: bytes, expected: Receipt) -> None:
    assert receipt_of(DeliverSm(esm_class=4, short_message=text)) == expected
    assert receipt_of(DeliverSm(esm_class=4, data_coding=8, short_message=text.decode().encode("utf-16-be")[:254])) in (expected, None)
    assert receipt_of(DataSm(esm_class=4, tlvs=(Tlv(0x424, text),))) == expected


def test_optional_parameters_count_before_the_text() -> None:
    tlvs = (Tlv(0x1E, b"ABC\0"), Tlv(0x427, b"\5"), Tlv(0x423, b"\3\0\x15"))
    assert receipt_of(DeliverSm(esm_class=4, short_message=APPENDIX_B, tlvs=tlvs)) == Receipt("ABC", Fate.FAILED, "network-3-21")
    assert receipt_of(DeliverSm(esm_class=4, tlvs=tlvs[:2])) == Receipt("ABC", Fate.FAILED, "undeliverable")
    assert receipt_of(DeliverSm(esm_class=4, tlvs=tlvs[:1])) is None


def test_a_message_that_quotes_a_receipt_is_a_message_unless_its_carrier_marks_none() -> None:
    message = DeliverSm(short_message=APPENDIX_B)
    assert receipt_of(message) is None
    assert not is_receipt(message)
    assert receipt_of(message, is_told_by_text=True) == Receipt("0123456789", Fate.DELIVERED, None)
    assert receipt_of(DeliverSm(short_message=b"my id: 4711, what is the stat: of it?"), is_told_by_text=True) is None


@pytest.mark.parametrize("name", [b"a\0b", b"x" * 129, b"\xa0", b"a\x1bb"])
def test_an_id_that_no_centre_gives_names_nothing(name: bytes) -> None:
    assert receipt_of(DeliverSm(esm_class=4, tlvs=(Tlv(0x1E, name), Tlv(0x427, b"\2")))) is None
    assert receipt_of(DataSm(esm_class=4, tlvs=(Tlv(0x424, b"id:" + name + b" stat:DELIVRD"),))) is None


def test_an_intermediate_notification_ends_nothing_but_by_delivery() -> None:
    assert receipt_of(DeliverSm(esm_class=0x20, short_message=b"id:1 stat:UNDELIV err:001")) == Receipt("1", Fate.PENDING, "err-001")
    assert receipt_of(DeliverSm(esm_class=0x20, short_message=b"id:1 stat:DELIVRD")) == Receipt("1", Fate.DELIVERED, None)


def test_one_id_is_the_same_across_hex_decimal_padding_and_case_as_the_carrier_is_set() -> None:
    assert canonical("7F3A", "hex") == canonical("0x7f3a", "hex") == canonical("0000032570", "decimal") == canonical("32570 ", "decimal")
    assert canonical("ab-1", "caseless") == canonical("AB-1", "caseless")
    assert canonical("ab-1", "exact") != canonical("AB-1", "exact")
    assert canonical("10", "hex") != canonical("10", "decimal")
    assert canonical("0010", "exact") != canonical("10", "exact")
    assert canonical("5ff0-a1", "decimal") == canonical("5FF0-A1", "hex")  # no numbers: compared as text
    assert canonical("n1", "caseless") != canonical("1", "decimal")
