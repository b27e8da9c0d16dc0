#!/usr/bin/env python3
"""A thief, who has stolen everything that can be copied, tries to read one recording. Not a part of hushwire: it imports nothing of it.

Written from the documents alone (docs/hwr.md, docs/sealed-values.md, docs/backup.md, the schema), with Python's standard library,
`cryptography`, and PostgreSQL's own programs. What it is given:

    --cluster DIR    copies of database folders (files and write-ahead log), taken while they ran, of any time; may be repeated
    --backup FILE    backups
    --root FILE      the root key
    --secrets DIR    folders with buckets' secrets
    --sealed FILE    the sealed recording
    --programs DIR   where postgres and pg_restore are

What it tries: every data key of every copy under every bucket under every secret, found by asking the databases (after their crash
recovery), and by searching every byte of their files, logs and backups for whatever may be left of rows that were deleted; then every
32 bytes in its hands as the recording's own key. It says what it tried as JSON. Exit status 0: it opened the recording. 1: it did not.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import pwd
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SEALED_KEY = 32 + 32 + 16  # HPKE: encapsulated key, 32 bytes, tag
SEALED_PRIVATE = 1 + 12 + 32 + 16  # sealed value of 32 bytes
NEAR = 400  # bytes of a row after its id


def context(*parts: "bytes | str | UUID") -> bytes:
    """docs/sealed-values.md: each part with its length before it."""
    joined = b""
    for part in parts:
        data = part.bytes if isinstance(part, UUID) else part.encode() if isinstance(part, str) else part
        joined += struct.pack(">I", len(data)) + data
    return joined


def derived(root: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"hushwire/root/1/{purpose}".encode()).derive(root)


def unsealed(key: bytes, sealed: bytes, place: bytes) -> "bytes | None":
    try:
        cipher = AESGCM(hmac.digest(key, b"hushwire/seal/1" + place, "sha256"))
        return cipher.decrypt(sealed[1:13], sealed[13:], place)
    except (InvalidTag, ValueError):
        return None


class Recording:
    """docs/hwr.md: a sealed file, and whether a key opens it."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.org, self.id = UUID(bytes=self.data[8:24]), UUID(bytes=self.data[24:40])

    def opens(self, key: bytes) -> bool:
        head = self.data[:44]
        if not hmac.compare_digest(self.data[44:76], hmac.digest(key, b"hushwire/hwr/1/commit" + head, "sha256")):
            return False
        (word,) = struct.unpack(">I", self.data[76:80])
        length, final = word & 0x7FFFFFFF, word >> 31
        body = self.data[80 : 80 + length]
        more = hashlib.sha256(self.data[:76]).digest() + struct.pack(">QB", 0, final)
        AESGCM(hmac.digest(key, b"hushwire/hwr/1/frame" + head, "sha256")).decrypt(body[:12], body[12:], more)
        return True


