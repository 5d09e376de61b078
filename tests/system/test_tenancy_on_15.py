"""The tests of `tests/grants/test_tenancy.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

import pytest

from broker.demo.canaries import Marks
from broker.embedded import EmbeddedServer
from tests.grants.conftest import anyone, dbname, own
from tests.grants.test_tenancy import *  # noqa: F403  # the tests themselves, and their fixtures
from tests.world import find_crm_marks

__all__ = ["anyone", "dbname", "own"]


@pytest.fixture(scope="package")
def sharing_server(live_server: EmbeddedServer) -> EmbeddedServer:
    return live_server


@pytest.fixture(scope="package")
def sharing_marks(live_server: EmbeddedServer) -> Marks:
    return find_crm_marks(live_server)
