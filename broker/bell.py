"""Hearing at once that something changed, instead of asking every so often.

Whoever changes a thing rings with its id, at the commit of the change; whoever waits for it in any
process looks again. What must stay true: the bell is a hint. It says that a look is worth while and
nothing else, and who waits also looks without it, for a ring is lost while the connection is.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

from broker.tx import Tx

Connection = psycopg.Connection[tuple[Any, ...]]
_CHANNEL = "broker_changed"
_TURN_S = 1.0  # how often the listener sees that it was closed, or tries to connect again


def ring(tx: Tx, identity: str) -> None:
    """When `tx` commits, wake whoever waits for `identity`."""
    tx.session.execute(sa.select(sa.func.pg_notify(_CHANNEL, identity)))


class Bell:
    """Listens on a connection of its own, in a thread that starts with the first who waits."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """`connect` opens a session with autocommit on the control database."""
        self._connect = connect
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextlib.contextmanager
    def heard(self, identity: str) -> Iterator[threading.Event]:
        """An event that is set whenever somebody rings with `identity`."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(identity, set()).add(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, daemon=True)
                self._thread.start()
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[identity].discard(event)
                if not self._waiting[identity]:
                    del self._waiting[identity]

    def close(self) -> None:
        self._closed.set()

    def _listen(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(psycopg.Error):
                self._listen_once()
            self._closed.wait(_TURN_S)

    def _listen_once(self) -> None:
        """Until closed; raises psycopg.Error when the connection is lost."""
        with self._connect() as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            while not self._closed.is_set():
                for notice in connection.notifies(timeout=_TURN_S):
                    self._wake(notice.payload)

    def _wake(self, identity: str) -> None:
        with self._lock:
            for event in self._waiting.get(identity, ()):
                event.set()
