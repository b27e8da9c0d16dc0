"""How an organisation's messages are sent and where those to its numbers go, as its admins set it; every change is in the audit log."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.services.message_sending import open_template, seal_template
from hushwire.store import message_settings as table
from hushwire.store.database import Database
from hushwire.store.message_settings import BatchRow, Settings, TemplateRow
from hushwire.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class TemplateView:
    """A template opened."""

    id: UUID
    name: str
    text: str = field(repr=False)
    created_at: datetime
    updated_at: datetime
    is_marketing: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where messages to a number go: `target` is agent, team (a ring group), webhook or nobody."""

    target: str
    agent_id: UUID | None = None
    group_id: UUID | None = None
    is_pooled: bool = False
    is_marketing: bool | None = False
    """Whether campaigns come from the number; None, of what is wanted: as it is."""


class MessageSettings:
    """Of every organisation."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def get(self, org_id: OrgId) -> Settings:
        """As they stand."""
        async with self._main.organisation(org_id) as connection:
            return await table.settings(connection)

    async def put(self, org_id: OrgId, new: Settings, *, actor: str) -> Settings:
        """Instead of what there was."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if await table.settings(connection) != new:
                await table.put_settings(connection, org_id, new, now)
                await audit.append(connection, org_id, now, actor, CHANGED, f"organisation:{org_id}", {"what": "settings"})
        return new

    async def target(self, org_id: OrgId, number_id: UUID) -> Target | None:
        """Where messages to one of its numbers go; None where it has no such number."""
        async with self._main.organisation(org_id) as connection:
            row = await table.number(connection, number_id)
        if row is None:
            return None
        if row.target is None:
            return Target("nobody" if row.rings is None else "agent", row.rings)
        return Target(row.target, row.agent_id, row.group_id, row.is_pooled, row.is_marketing)

    async def put_target(self, org_id: OrgId, number_id: UUID, wanted: Target, *, actor: str) -> Target | str | None:
        """From the next message on. None: no such number; a word: what of the target the organisation does not have."""
        now = self._clock.now()
        try:
            async with self._main.organisation(org_id) as connection:
                if await table.number(connection, number_id) is None:
                    return None
                is_marketing = await table.put_number(
                    connection,
                    org_id,
                    number_id,
                    wanted.target,
                    wanted.agent_id,
                    wanted.group_id,
                    wanted.is_pooled,
                    wanted.is_marketing,
                    now,
                )
                said: audit.Fields = {"target": wanted.target, "pooled": wanted.is_pooled, "marketing": is_marketing}
                await audit.append(connection, org_id, now, actor, CHANGED, f"number:{number_id}", said)
        except asyncpg.ForeignKeyViolationError:
            return "agent" if wanted.agent_id is not None else "team"
        return replace(wanted, is_marketing=is_marketing)

    async def templates(self, org_id: OrgId, *, after: str | None, limit: int) -> tuple[list[TemplateView], str | None]:
        """A page of templates, by name."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await table.templates(connection, after=after, limit=limit + 1)
        views = []
        for row in rows[:limit]:
            text = open_template(keys, row.id, row.body_sealed)
            views.append(TemplateView(row.id, row.name, text, row.created_at, row.updated_at, row.is_marketing))
        return views, rows[limit - 1].name if len(rows) > limit else None

    async def add_template(self, org_id: OrgId, name: str, text: str, *, is_marketing: bool, actor: str) -> TemplateView | None:
        """A new one; None if one has this name already."""
        keys = await self._keyring.org_context(org_id)
        now = self._clock.now()
        row_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        async with self._main.organisation(org_id) as connection:
            row = TemplateRow(row_id, name, seal_template(keys, row_id, text), now, now, is_marketing)
            if not await table.add_template(connection, org_id, row):
                return None
            await audit.append(connection, org_id, now, actor, CHANGED, f"message-template:{row_id}", {"what": "template"})
        return TemplateView(row_id, name, text, now, now, is_marketing)

    async def put_template(
        self, org_id: OrgId, template_id: UUID, text: str, *, is_marketing: bool | None, actor: str
    ) -> TemplateView | None:
        """Another text for it; None where there is no such template. `is_marketing` None: as it is."""
        keys = await self._keyring.org_context(org_id)
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.change_template(connection, template_id, seal_template(keys, template_id, text), is_marketing, now)
            if row is None:
                return None
            await audit.append(connection, org_id, now, actor, CHANGED, f"message-template:{template_id}", {"what": "template"})
        return TemplateView(row.id, row.name, text, row.created_at, row.updated_at, row.is_marketing)

    async def drop_template(self, org_id: OrgId, template_id: UUID, *, actor: str) -> bool:
        """It is there no more; False if it was not."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await table.drop_template(connection, template_id):
                return False
            said: audit.Fields = {"what": "template-removed"}
            await audit.append(connection, org_id, now, actor, CHANGED, f"message-template:{template_id}", said)
        return True

    async def batch(self, org_id: OrgId, batch_id: UUID) -> BatchRow | None:
        """How far a batch is."""
        async with self._main.organisation(org_id) as connection:
            return await table.batch(connection, batch_id)


CHANGED = "messages.changed"
