"""What is kept of a failure is all that a person needs to end it by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from broker import retries
from broker.grants.model import Lease


def test_the_sql_that_ends_a_role_is_kept_to_its_last_statement() -> None:
    """However many prepared transactions, with however long names, stand before it."""
    rollbacks = " ".join(f"ROLLBACK PREPARED '{number:0200}';" for number in range(64))
    row = Lease(attempts=0, stuck_since=None)
    retries.note_failure(row, datetime(2026, 1, 1, tzinfo=UTC), f"{rollbacks} DROP ROLE brk_x;")
    assert row.stuck_reason is not None
    assert row.stuck_reason.endswith("DROP ROLE brk_x;")
