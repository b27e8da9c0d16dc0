"""The agreement, clause by clause: what each asks of software, which part of hushwire does it, which tests show it, and how its live state
is read. `GET /v1/privacy/dpa` and docs/dpa-coverage.md are both made from it; a test looks every name up.

    python -m hushwire.privacy.clause_table > docs/dpa-coverage.md
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """How much of a clause is built."""

    DONE = "done"
    PARTLY = "partly"  # `why` says what is missing
    LATER = "later"  # `why` says what it waits for


class Probe(StrEnum):
    """What is looked at to say how a control stands now (services/dpa.py)."""

    ACCESS = "access"  # the access log: last reading, refusals
    AUDIT_CHAIN = "audit-chain"  # the newest signed head
    AUDITS = "audits"
    BACKUP = "backup"
    BREACHES = "breaches"
    CLOCKS = "clocks"  # duties overdue
    CONTACTS = "contacts"  # somebody to send notices to
    COUNTRIES = "countries"  # the allowlist
    CUSTODY = "custody"  # who holds keys
    ERASURE = "erasure"  # open and finished entries of the ledger
    HOLDS = "holds"
    INVENTORY = "inventory"
    LEGS = "legs"  # how calls of the last day were protected
    NOTICES = "notices"
    PURPOSES = "purposes"
    RECORDINGS = "recordings"
    RENEWAL = "renewal"  # buckets whose private key was destroyed
    REQUESTS = "requests"
    RETENTION = "retention"
    RESIDENCY = "residency"
    SUB_PROCESSORS = "sub-processors"
    SWEEP = "sweep"
    SUSPENDED = "suspended"
    UNDERTAKINGS = "undertakings"


@dataclass(frozen=True, slots=True)
class Clause:
    """One row of the agreement. `controls`: `module:Symbol` below `hushwire`; `tests`: `file::name` below `tests`."""

    id: str
    section: str
    asks: str
    controls: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    scope: Scope = Scope.DONE
    why: str = ""


def clauses() -> tuple[Clause, ...]:
    """Every row, in the agreement's order."""
    from hushwire.privacy.clause_table import CLAUSES

    return CLAUSES


def markdown(rows: Iterable[Clause]) -> str:
    """docs/dpa-coverage.md."""
    found = list(rows)
    counts = {scope: sum(row.scope is scope for row in found) for scope in Scope}
    lines = [
        "# What the agreement asks, and what shows that it is done",
        "",
        "Made by `python -m hushwire.privacy.clause_table`; a test compares, and looks up every module, symbol and test",
        "that is named. `GET /v1/privacy/dpa` shows the same rows with their live state and last evidence.",
        "",
        f"{len(found)} rows: {counts[Scope.DONE]} done, {counts[Scope.PARTLY]} partly, {counts[Scope.LATER]} later.",
        "",
        "| clause | asks | control | shown by | state |",
        "|---|---|---|---|---|",
    ]
    for row in found:
        controls = "<br>".join(f"`{name}`" for name in row.controls) or "-"
        tests = "<br>".join(f"`{name}`" for name in row.tests) or "-"
        state = row.scope.value + (f": {row.why}" if row.why else "")
        lines.append(f"| {row.section} | {row.asks} | {controls} | {tests} | {state} |")
    return "\n".join(lines) + "\n"
