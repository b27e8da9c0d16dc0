"""What every test runs under: no network but loopback and unix sockets."""

import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from pytest_socket import socket_allow_hosts

from hushwire.store import recordings
from tests.databases import databases, postgres_cluster

__all__ = ["databases", "postgres_cluster"]


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI runs as root, everything that a test can ask for is there: a skip is a missing peer, and a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") and os.geteuid() == 0 and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"skipped in CI: {reason}"
    return report


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that a test runs in its own process sends logs to a stream that ends with that test."""
    before = structlog.get_config() if structlog.is_configured() else None
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    if before is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**before)
    if any(type(handler).__module__ == "hushwire.app.logs" for handler in logging.root.handlers):
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


@pytest.fixture(autouse=True)
def database_of_yesterday(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests move their nodes' clocks, not that of the database's server: it counts as started long ago."""

    async def serving(_connection: object) -> timedelta:
        return timedelta(days=1)

    monkeypatch.setattr(recordings, "serving_for", serving)


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A fresh folder with a short path that the user of dropped roles may enter (pytest's own are closed to it)."""
    folder = Path(tempfile.mkdtemp(prefix="hw-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
