"""Carries domain events from the outbox to where they are read: one transaction takes events out and writes what follows from them."""

from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.projections.audit import audit_entry
from hushwire.projections.consents import note_announcement
from hushwire.store import events as feed
from hushwire.store import outbox
from hushwire.store.database import Database

BATCH = 200


async def project(db: Database) -> int:
    """Projects what waits, of every organisation; returns how many events. Safe to run twice at once, and after a crash.

    Raises Unfinished where some organisation's events can't be projected; those of all others are.
    """
    async with db.transaction() as connection:
        organisations = await outbox.organisations(connection)
    return await for_each(organisations, lambda org_id: project_organisation(db, org_id), "outbox")


async def project_organisation(db: Database, org_id: OrgId) -> int:
    """Projects one organisation's events, batch by batch."""
    done = 0
    while True:
        async with db.organisation(org_id) as connection:
            events = await outbox.take(connection, BATCH)
            for event in events:
                if (entry := audit_entry(event)) is not None:
                    await audit.append(connection, org_id, event.at, entry.actor, entry.action, entry.subject, entry.fields)
                await note_announcement(connection, event)
            await feed.add(connection, org_id, events)
        done += len(events)
        if len(events) < BATCH:
            return done
