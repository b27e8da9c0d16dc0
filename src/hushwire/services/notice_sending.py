"""Sending what stands in the outbox of notices. The rows are the queue; any number of workers may send at once.

    queued --claimed: tried again after LEASE if nothing more is heard--> handed over --accepted--> sent, its clock ended
                                                                          |--not now--> queued, after a while
                                                                          `--refused for good--> the next contact; none left: failed

The claim is committed before the first byte goes out and the acceptance after the server's word. A kill between the two means one more
copy of the same message, with the same Message-ID, for each kill; never none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core import purposes
from hushwire.core.errors import KeyUnavailable
from hushwire.core.events import EventKind
from hushwire.core.ids import OrgId
from hushwire.privacy import mail
from hushwire.privacy.notices import TEXTS, ContactRole, NoticeKind
from hushwire.services.mailer import Accepted, MailServer, Outcome, Refused, Stage, Unreachable
from hushwire.services.notices import Notices, sealed_recipient
from hushwire.services.organisation import opened_email
from hushwire.store import notices as table
from hushwire.store import organisation
from hushwire.store.notices import NoticeRow
from hushwire.store.organisation import ContactRow
from hushwire.vault.unseal import Why

LEASE: Final = timedelta(minutes=10)
FIRST_RETRY: Final = timedelta(minutes=1)
MOST_RETRY: Final = timedelta(hours=1)
TRIES_EACH: Final = 4
"""So many times in a row one contact is tried before another one gets a turn."""

_NO_ADDRESS: Final = 550
_WHY: Final = Why("system:worker", purposes.NOTICE)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NoticeSending:
    """The worker's job. Without a `server` everything stays in the outbox."""

    notices: Notices = field(repr=False)
    server: MailServer | None

    async def send(self) -> int:
        """One round over what is due; returns how many were accepted. One that fails holds up no other."""
        if self.server is None:
            return 0
        sent = 0
        async with self.notices.main.transaction() as connection:
            waiting = await table.to_send(connection, self.notices.clock.now())
        for org_id, notice_id in waiting:
            try:
                while (outcome := await self._attempt(self.server, org_id, notice_id)) is not None:
                    sent += isinstance(outcome, Accepted)
                    if not (isinstance(outcome, Refused) and outcome.is_recipients_fault):
                        break
            except Exception as error:
                _log.error("notice.delayed", org_id=str(org_id), notice_id=str(notice_id), error=type(error).__name__)
        return sent

    async def _attempt(self, server: MailServer, org_id: OrgId, notice_id: UUID) -> Outcome | None:
        claimed = await self._claim(org_id, notice_id)
        if claimed is None:
            return None
        row, contact = claimed
        try:
            words, columns = await self.notices.opened(row, _WHY)
        except KeyUnavailable:
            # The organisation ended: there is nobody to be told, and nothing to tell any more.
            _log.warning("notice.key_gone", org_id=str(org_id), notice_id=str(notice_id))
            return None
        try:
            recipient = await opened_email(self.notices.keyring, org_id, contact, _WHY)
        except KeyUnavailable:
            # The contact was removed, and an older database that was restored does not know: the next one's turn.
            outcome: Outcome = Refused(Stage.RECIPIENT, _NO_ADDRESS)
            await self._note(row, contact, b"", outcome)
            return outcome
        message = mail.composed(
            notice=row.id, sender=server.sender, recipient=recipient, subject=words.subject, body=words.body, at=row.created_at
        )
        outcome = await server.send(recipient, message)
        await self._note(row, contact, sealed_recipient(columns, row, recipient), outcome)
        return outcome

    async def _claim(self, org_id: OrgId, notice_id: UUID) -> tuple[NoticeRow, ContactRow] | None:
        """The notice and whom it goes to now; committed, so that it is tried again should this process die."""
        now = self.notices.clock.now()
        async with self.notices.main.organisation(org_id) as connection:
            row = await table.claim(connection, notice_id, now)
            if row is None:
                return None
            known = await organisation.contacts(connection)
            contact = next_contact(known, row)
            if contact is None:
                await table.note_state(connection, row.id, "failed" if known else "unaddressed")
                if known:
                    await self.notices.tell(connection, org_id, EventKind.NOTICE_FAILED, row.id, notice=row.kind, reason="refused")
                    _log.error("notice.failed", org_id=str(org_id), notice_id=str(row.id), kind=row.kind, mend="designate another contact")
                else:
                    await self.notices.alarm_unaddressed(connection, org_id, row.id, row.kind)
                return None
            await table.note_attempt(connection, row.id, contact.id, row.attempts + 1, now + LEASE)
        return row, contact

    async def _note(self, row: NoticeRow, contact: ContactRow, recipient: bytes, outcome: Outcome) -> None:
        now, names = self.notices.clock.now(), {"org_id": str(row.org_id), "notice_id": str(row.id), "kind": row.kind}
        attempts = row.attempts + 1
        async with self.notices.main.organisation(row.org_id) as connection:
            match outcome:
                case Accepted():
                    evidence = _evidence(row, contact, outcome, attempts)
                    if await table.note_sent(connection, row.id, now, recipient, evidence):
                        await self.notices.tell(connection, row.org_id, EventKind.NOTICE_SENT, row.id, notice=row.kind, code=outcome.code)
                        proof = {name: evidence[name] for name in ("reply_code", "server", "message", "message_id")}
                        await self.notices.end_clock(connection, row, "notice-accepted", proof)
                    _log.info("notice.sent", code=outcome.code, attempts=attempts, **names)
                case Refused() if outcome.is_recipients_fault:
                    await table.note_refused(connection, row.id, contact.id, now)
                    await self.notices.tell(
                        connection,
                        row.org_id,
                        EventKind.NOTICE_REFUSED,
                        row.id,
                        notice=row.kind,
                        contact=str(contact.id),
                        code=outcome.code,
                    )
                    _log.error("notice.refused", code=outcome.code, stage=outcome.stage.value, contact_id=str(contact.id), **names)
                case Refused():
                    await table.note_later(connection, row.id, now + back_off(attempts))
                    # A 5xx here is about our own account or address: nobody else's server will mend it.
                    say = _log.error if outcome.code >= 500 else _log.warning
                    say("notice.not_now", code=outcome.code, stage=outcome.stage.value, attempts=attempts, **names)
                case Unreachable():
                    await table.note_later(connection, row.id, now + back_off(attempts))
                    _log.warning("notice.not_now", reason=outcome.reason, attempts=attempts, **names)


def next_contact(known: Sequence[ContactRow], row: NoticeRow) -> ContactRow | None:
    """Whose turn it is: first those of the notice's own role, in their order, then the others; never one that refused for good."""
    role = TEXTS[NoticeKind(row.kind)].role if row.kind in set(NoticeKind) else ContactRole.PRIVACY
    left = [contact for contact in sorted(known, key=lambda contact: contact.role != role) if contact.id not in row.tried]
    return left[row.attempts // TRIES_EACH % len(left)] if left else None


def back_off(attempts: int) -> timedelta:
    """How long after the `attempts`-th try the next one follows."""
    return min(FIRST_RETRY * (1 << min(attempts - 1, 20)), MOST_RETRY)


def _evidence(row: NoticeRow, contact: ContactRow, outcome: Accepted, attempts: int) -> dict[str, str | int | bool]:
    return {
        "message_id": str(row.id),
        "contact": str(contact.id),
        "reply_code": outcome.code,
        "reply": outcome.reply_digest,
        "server": outcome.server_digest,
        "message": outcome.message_digest,
        "encrypted": outcome.is_encrypted,
        "attempts": attempts,
    }
