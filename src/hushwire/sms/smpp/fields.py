"""The kinds of fields that bodies are made of (SMPP 3.4 section 3.1): each reads itself at a place, and writes itself.

Text is Latin-1 both ways, so that no byte is lost on the way; a length that its field does not allow is an error either way.
"""

from dataclasses import field
from typing import Any, Final, Protocol

from hushwire.core.values import frozen
from hushwire.sms.smpp.codes import Status
from hushwire.sms.smpp.errors import PduError

TIME_CHARACTERS: Final = 16


@frozen
class Address:
    """A party: type of number, numbering plan, and its digits or letters (sections 5.2.5 to 5.2.9)."""

    ton: int = 0
    npi: int = 0
    text: str = field(default="", repr=False)


@frozen
class Tlv:
    """One optional parameter, known or not (section 5.3.1)."""

    tag: int
    value: bytes = field(repr=False)


class Field(Protocol):
    """One parameter of a body."""

    def read(self, data: bytes, at: int) -> tuple[Any, int]:
        """The value that begins at `at`, and where the next field does. Raises PduError."""
        ...

    def write(self, value: Any, into: bytearray) -> None:
        """Append `value`. Raises ValueError where the field can't hold it."""
        ...


class Octet:
    """An integer of one octet."""

    __slots__ = ()

    def read(self, data: bytes, at: int) -> tuple[int, int]:
        if at >= len(data):
            raise PduError("a body ends before its last field", Status.ESME_RINVCMDLEN)
        return data[at], at + 1

    def write(self, value: int, into: bytearray) -> None:
        into.append(value)


class CString:
    """Text and a zero octet, `limit` octets at most with it."""

    __slots__ = ("_limit", "_status")

    def __init__(self, limit: int, status: int = Status.ESME_RINVCMDLEN) -> None:
        self._limit = limit
        self._status = status

    def read(self, data: bytes, at: int) -> tuple[str, int]:
        end = data.find(0, at, at + self._limit)
        if end < 0:
            is_cut = len(data) < at + self._limit
            raise PduError("a text is not ended within its limit", Status.ESME_RINVCMDLEN if is_cut else self._status)
        return data[at:end].decode("latin-1"), end + 1

    def write(self, value: str, into: bytearray) -> None:
        encoded = value.encode("latin-1")
        if len(encoded) >= self._limit or 0 in encoded:
            raise ValueError(f"a text must be shorter than {self._limit} octets, without zeros")
        into += encoded
        into.append(0)


class Time:
    """A time of exactly 16 characters, or none (section 7.1.1)."""

    __slots__ = ("_status",)

    def __init__(self, status: int) -> None:
        self._status = status

    def read(self, data: bytes, at: int) -> tuple[str, int]:
        end = data.find(0, at, at + TIME_CHARACTERS + 1)
        if end - at not in (0, TIME_CHARACTERS):
            raise PduError("a time has neither 16 characters nor none", self._status)
        return data[at:end].decode("latin-1"), end + 1

    def write(self, value: str, into: bytearray) -> None:
        encoded = value.encode("latin-1")
        if len(encoded) not in (0, TIME_CHARACTERS) or 0 in encoded:
            raise ValueError("a time must have 16 characters, or none")
        into += encoded
        into.append(0)


class Party:
    """An `Address`, whose text with its zero has at most `limit` octets."""

    __slots__ = ("_text",)

    def __init__(self, limit: int, status: int) -> None:
        self._text = CString(limit, status)

    def read(self, data: bytes, at: int) -> tuple[Address, int]:
        if at + 2 > len(data):
            raise PduError("a body ends before its last field", Status.ESME_RINVCMDLEN)
        text, end = self._text.read(data, at + 2)
        return Address(data[at], data[at + 1], text), end

    def write(self, value: Address, into: bytearray) -> None:
        into.append(value.ton)
        into.append(value.npi)
        self._text.write(value.text, into)


class Octets:
    """`sm_length` and as many octets, 254 at most: `short_message` (section 5.2.21)."""

    __slots__ = ()
    LIMIT: Final = 254

    def read(self, data: bytes, at: int) -> tuple[bytes, int]:
        if at >= len(data):
            raise PduError("a body ends before its last field", Status.ESME_RINVCMDLEN)
        end = at + 1 + data[at]
        if data[at] > self.LIMIT or end > len(data):
            raise PduError("sm_length says more than there is", Status.ESME_RINVMSGLEN)
        return data[at + 1 : end], end

    def write(self, value: bytes, into: bytearray) -> None:
        if len(value) > self.LIMIT:
            raise ValueError("a short_message has at most 254 octets: the rest goes into message_payload")
        into.append(len(value))
        into += value


def read_tlvs(data: bytes, at: int) -> tuple[Tlv, ...]:
    """The optional parameters from `at` to the end, in their order. Raises PduError if the last one is cut."""
    found: list[Tlv] = []
    size = len(data)
    while at < size:
        if at + 4 > size:
            raise PduError("an optional parameter is cut", Status.ESME_RINVOPTPARSTREAM)
        start = at + 4
        end = start + int.from_bytes(data[at + 2 : start], "big")
        if end > size:
            raise PduError("an optional parameter is longer than the PDU", Status.ESME_RINVOPTPARSTREAM)
        found.append(Tlv(int.from_bytes(data[at : at + 2], "big"), data[start:end]))
        at = end
    return tuple(found)


def write_tlvs(tlvs: tuple[Tlv, ...], into: bytearray) -> None:
    """Append them. Raises ValueError for a value of more than 65,535 octets."""
    for tlv in tlvs:
        if len(tlv.value) > 0xFFFF:
            raise ValueError("an optional parameter has at most 65,535 octets")
        into += tlv.tag.to_bytes(2, "big") + len(tlv.value).to_bytes(2, "big") + tlv.value
