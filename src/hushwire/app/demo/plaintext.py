"""Finds out whether known sound lies readable on a disk: in u-law, A-law, linear or float samples, raw, in hex or in base64.

A sound becomes some thousand needles of 24 bytes and more, short enough to lie inside one RTP packet and taken from its liveliest
places. One pass over the bytes looks for all of them. Compression would hide them from a look at files, which is why a
database is to be read through its rows too (`scan` over `row::text`).
"""

import base64
import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hushwire.app.demo.packets import mulaw_to_linear

STEP: Final = 200
WINDOW: Final = 32
MIN_DISTINCT: Final = 12
TONE_DISTINCT: Final = 3
MIN_START: Final = 4
CHUNK: Final = 1 << 20
TABLE_BITS: Final = 22


@dataclass(frozen=True, slots=True)
class Finding:
    """Readable sound: in which file (or table), at which byte, in which form."""

    where: str
    offset: int
    form: str


class Needles:
    """The forms that known sounds would take, ready to be looked for."""

    def __init__(self, needles: dict[bytes, str]) -> None:
        self._by_start: dict[bytes, list[tuple[bytes, str]]] = {}
        for needle, form in needles.items():
            self._by_start.setdefault(needle[:8], []).append((needle, form))
        self._longest = max(map(len, needles))
        self._first, self._second = (_table(needle[at : at + 4] for needle in needles) for at in (0, 4))

    @classmethod
    def of(cls, *sounds: NDArray[np.int16]) -> Self:
        """Needles for 16-bit sounds as they are after G.711. Raises ValueError when a sound is too dull to be told from chance."""
        needles: dict[bytes, str] = {}
        for samples in sounds:
            # A needle that begins like padding would be looked at in every empty page.
            found = {needle: form for needle, form in _forms(samples) if len(set(needle[:8])) >= MIN_START}
            if not found:
                raise ValueError("nothing lively enough in this sound")
            needles |= found
        return cls(needles)

    def scan(self, data: bytes | mmap.mmap, where: str) -> list[Finding]:
        """The first needle found in each MiB of `data`."""
        found = []
        for start in range(0, len(data), CHUNK):
            finding = self._scan_chunk(data[start : start + CHUNK + self._longest], where, start)
            if finding is not None:
                found.append(finding)
        return found

    def scan_file(self, path: Path) -> list[Finding]:
        """Findings in one regular file; a file that goes away meanwhile holds nothing."""
        try:
            with path.open("rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or os.fstat(file.fileno()).st_size == 0:
                    return []
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    return self.scan(data, str(path))
        except (FileNotFoundError, PermissionError, ValueError):
            return []

    def scan_folders(self, folders: Iterable[Path]) -> tuple[list[Finding], int]:
        """Findings in all regular files below `folders`, and how many bytes were read."""
        found: list[Finding] = []
        size = 0
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    found += self.scan_file(path)
                    size += _size(path)
        return found, size

    def scan_unlinked(self, pids: Iterable[int]) -> list[Finding]:
        """Findings in files that these processes hold open though they have no name any more (also memory files)."""
        found: list[Finding] = []
        for pid in pids:
            for link in _open_links(pid):
                if " (deleted)" in os.path.realpath(link) or "memfd:" in os.path.realpath(link):
                    found += self.scan_file(link)
        return found

    def _scan_chunk(self, data: bytes, where: str, base: int) -> Finding | None:
        if len(data) < 12 or not any(data):
            return None
        raw = np.frombuffer(data, dtype=np.uint8)
        for shift in range(4):
            words = raw[shift : shift + (len(raw) - shift) // 4 * 4].view("<u4")
            hits = np.flatnonzero(self._first[_places(words[:-1])])
            hits = hits[self._second[_places(words[hits + 1])]]
            for place in hits:
                at = shift + 4 * int(place)
                for needle, form in self._by_start.get(data[at : at + 8], ()):
                    if data.startswith(needle, at):
                        return Finding(where, base + at, form)
        return None


def linear_to_mulaw(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """ITU-T G.711 u-law codes."""
    values = samples.astype(np.int32)
    magnitude = np.minimum(np.abs(values), 32635) + 0x84
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(values < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa)).astype(np.uint8)
    return codes


def linear_to_alaw(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """ITU-T G.711 A-law codes."""
    values = samples.astype(np.int32)
    magnitude = np.minimum(np.where(values < 0, -values - 1, values), 32767) >> 3
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = np.where(exponent == 0, magnitude >> 1, magnitude >> np.maximum(exponent, 1)) & 0x0F
    sign = np.where(values < 0, 0, 0x80)
    codes: NDArray[np.uint8] = ((sign | (exponent << 4) | mantissa) ^ 0x55).astype(np.uint8)
    return codes


def _forms(samples: NDArray[np.int16]) -> Iterator[tuple[bytes, str]]:
    mulaw = linear_to_mulaw(samples)
    heard = mulaw_to_linear(mulaw.tobytes())
    # What is tried: the codes as sent, and what they become when decoded, re-encoded or widened.
    for name, values in (
        ("PCMU", mulaw),
        ("PCMA", linear_to_alaw(samples)),
        ("PCMA from PCMU", linear_to_alaw(heard)),
        ("linear before coding", samples.astype("<i2")),
        ("linear", heard.astype("<i2")),
        ("linear, big-endian", heard.astype(">i2")),
        ("float", (heard / np.float32(32768)).astype("<f4")),
    ):
        for start in _lively(mulaw):
            window = values[start : start + WINDOW].tobytes()
            yield window, name
            yield window.hex().encode(), f"{name} in hex"
            yield window.hex().upper().encode(), f"{name} in hex"
            for lead in range(3):
                # The part of the text that does not depend on the neighbours' bytes.
                yield base64.b64encode(bytes(lead) + window)[4 if lead else 0 : -4], f"{name} in base64"


def _lively(codes: NDArray[np.uint8]) -> list[int]:
    windows = [(start, len(set(codes[start : start + WINDOW].tolist()))) for start in range(0, len(codes) - WINDOW, STEP)]
    lively = [start for start, distinct in windows if distinct >= MIN_DISTINCT]
    # A steady tone has few distinct codes; 32 of them in a row are still no chance.
    return lively or [start for start, distinct in windows if distinct >= TONE_DISTINCT][:: max(1, len(windows) // 50)]


def _table(starts: Iterable[bytes]) -> NDArray[np.bool_]:
    table = np.zeros(1 << TABLE_BITS, dtype=np.bool_)
    table[_places(np.frombuffer(b"".join(starts), dtype="<u4"))] = True
    return table


def _places(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return (words * np.uint32(2654435761)) >> np.uint32(32 - TABLE_BITS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _open_links(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return []
