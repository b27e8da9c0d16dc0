"""`hushwire do-not-call import ORG FILE`: a list of numbers that telemarketing must not reach."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from hushwire.app.deployment import administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.services.do_not_call import AT_ONCE, MOST, DoNotCall, NoNumbers, TooMany
from hushwire.services.rule_changes import OPERATOR
from hushwire.store import provisioning as rows

do_not_call = typer.Typer(help="Numbers that telemarketing must not reach.", no_args_is_help=True)
_NAMED = 10


@do_not_call.command("import")
def import_(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The organisation's slug.", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One number a line; # begins a comment.", show_default=False)],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Add the numbers of FILE to ORG's do-not-call set. Safe to repeat. A batch with a line that is no number is not taken."""
    settings = load(config, "do-not-call")
    lines = _read(file)

    async def run() -> tuple[int, int]:
        async with administration(settings) as means:
            async with means.main.transaction() as connection:
                org_id = await rows.find_org(connection, org)
            if org_id is None:
                raise ConfigError(f'there is no organisation "{org}"')
            service = DoNotCall(means.main, means.keyring, means.clock)
            changed, count = 0, (await service.size(org_id)).count
            for begin in range(0, len(lines), AT_ONCE):
                batch = lines[begin : begin + AT_ONCE]
                done = await service.add(org_id, [text for _, text in batch], actor=OPERATOR)
                if isinstance(done, NoNumbers):
                    wrong = ", ".join(str(batch[position][0]) for position in done.positions[:_NAMED])
                    raise ConfigError(f"{file}: no phone numbers on line {wrong}: {changed} of the lines before were added")
                if isinstance(done, TooMany):
                    raise ConfigError(f"{file}: the set would hold more than {MOST} numbers: {changed} were added")
                changed, count = changed + done.changed, done.count
            return changed, count

    changed, count = asyncio.run(run())
    if json:
        print_json({"org": org, "added": changed, "count": count})
    else:
        people.print(f"{org}: {changed} added, {count} listed", markup=False)


def _read(file: Path) -> list[tuple[int, str]]:
    """Lines that hold something, with their places from 1."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8") from None
    lines = ((place, line.partition("#")[0].strip()) for place, line in enumerate(text.splitlines(), 1))
    return [(place, line) for place, line in lines if line]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(do_not_call, name="do-not-call")
