"""The tests of `tests/test_preflights.py` with a tenant on PostgreSQL 16 (from a wheel)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded import TEST_SERVER_SETTINGS, EmbeddedServer, running
from tests.test_preflights import *  # noqa: F403  # the tests themselves


@pytest.fixture(scope="session")
def live_server(server_16: EmbeddedServer) -> EmbeddedServer:
    return server_16


@pytest.fixture(scope="session")
def test_server(servers_folder: Path) -> Iterator[EmbeddedServer]:
    """One of its own: databases that other tests leave would be findings here."""
    server = EmbeddedServer(servers_folder / "preflights-test-16", settings=TEST_SERVER_SETTINGS)
    with running(server):
        yield server
