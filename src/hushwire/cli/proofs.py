"""`hushwire verify-receipt` (offline, needs nothing but two files) and `hushwire audit verify`."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from hushwire.app.config import Config
from hushwire.app.deployment import administration
from hushwire.cli.options import AsJson, ConfigFile, load, people, print_json
from hushwire.core.errors import ConfigError, MalformedError
from hushwire.privacy import audit as chain
from hushwire.privacy import receipts
from hushwire.privacy.audit_export import bounded, check, kept_heads
from hushwire.privacy.canonical import canonical
from hushwire.privacy.signed import key_set

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
        found, many, item = result.erasure, result.operation, result.item
        said = found or many
        print_json(
            {
                "valid": result.is_valid,
                "reason": result.reason.value if result.reason else None,
                "explanation": result.explanation,
                "version": 1 if found else 2 if many else None,
                "recording_id": str(found.recording_id) if found else None,
                "unreadable_at": said.unreadable_at.isoformat() if said else None,
                "copies_unusable_by": said.copies_unusable_by.isoformat() if said else None,
                "scope": many.scope if many else None,
                "counts": dict(many.counts) if many else None,
                "deferred": many.deferred if many else None,
                "item": {"kind": item.item.kind, "id": str(item.item.object_id)} if item else None,
            }
        )
    elif result.is_valid:
        people.print(f"[bold green]valid[/]: {result.explanation}")
    else:
        people.print(f"[bold red]rejected[/] ({result.reason}): {result.explanation}")
    if not result.is_valid:
        raise typer.Exit(1)


@audit.command("verify")
def verify(
    config: ConfigFile = None,
    json: AsJson = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Verify an export of GET /v1/audit/export, offline.", show_default=False)
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="Published keys kept earlier, instead of the keyring's own.", show_default=False),
    ] = None,
    head: Annotated[
        list[Path] | None,
        typer.Option("--head", metavar="FILE", help="A signed head, receipt or export that was kept: the log must agree with it."),
    ] = None,
) -> None:
    """Recompute the chain of every organisation; compare it with signed heads, receipts and what was kept outside.

    A row that was removed, altered, moved or put in is named with its position, and so is a chain that was cut or written anew.
    """
    if export is not None:
        if keys is None:
            raise ConfigError("audit verify --export: give the published keys too (--keys FILE): a file can't vouch for itself")
        results = [_verified_export(export, keys, head or [])]
    else:
        settings = load(config, "audit")
        results = asyncio.run(_verified_database(settings, keys, head or []))
    is_whole = all(result.is_whole for result in results)
    if json:
        print_json({"whole": is_whole, "organisations": [_shown(result) for result in results]})
    for result in [] if json else results:
        mark = "[green]whole[/]" if result.is_whole else f"[bold red]{result.kind} at {result.broken_at}[/]"
        people.print(f"{result.org_id}  {result.rows} rows, {result.heads} signed heads  {mark}: {result.explanation}")
        for note in result.notes:
            people.print(f"  [yellow]note[/]: {note}")
    if not is_whole:
        raise typer.Exit(1)


async def _verified_database(settings: Config, keys: Path | None, heads: list[Path]) -> list[chain.ChainResult]:
    async with administration(settings) as means:
        if keys is not None:
            known = _read(keys)
        else:
            own = await means.keyring.public_signing_keys()
            known = canonical(receipts.published([(key.id, key.public_key) for key in own]))
        results = await chain.verify_all(means.main, keys=known, kept=[one for path in heads for one in kept_heads(path, known)])
        return [_aged(result, means.clock.now()) for result in results]


def _aged(result: chain.ChainResult, now: datetime) -> chain.ChainResult:
    """Says so where nobody signed for hours: no worker ran, or the newest heads were taken away."""
    if result.signed_at is None or now - result.signed_at < timedelta(hours=2):
        return result
    return replace(result, notes=(*result.notes, f"the newest signed head is of {result.signed_at:%Y-%m-%d %H:%M} UTC"))


def _verified_export(path: Path, keys: Path, heads: list[Path]) -> chain.ChainResult:
    known = _read(keys)
    kept = [one for head in heads for one in kept_heads(head, known)]
    try:
        with path.open("rb") as file:
            return check(bounded(file), known, kept)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None


def _read(path: Path) -> bytes:
    try:
        found = path.read_bytes()
        key_set(found)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except MalformedError:
        raise ConfigError(f"{path}: is not a set of published keys (/.well-known/hushwire-keys.json)") from None
    return found


def _shown(result: chain.ChainResult) -> dict[str, object]:
    return {
        "org_id": str(result.org_id),
        "rows": result.rows,
        "signed_heads": result.heads,
        "confirmed_to": result.confirmed,
        "whole": result.is_whole,
        "kind": result.kind.value if result.kind else None,
        "broken_at": result.broken_at,
        "explanation": result.explanation,
        "notes": list(result.notes),
    }


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command("verify-receipt")(verify_receipt)
    application.add_typer(audit, name="audit")
