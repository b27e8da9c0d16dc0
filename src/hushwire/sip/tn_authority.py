"""Which telephone numbers a certificate may sign for: its TNAuthList, read from DER (RFC 8226 section 9)."""

from typing import Final

from cryptography import x509

from hushwire.core.values import frozen

TN_AUTHORITY: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")
"""id-pe-TNAuthList."""
_MOST_ENTRIES: Final = 10_000
_MOST_DIGITS: Final = 15
_SEQUENCE, _INTEGER, _IA5 = 0x30, 0x02, 0x16
_CODE, _RANGE, _ONE = 0xA0, 0xA1, 0xA2  # explicitly tagged


@frozen
class Numbers:
    """What a TNAuthList holds: provider codes, and numbers from the first to the last, both of as many digits."""

    codes: tuple[str, ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()

    def covers(self, number: str) -> bool:
        """Whether it stands for the number, in digits. A provider's code stands for whatever numbers the provider has."""
        if self.codes:
            return True
        return any(len(first) == len(number) and first <= number <= last for first, last in self.ranges)


def numbers_of(certificate: x509.Certificate) -> Numbers | None:
    """The certificate's list; None where it has none. Raises ValueError where it can't be read."""
    try:
        value = certificate.extensions.get_extension_for_oid(TN_AUTHORITY).value
    except x509.ExtensionNotFound:
        return None
    return read(value.public_bytes())


def read(der: bytes) -> Numbers:
    """TNAuthorizationList ::= SEQUENCE SIZE (1..MAX) OF TNEntry. Raises ValueError."""
    tag, body, rest = _element(der)
    if tag != _SEQUENCE or rest or not body:
        raise ValueError("no list")
    codes: list[str] = []
    ranges: list[tuple[str, str]] = []
    while body:
        tag, entry, body = _element(body)
        if len(codes) + len(ranges) >= _MOST_ENTRIES:
            raise ValueError("too many entries")
        if tag == _CODE:
            codes.append(_text(entry))
        elif tag == _ONE:
            number = _digits(_text(entry))
            ranges.append((number, number))
        elif tag == _RANGE:
            ranges.append(_range(entry))
        else:
            raise ValueError("an unknown kind of entry")
    return Numbers(tuple(codes), tuple(ranges))


def _range(entry: bytes) -> tuple[str, str]:
    """TelephoneNumberRange ::= SEQUENCE { start TelephoneNumber, count INTEGER (2..MAX) }"""
    tag, body, rest = _element(entry)
    start_tag, start, count_part = _element(body)
    count_tag, count, after = _element(count_part)
    if tag != _SEQUENCE or rest or start_tag != _IA5 or count_tag != _INTEGER or after or not 1 <= len(count) <= 8:
        raise ValueError("no range")
    first = _digits(start.decode("ascii"))
    last = str(int(first) + int.from_bytes(count, "big", signed=True) - 1).zfill(len(first))
    if last < first or len(last) != len(first):
        raise ValueError("a range beyond its digits")
    return first, last


def _text(entry: bytes) -> str:
    tag, body, rest = _element(entry)
    if tag != _IA5 or rest or not body:
        raise ValueError("no text")
    return body.decode("ascii")


def _digits(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError("no number in digits")
    return text


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows (X.690 section 10.1: lengths in their shortest form)."""
    if len(data) < 2:
        raise ValueError("cut off")
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        if not 3 <= start <= 5 or len(data) < start:
            raise ValueError("no length")
        length = int.from_bytes(data[2:start], "big")
        if length < 0x80:
            raise ValueError("a length that is not in its shortest form")
    if len(data) < start + length:
        raise ValueError("cut off")
    return tag, data[start : start + length], data[start + length :]
