"""A phone in a process of its own that is driven by the same JSON lines as `hushwire.app.demo.softphone`."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import orjson


class CommandedPhone:
    """A command `{"id": 1, "do": "call", ...}` is carried out by `do_call`, which returns what its answer says beside `ok`, or nothing."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (LookupError, ValueError)
    """What a command may raise: the answer says so, and the phone goes on."""

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._tasks: set[asyncio.Task[None]] = set()
        self.running = True

    def say(self, message: dict[str, Any]) -> None:
        data = orjson.dumps(message) + b"\n"
        while data:
            data = data[os.write(self._writer, data) :]

    async def obey(self, command: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": command["id"], "ok": True}
        try:
            answer.update(await getattr(self, "do_" + command["do"])(command) or {})
        except self.refusals as error:
            answer = {"id": command["id"], "ok": False, "error": f"{type(error).__name__}: {error}"}
        self.say(answer)

    async def do_quit(self, _command: dict[str, Any]) -> None:
        self.running = False

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(phone_of: Callable[[int], CommandedPhone]) -> None:
    """Obey what comes on standard input until it ends, or `quit`. What a stack prints goes to standard error: answers alone go out."""
    writer = os.dup(1)
    os.dup2(2, 1)
    phone = phone_of(writer)
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while phone.running and (line := await reader.readline()):
            await phone.obey(orjson.loads(line))
    finally:
        await phone.close()
