"""All commands: each module adds its own."""

import typer

from hushwire import __version__
from hushwire.cli import (
    backups,
    bans,
    breaches,
    custody,
    demonstration,
    diagnosis,
    do_not_call,
    fraud,
    keys,
    proofs,
    provisioning,
    retention,
    risk_packs,
    running,
    verification,
    voice_security,
)

application = typer.Typer(
    name="hushwire",
    help="A VoIP call-and-SMS processing core with privacy controls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hushwire {__version__}")
        raise typer.Exit


@application.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and exit."),
) -> None:
    pass


for module in (
    running,
    provisioning,
    backups,
    voice_security,
    proofs,
    verification,
    retention,
    risk_packs,
    keys,
    custody,
    diagnosis,
    demonstration,
    breaches,
    do_not_call,
    bans,
    fraud,
):
    module.register(application)
