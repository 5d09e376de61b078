"""Servers of their own: what these tests leave on a server, others would find there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded import TEST_SERVER_SETTINGS, EmbeddedServer, running


@pytest.fixture(scope="session")
def live_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(servers_folder / "engines-live")
    with running(server):
        yield server


@pytest.fixture(scope="session")
def test_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(servers_folder / "engines-test", settings=TEST_SERVER_SETTINGS)
    with running(server):
        yield server
