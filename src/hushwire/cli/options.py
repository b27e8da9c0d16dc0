"""Options that several commands share, and how a command prints: for people, or one JSON object alone on stdout."""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from hushwire.app import config as configuration
from hushwire.app import logs

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]

people = Console(highlight=False, soft_wrap=True)
aside = Console(stderr=True, highlight=False, soft_wrap=True)


def load(path: Path | None, role: str) -> configuration.Config:
    """The configuration, with logging set up as it says."""
    config = configuration.load(path)
    logs.configure(logs.chosen(config.run.log), role)
    return config


def print_json(value: Any) -> None:
    """One object, indented on a terminal."""
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(orjson.dumps(value, option=option).decode() + "\n")
