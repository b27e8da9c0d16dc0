"""A part of a message as its centre takes it, and what a centre brings as whoever keeps messages takes it. Pure."""

import re
from datetime import datetime, timedelta
from typing import Final

from hushwire.core.personal import Personal
from hushwire.services.carriage import Inbound
from hushwire.services.message_centres import SmppSettings
from hushwire.services.message_parties import form_of, party
from hushwire.sms.smpp.bodies import DataSm, DeliverSm, SubmitSm
from hushwire.sms.smpp.codes import HAS_UDH, Tag
from hushwire.sms.smpp.fields import Address, Octets, Tlv
from hushwire.sms.text.segmentation import Segment

_TON_NETWORK, _TON_ALPHANUMERIC = 3, 5
LONGEST_VALIDITY: Final = timedelta(days=30)
_REQUESTED: Final = 1  # registered_delivery: a receipt, whatever becomes of it (section 5.2.17)


def submission(segment: Segment, source: Personal[str], destination: Personal[str], settings: SmppSettings) -> SubmitSm:
    """One part as submit_sm; whole as message_payload where it does not fit (section 5.3.2.32)."""
    payload = segment.payload
    tlvs: list[Tlv] = []
    if segment.sar is not None:
        reference, parts, place = segment.sar
        tlvs += [
            Tlv(Tag.SAR_MSG_REF_NUM, (reference & 0xFFFF).to_bytes(2, "big")),
            Tlv(Tag.SAR_TOTAL_SEGMENTS, bytes([parts])),
            Tlv(Tag.SAR_SEGMENT_SEQNUM, bytes([place])),
        ]
    if len(payload) > Octets.LIMIT:
        tlvs.append(Tlv(Tag.MESSAGE_PAYLOAD, payload))
        payload = b""
    return SubmitSm(
        service_type=settings.service_type,
        source=address(source, settings, is_source=True),
        destination=address(destination, settings, is_source=False),
        esm_class=HAS_UDH if segment.has_udh else 0,
        registered_delivery=_REQUESTED if settings.receipts else 0,
        data_coding=segment.data_coding,
        short_message=payload,
        tlvs=tuple(tlvs),
    )


def address(whose: Personal[str], settings: SmppSettings, *, is_source: bool) -> Address:
    """A canonical number, a short code or a name as the centre wants them (section 5.2.5)."""
    text = whose.reveal()
    if text.startswith("+"):
        ton, npi = (settings.source_ton, settings.source_npi) if is_source else (settings.destination_ton, settings.destination_npi)
        return Address(ton, npi, text if settings.number_format == "+e164" else text[1:])
    if text.isdigit():
        return Address(_TON_NETWORK, 0, text)
    return Address(_TON_ALPHANUMERIC, 0, text)


def validity(expires_at: datetime, now: datetime) -> str:
    """How long the centre shall try, relative to its own clock (section 7.1.1.2); none where the end is far."""
    left = expires_at - now
    if not timedelta(seconds=1) <= left <= LONGEST_VALIDITY:
        return ""
    minutes, seconds = divmod(left.seconds, 60)
    return f"0000{left.days:02}{minutes // 60:02}{minutes % 60:02}{seconds:02}000R"


def inbound(body: DeliverSm | DataSm, settings: SmppSettings, now: datetime) -> Inbound:
    """A received text."""
    sar = None
    told = [body.tlv(tag) for tag in (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)]
    reference, parts, place = told
    if reference is not None and parts is not None and place is not None and len(reference) == 2 and len(parts) == len(place) == 1:
        sar = (int.from_bytes(reference, "big"), parts[0], place[0])
    return Inbound(
        source=Personal(body.source.text),
        destination=Personal(body.destination.text),
        payload=Personal(body.payload),
        data_coding=body.data_coding,
        has_udh=bool(body.esm_class & HAS_UDH),
        sar=sar,
        at=now,
        source_form=form_of(body.source.ton, body.source.npi),
        destination_form=form_of(body.destination.ton, body.destination.npi),
        country=settings.country,
        untyped_is_national=settings.untyped_is_national,
    )


def receipt_digits(address: Address, settings: SmppSettings) -> str:
    """Whom a receipt is about, for comparing with whom a message was for."""
    form = form_of(address.ton, address.npi)
    return digits(party(address.text, form, settings.country, untyped_is_national=settings.untyped_is_national))


def digits(text: str) -> str:
    """A number for comparing: whatever a carrier writes before it."""
    found = re.sub(r"[^0-9]", "", text)
    return found[2:] if found.startswith("00") else found
