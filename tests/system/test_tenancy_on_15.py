"""The tests of `tests/grants/test_tenancy.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.grants.conftest import anyone, dbname, own
from tests.grants.test_tenancy import *  # noqa: F403  # the tests themselves, and their fixtures

__all__ = ["anyone", "dbname", "own"]
