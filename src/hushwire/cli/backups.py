"""`hushwire backup`, `backup list`, `backup verify`, and `hushwire restore`."""

import asyncio
import os
from typing import Annotated, Any

import typer

from hushwire.app import backup as making
from hushwire.app import dumps, restore
from hushwire.app.deployment import administration
from hushwire.app.folders import Folders
from hushwire.app.wiring import key_provider
from hushwire.cli.options import AsJson, ConfigFile, aside, load, people, print_json
from hushwire.core.errors import KeyUnavailable

backup = typer.Typer(help="Back up the main database to the second zone.", invoke_without_command=True)
To = Annotated[
    str | None,
    typer.Option("--to", metavar="DIR|URL", help="A folder or s3://bucket/prefix; default: [zone2] dir/backups.", show_default=False),
]


@backup.callback()
def make(
    context: typer.Context,
    config: ConfigFile = None,
    to: To = None,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Keep so many backups there.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """Back up the main database, sealed, and read it back before it counts. Beside a running hushwire or without one."""
    if context.invoked_subcommand is not None:
        return
    settings = load(config, "backup")
    place = making.place_of(settings, to)

    async def run() -> making.Made:
        async with administration(settings) as means:
            return await making.make(
                settings, means.databases, means.keyring, means.root.sealing_key(), place, means.clock, means.random,
                keep or settings.backup.keep,
            )  # fmt: skip

    made = asyncio.run(run())
    if json:
        said = {"name": made.name, "where": made.where, "size_bytes": made.size_bytes, "seconds": round(made.seconds, 3)}
        print_json(said | _described(made.checked) | {"removed": list(made.removed)})
        return
    people.print(f"[bold green]backed up[/] {made.checked.rows} rows in {made.seconds:.1f} s", end="")
    people.print(f": {made.where}/{made.name} ({made.size_bytes / 1e6:.1f} MB), read back and checked", markup=False)
    for name in made.removed:
        people.print(f"removed {name}", markup=False)


@backup.command("list")
def list_(config: ConfigFile = None, to: To = None, json: AsJson = False) -> None:
    """The backups that there are, oldest first."""
    place = making.place_of(load(config, "backup"), to)
    found = place.found()
    if json:
        listed = [{"name": each.name, "made_at": each.made_at.isoformat(), "size_bytes": each.size_bytes} for each in found]
        print_json({"where": place.where, "backups": listed})
        return
    for each in found:
        people.print(f"{each.made_at:%Y-%m-%d %H:%M:%S}  {each.size_bytes / 1e6:10.1f} MB  {each.name}", markup=False)
    if not found:
        people.print(f"{place.where}: no backup", markup=False)


@backup.command("verify")
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE|latest", help="A file, a name of `backup list`, or the newest.")] = restore.LATEST,
    config: ConfigFile = None,
    to: To = None,
    json: AsJson = False,
) -> None:
    """Read a backup from front to end: every frame authentic, the archive readable, rows as many as were backed up."""
    settings = load(config, "backup")
    source = restore.source_of(settings, file, to)
    provider = key_provider(settings, Folders(settings.data.dir), os.environ)
    root = provider.load()
    if root is None:
        raise KeyUnavailable(f"the root key is missing: {provider.where} does not exist, and without it no backup opens")
    tools = dumps.programs(settings.backup.programs, settings.database.dsn)
    checked = making.check(tools, root.sealing_key(), source.read())
    if json:
        print_json({"name": source.name} | _described(checked))
        return
    people.print(f"[bold green]whole[/]: {checked.rows} rows of {len(checked.manifest['tables'])} tables", end="")
    people.print(f", as of {checked.made_at:%Y-%m-%d %H:%M:%S} UTC, by hushwire {checked.manifest['hushwire']}", markup=False)


def bring_back(
    file: Annotated[str, typer.Argument(metavar="FILE|latest", help="A file, a name of `backup list`, or the newest.", show_default=False)],
    config: ConfigFile = None,
    to: Annotated[str | None, typer.Option("--from", metavar="DIR|URL", help="Where backups lie.", show_default=False)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Replace a main database that is not empty.")] = False,
    json: AsJson = False,
) -> None:
    """Put a backup in the place of the main database, and carry out again what ended since. Nothing may be running."""
    settings = load(config, "restore")
    done = asyncio.run(restore.restore(settings, restore.source_of(settings, file, to), yes=yes))
    followed = done.followed
    if json:
        replayed = {"tombstones": followed.tombstones, "lost_entries": followed.lost_entries, **followed.changes}
        said: dict[str, Any] = {"name": done.name, "seconds": round(done.seconds, 3), "replay_seconds": round(done.replay_seconds, 3)}
        print_json(said | _described(done.checked) | {"replayed": replayed, "objects_brought_back": done.objects})
        return
    people.print(f"[bold green]restored[/] {done.checked.rows} rows in {done.seconds:.1f} s", end="")
    people.print(f", as of {done.checked.made_at:%Y-%m-%d %H:%M:%S} UTC: {done.name}", markup=False)
    people.print(f"{followed.tombstones} endings since then looked at, {followed.lost_entries} erasures carried out again", markup=False)
    for name, count in followed.changes.items():
        people.print(f"  {name.replace('_', ' ')}: {count}", markup=False)
    if done.objects:
        people.print(f"{done.objects} sealed objects that the store had lost were brought back", markup=False)
    aside.print("Start it with `hushwire up`; the worker sweeps and signs what was erased again.")


def _described(checked: making.Checked) -> dict[str, Any]:
    return {
        "backup_id": str(checked.id),
        "made_at": checked.made_at.isoformat(),
        "rows": checked.rows,
        "tables": checked.manifest["tables"],
        "dump_bytes": checked.dump_bytes,
        "hushwire": checked.manifest["hushwire"],
    }


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(backup, name="backup")
    application.command("restore")(bring_back)
