"""What the main database knows of backups and restores, and the files of backups."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hushwire.privacy.inventory.vocabulary import TECHNICAL, Form, Holding, same

TABLES: Final[Mapping[str, Mapping[str, Holding]]] = {
    "replay": same(TECHNICAL, "singleton followed backup_at restored_at") | same(replace(TECHNICAL, form=Form.PSEUDONYM), "backup_id"),
    "protections": same(replace(TECHNICAL, form=Form.PSEUDONYM), "org_id") | same(TECHNICAL, "changes kept"),
}
