"""What the fraud breaker holds, in the main database: counts, habits and alarms of agents, and keyed marks of whom they called."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import (
    CREDENTIAL,
    OPERATOR,
    RULE,
    DataClass,
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

_FRAUD: Final = Holding(
    DataClass.METADATA,
    Form.PLAIN,
    Subject.AGENT,
    Purpose.VOICE_SECURITY,
    Source.CALL,
    Retention.HOUR,
    Erasure.DELETE_ROW,
)
_MARK: Final = replace(_FRAUD, form=Form.INDEX, subject=Subject.PARTY)
_USED: Final = replace(_FRAUD, retention=Retention.WEEK)
_HABIT: Final = replace(_FRAUD, retention=Retention.QUARTER)
_ALARM: Final = replace(_FRAUD, source=Source.HUSHWIRE, retention=Retention.ALARM, recipients=Recipient.CUSTOMER)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "fraud_limits": same(RULE, "org_id level subject_id bounds updated_at"),
    "fraud_facts": same(replace(_FRAUD, form=Form.PSEUDONYM), "id org_id node_id agent_id")
    | same(_FRAUD, "at kind")
    | same(_MARK, "destination_index tail_mark head_mark"),
    "fraud_days": same(replace(_USED, form=Form.PSEUDONYM), "org_id agent_id") | same(_USED, "day currency talk_ms spent_micros"),
    "fraud_texts": same(replace(_USED, form=Form.PSEUDONYM), "org_id agent_id")
    | same(_USED, "day parts spent_micros minute minute_parts before_parts"),
    "fraud_habits": same(replace(_HABIT, form=Form.PSEUDONYM), "org_id agent_id") | same(_HABIT, "kind key calls days last_day"),
    "fraud_alarms": same(replace(_ALARM, form=Form.PSEUDONYM), "id org_id subject_id agent_id credential_id replacement_id undone_by")
    | same(_ALARM, "level signal action seen most times hour first_at last_at undone_at replaced_at noticed_at"),
    "fraud_locks": same(replace(_ALARM, form=Form.PSEUDONYM), "org_id agent_id credential_id alarm_id") | same(_ALARM, "created_at"),
    "fraud_minted": same(replace(_ALARM, form=Form.PSEUDONYM), "org_id device_id alarm_id agent_id credential_id")
    | same(CREDENTIAL, "secret_sealed")
    | same(_ALARM, "created_at"),
    "risk_packs": same(OPERATOR, "name key_id version data kept_at"),
    "trunk_rates": same(OPERATOR, "trunk_id prefix currency minute_micros connection_micros first_s next_s"),
}
