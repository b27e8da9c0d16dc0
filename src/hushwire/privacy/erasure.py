"""One erasure, step by step: what is to be done next follows from the ledger entry alone.

    entered --stop--> stopped --destroy--> unreadable (receipt) --sweep--> swept --renew--> renewed --close--> closed

Whoever finds an entry goes on with it: each step is safe to repeat, and is noted in the entry only when it is done. What may run
between any two steps is a crash.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hushwire.privacy.receipts import COPIES_UNUSABLE_WITHIN
from hushwire.store.ledger import LedgerEntry

RENEW_AFTER: Final = timedelta(hours=12)
"""How long erasures are gathered before the bucket's key is renewed; a receipt promises 24 h."""

NODE_IS_DEAD_AFTER: Final = timedelta(seconds=90)
"""Without its gateway the media process stops recording after 60 s and wipes its keys, and a gateway that is cut off from the database
ends its recordings after 60 s (`services/heartbeat.py`); so a node unseen for longer records nothing."""

UNANSWERED_FOR: Final = timedelta(seconds=30)
"""A node is given up only if it also left the command itself unanswered: after an outage of the database every node looks unseen."""


class Step(StrEnum):
    """What an entry waits for."""

    STOP = "stop"  # a live recording ends and the media process wipes its key
    DESTROY = "destroy"  # the sealed key leaves the keyring; row, audit and receipt follow in one transaction
    SWEEP = "sweep"  # ciphertext leaves every store, and its absence is checked
    RENEW = "renew"  # the bucket's private key is destroyed, so that copies of the keyring open nothing either
    CLOSE = "close"
    NONE = "none"


def next_step(entry: LedgerEntry) -> Step:
    """The first step that isn't noted as done."""
    if entry.stopped_at is None:
        return Step.STOP
    if entry.unreadable_at is None:
        return Step.DESTROY
    if entry.swept_at is None:
        return Step.SWEEP
    if entry.renewed_at is None:
        return Step.RENEW
    return Step.CLOSE if entry.closed_at is None else Step.NONE


def renewal_is_due(requested_at: datetime, now: datetime) -> bool:
    """Whether an erasure has waited long enough for its bucket's renewal."""
    return requested_at + RENEW_AFTER <= now


def copies_unusable_by(requested_at: datetime, unreadable_at: datetime) -> datetime:
    """What the receipt may promise: within 24 h of the request; for a key that could only go later, as long after as a renewal takes."""
    return max(requested_at + COPIES_UNUSABLE_WITHIN, unreadable_at + COPIES_UNUSABLE_WITHIN - RENEW_AFTER)
