"""Webhooks as their organisation manages them: where to, which events, what of content an owner grants, and a secret that is shown once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.events import EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.privacy.audit import Action
from hushwire.services import webhook_signing
from hushwire.services.webhook_signing import SECRET_BYTES, Signs
from hushwire.store import webhooks as table
from hushwire.store.database import Connection, Database
from hushwire.store.webhooks import DeliveryRow, WebhookRow
from hushwire.vault.keyring import Keyring, OrgKeys

MOST: Final = 20
MOST_KINDS: Final = 50
FORMER_FOR: Final = timedelta(hours=24)
Grant = Literal["numbers", "bodies"]
Fault = Callable[[str, Sequence[str] | None], str | None]
"""Why a URL will never be asked, in a word (`transport.outgoing.Outgoing.fault`)."""
Inside = Callable[[str], Sequence[str] | None]
"""By slug: the private networks that the operator named for an organisation's webhooks; None: those of the guard itself."""
_FIRST: Final = frozenset(kind.value.partition(".")[0] for kind in EventKind)
_WORDS: Final = {
    "port": "must be an https:// URL, on a port that the operator allows (443 and 8443, unless configured)",
    "host": "has a host name that can not be asked for",
    "url": "must be at most 2048 printable ASCII characters, without a user name",
    "inner-address": "leads inside: only networks that the operator configured are asked",
}


@dataclass(frozen=True, slots=True)
class WebhookView:
    """A webhook without its secret. `public_key` verifies Ed25519 signatures; `waiting` and `dead` count its deliveries."""

    id: UUID
    url: str = field(repr=False)
    kinds: tuple[str, ...]
    grants: tuple[str, ...]
    signs: str
    public_key: str | None
    state: str
    former_until: datetime | None
    created_at: datetime
    updated_at: datetime
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Made:
    """A webhook with its secret, which stands nowhere else; None where its public key is all that its owner needs."""

    view: WebhookView
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class TooMany:
    """The organisation has as many as it may have."""


