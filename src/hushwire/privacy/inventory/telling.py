"""What is told of what happens, and to whom: the feed of events, webhooks, deliveries."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import FEED as EVENT
from hushwire.privacy.inventory.vocabulary import ORG, Erasure, Form, Holding, Purpose, Recipient, same

NAMED: Final = replace(EVENT, erasure=Erasure.KEEP_TELLING)
HOOK: Final = replace(ORG, purpose=Purpose.OPERATION, erasure=Erasure.DELETE_ROW)
SECRET: Final = replace(HOOK, form=Form.SEALED, purpose=Purpose.AUTHENTICATION, recipients=Recipient.NOBODY)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "event_feeds": same(EVENT, "org_id") | same(replace(EVENT, form=Form.PLAIN), "last"),
    "events": same(EVENT, "org_id id")
    | same(NAMED, "subject")
    | same(replace(EVENT, form=Form.PLAIN), "position kind at")
    | same(replace(NAMED, form=Form.PLAIN), "fields"),
    "webhooks": same(replace(HOOK, form=Form.PSEUDONYM), "id org_id")
    | same(replace(HOOK, form=Form.SEALED), "url_sealed")
    | same(SECRET, "secret_sealed former_sealed")
    | same(HOOK, "kinds grants signs former_until state created_at updated_at"),
    "webhook_deliveries": same(EVENT, "id org_id webhook_id")
    | same(replace(EVENT, form=Form.PLAIN), "position state attempts due_at ended_at status failure"),
}
