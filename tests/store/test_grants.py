"""What each role may not do, beyond tenant isolation: the gateway faces strangers, so it holds least."""

import asyncpg
import pytest

from hushwire.store.database import Database
from tests.databases import DatabaseName, Databases, RoleName

FORBIDDEN: list[tuple[RoleName, DatabaseName, str]] = [
    ("gateway", "main", "SELECT password_hash FROM agents"),
    ("gateway", "main", "SELECT * FROM api_keys"),
    ("gateway", "main", "SELECT * FROM erasure_ledger"),
    ("gateway", "main", "SELECT * FROM audit_log"),
    ("gateway", "main", "SELECT * FROM access_log"),
    ("gateway", "main", "SELECT * FROM audit_heads"),
    ("api", "main", "INSERT INTO audit_heads (seq) VALUES (1)"),
    ("worker", "main", "UPDATE audit_heads SET position = 1"),
    ("worker", "main", "DELETE FROM audit_heads"),
    ("gateway", "main", "SELECT * FROM breaches"),
    ("gateway", "main", "SELECT * FROM undertakings"),
    ("gateway", "main", "SELECT * FROM purpose_rules"),
    ("api", "main", "DELETE FROM undertakings"),
    ("api", "main", "UPDATE undertakings SET version = '9'"),
    ("api", "main", "UPDATE purpose_rules SET allowed = NULL"),
    ("worker", "main", "INSERT INTO undertakings (id) VALUES (gen_random_uuid())"),
    ("gateway", "main", "SELECT * FROM breach_incidents"),
    ("api", "main", "SELECT * FROM breach_incidents"),
    ("api", "main", "SELECT orgs_read_by('a', now(), now())"),
    ("worker", "main", "UPDATE breaches SET registered_at = now()"),
    ("api", "main", "DELETE FROM breaches"),
    ("gateway", "main", "SELECT * FROM idempotency"),
    ("gateway", "main", "UPDATE orgs SET allowed_countries = '{CU}'"),
    ("gateway", "main", "UPDATE agents SET suspended = false"),
    ("gateway", "main", "INSERT INTO trunks (id) VALUES (gen_random_uuid())"),
    ("gateway", "main", "DELETE FROM recordings"),
    ("gateway", "main", "DELETE FROM calls"),
    ("gateway", "main", "SELECT grounds_sealed FROM objections"),
    ("gateway", "main", "SELECT * FROM cases"),
    ("api", "main", "INSERT INTO subprocessors (id) VALUES (gen_random_uuid())"),
    ("api", "main", "UPDATE subprocessor_standings SET active_from = now()"),
    ("api", "main", "INSERT INTO policies (id) VALUES (gen_random_uuid())"),
    ("api", "main", "UPDATE instructions SET text_sealed = 'x'"),
    ("worker", "main", "UPDATE cases SET state = 'answered'"),
    ("gateway", "main", "UPDATE node_commands SET action = 'hangup'"),
    ("gateway", "keyring", "SELECT sealed FROM data_keys"),
    ("gateway", "keyring", "DELETE FROM data_keys"),
    ("gateway", "keyring", "SELECT private_sealed FROM buckets"),
    ("api", "main", "INSERT INTO orgs (id) VALUES (gen_random_uuid())"),
    ("api", "main", "UPDATE trunks SET uri = 'sip:x'"),
    ("api", "main", "INSERT INTO recordings (id) VALUES (gen_random_uuid())"),
    ("api", "main", "DELETE FROM recordings"),
    ("api", "main", "SELECT nextval('media_epoch')"),
    ("api", "keyring", "UPDATE data_keys SET sealed = 'x'"),
    ("api", "keyring", "INSERT INTO buckets (id) VALUES (gen_random_uuid())"),
    ("api", "keyring", "UPDATE buckets SET private_sealed = NULL"),
    ("worker", "main", "UPDATE orgs SET allowed_countries = '{CU}'"),
    ("worker", "main", "UPDATE agents SET suspended = false"),
    ("worker", "main", "INSERT INTO api_keys (id) VALUES (gen_random_uuid())"),
    ("worker", "keyring", "UPDATE root_key SET fingerprint = 'x'"),
    ("worker", "keyring", "INSERT INTO signing_keys (id) VALUES (gen_random_uuid())"),
    ("worker", "keyring", "DELETE FROM buckets"),
    ("gateway", "main", "SELECT * FROM clocks"),
    ("gateway", "main", "SELECT count_due_clocks('dispute', now())"),
    ("api", "main", "DELETE FROM clocks"),
    ("api", "main", "UPDATE clocks SET due_at = now()"),
    ("api", "main", "SELECT clocks_to_look_at(now())"),
    ("worker", "main", "DELETE FROM clocks"),
    ("worker", "main", "UPDATE clocks SET started_at = now()"),
    ("gateway", "main", "SELECT * FROM contacts"),
    ("gateway", "main", "SELECT source FROM unrecorded_numbers"),
    ("gateway", "main", "DELETE FROM unrecorded_numbers"),
    ("gateway", "main", "SELECT * FROM restricted_subjects"),
    ("gateway", "main", "SELECT * FROM privacy_requests"),
    ("gateway", "main", "SELECT * FROM disclosures"),
    ("gateway", "main", "SELECT * FROM documents"),
    ("api", "main", "DELETE FROM contacts"),
    ("api", "main", "UPDATE privacy_request_steps SET step = 'verified'"),
    ("api", "main", "DELETE FROM privacy_requests"),
    ("api", "main", "DELETE FROM disclosures"),
    ("api", "main", "DELETE FROM restricted_subjects"),
    ("worker", "main", "DELETE FROM unrecorded_numbers"),
    ("worker", "main", "DELETE FROM documents"),
    ("gateway", "main", "SELECT * FROM notices"),
    ("gateway", "main", "SELECT * FROM org_contacts"),
    ("gateway", "main", "SELECT * FROM org_records"),
    ("api", "main", "DELETE FROM notices"),
    ("api", "main", "UPDATE notices SET content_sealed = 'x'"),
    ("api", "main", "UPDATE notices SET evidence = '{}'"),
    ("api", "main", "SELECT notices_to_send(now())"),
    ("worker", "main", "DELETE FROM notices"),
    ("worker", "main", "UPDATE notices SET acknowledged_at = now()"),
    ("worker", "main", "UPDATE org_contacts SET email_sealed = 'x'"),
    ("worker", "main", "INSERT INTO org_contacts (id) VALUES (gen_random_uuid())"),
    ("gateway", "main", "SELECT * FROM derivatives"),
    ("api", "main", "DELETE FROM derivatives"),
    ("worker", "main", "UPDATE derivatives SET kind = 'peaks'"),
    ("gateway", "keyring", "SELECT * FROM tombstones"),
    ("api", "keyring", "DELETE FROM tombstones"),
    ("worker", "keyring", "UPDATE tombstones SET at = now()"),
    ("gateway", "keyring", "SELECT sealed FROM data_key_copies"),
    ("gateway", "keyring", "SELECT name_sealed FROM recipients"),
    ("gateway", "keyring", "UPDATE recipients SET state = 'active'"),
    ("gateway", "keyring", "INSERT INTO custody (org_id) VALUES (gen_random_uuid())"),
    ("gateway", "keyring", "DELETE FROM data_key_copies"),
    ("api", "keyring", "UPDATE data_key_copies SET sealed = 'x'"),
    ("worker", "keyring", "UPDATE custody SET mode = 'hushwire'"),
    ("worker", "keyring", "UPDATE recipients SET state = 'active'"),
]


@pytest.mark.parametrize("role", ["gateway", "api", "worker"])
async def test_a_role_is_refused_what_is_not_its_business(databases: Databases, role: RoleName) -> None:
    for who, name, statement in FORBIDDEN:
        if who == role:
            database = await databases.connect(name, role, max_size=1)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await _run(database, statement)


async def _run(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement)
