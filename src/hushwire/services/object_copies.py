"""Copies of the store's sealed objects in the second zone: what is new is copied as it is, what was erased is in neither.

What is missing in the store is no reason to remove its copy: a disk that failed would take its copies with it. Only a tombstone of
the keyring is. So objects go by what the keyring says, also those whose rows a restore of the main database lost.
"""

from typing import Final
from uuid import UUID

import structlog

from hushwire.core.errors import LocalError
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.privacy.endings import ERASED_KINDS
from hushwire.store.database import Database
from hushwire.vault import tombstones
from hushwire.vault.blobs import BlobExists, BlobMissing, Blobs

AREAS: Final = ("recordings",)
"""Folders of a store, each with one folder an organisation; names of objects begin with the id of what they belong to."""

_ID_LENGTH: Final = 36
_log = structlog.get_logger(__name__)


class StillCopied(LocalError):
    """An erased object that was removed is still found."""


class ObjectCopies:
    """The store and the second zone's. Any number of workers may do this at once."""

    def __init__(self, main: Database, keyring: Database, blobs: Blobs, copies: Blobs) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._copies = copies

    async def carry_on(self) -> int:
        """Copy what is new, remove what was erased and prove that it is gone; returns how many objects were copied or removed."""
        return await for_each(await self._organisations(), self._copy_all, "object-copies")

    async def _copy_all(self, org_id: OrgId) -> int:
        done = 0
        for region in self._served():
            for area in AREAS:
                done += await self._folder(org_id, region, f"{area}/{org_id}")
        return done

    async def bring_back(self) -> int:
        """Put into the store what it lost and the second zone still has, unless it was erased; returns how many objects."""
        done = 0
        for org_id in await self._organisations():
            for region in self._served():
                for area in AREAS:
                    done += await self._lost(org_id, region, f"{area}/{org_id}")
        if done:
            _log.warning("objects.brought_back", objects=done)
        return done

    def _served(self) -> list[str]:
        """Regions that have a store of copies: data of the others may not go anywhere else."""
        without = [region for region in self._blobs.regions() if not self._copies.serves(region)]
        if without:
            _log.error("objects.no_place_for_copies", regions=",".join(without), advice="name one in [backup] objects")
        return [region for region in self._blobs.regions() if region not in without]

    async def _organisations(self) -> list[OrgId]:
        async with self._main.transaction() as connection:
            return [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]

    async def _folder(self, org_id: OrgId, region: str, folder: str) -> int:
        ours, theirs = await _keys(self._blobs, region, folder), await _keys(self._copies, region, folder)
        gone = await self._ended(org_id, ours | theirs)
        for key in gone:
            for store, keys in ((self._blobs, ours), (self._copies, theirs)):
                if key in keys:
                    await store.delete(region, key)
                    if await store.exists(region, key):
                        raise StillCopied("an erased object that was removed is still found")
        new = sorted(ours - theirs - gone)
        for key in new:
            await self._copy(region, key)
        if missing := len(theirs - ours - gone):
            _log.error("objects.missing_in_store", org_id=str(org_id), region=region, objects=missing)
        if gone or new:
            _log.info("objects.copied", org_id=str(org_id), region=region, copied=len(new), removed=len(gone))
        return len(new) + len(gone)

    async def _copy(self, region: str, key: str) -> None:
        try:
            await self._blobs.copy_to(self._copies, region, key)
        except (BlobExists, BlobMissing):
            return  # another worker's copy, or swept meanwhile
        if not await self._blobs.exists(region, key):
            await self._copies.delete(region, key)  # it was swept while it was copied

    async def _lost(self, org_id: OrgId, region: str, folder: str) -> int:
        ours, theirs = await _keys(self._blobs, region, folder), await _keys(self._copies, region, folder)
        lost = theirs - ours
        wanted = sorted(lost - await self._ended(org_id, lost))
        for key in wanted:
            await self._copies.copy_to(self._blobs, region, key)
        return len(wanted)

    async def _ended(self, org_id: OrgId, keys: set[str]) -> set[str]:
        """Those keys whose object the keyring says was erased."""
        by_id: dict[UUID, set[str]] = {}
        for key in keys:
            if (found := _id_of(key)) is not None:
                by_id.setdefault(found, set()).add(key)
        if not by_id:
            return set()
        async with self._keyring.organisation(org_id) as connection:
            ended = await tombstones.ended(connection, ERASED_KINDS, by_id)
        return {key for each in ended for key in by_id[each]}


async def _keys(store: Blobs, region: str, folder: str) -> set[str]:
    return {key async for key in store.keys(region, folder)}


def _id_of(key: str) -> UUID | None:
    try:
        return UUID(key.rpartition("/")[2][:_ID_LENGTH])
    except ValueError:
        return None
