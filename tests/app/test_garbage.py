"""The collector of garbage: what outlived its first look waits until nobody is in a call, or until ten minutes are over."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from hushwire.app import garbage
from tests.polling import until


class Ring:
    """Knows itself."""

    def __init__(self) -> None:
        self.itself = self


class Hand:
    """A clock that is set by hand."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "LOOK_S", 0.005)
    gc.disable()
    yield
    gc.enable()


def outlived() -> weakref.ref[Ring]:
    ring = Ring()
    gc.collect(0)
    return weakref.ref(ring)


async def test_older_cycles_go_while_it_is_calm() -> None:
    looking = asyncio.create_task(garbage.collect(Hand(), lambda: True))  # type: ignore[arg-type]
    ring = outlived()
    await until(lambda: ring() is None, what="it is gone")
    looking.cancel()


async def test_older_cycles_wait_for_calls_to_end_but_not_for_longer_than_ten_minutes() -> None:
    asked, clock = list[None](), Hand()
    looking = asyncio.create_task(garbage.collect(clock, lambda: bool(asked.append(None))))  # type: ignore[arg-type,func-returns-value]
    ring = outlived()
    await until(lambda: len(asked) > 3, what="it was looked several times")
    assert ring() is not None
    clock.now_s = garbage.LONGEST_S
    await until(lambda: ring() is None, what="it is gone")
    looking.cancel()
