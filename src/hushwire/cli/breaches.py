"""`hushwire breach register`: the operator's. Every organisation that a credential read something of gets its case and its notice."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from hushwire.app.cases import made_breaches
from hushwire.app.deployment import Administration, administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError, RefusedError
from hushwire.privacy import breach as rules
from hushwire.services.breaches import Spread, counts_of
from hushwire.store import listing, provisioning

breach = typer.Typer(help="Breaches of personal data.", no_args_is_help=True)
_MOST_NOTE: int = 20_000


@breach.command("register")
def register_breach(
    credential: Annotated[
        str, typer.Option("--credential", metavar="CREDENTIAL", help="api-key:ID, or agent:USER@ORG", show_default=False)
    ],
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="When it began, RFC 3339 (2026-03-01T12:00:00Z).", show_default=False)
    ],
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="When it was over; without it: now.", show_default=False)
    ] = None,
    note_file: Annotated[
        Path | None, typer.Option("--note-file", metavar="FILE", help="What is known, for the cases; kept sealed.")
    ] = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Register a breach: stamps T0, finds what was read with CREDENTIAL, opens a case in each organisation concerned, sends the notices.

    Revoke the credential first. Registering the same again goes on with the same cases.
    """
    begin, end, note = _time("--from", since), None if until is None else _time("--to", until), _note(note_file)
    settings = load(config, "breach")

    async def run() -> Spread:
        async with administration(settings) as means:
            now = means.clock.now()
            try:
                window = rules.window(await _actor(means, credential), begin, end or now, now)
            except RefusedError as error:
                raise ConfigError(f"breach register: {error}") from None
            return await made_breaches(means.main, means.keyring, means.clock, means.random).register_everywhere(window, note=note)

    spread = asyncio.run(run())
    if json:
        print_json(_shown(spread))
        return
    people.print(f"Incident {spread.incident.id}, registered {spread.incident.registered_at:%Y-%m-%d %H:%M:%S} UTC")
    for row in spread.cases:
        counts = counts_of(row)
        found = f"{counts.total} records, {counts.persons} persons, {counts.agents} agents" if counts else "not computed yet"
        people.print(f"  organisation {row.org_id}: case {row.id}, {row.state}: {found}", markup=False)
    if not spread.cases:
        people.print("  Nothing was read with this credential in that time: no organisation is concerned.")


async def _actor(means: Administration, credential: str) -> str:
    kind, _, name = credential.partition(":")
    if kind != "agent" or "@" not in name:
        return credential
    username, _, slug = name.rpartition("@")
    async with means.main.transaction() as connection:
        org_id = await provisioning.find_org(connection, slug)
    if org_id is None:
        raise ConfigError("--credential: there is no such organisation")
    keys = await means.keyring.org_context(org_id)
    async with means.main.organisation(org_id) as connection:
        agent: UUID | None = await listing.agent_named(connection, keys.index("agents.username", username))
    if agent is None:
        raise ConfigError("--credential: the organisation has no such agent")
    return rules.agent_actor(agent)


def _time(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError("no time zone")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option}: is no time with its offset, such as 2026-03-01T12:00:00Z") from None


def _note(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        found = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"--note-file: {path}: can't be read as text") from None
    if not found.strip() or len(found) > _MOST_NOTE:
        raise ConfigError(f"--note-file: {path}: must hold text of at most {_MOST_NOTE} characters")
    return found


def _shown(spread: Spread) -> dict[str, object]:
    cases = []
    for row in spread.cases:
        counts = counts_of(row)
        cases.append(
            {
                "breach_id": str(row.id),
                "org_id": str(row.org_id),
                "state": row.state,
                "notice_id": str(row.notice_id) if row.notice_id else None,
                "counts": None
                if counts is None
                else {
                    "accesses": counts.accesses,
                    "persons": counts.persons,
                    "agents": counts.agents,
                    "unknown": counts.unknown,
                    "records": dict(counts.records),
                },
            }
        )
    return {"incident_id": str(spread.incident.id), "registered_at": spread.incident.registered_at.isoformat(), "cases": cases}


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(breach, name="breach")
