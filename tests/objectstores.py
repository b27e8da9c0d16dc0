"""A real S3 server for tests: SeaweedFS (`weed server -s3`), on free ports, as nobody where we are root. It can be killed and restarted.

Seen of version 4.48: it keeps to If-None-Match on PUT and on the completion of an upload, lists and aborts multipart uploads, answers
ranges, and takes the deletion of a missing key for done.
"""

import json
import os
import pwd
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from hushwire.vault.blobs import Blobs, S3Options

READY_WITHIN_S = 60.0
_GRPC = 10_000  # weed adds this to a port for its own protocol


@dataclass(slots=True)
class Weed:
    """A server, running or not, with its folder and its ports."""

    folder: Path
    ports: list[int]
    access_key: str = field(default_factory=lambda: secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16))
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[3]}"

    @property
    def options(self) -> S3Options:
        return S3Options(endpoint=self.endpoint, access_key=self.access_key, secret_key=self.secret_key)

    def client(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key, config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10),
        )  # fmt: skip

    def bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(4)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def blobs(self, *regions: str) -> Blobs:
        """Stores of these regions, each in a bucket of its own."""
        return Blobs.open({region: f"s3://{self.bucket()}/sealed" for region in regions}, dict.fromkeys(regions, self.options))

    def start(self) -> None:
        master, volume, filer, s3 = self.ports
        log = (self.folder / "log").open("ab")
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        self._process = subprocess.Popen(
            [Path(sys.executable).parent / "weed", "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
             f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
             f"-s3.config={self.folder / 's3.json'}", "-volume.max=500", "-s3.port.iceberg=0", "-s3.port.lance=0",
             "-master.volumeSizeLimitMB=128", "-master.telemetry=false"],
            stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **identity,
        )  # fmt: skip
        log.close()
        self._await_ready()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _await_ready(self) -> None:
        client, until = self.client(), time.monotonic() + READY_WITHIN_S
        try:
            while True:
                try:
                    name = f"ready-{secrets.token_hex(4)}"
                    client.create_bucket(Bucket=name)
                    client.put_object(Bucket=name, Key="a", Body=b"b")
                    return
                except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                    assert self._process is not None
                    assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
                    assert time.monotonic() < until, "weed is not ready"
                    time.sleep(0.1)
        finally:
            client.close()


def running_weed() -> Iterator[Weed]:
    """A fresh server, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="hwweed-", dir="/tmp"))
    weed = Weed(folder, _free_ports(4))
    identities = [{
        "name": "test", "credentials": [{"accessKey": weed.access_key, "secretKey": weed.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]  # fmt: skip
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    if os.geteuid() == 0:
        for path in (folder, folder / "s3.json", folder / "data"):
            shutil.chown(path, "nobody")
    try:
        weed.start()
        yield weed
    finally:
        weed.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def weed() -> Iterator[Weed]:
    """A server of the test's own, to be killed."""
    yield from running_weed()


@pytest.fixture(scope="session")
def shared_weed() -> Iterator[Weed]:
    """One server a session."""
    yield from running_weed()


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        if port not in found and all(_is_free(number) for number in (port, port + _GRPC)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