class Thief:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.recording = Recording(options.sealed)
        self.root = base64.b64decode(options.root.read_text().split()[-1])
        self.secrets = {path.name: path.read_bytes() for folder in options.secrets for path in sorted(folder.iterdir()) if path.is_file()}
        self.keys: dict[bytes, str] = {}  # sealed data key -> where it was found
        self.privates: dict[tuple[UUID, bytes], str] = {}  # bucket, sealed private key
        self.haystacks: list[tuple[str, bytes]] = []
        self.tried = {"sealed_keys": 0, "sealed_privates": 0, "privates_opened": 0, "hpke": 0, "plain": 0, "bytes_searched": 0}

    def run(self) -> "str | None":
        for folder in self.options.cluster:
            self.read_files(folder)
            self.ask(folder)
        for path in self.options.backup:
            self.open_backup(path)
        self.search()
        self.tried["sealed_keys"], self.tried["sealed_privates"] = len(self.keys), len(self.privates)
        return self.try_buckets() or self.try_everything_as_the_key()

    # ---------------------------------------------------------------------------------------------- what the copies hold

    def read_files(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.haystacks.append((str(path), path.read_bytes()))

    def ask(self, folder: Path) -> None:
        """Start PostgreSQL on a copy of the copy: it replays the log, as after a crash, and answers without any password."""
        with tempfile.TemporaryDirectory(prefix="thief-") as scratch:
            data = Path(scratch) / "data"
            shutil.copytree(folder, data)
            for name in ("postmaster.pid", "standby.signal", "recovery.signal"):
                (data / name).unlink(missing_ok=True)
            (data / "pg_hba.conf").write_text("local all all trust\n")
            who: dict[str, Any] = {}
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
                for path in (Path(scratch), *Path(scratch).rglob("*")):
                    os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
            os.chmod(data, 0o700)
            server = subprocess.Popen(
                [self.options.programs / "postgres", "-D", data, "-c", "listen_addresses=", "-c", f"unix_socket_directories={scratch}",
                 "-c", "fsync=off", "-c", "synchronous_standby_names="],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=scratch, **who,
            )  # fmt: skip
            try:
                for database in ("hushwire_keys", "hushwire"):
                    self.ask_database(scratch, database)
            finally:
                server.send_signal(signal.SIGINT)
                server.wait()

    def ask_database(self, sockets: str, database: str) -> None:
        def rows(table: str) -> list[dict[str, Any]]:
            command = [self.options.programs / "psql", "-h", sockets, "-U", "hushwire_admin", "-d", database, "-AtX", "-c"]
            query = f"SELECT row_to_json(t) FROM {table} AS t"
            for _ in range(200):
                done = subprocess.run([*command, query], capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    return [json.loads(line) for line in done.stdout.splitlines()]
                if "does not exist" in done.stderr:
                    return []
                time.sleep(0.1)
            raise SystemExit(f"the copy does not start: {done.stderr}")

        def raw(value: "str | None") -> "bytes | None":
            return bytes.fromhex(value[2:]) if value else None

        for row in rows("data_keys"):
            if UUID(row["id"]) == self.recording.id and (sealed := raw(row["sealed"])):
                self.keys.setdefault(sealed, "a row of data_keys")
        for row in rows("buckets"):
            if sealed := raw(row["private_sealed"]):
                self.privates.setdefault((UUID(row["id"]), sealed), "a row of buckets")

    def open_backup(self, path: Path) -> None:
        """docs/backup.md: the root key opens a backup. Its whole archive, and the script in it, are searched like everything else."""
        data = path.read_bytes()
        head, sealed = data[:32], data[96:157]
        key = unsealed(derived(self.root, "backup"), sealed, context("backup-key", head))
        if key is None:
            raise SystemExit("the backup does not open under this root key")
        cipher = AESGCM(hmac.digest(key, b"hushwire/hwb/1/frame" + head, "sha256"))
        file, at, archive, sequence = hashlib.sha256(data[:64]).digest(), 160, b"", 0
        while at < len(data):
            (word,) = struct.unpack(">I", data[at : at + 4])
            length, final = word & 0x7FFFFFFF, word >> 31
            body = data[at + 4 : at + 4 + length]
            plain = cipher.decrypt(body[:12], body[12:], file + struct.pack(">QB", sequence, final))
            archive += plain[1:] if plain[0] == 2 else b""
            at, sequence = at + 4 + length, sequence + 1
        script = subprocess.run([self.options.programs / "pg_restore", "--file=-"], input=archive, capture_output=True, check=True).stdout
        if str(self.recording.id).encode() not in script:
            raise SystemExit("the backup does not tell of the recording: this is no test")
        self.haystacks += [(f"{path}, opened", archive), (f"{path}, as SQL", script)]
        for match in re.finditer(rb"\\\\x([0-9a-f]{32,})", script):
            self.haystacks.append((f"{path}, a value", bytes.fromhex(match[1].decode()[: len(match[1]) // 2 * 2])))
        self.tried["backups"] = self.tried.get("backups", 0) + 1

    def search(self) -> None:
        """What deleted rows left in pages and logs: bytes near the recording's or a bucket's id that may be a sealed key."""
        buckets = {bucket for bucket, _ in self.privates} | {UUID(name) for name in self.secrets if re.fullmatch(r"[0-9a-f-]{36}", name)}
        for where, data in self.haystacks:
            self.tried["bytes_searched"] += len(data)
            for at in _all(data, self.recording.id.bytes):
                for start in range(at + 16, min(at + NEAR, len(data) - SEALED_KEY)):
                    self.keys.setdefault(data[start : start + SEALED_KEY], where)
            for bucket in buckets:
                for at in _all(data, bucket.bytes):
                    for start in range(at + 16, min(at + NEAR, len(data) - SEALED_PRIVATE)):
                        if data[start] == 1:  # the version of a sealed value
                            self.privates.setdefault((bucket, data[start : start + SEALED_PRIVATE]), where)

    # ---------------------------------------------------------------------------------------------- what opens

    def try_buckets(self) -> "str | None":
        wraps = [derived(self.root, purpose) for purpose in ("opener", "role", "backup")]
        for (bucket, sealed), where in self.privates.items():
            place = context("bucket", self.recording.org, bucket)
            for name, secret in self.secrets.items():
                for wrap in wraps:
                    raw = unsealed(hmac.digest(wrap, b"hushwire/bucket/1" + secret, "sha256"), sealed, place)
                    if raw is None:
                        continue
                    self.tried["privates_opened"] += 1
                    if found := self.try_keys(bucket, X25519PrivateKey.from_private_bytes(raw)):
                        return f"data key from {found}, private key from {where}, secret {name}"
        return None

    def try_keys(self, bucket: UUID, private: X25519PrivateKey) -> "str | None":
        info = context("hushwire/data-key/1", self.recording.org, bucket, "recording", self.recording.id)
        for sealed, where in self.keys.items():
            self.tried["hpke"] += 1
            try:
                key = SUITE.decrypt(sealed, private, info)
            except (InvalidTag, ValueError):
                continue
            if self.recording.opens(key):
                return where
        return None

    def try_everything_as_the_key(self) -> "str | None":
        """Somebody may have left the key in clear."""
        for purpose in ("opener", "role", "backup", "fingerprint"):
            self.haystacks.append(("the root key", derived(self.root, purpose)))
        self.haystacks += [("the root key", self.root), *((f"secret {name}", secret) for name, secret in self.secrets.items())]
        for where, data in self.haystacks:
            near = [0] if len(data) <= 4096 else list(_all(data, self.recording.id.bytes))
            for at in near:
                for start in range(max(0, at - NEAR), min(len(data) - 31, at + 4096)):
                    self.tried["plain"] += 1
                    if self.recording.opens(data[start : start + 32]):
                        return f"the key in clear in {where}"
        return None


def _all(data: bytes, needle: bytes) -> Iterator[int]:
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description="Try to read a recording with everything that was stolen.")
    for name, many in (("cluster", True), ("backup", True), ("secrets", True), ("root", False), ("sealed", False), ("programs", False)):
        parser.add_argument(f"--{name}", type=Path, action="append" if many else "store", default=[] if many else None, required=not many)
    thief = Thief(parser.parse_args())
    how = thief.run()
    print(json.dumps({"opened": how is not None, "how": how, "recording": str(thief.recording.id), "tried": thief.tried}))
    return 0 if how else 1


if __name__ == "__main__":
    sys.exit(main())
