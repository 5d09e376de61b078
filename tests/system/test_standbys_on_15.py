"""The tests of `tests/engines/test_standbys.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.engines.test_standbys import *  # noqa: F403  # the tests themselves, and their fixtures
