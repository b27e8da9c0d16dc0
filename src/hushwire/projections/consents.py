"""An announcement that the other party heard to its end becomes evidence among the consents: it stayed on the line knowing."""

from hushwire.core.events import DomainEvent, EventKind
from hushwire.store import consents, ledger
from hushwire.store.consents import NewConsent
from hushwire.store.database import Connection

NOTED_BY = "system"


async def note_announcement(connection: Connection, event: DomainEvent) -> None:
    """The consent's row, under the event's own id; none where the agent heard it, or where the call is erased already."""
    if event.kind is not EventKind.ANNOUNCEMENT_PLAYED or event.fields.get("leg") != "peer":
        return
    # Erasures enter their parts under this lock: the row comes before and falls with its call, or finds none to be about.
    await ledger.lock_ledger(connection, event.org_id)
    about = await consents.of_call(connection, event.subject)
    if about is None:
        return
    new = NewConsent(
        id=event.id,
        call_id=about.call_id,
        recording_id=None,
        remote_index=about.remote_index,
        how="announcement-played",
        text_version=None,
        announcement_digest=bytes.fromhex(str(event.fields["announcement"])),
        jurisdiction=None,
        given_at=event.at,
        noted_at=event.at,
        noted_by=NOTED_BY,
        sealed_with=None,
        note_sealed=None,
    )
    await consents.insert(connection, event.org_id, new)
