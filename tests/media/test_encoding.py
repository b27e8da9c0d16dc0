"""Files and samples to packets: every kind of file, every codec, one loudness, and clear words for what is no sound."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler

from hushwire.media import encoding
from hushwire.media.encoding import MASTER_RATE, PEAK_DBFS, TARGET_DBFS, UnusableSound, encode, levelled, read_file
from hushwire.media.sounds import EncodedSound, SoundCodec


def tone(frequency: float, seconds: float, level_dbfs: float) -> np.ndarray:
    at = np.arange(int(MASTER_RATE * seconds)) / MASTER_RATE
    return (np.sqrt(2) * 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency * at)).astype(np.float32)


def write(path: Path, codec: str, samples: np.ndarray, rate: int = MASTER_RATE, layout: str = "mono") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = MASTER_RATE
        resampler = AudioResampler(format=stream.format.name, layout=layout, rate=rate, frame_size=stream.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def level_dbfs(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * MASTER_RATE / len(samples))


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.wav", "pcm_s16le", 8_000),
        ("a.wav", "pcm_mulaw", 8_000),
        ("a.wav", "pcm_s24le", 96_000),
        ("a.flac", "flac", 44_100),
        ("a.ogg", "libopus", 48_000),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 48_000),
        ("a.webm", "libopus", 48_000),
        ("a.aiff", "pcm_s16be", 22_050),
        ("a.au", "pcm_s16be", 16_000),
    ],
)
def test_a_file_of_whatever_kind_and_rate_is_read_as_what_it_sounds_like(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    samples = read_file(write(tmp_path / name, codec, tone(500, 2, -20), rate, "stereo"))
    assert abs(len(samples) / MASTER_RATE - 2) < 0.1
    assert abs(pitch(samples[4800:-9600]) - 500) < 2
    assert abs(level_dbfs(samples[4800:-9600]) + 20) < 1.5


@pytest.mark.parametrize("level", [-50, -35, -20, -6])
def test_a_quiet_file_and_a_loud_one_are_heard_alike(level: int) -> None:
    with_pauses = np.concatenate([tone(700, 1, level), np.zeros(MASTER_RATE * 3, np.float32), tone(700, 1, level)])
    even = levelled(with_pauses)
    assert abs(level_dbfs(even[:MASTER_RATE]) - max(TARGET_DBFS, level - 99)) < 1.5
    assert np.max(np.abs(even)) <= 10 ** (PEAK_DBFS / 20) + 1e-6
    assert not np.any(even[MASTER_RATE + 10 : 4 * MASTER_RATE - 10])


def test_silence_stays_silence() -> None:
    assert not np.any(levelled(np.zeros(MASTER_RATE, np.float32)))


@pytest.mark.parametrize("codec", list(SoundCodec))
def test_a_sound_is_one_packet_each_20_ms_in_each_codec_and_named_by_what_it_is(codec: SoundCodec) -> None:
    sound = encode(tone(440, 1.01, -20), codec)
    payloads = sound.payloads()
    assert (len(payloads), sound.duration_ms) == (51, 1020)
    assert all(len(payload) == 160 for payload in payloads) or codec is SoundCodec.OPUS
    assert all(0 < len(payload) <= 1200 for payload in payloads)
    assert encode(tone(440, 1.01, -20), codec).id == sound.id != encode(tone(441, 1.01, -20), codec).id
    assert b"".join(part for _, part in sound.chunks()) == sound.data


def test_nothing_at_all_is_a_packet_of_silence() -> None:
    assert encode(np.zeros(0, np.float32), SoundCodec.PCMU).payloads() == [b"\xff" * 160]


def test_what_is_no_sound_is_said_in_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    good = write(tmp_path / "good.mp3", "libmp3lame", tone(500, 1, -20)).read_bytes()
    hostile = {
        "empty.wav": b"",
        "garbage.mp3": os.urandom(50_000),
        "text.wav": b"this is no sound\n" * 100,
        "cut.mp3": good[:30],
        "header.wav": struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 0, 0, 0, 0, 0, b"data", 0xFFFFFFFF),
        "codec.wav": struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 136, b"WAVE", b"fmt ", 16, 0x7A7A, 1, 8000, 8000, 1, 8, b"data", 100)
        + bytes(100),
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/good.mp3\n#EXT-X-ENDLIST\n".encode(),
        "list.ffconcat": f"ffconcat version 1.0\nfile {tmp_path}/good.mp3\n".encode(),
        "stream.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    }
    for name, data in hostile.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UnusableSound) as said:
            read_file(path)
        assert str(said.value).startswith(f"{path}: ")
        assert "\n" not in str(said.value)
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(UnusableSound, match="there is no such file"):
            read_file(path)


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    for name, codec in (("a.mp3", "libmp3lame"), ("a.ogg", "libopus"), ("a.flac", "flac"), ("a.wav", "pcm_s16le")):
        good = write(tmp_path / name, codec, tone(500, 0.5, -20)).read_bytes()
        for n in range(40):
            bad = bytearray(good)
            for place in range(n, len(bad), max(1, len(bad) // (n + 1))):
                bad[place] ^= 0xA5
            path = tmp_path / f"bad-{name}"
            path.write_bytes(bad)
            try:
                samples = read_file(path)
            except UnusableSound:
                continue
            assert np.all(np.isfinite(samples))
            assert encode(levelled(samples), SoundCodec.PCMA).payloads()


def test_a_file_that_is_too_long_or_too_big_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.wav", "pcm_s16le", tone(500, 3, -20), 8_000)
    monkeypatch.setattr(encoding, "MAX_SECONDS", 2)
    with pytest.raises(UnusableSound, match="is longer than"):
        read_file(path)
    monkeypatch.setattr(encoding, "MAX_FILE_BYTES", 1000)
    with pytest.raises(UnusableSound, match="MiB"):
        read_file(path)


def test_a_format_that_is_decoded_by_several_threads_is_decoded_where_nothing_may_be_begun(tmp_path: Path) -> None:
    """As a user whom limits hold: root has none."""
    file = write(tmp_path / "a.wv", "wavpack", tone(500, 2, -20)).read_bytes()
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    command = (sys.executable, "-I", "-m", "hushwire.media.unknown_sound", "10")
    done = subprocess.run(command, input=file, capture_output=True, cwd="/", check=False, **nobody)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr.decode()
    assert 100 <= len(EncodedSound.from_data(SoundCodec.OPUS, done.stdout).payloads()) <= 102
