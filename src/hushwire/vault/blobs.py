"""Sealed files in object stores: a local folder or S3, one store per residency region.

Everything is addressed by the region that the data must stay in, and this module alone turns a region into a store: a write to
a foreign region can't be put into words. What is stored here is sealed before it comes.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from hushwire.core.errors import ConfigError, LocalError, RefusedError, Unavailable
from hushwire.vault import uploads
from hushwire.vault.uploads import Bucket

if TYPE_CHECKING:
    from obstore.store import ClientConfig

ANY_REGION: Final = "*"
_CHUNK_BYTES: Final = 1 << 20
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_GIVE_UP_AFTER: Final = timedelta(seconds=20)
AT_ONCE_BYTES: Final = 16 << 20
"""A larger file goes up in parts: each has the client's patience to itself, and no more than two are in memory."""
_PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 2
STALE_AFTER: Final = timedelta(hours=6)
"""No upload of ours takes that long: its process died."""


class BlobMissing(LocalError):
    """No such object."""


class BlobExists(LocalError):
    """The object is there already, and objects are never overwritten."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """What an s3:// URL does not say; None: as the environment says (AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID ...), else AWS."""

    endpoint: str | None = None
    signing_region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


class Blobs:
    """The stores of a deployment, by region; `*` is one store that serves every residency."""

    def __init__(self, stores: Mapping[str, LocalStore | S3Store], buckets: Mapping[str, Bucket] | None = None) -> None:
        self._stores = dict(stores)
        self._buckets = dict(buckets or {})

    @classmethod
    def open(cls, regions: Mapping[str, str], s3: Mapping[str, S3Options] | None = None) -> "Blobs":
        """Stores from URLs (`file:///folder`, `s3://bucket/prefix`) by region. Raises ConfigError, naming the region."""
        if not regions:
            raise ConfigError("[store] regions: at least one store is needed")
        options = {region: (s3 or {}).get(region, S3Options()) for region in regions}
        buckets = {region: bucket for region, url in regions.items() if (bucket := _bucket(url, options[region])) is not None}
        return cls({region: _open_store(region, url, options[region]) for region, url in regions.items()}, buckets)

    def regions(self) -> list[str]:
        """The regions that have a store of their own, or `*`."""
        return sorted(self._stores)

    def serves(self, residency: str) -> bool:
        """Whether data of this residency has a place here."""
        return residency in self._stores or ANY_REGION in self._stores

    async def put_file(self, residency: str, key: str, path: Path) -> int:
        """Store a file under a new key, durably, and return its size in bytes.

        Raises RefusedError if no store may hold data of this residency, BlobExists if the key is taken, Unavailable if the store
        does not answer.
        """
        store = self._store(residency)
        size = (await asyncio.to_thread(path.stat)).st_size
        if isinstance(store, S3Store) and size > AT_ONCE_BYTES:
            # S3 refuses to overwrite in one request, not in parts; nobody else writes this key meanwhile (recordings_shipping.alone).
            if await self.exists(residency, key):
                raise BlobExists("the object is there already")
            with _errors("put"):
                await obstore.put_async(
                    store, _checked(key), path, use_multipart=True, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
                )
            return size
        with _errors("put"):
            await obstore.put_async(store, _checked(key), path, mode="create", use_multipart=False)
        if isinstance(store, LocalStore) and store.prefix is not None:
            await asyncio.to_thread(_sync, Path(store.prefix), key)
        return size

    async def copy_to(self, other: "Blobs", residency: str, key: str) -> int:
        """The same object under the same key in another deployment's or zone's store, read back and compared; returns its size.

        Raises BlobMissing, RefusedError if no store there may hold data of this residency, BlobExists, Unavailable.
        """
        store = self._store(residency)
        if isinstance(store, LocalStore) and store.prefix is not None:
            if not await self.exists(residency, key):
                raise BlobMissing("no such object")
            await other.put_file(residency, key, Path(store.prefix) / _checked(key))
        else:
            if await other.exists(residency, key):
                raise BlobExists("the object is there already")
            with _errors("put"):
                async with obstore.open_writer_async(other._store(residency), _checked(key)) as writer:
                    async for chunk in self.stream(residency, key):
                        await writer.write(chunk)
        ours, theirs = hashlib.sha256(), hashlib.sha256()
        size = await self.scan(residency, key, ours.update)
        await other.scan(residency, key, theirs.update)
        if ours.digest() != theirs.digest():
            await other.delete(residency, key)
            raise Unavailable("the object store gave back other bytes than it was given")
        return size

    async def get(self, residency: str, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """An object's bytes, or a range of them. Raises BlobMissing."""
        store = self._store(residency)
        with _errors("get"):
            if start == 0 and length is None:
                return bytes(await (await obstore.get_async(store, _checked(key))).bytes_async())
            if length is None:
                length = (await obstore.head_async(store, _checked(key)))["size"] - start
            return bytes(await obstore.get_range_async(store, _checked(key), start=start, length=length)) if length > 0 else b""

    async def stream(self, residency: str, key: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """An object's bytes from `start` (not behind its end) on, in pieces of about 1 MiB. Raises BlobMissing."""
        store = self._store(residency)
        with _errors("get"):
            result = await obstore.get_async(store, _checked(key), options={"range": {"offset": start}} if start else None)
            async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)

    async def scan(self, residency: str, key: str, consume: Callable[[bytes], object]) -> int:
        """Hands the whole object to `consume` piece by piece, in a thread, and returns its size. Raises BlobMissing.

        Reading and hashing (which lets other threads run) then go as fast as the disk or the network does.
        """
        store = self._store(residency)
        if isinstance(store, LocalStore) and store.prefix is not None:
            with _errors("get"):
                return await asyncio.to_thread(_scan, Path(store.prefix) / _checked(key), consume)
        size = 0
        async for chunk in self.stream(residency, key):
            size += len(chunk)
            await asyncio.to_thread(consume, chunk)
        return size

    async def listed(self, store: str, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Keys and sizes of a store (one of `regions()`) under a folder."""
        with _errors("list"):
            async for batch in obstore.list(self._stores[store], prefix or None):
                for entry in batch:
                    yield str(entry["path"]), int(entry["size"])

    def store_of(self, residency: str) -> str | None:
        """Which of `regions()` holds data of this residency; None: none may."""
        return residency if residency in self._stores else ANY_REGION if ANY_REGION in self._stores else None

    async def size(self, residency: str, key: str) -> int:
        """An object's size in bytes. Raises BlobMissing."""
        store = self._store(residency)
        with _errors("head"):
            return int((await obstore.head_async(store, _checked(key)))["size"])

    async def exists(self, residency: str, key: str) -> bool:
        """Whether the object is there, asked of the store itself."""
        try:
            await self.size(residency, key)
        except BlobMissing:
            return False
        return True

    async def delete(self, residency: str, key: str) -> None:
        """Remove an object; nothing happens if it is gone already."""
        store = self._store(residency)
        try:
            with _errors("delete"):
                await obstore.delete_async(store, _checked(key))
        except BlobMissing:
            return

    async def keys(self, residency: str, prefix: str = "") -> AsyncIterator[str]:
        """The keys of the region's store under a folder."""
        store = self._store(residency)
        with _errors("list"):
            async for batch in obstore.list(store, prefix or None):
                for entry in batch:
                    yield str(entry["path"])

    async def abort_stale_uploads(self, now: datetime, older_than: timedelta = STALE_AFTER) -> int:
        """Drops the parts that processes which died left in S3; returns how many uploads that were. Raises Unavailable."""
        dropped = 0
        for bucket in self._buckets.values():
            for upload in await asyncio.to_thread(uploads.pending, bucket, now):
                if now - upload.begun_at >= older_than:
                    await asyncio.to_thread(uploads.abort, bucket, upload, now)
                    dropped += 1
        return dropped

    def _store(self, residency: str) -> LocalStore | S3Store:
        """The one place where a residency becomes a store."""
        store = self._stores.get(residency) or self._stores.get(ANY_REGION)
        if store is None:
            raise RefusedError(f"no store of region {residency} is configured, and its data may not go to another one")
        return store


def _open_store(region: str, url: str, options: S3Options) -> LocalStore | S3Store:
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        folder = Path(unquote(parts.path))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"[store] regions.{region}: the folder {folder} can't be made ({type(error).__name__})") from error
        return LocalStore(prefix=folder, automatic_cleanup=True)
    if parts.scheme == "s3" and len(parts.netloc) >= 3:
        return _open_s3(region, parts.netloc, parts.path.strip("/"), options)
    raise ConfigError(f"[store] regions.{region} must be file:///an/absolute/folder or s3://bucket/prefix")


def opened_s3(name: str, bucket: str, prefix: str) -> S3Store:
    """A bucket beside the regions' stores, reached as the environment says."""
    return _open_s3(name, bucket, prefix, S3Options())


def _open_s3(region: str, bucket: str, prefix: str, options: S3Options) -> S3Store:
    arguments: dict[str, str] = {}
    if options.signing_region is not None:
        arguments["region"] = options.signing_region
    if options.access_key is not None and options.secret_key is not None:
        arguments |= {"access_key_id": options.access_key, "secret_access_key": options.secret_key}
    client: ClientConfig = {"timeout": "30s", "connect_timeout": "5s"}
    endpoint = options.endpoint or next((os.environ[name] for name in _ENDPOINT_VARIABLES if os.environ.get(name)), None)
    if endpoint is not None:
        arguments["endpoint"] = endpoint
        client["allow_http"] = _is_loopback_http(region, endpoint)
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options=client,
        retry_config={"max_retries": 2, "retry_timeout": _GIVE_UP_AFTER},
        **arguments,  # type: ignore[arg-type]
    )


