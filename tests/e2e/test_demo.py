"""`hushwire demo` itself: every step holds, and a step that does not hold is told."""

import asyncio
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hushwire.app.demo import run as demo
from hushwire.app.demo.scene import Scene, StepFailed
from hushwire.app.demo.show import Board
from hushwire.app.supervisor import media_program
from hushwire.core.errors import ConfigError
from tests.deployments import need_module

STEPS = ["start", "register", "call", "encryption", "refuse", "remove-country", "recording", "delete", "gone", "receipt"]


@pytest.mark.slow
async def test_every_step_of_the_demo_holds_and_leaves_nothing_behind(data_folder: Path) -> None:
    need_module("pjsua2")
    try:
        media_program()
    except ConfigError as error:
        pytest.skip(str(error))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "hushwire", "demo", "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(data_folder)},
    )  # fmt: skip
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    result = json.loads(out)
    assert [(s["name"], s["detail"]) for s in result["steps"] if not s["ok"]] == [], err.decode()
    assert [s["name"] for s in result["steps"]] == STEPS
    assert result["ok"] is True
    assert process.returncode == 0
    assert list(data_folder.glob("hushwire-demo-*")) == []


async def test_a_step_that_does_not_hold_is_told_with_the_place_to_look_at() -> None:
    async def fails(scene: Scene) -> str:
        raise StepFailed("the sound is not there", "the gateway's log")

    async def breaks(scene: Scene) -> str:
        raise ValueError("odd")

    outcomes: list[Any] = []
    scene = cast(Scene, SimpleNamespace(stack=SimpleNamespace(log="/somewhere/hushwire.log")))
    with Board(["one", "two"], quiet=True) as board:
        assert not await demo._carried_out(board, outcomes, "one", scene, fails)
        assert not await demo._carried_out(board, outcomes, "two", scene, breaks)
    assert [o.ok for o in outcomes] == [False, False]
    assert "the sound is not there" in outcomes[0].detail
    assert "the gateway's log" in outcomes[0].detail
    assert "/somewhere/hushwire.log" in outcomes[1].detail
