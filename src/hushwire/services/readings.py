"""Who may read personal data for what: judged before anything opens, and each refusal is a row of the audit log.

    match await readings.judge(org_id, actor, purpose, of_the_role=...):
        case None: ...         # go on, with Why(actor, purpose)
        case Refusal(): ...    # 403; it stands in the audit log

An instruction that was changed, or a signature withdrawn, counts everywhere a second later at most.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core import purposes
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import RefusedError
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit, undertakings
from hushwire.privacy.purposes import NO_RULE, Refusal, Rule, refusal
from hushwire.privacy.undertakings import Signature, Standing, Text
from hushwire.store import readings as table
from hushwire.store.database import Connection, Database
from hushwire.store.readings import PurposeRuleRow, UndertakingRow

FRESH_S: Final = 1.0
_MOST: Final = 10_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outdated:
    """Somebody else changed it meanwhile: it stands at `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class OtherText:
    """What was to be signed is not the text in force."""

    current: Text


@dataclass(frozen=True, slots=True)
class State:
    """The text in force, and how somebody stands to it."""

    current: Text
    standing: Standing
    signatures: list[UndertakingRow]


class Readings:
    """Instructions and undertakings of every organisation."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random
        self._known: dict[tuple[OrgId, str], tuple[float, Rule, Standing]] = {}

    async def judge(self, org_id: OrgId, actor: str, purpose: str, *, of_the_role: bool, permission: str) -> Refusal | None:
        """Why this reading may not be; None where it may. A refusal is in the audit log, committed, before this returns."""
        rule, standing = await self._state(org_id, actor)
        found = refusal(purpose, of_the_role, rule, standing)
        if found is not None:
            # A purpose that is none of the known codes is somebody's free text: it is not repeated.
            named = purpose if purpose in purposes.OF_PEOPLE | purposes.OF_THE_SYSTEM else "unknown"
            async with self._main.organisation(org_id) as connection:
                fields = {"reason": found.value, "purpose": named, "permission": permission}
                await audit.append(
                    connection, org_id, self._clock.now(), actor, audit.Action.CONTENT_REFUSED, f"organisation:{org_id}", fields
                )
            _log.warning("content.refused", org_id=str(org_id), actor=actor, reason=found.value)
        return found

    # The customer's instruction.

    async def rule(self, org_id: OrgId) -> PurposeRuleRow | None:
        """The one in force, None where there never was one."""
        async with self._main.organisation(org_id) as connection:
            return await table.purpose_rule(connection)

    async def change_rule(
        self, org_id: OrgId, allowed: frozenset[str] | None, *, actor: str, version: int | None = None
    ) -> PurposeRuleRow | Outdated:
        """A new version. Raises RefusedError for a purpose that people can't have."""
        if allowed is not None and not allowed <= purposes.OF_PEOPLE:
            raise RefusedError("not a purpose that people can have")
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            known = await table.purpose_rule(connection)
            before = known.version if known else 0
            if version is not None and version != before:
                return Outdated(before)
            row = PurposeRuleRow(before + 1, None if allowed is None else tuple(sorted(allowed)), actor, now)
            if not await table.add_purpose_rule(connection, self._new_id(), org_id, row):
                return Outdated(before + 1)
            fields: audit.Fields = {"version": row.version, "allowed": "all" if row.allowed is None else ",".join(row.allowed)}
            await audit.append(connection, org_id, now, actor, audit.Action.PURPOSES_CHANGED, f"organisation:{org_id}", fields)
        self._known.clear()
        return row

    # Undertakings.

    async def state(self, org_id: OrgId, signer: str) -> State:
        """The text in force and how the signer stands to it."""
        async with self._main.organisation(org_id) as connection:
            texts, found = await _texts(connection), await table.signatures(connection, signer)
        return State(texts[-1], _standing(texts, found, self._clock), found)

    async def sign(self, org_id: OrgId, signer: str, version: str) -> State | OtherText:
        """The signer's word on the text in force; again: changes nothing."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            texts = await _texts(connection)
            if version != texts[-1].version:
                return OtherText(texts[-1])
            if await signed(connection, org_id, self._new_id(), signer, texts[-1], by=signer, now=now):
                await audit.append(connection, org_id, now, signer, audit.Action.UNDERTAKING_SIGNED, signer, {"version": version})
            found = await table.signatures(connection, signer)
        self._known.pop((org_id, signer), None)
        return State(texts[-1], _standing(texts, found, self._clock), found)

    async def withdraw(self, org_id: OrgId, signer: str, *, by: str) -> bool:
        """Nothing opens for the signer any more; False where nothing was signed."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await table.withdraw(connection, signer, now, by):
                return False
            await audit.append(connection, org_id, now, by, audit.Action.UNDERTAKING_WITHDRAWN, signer)
        self._known.pop((org_id, signer), None)
        return True

    async def _state(self, org_id: OrgId, actor: str) -> tuple[Rule, Standing]:
        now = self._clock.monotonic()
        known = self._known.get((org_id, actor))
        if known is not None and now - known[0] < FRESH_S:
            return known[1], known[2]
        async with self._main.organisation(org_id) as connection:
            row = await table.purpose_rule(connection)
            texts, found = await _texts(connection), await table.signatures(connection, actor)
        rule = NO_RULE if row is None else Rule(row.version, None if row.allowed is None else frozenset(row.allowed))
        standing = _standing(texts, found, self._clock)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[org_id, actor] = (now, rule, standing)
        return rule, standing

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))


async def current_text(connection: Connection) -> Text:
    """The text in force; in any transaction."""
    return (await _texts(connection))[-1]


async def signed(connection: Connection, org_id: OrgId, row_id: UUID, signer: str, text: Text, *, by: str, now: datetime) -> bool:
    """Note a signature in the caller's transaction; False if that version was signed already.

    `by`: the signer itself, or whoever provisioned it and answers for it. The audit row is the caller's to append, last.
    """
    return await table.sign(connection, org_id, UndertakingRow(row_id, signer, text.version, text.digest, now, by, None, None))


async def _texts(connection: Connection) -> list[Text]:
    published = await table.texts(connection, undertakings.KIND)
    return undertakings.in_order(Text(row.version, row.text, row.published_at, row.effective_at) for row in published)


def _standing(texts: list[Text], rows: list[UndertakingRow], clock: Clock) -> Standing:
    given = [Signature(row.version, row.digest, row.withdrawn_at is not None) for row in rows]
    return undertakings.standing(texts, given, clock.now())
