"""A fuzzer for the reader of sealed recordings: `python -m tests.fuzz.hwr --seconds 60 CORPUS...`.

It works like libFuzzer: inputs that reach new lines, or a line from a new one, are kept and changed further. An input is a short
program that makes a file: frames sealed with the right key around any plaintext, in any place, and whatever a disk or a stranger
does to them. So what lies behind the authentication is reached too. Only RecordingError may come out, and only what was sealed.
"""

import argparse
import hashlib
import random
import struct
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushwire.recording import entries, hwr
from hushwire.recording.failures import RecordingError

KEY = bytes(range(32))
WHO = hwr.Identity(UUID(int=0xA1), UUID(int=0xB2), 3)
CONTEXT = struct.pack(">4sBBH16s16sI", b"HWR1", 1, 1, 76, WHO.org_id.bytes, WHO.recording_id.bytes, WHO.segment)
HEADER = CONTEXT + hwr.commitment(KEY, CONTEXT)
CIPHER = AESGCM(hwr.frame_key(KEY, CONTEXT))
BOUND = hashlib.sha256(HEADER).digest()
PARSER = {hwr.__file__: "recording/hwr.py", entries.__file__: "recording/entries.py"}
MAX_INPUT = 1024


class Input:
    """The bytes that steer; beyond their end come zeros."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def is_over(self) -> bool:
        return self.at >= len(self.data)


def sealed(plaintext: bytes, sequence: int, is_final: bool) -> bytes:
    nonce = struct.pack(">QI", sequence, is_final)
    body = nonce + CIPHER.encrypt(nonce, plaintext, hwr.additional_data(BOUND, sequence, is_final))
    return struct.pack(">I", len(body) | is_final << 31) + body


def plaintext_of(data: Input, *, opens: bool, ends: bool) -> bytes:
    """Entries that are well formed, or almost."""
    made = b""
    if opens:
        made += entries.pack([entries.anchor(1_700_000_000_000_000), entries.formats([{0: "PCMU/8000"}, {8: "PCMA/8000"}])])
    for _ in range(data.byte() % 6):
        kind, leg, length = data.byte() % 8, (0, 1, 255, data.byte())[data.byte() % 4], data.byte() % 64
        body = data.bytes(length) if length else bytes([data.byte()]) * (data.byte() * 257)  # nothing, or one byte very often
        made += struct.pack(">BBIH", kind, leg, data.byte() << 8, max(len(body) + (data.byte() == 1), 0)) + body
    return made + (entries.pack([entries.end(77)]) if ends else b"")


def one(raw: bytes) -> None:
    """Raises whatever the reader should not have raised."""
    data = Input(raw)
    steer = data.byte()
    blob, sequence, plaintexts = bytearray(HEADER), 0, set()
    if steer & 1:
        blob[data.byte() % len(blob)] ^= data.byte()
    if steer & 2:
        blob = blob[: data.byte()]
    for _ in range(8):
        if data.is_over():
            break
        act = data.byte() % 8
        if act < 4:
            is_final = act == 3
            plaintext = plaintext_of(data, opens=sequence == 0, ends=is_final) if act != 2 else data.bytes(data.byte())
            frame = bytearray(sealed(plaintext, max(sequence + (data.byte() % 20 - 10 if act == 2 else 0), 0), is_final))
            plaintexts.add(plaintext)
            blob += frame
            sequence += 1
        elif act == 4:
            blob += data.bytes(data.byte())
        elif act == 5:
            blob += bytes(data.byte())
        elif act == 6:
            del blob[max(len(blob) - data.byte(), 0) :]
        elif blob:
            blob[data.byte() * 8 % len(blob)] ^= 1 << data.byte() % 8
    closed = None if steer & 4 else hwr.Closed(None if steer & 8 else sequence + (steer >> 7), hashlib.sha256(blob).digest())
    size = 1 + (data.byte() or 255) * 4
    chunks = [bytes(blob[at : at + size]) for at in range(0, len(blob), size)]
    if steer & 32:
        part(data, bytes(blob))
    reader, order = hwr.Reader(KEY, WHO, closed=closed, crashed=bool(steer & 16)), hwr.Order()
    try:
        for chunk in chunks:
            for frame in reader.frames(chunk):
                assert frame.plaintext in plaintexts, "a frame that nobody sealed"
                for entry in order.checked(frame):
                    if entry.kind is entries.EntryKind.FORMAT:
                        entries.leg_formats(entry)
                    elif entry.kind is entries.EntryKind.ANCHOR:
                        assert entry.unix_us >= 0
        ending = reader.finish()
    except RecordingError:
        return
    assert ending is hwr.Ending.CUT or reader.frame_count == 0 or order.count > 0
    if closed is not None and closed.frames is not None:
        assert closed.frames == reader.frame_count


def part(data: Input, blob: bytes) -> None:
    """The reader that begins inside a file."""
    try:
        reader = hwr.Reader.within(KEY, WHO, blob[: hwr.HEADER_LENGTH], hwr.Place(data.byte() % 4, hwr.HEADER_LENGTH), crashed=True)
        for frame in reader.feed(blob[hwr.HEADER_LENGTH :]):
            list(frame.entries())
    except RecordingError:
        pass


Step = tuple[str, int, int]


def traced(raw: bytes) -> set[Step]:
    """The steps (file, from line, to line) that the parser takes with this input. Raises what the reader should not have raised."""
    steps: set[Step] = set()

    def enter(frame: FrameType, _event: str, _: Any) -> Any:
        name = PARSER.get(frame.f_code.co_filename)
        if name is None:
            return None
        last = 0

        def local(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return local

        return local

    sys.settrace(enter)
    try:
        one(raw)
    finally:
        sys.settrace(None)
    return steps


def changed(chance: random.Random, raw: bytes, other: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[at % len(data)] = chance.choice((0, 1, 2, 3, 4, 7, 8, 16, 255, chance.randrange(256)))
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 12))
            case 3 if data:
                del data[at : at + chance.randrange(1, 12)]
            case 4:
                begin = chance.randrange(len(other) + 1)
                data[at:at] = other[begin : begin + chance.randrange(40)]
            case _:
                data = data[:at] + other[chance.randrange(len(other) + 1) :]
    return bytes(data[:MAX_INPUT])


def files(folders: list[Path]) -> list[bytes]:
    return [path.read_bytes() for folder in folders for path in sorted(folder.iterdir() if folder.is_dir() else [folder]) if path.is_file()]


def fuzz(seconds: float, folders: list[Path], artifacts: Path, seed: int) -> int:
    chance, reached = random.Random(seed), set[Step]()
    corpus: list[bytes] = []
    queue = [*files(folders), b"\4", bytes(range(64))]
    begin, runs = time.monotonic(), 0
    while queue or time.monotonic() - begin < seconds:
        raw = queue.pop() if queue else changed(chance, chance.choice(corpus), chance.choice(corpus))
        runs += 1
        try:
            steps = traced(raw)
        except Exception:
            artifacts.mkdir(parents=True, exist_ok=True)
            path = artifacts / f"crash-hwr-{hashlib.sha256(raw).hexdigest()[:16]}"
            path.write_bytes(raw)
            print(f"hwr: a crash, kept as {path}", file=sys.stderr)
            raise
        if steps - reached:
            reached |= steps
            corpus.append(raw)
            if folders and folders[0].is_dir() and runs > 2:
                (folders[0] / hashlib.sha256(raw).hexdigest()[:16]).write_bytes(raw)
    print(f"hwr: {runs} runs, {len(reached)} steps, {len(corpus)} inputs in {time.monotonic() - begin:.0f} s")
    return 0


WRITERS = ("Writer.", "pack", "anchor", "formats", "rtp", "pause", "resume", "end")


def coverage(folders: list[Path]) -> tuple[int, int]:
    """Lines of the reader's functions that the inputs run, and all there are."""
    run = {(name, line) for raw in files(folders) for name, _, line in traced(raw)}
    lines: set[tuple[str, int]] = set()

    def walk(code: CodeType, name: str) -> None:
        is_writer = any(code.co_qualname == writer or (writer.endswith(".") and code.co_qualname.startswith(writer)) for writer in WRITERS)
        if code.co_flags & 2 and not is_writer:  # CO_NEWLOCALS: a function's, not a module's or a class's
            lines.update((name, line) for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                walk(inner, name)

    for path, name in PARSER.items():
        walk(compile(Path(path).read_text(), path, "exec"), name)
    return len(lines & run), len(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--replay", action="store_true", help="run the inputs, and nothing else")
    parser.add_argument("--coverage", action="store_true", help="run the inputs, and print the lines run and the lines there are")
    parser.add_argument("--artifacts", type=Path, default=Path("build/fuzz/crashes"))
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("corpus", nargs="*", type=Path, help="folders and files; what is found goes into the first folder")
    given = parser.parse_args()
    if given.coverage:
        print(*coverage(given.corpus))
        return 0
    if given.replay:
        for raw in files(given.corpus):
            one(raw)
        return 0
    return fuzz(given.seconds, given.corpus, given.artifacts, given.seed or time.time_ns())


if __name__ == "__main__":
    sys.exit(main())
