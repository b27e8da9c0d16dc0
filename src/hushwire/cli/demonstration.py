"""`hushwire demo`: the main job shown and proven, in a temporary folder of its own."""

from typing import Annotated

import typer

from hushwire.cli.options import AsJson, ConfigFile


def demo(
    config: ConfigFile = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, with an API key and credentials for your own phone.")] = False,
    json: AsJson = False,
) -> None:
    """Show the main job: an encrypted call reaches the network, is checked, recorded, played back and deleted."""
    del config  # every command takes it; the demo runs on a configuration of its own
    from hushwire.app.demo.run import main

    raise typer.Exit(main(json=json, keep=keep))


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(demo)
