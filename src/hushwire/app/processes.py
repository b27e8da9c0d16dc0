"""Starting a child that can't outlive us, dump its memory, or keep rights that it does not need."""

import asyncio
import ctypes
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hushwire.app.folders import Account

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_libc: Final = ctypes.CDLL(None, use_errno=True)


def no_core_dumps() -> None:
    """Keys never reach a core file, and no process of the same user can attach to this one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _in_child(parent: int, death_signal: signal.Signals, files: int) -> Callable[[], None]:
    def prepare() -> None:
        # After the change of user, which clears the death signal (prctl(2)).
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files if hard == resource.RLIM_INFINITY else min(files, hard), hard))
        os.umask(0o077)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


async def start_child(
    command: Sequence[str],
    *,
    executable: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    owner: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
    stdout: int | None = None,
    stderr: int | None = None,
    open_files: int = 65_536,
) -> asyncio.subprocess.Process:
    """Start `command` in a session of its own (a terminal's Ctrl-C is ours to pass on), as `owner` where one is given.

    `executable` is the program when `command[0]` is only a name for the process list. The kernel sends `death_signal` when we die.
    """
    identity: dict[str, Any] = {"user": owner.uid, "group": owner.gid, "extra_groups": []} if owner else {}
    return await asyncio.create_subprocess_exec(
        *command,
        executable=executable,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=_in_child(os.getpid(), death_signal, open_files),
        **identity,
    )


async def end(process: asyncio.subprocess.Process, how: signal.Signals, grace_s: float) -> bool:
    """Ask with signal `how`, insist with SIGKILL after `grace_s`; False if it had to be killed. Returns when it is gone."""
    if process.returncode is not None:
        return True
    process.send_signal(how)
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
        return True
    except TimeoutError:
        process.kill()
        await process.wait()
        return False


async def first_of(*events: asyncio.Event) -> None:
    """Return once one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
