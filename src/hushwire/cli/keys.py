"""`hushwire keys ...`: what is done with keys by hand, and rarely."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from hushwire.app import failover, rotating
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


@keys.command("rotate-root")
def rotate_root(config: ConfigFile = None, json: AsJson = False) -> None:
    """Put everything under a new root key and destroy the old one. hushwire must not be running meanwhile."""
    done = asyncio.run(rotating.rotate_root(load(config, "rotate-root")))
    counted = asdict(done.rewrapped)
    if json:
        print_json({"rotated": True, "rewrapped": counted, "took_ms": round(done.took_ms), "where": done.where})
        return
    people.print(f"A new root key wraps everything ({sum(counted.values())} keys, {done.took_ms:.0f} ms): {done.where}.", markup=False)
    people.print("Keep a copy of it in a safe place, and destroy the copies of the old one.")


@keys.command("rotate-signing")
def rotate_signing(config: ConfigFile = None, json: AsJson = False) -> None:
    """Sign receipts with a new key from now on; the old one stays published, so older receipts verify as before."""
    key_id = asyncio.run(rotating.rotate_signing(load(config, "rotate-signing")))
    if json:
        print_json({"rotated": True, "key_id": str(key_id)})
        return
    people.print(f"Receipts are signed with key {key_id} from now on.")


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.add_typer(keys, name="keys")
