"""Stands before a server and writes down all that it says, for as many connections as come.

What a process of the tenant's server gives away passes here; nothing is altered.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.engines import Target
from tests.faults.door import open_to_all


@dataclass
class Wiretap:
    """`target` is the server through the tap; the bytes that it sent stand in files in `folder`."""

    target: Target
    folder: Path
    connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _next_file(self) -> Path:
        with self._lock:
            self.connections += 1
            return self.folder / f"connection-{self.connections:04}"

    def serve(self, door: socket.socket, behind: str) -> None:
        with contextlib.suppress(OSError):  # the door was shut
            while True:
                client, _ = door.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(behind)
                for source, sink, file in (
                    (client, server, None),
                    (server, client, self._next_file()),
                ):
                    threading.Thread(
                        target=_pass_on, args=(source, sink, file), daemon=True
                    ).start()


def _pass_on(source: socket.socket, sink: socket.socket, file: Path | None) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.callback(_shut, sink)
        written = stack.enter_context(file.open("wb", buffering=0)) if file else None
        while block := source.recv(1 << 16):
            if written:
                written.write(block)
            sink.sendall(block)


def _shut(sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tapped(target: Target, folder: Path) -> Iterator[Wiretap]:
    folder.mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="tap-") as place,
        socket.socket(socket.AF_UNIX) as door,
    ):
        name = f".s.PGSQL.{target.port}"
        door.bind(str(Path(place) / name))
        open_to_all(Path(place) / name)
        door.listen(32)
        tap = Wiretap(replace(target, host=place), folder)
        behind = str(Path(target.host) / name)
        threading.Thread(target=tap.serve, args=(door, behind), daemon=True).start()
        yield tap
        door.shutdown(socket.SHUT_RDWR)
