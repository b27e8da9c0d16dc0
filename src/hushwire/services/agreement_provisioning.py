"""What the operator publishes by provisioning: the list of sub-processors, and policies. Both are versioned and never quietly changed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId
from hushwire.privacy.canonical import canonical
from hushwire.store import agreement as rows
from hushwire.store import provisioning
from hushwire.store.agreement import PolicyRow, SubprocessorRow
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class SubprocessorSpec:
    """One sub-processor as declared."""

    name: str
    purpose: str
    country: str
    categories: tuple[str, ...]
    safeguard: str | None


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One version of a text as declared."""

    kind: str
    version: str
    text: str
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Publishing:
    """One `apply`, inside its transaction, before any organisation is entered. The worker tells the customers."""

    connection: Connection
    now: datetime
    new_id: Callable[[datetime], UUID]

    async def subprocessors(self, specs: tuple[SubprocessorSpec, ...], *, prune: bool) -> list[str]:
        """Announce what is new; withdraw what is not declared any more (with `prune`). Returns what changed.

        Raises ConfigError where an entry was changed in place: customers agreed to what it said.
        """
        known = rows.names(await rows.subprocessors(self.connection))
        changes = []
        for spec in specs:
            old = known.pop(spec.name, None)
            if old is None:
                facts = (spec.name, spec.purpose, spec.country, spec.categories, spec.safeguard)
                await rows.put_subprocessor(self.connection, SubprocessorRow(self.new_id(self.now), *facts, self.now, None))
                changes.append(f"sub-processor {spec.name}: announced")
            elif old.withdrawn_at is not None or spec != SubprocessorSpec(
                old.name, old.purpose, old.country, old.categories, old.safeguard
            ):
                raise ConfigError(
                    f'subprocessors "{spec.name}": differs from what customers were told of it. A change has to be announced: declare it '
                    "under a new name, and remove the old entry (apply --prune) when it is not used any more"
                )
        for name, row in known.items() if specs and prune else ():
            if row.withdrawn_at is None:
                await self._withdraw(row)
                changes.append(f"sub-processor {name}: withdrawn")
        if changes:
            await self._publish()
        return changes

    async def policies(self, specs: tuple[PolicySpec, ...]) -> list[str]:
        """Publish what is new. Raises ConfigError where a version's text was changed after it was published."""
        known = {(row.kind, row.version): row for row in await rows.policies(self.connection)}
        changes = []
        for spec in specs:
            digest = hashlib.sha256(spec.text.encode()).digest()
            old = known.get((spec.kind, spec.version))
            if old is None:
                row = PolicyRow(
                    self.new_id(self.now), spec.kind, spec.version, spec.text, digest, self.now, spec.effective_at, None, None, None
                )
                await rows.publish_policy(self.connection, row)
                changes.append(f"policy {spec.kind} {spec.version}: published")
            elif old.digest != digest or old.effective_at != spec.effective_at:
                raise ConfigError(f'policies "{spec.kind}" {spec.version}: was published with another text or day: give it a new version')
        return changes

    async def _withdraw(self, row: SubprocessorRow) -> None:
        ended = SubprocessorRow(row.id, row.name, row.purpose, row.country, row.categories, row.safeguard, row.announced_at, self.now)
        await rows.put_subprocessor(self.connection, ended)
        for org_id in [found[0] for found in await self.connection.fetch("SELECT org_ids()")]:
            await provisioning.enter(self.connection, OrgId(org_id))
            await rows.forget_standings(self.connection, row.id)

    async def _publish(self) -> None:
        """The next version of the public list."""
        listed = [
            {
                "name": row.name,
                "purpose": row.purpose,
                "country": row.country,
                "categories": list(row.categories),
                "safeguard": row.safeguard,
            }
            for row in await rows.subprocessors(self.connection)
            if row.withdrawn_at is None
        ]
        newest = await rows.newest_list(self.connection)
        text = canonical(listed)
        await rows.publish_list(self.connection, 1 if newest is None else newest[0] + 1, self.now, text, hashlib.sha256(text).digest())


async def accept_list(connection: Connection, org_id: OrgId, now: datetime) -> None:
    """A new organisation's agreement takes the list as it stands: nothing of it has to be announced first."""
    for row in await rows.subprocessors(connection):
        if row.withdrawn_at is None:
            await rows.add_standing(connection, org_id, row.id, now, now)
