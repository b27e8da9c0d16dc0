"""Where a call's sounds come from: the operator's files, else calculated tones, else a synthetic voice where one is installed.

Each is decoded and encoded in a thread, once for each codec, and kept by what is in it: a file that changes is another sound.
"""

import asyncio
import hashlib
import io
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from hushwire.media import encoding, tones
from hushwire.media.encoding import Samples, UnusableSound
from hushwire.media.sounds import EncodedSound, SoundCodec
from hushwire.services import refusals

KEPT_BYTES: Final = 64 << 20
SPEECH_S: Final = 10.0
VOICES: Final = ("espeak-ng", "espeak")
_log = structlog.get_logger(__name__)


class SoundKind(StrEnum):
    """What a sound is for."""

    RINGBACK = "ringback"
    MUSIC = "music_on_hold"
    ANNOUNCEMENT = "announcement"
    BEEP = "beep"
    REFUSAL = "refusals"
    GREETING = "greetings"  # of an answering machine, by whose it is
    VOICEMAIL = "voicemail"  # what it says besides, by what it says
    PARK = "park"  # in which slot a call was parked, word by word


WORDS: Final[Mapping[SoundKind, str]] = {
    SoundKind.ANNOUNCEMENT: "This call is recorded.",
    SoundKind.GREETING: (
        "Nobody can take your call now. Please leave a message after the tone. It is recorded. Press hash when you are done."
    ),
    SoundKind.VOICEMAIL: "That is not possible now.",
}
PARKED: Final = "parked"
_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARK_WORDS: Final[Mapping[str, str]] = {PARKED: "Parked at", **{str(digit): word for digit, word in enumerate(_DIGITS)}}
VOICEMAIL_WORDS: Final[Mapping[str, str]] = {
    "full": "This mailbox is full.",
    "empty": "You have no messages.",
    "new": "You have new messages.",
    "old": "You have no new messages. These are your old ones.",
    "deleted": "The message is deleted.",
    "not-deleted": "The message can not be deleted now.",
    "unplayable": "This message can not be played here.",
    "menu": "Press one for the next message, two to hear it again, seven to delete it, eight to call back, hash to end.",
    "end": "There are no more messages.",
    "not-called": "This caller can not be called back.",
    "greeting-record": (
        "Record your greeting after the tone, and press hash when you are done. Say that messages are recorded, since callers must know."
    ),
    "greeting-menu": "Press one to keep this greeting, two to record another, three to use the standard greeting.",
    "greeting-kept": "Callers hear this greeting from now on.",
    "greeting-removed": "Callers hear the standard greeting from now on.",
    "greeting-unchanged": "Nothing was changed.",
    "greeting-failed": "That is not possible now. Nothing was changed.",
}


@dataclass(frozen=True, slots=True)
class SoundFiles:
    """Files by what they are for. `refusals` by reason (`policy` Reason values); `default` is for all others."""

    ringback: Path | None = None
    music_on_hold: Path | None = None
    announcement: Path | None = None
    beep: Path | None = None
    refusals: Mapping[str, Path] = field(default_factory=dict)
    greetings: Mapping[str, Path] = field(default_factory=dict)
    """Of answering machines, by extension or user name; `default` is for all others."""
    voicemail: Mapping[str, Path] = field(default_factory=dict)
    """What else they say, by the names of VOICEMAIL_WORDS."""
    park: Mapping[str, Path] = field(default_factory=dict)
    """Where a call was parked, by the names of PARK_WORDS."""

    def find(self, kind: SoundKind, reason: str) -> Path | None:
        """The file for a purpose, if one is configured."""
        match kind:
            case SoundKind.RINGBACK:
                return self.ringback
            case SoundKind.MUSIC:
                return self.music_on_hold
            case SoundKind.ANNOUNCEMENT:
                return self.announcement
            case SoundKind.BEEP:
                return self.beep
            case SoundKind.REFUSAL:
                return self.refusals.get(reason) or self.refusals.get("default")
            case SoundKind.GREETING:
                return self.greetings.get(reason) or self.greetings.get("default")
            case SoundKind.VOICEMAIL:
                return self.voicemail.get(reason)
            case SoundKind.PARK:
                return self.park.get(reason)

    def named(self, kind: SoundKind) -> Mapping[str, Path]:
        """Files of a purpose by what tells them apart."""
        tables = {SoundKind.REFUSAL: self.refusals, SoundKind.GREETING: self.greetings, SoundKind.VOICEMAIL: self.voicemail}
        return tables.get(kind, {})

    def __iter__(self) -> Iterator[Path]:
        by_name = (*self.refusals.values(), *self.greetings.values(), *self.voicemail.values(), *self.park.values())
        named = (self.ringback, self.music_on_hold, self.announcement, self.beep, *by_name)
        return (path for path in named if path is not None)


@dataclass(frozen=True, slots=True)
class PlayableSound:
    """A sound in one codec, and the SHA-256 of what it was made from: the file, or the words."""

    encoded: EncodedSound
    digest: bytes


