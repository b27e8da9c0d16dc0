"""The places that are asked after a sweep, beside spool and stores: tables whose rows may still tell of what was erased.

Whoever keeps copies, queues or answers that may name an erasable thing adds the table here.
"""

from typing import Final

from hushwire.store.places import RowPlace

_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAMED: Final = f"regexp_matches(a.response::text, '{_UUID}', 'g') AS m (found)"
_ANSWERS: Final = f"SELECT a.key, (m.found)[1]::uuid AS id FROM idempotency AS a, {_NAMED}"  # noqa: S608

ROW_PLACES: Final = (
    RowPlace(
        "idempotency",
        count=f"SELECT id, count(*) AS n FROM ({_ANSWERS}) AS named WHERE id = ANY($1::uuid[]) GROUP BY id",  # noqa: S608
        clear=f"DELETE FROM idempotency WHERE key IN (SELECT key FROM ({_ANSWERS}) AS named WHERE id = ANY($1::uuid[]))",  # noqa: S608
    ),
    RowPlace(
        "derivatives",
        count="SELECT recording_id AS id, count(*) AS n FROM derivatives WHERE recording_id = ANY($1::uuid[]) GROUP BY recording_id",
        clear="DELETE FROM derivatives WHERE recording_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "voicemail_messages",
        count="SELECT recording_id AS id, count(*) AS n FROM voicemail_messages WHERE recording_id = ANY($1::uuid[]) GROUP BY recording_id",
        clear="DELETE FROM voicemail_messages WHERE recording_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "voicemail_greetings",
        count="SELECT recording_id AS id, count(*) AS n FROM voicemail_greetings WHERE recording_id = ANY($1::uuid[])"
        " GROUP BY recording_id",
        clear="DELETE FROM voicemail_greetings WHERE recording_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "voicemail_readings",
        count="SELECT recording_id AS id, count(*) AS n FROM voicemail_readings WHERE recording_id = ANY($1::uuid[]) GROUP BY recording_id",
        clear="DELETE FROM voicemail_readings WHERE recording_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "message_parts",
        count="SELECT message_id AS id, count(*) AS n FROM message_parts WHERE message_id = ANY($1::uuid[]) GROUP BY message_id",
        clear="DELETE FROM message_parts WHERE message_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "text_deliveries",
        count="SELECT message_id AS id, count(*) AS n FROM text_deliveries WHERE message_id = ANY($1::uuid[]) GROUP BY message_id",
        clear="DELETE FROM text_deliveries WHERE message_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "text_readings",
        count="SELECT m.id, count(*) AS n FROM text_readings AS r, unnest(r.message_ids) AS m (id) WHERE m.id = ANY($1::uuid[])"
        " GROUP BY m.id",
        clear="DELETE FROM text_readings WHERE message_ids && $1::uuid[]",
    ),
    RowPlace(
        "message_inbound_parts",
        count="SELECT message_id AS id, count(*) AS n FROM message_inbound_parts WHERE message_id = ANY($1::uuid[]) GROUP BY message_id",
        clear="DELETE FROM message_inbound_parts WHERE message_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "document_contents",
        count="SELECT document_id AS id, count(*) AS n FROM document_contents WHERE document_id = ANY($1::uuid[]) GROUP BY document_id",
        clear="DELETE FROM document_contents WHERE document_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "document_files",
        count="SELECT document_id AS id, count(*) AS n FROM document_files WHERE document_id = ANY($1::uuid[]) GROUP BY document_id",
        clear="DELETE FROM document_files WHERE document_id = ANY($1::uuid[])",
    ),
    RowPlace(
        "documents",
        count="SELECT c.object_id AS id, count(*) AS n FROM document_contents AS c JOIN documents AS d ON d.id = c.document_id"
        " WHERE c.object_id = ANY($1::uuid[]) AND c.left_out IS NULL AND d.erased_at IS NULL GROUP BY c.object_id",
    ),
    RowPlace(
        "disclosures",
        count="SELECT object_id AS id, count(*) AS n FROM disclosures WHERE object_id = ANY($1::uuid[]) AND remote_index IS NOT NULL"
        " GROUP BY object_id",
        clear="UPDATE disclosures SET remote_index = NULL WHERE object_id = ANY($1::uuid[]) AND remote_index IS NOT NULL",
    ),
    RowPlace(
        "notices",
        count="SELECT subject_id AS id, count(*) AS n FROM notices WHERE subject_id = ANY($1::uuid[]) AND state = 'queued'"
        " GROUP BY subject_id",
        must_be_empty=False,
    ),
    # Events name ids only, and leave within seconds of the commit that they tell of.
    RowPlace(
        "outbox",
        count="SELECT subject AS id, count(*) AS n FROM outbox WHERE subject = ANY($1::uuid[]) GROUP BY subject",
        must_be_empty=False,
    ),
    # As they left it: ids and states, for a week.
    RowPlace(
        "events",
        count="SELECT subject AS id, count(*) AS n FROM events WHERE subject = ANY($1::uuid[]) GROUP BY subject",
        must_be_empty=False,
    ),
)
