"""Carriers of short messages as a provisioning file declares them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from hushwire.core.clock import Random
from hushwire.core.ids import uuid7
from hushwire.services.carrier_callbacks import place_of_secret
from hushwire.services.message_centres import place_of_password
from hushwire.services.webhook_signing import read_secret
from hushwire.store import carrier_callbacks
from hushwire.store.database import Connection
from hushwire.vault.keyring import DeploymentKeys


@dataclass(frozen=True, slots=True)
class CentreSpec:
    """One carrier as declared. `settings` as `message_centres.settings` holds them for its kind."""

    name: str
    kind: str
    priority: int
    weight: int
    prefixes: tuple[str, ...]
    settings: Mapping[str, Any]
    password: str | None = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    """What a carrier by https signs with, and we towards it (`whsec_...`)."""


async def apply_centres(
    connection: Connection, specs: Sequence[CentreSpec], keys: DeploymentKeys, now: datetime, random: Random, *, prune: bool
) -> tuple[list[str], list[str]]:
    """Make it so in the caller's transaction; returns what was changed, and what undeclared ones were kept."""
    known = {
        row["name"]: row
        for row in await connection.fetch(
            "SELECT id, name, kind, priority, weight, prefixes, settings, password_sealed FROM message_centres"
        )
    }
    changes, kept = [], []
    for spec in specs:
        old = known.pop(spec.name, None)
        row_id: UUID = uuid7(int(now.timestamp() * 1000), random.token_bytes(10)) if old is None else old["id"]
        sealed = None if old is None else old["password_sealed"]
        place = place_of_password(row_id)
        if (None if sealed is None else keys.operational.open(sealed, **place).decode()) != spec.password:
            sealed = None if spec.password is None else keys.operational.seal(spec.password.encode(), **place)
        new = (spec.kind, spec.priority, spec.weight, list(spec.prefixes), json.loads(json.dumps(spec.settings)), sealed)
        if old is not None and new == (
            *(old[name] for name in ("kind", "priority", "weight", "prefixes")), json.loads(old["settings"]), old["password_sealed"],
        ) and await _has_secret(connection, row_id, spec.secret, keys):  # fmt: skip
            continue
        await connection.execute(
            """INSERT INTO message_centres
                   (id, name, kind, priority, weight, prefixes, settings, password_sealed, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
               ON CONFLICT (id) DO UPDATE
               SET kind = EXCLUDED.kind, priority = EXCLUDED.priority, weight = EXCLUDED.weight, prefixes = EXCLUDED.prefixes,
                   settings = EXCLUDED.settings, password_sealed = EXCLUDED.password_sealed, updated_at = EXCLUDED.updated_at""",
            row_id,
            spec.name,
            spec.kind,
            spec.priority,
            spec.weight,
            list(spec.prefixes),
            json.dumps(spec.settings),
            sealed,
            now,
        )
        secret = None if spec.secret is None else read_secret(spec.secret)
        if secret is None:
            await connection.execute("DELETE FROM carrier_secrets WHERE centre_id = $1", row_id)
        else:
            await connection.execute(
                "INSERT INTO carrier_secrets (centre_id, secret_sealed) VALUES ($1, $2)"
                " ON CONFLICT (centre_id) DO UPDATE SET secret_sealed = excluded.secret_sealed",
                row_id,
                keys.operational.seal(secret, **place_of_secret(row_id)),
            )
        changes.append(f"message centre {spec.name}: {'changed' if old else 'made'}")
    for name, row in known.items():
        if prune and await _remove(connection, row["id"]):
            changes.append(f"message centre {name}: removed")
        else:
            kept.append(f"message centre {name}" + (" (messages name it)" if prune else ""))
    return changes, kept


async def _has_secret(connection: Connection, row_id: UUID, wanted: str | None, keys: DeploymentKeys) -> bool:
    sealed = await carrier_callbacks.secret(connection, row_id)
    known = None if sealed is None else keys.operational.open(sealed, **place_of_secret(row_id))
    return known == (None if wanted is None else read_secret(wanted))


async def _remove(connection: Connection, centre_id: UUID) -> bool:
    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM message_centres WHERE id = $1", centre_id)
    except asyncpg.ForeignKeyViolationError:
        return False
    return True
