"""The tests of `tests/engines/test_leases.py`, run again on PostgreSQL 15 (Debian's)."""

from __future__ import annotations

from tests.engines.test_leases import *  # noqa: F403  # the tests themselves, and their fixtures

# PostgreSQL 15 has no SET option of memberships; ending all sessions closes what it opens.
del test_the_membership_is_inherited_and_can_not_be_set  # noqa: F821
