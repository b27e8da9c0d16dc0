"""`hushwire bans list | add | remove | export`: sources of SIP that get no answer, for all gateways."""

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from hushwire.app.config import Config
from hushwire.app.deployment import Administration, administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.services.bans import Ban, Bans, Why
from hushwire.sip.uri import parse_sip_uri
from hushwire.store import directory
from hushwire.store.directory import TrunkRow
from hushwire.transport.nftables import SET, TABLE, ruleset
from hushwire.transport.sources import AddressSet, parse_source

bans = typer.Typer(help="Sources that get no answer to SIP.", no_args_is_help=True)

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}
_LONGEST: Final = timedelta(days=366)
Sources = Annotated[list[str], typer.Argument(metavar="SOURCES...", help="IP addresses or networks.", show_default=False)]


@bans.command("list")
def list_(config: ConfigFile = None, json: AsJson = False) -> None:
    """Show what is banned now, why and until when."""
    settings = load(config, "bans")
    found = asyncio.run(_standing(settings))
    if json:
        print_json({"bans": [_described(ban) for ban in found]})
        return
    table = Table("source", "why", "since", "until", box=None)
    for ban in found:
        table.add_row(ban.source.reveal(), ban.why.value, _minute(ban.created_at), _minute(ban.expires_at))
    people.print(table if found else "nothing is banned")


@bans.command()
def add(
    sources: Sources,
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="30m, 12h or 7d; at most 366d.")] = "24h",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Ban SOURCES. Every gateway obeys within seconds, and ends their connections. Addresses of trunks can't be banned."""
    settings = load(config, "bans")
    wanted, how_long = _parsed(sources), _time(lasts)

    async def run() -> None:
        async with administration(settings) as means:
            async with means.main.transaction() as connection:
                trunks = await directory.trunks(connection)
            for source in wanted:
                carrier = next((trunk.name for trunk in trunks if AddressSet(_addresses(trunk)).overlaps(source)), None)
                if carrier is not None:
                    raise ConfigError(f'{source} holds an address of the trunk "{carrier}", and calls would end: nothing was banned')
            service = _service(means)
            for source in wanted:
                await service.put(source, Why.OPERATOR, how_long)

    asyncio.run(run())
    if json:
        print_json({"added": wanted, "for_s": int(how_long.total_seconds())})
    else:
        people.print(f"banned: {', '.join(wanted)}", markup=False)


@bans.command()
def remove(sources: Sources, config: ConfigFile = None, json: AsJson = False) -> None:
    """End the bans of SOURCES, as `list` writes them. Exit status 1 where none of them was banned."""
    settings = load(config, "bans")
    wanted = _parsed(sources)

    async def run() -> int:
        async with administration(settings) as means:
            return await _service(means).remove(wanted)

    count = asyncio.run(run())
    if json:
        print_json({"removed": count})
    else:
        people.print(f"{count} removed", markup=False)
    if not count:
        raise typer.Exit(1)


@bans.command()
def export(config: ConfigFile = None, json: AsJson = False) -> None:
    """Print the bans as nftables sets that drop these sources before they reach us: hushwire bans export | nft -f -"""
    settings = load(config, "bans")
    found = asyncio.run(_standing(settings))
    now = datetime.now(tz=found[0].expires_at.tzinfo) if found else None
    ends = {ban.source.reveal(): ban.expires_at - now for ban in found if now is not None}
    rules = ruleset({source: int(left.total_seconds()) for source, left in ends.items()})
    if json:
        print_json({"table": TABLE, "set": SET, "ruleset": rules})
    else:
        typer.echo(rules, nl=False)


def _addresses(trunk: TrunkRow) -> list[str]:
    """As declared, and where calls are sent."""
    return [*trunk.addresses, parse_sip_uri(trunk.uri).host.strip("[]")]


async def _standing(settings: Config) -> list[Ban]:
    async with administration(settings) as means:
        return await _service(means).standing()


def _service(means: Administration) -> Bans:
    return Bans(means.main, means.keyring, means.clock, means.random)


def _parsed(sources: Sequence[str]) -> list[str]:
    found = [(source, parse_source(source)) for source in sources]
    wrong = [source for source, parsed in found if parsed is None]
    if wrong:
        raise ConfigError(f"no IP address or network: {', '.join(wrong)}")
    return [parsed for _, parsed in found if parsed is not None]


def _time(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text, re.ASCII)
    lasts = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else timedelta()
    if not timedelta() < lasts <= _LONGEST:
        raise ConfigError(f'--for: write "{text}" as 30m, 12h or 7d, at most 366d')
    return lasts


def _described(ban: Ban) -> dict[str, Any]:
    return {
        "source": ban.source.reveal(),
        "why": ban.why.value,
        "since": ban.created_at.isoformat(),
        "until": ban.expires_at.isoformat(),
    }


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(bans, name="bans")
