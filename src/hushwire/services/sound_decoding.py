"""Sound files of strangers, decoded by a process that holds nothing (media/unknown_sound.py), and that is held to its bounds from outside.

It is trusted with nothing: it has so many seconds and says so many bytes, or is killed with whatever it began. Few are decoded at once, in
the order in which they come; who gives files has one among them at most, by its caller's care, so that each organisation has its turn.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from hushwire.media.sounds import FRAME_MS, EncodedSound, SoundCodec
from hushwire.media.unknown_sound import UNUSABLE

AT_ONCE: Final = 2
"""So many files are decoded at once."""
WITHIN_S: Final = 40.0
"""A file is decoded by then."""
WAITS_S: Final = 20.0
"""A file waits so long at most until it is begun with."""
PACKET_BYTES: Final = 512
"""No packet of 32 kbit/s is so large, its length in front of it: the mean is 82."""
_WORDS_BYTES: Final = 16 << 10
_SAID_BYTES: Final = 200
_PART: Final = 1 << 16
_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "LANG": "C.UTF-8"}
_NO_SOUND: Final = "the file: is no sound that can be read"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unusable:
    """It is no sound that can be used, and why, in one sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Others are being decoded, and will be for a while."""


def _command(most_s: int) -> Sequence[str]:
    return (sys.executable, "-I", "-m", "hushwire.media.unknown_sound", str(most_s))


class Decoding:
    """One process's decoding. `command` begins a decoder for a file of so many seconds at most."""

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        within_s: float = WITHIN_S,
        waits_s: float = WAITS_S,
        command: Callable[[int], Sequence[str]] = _command,
    ) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._within_s = within_s
        self._waits_s = waits_s
        self._command = command

    async def packets(self, file: bytes, most_s: int) -> list[bytes] | Unusable | Busy:
        """The file as Opus packets of FRAME_MS, levelled."""
        try:
            async with asyncio.timeout(self._waits_s):
                await self._places.acquire()
        except TimeoutError:
            return Busy()
        try:
            return await self._decoded(file, most_s)
        finally:
            self._places.release()

    async def _decoded(self, file: bytes, most_s: int) -> list[bytes] | Unusable:
        most_packets = (most_s + 1) * 1000 // FRAME_MS
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command(most_s), stdin=pipe, stdout=pipe, stderr=pipe, env=_ENVIRONMENT, start_new_session=True
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: PT018
        try:
            async with asyncio.timeout(self._within_s):
                _, said, words = await asyncio.gather(
                    _feed(process.stdin, file),
                    _read(process.stdout, most_packets * PACKET_BYTES, lambda: _kill(process)),
                    _read(process.stderr, _WORDS_BYTES, lambda: _kill(process)),
                )
                await process.wait()
        except TimeoutError:
            return Unusable("the file: takes too long to read")
        finally:
            # With what it may have begun: whoever was talked into something else by a file ends with the file.
            _kill(process)
            await process.wait()
        if process.returncode == UNUSABLE:
            return Unusable(words[:_SAID_BYTES].decode("utf-8", "replace"))
        if process.returncode != 0:
            _log.warning("sound.not_decoded", exit=process.returncode)
            return Unusable(_NO_SOUND)
        try:
            packets = EncodedSound.from_data(SoundCodec.OPUS, said).payloads()
        except ValueError:
            packets = []
        if not 0 < len(packets) <= most_packets:
            _log.warning("sound.decoded_to_none", size=len(said))
            return Unusable(_NO_SOUND)
        return packets


async def _feed(stdin: asyncio.StreamWriter, file: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(file)
        await stdin.drain()
    stdin.close()


async def _read(stream: asyncio.StreamReader, most: int, end: Callable[[], None]) -> bytes:
    """All of it; once it is more than `most` bytes, `end` is called and what follows is let go."""
    found = bytearray()
    while part := await stream.read(_PART):
        if len(found) <= most:
            found += part
            if len(found) > most:
                end()
    return bytes(found)


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
