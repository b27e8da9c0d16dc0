"""The other end of `softphone`'s pipe: starts one softphone process and speaks its JSON lines."""

import asyncio
import base64
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from hushwire.core.errors import LocalError

Pcm = NDArray[np.int16]
SOFTPHONE: Final = (sys.executable, "-P", "-m", "hushwire.app.demo.softphone")
WITHIN_S: Final = 30.0
"""How long a busy machine may take for what is due at once."""


class PartyError(LocalError):
    """The softphone refused a command, ended, or what was waited for did not happen in time."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One call's received audio; `ear_began` and `mouth_began` are monotonic seconds of its first sample and of our own speech's."""

    samples: Pcm
    rate: int
    ear_began: float
    mouth_began: float


@dataclass(eq=False)
class Party:
    """One softphone process. `events` keeps all that it told; `expect` waits for the first one that fits."""

    name: str
    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._changed = asyncio.Condition()
        self._gone = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, *, program: Sequence[str] = SOFTPHONE, **options: Any) -> Self:
        """A running softphone, opened with `options` (see `Phone.do_open`; `speech` may be a PCM array)."""
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if options.get("log_level") else asyncio.subprocess.DEVNULL,
            limit=1 << 26,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        party = cls(name, process)
        if isinstance(options.get("speech"), np.ndarray):
            options["speech"] = base64.b64encode(options["speech"].astype("<i2").tobytes()).decode()
        try:
            party.address = (await party.tell("open", **options))["address"]
        except BaseException:
            await party.close()
            raise
        return party

    @property
    def pid(self) -> int:
        return self.process.pid

    async def tell(self, command: str, timeout_s: float = WITHIN_S, **fields: Any) -> dict[str, Any]:
        """Carries out one command and returns its answer. Raises PartyError when it is refused."""
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        assert self.process.stdin is not None
        try:
            if self._gone:
                raise PartyError(f"{self.name}: the softphone process has ended")
            self.process.stdin.write(orjson.dumps({"id": number, "do": command, **fields}) + b"\n")
            await self.process.stdin.drain()
            async with asyncio.timeout(timeout_s):
                result = await answer
        except (TimeoutError, ConnectionError) as error:
            raise PartyError(f"{self.name}: no answer to {command!r}") from error
        finally:
            self._answers.pop(number, None)
        if not result["ok"]:
            raise PartyError(f"{self.name}: {command!r} failed: {result['error']}")
        return result

    async def expect(
        self, event: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True, *, since: int = 0, timeout_s: float = WITHIN_S
    ) -> dict[str, Any]:
        """The first event of that name, from index `since` on, that fits; waits for it. Raises PartyError after `timeout_s`."""

        def find() -> dict[str, Any] | None:
            return next((e for e in self.events[since:] if e["event"] == event and fits(e)), None)

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: find() is not None or self._gone)
        except TimeoutError as error:
            seen = ", ".join(_brief(e) for e in self.events[since:]) or "nothing"
            raise PartyError(f"{self.name}: waited {timeout_s:g} s for {event!r}; seen: {seen}") from error
        found = find()
        if found is None:
            raise PartyError(f"{self.name}: the softphone process has ended")
        return found

    async def expect_state(self, call: int, state: str, timeout_s: float = WITHIN_S) -> dict[str, Any]:
        """Waits until `call` reaches `state` (calling, early, confirmed, disconnected)."""
        return await self.expect("state", lambda e: e["call"] == call and e["state"] == state, timeout_s=timeout_s)

    async def call(self, to: str, **fields: Any) -> int:
        return int((await self.tell("call", to=to, **fields))["call"])

    async def hangup(self, call: int) -> dict[str, Any]:
        """Ends the call and waits for its end."""
        if not any(e["event"] == "state" and e["call"] == call and e["state"] == "disconnected" for e in self.events):
            await self.tell("hangup", call=call)
        return await self.expect_state(call, "disconnected")

    async def heard(self, call: int) -> "Heard":
        """What the call's decoder gave."""
        answer = await self.tell("heard", call=call)
        samples = np.frombuffer(base64.b64decode(answer["pcm"]), dtype="<i2").astype(np.int16)
        return Heard(samples, answer["rate"], answer["ear_began"] or 0.0, answer["mouth_began"] or 0.0)

    async def packets(self, call: int) -> list[bytes]:
        return [base64.b64decode(p) for p in (await self.tell("packets", call=call))["packets"]]

    async def close(self) -> None:
        """Ends the process, its calls with it."""
        if self.process.returncode is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                async with asyncio.timeout(8):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        await self._reading

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            message = orjson.loads(line)
            if "id" in message:
                waiting = self._answers.get(message["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
                continue
            async with self._changed:
                self.events.append(message)
                self._changed.notify_all()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result({"ok": False, "error": "the softphone process has ended"})
        async with self._changed:
            self._gone = True
            self._changed.notify_all()


def _brief(event: dict[str, Any]) -> str:
    return " ".join(str(event[key]) for key in ("event", "state", "status") if key in event)
