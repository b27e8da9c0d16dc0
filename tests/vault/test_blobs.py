"""Blobs in a local folder and in S3: same behaviour, and no way into a foreign region."""

import asyncio
import contextlib
import hashlib
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from hushwire.core.errors import ConfigError, RefusedError, Unavailable
from hushwire.vault.blobs import AT_ONCE_BYTES, BlobExists, BlobMissing, Blobs, S3Options
from tests.objectstores import Weed, shared_weed, weed

__all__ = ["shared_weed", "weed"]


@dataclass(frozen=True, slots=True)
class S3:
    endpoint: str

    def bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(4)}"
        client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        client.create_bucket(Bucket=name)
        client.close()
        return name


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(params=["local", "s3", "weed"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "local":
        return Blobs.open({"eu": (tmp_path / "eu").as_uri(), "us": (tmp_path / "us").as_uri()})
    if request.param == "weed":
        weed: Weed = request.getfixturevalue("shared_weed")
        return weed.blobs("eu", "us")
    server: S3 = request.getfixturevalue("s3")
    options = S3Options(endpoint=server.endpoint, access_key="test", secret_key="test")
    urls = {region: f"s3://{server.bucket()}/sealed" for region in ("eu", "us")}
    return Blobs.open(urls, dict.fromkeys(urls, options))


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "spooled.hwr"
    path.write_bytes(bytes(range(256)) * 12_000)
    return path


async def test_a_file_comes_back_whole_by_range_and_as_a_stream(blobs: Blobs, sealed: Path) -> None:
    data = sealed.read_bytes()
    assert await blobs.put_file("eu", "org/2026/one.hwr", sealed) == len(data)
    assert await blobs.get("eu", "org/2026/one.hwr") == data
    assert await blobs.get("eu", "org/2026/one.hwr", start=1000, length=300) == data[1000:1300]
    assert await blobs.get("eu", "org/2026/one.hwr", start=len(data) - 5) == data[-5:]
    assert await blobs.get("eu", "org/2026/one.hwr", start=len(data)) == b""
    assert await blobs.size("eu", "org/2026/one.hwr") == len(data)
    assert b"".join([chunk async for chunk in blobs.stream("eu", "org/2026/one.hwr")]) == data


async def test_an_object_is_never_overwritten(blobs: Blobs, sealed: Path, tmp_path: Path) -> None:
    await blobs.put_file("eu", "one.hwr", sealed)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    with pytest.raises(BlobExists):
        await blobs.put_file("eu", "one.hwr", other)
    assert await blobs.size("eu", "one.hwr") == sealed.stat().st_size


async def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(blobs: Blobs, sealed: Path) -> None:
    await blobs.put_file("eu", "org/one.hwr", sealed)
    await blobs.put_file("eu", "org/two.hwr", sealed)
    assert sorted([key async for key in blobs.keys("eu", "org")]) == ["org/one.hwr", "org/two.hwr"]
    await blobs.delete("eu", "org/one.hwr")
    await blobs.delete("eu", "org/one.hwr")
    assert not await blobs.exists("eu", "org/one.hwr")
    assert await blobs.exists("eu", "org/two.hwr")
    for read in (blobs.get("eu", "org/one.hwr"), blobs.size("eu", "org/one.hwr"), blobs.get("eu", "org/one.hwr", start=1, length=2)):
        with pytest.raises(BlobMissing):
            await read
    with pytest.raises(BlobMissing):
        [chunk async for chunk in blobs.stream("eu", "org/one.hwr")]


async def test_data_of_one_region_is_not_in_the_store_of_another(blobs: Blobs, sealed: Path) -> None:
    await blobs.put_file("eu", "one.hwr", sealed)
    assert not await blobs.exists("us", "one.hwr")
    assert [key async for key in blobs.keys("us")] == []


async def test_data_of_a_region_without_a_store_is_refused_everywhere(blobs: Blobs, sealed: Path) -> None:
    assert not blobs.serves("ch")
    with pytest.raises(RefusedError, match="ch"):
        await blobs.put_file("ch", "one.hwr", sealed)
    for read in (blobs.get("ch", "one.hwr"), blobs.exists("ch", "one.hwr"), blobs.delete("ch", "one.hwr")):
        with pytest.raises(RefusedError):
            await read


async def test_one_local_store_may_serve_every_residency(tmp_path: Path, sealed: Path) -> None:
    blobs = Blobs.open({"*": (tmp_path / "all").as_uri()})
    await blobs.put_file("ch", "one.hwr", sealed)
    assert blobs.serves("ch")
    assert await blobs.get("eu", "one.hwr", start=0, length=3) == b"\x00\x01\x02"


async def test_an_s3_store_takes_endpoint_and_credentials_from_the_environment(
    s3: S3, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{s3.bucket()}"
    settings = {"ENDPOINT": s3.endpoint, "REGION": "eu-central-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    blobs = Blobs.open({"eu": url})
    await blobs.put_file("eu", "one.hwr", sealed)
    assert await blobs.exists("eu", "one.hwr")


@pytest.mark.parametrize("endpoint", ["http://192.0.2.1:9000", "http://s3.example.org", "ftp://127.0.0.1", "127.0.0.1:9000"])
def test_an_s3_endpoint_without_tls_is_refused_unless_it_is_this_machine(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        Blobs.open({"eu": "s3://bucket"}, {"eu": S3Options(endpoint=endpoint)})


@pytest.mark.parametrize("key", ["", "/one", "one/", "../one", "a/../b", "a//b", "a b", "a\nb", "a\0b", "a%2e", "ä?"])
async def test_a_key_that_is_no_plain_path_is_refused(tmp_path: Path, sealed: Path, key: str) -> None:
    blobs = Blobs.open({"*": (tmp_path / "all").as_uri()})
    with pytest.raises(ConfigError):
        await blobs.put_file("eu", key, sealed)


@pytest.mark.parametrize("url", ["", "http://x/y", "file://host/x", "file:relative", "s3://ab", "s3:///x", "/folder"])
def test_a_url_that_is_no_store_names_the_region(url: str) -> None:
    with pytest.raises(ConfigError, match=r"regions\.eu"):
        Blobs.open({"eu": url})


async def test_an_s3_server_that_is_away_is_unavailable_and_says_no_host_or_bucket(sealed: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        blobs = Blobs.open({"eu": "s3://some-bucket"}, {"eu": S3Options(endpoint=endpoint, access_key="a", secret_key="b")})
        with pytest.raises(Unavailable) as caught:
            await blobs.put_file("eu", "one.hwr", sealed)
    assert "some-bucket" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_local_store_keeps_its_files_from_other_users(tmp_path: Path, sealed: Path) -> None:
    blobs = Blobs.open({"eu": (tmp_path / "eu").as_uri()})
    await blobs.put_file("eu", "one.hwr", sealed)
    assert (tmp_path / "eu").stat().st_mode & 0o077 == 0


async def test_a_large_file_goes_up_in_parts_and_is_not_overwritten_either(shared_weed: Weed, tmp_path: Path) -> None:
    blobs = shared_weed.blobs("eu")
    large = tmp_path / "large"
    data = secrets.token_bytes(AT_ONCE_BYTES + (5 << 20) + 7)
    large.write_bytes(data)
    assert await blobs.put_file("eu", "org/large.hwr", large) == len(data)
    digest = hashlib.sha256()
    assert await blobs.scan("eu", "org/large.hwr", digest.update) == len(data)
    assert digest.digest() == hashlib.sha256(data).digest()
    assert b"".join([chunk async for chunk in blobs.stream("eu", "org/large.hwr", start=len(data) - 70_000)]) == data[-70_000:]
    with pytest.raises(BlobExists):
        await blobs.put_file("eu", "org/large.hwr", large)
    assert await blobs.abort_stale_uploads(datetime.now(UTC), timedelta()) == 0


async def test_parts_of_an_upload_whose_process_died_are_found_and_dropped_once_they_are_old(shared_weed: Weed, tmp_path: Path) -> None:
    bucket = shared_weed.bucket()
    blobs = Blobs.open({"eu": f"s3://{bucket}/sealed"}, {"eu": shared_weed.options})
    client = shared_weed.client()
    for key in ("sealed/recordings/a b+c/one.hwr", "sealed/recordings/two.hwr", "somebody-elses/three"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=bytes(5 << 20))
    now = datetime.now(UTC)
    assert await blobs.abort_stale_uploads(now) == 0
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 3
    assert await blobs.abort_stale_uploads(now, timedelta(hours=-1)) == 2
    assert [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["somebody-elses/three"]
    assert await blobs.abort_stale_uploads(now, timedelta(hours=-1)) == 0
    client.close()


async def test_an_upload_that_is_cut_off_leaves_no_object_and_can_be_done_again(weed: Weed, tmp_path: Path) -> None:
    blobs = weed.blobs("eu")
    large = tmp_path / "large"
    large.write_bytes(secrets.token_bytes(AT_ONCE_BYTES * 4))
    uploading = asyncio.create_task(blobs.put_file("eu", "one.hwr", large))
    await asyncio.sleep(0.15)
    weed.kill()
    with contextlib.suppress(Unavailable):
        await uploading
    weed.start()
    if not await blobs.exists("eu", "one.hwr"):
        await blobs.put_file("eu", "one.hwr", large)
    digest = hashlib.sha256()
    await blobs.scan("eu", "one.hwr", digest.update)
    assert digest.digest() == hashlib.sha256(large.read_bytes()).digest()
    await blobs.abort_stale_uploads(datetime.now(UTC), timedelta(hours=-1))
    assert await blobs.abort_stale_uploads(datetime.now(UTC), timedelta(hours=-1)) == 0


async def test_an_s3_server_that_refuses_to_tell_its_uploads_is_unavailable(s3: S3, tmp_path: Path) -> None:
    blobs = Blobs.open({"eu": "s3://no-such-bucket"}, {"eu": S3Options(endpoint=s3.endpoint, access_key="test", secret_key="test")})
    with pytest.raises(Unavailable) as caught:
        await blobs.abort_stale_uploads(datetime.now(UTC))
    assert "no-such-bucket" not in str(caught.value)
    local = Blobs.open({"*": (tmp_path / "all").as_uri()})
    assert await local.abort_stale_uploads(datetime.now(UTC)) == 0