@dataclass(frozen=True, slots=True)
class OwnersOnly:
    """It would let the webhook be told numbers or words, here or elsewhere, which is an owner's to grant."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """One value is not valid; `message` completes "url ..."."""

    field: str
    message: str


class Webhooks:
    """Changes of one organisation's webhooks. The worker delivers (services/webhook_delivery.py)."""

    def __init__(
        self, main: Database, keyring: Keyring, clock: Clock, random: Random, fault: Fault, inside: Inside = lambda _slug: None
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._fault = fault
        self._inside = inside

    async def add(
        self, org_id: OrgId, url: str, kinds: Sequence[str], grants: Sequence[Grant], signs: Signs, *, actor: str
    ) -> Made | TooMany | Unfit:
        """A new webhook, told of what happens from now on."""
        if (unfit := await self._unfit(org_id, url, kinds)) is not None:
            return unfit
        keys, now = await self._keyring.org_context(org_id), self._clock.now()
        webhook_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        secret = self._random.token_bytes(SECRET_BYTES)
        row = WebhookRow(
            webhook_id, _sealed(keys, webhook_id, "url_sealed", url.encode()), _tidy(kinds), _tidy(grants), signs,
            _sealed(keys, webhook_id, "secret_sealed", secret), None, None, "active", now, now,
        )  # fmt: skip
        async with self._main.organisation(org_id) as connection:
            await table.lock(connection)
            if await table.count(connection) >= MOST:
                return TooMany()
            await table.add(connection, org_id, row)
            await self._note(connection, org_id, now, actor, Action.WEBHOOK_MADE, row)
        return Made(_view(keys, row), _shown(signs, secret))

    async def listed(self, org_id: OrgId) -> list[WebhookView]:
        """All, oldest first."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await table.listed(connection)
        return [_view(keys, row) for row in rows]

    async def get(self, org_id: OrgId, webhook_id: UUID) -> WebhookView | None:
        """One."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, webhook_id)
        return None if row is None else _view(keys, row)

    async def change(
        self,
        org_id: OrgId,
        webhook_id: UUID,
        *,
        url: str | None,
        kinds: Sequence[str] | None,
        grants: Sequence[Grant] | None,
        is_active: bool | None,
        may_grant: bool,
        actor: str,
    ) -> WebhookView | Unfit | OwnersOnly | None:
        """Change what is given; None where there is no such webhook. Paused ones are told later what they missed, of a week at most."""
        if (unfit := await self._unfit(org_id, url, kinds)) is not None:
            return unfit
        keys, now = await self._keyring.org_context(org_id), self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, webhook_id, for_update=True)
            if row is None:
                return None
            granted = row.grants if grants is None else tuple(grants)
            if granted and not may_grant and any(one is not None for one in (url, kinds, grants)):
                return OwnersOnly()
            state = row.state if is_active is None else "active" if is_active else "paused"
            await table.change(
                connection, webhook_id, now,
                url=row.url_sealed if url is None else _sealed(keys, webhook_id, "url_sealed", url.encode()),
                kinds=row.kinds if kinds is None else _tidy(kinds), grants=row.grants if grants is None else _tidy(grants), state=state,
            )  # fmt: skip
            changed = await table.get(connection, webhook_id)
            assert changed is not None
            await self._note(connection, org_id, now, actor, Action.WEBHOOK_CHANGED, changed)
        return _view(keys, changed)

    async def renew_secret(self, org_id: OrgId, webhook_id: UUID, *, actor: str) -> Made | None:
        """A new secret; the one before signs beside it for a day, so that no delivery goes unverified meanwhile."""
        keys, now = await self._keyring.org_context(org_id), self._clock.now()
        secret = self._random.token_bytes(SECRET_BYTES)
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, webhook_id, for_update=True)
            if row is None:
                return None
            sealed = _sealed(keys, webhook_id, "secret_sealed", secret)
            await table.change_secret(connection, webhook_id, now, sealed, now + FORMER_FOR)
            changed = await table.get(connection, webhook_id)
            assert changed is not None
            await audit.append(connection, org_id, now, actor, Action.WEBHOOK_SECRET_RENEWED, f"webhook:{webhook_id}")
        return Made(_view(keys, changed), _shown(row.signs, secret))

    async def remove(self, org_id: OrgId, webhook_id: UUID, *, actor: str) -> bool:
        """Remove it with what it was to be told; False where there is none."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if not await table.remove(connection, webhook_id):
                return False
            await audit.append(connection, org_id, now, actor, Action.WEBHOOK_REMOVED, f"webhook:{webhook_id}")
        return True

    async def deliveries(
        self, org_id: OrgId, webhook_id: UUID, *, state: str | None, before: int | None, limit: int
    ) -> tuple[list[DeliveryRow], int | None] | None:
        """What it is and was told, newest first, and where the next page begins; None where there is no such webhook."""
        async with self._main.organisation(org_id) as connection:
            if await table.get(connection, webhook_id) is None:
                return None
            rows = await table.deliveries(connection, webhook_id, state=state, before=before, limit=limit + 1)
        return rows[:limit], rows[limit - 1].event.position if len(rows) > limit else None

    async def again(self, org_id: OrgId, webhook_id: UUID, delivery_id: UUID) -> bool | None:
        """Let a dead delivery be tried anew; False where it is not dead, None where there is none."""
        async with self._main.organisation(org_id) as connection:
            return await table.again(connection, webhook_id, delivery_id, self._clock.now())

    async def _unfit(self, org_id: OrgId, url: str | None, kinds: Sequence[str] | None) -> Unfit | None:
        if url is not None:
            async with self._main.organisation(org_id) as connection:
                slug = await connection.fetchval("SELECT slug FROM orgs WHERE id = $1", org_id)
            if (fault := self._fault(url, self._inside(slug or ""))) is not None:
                return Unfit("url", _WORDS[fault])
        for kind in kinds or ():
            is_known = kind == "*" or kind in set(EventKind) or (kind.endswith(".*") and kind[:-2] in _FIRST)
            if not is_known:
                return Unfit("kinds", 'must be kinds of events, such as "call.ended", "message.*" or "*"')
        return None

    async def _note(self, connection: Connection, org_id: OrgId, now: datetime, actor: str, action: str, row: WebhookRow) -> None:
        fields: audit.Fields = {"kinds": " ".join(row.kinds), "grants": " ".join(row.grants), "state": row.state}
        await audit.append(connection, org_id, now, actor, action, f"webhook:{row.id}", fields)


def opened(keys: OrgKeys, row: WebhookRow, now: datetime) -> tuple[str, list[bytes]]:
    """The URL, and the secrets that sign now, the newest first."""
    url = _open(keys, row.id, "url_sealed", row.url_sealed).decode()
    secrets = [_open(keys, row.id, "secret_sealed", row.secret_sealed)]
    if row.former_sealed is not None and row.former_until is not None and now < row.former_until:
        secrets.append(_open(keys, row.id, "secret_sealed", row.former_sealed))
    return url, secrets


def _tidy(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _shown(signs: str, secret: bytes) -> str | None:
    return webhook_signing.shown_secret(secret) if signs == "hmac-sha256" else None


def _view(keys: OrgKeys, row: WebhookRow) -> WebhookView:
    secret = _open(keys, row.id, "secret_sealed", row.secret_sealed)
    public = webhook_signing.public_key(secret) if row.signs == "ed25519" else None
    url = _open(keys, row.id, "url_sealed", row.url_sealed).decode()
    return WebhookView(
        row.id, url, row.kinds, row.grants, row.signs, public, row.state, row.former_until, row.created_at, row.updated_at,
        row.waiting, row.dead,
    )  # fmt: skip


def _sealed(keys: OrgKeys, row: UUID, column: str, value: bytes) -> bytes:
    return keys.operational.seal(value, table="webhooks", column=column, row=row, org=keys.org_id)


def _open(keys: OrgKeys, row: UUID, column: str, sealed: bytes) -> bytes:
    return keys.operational.open(sealed, table="webhooks", column=column, row=row, org=keys.org_id)
