"""Sessions on tenants' servers that are kept open for the next lease.

Signing in costs a server more than making a role does: a process, and SCRAM on both sides. So a
worker keeps its sessions open for a short while. What must stay true: nothing is reported as gone
by a look through one of these, a look opens a connection of its own; a session in which anything
failed is closed; none is lent after `LIFE_S`, nor left unused for longer than `IDLE_S`, so that a
new password or a closed account shows soon, and a quiet server has no session of ours.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from broker.engines import Target
from broker.engines.postgres.account import check_version
from broker.engines.postgres.connect import connect
from broker.engines.postgres.line import bounded
from broker.engines.postgres.looks import Connection, telling_faults

LIFE_S, IDLE_S = 60.0, 5.0


@dataclass(frozen=True, slots=True)
class _Purpose:
    """Two sessions are alike when these are equal; a secret has no hash, so this is no key."""

    target: Target
    dbname: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    purpose: _Purpose
    connection: Connection
    opened_at: float  # both of time.monotonic()
    used_at: float


class WarmSessions:
    """Lends sessions, each to one at a time, and keeps those that come back whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []  # the last used at the end
        self._sweeping = False

    @contextlib.contextmanager
    def __call__(
        self,
        target: Target,
        *,
        dbname: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Iterator[Connection]:
        purpose = _Purpose(target, dbname or target.dbname, options or {})
        lent = self._take(purpose) or _open(purpose)
        try:
            with telling_faults(target, purpose.dbname), bounded(lent.connection):
                yield lent.connection
        except BaseException:
            lent.connection.close()
            raise
        self._keep(lent)

    def close(self) -> None:
        self._close_unused(0)

    def _take(self, purpose: _Purpose) -> _Kept | None:
        """The session of that purpose that was used last and was not ended since."""
        while True:
            with self._lock:
                alike = [kept for kept in self._kept if kept.purpose == purpose]
                if not alike:
                    return None
                self._kept.remove(alike[-1])
            if time.monotonic() - alike[-1].opened_at < LIFE_S and _is_quiet(alike[-1].connection):
                return alike[-1]
            alike[-1].connection.close()

    def _keep(self, lent: _Kept) -> None:
        with self._lock:
            self._kept.append(replace(lent, used_at=time.monotonic()))
            if not self._sweeping:
                self._sweeping = True
                self._sweep_later()

    def _sweep_later(self) -> None:
        timer = threading.Timer(IDLE_S / 2, self._sweep)
        timer.daemon = True
        timer.start()

    def _sweep(self) -> None:
        self._close_unused(IDLE_S)
        with self._lock:
            self._sweeping = bool(self._kept)
            if self._sweeping:
                self._sweep_later()

    def _close_unused(self, idle_s: float) -> None:
        before = time.monotonic() - idle_s
        with self._lock:
            over = [kept for kept in self._kept if kept.used_at <= before]
            self._kept = [kept for kept in self._kept if kept.used_at > before]
        for kept in over:
            kept.connection.close()


def _open(purpose: _Purpose) -> _Kept:
    connection = connect(purpose.target, dbname=purpose.dbname, options=purpose.options)
    try:
        check_version(connection.info.server_version)
    except BaseException:
        connection.close()
        raise
    now = time.monotonic()
    return _Kept(purpose, connection, now, now)


def _is_quiet(connection: Connection) -> bool:
    """Nothing has come in: a server that is stopped, or ends our session, says so or hangs up.

    One that vanished without a word shows at the first statement, which fails as any other.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
