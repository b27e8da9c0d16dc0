"""`hushwire rates import | show` and `hushwire fraud alarms | undo`: what calls cost, and what the fraud breaker found."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from hushwire.app.deployment import administration
from hushwire.app.provision_file import read_rates
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.core.ids import OrgId, TrunkId
from hushwire.policy.rating import Rate
from hushwire.services.devices import Devices
from hushwire.services.fraud_alarms import Alarm, FraudAlarms
from hushwire.services.rule_changes import OPERATOR
from hushwire.store import provisioning as rows
from hushwire.store import rates as rate_rows

rates = typer.Typer(help="Trunks' rate tables, for the fraud breaker's estimates.", no_args_is_help=True)
fraud = typer.Typer(help="Alarms of the fraud breaker.", no_args_is_help=True)
Trunk = Annotated[str, typer.Argument(metavar="TRUNK", help="The trunk's name.", show_default=False)]
Org = Annotated[str, typer.Argument(metavar="ORG", help="The organisation's slug.", show_default=False)]


@rates.command("import")
def import_(
    trunk: Trunk,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV: prefix,currency,per_minute[,connection,first_s,next_s].", show_default=False)
    ],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Put the rates of FILE in place of TRUNK's. Gateways use them within seconds; nothing is changed where a line is no rate."""
    settings = load(config, "rates")
    table = read_rates(file)

    async def run() -> bool:
        async with administration(settings) as means, means.main.transaction() as connection:
            trunk_id = await rate_rows.trunk_named(connection, trunk)
            if trunk_id is None:
                raise ConfigError(f'there is no trunk "{trunk}"')
            return await rate_rows.put(connection, trunk_id, table)

    is_changed = asyncio.run(run())
    if json:
        print_json({"trunk": trunk, "prefixes": len(table), "changed": is_changed})
    else:
        people.print(f"{trunk}: {len(table)} prefixes{'' if is_changed else ', as before'}", markup=False)


@rates.command()
def show(trunk: Trunk, config: ConfigFile = None, json: AsJson = False) -> None:
    """Show TRUNK's rates, by prefix."""
    settings = load(config, "rates")

    async def run() -> list[tuple[str, Rate]]:
        found: list[tuple[str, Rate]] = []
        async with administration(settings) as means, means.main.transaction() as connection:
            trunk_id = await rate_rows.trunk_named(connection, trunk)
            if trunk_id is None:
                raise ConfigError(f'there is no trunk "{trunk}"')
            while portion := await rate_rows.portion(connection, TrunkId(trunk_id), found[-1][0] if found else ""):
                found += portion
        return found

    found = asyncio.run(run())
    if json:
        print_json({"trunk": trunk, "rates": [{"prefix": prefix, **_described(rate)} for prefix, rate in found]})
        return
    table = Table("prefix", "currency", "a minute", "connection", "first", "then", box=None)
    for prefix, rate in found:
        said = _described(rate)
        table.add_row(prefix, rate.currency, str(said["per_minute"]), str(said["connection"]), f"{rate.first_s} s", f"{rate.next_s} s")
    people.print(table if found else "no rates: what calls cost is not estimated")


@fraud.command()
def alarms(org: Org, config: ConfigFile = None, json: AsJson = False) -> None:
    """Show ORG's alarms that stand, newest first."""
    settings = load(config, "fraud")

    async def run() -> list[Alarm]:
        async with administration(settings) as means:
            async with means.main.transaction() as connection:
                org_id = await rows.find_org(connection, org)
            if org_id is None:
                raise ConfigError(f'there is no organisation "{org}"')
            service = FraudAlarms(means.main, Devices(means.main, means.keyring, means.clock, means.random, ""), means.clock)
            return await service.listed(OrgId(org_id), standing=True, agent_id=None, before=None, limit=200)

    found = asyncio.run(run())
    if json:
        print_json({"org": org, "alarms": [_alarm(one) for one in found]})
        return
    table = Table("alarm", "since", "signal", "action", "seen", "locked", box=None)
    for one in found:
        row = one.row
        seen = f"{row.seen:g}" + ("" if row.most is None else f" of {row.most:g}")
        table.add_row(str(row.id), f"{row.first_at:%Y-%m-%d %H:%M} UTC", row.signal, row.action, seen, "yes" if one.is_locked else "")
    people.print(table if found else "no alarm stands")


@fraud.command()
def undo(
    org: Org,
    alarm: Annotated[str, typer.Argument(metavar="ALARM", help="As `alarms` writes it.", show_default=False)],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Undo ALARM: what is locked of its agent opens on every gateway, and its counters begin anew. Safe to repeat."""
    settings = load(config, "fraud")
    try:
        alarm_id = UUID(alarm)
    except ValueError:
        raise ConfigError(f"{alarm}: is no id of an alarm") from None

    async def run() -> bool:
        async with administration(settings) as means:
            async with means.main.transaction() as connection:
                org_id = await rows.find_org(connection, org)
            if org_id is None:
                raise ConfigError(f'there is no organisation "{org}"')
            service = FraudAlarms(means.main, Devices(means.main, means.keyring, means.clock, means.random, ""), means.clock)
            return await service.undo(OrgId(org_id), alarm_id, actor=OPERATOR) is not None

    if not asyncio.run(run()):
        raise ConfigError(f"{org} has no such alarm")
    if json:
        print_json({"undone": alarm})
    else:
        people.print("undone", markup=False)


def _described(rate: Rate) -> dict[str, Any]:
    return {
        "currency": rate.currency,
        "per_minute": rate.minute_micros / 1_000_000,
        "connection": rate.connection_micros / 1_000_000,
        "first_s": rate.first_s,
        "next_s": rate.next_s,
    }


def _alarm(alarm: Alarm) -> dict[str, Any]:
    row = alarm.row
    return {
        "id": str(row.id),
        "agent": str(row.agent_id),
        "signal": row.signal,
        "action": row.action,
        "seen": row.seen,
        "most": row.most,
        "since": row.first_at.isoformat(),
        "times": row.times,
        "locked": alarm.is_locked,
    }


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(rates, name="rates")
    application.add_typer(fraud, name="fraud")
