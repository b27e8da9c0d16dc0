"""A row in each table of contacts, restrictions, requests and documents."""

from uuid import uuid4

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from tests.store.rows import NOW, insert


async def fill_rights(connection: Connection, org: OrgId) -> None:
    """A row in each table of contacts, restrictions, requests and documents."""
    contact, request, document, mark = uuid4(), uuid4(), uuid4(), org.bytes
    await insert(connection, "contacts", id=contact, org_id=org, sealed_with=contact, name_sealed=mark, created_at=NOW, updated_at=NOW)
    number = {"position": 0, "label": "work", "number_sealed": mark, "remote_index": mark}
    await insert(connection, "contact_numbers", id=uuid4(), org_id=org, contact_id=contact, **number)
    await insert(connection, "retired_keys", key_id=uuid4(), org_id=org, kind="contact", object_id=contact, retired_at=NOW)
    restriction = {"scope": "number", "remote_index": mark, "since": NOW, "placed_by": "api-key:x"}
    await insert(connection, "restricted_subjects", id=uuid4(), org_id=org, **restriction)
    objection = {"remote_index": mark, "source": "objection", "source_id": request, "created_at": NOW}
    await insert(connection, "unrecorded_numbers", id=uuid4(), org_id=org, **objection)
    asked = {"kind": "access", "state": "received", "channel": "customer", "received_at": NOW, "due_at": NOW, "created_by": "api-key:x"}
    await insert(connection, "privacy_requests", id=request, org_id=org, subject_sealed=mark, **asked)
    step = {"at": NOW, "actor": "api-key:x", "step": "received", "state": "received"}
    await insert(connection, "privacy_request_steps", id=uuid4(), org_id=org, request_id=request, **step)
    given = {"at": NOW, "recipient": "customer", "recipient_id": "api-key:x", "kind": "export", "object_id": document, "basis": "contract"}
    await insert(connection, "disclosures", id=uuid4(), org_id=org, **given)
    made = {"kind": "export", "state": "queued", "region": "eu", "key_fingerprint": mark, "created_at": NOW}
    await insert(connection, "documents", id=document, org_id=org, request_id=request, **made)
    part = {"org_id": org, "document_id": document}
    await insert(connection, "document_contents", position=1, kind="call", object_id=uuid4(), **part)
    await insert(connection, "document_files", position=1, entry_sealed=mark, sealed_end=1, frames=1, **part)
