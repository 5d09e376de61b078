"""The tests of `tests/test_preflights.py` with a tenant on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.test_preflights import *  # noqa: F403  # the tests themselves
