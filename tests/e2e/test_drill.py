"""The drill itself: a backup older than an erasure is restored by the real commands, and nothing comes back."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from hushwire.app.supervisor import media_program
from hushwire.core.errors import ConfigError
from tests.deployments import need_module
from tests.drill import STEPS


@pytest.mark.slow
async def test_a_backup_older_than_an_erasure_is_restored_and_nothing_comes_back(data_folder: Path) -> None:
    need_module("pjsua2")
    try:
        media_program()
    except ConfigError as error:
        pytest.skip(str(error))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.drill", "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(data_folder)}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    async with asyncio.timeout(180):
        out, err = await process.communicate()
    result = json.loads(out)
    assert [(step["name"], step["detail"]) for step in result["steps"] if not step["ok"]] == [], err.decode()
    assert [step["name"] for step in result["steps"]] == ["start", *(name for name, _ in STEPS)]
    assert process.returncode == 0
    assert list(data_folder.glob("hushwire-demo-*")) == []
