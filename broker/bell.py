"""Hearing at once that something changed, instead of asking every so often.

Whoever changes a thing rings with its id, at the commit of the change; whoever waits for it in any
process looks again. What must stay true: the bell is a hint. It says that a look is worth while and
nothing else, and who waits also looks without it, for a ring is lost while the connection is.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, LiteralString

import psycopg
import sqlalchemy as sa
from psycopg import sql

from broker.tx import Tx

Connection = psycopg.Connection[tuple[Any, ...]]
_CHANNEL = "broker_changed"
_RING = sa.text("SELECT pg_notify(:channel, id) FROM unnest(CAST(:ids AS text[])) AS ids (id)")
TURN_S = 1.0  # how often the listener sees that it was closed, or tries to connect again


def ring(tx: Tx, *identities: str) -> None:
    """When `tx` commits, wake whoever waits for one of `identities`."""
    tx.session.execute(_RING, {"channel": _CHANNEL, "ids": list(identities)})


def hear(
    connect: Callable[[], Connection],
    channel: LiteralString,
    closed: threading.Event,
    take: Callable[[str], None],
    opened: Callable[[], None] = lambda: None,
) -> None:
    """Give `take` whatever is told on `channel`, until `closed`; `opened` is called once we listen.

    Raises psycopg.Error when the connection is lost.
    """
    with connect() as connection:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        opened()
        while not closed.is_set():
            for notice in connection.notifies(timeout=TURN_S):
                take(notice.payload)


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
                hear(self._connect, _CHANNEL, self._closed, self._wake)
            self._closed.wait(TURN_S)

    def _wake(self, identity: str) -> None:
        with self._lock:
            for event in self._waiting.get(identity, ()):
                event.set()
