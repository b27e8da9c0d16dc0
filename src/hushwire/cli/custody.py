"""At the customer's, offline, with no database and no configuration: `hushwire keygen`, `prove-key` and `open-recording`."""

import base64
import binascii
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import typer

from hushwire.cli.options import AsJson, ConfigFile, aside, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.recording.containers import AudioFormat
from hushwire.recording.failures import RecordingError
from hushwire.recording.hwr import HEADER_LENGTH, Closed, Ending, Identity, Reader, identify
from hushwire.recording.inspection import Inspection, inspect
from hushwire.recording.playback import Player
from hushwire.vault.buckets import fingerprint_of
from hushwire.vault.envelopes import Subject, answer_challenge, open_envelope, parse
from hushwire.vault.failures import EnvelopeError, Failure
from hushwire.vault.recipients import Algorithm, PrivateKey, RecipientKeyError, generate, load_private

_CHUNK: Final = 1 << 18
_MOST_TEXT: Final = 1 << 20
KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key that hushwire keygen made.", show_default=False)]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Holds the private key's passphrase.", show_default=False)
]


def keygen(
    algorithm: Annotated[Algorithm, typer.Option("--algorithm", help="mlkem768-x25519 also withstands quantum computers.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The private key; the public one goes to FILE.pub.", show_default=False)
    ],
    passphrase_file: Passphrase = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Make a key pair whose private half stays with you: register the public one, and recordings open under yours."""
    del config
    public_path = out.with_name(out.name + ".pub")
    for path in (out, public_path):
        if path.exists() or path.is_symlink():
            raise ConfigError(f"--out: {path} exists already, and a key is never overwritten: choose another name")
    key = generate(algorithm)
    try:
        private = key.pem(_passphrase(passphrase_file))
    except RecipientKeyError as error:
        raise ConfigError(f"--passphrase-file: {error}") from None
    _write_new(out, private, 0o600)
    try:
        _write_new(public_path, key.public.pem(), 0o644)
    except ConfigError:
        out.unlink()
        raise
    fingerprint = key.public.fingerprint.hex()
    if json:
        print_json({"algorithm": algorithm.value, "fingerprint": fingerprint, "private": str(out), "public": str(public_path)})
        return
    people.print(f"Private key: {out} (keep it, and a copy elsewhere: without it nothing opens)", markup=False)
    people.print(f"Public key:  {public_path} (register this one)", markup=False)
    people.print(f"Fingerprint: {fingerprint}", markup=False)
    if passphrase_file is None:
        aside.print("The private key is not encrypted: whoever reads the file opens your recordings (--passphrase-file encrypts it).")


def prove_key(
    challenge: Annotated[Path, typer.Argument(metavar="CHALLENGE", help="What the API returned, or its challenge alone; - is stdin.")],
    key: KeyFile,
    passphrase_file: Passphrase = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Answer the challenge to a registered key. Only challenges are answered: no key of a recording can be got out of this."""
    del config
    private = _private_key(key, passphrase_file)
    try:
        answer = answer_challenge(_challenge(_read(challenge, "CHALLENGE")), private).hex()
    except EnvelopeError as error:
        raise ConfigError(f"CHALLENGE: {error}") from None
    if json:
        print_json({"answer": answer})
    else:
        print(answer)


def open_recording(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed recording: GET /v1/recordings/{id}/sealed.", show_default=False)],
    key: KeyFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the sound goes: .wav, .ogg or .flac.", show_default=False)],
    envelope: Annotated[
        Path | None,
        typer.Option("--envelope", metavar="FILE", help="GET /v1/recordings/{id}/envelopes, or one envelope's bytes. Default: FILE.json."),
    ] = None,
    passphrase_file: Passphrase = None,
    partial: Annotated[bool, typer.Option("--partial", help="Write what is good of a recording that is not whole.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Open a recording with your own key, offline, and write it as sound: only if it is whole, or crashed and said to be."""
    del config
    audio_format = _format(out)
    if not force and (out.exists() or out.is_symlink()):
        raise ConfigError(f"--out: {out} exists already: choose another name, or say --force")
    private = _private_key(key, passphrase_file)
    try:
        opened = _opened(file, envelope or file.with_name(file.name + ".json"), private)
    except EnvelopeError as error:
        _report(json, {"stage": "envelope", "failure": error.failure.value, "explanation": str(error)})
        raise typer.Exit(1) from None
    found = inspect(_chunks(file), opened.key, opened.identity, closed=opened.closed, crashed=opened.has_crashed)
    is_good = found.failure is None
    is_written = is_good or (partial and found.frames > 0)
    if is_written:
        _write_sound(out, audio_format, opened, found, file, force=force)
    said: dict[str, Any] = {
        "stage": "recording",
        "failure": None if found.failure is None else found.failure.value,
        "explanation": found.explanation,
        "whole": found.is_whole,
        "crashed": found.ending is Ending.CUT,
        "org_id": str(opened.identity.org_id),
        "recording_id": str(opened.identity.recording_id),
        "segment": opened.identity.segment,
        "frames": found.frames,
        "duration_ms": found.duration_ms,
        "out": str(out) if is_written else None,
    }
    _report(json, said)
    if not is_good:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is known of a recording before its file is read."""

    key: bytes
    identity: Identity
    closed: Closed | None
    has_crashed: bool


def _opened(file: Path, envelope: Path, private: PrivateKey) -> _Opened:
    """The recording's key, and what its file must be. Raises EnvelopeError."""
    data = _read(envelope, "--envelope")
    if not data.lstrip().startswith(b"{"):
        # One envelope alone: it says which recording it is for; the segment is the file's own word, bound to the key all the same.
        subject = parse(data).subject
        expected = Subject(subject.org_id, "recording", subject.object_id)
        key = open_envelope(data, private, expected)
        return _Opened(key, Identity(subject.org_id, subject.object_id, _segment(file)), None, has_crashed=False)
    try:
        said = orjson.loads(data)
        names, closing = said["identity"], said["closing"]
        identity = Identity(UUID(names["org_id"]), UUID(names["recording_id"]), int(names["segment"]))
        frames = None if closing["frames"] is None else int(closing["frames"])
        closed = Closed(frames, bytes.fromhex(closing["digest"]))
        envelopes = [base64.b64decode(entry["envelope"], validate=True) for entry in said["envelopes"]]
        fingerprint = bytes.fromhex(said["key_fingerprint"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise ConfigError(f"--envelope: {envelope} is not what GET /v1/recordings/{{id}}/envelopes returns") from None
    subject = Subject(identity.org_id, "recording", identity.recording_id)
    ours = [entry for entry in envelopes if parse(entry).key_id == private.public.fingerprint]
    if not ours:
        raise EnvelopeError(Failure.WRONG_KEY, f"none of the {len(envelopes)} envelopes is sealed to this key")
    key = open_envelope(ours[0], private, subject)
    if fingerprint_of(key, identity.recording_id) != fingerprint:
        raise EnvelopeError(Failure.DAMAGED, "the envelope holds another key than the recording was sealed with")
    return _Opened(key, identity, closed, has_crashed=frames is None)


def _segment(file: Path) -> int:
    try:
        with _opening(file, "FILE") as stream:
            return identify(stream.read(HEADER_LENGTH)).segment
    except RecordingError:
        return 0  # the inspection names what is wrong with it


def _write_sound(out: Path, audio_format: AudioFormat, opened: _Opened, found: Inspection, file: Path, *, force: bool) -> None:
    """The good frames as sound, beside the target first: it appears whole or not at all."""
    reader = Reader(opened.key, opened.identity, crashed=not found.is_whole)
    player = Player(reader, audio_format, length_ms=found.duration_ms)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sound:
            for chunk in _chunks(file, found.good_bytes):
                sound.write(player.feed(chunk))
            sound.write(player.finish())
            sound.flush()
            os.fsync(sound.fileno())
        if force:
            os.replace(part, out)
        else:
            os.link(part, out)  # unlike a renaming, it fails where somebody made the file meanwhile
    except FileExistsError:
        raise ConfigError(f"--out: {out} exists already: choose another name, or say --force") from None
    except OSError as error:
        raise ConfigError(f"--out: {out} can't be written ({error.strerror})") from None
    except RecordingError as error:
        raise ConfigError(f"FILE: was changed while it was read ({error.failure.value})") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _report(json: bool, said: dict[str, Any]) -> None:
    if json:
        print_json(said)
        return
    if said["failure"] is not None:
        aside.print(f"hushwire: {said['explanation']}", markup=False)
        if said.get("out"):
            aside.print(
                f"hushwire: what is good was written to {said['out']}: {said['frames']} frames, {said['duration_ms']} ms", markup=False
            )
        return
    if said["crashed"]:
        aside.print(f"hushwire: warning: the recording has no end: {said['explanation']}", markup=False)
    people.print(f"{said['out']}: {said['duration_ms'] / 1000:.1f} s, {said['explanation']}", markup=False)


def _format(out: Path) -> AudioFormat:
    try:
        return AudioFormat(out.suffix.lower().removeprefix("."))
    except ValueError:
        raise ConfigError("--out: the name must end in .wav, .ogg or .flac") from None


def _private_key(path: Path, passphrase_file: Path | None) -> PrivateKey:
    try:
        return load_private(_read(path, "--key"), _passphrase(passphrase_file))
    except RecipientKeyError as error:
        raise ConfigError(f"--key: {error}") from None


def _passphrase(path: Path | None) -> bytes | None:
    return None if path is None else _read(path, "--passphrase-file").rstrip(b"\r\n")


def _challenge(data: bytes) -> bytes:
    """The envelope, out of the API's JSON, base64, or as it is."""
    text = data.strip()
    if data.startswith(b"HWK1"):
        return data
    try:
        if text.startswith(b"{"):
            text = orjson.loads(text)["challenge"].encode()
        return base64.b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise ConfigError("CHALLENGE: is neither the API's JSON nor base64") from None


def _read(path: Path, name: str) -> bytes:
    """A small file. ConfigError, naming the argument, where it can't be read."""
    if str(path) == "-":
        return sys.stdin.buffer.read(_MOST_TEXT)
    with _opening(path, name) as stream:
        data: bytes = stream.read(_MOST_TEXT)
    return data


def _opening(path: Path, name: str) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{name}: {path} can't be read ({error.strerror})") from None


def _chunks(path: Path, limit: int | None = None) -> Iterator[bytes]:
    left = limit
    with _opening(path, "FILE") as stream:
        while chunk := stream.read(_CHUNK if left is None else min(_CHUNK, left)):
            left = None if left is None else left - len(chunk)
            yield chunk


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConfigError(f"--out: {path} exists already, and a key is never overwritten: choose another name") from None
    except OSError as error:
        raise ConfigError(f"--out: {path} can't be written ({error.strerror})") from None


_COMMANDS: Final[dict[str, Callable[..., None]]] = {"keygen": keygen, "prove-key": prove_key, "open-recording": open_recording}


def register(application: typer.Typer) -> None:
    """Add these commands."""
    for name, command in _COMMANDS.items():
        application.command(name)(command)
