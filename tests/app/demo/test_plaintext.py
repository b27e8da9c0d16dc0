"""The search for readable sound must find what is planted, in every form, wherever it lies."""

import base64
import os
from pathlib import Path

import numpy as np
import pytest

from hushwire.app.demo.packets import mulaw_to_linear
from hushwire.app.demo.plaintext import Needles, linear_to_alaw, linear_to_mulaw
from hushwire.app.demo.speech import AGENT, CARRIER, bundled

RATE = 8000


def tone() -> np.ndarray:
    return (9000 * np.sin(2 * np.pi * 1013 * np.arange(RATE) / RATE)).astype(np.int16)


@pytest.fixture(scope="module")
def needles() -> Needles:
    return Needles.of(bundled(AGENT), tone())


def forms(sound: np.ndarray) -> dict[str, bytes]:
    mulaw = linear_to_mulaw(sound).tobytes()
    return {
        "mulaw": mulaw,
        "alaw": linear_to_alaw(sound).tobytes(),
        "transcoded alaw": linear_to_alaw(mulaw_to_linear(mulaw)).tobytes(),
        "linear": sound.astype("<i2").tobytes(),
        "decoded": mulaw_to_linear(mulaw).astype("<i2").tobytes(),
        "decoded big-endian": mulaw_to_linear(mulaw).astype(">i2").tobytes(),
        "float": (mulaw_to_linear(mulaw) / np.float32(32768)).astype("<f4").tobytes(),
    }


WRITINGS = {
    "raw": bytes,
    "base64": base64.b64encode,
    "hex": lambda data: data.hex().encode(),
    "upper hex": lambda data: data.hex().upper().encode(),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("form", forms(bundled(AGENT)[:4000]))
@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_a_planted_second_of_the_marker_phrase_or_tone_is_found(needles: Needles, form: str, writing: str, lead: int) -> None:
    noise = np.random.default_rng(5).integers(0, 256, 50_000, dtype=np.uint8).tobytes()
    for sound in (bundled(AGENT)[16_000 : 16_000 + RATE], tone()):
        planted = WRITINGS[writing](bytes(lead) + forms(sound)[form])
        assert needles.scan(noise + planted + noise, "here"), (form, writing)


def test_single_rtp_packets_with_headers_between_them_are_found(needles: Needles) -> None:
    codes = linear_to_mulaw(bundled(AGENT)).tobytes()
    packets = b"".join(os.urandom(12) + codes[at : at + 160] for at in range(0, len(codes) - 160, 160))
    assert needles.scan(packets, "here")


def test_other_speech_noise_and_zeros_are_not_found(needles: Needles) -> None:
    other = forms(bundled(CARRIER))
    for data in [*other.values(), *(base64.b64encode(d) for d in other.values()), os.urandom(4 << 20), bytes(1 << 20), b"\xff" * (1 << 20)]:
        assert needles.scan(data, "here") == []


def test_a_copy_across_the_border_of_two_reads_is_found(needles: Needles) -> None:
    codes = linear_to_mulaw(bundled(AGENT)).tobytes()
    at = next(at for at in range(0, len(codes), 200) if needles.scan(codes[at : at + 32], "one needle"))
    for before in range(0, 40, 3):
        data = bytes((1 << 20) - before) + codes[at : at + 32] + bytes(1000)
        assert needles.scan(data, "here")


def test_folders_are_searched_to_the_bottom_and_the_place_is_named(needles: Needles, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "harmless").write_bytes(os.urandom(100_000))
    assert needles.scan_folders([tmp_path])[0] == []
    (deep / "core").write_bytes(b"x" * 777 + forms(bundled(AGENT))["mulaw"])
    found, size = needles.scan_folders([tmp_path])
    assert [f.where for f in found] == [str(deep / "core")]
    assert found[0].form == "PCMU"
    assert found[0].offset >= 777
    assert size > 100_000


def test_a_file_without_a_name_that_a_process_still_holds_is_searched(needles: Needles, tmp_path: Path) -> None:
    with (tmp_path / "gone").open("w+b") as file:
        file.write(forms(bundled(AGENT))["linear"])
        file.flush()
        (tmp_path / "gone").unlink()
        assert needles.scan_unlinked([os.getpid()])
    assert needles.scan_unlinked([os.getpid()]) == []


def test_silence_makes_no_needles() -> None:
    with pytest.raises(ValueError, match="lively"):
        Needles.of(np.zeros(RATE, dtype=np.int16))


@pytest.mark.parametrize(("law", "container"), [(linear_to_mulaw, "mulaw"), (linear_to_alaw, "alaw")])
def test_the_codes_agree_with_ffmpeg(law, container: str) -> None:
    av = pytest.importorskip("av")
    samples = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
    codec = av.CodecContext.create(f"pcm_{container}", "w")
    codec.sample_rate, codec.layout, codec.format = RATE, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = RATE
    theirs = np.frombuffer(b"".join(bytes(p) for p in [*codec.encode(frame), *codec.encode(None)]), dtype=np.uint8)
    decoder = av.CodecContext.create(f"pcm_{container}", "r")
    decoder.sample_rate, decoder.layout = RATE, "mono"
    ours = law(samples)
    # Encoders differ by one step at the borders between codes: what counts is that the same needles come out nearly everywhere.
    assert np.mean(ours == theirs) > 0.95
