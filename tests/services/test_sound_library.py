"""Sounds by purpose: whose file, else a tone, else a voice; made once for each codec."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from hushwire.media import encoding
from hushwire.media.encoding import Samples, UnusableSound
from hushwire.media.sounds import SoundCodec
from hushwire.services import sound_library
from hushwire.services.sound_library import SoundFiles, SoundKind, SoundLibrary
from tests.services.listening import pitch, tone_file


def silent(_words: str) -> Samples | None:
    return None


async def heard(library: SoundLibrary, kind: SoundKind, org: str = "acme", reason: str = "") -> float:
    sound = await library.get(kind, org, SoundCodec.PCMU, country="DE", reason=reason)
    assert sound is not None
    return pitch(sound.encoded.payloads()[:20])


async def test_an_organisations_own_file_goes_before_the_deployments_and_that_before_a_tone(tmp_path: Path) -> None:
    ours, acme = tone_file(tmp_path / "ours.wav", 500, 1), tone_file(tmp_path / "acme.wav", 700, 1)
    library = SoundLibrary(SoundFiles(beep=ours), {"acme": SoundFiles(beep=acme)}, silent)
    assert abs(await heard(library, SoundKind.BEEP) - 700) < 10
    assert abs(await heard(library, SoundKind.BEEP, "other") - 500) < 10
    assert abs(await heard(SoundLibrary(SoundFiles(), None, silent), SoundKind.BEEP) - 1400) < 10
    assert abs(await heard(SoundLibrary(SoundFiles(), None, silent), SoundKind.RINGBACK) - 425) < 10


async def test_a_refusal_has_the_file_of_its_reason_or_the_default_or_the_voice_or_nothing(tmp_path: Path) -> None:
    files = {"default": tone_file(tmp_path / "a.wav", 500, 1), "country": tone_file(tmp_path / "b.wav", 700, 1)}
    library = SoundLibrary(SoundFiles(refusals=files), None, silent)
    assert abs(await heard(library, SoundKind.REFUSAL, reason="country") - 700) < 10
    assert abs(await heard(library, SoundKind.REFUSAL, reason="class") - 500) < 10
    assert await SoundLibrary(SoundFiles(), None, silent).get(SoundKind.REFUSAL, "acme", SoundCodec.PCMU, reason="class") is None
    said: list[str] = []

    def speak(words: str) -> Samples:
        said.append(words)
        return np.full(48_000, 0.1, np.float32)

    library = SoundLibrary(SoundFiles(), None, speak)
    assert await library.get(SoundKind.REFUSAL, "acme", SoundCodec.PCMU, reason="country") is not None
    assert await library.get(SoundKind.ANNOUNCEMENT, "acme", SoundCodec.PCMU) is not None
    assert said == ["Calls to this country are not allowed.", "This call is recorded."]


async def test_a_sound_is_made_once_for_each_codec_however_many_ask_and_anew_when_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SoundCodec] = []
    encode = encoding.encode

    def counted(samples: Samples, codec: SoundCodec) -> encoding.EncodedSound:
        made.append(codec)
        return encode(samples, codec)

    monkeypatch.setattr(sound_library.encoding, "encode", counted)
    path = tone_file(tmp_path / "music.wav", 500, 2)
    library = SoundLibrary(SoundFiles(music_on_hold=path), None, silent)
    sounds = await asyncio.gather(*(library.get(SoundKind.MUSIC, "acme", codec) for _ in range(20) for codec in SoundCodec))
    assert sorted(made) == sorted(SoundCodec)
    assert len({sound.encoded.id for sound in sounds if sound is not None}) == len(SoundCodec)
    assert len({sound.digest for sound in sounds if sound is not None}) == 1
    tone_file(path, 900, 1)
    assert abs(await heard(library, SoundKind.MUSIC) - 900) < 10
    path.unlink()
    with pytest.raises(UnusableSound, match=r"music\.wav: can't be read"):
        await library.get(SoundKind.MUSIC, "acme", SoundCodec.PCMU)


async def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_library, "KEPT_BYTES", 20_000)
    files = [tone_file(tmp_path / f"{n}.wav", 300 + 50 * n, 1) for n in range(6)]
    library = SoundLibrary(SoundFiles(), {f"org{n}": SoundFiles(beep=path) for n, path in enumerate(files)}, silent)
    for n in range(6):
        assert await library.get(SoundKind.BEEP, f"org{n}", SoundCodec.PCMU) is not None
    assert sum(len(sound.encoded.data) for sound in library._kept.values()) <= 20_000


def test_a_voice_says_words_where_one_is_installed() -> None:
    samples = sound_library.spoken("This call is recorded.")
    if samples is None:
        pytest.skip("no voice is installed")
    assert 0.5 < len(samples) / encoding.MASTER_RATE < 6
    assert np.max(np.abs(samples)) > 0.05
