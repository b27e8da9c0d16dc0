"""Audits by the customer: asked for, begun with a key that ends by itself, closed with a bundle of evidence.

Before access is given the agreement's notice has to be over, unless law, a regulator or a suspected breach ask for it at once. A bundle is
made while it is sent and lies nowhere: what is kept of it is its manifest's digest.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit, inventory, receipts, signed
from hushwire.privacy.audit_rights import Basis, Refusal, TooSoon, access_until, refused
from hushwire.privacy.canonical import canonical
from hushwire.privacy.clocks import ClockKind
from hushwire.privacy.notices import NoticeKind
from hushwire.privacy.zipping import Zipper
from hushwire.services.annexes import Annexes, markdown
from hushwire.services.audit_exports import AuditExports, Beyond
from hushwire.services.clocks import Clocks
from hushwire.services.dpa import Dpa
from hushwire.services.notices import Notices
from hushwire.services.provisioning import hash_api_secret, new_api_secret
from hushwire.store import agreement
from hushwire.store import audit as chain
from hushwire.store import audits as table
from hushwire.store.audits import AuditRow, Place
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

MANIFEST: Final = "hushwire.evidence-bundle.v1"
DOMAIN: Final = b"hushwire/evidence-bundle/1\x00"
SUBJECT: Final = "audit"


@dataclass(frozen=True, slots=True)
class Details:
    """Who audits, and why: sealed."""

    auditor: str = field(repr=False)
    firm: str = field(repr=False)
    reason: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotYet:
    """The notice is not over: access from `begins_at` on."""

    begins_at: datetime


@dataclass(frozen=True, slots=True)
class Given:
    """The auditor's key: shown this once."""

    secret: str = field(repr=False)
    key_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Audits:
    """Audits of every organisation."""

    main: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    exports: AuditExports
    dpa: Dpa
    annexes: Annexes
    clocks: Clocks
    notices: Notices
    clock: Clock
    random: Random

    async def request(
        self, org_id: OrgId, basis: Basis, details: Details, *, is_independent: bool, actor: str
    ) -> AuditRow | Refusal | TooSoon:
        """Register one: its clock starts and the contacts are told. A request on the agreement's basis at most once in twelve months."""
        audit_id, now = self._new_id(), self.clock.now()
        async with self.main.organisation(org_id) as connection:
            why_not = refused(basis, is_independent, details.reason, await table.requested(connection, Basis.AGREEMENT.value), now)
        if why_not is not None:
            return why_not
        key = await self.keyring.new_data_key(org_id, "case", audit_id)
        words = json.dumps({"auditor": details.auditor, "firm": details.firm, "reason": details.reason}).encode()
        sealed = Columns(key.key).seal(words, table="audits", column="details_sealed", row=audit_id, org=org_id)
        async with self.main.organisation(org_id) as connection:
            await table.lock(connection, org_id)
            why_not = refused(basis, is_independent, details.reason, await table.requested(connection, Basis.AGREEMENT.value), now)
            if why_not is None:
                running = await self.clocks.start(connection, org_id, ClockKind.AUDIT_NOTICE, SUBJECT, audit_id, now)
                begins_at = running.due_at if basis.is_bound else now
                row = AuditRow(audit_id, org_id, basis.value, sealed, now, actor, now, actor, begins_at, None, None, None)
                await table.insert(connection, row)
                values = {"request": audit_id, "received_at": now, "due_at": begins_at}
                await self.notices.queue(connection, org_id, NoticeKind.AUDIT_REQUEST, SUBJECT, audit_id, values)  # type: ignore[arg-type]
                await audit.append(
                    connection, org_id, now, actor, audit.Action.AUDIT_REQUESTED, f"audit:{audit_id}", {"basis": basis.value}
                )
                return row
        await self.keyring.destroy_data_key(org_id, "case", audit_id)
        return why_not

    async def get(self, org_id: OrgId, audit_id: UUID) -> AuditRow | None:
        """One audit."""
        async with self.main.organisation(org_id) as connection:
            return await table.get(connection, audit_id)

    async def listed(self, org_id: OrgId, *, after: Place | None = None, limit: int = 50) -> list[AuditRow]:
        """Audits, newest first."""
        async with self.main.organisation(org_id) as connection:
            return await table.listed(connection, after=after, limit=limit)

    async def details(self, row: AuditRow, why: Why) -> Details | None:
        """Who audits and why; None where the key is destroyed."""
        try:
            key = await self.keyring.open_data_key(row.org_id, "case", row.id, why)
        except KeyUnavailable:
            return None
        opened = Columns(key.key).open(row.details_sealed, table="audits", column="details_sealed", row=row.id, org=row.org_id)
        return Details(**json.loads(opened))

    async def give_access(self, org_id: OrgId, audit_id: UUID, days: int, *, actor: str) -> Given | NotYet | None:
        """A key of the role auditor that ends by itself; the one given before ends now. The auditor signs the undertaking with it."""
        now = self.clock.now()
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, audit_id, for_update=True)
            if row is None:
                return None
            if now < row.begins_at:
                return NotYet(row.begins_at)
            secret, key_id, until = new_api_secret(self.random), self._new_id(), access_until(now, days)
            await table.give_key(connection, row, key_id, hash_api_secret(secret), now, until)
            evidence = {"key": str(key_id)}
            await self.clocks.end(connection, org_id, ClockKind.AUDIT_NOTICE, SUBJECT, audit_id, outcome="access-given", evidence=evidence)
            fields: audit.Fields = {"key": str(key_id), "expires_at": until.isoformat()}
            await audit.append(connection, org_id, now, actor, audit.Action.AUDIT_ACCESS_GIVEN, f"audit:{audit_id}", fields)
        return Given(secret, key_id, until)

    async def bundle(self, row: AuditRow, *, actor: str) -> AsyncGenerator[bytes, None]:
        """A ZIP archive of evidence, made while it is read; its last file is a signed manifest with the digest of each other one."""
        now = self.clock.now()
        zipper = Zipper(now)
        export = await self.exports.export(row.org_id, actor=actor)
        assert not isinstance(export, Beyond)
        yield zipper.begin("audit-log.jsonl")
        async for chunk in export.chunks:
            yield zipper.add(chunk)
        yield zipper.end()
        for name, content in await self._files(row.org_id):
            yield zipper.begin(name) + zipper.add(content) + zipper.end()
        manifest = await self._manifest(row, zipper, now)
        yield zipper.begin("manifest.json") + zipper.add(manifest) + zipper.end() + zipper.finish()
        digest = sha256(manifest).digest()
        async with self.main.organisation(row.org_id) as connection:
            await table.note_bundle(connection, row.id, now, digest)
            fields: audit.Fields = {"manifest": digest.hex()}
            await audit.append(connection, row.org_id, self.clock.now(), actor, audit.Action.AUDIT_BUNDLED, f"audit:{row.id}", fields)

    async def _manifest(self, row: AuditRow, zipper: Zipper, now: datetime) -> bytes:
        key_id, key = await self.keyring.signing_key()
        files = [{"name": entry.name, "sha256": entry.sha256, "size": entry.size} for entry in zipper.entries]
        fields = {"type": MANIFEST, "org_id": str(row.org_id), "audit_id": str(row.id), "at": signed.spelled_time(now), "files": files}
        return canonical(signed.sign(DOMAIN, fields, key_id, key))

    async def _files(self, org_id: OrgId) -> list[tuple[str, bytes]]:
        published = await self.keyring.public_signing_keys()
        annexes = await self.annexes.made(org_id)
        live = await self.dpa.clauses(org_id)
        async with self.main.organisation(org_id) as connection:
            heads = [head.statement() for head in await audit.signed_heads(connection)]
            proofs = await chain.receipts(connection)
            running = await self.clocks.listed(connection, limit=10_000)
            entries = await agreement.subprocessors(connection)
        holdings = [
            {"database": c.database, "table": c.table, "column": c.name, **{k: str(v) for k, v in _fields(c.holding).items()}}
            for c in inventory.columns()
        ]
        stated = [
            {
                "id": one.clause.id,
                "section": one.clause.section,
                "asks": one.clause.asks,
                "state": one.state.value,
                "controls": list(one.clause.controls),
                "tests": list(one.clause.tests),
                "evidence": [
                    {
                        "probe": s.probe.value,
                        "state": s.state.value,
                        "says": s.says,
                        "evidence": s.evidence,
                        "at": s.at.isoformat() if s.at else None,
                    }
                    for s in one.seen
                ],
            }
            for one in live
        ]
        clocks = [
            {
                "id": str(one.id),
                "kind": one.kind.value,
                "subject": f"{one.subject_kind}:{one.subject_id}",
                "started_at": one.started_at.isoformat(),
                "due_at": one.due_at.isoformat(),
                "ended_at": one.ended_at.isoformat() if one.ended_at else None,
                "outcome": one.outcome,
                "evidence": dict(one.evidence),
            }
            for one in running
        ]
        parties = [
            {
                "name": entry.name,
                "purpose": entry.purpose,
                "country": entry.country,
                "categories": list(entry.categories),
                "safeguard": entry.safeguard,
                "announced_at": entry.announced_at.isoformat(),
                "withdrawn_at": entry.withdrawn_at.isoformat() if entry.withdrawn_at else None,
            }
            for entry in entries
        ]
        return [
            ("keys.json", _json(receipts.published([(key.id, key.public_key) for key in published]))),
            ("heads.jsonl", b"".join(canonical(head) + b"\n" for head in heads)),
            ("receipts.jsonl", b"".join(canonical(receipt) + b"\n" for receipt in proofs)),
            ("inventory.json", _json(holdings)),
            ("agreement.json", _json(stated)),
            ("annexes.json", _json(annexes)),
            ("annexes.md", markdown(annexes).encode()),
            ("control-map.json", _json(annexes["annex_2"]["control_map"])),
            ("sub-processors.json", _json(parties)),
            ("clocks.json", _json(clocks)),
        ]

    def _new_id(self) -> UUID:
        return uuid7(int(self.clock.now().timestamp() * 1000), self.random.token_bytes(10))


def _fields(holding: inventory.Holding) -> dict[str, Any]:
    return {name: getattr(holding, name) for name in holding.__slots__}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
