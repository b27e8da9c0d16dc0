"""How the demo looks: a table that fills while the steps run, for people on standard error."""

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Board:
    """The steps and where each one stands; refreshes itself on a terminal, prints a line per step elsewhere."""

    def __init__(self, names: list[str], *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._names = names
        self._done: dict[str, tuple[bool, float, str]] = {}
        self._running = ""
        self._since = 0.0
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=8, transient=False)

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def begin(self, name: str) -> None:
        self._running, self._since = name, time.monotonic()

    def end(self, name: str, is_ok: bool, ms: float, detail: str) -> None:
        self._done[name] = (is_ok, ms, detail)
        self._running = ""
        if not self._console.is_terminal:
            self._console.print(f"{'ok  ' if is_ok else 'FAIL'} {name:15} {ms:7.0f} ms  {detail}", markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line beside the table."""
        self._console.print(text, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1), expand=True)
        for heading, options in (
            ("", {"width": 2}),
            ("step", {"style": "bold"}),
            ("ms", {"justify": "right"}),
            ("what was proven", {"ratio": 1}),
        ):
            table.add_column(heading, **_any(options))
        for name in self._names:
            if name in self._done:
                is_ok, ms, detail = self._done[name]
                mark = Text("✓", "green") if is_ok else Text("✗", "bold red")
                table.add_row(mark, name, f"{ms:.0f}", Text(detail, "" if is_ok else "red"))
            elif name == self._running:
                table.add_row(Spinner("dots", style="cyan"), name, f"{(time.monotonic() - self._since) * 1000:.0f}", "")
            else:
                table.add_row("", Text(name, "dim"), "", "")
        return table


def _any(options: dict[str, Any]) -> dict[str, Any]:
    return options
