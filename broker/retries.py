"""When something is tried again: for ever, with a bounded wait, and with its reason to read."""

from __future__ import annotations

from datetime import datetime, timedelta

from broker.db import Retried
from broker.logs import redact

HINT_S = 30  # a job that was enqueued as a hint gets this long before a sweep enqueues another
_FIRST_S, _CAP_S = 2, 300


def wait_s(attempts: int) -> int:
    """Seconds until the next try: doubling from 2, never more than 5 minutes."""
    doubled: int = _FIRST_S << min(max(attempts - 1, 0), 10)
    return min(_CAP_S, doubled)


def note_failure(row: Retried, at: datetime, reason: str) -> None:
    row.attempts += 1
    row.stuck_since = row.stuck_since or at
    row.stuck_reason = redact(reason)[:1000]
    row.next_try_at = at + timedelta(seconds=wait_s(row.attempts))


def note_success(row: Retried) -> None:
    row.stuck_since = row.stuck_reason = row.next_try_at = None


def hint(row: Retried, at: datetime) -> None:
    row.next_try_at = at + timedelta(seconds=HINT_S)
