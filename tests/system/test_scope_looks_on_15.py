"""The tests of `tests/engines/test_scope_looks.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.engines.test_scope_looks import *  # noqa: F403  # the tests themselves, and their fixtures
