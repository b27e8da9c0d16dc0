"""What every test runs under: no network but loopback and unix sockets."""

import pytest
from pytest_socket import socket_allow_hosts

from tests.databases import databases, postgres_cluster

__all__ = ["databases", "postgres_cluster"]


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
