"""What calls, agents, recordings, the ledger and the logs hold, in the main database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    AGENT,
    AGENT_INDEX,
    AGENT_SEALED,
    ANSWER,
    API_KEY,
    AUDIT,
    BANNED,
    CALL,
    CALL_ID,
    COMMAND,
    CREDENTIAL,
    DEVICE,
    EVENT,
    FAR_INDEX,
    FAR_NUMBER,
    MASKED,
    MIGRATIONS,
    NUMBER,
    OPERATOR,
    ORG,
    RECORDING,
    RECORDING_ID,
    RULE,
    TECHNICAL,
    Erasure,
    Form,
    Holding,
    Purpose,
    Recipient,
    Retention,
    Source,
    Subject,
    same,
)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "schema_migrations": MIGRATIONS,
    "orgs": same(ORG, "id slug name home_country residency jurisdictions created_at updated_at erased_at")
    | same(RULE, "record agent_srtp allow_sdes_in_clear without_recording outside_prefix allowed_countries classes rules_version")
    | same(RULE, "devices_version masking_version custody_version recording_consent do_not_call_version parties_indexed")
    | same(RULE, "time_zone terms hours short_codes risk_packs_off record_emergency")
    | same(RULE, "ringback music_on_hold announcement announce_at record_from spoken_refusals beep beep_every_s presence")
    | same(RULE, "live_rules_version telemarketing_hours four_eyes"),
    "trunks": same(OPERATOR, "id name uri srtp keying username realm addresses media_ports subprocessor created_at updated_at")
    | same(OPERATOR, "priority weight prefixes number_format country caller_id caller_ids caller_id_otherwise channels codecs early_media")
    | same(OPERATOR, "silent_after_s options_every_s down_after up_after register_every_s pins networks trusted")
    | same(OPERATOR, "signs attest verify rates_version emergency location_header geolocation")
    | same(replace(OPERATOR, form=Form.SEALED), "password_sealed"),
    "bans": same(BANNED, "reason created_at expires_at")
    | same(replace(BANNED, form=Form.PSEUDONYM), "id")
    | same(replace(BANNED, form=Form.SEALED), "source_sealed")
    | same(replace(BANNED, form=Form.INDEX), "source_index"),
    "agents": same(replace(AGENT, form=Form.PSEUDONYM), "id org_id")
    | same(AGENT, "role suspended telemarketing media_ports hides_identity created_at updated_at")
    | same(AGENT_SEALED, "username_sealed extension_sealed caller_id_sealed forwarding_sealed address_sealed")
    | same(AGENT_INDEX, "username_index extension_index")
    | same(CREDENTIAL, "ha1_sealed")
    | same(replace(CREDENTIAL, form=Form.HASH), "password_hash"),
    "devices": same(replace(CREDENTIAL, form=Form.PSEUDONYM), "id org_id agent_id login")
    | same(replace(AGENT_SEALED, purpose=Purpose.ACCOUNT), "name_sealed")
    | same(CREDENTIAL, "ha1_sealed")
    | same(replace(CREDENTIAL, form=Form.PLAIN), "created_at expires_at revoked_at"),
    "provisioning_links": same(replace(CREDENTIAL, form=Form.PSEUDONYM), "id org_id device_id")
    | same(replace(CREDENTIAL, form=Form.HASH), "token_hash")
    | same(replace(CREDENTIAL, form=Form.PLAIN), "created_at expires_at used_at"),
    "rule_proposals": same(
        RULE, "id org_id countries classes released terms state proposed_by proposed_at expires_at decided_by decided_at"
    )
    | same(RULE, "short_codes hours wanted base")
    | same(replace(RULE, form=Form.PSEUDONYM), "subject"),
    "access_requests": same(replace(AGENT, form=Form.PSEUDONYM), "id org_id agent_id call_id")
    | same(AGENT, "countries state asked_by asked_at expires_at agreed_by decided_by decided_at ends_at noticed_at told_at"),
    "ring_groups": same(RULE, "id org_id name dialled strategy ring_s follows_forwarding created_at updated_at"),
    "ring_group_members": same(replace(AGENT, form=Form.PSEUDONYM), "org_id group_id agent_id") | same(AGENT, "position"),
    "teams": same(RULE, "id org_id name created_at updated_at"),
    "team_members": same(replace(AGENT, form=Form.PSEUDONYM), "org_id team_id agent_id"),
    "rule_levels": same(replace(RULE, form=Form.PSEUDONYM), "id org_id team_id agent_id")
    | same(RULE, "countries classes short_codes terms hours time_zone created_at updated_at"),
    "number_exceptions": same(replace(RULE, form=Form.PSEUDONYM), "id org_id created_by waits_for")
    | same(RULE, "kind ends_at created_at")
    | same(replace(FAR_NUMBER, purpose=Purpose.VOICE_SECURITY, erasure=Erasure.DELETE_ROW, recipients=Recipient.NOBODY), "said_sealed")
    | same(replace(FAR_INDEX, purpose=Purpose.VOICE_SECURITY, erasure=Erasure.DELETE_ROW), "remote_index"),
    "numbers": same(replace(NUMBER, form=Form.PSEUDONYM), "id org_id agent_id group_id")
    | same(NUMBER, "number_sealed")
    | same(replace(NUMBER, form=Form.INDEX), "number_index lookup")
    | same(replace(NUMBER, form=Form.PLAIN), "created_at masks"),
    "masking_sessions": same(replace(MASKED, form=Form.PSEUDONYM), "id org_id agent_id number_id")
    | same(replace(MASKED, form=Form.PLAIN), "created_at expires_at ended_at"),
    "masking_parties": same(replace(MASKED, form=Form.PSEUDONYM), "id org_id session_id number_id")
    | same(MASKED, "number_sealed")
    | same(replace(MASKED, form=Form.INDEX, recipients=Recipient.NOBODY), "remote_index"),
    "api_keys": same(replace(API_KEY, form=Form.PSEUDONYM), "id org_id agent_id person_id")
    | same(API_KEY, "name role purpose revoked_at expires_at created_at")
    | same(replace(API_KEY, form=Form.HASH), "secret_hash"),
    "registrations": same(replace(DEVICE, form=Form.PSEUDONYM), "id org_id agent_id node_id device_id")
    | same(replace(DEVICE, form=Form.SEALED), "contact_sealed")
    | same(replace(DEVICE, form=Form.INDEX), "contact_index")
    | same(replace(DEVICE, form=Form.HASH), "call_id_hash")
    | same(DEVICE, "cseq expires_at created_at xid"),
    "nodes": same(TECHNICAL, "id started_at seen_at media_instance quality sip registrar"),
    "work_states": same(TECHNICAL, "node_id role task failures error failed_at since"),
    "parked_calls": same(replace(DEVICE, form=Form.PSEUDONYM), "org_id node_id call_id") | same(DEVICE, "slot parked_at"),
    "conference_rooms": same(replace(DEVICE, form=Form.PSEUDONYM), "org_id node_id opening") | same(DEVICE, "room opened_at"),
    "trunk_states": same(TECHNICAL, "node_id trunk_id standing reason since calls ways outcomes registered_until"),
    "calls": same(CALL_ID, "id org_id agent_id peer_agent_id trunk_id node_id bridge_id recording_id sealed_with joined_call_id")
    | same(CALL_ID, "device_id peer_device_id masking_session_id")
    | same(CALL_ID, "transferred_to transferred_by")
    | same(
        CALL,
        "direction state started_at answered_at ended_at duration_ms sip_status end_reason agent_leg peer_leg quality erased_at",
    )
    | same(CALL, "trunk_attempts joined_as caller_hidden emergency_told_at")
    | same(replace(CALL, form=Form.PSEUDONYM), "diversions")
    | same(CALL, "caller_verdict caller_verdict_reason caller_attestation caller_signer")
    | same(CALL, "transferred_as leg_ended_at")
    | same(replace(CALL, purpose=Purpose.VOICE_SECURITY), "verdict verdict_reason country number_class rules_version")
    | same(FAR_NUMBER, "remote_sealed diverted_to_sealed")
    | same(FAR_INDEX, "remote_index diverted_to_index")
    | same(replace(FAR_NUMBER, subject=Subject.AGENT), "local_sealed"),
    "recordings": same(RECORDING_ID, "id org_id call_id agent_id peer_agent_id node_id spool_name object_key")
    | same(RECORDING, "segment state custody region lawful_basis started_at ended_at duration_ms frames size_bytes erased_at")
    | same(replace(RECORDING, form=Form.HASH), "digest key_fingerprint")
    | same(replace(FAR_INDEX, purpose=Purpose.RECORDING), "remote_index further_indexes"),
    "node_commands": same(COMMAND, "id org_id node_id call_id details")
    | same(replace(COMMAND, form=Form.PLAIN), "action created_at done_at outcome"),
    "call_requests": same(COMMAND, "id org_id agent_id room_id node_wanted node_id call_id")
    | same(replace(COMMAND, form=Form.PLAIN), "answers_itself is_telemarketing asked_at take_by taken_at done_at outcome")
    | same(
        replace(FAR_NUMBER, source=Source.CUSTOMER, purpose=Purpose.ROUTING, retention=Retention.DELIVERY, erasure=Erasure.EMPTY),
        "destination_sealed",
    ),
    "outbox": same(EVENT, "id org_id subject") | same(replace(EVENT, form=Form.PLAIN), "xid seq kind at fields"),
    "audit_log": same(AUDIT, "org_id actor object")
    | same(replace(AUDIT, form=Form.PLAIN), "position at action fields")
    | same(replace(AUDIT, form=Form.HASH), "previous hash"),
    "access_log": same(AUDIT, "id org_id actor object") | same(replace(AUDIT, form=Form.PLAIN), "at purpose"),
    "idempotency": same(replace(ANSWER, form=Form.PSEUDONYM), "org_id key")
    | same(replace(ANSWER, form=Form.HASH), "request_hash")
    | same(ANSWER, "status response created_at"),
}
