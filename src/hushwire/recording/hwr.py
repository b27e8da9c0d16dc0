"""The sealed recording format, `.hwr`: the normative reader, and a reference writer (docs/hwr.md).

Both are sans-I/O. The reader is fed bytes as they come from a disk or an object store and holds at most one frame; what it
returns is authentic and in its place. Only the last frame carries the final flag, so a closed file that misses its tail is an
error, while a crashed one (whoever wrote it died) gives the frames up to the crash and says so (`Ending.CUT`).
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushwire.core.clock import Random
from hushwire.recording import entries as entry_format
from hushwire.recording.entries import Entry, EntryKind
from hushwire.recording.failures import Failure, RecordingError

MAGIC: Final = b"HWR1"
VERSION: Final = 2
LEGS: Final = {1: 2, 2: entry_format.MOST_LEGS}
"""How many legs a file of each version may have."""
SUITE_AES_256_GCM: Final = 1
HEADER_LENGTH: Final = 76
MAX_FRAME: Final = 1 << 20
KEY_LENGTH: Final = 32

_CONTEXT: Final = struct.Struct(">4sBBH16s16sI")
_WORD: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">QB")
_NONCE: Final = 12
_TAG: Final = 16
_FINAL_BIT: Final = 1 << 31
_NEIGHBOURHOOD: Final = 8


class Ending(StrEnum):
    """How a file ended."""

    FINAL = "final"  # with its final frame: nothing is missing
    CUT = "cut"  # by a crash: what was read is a true prefix


@dataclass(frozen=True, slots=True)
class Identity:
    """Which recording a file must be: the reader refuses any other, whatever key it was sealed with."""

    org_id: UUID
    recording_id: UUID
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """What was noted of the whole file: number of frames, the final one included (None: it crashed), and its SHA-256."""

    frames: int | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame stands in its file: how many come before it, and its first byte."""

    sequence: int
    offset: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One opened frame; `offset`: the byte of the file at which it begins, `legs`: how many the file may have."""

    sequence: int
    is_final: bool
    plaintext: bytes
    offset: int
    legs: int = entry_format.MOST_LEGS

    def entries(self) -> Iterator[Entry]:
        """Its entries, in order. Raises RecordingError(BAD_ENTRIES)."""
        return entry_format.unpack(self.plaintext, self.legs)


class Reader:
    """Opens a file piece by piece: `feed` bytes in, authentic frames out; `finish` when the bytes are all there.

    `closed` holds what the row says of the file. With `crashed=True` a missing final frame is no error.
    Errors are RecordingError, and the frames returned before one were authentic.
    """

    def __init__(self, key: bytes, identity: Identity, *, closed: Closed | None = None, crashed: bool = False) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError("a data key has 32 bytes")
        self._key = key
        self._identity = identity
        self._closed = closed
        self._crashed = crashed
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._cipher: AESGCM | None = None
        self._header_digest = b""
        self._legs = 0
        self._sequence = 0
        self._offset = 0
        self._is_over = False
        self._is_zero_tail = False
        self._suspect: RecordingError | None = None

    @classmethod
    def within(cls, key: bytes, identity: Identity, header: bytes, place: Place, *, crashed: bool = False) -> "Reader":
        """A reader that is fed from `place` on, after the file's header. Each frame authenticates in its place as ever, and so does
        the final one; the digest of the whole file can't be checked by who reads a part of it.
        """
        made = cls(key, identity, crashed=crashed)
        made._buffer += header
        if not made._read_header():
            raise RecordingError(Failure.TRUNCATED, "the header is cut")
        made._sequence, made._offset = place.sequence, place.offset
        return made

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        return list(self.frames(data))

    def frames(self, data: bytes) -> Iterator[Frame]:
        """As `feed`, one by one: an error is raised only after the good frames before it were handed out."""
        self._digest.update(data)
        self._buffer += data
        if self._is_zero_tail and any(data):
            raise RecordingError(Failure.DAMAGED, "zeros in the middle of the file")
        if self._suspect is not None and any(data):
            raise self._suspect
        if self._cipher is None and not self._read_header():
            return
        while (frame := self._next_frame()) is not None:
            yield frame
        if self._is_over and self._buffer:
            raise RecordingError(Failure.TRAILING, "bytes after the final frame")

    def finish(self) -> Ending:
        """Says how the file ended. Raises RecordingError for a closed file that isn't whole."""
        if not self._is_over and not self._crashed:
            raise RecordingError(Failure.TRUNCATED, f"the final frame is missing after {self._sequence} frames")
        if self._closed is not None:
            if self._closed.frames not in (None, self._sequence):
                raise RecordingError(Failure.DIGEST_MISMATCH, "another number of frames than noted at closing")
            if not hmac.compare_digest(self._closed.digest, self._digest.digest()):
                raise RecordingError(Failure.DIGEST_MISMATCH, "another digest than noted at closing")
        return Ending.FINAL if self._is_over else Ending.CUT

    @property
    def frame_count(self) -> int:
        """Frames opened so far."""
        return self._sequence

    def _read_header(self) -> bool:
        if len(self._buffer) < HEADER_LENGTH:
            if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
                raise RecordingError(Failure.NOT_A_RECORDING, "the file doesn't begin like a sealed recording")
            return False
        header = bytes(self._buffer[:HEADER_LENGTH])
        if identify(header) != self._identity:
            raise RecordingError(Failure.FOREIGN, "the header names another organisation, recording or segment")
        if not hmac.compare_digest(header[_CONTEXT.size :], commitment(self._key, header[: _CONTEXT.size])):
            raise RecordingError(Failure.WRONG_KEY, "the header was made with another key, or changed")
        self._cipher = AESGCM(frame_key(self._key, header[: _CONTEXT.size]))
        self._header_digest = hashlib.sha256(header).digest()
        self._legs = LEGS[header[len(MAGIC)]]
        del self._buffer[:HEADER_LENGTH]
        self._offset = HEADER_LENGTH
        return True

    def _next_frame(self) -> Frame | None:
        if self._is_over or self._suspect is not None or self._is_zero_tail or len(self._buffer) < _WORD.size:
            return None
        (word,) = _WORD.unpack_from(self._buffer)
        length, is_final = word & ~_FINAL_BIT, bool(word & _FINAL_BIT)
        if not _NONCE + _TAG <= length <= MAX_FRAME:
            self._note_tail(word)
            return None
        if len(self._buffer) < _WORD.size + length:
            return None
        body = bytes(self._buffer[_WORD.size : _WORD.size + length])
        plaintext = self._open(body, self._sequence, is_final)
        if plaintext is None:
            self._refuse(body, is_final, nothing_follows=not any(self._buffer[_WORD.size + length :]))
            return None
        del self._buffer[: _WORD.size + length]
        frame = Frame(self._sequence, is_final, plaintext, self._offset, self._legs)
        self._offset += _WORD.size + length
        self._sequence += 1
        self._is_over = is_final
        return frame

    def _open(self, body: bytes, sequence: int, is_final: bool) -> bytes | None:
        assert self._cipher is not None
        try:
            return self._cipher.decrypt(body[:_NONCE], body[_NONCE:], additional_data(self._header_digest, sequence, is_final))
        except InvalidTag:
            return None

    def _note_tail(self, word: int) -> None:
        # A file system may have grown the file before the crash kept its bytes away: zeros up to the end are a missing tail.
        if self._crashed and word == 0 and not any(self._buffer):
            self._buffer.clear()
            self._is_zero_tail = True
            return
        raise RecordingError(Failure.DAMAGED, f"frame {self._sequence} has an impossible length")

    def _refuse(self, body: bytes, is_final: bool, *, nothing_follows: bool) -> None:
        low = max(0, self._sequence - _NEIGHBOURHOOD)
        for other in range(low, self._sequence + _NEIGHBOURHOOD + 1):
            if other != self._sequence and self._open(body, other, is_final) is not None:
                raise RecordingError(Failure.REORDERED, f"frame {other} stands in the place of frame {self._sequence}")
        error = RecordingError(Failure.DAMAGED, f"frame {self._sequence} was changed, or belongs to another file")
        if not (self._crashed and nothing_follows):
            raise error
        self._suspect = error  # a torn write if the file ends here, or holds zeros from here on; damage if anything follows


