"""`hushwire up`, and one role alone: `hushwire gateway | api | worker | sms`."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from types import TracebackType

import structlog
import typer
import uvloop

from hushwire.app import deployment, logs, processes
from hushwire.app.wiring import Role, Wired, wired
from hushwire.cli.options import AsJson, ConfigFile, aside, load, print_json
from hushwire.core.errors import HushwireError

END_WITHIN_S = 6


def up(config: ConfigFile = None, json: AsJson = False) -> None:
    """Run everything on this machine: databases, media, gateway, API, worker and the links to carriers of short messages."""
    settings = load(config, "supervisor")

    def say(state: deployment.Up) -> None:
        if json:
            print_json({"addresses": state.addresses, "authority": str(state.authority) if state.authority else None})
            sys.stdout.flush()
            return
        if state.new_root_key:
            aside.print(f"[bold yellow]A root key was made:[/] {state.new_root_key}. Keep a copy in a safe place, away from the backups.")
        aside.print("[bold green]hushwire is up[/]")
        for name, listed in state.addresses.items():
            aside.print(f"  {name:8} {'  '.join(listed)}")
        if state.authority:
            aside.print(f"  {'trust':8} {state.authority}")

    asyncio.run(deployment.up(settings, logs.chosen(settings.run.log), say))


def gateway(config: ConfigFile = None) -> None:
    """Run the gateway: SIP, calls, policy."""
    _run_role("gateway", config)


def api(config: ConfigFile = None) -> None:
    """Run the HTTP API."""
    _run_role("api", config)


def worker(config: ConfigFile = None) -> None:
    """Run the worker: recordings to their store, erasures, clocks."""
    _run_role("worker", config)


def sms(config: ConfigFile = None) -> None:
    """Run the links to carriers of short messages."""
    _run_role("sms", config)


def _run_role(role: Role, config: ConfigFile) -> None:
    processes.no_core_dumps()
    settings = load(config, role)
    sys.excepthook = _log_uncaught

    async def main() -> None:
        async with wired(role, settings) as means:
            _end_in_time(means, settings.limits.drain_s if role == "gateway" else 0)
            run: Callable[[Wired], Awaitable[None]] = import_module(f"hushwire.app.{role}").run
            await run(means)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except HushwireError as error:
        structlog.get_logger(__name__).critical("role.failed", reason=str(error))
        raise typer.Exit(1) from None


def _end_in_time(means: Wired, drain_s: int) -> None:
    """A role that was asked to end and hangs is ended by the kernel: nobody may be left to kill it.

    SIGTERM lets calls end first, for `drain_s` at most; said twice, or SIGINT, it ends now.
    """
    signal.signal(signal.SIGALRM, lambda *_: os._exit(1))

    def now() -> None:
        signal.alarm(END_WITHIN_S)
        means.stop.set()

    def gently() -> None:
        if drain_s == 0 or means.drain.is_set():
            now()
        else:
            signal.alarm(drain_s + END_WITHIN_S)
            means.drain.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, now)
    loop.add_signal_handler(signal.SIGTERM, gently)


def _log_uncaught(kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    structlog.get_logger(__name__).critical("role.failed", error=kind.__qualname__, at=logs.places(error))


def register(application: typer.Typer) -> None:
    """Add these commands."""
    for command in (up, gateway, api, worker, sms):
        application.command()(command)
