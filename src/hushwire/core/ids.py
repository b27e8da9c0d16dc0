"""Id types: UUIDs version 7, made in the application so that any PostgreSQL from 15 on serves."""

from typing import Final, NewType
from uuid import UUID

OrgId = NewType("OrgId", UUID)
AgentId = NewType("AgentId", UUID)
CallId = NewType("CallId", UUID)
RecordingId = NewType("RecordingId", UUID)
TrunkId = NewType("TrunkId", UUID)
NodeId = NewType("NodeId", UUID)
BucketId = NewType("BucketId", UUID)


_VERSION: Final = (0x7 << 76) | (0x2 << 62)
_CHANCE: Final = ((1 << 80) - 1) & ~(0xF << 76) & ~(0x3 << 62)


def uuid7(unix_ms: int, random: bytes) -> UUID:
    """A version 7 UUID (RFC 9562 section 5.7) of a wall-clock millisecond and 10 random bytes.

    Raises ValueError if the time is outside 48 bits or `random` is not 10 bytes long.
    """
    return UUID(bytes=uuid7_bytes(unix_ms, random))


def uuid7_bytes(unix_ms: int, random: bytes) -> bytes:
    """The 16 bytes of such an id. Raises as `uuid7` does."""
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError("unix_ms must fit 48 bits")
    if len(random) != 10:
        raise ValueError("random must be 10 bytes")
    return ((unix_ms << 80) | (int.from_bytes(random, "big") & _CHANCE) | _VERSION).to_bytes(16, "big")
