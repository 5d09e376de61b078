"""The tests of `tests/engines/test_scopes.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.engines.test_scopes import *  # noqa: F403  # the tests themselves, and their fixtures

# PostgreSQL 15 has no SET option of memberships; ending all sessions closes what it opens.
del test_a_lease_may_not_become_the_role_that_it_is_a_member_of  # noqa: F821
