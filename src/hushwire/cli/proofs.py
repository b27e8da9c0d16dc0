"""`hushwire verify-receipt` (offline, needs nothing but two files) and `hushwire audit verify`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from hushwire.app.deployment import administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.privacy import audit as chain
from hushwire.privacy import receipts

audit = typer.Typer(help="The hash-chained audit log.", no_args_is_help=True)


def verify_receipt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt, as the API returned it.", show_default=False)],
    keys: Annotated[
        Path, typer.Option("--keys", metavar="FILE", help="The published keys: /.well-known/hushwire-keys.json.", show_default=False)
    ],
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Check a receipt of erasure against published keys. Works offline, on any machine."""
    del config  # every command takes it; this one needs no deployment
    result = receipts.verify_file(file, keys)
    if json:
        found = result.erasure
        print_json(
            {
                "valid": result.is_valid,
                "reason": result.reason.value if result.reason else None,
                "explanation": result.explanation,
                "recording_id": str(found.recording_id) if found else None,
                "unreadable_at": found.unreadable_at.isoformat() if found else None,
                "copies_unusable_by": found.copies_unusable_by.isoformat() if found else None,
            }
        )
    elif result.is_valid:
        people.print(f"[bold green]valid[/]: {result.explanation}")
    else:
        people.print(f"[bold red]rejected[/] ({result.reason}): {result.explanation}")
    if not result.is_valid:
        raise typer.Exit(1)


@audit.command("verify")
def verify(config: ConfigFile = None, json: AsJson = False) -> None:
    """Recompute the chain of every organisation and compare it with the heads that receipts name."""
    settings = load(config, "audit")

    async def run() -> list[chain.ChainResult]:
        async with administration(settings) as means:
            return await chain.verify_all(means.main)

    results = asyncio.run(run())
    is_whole = all(result.is_whole for result in results)
    if json:
        listed = [
            {"org_id": str(r.org_id), "rows": r.rows, "whole": r.is_whole, "broken_at": r.broken_at, "explanation": r.explanation}
            for r in results
        ]
        print_json({"whole": is_whole, "organisations": listed})
    for result in [] if json else results:
        mark = "[green]whole[/]" if result.is_whole else f"[bold red]broken at {result.broken_at}[/]"
        people.print(f"{result.org_id}  {result.rows} rows  {mark}: {result.explanation}")
    if not is_whole:
        raise typer.Exit(1)


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command("verify-receipt")(verify_receipt)
    application.add_typer(audit, name="audit")
