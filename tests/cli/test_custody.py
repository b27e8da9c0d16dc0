"""keygen, prove-key and open-recording as real processes that can't reach any network: what a customer does at home."""

import base64
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import av
import pytest

from hushwire.recording.hwr import HEADER_LENGTH, Identity, Writer
from hushwire.vault.buckets import fingerprint_of
from hushwire.vault.envelopes import Subject, answer_to, challenge, seal
from hushwire.vault.recipients import Algorithm, PublicKey, load_private, load_public
from tests.api.test_recordings import tone
from tests.recorded import Chance
from tests.vault.test_envelopes import KEYS, every_algorithm, ours

TOP = Path(__file__).parents[2]
# Loaded before anything of ours: the first socket, or look-up of a name, ends the process.
NO_NETWORK = """
import os, sys
def _refuse(event, _arguments):
    if event.startswith("socket."):
        os.write(2, b"NETWORK " + event.encode())
        os._exit(99)
sys.addaudithook(_refuse)
"""
ORG, RECORDING = UUID("01890000-0000-7000-8000-00000000000a"), UUID("01890000-0000-7000-8000-00000000000b")
DATA_KEY = bytes(range(32))


@pytest.fixture
def offline(tmp_path: Path) -> "Offline":
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(NO_NETWORK)
    unshare = shutil.which("unshare")
    can_fence = unshare and subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0
    return Offline(tmp_path, [unshare, "-rn"] if unshare and can_fence else [])


