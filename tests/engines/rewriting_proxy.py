"""Stands before a server and alters what it says of itself: its version, or who answers.

For what no real server at hand shows: PostgreSQL 14, and a pooler.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from broker.engines import Target

# The type of a message of the server's, and its body; gives the new body.
Rewrite = Callable[[bytes, bytes], bytes]


def as_version(version: str) -> Rewrite:
    """ParameterStatus `server_version`, which libpq reads."""
    name = b"server_version\0"
    return lambda kind, body: (
        name + version.encode() + b"\0" if kind == b"S" and body.startswith(name) else body
    )


def as_pooler(kind: bytes, body: bytes) -> bytes:
    """BackendKeyData with a process id that is not the one that answers."""
    return b"\0\0\0\x07" + body[4:] if kind == b"K" else body


@contextlib.contextmanager
def proxied(target: Target, rewrite: Rewrite) -> Iterator[Target]:
    """The target through the proxy; for one connection at a time."""
    with (
        tempfile.TemporaryDirectory(prefix="prx-") as folder,
        socket.socket(socket.AF_UNIX) as door,
    ):
        door.bind(str(Path(folder) / f".s.PGSQL.{target.port}"))
        door.listen()
        threading.Thread(target=_serve, args=(door, target, rewrite), daemon=True).start()
        yield replace(target, host=folder)
        door.shutdown(socket.SHUT_RDWR)


def _serve(door: socket.socket, target: Target, rewrite: Rewrite) -> None:
    with contextlib.suppress(OSError):  # the door was shut
        while True:
            client, _ = door.accept()
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(str(Path(target.host) / f".s.PGSQL.{target.port}"))
                threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
                _answer(server, client, rewrite)


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := client.recv(65536):
            server.sendall(block)
        server.shutdown(socket.SHUT_WR)


def _answer(server: socket.socket, client: socket.socket, rewrite: Rewrite) -> None:
    with server.makefile("rb") as words, contextlib.suppress(OSError):
        while kind := words.read(1):
            body = rewrite(kind, words.read(int.from_bytes(words.read(4)) - 4))
            client.sendall(kind + (len(body) + 4).to_bytes(4) + body)
