"""That the compiler leaves in what only fetches memory ahead: without it nothing fails, and a packet costs a tenth more."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

# prefetcht0 of an address in a register, with or without a displacement. Every step of Worker::take asks for several lines.
PREFETCH = re.compile(rb"\x0f\x18[\x08-\x0f\x48-\x4f\x88-\x8f]")
SEVERAL_A_STEP = 20


@pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for instructions of x86-64")
def test_the_built_program_fetches_ahead_what_its_source_asks_for(media_program: str, is_sanitized: bool) -> None:
    if is_sanitized:
        pytest.skip("sanitized builds are not made for speed")
    assert len(PREFETCH.findall(Path(media_program).read_bytes())) >= SEVERAL_A_STEP