class Writer:
    """The reference writer: header and frames as bytes, for vectors and tests (hushwire-media writes its own)."""

    def __init__(self, key: bytes, identity: Identity, random: Random, version: int = VERSION) -> None:
        context = _CONTEXT.pack(
            MAGIC, version, SUITE_AES_256_GCM, HEADER_LENGTH, identity.org_id.bytes, identity.recording_id.bytes, identity.segment
        )
        self.header = context + commitment(key, context)
        self._cipher = AESGCM(frame_key(key, context))
        self._header_digest = hashlib.sha256(self.header).digest()
        self._random = random
        self._sequence = 0
        self._is_over = False

    def frame(self, entries: Iterable[Entry], *, is_final: bool = False) -> bytes:
        """The next frame. Raises ValueError after the final one, or when the entries don't fit a frame."""
        if self._is_over:
            raise ValueError("nothing is written after the final frame")
        plaintext = entry_format.pack(entries)
        length = _NONCE + len(plaintext) + _TAG
        if length > MAX_FRAME:
            raise ValueError("too much for one frame")
        nonce = self._random.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, plaintext, additional_data(self._header_digest, self._sequence, is_final))
        self._sequence += 1
        self._is_over = is_final
        return _WORD.pack(length | (_FINAL_BIT if is_final else 0)) + nonce + sealed


