"""Bundles of everything that is held of a person, built by the worker into one sealed object.

The rows are the plan and the progress: what is to go in stands in `document_contents`, each finished file in `document_files`. Killed at
any point, the next worker of this node goes on after the last finished file; that of another node begins anew. Memory holds one chunk.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable, LocalError, Unavailable, Unfinished
from hushwire.core.ids import CallId, NodeId, OrgId, RecordingId
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.privacy.requests import State, Step
from hushwire.recording.containers import AudioFormat
from hushwire.recording.failures import RecordingError
from hushwire.services import export_contents as told
from hushwire.services.consents import Consents, ConsentView
from hushwire.services.contacts import Contacts, ContactView, Restricted
from hushwire.services.erasure import Erasures, Held, NoRecording
from hushwire.services.export_failures import RecordingOutOfReach, StoredDifferently, failure_of, retry_at
from hushwire.services.export_file import ExportFile, is_resumable
from hushwire.services.know import Knowing
from hushwire.services.message_queries import MessageQueries
from hushwire.services.queries import Queries
from hushwire.services.recordings import Audio, Elsewhere, PlaybackEnded, Recordings, Withheld
from hushwire.services.recordings import Restricted as RecordingRestricted
from hushwire.services.recordings_shipping import Spool, alone
from hushwire.services.requests import Requests, RequestView
from hushwire.store import documents, ledger, subject
from hushwire.store import recordings as recordings_table
from hushwire.store import requests as requests_table
from hushwire.store.database import Database
from hushwire.store.documents import Content, Document
from hushwire.vault.blobs import BlobExists, Blobs
from hushwire.vault.hwx import HEADER_LENGTH
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

KEPT_FOR: Final = timedelta(days=7)
"""A finished bundle may be fetched for so long, and of one that failed it may be read for so long why."""
WHY: Final = Why("system:worker", purposes.DATA_SUBJECT_REQUEST)
_BATCH: Final = 100
_log = structlog.get_logger(__name__)


class Stopped(LocalError):
    """The bundle was erased while it was built."""


class Building:
    """One node's share of the bundles that are to be built."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        blobs: Blobs,
        spool: Spool,
        node_id: NodeId,
        clock: Clock,
        random: Random,
        *,
        erasures: Erasures,
        requests: Requests,
        contacts: Contacts,
        recordings: Recordings,
        queries: Queries,
        messages: MessageQueries,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._spool = spool
        self._node_id = node_id
        self._clock = clock
        self._random = random
        self._erasures = erasures
        self._requests = requests
        self._contacts = contacts
        self._recordings = recordings
        self._queries = queries
        self._messages = messages
        self._knowing = Knowing(main, clock)
        self._consents = Consents(main, keyring, clock, random)

    async def build_all(self) -> int:
        """Builds what waits; returns how many were finished.

        What breaks is noted with its bundle, and tried again at its time. Raises Unfinished for it, once all else had its turn.
        """
        async with self._main.transaction() as connection:
            waiting = await documents.to_build(connection, self._clock.now())
        done, broken = 0, None
        try:
            done = await for_each(waiting, lambda one: self.build(*one), "documents")
        except Unfinished as error:
            broken = error
        done += await self.expire()
        await self.tidy_spool()
        if broken is not None:
            raise broken
        return done

    async def expire(self) -> int:
        """Erases bundles whose time is over, through the one erasure path; returns how many."""
        async with self._main.transaction() as connection:
            over = await documents.expired(connection, self._clock.now())

        async def erase(one: tuple[OrgId, UUID]) -> int:
            outcome = await self._erasures.erase_object(one[0], "document", one[1], actor=WHY.actor, reason="purpose-fulfilled")
            return not isinstance(outcome, Held | NoRecording)

        return await for_each(over, erase, "documents")

    async def build(self, org_id: OrgId, document_id: UUID) -> bool:
        """Builds one bundle from wherever it stands; False if there is nothing to build, or somebody else is at it.

        Raises what stood in the way, once it is noted with the bundle.
        """
        async with alone(self._main, RecordingId(document_id)) as is_alone:
            document = await self._get(org_id, document_id)
            if not is_alone or document is None or document.state not in ("queued", "building") or document.request_id is None:
                return False
            if document.is_gone:
                return False  # what is left of it is tidied
            try:
                return await self._built(document)
            except Stopped:
                return False
            except Exception as error:
                await self._note_failure(document, error)
                raise

    async def _built(self, document: Document) -> bool:
        path = self._path(document)
        try:
            key = (await self._keyring.open_data_key(document.org_id, "document", document.id, WHY)).key
        except KeyUnavailable:
            current = await self._get(document.org_id, document.id)
            if current is None or current.is_gone:
                raise Stopped("its erasure is under way") from None
            raise
        document = await self._planned(document)
        file = await self._opened(document, path, key)
        try:
            await self._fill(document, file)
            return await self._put(document, file, path)
        finally:
            file.close()

    async def _note_failure(self, document: Document, error: Exception) -> None:
        """So that who waits is told why, when it is tried again, and in the end that it failed: with the request, in the same commit."""
        org_id, failure, now = document.org_id, failure_of(error), self._clock.now()
        async with self._main.organisation(org_id) as connection:
            current = await documents.get(connection, document.id, for_update=True)
            if current is None or current.is_gone:
                return
            since = current.failing_since or now
            again = retry_at(current.failures + 1, since, now)
            if again is not None:
                await documents.note_failure(connection, document.id, failure, since, again)
            else:
                await documents.mark_failed(connection, document.id, failure, since, now + KEPT_FOR)
                await audit.append(
                    connection, org_id, now, WHY.actor, audit.Action.EXPORT_FAILED, f"document:{document.id}", {"reason": failure.value}
                )
                request = await requests_table.get(connection, self._request_of(document), for_update=True)
                if request is not None and (request.outcome or {}).get("export") == str(document.id):
                    await requests_table.move(connection, request.id, request.state, outcome={"export_failure": failure.value})
        _log.error(
            "export.failed" if again is None else "export.delayed",
            org_id=str(org_id),
            document_id=str(document.id),
            reason=failure.value,
            failures=current.failures + 1,
        )

    async def tidy_spool(self) -> int:
        """Frees files of bundles that are finished or erased, with what was just stored of an erased one; returns how many."""
        freed = 0
        for path in await asyncio.to_thread(lambda: sorted(self._spool.folder.glob("*.hwx"))):
            found = await asyncio.to_thread(_named_in, path)
            document = None if found is None else await self._get(*found)
            if document is None or (document.state in ("queued", "building") and not document.is_gone):
                continue
            if document.is_gone:
                await self._blobs.delete(document.region, document.blob_key)
            await asyncio.to_thread(path.unlink, missing_ok=True)
            freed += 1
        return freed

    async def _planned(self, document: Document) -> Document:
        if document.planned_at is not None:
            return document
        now = self._clock.now()
        async with self._main.organisation(document.org_id) as connection:
            # An erasure looks for bundles while it holds this lock: it sees this plan, or nothing of what it took is read.
            await ledger.lock_ledger(connection, document.org_id)
            request = await requests_table.get(connection, self._request_of(document))
            assert request is not None, "requests are never removed"
            person = await subject.of_request(connection, request)
            await documents.plan(
                connection, document.org_id, document.id, indexes=person.indexes, contacts=person.contacts, shared=person.shared,
                until=document.created_at, now=now,
            )  # fmt: skip
        found = await self._get(document.org_id, document.id)
        assert found is not None
        return found

    async def _opened(self, document: Document, path: Path, key: bytes) -> ExportFile:
        """The file, at the end of its last finished part; or a new one, if that is not within reach."""
        async with self._main.organisation(document.org_id) as connection:
            rows = await documents.files(connection, document.id)
            if document.node_id != self._node_id or not await asyncio.to_thread(is_resumable, path, rows):
                await documents.start_over(connection, document.id, self._node_id)
                rows = []
        return await asyncio.to_thread(ExportFile, path, key, document, rows, self._random)

    async def _fill(self, document: Document, file: ExportFile) -> None:
        """Every thing of the plan into files, one checkpoint after the other."""
        tellers: dict[str, Callable[[Document, ExportFile, Sequence[Content], dict[str, int]], Awaitable[None]]] = {
            "contact": self._contacts_file,
            "case": self._requests_file,
            "consent": self._consents_file,
            "call": self._calls_file,
            "recording": self._recording_files,
            "message": self._messages_file,
        }
        while True:
            current = await self._get(document.org_id, document.id)
            if current is None or current.is_gone:
                raise Stopped("the bundle was erased while it was built")
            async with self._main.organisation(document.org_id) as connection:
                waiting = await documents.waiting(connection, document.id, limit=_BATCH)
                rules = await told.keep_days(connection)
            if not waiting:
                return
            kind = waiting[0].kind
            same = [each for each in waiting if each.kind == kind]
            await tellers[kind](document, file, same[:1] if kind == "recording" else same, rules)

    async def _contacts_file(self, document: Document, file: ExportFile, batch: Sequence[Content], rules: dict[str, int]) -> None:
        said, inside = [], []
        for each in batch:
            view = await self._contacts.get(document.org_id, each.object_id, WHY)
            if isinstance(view, ContactView):
                said.append(told.contact(view, told.delete_by("contact", view.row.created_at, rules)))
                inside.append(each)
            else:
                await self._leave_out(document, [each], "restricted" if isinstance(view, Restricted) else "erased")
        await self._put_file(document, file, f"contacts/{file.files + 1:04}.json", said, inside)

    async def _requests_file(self, document: Document, file: ExportFile, batch: Sequence[Content], _rules: dict[str, int]) -> None:
        said, inside = [], []
        for each in batch:
            view = await self._requests.get(document.org_id, each.object_id, WHY)
            if isinstance(view, RequestView) and view.person is not None:
                said.append(told.request(view))
                inside.append(each)
            else:
                await self._leave_out(document, [each], "erased")
        await self._put_file(document, file, f"requests/{file.files + 1:04}.json", said, inside)

    async def _consents_file(self, document: Document, file: ExportFile, batch: Sequence[Content], rules: dict[str, int]) -> None:
        said, inside = [], []
        for each in batch:
            view = await self._consents.get(document.org_id, each.object_id, WHY)
            if isinstance(view, ConsentView) and not view.row.is_restricted:
                said.append(told.consent(view, told.delete_by("consent", view.row.noted_at, rules)))
                inside.append(each)
            else:
                await self._leave_out(document, [each], "restricted" if isinstance(view, ConsentView) else "erased")
        await self._put_file(document, file, f"consents/{file.files + 1:04}.json", said, inside)

    async def _messages_file(self, document: Document, file: ExportFile, batch: Sequence[Content], rules: dict[str, int]) -> None:
        said, inside = [], []
        for each in batch:
            view = await self._messages.get(document.org_id, WHY, each.object_id)
            if view is not None and view.row.is_restricted:
                await self._leave_out(document, [each], "restricted")
            elif view is None or view.text is None:
                await self._leave_out(document, [each], "erased")
            else:
                said.append(told.message(view, told.delete_by("message", view.row.created_at, rules)))
                inside.append(each)
        await self._put_file(document, file, f"messages/{file.files + 1:04}.json", said, inside)

    async def _calls_file(self, document: Document, file: ExportFile, batch: Sequence[Content], rules: dict[str, int]) -> None:
        said, inside = [], []
        for each in batch:
            view = await self._queries.call(document.org_id, WHY, CallId(each.object_id))
            if view is not None and view.row.is_restricted:
                await self._leave_out(document, [each], "restricted")
            elif view is None or view.remote is None:
                await self._leave_out(document, [each], "erased")
            else:
                said.append(told.call(view, told.delete_by("call", view.row.started_at, rules)))
                inside.append(each)
        await self._put_file(document, file, f"calls/{file.files + 1:04}.json", said, inside)

    async def _recording_files(self, document: Document, file: ExportFile, batch: Sequence[Content], rules: dict[str, int]) -> None:
        (each,) = batch
        recording_id = RecordingId(each.object_id)
        audio = await self._recordings.open_audio(document.org_id, recording_id, AudioFormat.OGG, WHY)
        if isinstance(audio, Elsewhere):
            raise RecordingOutOfReach("a recording is not within this node's reach yet")
        if isinstance(audio, RecordingRestricted):
            await self._leave_out(document, [each], "restricted")
            return
        if not isinstance(audio, Audio):
            await self._leave_out(document, [each], "customer-held" if isinstance(audio, Withheld) else "erased")
            return
        try:
            await asyncio.to_thread(file.begin, f"recordings/{recording_id}.ogg")
            async for chunk in audio.chunks:
                await asyncio.to_thread(file.add, chunk)
            await asyncio.to_thread(file.end)
        except (PlaybackEnded, RecordingError) as error:
            await asyncio.to_thread(file.go_back)
            async with self._main.organisation(document.org_id) as connection:
                row = await recordings_table.get(connection, recording_id)
            is_restricted = row is not None and row.is_restricted and not row.is_gone
            why = "damaged" if isinstance(error, RecordingError) else "restricted" if is_restricted else "erased"
            await self._leave_out(document, [each], why)
            return
        facts = told.recording(audio.recording, told.delete_by("recording", audio.recording.started_at, rules))
        await asyncio.to_thread(file.put, f"recordings/{recording_id}.json", told.dumped(facts))
        await self._checkpoint(document, file, [each])

    async def _put_file(
        self, document: Document, file: ExportFile, name: str, said: list[dict[str, Any]], inside: Sequence[Content]
    ) -> None:
        if inside:
            await asyncio.to_thread(file.put, name, told.dumped(said))
            await self._checkpoint(document, file, inside)

    async def _checkpoint(self, document: Document, file: ExportFile, inside: Sequence[Content]) -> None:
        row = await asyncio.to_thread(file.checkpoint)
        async with self._main.organisation(document.org_id) as connection:
            await documents.add_file(connection, document.org_id, document.id, row, [each.position for each in inside])

    async def _leave_out(self, document: Document, batch: Sequence[Content], reason: str) -> None:
        async with self._main.organisation(document.org_id) as connection:
            await documents.leave_out(connection, document.id, [each.position for each in batch], reason)

    async def _put(self, document: Document, file: ExportFile, path: Path) -> bool:
        """Closed, stored, read back, and only then ready: with the request's answer in the same commit."""
        await self._close(document, file)
        size, digest = await asyncio.to_thread(file.finish)
        async with self._main.organisation(document.org_id) as connection:
            await documents.note_place(connection, document.id, document.blob_key)
        await self._blobs.delete(document.region, document.blob_key)  # of an attempt that died between storing and saying so
        try:
            await self._blobs.put_file(document.region, document.blob_key, path)
        except BlobExists:
            raise Unavailable("somebody else stored this bundle") from None
        if await self._stored_digest(document) != digest:
            await self._blobs.delete(document.region, document.blob_key)
            raise StoredDifferently("the store gave back other bytes than it was given")
        now = self._clock.now()
        async with self._main.organisation(document.org_id) as connection:
            await documents.get(connection, document.id, for_update=True)
            is_ready = await documents.mark_ready(
                connection, document.id, sealed_bytes=size, plain_bytes=file.plain_bytes, digest=digest, now=now,
                expires_at=now + KEPT_FOR,
            )  # fmt: skip
            if is_ready:
                request = await requests_table.get(connection, self._request_of(document), for_update=True)
                if request is not None and State(request.state) is State.WORKING:
                    await self._requests.move(connection, request, Step.ANSWERED, WHY.actor)
        if not is_ready:
            await self._blobs.delete(document.region, document.blob_key)
        await asyncio.to_thread(path.unlink, missing_ok=True)
        _log.info("export.ready" if is_ready else "export.stopped", org_id=str(document.org_id), document_id=str(document.id), bytes=size)
        return is_ready

    async def _close(self, document: Document, file: ExportFile) -> None:
        """Report, README and manifest: made last, from what is really inside."""
        org_id, request_id = document.org_id, self._request_of(document)
        async with self._main.organisation(org_id) as connection:
            request = await requests_table.get(connection, request_id)
            name = await connection.fetchval("SELECT name FROM orgs")
            parts = await connection.fetch(
                "SELECT file, kind, array_agg(object_id ORDER BY position) AS objects FROM document_contents"
                " WHERE document_id = $1 AND file IS NOT NULL GROUP BY file, kind ORDER BY file",
                document.id,
            )
            absent = await connection.fetch(
                "SELECT kind, object_id, left_out FROM document_contents WHERE document_id = $1 AND left_out IS NOT NULL ORDER BY position",
                document.id,
            )
        assert request is not None, "requests are never removed"
        report = await self._knowing.report(org_id, request)
        made_at = self._clock.now()
        readme = told.README.format(organisation=name, made_at=made_at.strftime("%Y-%m-%d %H:%M"))
        inside = list(file.entries)
        files = _described(inside, [(row["kind"], row["objects"]) for row in parts])
        for entry in (
            await asyncio.to_thread(file.put, "report.json", told.dumped(report)),
            await asyncio.to_thread(file.put, "README.txt", readme.encode()),
        ):
            files.append({"name": entry.name, "size": entry.size, "sha256": entry.sha256})
        manifest = {
            "format": told.FORMAT,
            "document_id": document.id,
            "request_id": request_id,
            "organisation": name,
            "as_of": document.created_at,
            "made_at": made_at,
            "files": files,
            "left_out": [{"kind": row["kind"], "id": row["object_id"], "reason": row["left_out"]} for row in absent],
        }
        await asyncio.to_thread(file.put, "manifest.json", told.dumped(manifest))

    async def _stored_digest(self, document: Document) -> bytes:
        digest = hashlib.sha256()
        async for chunk in self._blobs.stream(document.region, document.blob_key):
            digest.update(chunk)
        return digest.digest()

    async def _get(self, org_id: OrgId, document_id: UUID) -> Document | None:
        async with self._main.organisation(org_id) as connection:
            return await documents.get(connection, document_id)

    def _path(self, document: Document) -> Path:
        return self._spool.folder / document.spool_name

    @staticmethod
    def _request_of(document: Document) -> UUID:
        assert document.request_id is not None
        return document.request_id


def _named_in(path: Path) -> tuple[OrgId, UUID] | None:
    """Whose bundle a file of the spool is; None for what is no whole header."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_LENGTH)
    except FileNotFoundError:
        return None
    return None if len(header) < HEADER_LENGTH else (OrgId(UUID(bytes=header[8:24])), UUID(bytes=header[24:40]))


def _described(entries: Sequence[Any], parts: Sequence[tuple[str, Sequence[UUID]]]) -> list[dict[str, Any]]:
    """The archive's files with what is inside them: a recording's part has two files, every other part one."""
    described, at = list[dict[str, Any]](), 0
    for kind, objects in parts:
        count = 2 if kind == "recording" else 1
        for entry in entries[at : at + count]:
            described.append({"name": entry.name, "size": entry.size, "sha256": entry.sha256, **told.about(kind, objects)})
        at += count
    return described
