"""Bundles as the API hands them out: by a link that expires, to the organisation alone, each delivery in the disclosure log.

A link takes both the organisation's API key and a token; of the token its hash alone is kept. A bundle is opened as it is streamed,
and a delivery under way ends at its next look when the bundle, or something that it contains, is erased.
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable, LocalError
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.store import documents, requests
from hushwire.store.database import Database
from hushwire.store.documents import Document
from hushwire.store.requests import Disclosure
from hushwire.vault.blobs import Blobs
from hushwire.vault.hwx import Opener
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

CHECK_EACH_S: Final = 1.0
TOKEN_BYTES: Final = 32
_log = structlog.get_logger(__name__)


class DeliveryEnded(LocalError):
    """The bundle was erased while it was delivered: what was sent so far is no whole one."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that downloads a bundle. The token is told once."""

    document: Document
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """A bundle about to be sent; `size` bytes."""

    document: Document
    size: int
    chunks: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class NoExport:
    """No such bundle of this organisation, or not by this token."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """It is still being built, or couldn't be."""

    document: Document


@dataclass(frozen=True, slots=True)
class Expired:
    """Erased, expired, or something that it contained was erased."""


class Exports:
    """Bundles of every organisation."""

    def __init__(self, main: Database, keyring: Keyring, blobs: Blobs, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._clock = clock
        self._random = random

    async def get(self, org_id: OrgId, document_id: UUID) -> Document | None:
        """One bundle's row."""
        async with self._main.organisation(org_id) as connection:
            return await documents.get(connection, document_id)

    async def listed(
        self, org_id: OrgId, *, after: tuple[datetime, UUID] | None = None, limit: int = 50
    ) -> tuple[list[Document], Document | None]:
        """A page of bundles, newest first; and the last row of it if more follow."""
        async with self._main.organisation(org_id) as connection:
            rows = await documents.listed(connection, after=after, limit=limit + 1)
        return rows[:limit], rows[limit - 1] if len(rows) > limit else None

    async def link(self, org_id: OrgId, document_id: UUID, *, actor: str) -> Link | NoExport | NotReady | Expired:
        """A new link; the one before it is worth nothing any more."""
        now = self._clock.now()
        token = base64.urlsafe_b64encode(self._random.token_bytes(TOKEN_BYTES)).decode().rstrip("=")
        async with self._main.organisation(org_id) as connection:
            found = self._ready(await documents.get(connection, document_id, for_update=True))
            if not isinstance(found, Document):
                return found
            assert found.expires_at is not None
            await documents.set_token(connection, document_id, _hash(token))
            await audit.append(connection, org_id, now, actor, audit.Action.EXPORT_LINKED, f"document:{document_id}")
        return Link(found, token, found.expires_at)

    async def deliver(self, org_id: OrgId, document_id: UUID, token: str, why: Why) -> Delivery | NoExport | NotReady | Expired:
        """The bundle, opened, in chunks. The delivery is in the disclosure and the audit log, committed, before this returns.

        Iterating raises DeliveryEnded if it is erased meanwhile, and DocumentError if the object is damaged: in both cases the caller
        must end the answer so that it can't be taken for a whole one.
        """
        async with self._main.organisation(org_id) as connection:
            row = await documents.get(connection, document_id)
        if row is None or not _is(token, row.token_hash):
            return Expired() if row is not None and row.is_gone else NoExport()
        found = self._ready(row)
        if not isinstance(found, Document):
            return found
        try:
            key = (await self._keyring.open_data_key(org_id, "document", document_id, why)).key
        except KeyUnavailable:
            return Expired()
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            request = None if found.request_id is None else await requests.get(connection, found.request_id)
            given = Disclosure(
                uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10)), now, "customer", why.actor, "export", document_id,
                "data-subject-request", None if request is None else request.remote_index,
            )  # fmt: skip
            await requests.disclose(connection, org_id, [given])
            await audit.append(connection, org_id, now, why.actor, audit.Action.EXPORT_DELIVERED, f"document:{document_id}")
        assert found.plain_bytes is not None
        return Delivery(found, found.plain_bytes, self._opened(found, key))

    async def _opened(self, document: Document, key: bytes) -> AsyncGenerator[bytes, None]:
        opener = Opener(key, document.org_id, document.id)
        looked_at = self._clock.monotonic()
        async for sealed in self._blobs.stream(document.region, document.blob_key):
            if self._clock.monotonic() - looked_at >= CHECK_EACH_S:
                looked_at = self._clock.monotonic()
                await self._check(document)
            for plain in await asyncio.to_thread(lambda data: list(opener.feed(data)), sealed):
                if plain:
                    yield plain
        await self._check(document)
        opener.finish()

    async def _check(self, document: Document) -> None:
        async with self._main.organisation(document.org_id) as connection:
            found = await documents.get(connection, document.id)
        if found is None or found.is_gone:
            _log.info("export.delivery_ended", org_id=str(document.org_id), document_id=str(document.id))
            raise DeliveryEnded("the bundle was erased while it was delivered")

    def _ready(self, row: Document | None) -> Document | NoExport | NotReady | Expired:
        if row is None:
            return NoExport()
        if row.is_gone or (row.expires_at is not None and row.expires_at <= self._clock.now()):
            return Expired()
        return row if row.state == "ready" else NotReady(row)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _is(token: str, kept: bytes | None) -> bool:
    return kept is not None and hmac.compare_digest(_hash(token), kept)
