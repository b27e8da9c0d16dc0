"""Evidence of consent to recording, or to messages of marketing, and its withdrawal.

A consent is about a recording, a call or a number. It falls with its recording or call, and with everything of its number; words that
were written down about it are sealed under a key of its own. Withdrawing one stops recording at once, like an objection; what rests on
it is named, and erased only as the customer decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.privacy.audit import Action
from hushwire.privacy.consent import Declaration, How, Standing, standing
from hushwire.privacy.jurisdictions import tags_for_country
from hushwire.services.phone_numbers import REMOTE, canonical_number
from hushwire.store import consents as table
from hushwire.store import directory as directory_rows
from hushwire.store import ledger
from hushwire.store.consents import About, ConsentRow, NewConsent
from hushwire.store.database import Connection, Database
from hushwire.store.recordings import Place
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

MOST_NAMED: Final = 1000


@dataclass(frozen=True, slots=True)
class Given:
    """A consent to be noted, about exactly one of recording, call and number."""

    how: How
    given_at: datetime
    recording: UUID | None = None
    call: UUID | None = None
    number: str | None = field(default=None, repr=False)
    text_version: str | None = None
    announcement_digest: bytes | None = None
    jurisdiction: str | None = None
    note: str | None = field(default=None, repr=False)
    about: Literal["recording", "marketing-messages"] = "recording"
    """To what; to messages only a number can agree."""


@dataclass(frozen=True, slots=True)
class ConsentView:
    """A consent and what was written down; `note` is None where nothing was, where it is erased, and while it is restricted."""

    row: ConsentRow
    note: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A withdrawal: whether the number is recorded no more from now on, and (`MOST_NAMED` at most) the recordings that rest on it."""

    row: ConsentRow
    stops_recording: bool
    recordings: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class NoSuchThing:
    """The organisation has no such recording, call or consent."""


@dataclass(frozen=True, slots=True)
class NoNumber:
    """What was given is no phone number."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The consent was erased."""


@dataclass(frozen=True, slots=True)
class RuleView:
    """What the organisation declares, and what holds for recording calls with each country that it may call."""

    declared: Declaration
    record: str
    without_recording: str
    jurisdictions: tuple[str, ...]
    countries: Mapping[str, Standing]


