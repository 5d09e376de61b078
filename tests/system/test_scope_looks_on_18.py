"""The tests of `tests/engines/test_scope_looks.py`, run again on PostgreSQL 18 (from a wheel)."""

from __future__ import annotations

import pytest

from broker.embedded import EmbeddedServer
from tests.engines.test_scope_looks import *  # noqa: F403  # the tests themselves, and their fixtures


@pytest.fixture(scope="session")
def live_server(server_18: EmbeddedServer) -> EmbeddedServer:
    return server_18