def _bucket(url: str, options: S3Options) -> Bucket | None:
    """Where uploads of an S3 store are asked for; None where no credentials are written down (those of a machine's role are obstore's)."""
    parts = urlsplit(url)
    access_key = options.access_key or os.environ.get("AWS_ACCESS_KEY_ID")
    secret_key = options.secret_key or os.environ.get("AWS_SECRET_ACCESS_KEY")
    if parts.scheme != "s3" or not access_key or not secret_key:
        return None
    region = options.signing_region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = options.endpoint or next((os.environ[name] for name in _ENDPOINT_VARIABLES if os.environ.get(name)), None)
    token = None if options.access_key else os.environ.get("AWS_SESSION_TOKEN")
    where = endpoint or f"https://s3.{region}.amazonaws.com"
    return Bucket(where, parts.netloc, parts.path.strip("/"), region, access_key, secret_key, token)


def _is_loopback_http(region: str, endpoint: str) -> bool:
    """True for http:// on this machine, False for https://. Raises ConfigError for http:// to anywhere else."""
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        return False
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return True
    raise ConfigError(f"[store] regions.{region}: the S3 endpoint must be https:// (http:// on loopback addresses only)")


@contextmanager
def _errors(action: str) -> Iterator[None]:
    """The store's errors as ours; their texts may hold names of buckets and hosts, so only the kind is told."""
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise BlobMissing("no such object") from None
    except (AlreadyExistsError, FileExistsError):
        raise BlobExists("the object is there already") from None
    except (BaseError, OSError) as error:
        raise Unavailable(f"the object store failed to {action} ({type(error).__name__})") from error


def _sync(folder: Path, key: str) -> None:
    """Make a local object and the folders on its way durable: the spool is freed on the word of `put_file`."""
    path = folder / key
    for place in (path, *path.relative_to(folder).parents):
        fd = os.open(folder / place, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _scan(path: Path, consume: Callable[[bytes], object]) -> int:
    size = 0
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            consume(chunk)
    return size


def _checked(key: str) -> str:
    """`key` if it is a plain relative path of our own making; ours are ids, so anything else is a fault."""
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts) or not all(letter.isalnum() or letter in "-_./" for letter in key):
        raise ConfigError("an object key is made of ids, digits and slashes")
    return key
