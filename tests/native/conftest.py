"""The program under test: $HUSHWIRE_MEDIA, else the one installed beside Python, else a build in build/native."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.client import Controller, Media, running_media

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def media_program() -> str:
    for candidate in (os.environ.get("HUSHWIRE_MEDIA"), Path(sys.executable).with_name("hushwire-media")):
        if candidate and Path(candidate).is_file():
            return str(candidate)
    cmake = shutil.which("cmake")
    if not cmake:
        pytest.skip("no hushwire-media installed and no cmake to build one")
    build = ROOT / "build" / "native"
    subprocess.run([cmake, "-S", str(ROOT / "native"), "-B", str(build), "-DHUSHWIRE_TESTS=OFF"], check=True)
    subprocess.run([cmake, "--build", str(build), "-j2"], check=True)
    return str(build / "hushwire-media")


@pytest.fixture(scope="session")
def is_sanitized(media_program: str) -> bool:
    """The program is a build of `make asan` or `make tsan`: ten times slower, with memory of its own, and without the sandbox."""
    data = Path(media_program).read_bytes()
    return b"__asan_init" in data or b"__tsan_init" in data


@pytest.fixture
def media(media_program: str) -> Iterator[Media]:
    with running_media(media_program) as running:
        yield running


@pytest.fixture
def control(media: Media) -> Iterator[Controller]:
    with media.controller() as controller:
        yield controller
