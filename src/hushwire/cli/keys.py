"""`hushwire keys ...`: what is done with keys by hand, and rarely."""

import asyncio
from typing import Annotated

import typer

from hushwire.app import failover
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json

keys = typer.Typer(help="The keyring and its second zone.", no_args_is_help=True)


@keys.command()
def promote(
    config: ConfigFile = None,
    accept_stale: Annotated[
        bool, typer.Option("--accept-stale", help="Go on though the copy may lack what was written last: there is no better one.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Go on from the second zone's copy after the keyring's folder was lost."""
    done = asyncio.run(failover.promote(load(config, "promote"), is_stale_accepted=accept_stale))
    if json:
        print_json({"promoted": True, "secrets": done.secrets})
        return
    people.print(f"The copy is the keyring now; {done.secrets} bucket secret(s) came back with it. Start hushwire up.")


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(keys, name="keys")
