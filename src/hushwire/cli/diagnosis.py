"""`hushwire doctor`: what is right, what is not, and what to do about it."""

import typer

from hushwire.app import doctor as looks
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json


def doctor(config: ConfigFile = None, json: AsJson = False) -> None:
    """Look at everything that hushwire stands on. Exit status 1 if something is not right."""
    findings = looks.examine(load(config, "doctor"))
    is_right = all(finding.is_right for finding in findings)
    if json:
        listed = [{"name": finding.name, "ok": finding.is_right, "detail": finding.words} for finding in findings]
        print_json({"ok": is_right, "findings": listed})
    for finding in [] if json else findings:
        people.print("[green]ok[/]  " if finding.is_right else "[bold red]no[/]  ", end="")
        people.print(f"{finding.name:20} {finding.words}", markup=False)
    if not is_right:
        raise typer.Exit(1)


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(doctor)
