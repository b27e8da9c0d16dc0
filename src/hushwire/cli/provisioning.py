"""`hushwire apply`: trunks, organisations, agents, numbers and API keys from a file, beside a running hushwire or without one."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import orjson
import typer

from hushwire.app import provision_file
from hushwire.app.deployment import administration
from hushwire.app.folders import write_secret
from hushwire.cli.options import AsJson, ConfigFile, aside, load, people, print_json
from hushwire.core.errors import ConfigError
from hushwire.services.provisioning import Outcome, Provisioning


class SecretsFile:
    """Where new secrets go: made writable before anything changes, and what it holds already is kept beside them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".new")
        try:
            known = orjson.loads(path.read_bytes()) if path.exists() else {}
            self._agents, self._api_keys = dict(known.get("agents", {})), dict(known.get("api_keys", {}))
            write_secret(self._new, b"")
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            raise ConfigError(f"--secrets-out: {path}: holds something else: name another file") from None
        except OSError as error:
            raise ConfigError(f"--secrets-out: {path}: can't be written ({error.strerror})") from None

    def add(self, outcome: Outcome) -> None:
        """Write old and new secrets together, 0600."""
        secrets = {"agents": self._agents | outcome.agents, "api_keys": self._api_keys | outcome.api_keys}
        write_secret(self._new, orjson.dumps(secrets, option=orjson.OPT_INDENT_2) + b"\n")
        os.replace(self._new, self._path)


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The provisioning file (TOML).", show_default=False)],
    config: ConfigFile = None,
    secrets_out: Annotated[
        Path | None, typer.Option("--secrets-out", metavar="FILE", help="Write newly made secrets here (JSON, mode 0600).")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the file does not declare.")] = False,
    json: AsJson = False,
) -> None:
    """Bring trunks, organisations, agents, numbers and API keys to what FILE declares."""
    settings = load(config, "apply")
    desired = provision_file.read(file, settings.store_urls())
    secrets_file = SecretsFile(secrets_out) if secrets_out else None

    async def run() -> Outcome:
        async with administration(settings) as means:
            service = Provisioning(means.main, means.keyring, means.clock, means.random, settings.sip.domain)
            return await service.apply(desired, prune=prune)

    outcome = asyncio.run(run())
    if secrets_file:
        secrets_file.add(outcome)
    if json:
        said: dict[str, object] = {"changed": bool(outcome.changes), "changes": outcome.changes, "kept": outcome.kept}
        if secrets_out is None:
            said["secrets"] = outcome.secrets()
        print_json(said)
        return
    for change in outcome.changes:
        people.print(change, markup=False)
    for kept in outcome.kept:
        aside.print(f"kept, though the file does not declare it: {kept} (--prune removes it)", markup=False)
    if not outcome.changes:
        people.print("Nothing to change: all is as the file declares.")
    if secrets_out is not None and (outcome.agents or outcome.api_keys):
        people.print(f"New secrets: {secrets_out}", markup=False)
    elif outcome.agents or outcome.api_keys:
        people.print("New secrets, shown this once (next time use --secrets-out FILE):")
        people.print(orjson.dumps(outcome.secrets(), option=orjson.OPT_INDENT_2).decode(), markup=False)


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(apply)
