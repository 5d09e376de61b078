"""The whole story with a tenant on PostgreSQL 15 and a test server on 17."""

from __future__ import annotations

from tests.test_story import *  # noqa: F403  # the test itself
