"""Links to `smpp34` (Rust) as another message centre, and its codec beside ours."""

import pytest
import smpp34

from hushwire.services.message_parties import Form
from hushwire.sms.smpp.bodies import DeliverSm, SubmitSm
from hushwire.sms.smpp.fields import Address, Tlv
from hushwire.sms.smpp.pdu import Pdu, decode, encode
from tests.polling import until
from tests.ports import free_port
from tests.recorded import House, house
from tests.services.message_texts import carrying, numbers

__all__ = ["house"]

OURS, THEIRS = Address(1, 1, "493023125000"), Address(5, 0, "ACME")
TLVS = (Tlv(0x0204, b"\x00\x07"), Tlv(0x1401, b"own"), Tlv(0x0424, b"x" * 300))


@pytest.mark.parametrize("kind", [SubmitSm, DeliverSm])
def test_another_codec_reads_what_ours_writes_and_writes_it_back_to_the_octet(kind: type[SubmitSm] | type[DeliverSm]) -> None:
    ours = Pdu(kind(source=THEIRS, destination=OURS, esm_class=0x40, data_coding=8, short_message=b"\x05\0\3\7\2\1hi", tlvs=TLVS), 77)
    theirs = smpp34.decode(encode(ours))
    assert (theirs.source_addr, theirs.destination_addr, theirs.short_message) == ("ACME", OURS.text, b"\x05\0\3\7\2\1hi")
    assert [(tlv.tag, tlv.value) for tlv in theirs.tlvs] == [(tlv.tag, tlv.value) for tlv in TLVS]
    assert (theirs.esm_class, theirs.data_coding, theirs.sequence_number) == (0x40, 8, 77)
    assert decode(theirs.encode()) == ours


async def test_messages_go_out_and_come_in_over_a_link_to_it(house: House) -> None:
    port = free_port()
    server = smpp34.Server("127.0.0.1", port, system_id="smsc")
    await server.start()
    try:
        async with carrying(house) as here:
            await here.provision(port)
            await here.start()
            esme = await server.next()
            assert isinstance(esme, smpp34.Esme)
            assert (esme.system_id, esme.can_receive) == ("esme", True)
            ids = await here.send(*numbers(3))
            seen = [await server.next() for _ in ids]
            assert sorted(event.destination_addr for event in seen) == [number[1:] for number in numbers(3)]
            seen[0].reject(0x0B)
            for number, event in enumerate(seen[1:]):
                event.accept(f"{number:08X}")
            refused, *taken = sorted(ids, key=lambda one: here.texts.messages[one].destination.reveal()[1:] != seen[0].destination_addr)
            await here.is_state(taken, "submitted")
            await here.is_state([refused], "failed")
            assert here.errors(refused) == ["ESME_RINVDSTADR"]
            answer = await esme.deliver_sm("493023125000", b"stop", source_addr="491701234567", source_addr_ton=1, source_addr_npi=1)
            assert answer.command_status == 0
            (text,) = await until(lambda: here.texts.received)
            assert (text.source.reveal(), text.source_form, text.payload.reveal()) == ("491701234567", Form.INTERNATIONAL, b"stop")
    finally:
        await server.stop()


async def test_long_and_ucs_2_messages_go_both_ways_and_their_receipts_are_matched(house: House) -> None:
    server = smpp34.Server("127.0.0.1", (port := free_port()), system_id="smsc")
    await server.start()
    try:
        async with carrying(house) as here:
            await here.provision(port)
            await here.start()
            esme = await server.next()
            assert isinstance(esme, smpp34.Esme)
            wide, first = "Grüße 🐍".encode("utf-16-be"), b"\x05\x00\x03\x07\x02\x01" + b"x" * 134
            ids = [
                *await here.send("+4930123450", text=wide, coding=8),
                *await here.send("+4930123451", text=first, coding=8, udh=True),
                *await here.send("+4930123452", text=b"part", sar=(300, 2, 1)),
                *await here.send("+4930123453", text=b"y" * 400),
            ]
            seen = {}
            for number in range(len(ids)):
                event = await server.next()
                seen[event.destination_addr] = event
                event.accept(f"{number:08X}")
            found = [seen[f"493012345{number}"] for number in range(4)]
            assert [(event.short_message, event.data_coding, event.esm_class) for event in found] == [
                (wide, 8, 0), (first, 8, 0x40), (b"part", 0, 0), (b"", 0, 0),
            ]  # fmt: skip
            assert [[(tlv.tag, tlv.value) for tlv in event.tlvs] for event in found] == [
                [], [], [(0x020C, b"\x01\x2c"), (0x020E, b"\2"), (0x020F, b"\1")], [(0x0424, b"y" * 400)],
            ]  # fmt: skip
            await here.is_state(ids, "submitted")
            for number in range(4):
                tlvs = [smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, b"%08x\0" % number), smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, b"\2")]
                answer = await esme.deliver_sm("493023125000", b"", source_addr=f"493012345{number}", esm_class=4, tlvs=tlvs)
                assert answer.command_status == 0
            await here.is_state(ids, "delivered")
            sar = [smpp34.Tlv(0x020C, b"\x01\x2c"), smpp34.Tlv(0x020E, b"\2"), smpp34.Tlv(0x020F, b"\1")]
            payload = [smpp34.Tlv(smpp34.TLV_MESSAGE_PAYLOAD, b"z" * 400)]
            for said in ({"data_coding": 8}, {"data_coding": 8, "esm_class": 0x40}, {"tlvs": sar}, {"tlvs": payload}):
                text = first if "esm_class" in said else b"" if said.get("tlvs") is payload else wide
                answer = await esme.deliver_sm("493023125000", text, source_addr="491701234567", source_addr_ton=1, **said)
                assert answer.command_status == 0
            assert [(text.payload.reveal(), text.data_coding, text.has_udh, text.sar) for text in here.texts.received] == [
                (wide, 8, False, None), (first, 8, True, None), (wide, 0, False, (300, 2, 1)), (b"z" * 400, 0, False, None),
            ]  # fmt: skip
    finally:
        await server.stop()
