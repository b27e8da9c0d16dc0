"""STUN keep-alive on the SIP port (RFC 5626 section 3.5.2, RFC 8489): where a phone behind a NAT is seen from. Pure bytes.

Only Binding requests, and only that one attribute: a phone that sees another address than before knows that its flow is dead.
"""

import ipaddress
import struct
from typing import Final

from hushwire.sip.flow import Address

_COOKIE: Final = b"\x21\x12\xa4\x42"
_REQUEST: Final = b"\x00\x01"
_SUCCESS: Final = b"\x01\x01"
_ERROR: Final = b"\x01\x11"
_HEADER: Final = 20
_XOR_MAPPED_ADDRESS: Final = 0x0020
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_REQUIRED: Final = 0x8000  # types below it must be understood (RFC 8489 section 14)
_MOST: Final = 548


def answer(datagram: bytes, source: Address) -> bytes | None:
    """The answer to a Binding request; None where it is none: then it is nobody's business here."""
    if not _HEADER <= len(datagram) <= _MOST or datagram[:2] != _REQUEST or datagram[4:8] != _COOKIE:
        return None
    (length,) = struct.unpack_from("!H", datagram, 2)
    if length != len(datagram) - _HEADER or length % 4:
        return None
    unknown: list[int] = []
    at = _HEADER
    while at + 4 <= len(datagram):
        kind, size = struct.unpack_from("!HH", datagram, at)
        at += 4 + (size + 3) // 4 * 4
        if kind < _REQUIRED:
            unknown.append(kind)
    if at != len(datagram):
        return None
    if unknown:
        # Section 6.3.1: what must be understood and is not gets 420 and is named.
        named = b"".join(struct.pack("!H", kind) for kind in unknown[:8])
        return _message(_ERROR, datagram, _attribute(_ERROR_CODE, b"\0\0\x04\x14Unknown") + _attribute(_UNKNOWN_ATTRIBUTES, named))
    return _message(_SUCCESS, datagram, _attribute(_XOR_MAPPED_ADDRESS, _xored(source, datagram[4:_HEADER])))


def _message(kind: bytes, request: bytes, attributes: bytes) -> bytes:
    return kind + struct.pack("!H", len(attributes)) + request[4:_HEADER] + attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _xored(source: Address, pad: bytes) -> bytes:
    packed = ipaddress.ip_address(source.host.partition("%")[0]).packed
    port = source.port ^ int.from_bytes(pad[:2])
    return struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, port) + bytes(one ^ other for one, other in zip(packed, pad, strict=False))
