"""/healthz, /readyz, /metrics and the published keys: what operators and verifiers ask, without any tenant's data."""

import asyncio
from datetime import timedelta
from typing import Any, Final, Literal

import asyncpg
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from hushwire.api import metrics
from hushwire.api.means import Given, Means
from hushwire.api.problems import unavailable
from hushwire.core.errors import LocalError
from hushwire.privacy import receipts
from hushwire.services.obligations import standing
from hushwire.services.spool_watch import SpoolState, judged, seen
from hushwire.store import message_link_states, nodes, trunk_states, work_states
from hushwire.store.database import Database

router = APIRouter(tags=["operation"])
_PATIENCE_S: Final = 2.0
_FAR_BEHIND_BYTES: Final = 1 << 20
_ALIVE_WITHIN: Final = timedelta(seconds=30)


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Health):
    """Requests can be served. What is owed and not done does not change that, and is counted here.

    `zone2`: whether the keyring's second zone has everything; absent where there is none.
    `spool`: that recordings wait long for their store, or that room for them is short (docs/playback.md); absent where all is well.
    """

    overdue_clocks: int
    unsent_notices: int
    zone2: Literal["in-sync", "away"] | None = None
    spool: SpoolState | None = None


class PublishedKeys(BaseModel):
    """A JSON Web Key Set (RFC 7517, RFC 8037) with every key that ever signed a receipt."""

    keys: list[dict[str, Any]]


@router.get("/healthz")
async def health() -> Health:
    """The process is alive."""
    return Health()


@router.get("/readyz", response_model_exclude_none=True)
async def readiness(means: Given) -> Readiness:
    """Both databases answer, so requests can be served; without the second zone too, though erasures wait for it."""
    away = await _away(means)
    if away:
        raise unavailable(f"Not ready: {' and '.join(f'the {name} database' for name in away)} can't be reached.")
    async with means.main.transaction() as connection:
        owed = await standing(connection, means.clocks)
    ready = Readiness(overdue_clocks=owed.overdue_clocks, unsent_notices=owed.unsent_notices)
    if means.keyring.has_second_zone:
        ready.zone2 = "away" if await _zone2_lacks(means) is None else "in-sync"
    state = await _spool(means)
    if state is not SpoolState.OK:
        ready.spool = state
    return ready


@router.get("/metrics", response_class=PlainTextResponse)
async def scrape(means: Given) -> Response:
    """Counters in the Prometheus text format."""
    away = await _away(means)
    if means.keyring.has_second_zone and "keyring" not in away:
        means.metrics.note_zone2(await _zone2_lacks(means))
    if "main" not in away:
        try:
            async with means.main.transaction() as connection:
                means.metrics.note_gateways(await nodes.count_alive(connection, _ALIVE_WITHIN))
                means.metrics.note_registrar(await nodes.told_registrar(connection, _ALIVE_WITHIN))
                means.metrics.quality.note(await nodes.told_quality(connection))
                means.metrics.note_work(await work_states.told(connection))
                means.metrics.trunks.note(await trunk_states.told(connection, _ALIVE_WITHIN))
                means.metrics.message_links.note(await message_link_states.told(connection, _ALIVE_WITHIN))
                owed = await standing(connection, means.clocks)
            for kind, count in owed.overdue.items():
                means.metrics.note_overdue(kind.value, count)
            for state, count in owed.unsent.items():
                means.metrics.note_unsent(state, count)
        except (LocalError, asyncpg.PostgresError):
            means.metrics.note_database("main", False)
    await _spool(means)
    return Response(means.metrics.text(), media_type=metrics.MEDIA_TYPE)


@router.get("/.well-known/hushwire-keys.json")
async def published_keys(means: Given) -> PublishedKeys:
    """The public keys that receipts verify under, retired ones included."""
    keys = await means.keyring.public_signing_keys()
    return PublishedKeys.model_validate(receipts.published([(key.id, key.public_key) for key in keys]))


async def _zone2_lacks(means: Means) -> int | None:
    """Bytes that the second zone lacks of the keyring's log; None where it is not connected, or far behind."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            lacks = await means.keyring.second_zone_lacks()
    except (LocalError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return None
    return None if lacks is None or lacks > _FAR_BEHIND_BYTES else max(0, lacks)


async def _spool(means: Means) -> SpoolState:
    backlog = await seen(means.spool, means.clock)
    if backlog is not None:
        means.metrics.note_spool(backlog.bytes, backlog.oldest_s)
    return judged(backlog)


async def _away(means: Means) -> list[str]:
    names = {"main": means.main, "keyring": means.keyring_db}
    answers = await asyncio.gather(*(_answers(database) for database in names.values()))
    for name, is_up in zip(names, answers, strict=True):
        means.metrics.note_database(name, is_up)
    return [name for name, is_up in zip(names, answers, strict=True) if not is_up]


async def _answers(database: Database) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S), database.transaction() as connection:
            return bool(await connection.fetchval("SELECT true"))
    except (LocalError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return False