def spoken(words: str) -> Samples | None:
    """The words in a synthetic voice, levelled; None where none is installed or it fails. Blocking."""
    program = next((found for name in VOICES if (found := shutil.which(name))), None)
    if program is None:
        return None
    try:
        made = subprocess.run(
            [program, "--stdout", "-v", "en", "-s", "140", "-g", "4"],
            input=words.encode(),
            capture_output=True,
            timeout=SPEECH_S,
            check=True,
        )
        return encoding.levelled(encoding.read("the synthetic voice", io.BytesIO(made.stdout)))
    except (OSError, subprocess.SubprocessError, UnusableSound) as error:
        _log.warning("sounds.no_voice", error=type(error).__name__)
        return None


def check(path: Path) -> float:
    """Seconds of sound in a file. Raises UnusableSound. Blocking."""
    return len(encoding.read_file(path)) / encoding.MASTER_RATE


class SoundLibrary:
    """The sounds of one gateway. `of_org` holds what organisations have of their own, by slug."""

    def __init__(
        self, files: SoundFiles, of_org: Mapping[str, SoundFiles] | None = None, speak: Callable[[str], Samples | None] = spoken
    ) -> None:
        self._files = files
        self._of_org = dict(of_org or {})
        self._speak = speak
        self._kept: OrderedDict[tuple[bytes, SoundCodec], PlayableSound] = OrderedDict()
        self._making: dict[tuple[bytes, SoundCodec], asyncio.Lock] = {}
        self._digests: dict[Path, tuple[tuple[int, int], bytes]] = {}

    async def get(self, kind: SoundKind, org: str, codec: SoundCodec, *, country: str = "", reason: str = "") -> PlayableSound | None:
        """The sound for a purpose; None where there is neither file nor voice for it. Raises UnusableSound for a file that went bad."""
        path = self._find(kind, org, reason)
        if path is not None:
            digest = await asyncio.to_thread(self._digest, path)
            return await self._made(digest, codec, lambda: encoding.levelled(encoding.read_file(path)))
        match kind:
            case SoundKind.RINGBACK:
                return await self._made(_named(f"ringing {country}"), codec, lambda: tones.ringing(country))
            case SoundKind.MUSIC:
                return await self._made(_named("waiting music"), codec, lambda: encoding.levelled(tones.waiting_music()))
            case SoundKind.BEEP:
                return await self._made(_named("beep"), codec, tones.beep)
            case SoundKind.ANNOUNCEMENT | SoundKind.REFUSAL | SoundKind.GREETING | SoundKind.VOICEMAIL | SoundKind.PARK:
                words = _words(kind, reason)
                return await self._made(_named(words), codec, lambda: self._speak(words))

    def has(self, kind: SoundKind, org: str, reason: str = "") -> bool:
        """Whether there is something to play, as far as that can be said without making it."""
        needs_voice = kind in (SoundKind.REFUSAL, SoundKind.PARK, *WORDS) and self._find(kind, org, reason) is None
        return not needs_voice or self._speak is not spoken or any(shutil.which(name) for name in VOICES)

    def has_own(self, kind: SoundKind, org: str, reason: str) -> bool:
        """Whether an organisation has a file for exactly this."""
        own = self._of_org.get(org)
        return bool(reason) and own is not None and reason in own.named(kind)

    def _find(self, kind: SoundKind, org: str, reason: str) -> Path | None:
        own = self._of_org.get(org)
        return (None if own is None else own.find(kind, reason)) or self._files.find(kind, reason)

    def _digest(self, path: Path) -> bytes:
        """Of a file's content, read again where its time or size is another."""
        try:
            found = path.stat()
            mark = (found.st_mtime_ns, found.st_size)
            known = self._digests.get(path)
            if known is not None and known[0] == mark:
                return known[1]
            if found.st_size > encoding.MAX_FILE_BYTES:
                raise UnusableSound(f"{path}: has {found.st_size >> 20} MiB, a sound at most {encoding.MAX_FILE_BYTES >> 20}: compress it")
            digest = hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            raise UnusableSound(f"{path}: can't be read ({error.strerror})") from None
        self._digests[path] = (mark, digest)
        return digest

    async def _made(self, digest: bytes, codec: SoundCodec, make: Callable[[], Samples | None]) -> PlayableSound | None:
        key = (digest, codec)
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (kept := self._kept.get(key)) is not None:
                    return kept
                encoded = await asyncio.to_thread(_encoded, make, codec)
                if encoded is None:
                    return None
                self._kept[key] = made = PlayableSound(encoded, digest)
                self._forget_oldest()
                return made
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    def _forget_oldest(self) -> None:
        size = sum(len(sound.encoded.data) for sound in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            size -= len(gone.encoded.data)


def _words(kind: SoundKind, reason: str) -> str:
    match kind:
        case SoundKind.REFUSAL:
            return refusals.spoken(reason)
        case SoundKind.VOICEMAIL:
            return VOICEMAIL_WORDS.get(reason, WORDS[kind])
        case SoundKind.PARK:
            return PARK_WORDS[reason]
        case _:
            return WORDS[kind]


def _encoded(make: Callable[[], Samples | None], codec: SoundCodec) -> EncodedSound | None:
    samples = make()
    return None if samples is None else encoding.encode(samples, codec)


def _named(words: str) -> bytes:
    return hashlib.sha256(words.encode()).digest()
