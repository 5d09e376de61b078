"""Yielding to the tenant's own work: who waits for our locks is let through, the copy withdraws.

A copy holds ACCESS SHARE on every table in scope. A migration's ALTER waits for that, and every
later query of the application queues behind the ALTER: seen from outside, the tenant is down. So a
thread of its own looks every second, through a connection of its own, and when somebody has waited
for longer than `patience_s` it ends all sessions of this copy on the tenant's server.

What must stay true: the locks are gone at once, whatever our other threads are waiting for; only
sessions of this copy are ended, known by the application name that each of them carries; and a
snapshot, which keeps VACUUM from removing dead rows, is not held for longer than `age_max_s`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import psycopg

from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, SourceBusy

PATIENCE_S = 5.0
AGE_MAX_S = 6 * 3600.0
_EVERY_S = 1.0
Connection = psycopg.Connection[tuple[Any, ...]]

# pg_locks is read live. The CASE keeps pg_blocking_pids(), which stops the lock manager for a
# moment, for those who have waited long already. Our own readers wait too, behind the migration.
_KEPT_WAITING = """
    WITH ours AS (
      SELECT pg_catalog.array_agg(pid) AS pids FROM pg_catalog.pg_stat_activity
      WHERE application_name = %(name)s AND usename = CURRENT_USER)
    SELECT pg_catalog.count(*)
    FROM pg_catalog.pg_locks AS l, ours
    WHERE CASE WHEN l.granted OR l.pid = ANY (ours.pids) THEN false
      WHEN l.waitstart > pg_catalog.clock_timestamp()
        - pg_catalog.make_interval(secs => %(patience)s) THEN false
      WHEN l.waitstart IS NULL THEN false
      ELSE pg_catalog.pg_blocking_pids(l.pid) && ours.pids END"""
_END = """
    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
    WHERE application_name = %(name)s AND usename = CURRENT_USER
      AND pid <> pg_catalog.pg_backend_pid()"""


class Yielding:
    """`with Yielding(target) as yielding:` around all that a copy does on the tenant's server.

    Sessions of the copy are opened on `target` as it is: its application name marks them. `check`
    raises once the copy has withdrawn, and so does leaving the block after any other error, for
    that error is then only how the end of our sessions showed.
    """

    def __init__(
        self, target: Target, *, patience_s: float = PATIENCE_S, age_max_s: float = AGE_MAX_S
    ) -> None:
        self._target = target
        self._values = {"name": target.application_name, "patience": patience_s}
        self._age_max_s = age_max_s
        self._over = threading.Event()
        self._why: SourceBusy | CopyFailed | None = None
        self._thread = threading.Thread(target=self._watch, name="yielding", daemon=True)

    def __enter__(self) -> Self:
        self._connection = self._connect()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()
        if self._why is not None and (error is None or isinstance(error, Exception)):
            raise self._why from None

    def check(self) -> None:
        """Raise SourceBusy or CopyFailed if the copy has withdrawn."""
        if self._why is not None:
            raise self._why

    def _connect(self) -> Connection:
        # Under another name, so that it never ends itself.
        return connect(replace(self._target, application_name=f"{self._target.application_name} y"))

    def _watch(self) -> None:
        started = time.monotonic()
        while not self._over.wait(_EVERY_S):
            try:
                self._why = self._find_reason(time.monotonic() - started)
                if self._why is not None:
                    self._connection.execute(_END, self._values)
                    return
            except psycopg.Error:
                with contextlib.suppress(ServerUnavailable):
                    self._connection = self._connect()

    def _find_reason(self, age_s: float) -> SourceBusy | CopyFailed | None:
        row = self._connection.execute(_KEPT_WAITING, self._values).fetchone()
        if row is not None and row[0]:
            return SourceBusy(
                "the tenant's own work (a migration?) waited for a table that was being copied; "
                "the copy withdrew and is made anew later"
            )
        if age_s > self._age_max_s:
            return CopyFailed(
                f"the copy held its snapshot for {self._age_max_s / 3600:.1f} hours, the most that "
                "the tenant's server is asked to bear; narrow the grant to fewer tables"
            )
        return None
