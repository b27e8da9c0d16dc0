"""Signed heads of the audit log, breach cases, undertakings, audits and purposes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import AUDIT, Form, Holding, same

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "audit_heads": same(AUDIT, "org_id key_id")
    | same(replace(AUDIT, form=Form.PLAIN), "seq position at signature")
    | same(replace(AUDIT, form=Form.HASH), "hash previous"),
}
