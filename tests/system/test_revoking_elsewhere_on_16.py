"""`tests/engines/test_revoking_elsewhere.py`, run again on PostgreSQL 16 (from a wheel)."""

from __future__ import annotations

import pytest

from broker.embedded import EmbeddedServer
from tests.engines.test_revoking_elsewhere import *  # noqa: F403  # tests and fixtures


@pytest.fixture(scope="session")
def live_server(server_16: EmbeddedServer) -> EmbeddedServer:
    return server_16