@dataclass(frozen=True)
class Offline:
    """A customer's machine: a folder, no configuration, no network."""

    folder: Path
    fenced: list[str]

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("HUSHWIRE_")}
        environ |= {"PYTHONPATH": os.pathsep.join((str(self.folder / "hook"), str(TOP / "src"))), "HOME": str(self.folder)}
        done = subprocess.run(
            [*self.fenced, sys.executable, "-m", "hushwire", *map(str, arguments)],
            input=stdin, capture_output=True, env=environ, check=False, timeout=120, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode != 99, done.stderr
        assert b"Traceback" not in done.stderr, done.stderr
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def open(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        """open-recording --json: exit status and what it said."""
        done = self.run("open-recording", *arguments, "--json")
        return done.returncode, json.loads(done.stdout)

    def recording(self, *, crashed: bool = False, to: PublicKey | None = None, org: UUID = ORG) -> tuple[Path, dict[str, Any]]:
        """A sealed file and what the API says of it, kept beside it."""
        frames = tone(2)
        writer = Writer(DATA_KEY, Identity(ORG, RECORDING), Chance())
        kept = frames[:-1] if crashed else frames
        blob = writer.header + b"".join(writer.frame(frame, is_final=frame is frames[-1]) for frame in kept)
        path = self.folder / "call.hwr"
        path.write_bytes(blob)
        envelope = seal(DATA_KEY, to or ours("x25519").public, Subject(org, "recording", RECORDING))
        said: dict[str, Any] = {
            "type": "hushwire.recording-envelopes.v1", "custody": "customer",
            "identity": {"org_id": str(org), "recording_id": str(RECORDING), "segment": 0},
            "closing": {"state": "stored", "frames": None if crashed else len(frames), "size_bytes": len(blob),
                        "digest": hashlib.sha256(blob).hexdigest()},
            "key_fingerprint": fingerprint_of(DATA_KEY, RECORDING).hex(),
            "envelopes": [{"envelope": base64.b64encode(envelope).decode()}],
        }  # fmt: skip
        self.say(said)
        return path, said

    def say(self, said: dict[str, Any]) -> None:
        (self.folder / "call.hwr.json").write_text(json.dumps(said))

    def key(self, name: str = "x25519/ours") -> Path:
        path = self.folder / f"{name.replace('/', '-')}.pem"
        path.write_bytes(KEYS[name].pem(None))
        return path


def seconds(path: Path) -> float:
    with av.open(io.BytesIO(path.read_bytes())) as container:
        frames = list(container.decode(audio=0))
        assert container.streams.audio[0].codec_context.channels == 2
        return sum(frame.samples for frame in frames) / frames[0].sample_rate


def test_the_fence_around_these_processes_holds(offline: Offline) -> None:
    environ = os.environ | {"PYTHONPATH": str(offline.folder / "hook")}
    for attempt in ("socket.socket()", "socket.getaddrinfo('localhost', 1)"):
        done = subprocess.run([sys.executable, "-c", f"import socket; {attempt}"], env=environ, capture_output=True, check=False)
        assert done.returncode == 99


@pytest.mark.parametrize("algorithm", ["x25519", "mlkem768-x25519", "rsa-oaep-256"])
def test_a_key_pair_is_made_proven_and_opens_a_recording_without_any_network(offline: Offline, algorithm: str) -> None:
    secret, out = offline.folder / "passphrase", offline.folder / "key.pem"
    secret.write_text("correct horse battery staple\n")
    made = json.loads(offline.run("keygen", "--algorithm", algorithm, "--out", out, "--passphrase-file", secret, "--json").stdout)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in out.read_bytes()
    public = load_public(Algorithm(algorithm), Path(made["public"]).read_text())
    assert public.fingerprint.hex() == made["fingerprint"]
    recipient, asked = uuid4(), offline.folder / "challenge.json"
    asked.write_text(json.dumps({"challenge": base64.b64encode(challenge(DATA_KEY, public, ORG, recipient)).decode()}))
    answered = offline.run("prove-key", asked, "--key", out, "--passphrase-file", secret).stdout.strip()
    assert answered == answer_to(DATA_KEY, ORG, recipient, public.fingerprint).hex()
    path, _ = offline.recording(to=public)
    for suffix in ("wav", "ogg", "flac"):
        sound = offline.folder / f"call.{suffix}"
        status, said = offline.open(path, "--key", out, "--passphrase-file", secret, "--out", sound)
        assert (status, said["whole"], said["failure"], said["duration_ms"]) == (0, True, None, 2000)
        assert seconds(sound) == pytest.approx(2, abs=0.1)
        assert stat.S_IMODE(sound.stat().st_mode) == 0o600
    assert "passphrase" in offline.run("open-recording", path, "--key", out, "--out", offline.folder / "no.wav").stderr
    assert not [name for name in os.listdir(offline.folder) if name.endswith(".part")]


def test_keygen_never_overwrites_a_key_and_wants_a_long_passphrase(offline: Offline) -> None:
    out = offline.folder / "key.pem"
    assert offline.run("keygen", "--algorithm", "x25519", "--out", out).returncode == 0
    before = out.read_bytes()
    load_private(before)
    assert "exists already" in offline.run("keygen", "--algorithm", "x25519", "--out", out).stderr
    assert out.read_bytes() == before
    other = offline.folder / "other.pem"
    (offline.folder / "other.pem.pub").write_text("somebody's")
    assert offline.run("keygen", "--algorithm", "x25519", "--out", other).returncode == 1
    (offline.folder / "dangling.pem").symlink_to(offline.folder / "nowhere")
    assert offline.run("keygen", "--algorithm", "x25519", "--out", offline.folder / "dangling.pem").returncode == 1
    short, fresh = offline.folder / "short", offline.folder / "fresh.pem"
    short.write_text("short\n")
    assert "at least 16" in offline.run("keygen", "--algorithm", "x25519", "--out", fresh, "--passphrase-file", short).stderr
    assert offline.run("keygen", "--algorithm", "x25519", "--out", offline.folder / "none" / "key").returncode == 1
    assert offline.run("keygen", "--algorithm", "rot13", "--out", other).returncode == 2
    assert not other.exists()
    assert not fresh.exists()


def test_an_existing_sound_is_overwritten_by_force_only(offline: Offline) -> None:
    path, _ = offline.recording()
    out = offline.folder / "call.wav"
    out.write_text("precious")
    refused = offline.run("open-recording", path, "--key", offline.key(), "--out", out)
    assert (refused.returncode, out.read_text()) == (1, "precious")
    assert "--force" in refused.stderr
    assert offline.open(path, "--key", offline.key(), "--out", out, "--force")[0] == 0
    assert seconds(out) == pytest.approx(2, abs=0.1)


def test_one_envelope_alone_is_enough(offline: Offline) -> None:
    path, said = offline.recording()
    envelope = offline.folder / "one.envelope"
    envelope.write_bytes(base64.b64decode(said["envelopes"][0]["envelope"]))
    (offline.folder / "call.hwr.json").unlink()
    status, told = offline.open(path, "--key", offline.key(), "--envelope", envelope, "--out", "call.ogg")
    assert (status, told["whole"], told["recording_id"]) == (0, True, str(RECORDING))
    path.write_bytes(path.read_bytes()[:-30])
    status, told = offline.open(path, "--key", offline.key(), "--envelope", envelope, "--out", "cut.ogg")
    assert (status, told["failure"], told["out"]) == (1, "truncated", None)


def test_a_crashed_recording_opens_with_a_warning(offline: Offline) -> None:
    path, _ = offline.recording(crashed=True)
    done = offline.run("open-recording", path, "--key", offline.key(), "--out", "call.wav")
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert seconds(offline.folder / "call.wav") == pytest.approx(2, abs=0.1)
    status, said = offline.open(path, "--key", offline.key(), "--out", "again.wav")
    assert (status, said["whole"], said["crashed"]) == (0, False, True)


FAULTS = [
    # name, stage, failure, frames that are good
    ("cut", "recording", "truncated", 4),
    ("flipped", "recording", "damaged", 2),
    ("swapped", "recording", "reordered", 1),
    ("trailing", "recording", "trailing", 6),
    ("foreign-file", "recording", "foreign", 0),
    ("not-a-file", "recording", "not-a-recording", 0),
    ("empty", "recording", "truncated", 0),
    ("other-digest", "recording", "digest-mismatch", 6),
    ("other-count", "recording", "digest-mismatch", 6),
    ("other-key", "envelope", "wrong-key", 0),
    ("foreign-envelope", "envelope", "foreign", 0),
    ("cut-envelope", "envelope", "truncated", 0),
    ("flipped-envelope", "envelope", "damaged", 0),
    ("other-data-key", "envelope", "damaged", 0),
    ("no-envelope", "envelope", "wrong-key", 0),
]


@pytest.mark.parametrize(("fault", "stage", "failure", "good"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_named_and_nothing_is_written_but_what_is_good_and_was_asked_for(
    offline: Offline, fault: str, stage: str, failure: str, good: int
) -> None:
    path, said = offline.recording()
    blob = path.read_bytes()
    lengths, at = [], HEADER_LENGTH
    while at < len(blob):
        lengths.append(4 + (int.from_bytes(blob[at : at + 4], "big") & 0x7FFFFFFF))
        at += lengths[-1]
    starts = [HEADER_LENGTH + sum(lengths[:n]) for n in range(len(lengths) + 1)]
    frames = [blob[starts[n] : starts[n + 1]] for n in range(len(lengths))]
    envelope = base64.b64decode(said["envelopes"][0]["envelope"])
    changed = {
        "cut": blob[: starts[4] + 9], "flipped": blob[: starts[2] + 40] + bytes([blob[starts[2] + 40] ^ 1]) + blob[starts[2] + 41 :],
        "swapped": blob[: starts[1]] + frames[2] + frames[1] + blob[starts[3] :], "trailing": blob + b"\0",
        "foreign-file": Writer(DATA_KEY, Identity(ORG, uuid4()), Chance()).header + blob[HEADER_LENGTH:],
        "not-a-file": b"OggS" + blob[4:], "empty": b"",
    }.get(fault, blob)  # fmt: skip
    path.write_bytes(changed)
    envelopes = {
        "foreign-envelope": seal(DATA_KEY, ours("x25519").public, Subject(uuid4(), "recording", RECORDING)),
        "cut-envelope": envelope[:-1], "flipped-envelope": envelope[:-1] + bytes([envelope[-1] ^ 1]),
        "other-data-key": seal(bytes(32), ours("x25519").public, Subject(ORG, "recording", RECORDING)),
    }  # fmt: skip
    if fault in envelopes:
        said["envelopes"][0]["envelope"] = base64.b64encode(envelopes[fault]).decode()
    if fault == "no-envelope":
        said["envelopes"] = []
    said["closing"] |= {"other-digest": {"digest": "00" * 32}, "other-count": {"frames": 7}}.get(fault, {})
    offline.say(said)
    key = offline.key("x25519/other" if fault == "other-key" else "x25519/ours")
    out = offline.folder / "call.wav"
    status, told = offline.open(path, "--key", key, "--out", out)
    assert (status, told["stage"], told["failure"]) == (1, stage, failure)
    assert not out.exists()
    status, told = offline.open(path, "--key", key, "--out", out, "--partial")
    assert (status, told["failure"], told.get("frames", 0)) == (1, failure, good)
    assert out.exists() == (good > 0)
    if good > 1:
        assert seconds(out) == pytest.approx(told["duration_ms"] / 1000, abs=0.1)


@every_algorithm
def test_prove_key_answers_challenges_only(offline: Offline, algorithm: Algorithm) -> None:
    key = offline.key(f"{algorithm}/ours")
    envelope = seal(DATA_KEY, ours(algorithm).public, Subject(ORG, "recording", RECORDING))
    done = offline.run("prove-key", "-", "--key", key, stdin=base64.b64encode(envelope))
    assert (done.returncode, done.stdout) == (1, "")
    assert "foreign" in done.stderr
    asked = challenge(DATA_KEY, ours(algorithm).public, ORG, RECORDING)
    for given in (asked, base64.b64encode(asked)):
        assert len(offline.run("prove-key", "-", "--key", key, stdin=given).stdout.strip()) == 64
    for nonsense in (b"", b"{}", b"{", b"!!!"):
        assert offline.run("prove-key", "-", "--key", key, stdin=nonsense).returncode == 1


def test_mistakes_are_one_sentence_each(offline: Offline) -> None:
    path, _ = offline.recording()
    key = offline.key()
    (offline.folder / "bad.json").write_text('{"identity": 1}')
    (offline.folder / "public.pem").write_bytes(ours("x25519").public.pem())
    for arguments, words in [
        ((path, "--key", key, "--out", "call.mp3"), ".wav, .ogg or .flac"),
        ((path, "--key", "nowhere.pem", "--out", "call.wav"), "can't be read"),
        ((path, "--key", "public.pem", "--out", "call.wav"), "not a private key"),
        ((path, "--key", key, "--envelope", "bad.json", "--out", "call.wav"), "is not what GET"),
        ((path, "--key", key, "--envelope", "nowhere.json", "--out", "call.wav"), "can't be read"),
        (("nowhere.hwr", "--key", key, "--envelope", "call.hwr.json", "--out", "call.wav"), "can't be read"),
        ((path, "--key", key, "--out", "nowhere/call.wav"), "can't be written"),
    ]:
        done = offline.run("open-recording", *arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
