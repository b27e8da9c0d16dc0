"""Annexes I to III of the standard contractual clauses, made from what is configured and held now; the map of controls is in Annex II."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import inventory
from hushwire.privacy.clauses import Probe
from hushwire.privacy.control_map import CONTROLS
from hushwire.privacy.inventory import Form
from hushwire.services.dpa import Dpa, Seen
from hushwire.store import agreement, evidence
from hushwire.store.database import Database

Annex = dict[str, Any]


class Annexes:
    """One organisation's annexes at a time."""

    def __init__(self, main: Database, dpa: Dpa, clock: Clock) -> None:
        self._main = main
        self._dpa = dpa
        self._clock = clock

    async def made(self, org_id: OrgId) -> Annex:
        """All three, as of now."""
        seen = await self._dpa.probed(org_id)
        async with self._main.organisation(org_id) as connection:
            settings = await evidence.settings(connection)
            custody = await evidence.counts_of_sealing(connection)
            entries = [entry for entry in await agreement.subprocessors(connection) if entry.withdrawn_at is None]
        live = await self._dpa.clauses(org_id)
        states = {one.clause.id: one.state.value for one in live}
        personal = [column for column in inventory.columns() if column.holding.is_personal]
        return {
            "as_of": _spelled(self._clock.now()),
            "annex_1": {
                "exporter": {"name": settings["name"], "country": settings["home_country"], "role": "controller"},
                "importer": {"name": "the operator of this hushwire deployment", "role": "processor"},
                "data_subjects": sorted({column.holding.subject.value for column in personal}),
                "categories": sorted({column.holding.data_class.value for column in personal}),
                "purposes": sorted({column.holding.purpose.value for column in personal}),
                "retention": {
                    "by_class": _retention(),
                    "rules_of_the_customer": [
                        f"{rule['class']}: {rule['keep_days']} days{' (one agent)' if rule['of_one_agent'] else ''}"
                        for rule in settings["retention_rules"]  # type: ignore[attr-defined]
                    ],
                },
                "region": settings["residency"],
            },
            "annex_2": {"measures": self._measures(settings, custody, seen), "control_map": [_mapped(one, states) for one in CONTROLS]},
            "annex_3": {
                "sub_processors": [
                    {
                        "name": entry.name,
                        "purpose": entry.purpose,
                        "country": entry.country,
                        "categories": list(entry.categories),
                        "safeguard": entry.safeguard,
                        "announced_at": _spelled(entry.announced_at),
                    }
                    for entry in entries
                ]
            },
        }

    def _measures(self, settings: Mapping[str, Any], custody: Mapping[str, int], seen: Mapping[Probe, Seen]) -> list[dict[str, str]]:
        posture = self._dpa.posture
        sealed = sum(column.holding.form is Form.SEALED for column in inventory.columns() if column.holding.is_personal)
        clear = "allowed to send SDES keys in clear" if settings["allow_sdes_in_clear"] else "keys over TLS or DTLS only"
        opened = ", ".join(f"{mode}: {count}" for mode, count in custody.items()) or "none yet"
        return [
            *({"measure": f"transport: {name}", "state": words} for name, words in sorted(posture.transports.items())),
            {"measure": "calls: SRTP of agents' legs", "state": f"{settings['agent_srtp']}; {clear}; {seen[Probe.LEGS].says}"},
            {
                "measure": "encryption at rest",
                "state": f"AES-256-GCM; {sealed} personal columns are sealed; recordings sealed while recorded",
            },
            {"measure": "keys", "state": f"in a database of their own; root key from: {posture.key_provider}"},
            {"measure": "who can open recordings", "state": opened},
            {"measure": "second zone", "state": "keyring copied, backups kept there" if posture.has_second_zone else "not configured"},
            {"measure": "backups", "state": seen[Probe.BACKUP].says},
            {"measure": "erasure", "state": f"{seen[Probe.ERASURE].says}; {seen[Probe.RENEWAL].says}"},
            {"measure": "access", "state": f"by role, purpose and undertaking; {seen[Probe.ACCESS].says}; {seen[Probe.UNDERTAKINGS].says}"},
            {"measure": "audit log", "state": f"hash-chained, heads signed each hour; {seen[Probe.AUDIT_CHAIN].says}"},
            {"measure": "tenants", "state": "kept apart by the database: row-level security forced on every table"},
            {"measure": "destinations of calls", "state": f"default deny; {seen[Probe.COUNTRIES].says}"},
            {"measure": "notices", "state": f"{'by e-mail' if posture.has_mail else 'kept in the API only'}; {seen[Probe.NOTICES].says}"},
        ]


def markdown(annexes: Annex) -> str:
    """The annexes as a text for people."""
    one, two, three = annexes["annex_1"], annexes["annex_2"], annexes["annex_3"]
    lines = [
        f"As of {annexes['as_of']}",
        "",
        "# Annex I: the processing",
        "",
        f"- Data exporter (controller): {one['exporter']['name']}, {one['exporter']['country']}",
        f"- Data importer (processor): {one['importer']['name']}",
        f"- Data subjects: {', '.join(one['data_subjects'])}",
        f"- Categories of data: {', '.join(one['categories'])}",
        f"- Purposes: {', '.join(one['purposes'])}",
        f"- Region: {one['region']}",
        "- Retention:",
        *(f"  - {name}: {'; '.join(kept)}" for name, kept in one["retention"]["by_class"].items()),
        *(f"  - rule of the customer: {rule}" for rule in one["retention"]["rules_of_the_customer"]),
        "",
        "# Annex II: security measures in force",
        "",
        *(f"- {item['measure']}: {item['state']}" for item in two["measures"]),
        "",
        "| ISO/IEC 27001:2022 | NIST CSF 2.0 | control | clauses and their state |",
        "|---|---|---|---|",
        *(
            f"| {item['iso']} | {', '.join(item['nist'])} | {item['title']} | {', '.join(map(': '.join, item['clauses'].items()))} |"
            for item in two["control_map"]
        ),
        "",
        "# Annex III: sub-processors",
        "",
        *(f"- {item['name']} ({item['country']}): {item['purpose']}; {', '.join(item['categories'])}" for item in three["sub_processors"]),
    ]
    return "\n".join(lines if three["sub_processors"] else [*lines, "- none"]) + "\n"


def _retention() -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for column in inventory.columns():
        if column.holding.is_personal:
            found.setdefault(column.holding.data_class.value, set()).add(column.holding.retention.value)
    return {name: sorted(kept) for name, kept in sorted(found.items())}


def _mapped(one: Any, states: Mapping[str, str]) -> dict[str, Any]:
    return {"iso": one.iso, "title": one.title, "nist": list(one.nist), "clauses": {clause: states[clause] for clause in one.clauses}}


def _spelled(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