class Consents:
    """Consents of every organisation."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def note(self, org_id: OrgId, given: Given, *, actor: str) -> ConsentRow | NoSuchThing | NoNumber:
        """Keep the evidence. One about a number ends earlier withdrawals of it."""
        now = self._clock.now()
        consent_id = self._new_id(now)
        async with self._main.organisation(org_id) as connection:
            about = await self._about(connection, org_id, given)
        if not isinstance(about, _About):
            return about
        sealed = None
        if given.note is not None:
            key = await self._keyring.new_data_key(org_id, "case", consent_id)
            sealed = Columns(key.key).seal(given.note.encode(), table="consents", column="note_sealed", row=consent_id, org=org_id)
        async with self._main.organisation(org_id) as connection:
            # Erasures enter their parts under this lock: a consent comes before, and falls with them, or finds nothing to be about.
            await ledger.lock_ledger(connection, org_id)
            about = await self._about(connection, org_id, given)
            if isinstance(about, _About):
                return await self._insert(connection, org_id, consent_id, given, about, sealed, now, actor)
        if sealed is not None:
            await self._keyring.destroy_data_key(org_id, "case", consent_id)
        return about

    async def get(self, org_id: OrgId, consent_id: UUID, why: Why) -> ConsentView | NoSuchThing | Gone:
        """One consent with its note; reading that is logged."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, consent_id)
        if row is None:
            return NoSuchThing()
        if row.is_erasing or row.erased_at is not None:
            return Gone()
        if row.note_sealed is None or row.is_restricted:
            return ConsentView(row, None)
        key = (await self._keyring.open_many(org_id, "case", [consent_id], why)).get(consent_id)
        if key is None:
            return Gone()
        note = Columns(key.key).open(row.note_sealed, table="consents", column="note_sealed", row=consent_id, org=org_id)
        return ConsentView(row, note.decode())

    async def listed(
        self, org_id: OrgId, *, recording: UUID | None = None, call: UUID | None = None, after: Place | None = None, limit: int = 50
    ) -> list[ConsentRow]:
        """Consents, newest first, notes closed."""
        async with self._main.organisation(org_id) as connection:
            return await table.listed(connection, recording_id=recording, call_id=call, after=after, limit=limit)

    async def of_number(self, org_id: OrgId, typed: str, *, after: Place | None = None, limit: int = 50) -> list[ConsentRow] | NoNumber:
        """Consents of a number, newest first: given for it, or for a call or recording with it."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            number = await canonical_number(connection, typed)
            if number is None:
                return NoNumber()
            return await table.listed(connection, remote_index=keys.index(REMOTE, number), after=after, limit=limit)

    async def withdraw(self, org_id: OrgId, consent_id: UUID, *, actor: str) -> Withdrawn | NoSuchThing | Gone:
        """From now on nobody records this number; a recording under way ends. Safe to repeat. Erases nothing."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, consent_id)
            if row is None:
                return NoSuchThing()
            if row.is_erasing or row.erased_at is not None:
                return Gone()
            recordings = await table.resting_on(connection, consent_id, MOST_NAMED)
            if await table.withdraw(connection, consent_id, now, actor):
                await table.stop_recording(connection, org_id, self._new_id(now), consent_id, now)
                said = {"recordings": len(recordings)}
                await audit.append(connection, org_id, now, actor, Action.CONSENT_WITHDRAWN, f"consent:{consent_id}", said)
                row = await table.get(connection, consent_id) or row
            return Withdrawn(row, row.has_number and row.about == "recording", tuple(recordings))

    async def rules(self, org_id: OrgId) -> RuleView:
        """What holds for each country that the organisation may call, and for its home."""
        async with self._main.organisation(org_id) as connection:
            found = await directory_rows.settings(connection)
        declared = Declaration(found.recording_consent)
        tags = tuple(found.jurisdictions) or tags_for_country(found.home_country)
        countries = {country: standing(declared, tags, (country,)) for country in sorted({found.home_country, *found.allowed_countries})}
        return RuleView(declared, found.record, found.without_recording, tags, countries)

    async def _about(self, connection: Connection, org_id: OrgId, given: Given) -> "_About | NoSuchThing | NoNumber":
        found: About | None = None
        if given.number is not None:
            number = await canonical_number(connection, given.number)
            if number is None:
                return NoNumber()
            keys = await self._keyring.org_context(org_id)
            return _About(None, None, keys.index(REMOTE, number))
        if given.recording is not None:
            found = await table.of_recording(connection, given.recording)
        elif given.call is not None:
            found = await table.of_call(connection, given.call)
        return NoSuchThing() if found is None else _About(found.call_id, given.recording, found.remote_index)

    async def _insert(
        self,
        connection: Connection,
        org_id: OrgId,
        consent_id: UUID,
        given: Given,
        about: "_About",
        sealed: bytes | None,
        now: datetime,
        actor: str,
    ) -> ConsentRow:
        new = NewConsent(
            id=consent_id,
            call_id=about.call_id,
            recording_id=about.recording_id,
            remote_index=about.remote_index,
            how=given.how.value,
            text_version=given.text_version,
            announcement_digest=given.announcement_digest,
            jurisdiction=given.jurisdiction,
            given_at=given.given_at,
            noted_at=now,
            noted_by=actor,
            sealed_with=None if sealed is None else consent_id,
            note_sealed=sealed,
            about=given.about,
        )
        await table.insert(connection, org_id, new)
        if given.about == "recording" and about.call_id is None and about.remote_index is not None:
            await table.record_again(connection, about.remote_index, given.given_at)
        await audit.append(connection, org_id, now, actor, Action.CONSENT_NOTED, f"consent:{consent_id}", {"how": given.how.value})
        row = await table.get(connection, consent_id)
        assert row is not None
        return row

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


@dataclass(frozen=True, slots=True)
class _About:
    call_id: UUID | None
    recording_id: UUID | None
    remote_index: bytes | None