def read(
    chunks: Iterable[bytes], key: bytes, identity: Identity, *, closed: Closed | None = None, crashed: bool = False
) -> Iterator[Entry]:
    """The entries of a file given as chunks of any size; checks the order of entries across frames as well.

    Raises RecordingError, after the good entries before the fault. Whether a crashed file was cut: see `Reader.finish`.
    """
    reader = Reader(key, identity, closed=closed, crashed=crashed)
    order = Order()
    for chunk in chunks:
        for frame in reader.frames(chunk):
            yield from order.checked(frame)
    reader.finish()


class Order:
    """Checks what spans frames: anchor and format open the file; the end entry closes the final frame and stands nowhere else."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        """Entries so far."""

    def checked(self, frame: Frame) -> Iterator[Entry]:
        """The frame's entries. Raises RecordingError(BAD_ENTRIES)."""
        kind = None
        for entry in frame.entries():
            kind = entry.kind
            if (kind is EntryKind.ANCHOR) != (self.count == 0) or (self.count == 1 and kind is not EntryKind.FORMAT):
                raise RecordingError(Failure.BAD_ENTRIES, "anchor and format must open the file, once")
            if kind is EntryKind.END and not frame.is_final:
                raise RecordingError(Failure.BAD_ENTRIES, "an end entry outside the final frame")
            self.count += 1
            yield entry
        if frame.is_final and kind is not EntryKind.END:
            raise RecordingError(Failure.BAD_ENTRIES, "the final frame doesn't end with the end entry")


def identify(header: bytes) -> Identity:
    """Which recording a header names, without any key. Raises RecordingError for what is no header of a known version."""
    if len(header) < HEADER_LENGTH:
        raise RecordingError(Failure.TRUNCATED, "the header is cut")
    magic, version, suite, length, org, recording, segment = _CONTEXT.unpack_from(header)
    if magic != MAGIC:
        raise RecordingError(Failure.NOT_A_RECORDING, "the file doesn't begin like a sealed recording")
    if version not in LEGS or (suite, length) != (SUITE_AES_256_GCM, HEADER_LENGTH):
        raise RecordingError(Failure.UNSUPPORTED, "version, suite or header length is unknown")
    return Identity(UUID(bytes=org), UUID(bytes=recording), segment)


def commitment(key: bytes, context: bytes) -> bytes:
    """Binds a file to one key: AES-GCM alone would let a file be made that opens under two keys."""
    return hmac.digest(key, b"hushwire/hwr/1/commit" + context, "sha256")


def frame_key(key: bytes, context: bytes) -> bytes:
    """The AES-256-GCM key of a file's frames."""
    return hmac.digest(key, b"hushwire/hwr/1/frame" + context, "sha256")


def additional_data(header_digest: bytes, sequence: int, is_final: bool) -> bytes:
    """What a frame authenticates beside itself: its file, its place and whether it is the last."""
    return header_digest + _PLACE.pack(sequence, is_final)
