"""Lines to servers that can be cut: a server that hangs answers nothing, and keeps nobody.

PostgreSQL's own limits are the server's to keep, and TCP's say only that the other machine is up;
libpq waits for ever for an answer that never comes. So whoever waits is cut off from our side: the
socket is shut, and the wait ends with an error as if the server had gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import psycopg

from broker.engines.lines import Lines

Connection = psycopg.Connection[tuple[Any, ...]]
LIMIT_S = 120.0  # of a short session: longer than its own deadlines and waits together


class _Cutter:
    """Shuts a session's socket, unless the session is over: its number may be another's then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._over = False

    def cut(self) -> None:
        with self._lock, contextlib.suppress(OSError, psycopg.Error):
            if not self._over:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        with self._lock:
            self._over = True


@contextlib.contextmanager
def bounded(connection: Connection) -> Iterator[None]:
    """Cut the session off when the block takes longer than `LIMIT_S`."""
    cutter = _Cutter(connection)
    timer = threading.Timer(LIMIT_S, cutter.cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        cutter.let_go()


def hold(connection: Connection, lines: Lines) -> None:
    """Let `lines` cut this session off, from whatever thread, as long as it is used.

    By a descriptor of its own: the session's number may be another's once it is closed.
    """
    line = socket.socket(fileno=os.dup(connection.fileno()))

    def cut() -> None:
        with contextlib.suppress(OSError):  # it is over already
            line.shutdown(socket.SHUT_RDWR)

    weakref.finalize(connection, line.close)
    weakref.finalize(connection, lines.hold(cut))
