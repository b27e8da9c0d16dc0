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
