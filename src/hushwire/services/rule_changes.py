"""Saving an organisation's rules: at once, or, where guarded countries or classes would open, once a second person agrees.

Narrowing never waits. Of a change that does both, the narrowing takes effect and the opening waits, for a week at most. Nobody agrees to
a proposal of their own. The operator's commands (`apply`, `countries set`) don't wait: who has the machine has the rows anyway; what they
open of what is guarded is told to the organisation's contacts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError, Unavailable
from hushwire.core.ids import OrgId, uuid7
from hushwire.policy.four_eyes import SHORT_CODES, Lists, Opening, hang_on_zone, held, opened, without
from hushwire.policy.model import NumberClass
from hushwire.policy.rules import Term, Terms, Window
from hushwire.policy.terms import read_hours, read_terms, said_terms, terms_of, written_hours, written_terms
from hushwire.privacy import audit, endings
from hushwire.privacy.audit import Action
from hushwire.privacy.notices import NoticeKind, Values
from hushwire.services import level_proposals
from hushwire.services.notices import Notices
from hushwire.store import api_keys, levels
from hushwire.store import rule_proposals as proposals
from hushwire.store import rules as table
from hushwire.store.database import Connection, Database
from hushwire.store.recordings import Place
from hushwire.store.rule_proposals import ProposalRow
from hushwire.store.rules import RulesRow
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring

OPERATOR: Final = "operator"
"""Who has the machine: named so in the audit log."""
WAITS: Final = timedelta(days=7)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """New lists; None leaves a list as it is. `version`: refuse unless the saved rules still have it.

    `applies_to_live`: calls under way that could not be made any more end, on every node, also where nothing else changes.
    """

    allowed_countries: frozenset[str] | None = None
    classes: frozenset[NumberClass] | None = None
    telemarketing_hours: tuple[str, ...] | None = None
    four_eyes: frozenset[str] | None = None
    terms: Terms | None = None
    hours: tuple[Window, ...] | None = None
    short_codes: frozenset[str] | None = None
    time_zone: str | None = None
    version: int | None = None
    applies_to_live: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """The rules as they stand now; `waits` is what of the change needs a second person."""

    rules: RulesRow
    waits: ProposalRow | None = None


@dataclass(frozen=True, slots=True)
class Outdated:
    """Somebody else changed the rules meanwhile: they stand at `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class ZoneGuarded:
    """Windows of what two must agree to would be other hours in another time zone."""


@dataclass(frozen=True, slots=True)
class NoProposal:
    """The organisation has no such proposal."""


@dataclass(frozen=True, slots=True)
class OwnProposal:
    """Who proposes does not approve."""


@dataclass(frozen=True, slots=True)
class Stale:
    """What it was proposed of is not as it was: it is outdated, and would have to be proposed anew."""


@dataclass(frozen=True, slots=True)
class Over:
    """It was decided already, or has lapsed."""


class RuleChanges:
    """Changes of every organisation's rules. Without `notices` nothing can wait: only for who is never held up (the operator)."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, notices: Notices | None = None) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._notices = notices

    async def save(self, org_id: OrgId, change: Change, *, actor: str) -> Saved | Outdated | ZoneGuarded:
        """Save new lists and say so in the audit log, in one transaction; the gateways are told by the database."""
        async with self._main.organisation(org_id) as connection:
            before = found(await table.get(connection, for_update=True))
            if change.version is not None and change.version != before.version:
                return Outdated(before.version)
            if actor != OPERATOR and change.time_zone not in (None, before.time_zone) and hang_on_zone(lists_of(before)):
                return ZoneGuarded()
            wanted, opening, waits = _lists(before, change), Opening(), None
            if actor != OPERATOR:
                opening = held(lists_of(before), wanted)
            if opening:
                wanted = without(lists_of(before), wanted, opening)
            after = await self._put(connection, before, wanted, change, actor, {})
            if opening:
                # After the rest is saved: what narrows outdates the proposals that there were.
                waits = await self.propose(connection, org_id, opening, actor)
                after = found(await table.get(connection))
            if actor == OPERATOR and (unheld := held(lists_of(before), wanted)):
                await self.tell_opened(connection, org_id, after, unheld, OPERATOR)
        await self._lift(before, after)
        return Saved(after, waits)

    async def proposals(self, org_id: OrgId, *, after: Place | None = None, limit: int = 50) -> Sequence[ProposalRow]:
        """Newest first."""
        async with self._main.organisation(org_id) as connection:
            return await proposals.listed(connection, after=after, limit=limit)

    async def proposal(self, org_id: OrgId, proposal_id: UUID) -> ProposalRow | NoProposal:
        """One of them."""
        async with self._main.organisation(org_id) as connection:
            return await proposals.get(connection, proposal_id) or NoProposal()

    async def approve(self, org_id: OrgId, proposal_id: UUID, *, actor: str) -> Saved | NoProposal | OwnProposal | Stale | Over:
        """Open what was proposed, beside whatever is allowed now; what was narrowed since is no part of it."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            before = found(await table.get(connection, for_update=True))
            row = await proposals.get(connection, proposal_id, for_update=True)
            if row is None:
                return NoProposal()
            if await api_keys.is_same_person(connection, row.proposed_by, actor):
                return OwnProposal()
            if row.state == "outdated":
                return Stale()
            if not row.is_open(now):
                return Over()
            if row.subject is not None and row.base != await level_proposals.base_of(connection, row.subject):
                await proposals.decide(connection, proposal_id, "outdated", "system", now)
                return Stale()
            await proposals.decide(connection, proposal_id, "approved", actor, now)
            if row.subject is not None:
                await self._carry_out(connection, org_id, row, actor, now)
                return Saved(found(await table.get(connection)))
            opening = _opening(row)
            noted: dict[str, str | int | bool] = {"proposal": str(proposal_id), "proposed_by": row.proposed_by}
            after = await self._put(connection, before, opened(lists_of(before), opening), Change(), actor, noted)
            await self.tell_opened(connection, org_id, after, opening, f"{actor}, proposed by {row.proposed_by}")
        await self._lift(before, after)
        return Saved(after)

    async def reject(self, org_id: OrgId, proposal_id: UUID, *, actor: str) -> ProposalRow | NoProposal | Over:
        """It does not happen; also to take back a proposal of one's own."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await proposals.get(connection, proposal_id, for_update=True)
            if row is None:
                return NoProposal()
            if not row.is_open(now):
                return Over()
            await proposals.decide(connection, proposal_id, "rejected", actor, now)
            await levels.remove_unagreed(connection, now)
            await audit.append(connection, org_id, now, actor, Action.RULES_REJECTED, f"proposal:{proposal_id}", _said(row))
        return replace(row, state="rejected", decided_by=actor, decided_at=now)

    async def _carry_out(self, connection: Connection, org_id: OrgId, row: ProposalRow, actor: str, now: datetime) -> None:
        assert row.subject is not None
        assert row.wanted is not None
        await level_proposals.carry_out(connection, org_id, row.subject, row.wanted, self._new_id(now), now)
        noted: audit.Fields = {"proposal": str(row.id), "proposed_by": row.proposed_by}
        await audit.append(connection, org_id, now, actor, Action.LEVEL_CHANGED, row.subject, noted)
        opening = Opening(frozenset(row.countries), frozenset(row.classes), short_codes=frozenset(row.short_codes))
        after = found(await table.get(connection))
        await self.tell_opened(connection, org_id, after, opening, f"{actor}, proposed by {row.proposed_by}")

    def _new_id(self, now: datetime) -> UUID:
        if self._notices is None:
            raise LocalError("a guarded opening was asked for where nobody could be told of it")
        return uuid7(int(now.timestamp() * 1000), self._notices.random.token_bytes(10))

    async def propose(
        self, connection: Connection, org_id: OrgId, opening: Opening, actor: str, *, subject: str | None = None, wanted: str | None = None
    ) -> ProposalRow:
        """Have what opens wait for a second person. `subject`: the team or agent that it is about, and `wanted` what that is to be."""
        if self._notices is None:
            raise LocalError("a guarded opening was asked for where nobody could be told of it")
        now = self._clock.now()
        row = ProposalRow(
            id=self._new_id(now),
            countries=tuple(sorted(opening.countries)),
            classes=tuple(sorted(opening.classes)),
            released=tuple(sorted(opening.released)),
            terms=json.dumps({name: said_terms(((name, term),))[name] for name, term in opening.terms}),
            state="open",
            proposed_by=actor,
            proposed_at=now,
            expires_at=now + WAITS,
            short_codes=tuple(sorted(opening.short_codes)),
            hours=None if opening.hours is None else written_hours(opening.hours),
            subject=subject,
            wanted=wanted,
            base=None if subject is None else await level_proposals.base_of(connection, subject),
        )
        await proposals.insert(connection, org_id, row)
        opens = _worded(opening) + ("" if subject is None else f" for {subject}")
        values: Values = {"proposal": row.id, "opens": opens, "proposed_by": actor, "expires_at": row.expires_at}
        await self._notices.queue(connection, org_id, NoticeKind.RULES_PROPOSED, "proposal", row.id, values)
        await audit.append(connection, org_id, now, actor, Action.RULES_PROPOSED, f"proposal:{row.id}", _said(row))
        return row

    async def tell_opened(self, connection: Connection, org_id: OrgId, after: RulesRow, opening: Opening, by: str) -> None:
        """Tell the organisation's contacts what of what two must agree to is open now."""
        if self._notices is None:
            _log.warning("rules.opened_untold", org_id=str(org_id), version=after.version)
            return
        values: Values = {"opens": _worded(opening), "by": by, "done_at": after.updated_at, "version": after.version}
        await self._notices.queue(
            connection, org_id, NoticeKind.RULES_OPENED, "organisation", org_id, values, occasion=f"rules-{after.version}"
        )

    async def _put(
        self, connection: Connection, before: RulesRow, wanted: Lists, change: Change, actor: str, noted: dict[str, str | int | bool]
    ) -> RulesRow:
        """What is left of the old lists stands in the keyring before the row changes, the new lists after it: a restore of an older main
        database never brings back more than was allowed last (`privacy/endings.py`)."""
        now, org_id = self._clock.now(), before.org_id
        countries, classes = sorted(wanted.countries), sorted(wanted.classes)
        await table.put(connection, countries, classes, now)
        await table.set_four_eyes(connection, sorted(wanted.guarded), now)
        await table.put_terms(
            connection,
            now,
            time_zone=before.time_zone if change.time_zone is None else change.time_zone,
            terms=written_terms(wanted.terms),
            hours=written_hours(wanted.hours),
            short_codes=sorted(wanted.short_codes),
            risk_packs_off=before.risk_packs_off,
        )
        if change.telemarketing_hours is not None:
            await table.set_telemarketing_hours(connection, change.telemarketing_hours, now)
        if change.applies_to_live:
            await table.apply_to_live(connection)
        after = found(await table.get(connection))
        if after.version != before.version:
            await audit.append(
                connection, org_id, now, actor, Action.RULES_CHANGED, f"organisation:{org_id}", _difference(before, after) | noted
            )
            await self._bury(after, sorted({*before.allowed_countries} & {*countries}), sorted({*before.classes} & {*classes}))
        return after

    async def _lift(self, before: RulesRow, after: RulesRow) -> None:
        """What was added, to be allowed after a restore too."""
        if {*after.allowed_countries} <= {*before.allowed_countries} and {*after.classes} <= {*before.classes}:
            return
        try:
            await self._bury(after, after.allowed_countries, after.classes)
        except Unavailable:
            # It holds already; a restore of an older database would leave out what was added just now, and say so.
            _log.warning("rules.widening_not_kept", org_id=str(after.org_id))

    async def _bury(self, rules: RulesRow, countries: Sequence[str], classes: Sequence[str]) -> None:
        stone = endings.rules_now(tombstones.new_id(), rules.org_id, rules.version, countries, classes, self._clock.now())
        await tombstones.write(self._keyring.db, rules.org_id, [stone])


def found(row: RulesRow | None) -> RulesRow:
    """The organisation's row, which is there unless something is badly wrong."""
    if row is None:
        raise Unavailable("the organisation's row is not there")
    return row


def lists_of(row: RulesRow) -> Lists:
    """What four eyes look at."""
    return Lists(
        frozenset(row.allowed_countries),
        frozenset(row.classes),
        frozenset(row.four_eyes),
        read_terms(row.terms),
        frozenset(row.short_codes),
        read_hours(row.hours),
    )


def _lists(before: RulesRow, change: Change) -> Lists:
    now = lists_of(before)
    return Lists(
        now.countries if change.allowed_countries is None else change.allowed_countries,
        now.classes if change.classes is None else frozenset(change.classes),
        now.guarded if change.four_eyes is None else change.four_eyes,
        now.terms if change.terms is None else change.terms,
        now.short_codes if change.short_codes is None else change.short_codes,
        now.hours if change.hours is None else change.hours,
    )


def _worded(opening: Opening) -> str:
    released = (f"{name} without a second person" for name in sorted(opening.released))
    widened = (f"{name} on wider terms" for name, _ in opening.terms if name not in opening.countries | opening.classes)
    codes = (f"short code {code}" for code in sorted(opening.short_codes) if code != SHORT_CODES)
    more = (*codes, *([SHORT_CODES] if SHORT_CODES in opening.short_codes else []), *(["other hours"] if opening.hours is not None else []))
    return ", ".join((*sorted(opening.countries), *sorted(opening.classes), *widened, *released, *more))


def _opening(row: ProposalRow) -> Opening:
    hours = None if row.hours is None else read_hours(row.hours)
    names = (frozenset(row.countries), frozenset(row.classes), frozenset(row.released))
    return Opening(*names, opened_terms(row.terms), frozenset(row.short_codes), hours)


def opened_terms(text: str) -> Terms:
    """The terms of a proposal, those that say nothing too: they take away what stands there."""
    return tuple((name, dict(terms_of({name: said})).get(name, Term())) for name, said in sorted(json.loads(text).items()))


def _said(row: ProposalRow) -> dict[str, str]:
    said = {"countries": row.countries, "classes": row.classes, "released": row.released, "terms": tuple(json.loads(row.terms))}
    said |= {"short_codes": row.short_codes, "hours": () if row.hours is None else ("other",), "subject": (row.subject or "",)}
    return {name: ",".join(values) for name, values in said.items() if any(values)}


def _difference(before: RulesRow, after: RulesRow) -> dict[str, str | int | bool]:
    def listed(items: Sequence[str], others: Sequence[str]) -> str:
        return ",".join(sorted(set(items) - set(others)))

    more: dict[str, str | int | bool] = {}
    if after.telemarketing_hours != before.telemarketing_hours:
        more["telemarketing_hours"] = len(after.telemarketing_hours)
    if after.four_eyes != before.four_eyes:
        more["four_eyes"] = ",".join(after.four_eyes)
    more |= {name: True for name in ("terms", "hours", "short_codes", "time_zone") if getattr(after, name) != getattr(before, name)}
    if after.live_rules_version != before.live_rules_version:
        more["applied_to_live"] = True
    return more | {
        "version": after.version,
        "countries": len(after.allowed_countries),
        "countries_added": listed(after.allowed_countries, before.allowed_countries),
        "countries_removed": listed(before.allowed_countries, after.allowed_countries),
        "classes_added": listed(after.classes, before.classes),
        "classes_removed": listed(before.classes, after.classes),
    }
