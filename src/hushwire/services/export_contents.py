"""What goes into a bundle, and how it is told. docs/exports.md says what is left out, and why."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hushwire.privacy import know
from hushwire.services.consents import ConsentView
from hushwire.services.contacts import ContactView
from hushwire.services.message_queries import MessageView
from hushwire.services.queries import CallView
from hushwire.services.requests import RequestView
from hushwire.store.database import Connection
from hushwire.store.recordings import Recording

FORMAT: Final = "hushwire-export/1"
README: Final = """\
What is in here
===============

This archive is a copy of what {organisation} holds about you, or about the
phone number that you asked for. It was made by the telephone system hushwire
on {made_at} (UTC) and shows how things stood then.

  manifest.json   every file with its SHA-256 checksum, why the data is held,
                  where it comes from, how long it is kept; and what is not in
                  here, with the reason
  report.json     what kinds of data are held, why, where they come from, who
                  receives such data, and who actually received it
  contacts/       your entries in contact lists
  calls/          your calls: when, how long, which numbers, how protected
  recordings/     your recorded calls: the sound (Ogg/Opus, left: our side,
                  right: you) and beside it the facts about the recording
  consents/       what is on file of your agreeing to be recorded, or to get
                  messages of marketing
  messages/       the text messages that you wrote to us and got from us
  requests/       requests like this one that you made before

Calls have two sides: the recordings hold the voice of the person whom you
spoke with, too. Please respect their privacy. Names of our staff and other
people's contacts are not in here.

If something is wrong, you may have it corrected; you may have it deleted,
have its use restricted, or object to being recorded. Write to {organisation}.
"""


def dumped(said: object) -> bytes:
    """JSON for people and machines."""
    return json.dumps(said, ensure_ascii=False, indent=1, default=_told).encode()


def call(view: CallView, delete_by: datetime | None) -> dict[str, Any]:
    """A call record. The agent is another person: not named."""
    row = view.row
    return {
        "id": row.id,
        "direction": row.direction,
        "number": view.remote,
        "our_number": view.local,
        "state": row.state,
        "started_at": row.started_at,
        "answered_at": row.answered_at,
        "ended_at": row.ended_at,
        "duration_ms": row.duration_ms,
        "end_reason": row.end_reason,
        "country": row.country,
        "number_class": row.number_class,
        "recording_id": row.recording_id,
        "our_leg": row.agent_leg,
        "your_leg": row.peer_leg,
        "quality": row.quality,
        "expected_deletion": delete_by,
    }


def contact(view: ContactView, delete_by: datetime | None) -> dict[str, Any]:
    """An entry of a contact list; whose list it is in concerns another person."""
    values = view.values
    assert values is not None
    return {
        "id": view.row.id,
        "name": values.name,
        "numbers": [{"number": number.number, "label": number.label} for number in values.numbers],
        "notes": values.notes,
        "picture": values.picture,
        "is_minor": values.is_minor,
        "jurisdiction": values.jurisdiction,
        "created_at": view.row.created_at,
        "updated_at": view.row.updated_at,
        "expected_deletion": delete_by,
    }


def request(view: RequestView) -> dict[str, Any]:
    """A request of theirs and what was done with it; by whom concerns another person."""
    person = view.person
    return {
        "id": view.row.id,
        "kind": view.row.kind,
        "state": view.row.state,
        "received_at": view.row.received_at,
        "due_at": view.row.due_at,
        "refusal": view.row.refusal_reason,
        "subject": None if person is None else {"number": person.number, "name": person.name, "reach": person.reach},
        "note": view.note,
        "steps": [{"at": step.row.at, "step": step.row.step, "method": step.row.method} for step in view.steps],
    }


def consent(view: ConsentView, delete_by: datetime | None) -> dict[str, Any]:
    """A consent of theirs; who noted it concerns another person."""
    row = view.row
    return {
        "id": row.id,
        "recording_id": row.recording_id,
        "call_id": row.call_id,
        "about": row.about,
        "how": row.how,
        "given_at": row.given_at,
        "text_version": row.text_version,
        "announcement_sha256": None if row.announcement_digest is None else row.announcement_digest.hex(),
        "jurisdiction": row.jurisdiction,
        "note": view.note,
        "withdrawn_at": row.withdrawn_at,
        "expected_deletion": delete_by,
    }


def message(view: MessageView, delete_by: datetime | None) -> dict[str, Any]:
    """A text message; the agent is another person: not named."""
    row = view.row
    return {
        "id": row.id,
        "direction": row.direction,
        "number": view.remote,
        "our_number": view.local,
        "text": view.text,
        "state": row.state,
        "created_at": row.created_at,
        "submitted_at": row.submitted_at,
        "ended_at": row.ended_at,
        "parts": row.parts,
        "is_marketing": row.is_marketing,
        "is_incomplete": row.is_incomplete,
        "country": row.country,
        "expected_deletion": delete_by,
    }


def recording(row: Recording, delete_by: datetime | None) -> dict[str, Any]:
    """The facts about a recording, those of its sealed original included."""
    return {
        "id": row.id,
        "call_id": row.call_id,
        "lawful_basis": row.lawful_basis,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "duration_ms": row.duration_ms,
        "tail_is_missing": row.is_cut,
        "region": row.region,
        "sealed_original": {
            "format": "hwr/1",
            "sha256": None if row.digest is None else row.digest.hex(),
            "size_bytes": row.size_bytes,
            "frames": row.frames,
            "key_fingerprint": row.key_fingerprint.hex(),
        },
        "expected_deletion": delete_by,
    }


def about(kind: str, objects: Sequence[UUID]) -> dict[str, Any]:
    """What a manifest says of a file beside its checksum."""
    return {"kind": kind, "objects": list(objects), **know.retention(kind)}


async def keep_days(connection: Connection) -> dict[str, int]:
    """The organisation's own retention rules that hold for every agent: class -> days."""
    rows = await connection.fetch("SELECT class, keep_days FROM retention_rules WHERE agent_id IS NULL")
    return {row["class"]: row["keep_days"] for row in rows}


def delete_by(kind: str, began: datetime, rules: dict[str, int]) -> datetime | None:
    """When a thing is expected to be deleted; None: with the end of the agreement."""
    days = rules.get(kind)
    return None if days is None else began + timedelta(days=days)


def _told(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
