"""Septets packed into octets, from the lowest bit (3GPP TS 23.038 section 6.1.2.1)."""

from collections.abc import Iterable


def pack(septets: Iterable[int], *, fill_bits: int = 0) -> bytes:
    """The octets; `fill_bits` zero bits first, so that the first septet after a header begins on a septet boundary."""
    value, bits = 0, fill_bits
    packed = bytearray()
    for septet in septets:
        value |= septet << bits
        bits += 7
        while bits >= 8:
            packed.append(value & 0xFF)
            value >>= 8
            bits -= 8
    if bits:
        packed.append(value & 0xFF)
    return bytes(packed)


def unpack(octets: bytes, *, fill_bits: int = 0, count: int | None = None) -> list[int]:
    """The septets after `fill_bits`, `count` of them at most: without it a last one of zero bits, which may be padding, is dropped."""
    value, bits, skip = 0, 0, fill_bits
    septets: list[int] = []
    for octet in octets:
        value |= octet << bits
        bits += 8
        if skip:
            drop = min(skip, bits)
            value >>= drop
            bits -= drop
            skip -= drop
        while bits >= 7:
            septets.append(value & 0x7F)
            value >>= 7
            bits -= 7
    if count is not None:
        return septets[:count]
    if septets and septets[-1] == 0 and bits == 0:
        septets.pop()
    return septets


def fill_bits_after(header_octets: int) -> int:
    """How many bits follow a header (its length octet included) up to the next septet boundary."""
    return -header_octets * 8 % 7
