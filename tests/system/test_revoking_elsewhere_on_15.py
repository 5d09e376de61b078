"""`tests/engines/test_revoking_elsewhere.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.engines.test_revoking_elsewhere import *  # noqa: F403  # tests and fixtures
