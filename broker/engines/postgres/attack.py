"""The broker's own attacker: what a holder of a lease could do against its end, for a drill.

Three hold on to a lease that reads nothing: one who signs in again and again, one who holds the
lock on its own row of the catalogue, and one who sleeps between its login and the first look at it
(`post_auth_delay`), which no view shows. Each must have lost when the revocation says so; whether
they did is told by them and not by the revocation.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from broker.engines import ServerUnavailable, Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.looks import Connection, list_hidden_sessions
from broker.engines.postgres.scram import make_verifier, new_password

_JOIN_S = 10.0
_PAUSE_S = 0.02
_SLEEP = {"post_auth_delay": "120"}


class Attack:
    """`target` has the login of the lease. `with Attack(…) as attack: attack.await_all(ours)`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stop = threading.Event()
        self._in = threading.Event()
        self._open: list[Connection] = []
        self.last_in_at: datetime | None = None  # by the server's clock
        self.was_hidden = False
        self.sleeper_read = False
        self._threads = [
            threading.Thread(target=act, daemon=True) for act in (self._reconnect, self._sleep)
        ]

    def __enter__(self) -> Self:
        self._open.append(connect(self._target))
        self._lock_own_row(self._open[0])
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        for connection in self._open:
            connection.close()

    def await_all(self, ours: Connection, deadline_s: float = 10) -> None:
        """Until the one who reconnects was in, and the sleeper is hidden past its login."""
        until = time.monotonic() + deadline_s
        self._in.wait(deadline_s)
        while not self.was_hidden and time.monotonic() < until:
            self.was_hidden = bool(list_hidden_sessions(ours))
            time.sleep(_PAUSE_S)

    def find_survivor(self, refused_at: datetime) -> str | None:
        """What outlived the end, as a sentence; None when all three lost. After the block."""
        if self.sleeper_read:
            return "the session that slept past its login woke and ran a statement"
        if any(thread.is_alive() for thread in self._threads):
            return "an attacker's connection is still open"
        if self.last_in_at is None or not self.was_hidden:
            return "the attackers did not get in, so nothing was proved"
        if self.last_in_at > refused_at:
            return "the attacker signed in after logins were refused"
        return None

    def _lock_own_row(self, connection: Connection) -> None:
        connection.execute("BEGIN")
        verifier = sql.Literal(make_verifier(new_password()))
        connection.execute(sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(verifier))

    def _reconnect(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(ServerUnavailable, psycopg.Error), self._signed_in() as there:
                row = there.execute("SELECT clock_timestamp()").fetchone()
                if row is not None:
                    self.last_in_at = row[0]
                    self._in.set()
                there.execute("SELECT pg_sleep(0.02)")

    def _sleep(self) -> None:
        with contextlib.suppress(ServerUnavailable, psycopg.Error), self._signed_in(_SLEEP) as it:
            it.execute("SELECT 1")
            self.sleeper_read = True

    def _signed_in(
        self, options: Mapping[str, str] | None = None
    ) -> contextlib.closing[Connection]:
        return contextlib.closing(connect(self._target, options=options))
