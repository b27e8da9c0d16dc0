"""`hushwire verify-store`: whether the object stores hold what the rows say, and nothing else."""

import asyncio
import time
from typing import Annotated

import typer

from hushwire.app.deployment import administration
from hushwire.cli.options import AsJson, ConfigFile, aside, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.services.verification import Report, Verification
from hushwire.vault.blobs import Blobs


def verify_store(
    config: ConfigFile = None,
    region: Annotated[str | None, typer.Option("--region", metavar="R", help="Only this region's store.", show_default=False)] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Open every file too: each frame must authenticate in its place.")] = False,
    json: AsJson = False,
) -> None:
    """Read every sealed recording in the stores and compare it with its row. Exit status 1 if anything is wrong."""
    settings = load(config, "verify-store")
    urls = settings.store_urls()
    if region is not None and region not in urls:
        raise ConfigError(f"--region: there is no store {region}: one of {', '.join(sorted(urls))}")
    begun = time.monotonic()
    told = begun

    def progress(report: Report) -> None:
        nonlocal told
        if not json and time.monotonic() - told > 2:
            told = time.monotonic()
            aside.print(f"{report.recordings} recordings, {report.bytes >> 20} MiB, {sum(report.counts.values())} faults", markup=False)

    async def run() -> Report:
        async with administration(settings) as means:
            verification = Verification(means.main, means.keyring, Blobs.open(urls), deep=deep)
            return await verification.run(None if region is None else [region], progress)

    report = asyncio.run(run())
    seconds = time.monotonic() - begun
    if json:
        print_json(_values(report, seconds))
    else:
        for found in report.faults:
            people.print(f"{found.fault.value:20} {found.recording_id or '?'}  {found.region}  {found.detail}".rstrip(), markup=False)
        rate = report.bytes / 1e6 / max(seconds, 1e-9)
        people.print(f"{report.objects} objects, {report.bytes / 1e6:.1f} MB in {seconds:.1f} s ({rate:.0f} MB/s)", markup=False)
        people.print(f"{report.waiting} wait in spools, {report.to_sweep} erased ones wait for their sweep", markup=False)
        if report.withheld:
            people.print(f"{report.withheld} keys do not open here: only the bytes of these were compared", markup=False)
        people.print("All is as the rows say." if report.is_whole else f"{sum(report.counts.values())} faults.", markup=False)
    if not report.is_whole:
        raise typer.Exit(1)


def _values(report: Report, seconds: float) -> dict[str, object]:
    return {
        "ok": report.is_whole,
        "objects": report.objects,
        "recordings": report.recordings,
        "bytes": report.bytes,
        "seconds": round(seconds, 3),
        "waiting": report.waiting,
        "to_sweep": report.to_sweep,
        "opened": report.opened,
        "withheld": report.withheld,
        "counts": {fault.value: count for fault, count in sorted(report.counts.items())},
        "faults": [
            {
                "fault": found.fault.value,
                "region": found.region,
                "org_id": None if found.org_id is None else str(found.org_id),
                "recording_id": None if found.recording_id is None else str(found.recording_id),
                "detail": found.detail,
            }
            for found in report.faults
        ],
    }


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command("verify-store")(verify_store)
