"""The register of what can be erased: for each kind where its rows are, which key opens it, what is emptied, what it is part of.

Whoever adds a kind of personal data adds it here (rows) and in `privacy/places.py` (everything else that may still name or hold it).
There is no other way to delete: bulk, retention, requests of data subjects and the end of an organisation all go by this table.
"""

from collections.abc import Mapping
from typing import Final

from hushwire.store.erasable import Erasable

_REMOTE: Final = "{row}.remote_index = ANY ({indexes})"
_OF_CALL: Final = f"({_REMOTE} OR {{row}}.diverted_to_index = ANY ({{indexes}}))"
_OF_RECORDING: Final = f"({_REMOTE} OR ({{row}}.further_indexes IS NOT NULL AND {{row}}.further_indexes && {{indexes}}))"
_OF_CONTACT: Final = "SELECT 1 FROM contact_numbers AS n WHERE n.contact_id = {row}.id AND n.remote_index = ANY ({indexes})"

CALL: Final = Erasable(
    kind="call",
    table="calls",
    began="started_at",
    key="sealed_with",
    emptied=("sealed_with", "remote_sealed", "remote_index", "local_sealed", "diverted_to_sealed", "diverted_to_index"),
    # Who called or was called, and to whom it went on at last.
    number=_OF_CALL,
    agents=("agent_id", "peer_agent_id"),
)
RECORDING: Final = Erasable(
    kind="recording",
    table="recordings",
    began="started_at",
    emptied=("remote_index", "further_indexes"),
    becomes=("state = 'erased'",),
    # Every party outside whose voice may be in it.
    number=_OF_RECORDING,
    agents=("agent_id", "peer_agent_id"),
    part_of=(("call", "call_id"),),
    fingerprint="key_fingerprint",
    digest="digest",
    live="r.state = 'live'",
    # A greeting that callers hear is old, and wanted.
    in_use="EXISTS (SELECT 1 FROM voicemail_greetings AS g WHERE g.recording_id = r.id AND g.state = 'used')",
)
CONSENT: Final = Erasable(
    kind="consent",
    table="consents",
    began="noted_at",
    key="sealed_with",
    emptied=("sealed_with", "note_sealed", "remote_index"),
    number=_REMOTE,
    # One of a recording names its call too, so that it is found from either.
    part_of=(("call", "call_id"), ("recording", "recording_id")),
)
MESSAGE: Final = Erasable(
    kind="message",
    table="messages",
    began="created_at",
    key="sealed_with",
    emptied=(
        "sealed_with",
        "remote_sealed",
        "remote_index",
        "local_sealed",
        "body_sealed",
        "thread_id",
        "assembly_index",
        "received_as",
    ),
    # Parts that are still to come find no message to belong to; parts that were not sent yet never are.
    becomes=("state = CASE WHEN state = 'receiving' THEN 'received' WHEN state = 'queued' THEN 'failed' ELSE state END",),
    number=_REMOTE,
    agents=("agent_id", "peer_agent_id"),
)

CONTACT: Final = Erasable(
    kind="contact",
    table="contacts",
    began="created_at",
    key="sealed_with",
    emptied=("sealed_with", "name_sealed", "name_index", "notes_sealed", "picture_sealed", "jurisdiction"),
    number=f"EXISTS ({_OF_CONTACT})",
    agents=("owner_agent_id",),
)

REQUEST: Final = Erasable(
    kind="case",
    table="privacy_requests",
    began="received_at",
    emptied=("subject_sealed", "remote_index", "asked_sealed"),
    number=_REMOTE,
    contact="contact_id",
    # A request that is being answered leads to what it asks for: it ends first.
    only="r.closed_at IS NOT NULL",
)
DOCUMENT: Final = Erasable(
    kind="document",
    table="documents",
    began="created_at",
    emptied=("token_hash",),
    becomes=("state = 'erased'",),
    part_of=(("case", "request_id"),),
    fingerprint="key_fingerprint",
    digest="digest",
    object_key="object_key",
    region="region",
)

KINDS: Final[Mapping[str, Erasable]] = {what.kind: what for what in (CALL, RECORDING, CONSENT, MESSAGE, REQUEST, DOCUMENT, CONTACT)}
"""Wholes before their parts: a call takes its recordings with it. Contacts last: their numbers lead to everything else."""

NUMBER_COLUMNS: Final = ("calls.remote",)
"""The blind indexes that a number may stand under (`keys.index` names); calls, recordings and contacts share one."""


def parts_of(kind: str) -> tuple[Erasable, ...]:
    """The kinds whose rows are parts of rows of `kind`, and fall with them."""
    return tuple(what for what in KINDS.values() if kind in dict(what.part_of))
