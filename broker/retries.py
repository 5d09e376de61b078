"""When something is tried again: for ever, with a bounded wait, and with its reason to read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg

from broker.db import Retried
from broker.errors import BrokerError
from broker.logs import redact

# What work on other servers can raise without being a defect of ours: noted, and tried again.
FAILURES = (BrokerError, psycopg.Error, OSError)
HINT_S = 30  # a job that was enqueued as a hint gets this long before a sweep enqueues another
_FIRST_S, _CAP_S = 2, 300
# Long enough for the SQL that ends a role with 64 prepared transactions of 200 characters each. Who
# is being ended chooses their names, and the last statement drops the role.
LONGEST = 20_000


def wait_s(attempts: int) -> int:
    """Seconds until the next try: doubling from 2, never more than 5 minutes."""
    doubled: int = _FIRST_S << min(max(attempts - 1, 0), 10)
    return min(_CAP_S, doubled)


def note_failure(row: Retried, at: datetime, reason: str) -> None:
    row.attempts += 1
    row.stuck_since = row.stuck_since or at
    row.stuck_reason = redact(reason)[:LONGEST]
    row.next_try_at = at + timedelta(seconds=wait_s(row.attempts))


def note_success(row: Retried) -> None:
    row.stuck_since = row.stuck_reason = row.next_try_at = None


def hint(row: Retried, at: datetime) -> None:
    row.next_try_at = at + timedelta(seconds=HINT_S)


def afresh(at: datetime) -> dict[str, Any]:
    """Columns of what begins to be tried at `at`: a job is on its way, nothing has failed."""
    return {
        "attempts": 0,
        "stuck_since": None,
        "stuck_reason": None,
        "next_try_at": at + timedelta(seconds=HINT_S),
    }


def describe(error: Exception) -> str:
    """A sentence for the row and its reader. A server's own message may quote a value: never it."""
    if isinstance(error, BrokerError):
        return error.message
    if isinstance(error, psycopg.Error):
        return f"the server answered SQLSTATE {error.sqlstate or 'none, the connection was lost'}"
    return f"the system answered {type(error).__name__}"
