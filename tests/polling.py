"""Waiting for a fact that has no event to wait for: another process's row, file or packet."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(fact: Callable[[], T | Awaitable[T]], *, timeout_s: float = 30.0, every_s: float = 0.02, what: str = "") -> T:
    """The first truthy value that `fact` (plain or async) gives. Fails the test after `timeout_s`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        value = fact()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if loop.time() > end:
            raise AssertionError(f"not within {timeout_s:g} s: {what or inspect.getsource(fact).strip()}")
        await asyncio.sleep(every_s)
