"""Clocks: what runs for whom, by pseudonym."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import LEDGER, Form, Holding, Purpose, Subject, same

_CLOCK: Final = replace(LEDGER, subject=Subject.CUSTOMER, purpose=Purpose.AUDIT)

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "clocks": same(_CLOCK, "id org_id subject_id")
    | same(
        replace(_CLOCK, form=Form.PLAIN),
        "kind subject_kind jurisdictions started_at due_at warn_at act_at warned alarmed_at look_at ended_at outcome evidence",
    ),
}
