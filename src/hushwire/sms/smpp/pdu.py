"""PDUs from bytes and back: a header of 16 octets, then a body (SMPP 3.4 section 3.2).

command_length 4 | command_id 4 | command_status 4 | sequence_number 4 | body
"""

import struct
from typing import Final

from hushwire.core.values import frozen
from hushwire.sms.smpp.bodies import BODIES, Body, Unknown
from hushwire.sms.smpp.codes import RESPONSE, Status
from hushwire.sms.smpp.errors import PduError
from hushwire.sms.smpp.fields import read_tlvs, write_tlvs

HEADER_BYTES: Final = 16
LONGEST_BYTES: Final = 70_000
"""A message_payload of 64 KiB, with all that may stand beside it."""
LAST_SEQUENCE: Final = 0x7FFF_FFFF
_HEADER: Final = struct.Struct(">IIII")


@frozen
class Pdu:
    """One PDU. `sequence` pairs a response with its request; `status` is 0 in requests."""

    body: Body
    sequence: int
    status: int = Status.ESME_ROK


def encode(pdu: Pdu) -> bytes:
    """The PDU's bytes. Raises ValueError if a field can't hold its value."""
    body = pdu.body
    if isinstance(body, Unknown):
        return _HEADER.pack(HEADER_BYTES + len(body.data), body.command, pdu.status, pdu.sequence) + body.data
    written = bytearray(HEADER_BYTES)
    for name, field in body.LAYOUT:
        field.write(getattr(body, name), written)
    if body.tlvs:
        write_tlvs(body.tlvs, written)
    _HEADER.pack_into(written, 0, len(written), body.COMMAND, pdu.status, pdu.sequence)
    return bytes(written)


def decode(data: bytes) -> Pdu:
    """The one PDU that `data` is. Raises PduError.

    A response may lack its body: those that report an error have none (section 3.2), and some carriers leave it out elsewhere too.
    """
    if len(data) < HEADER_BYTES:
        raise PduError("a header is cut", Status.ESME_RINVCMDLEN, is_fatal=True)
    length, command, status, sequence = _HEADER.unpack_from(data)
    if length != len(data):
        raise PduError("command_length is not the PDU's", Status.ESME_RINVCMDLEN, command, sequence, is_fatal=True)
    kind = BODIES.get(command)
    if kind is None:
        return Pdu(Unknown(command=command, data=data[HEADER_BYTES:]), sequence, status)
    if length == HEADER_BYTES and command & RESPONSE:
        return Pdu(kind(), sequence, status)
    at = HEADER_BYTES
    values = {}
    try:
        for name, field in kind.LAYOUT:
            values[name], at = field.read(data, at)
        if at < length:
            values["tlvs"] = read_tlvs(data, at)
    except PduError as error:
        raise PduError(str(error), error.status, command, sequence) from None
    return Pdu(kind(**values), sequence, status)


class Framing:
    """Cuts a stream into PDUs. What it holds is bounded by `longest` octets and what one `feed` brings."""

    __slots__ = ("_held", "_longest")

    def __init__(self, longest: int = LONGEST_BYTES) -> None:
        self._held = bytearray()
        self._longest = longest

    def feed(self, data: bytes) -> list[Pdu | PduError]:
        """The PDUs that `data` completes, and in their places those that can't be read. After a fatal error nothing follows."""
        held = self._held
        held += data
        found: list[Pdu | PduError] = []
        at = 0
        while len(held) - at >= HEADER_BYTES:
            length, command, _, sequence = _HEADER.unpack_from(held, at)
            if not HEADER_BYTES <= length <= self._longest:
                found.append(PduError("command_length is out of bounds", Status.ESME_RINVCMDLEN, command, sequence, is_fatal=True))
                held.clear()
                return found
            if len(held) - at < length:
                break
            try:
                found.append(decode(bytes(held[at : at + length])))
            except PduError as error:
                found.append(error)
            at += length
        del held[:at]
        return found
