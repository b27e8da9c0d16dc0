"""A ZIP archive as a stream that can be taken up again after each file: nothing that was written has to be seen or changed again.

Pure. Every entry is ZIP64 with a data descriptor (APPNOTE 6.3.10, sections 4.3.7, 4.3.9, 4.5.3), so neither sizes nor their greatness
have to be known before. Names are UTF-8.
"""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_DESCRIPTOR: Final = struct.Struct("<IIQQ")
_EXTRA_LOCAL: Final = struct.Struct("<HHQQ")
_EXTRA_CENTRAL: Final = struct.Struct("<HHQQQ")
_END_64: Final = struct.Struct("<IQHHIIQQQQ")
_LOCATOR: Final = struct.Struct("<IIQI")
_END: Final = struct.Struct("<IHHHHIIH")
_VERSION: Final = 45
_FLAGS: Final = 0x0808  # sizes follow the data; names are UTF-8
_DEFLATE: Final = 8
_BIG: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished file. `offset`: where its header stands; `packed`: its length in the archive; `sha256`: of what it holds, hexadecimal."""

    name: str
    offset: int
    crc: int
    packed: int
    size: int
    sha256: str

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Zipper:
    """Makes an archive. `entries` and `offset` are all that a new one needs to go on where another stopped."""

    def __init__(self, at: datetime, entries: Sequence[Entry] = (), offset: int = 0) -> None:
        self.entries = list(entries)
        self.offset = offset
        year = min(max(at.year, 1980), 2107)
        self._date = (year - 1980) << 9 | at.month << 5 | at.day
        self._time = at.hour << 11 | at.minute << 5 | at.second // 2
        self._name = ""
        self._begun = 0
        self._crc = self._size = self._packed = 0
        self._digest = hashlib.sha256()
        self._packer = zlib.compressobj(1, zlib.DEFLATED, -15)

    def begin(self, name: str) -> bytes:
        """The header of the next file."""
        self._name, self._begun = name, self.offset
        self._crc = self._size = self._packed = 0
        self._digest = hashlib.sha256()
        self._packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        encoded = name.encode()
        head = _LOCAL.pack(
            0x04034B50, _VERSION, _FLAGS, _DEFLATE, self._time, self._date, 0, _BIG, _BIG, len(encoded), _EXTRA_LOCAL.size
        )  # fmt: skip
        return self._out(head + encoded + _EXTRA_LOCAL.pack(1, 16, 0, 0))

    def add(self, data: bytes) -> bytes:
        """What these bytes of the file add to the archive."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._digest.update(data)
        return self._pack(self._packer.compress(data))

    def end(self) -> bytes:
        """The rest of the file; it stands in `entries` from then on."""
        rest = self._pack(self._packer.flush())
        descriptor = self._out(_DESCRIPTOR.pack(0x08074B50, self._crc, self._packed, self._size))
        self.entries.append(Entry(self._name, self._begun, self._crc, self._packed, self._size, self._digest.hexdigest()))
        return rest + descriptor

    def finish(self) -> bytes:
        """The directory that closes the archive."""
        start = self.offset
        parts = []
        for entry in self.entries:
            name = entry.name.encode()
            extra = _EXTRA_CENTRAL.pack(1, 24, entry.size, entry.packed, entry.offset)
            parts.append(
                _CENTRAL.pack(
                    0x02014B50, 3 << 8 | _VERSION, _VERSION, _FLAGS, _DEFLATE, self._time, self._date, entry.crc, _BIG, _BIG,
                    len(name), len(extra), 0, 0, 0, 0o600 << 16, _BIG,
                ) + name + extra
            )  # fmt: skip
        directory = b"".join(parts)
        end, count = start + len(directory), len(self.entries)
        return self._out(
            directory
            + _END_64.pack(0x06064B50, _END_64.size - 12, _VERSION, _VERSION, 0, 0, count, count, len(directory), start)
            + _LOCATOR.pack(0x07064B50, 0, end, 1)
            + _END.pack(0x06054B50, 0, 0, 0xFFFF, 0xFFFF, _BIG, _BIG, 0)
        )

    def _pack(self, packed: bytes) -> bytes:
        self._packed += len(packed)
        return self._out(packed)

    def _out(self, data: bytes) -> bytes:
        self.offset += len(data)
        return data
