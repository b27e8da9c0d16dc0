"""`hushwire retention preview ORG`: what the rules would erase now."""

import asyncio
from typing import Annotated

import typer

from hushwire.app.deployment import administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.services.retention import Report, RetentionRules
from hushwire.store import provisioning as rows

retention = typer.Typer(help="For how long what is kept.", no_args_is_help=True)


@retention.command("preview")
def preview(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The organisation's slug.", show_default=False)],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Say what ORG's retention rules would erase now. Changes nothing."""
    settings = load(config, "retention")

    async def run() -> Report:
        async with administration(settings) as means:
            async with means.main.transaction() as connection:
                org_id = await rows.find_org(connection, org)
            if org_id is None:
                raise ConfigError(f'there is no organisation "{org}"')
            return await RetentionRules(means.main, means.clock, means.random).preview(org_id)

    report = asyncio.run(run())
    if json:
        classes = {
            kind: {"total": found.total, "due": found.due, "held": found.held, "batches": found.batches, "is_large": found.is_large}
            for kind, found in report.classes.items()
        }
        print_json({"org": org, "at": report.at.isoformat(), "doubt": report.doubt, "classes": classes})
        return
    for kind, found in report.classes.items():
        people.print(f"{kind}: {found.due} of {found.total} due in {found.batches} batches, {found.held} held", markup=False)
    if report.doubt is not None or any(found.is_large for found in report.classes.values()):
        people.print("[yellow]a run would wait for a second word[/]: POST /v1/privacy/retention/confirm")


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(retention, name="retention")
