"""A door before a real server, which misbehaves when it is told to: for sockets of either kind.

It passes bytes on, both ways. While a `Fault` is set, that one is asked about each block, also of
sessions that were open before. Nothing here waits for a time: what hangs, hangs until the fault is
over, and is then cut off, as by a network that lost the line.
"""

from __future__ import annotations

import contextlib
import select
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Connect = Callable[[], socket.socket]
_BLOCK = 65536


class Shut(Exception):  # no error: how a fault ends a session
    """Both ends of a session are shut."""


@dataclass
class Line:
    """One session through the door. `told` counts the bytes of the server's that were passed on."""

    client: socket.socket
    server: socket.socket
    told: int = 0
    marked: bool = False


class Fault:
    """Passes everything on; the others say what they do not."""

    refuses = False

    def ask(self, line: Line, block: bytes) -> None:
        """A block from the client."""
        line.server.sendall(block)

    def answer(self, line: Line, block: bytes) -> None:
        """A block from the server."""
        line.told += len(block)
        line.client.sendall(block)


class Refused(Fault):
    """Nobody is let in, and who is in is put out."""

    refuses = True


@dataclass
class Cut(Fault):
    """Each session ends when `after` bytes of the server's answers have passed."""

    after: int

    def answer(self, line: Line, block: bytes) -> None:
        rest = self.after - line.told
        super().answer(line, block[: max(rest, 0)])
        if len(block) >= rest:
            raise Shut


@dataclass
class Hung(Fault):
    """Questions that hold `word` are taken, and never answered; nor are those after them."""

    word: bytes = b""
    seen: threading.Event = field(default_factory=threading.Event)

    def ask(self, line: Line, block: bytes) -> None:
        if line.marked or self.word in block:
            line.marked = True
            self.seen.set()
            return
        super().ask(line, block)


@dataclass
class SaidDone(Fault):
    """What holds `word` is not passed on, and is answered as if it had been done."""

    word: bytes
    said: bytes
    times: int = 0

    def ask(self, line: Line, block: bytes) -> None:
        if self.word in block:
            self.times += 1
            line.client.sendall(self.said)
            return
        super().ask(line, block)


@dataclass
class SaidFailed(Fault):
    """What holds `word` is done, and its answer is `said`; without one the line is cut then."""

    word: bytes
    said: bytes = b""
    times: int = 0

    def ask(self, line: Line, block: bytes) -> None:
        line.marked = line.marked or self.word in block
        super().ask(line, block)

    def answer(self, line: Line, block: bytes) -> None:
        if not line.marked:
            super().answer(line, block)
            return
        line.marked = False
        self.times += 1
        if not self.said:
            raise Shut
        line.client.sendall(self.said)


@dataclass
class NthCommit(Fault):
    """The commit of that number is done, and the line is cut before its answer."""

    number: int
    seen: int = 0

    def ask(self, line: Line, block: bytes) -> None:
        if b"COMMIT" in block:
            self.seen += 1
            line.marked = self.seen == self.number
        super().ask(line, block)

    def answer(self, line: Line, block: bytes) -> None:
        if line.marked:
            raise Shut
        super().answer(line, block)


class Slow(Fault):
    """The server's words come one by one."""

    def answer(self, line: Line, block: bytes) -> None:
        for at in range(0, len(block), 7):
            super().answer(line, block[at : at + 7])


# PostgreSQL's own words (its protocol, version 3).


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


def said(command: bytes) -> bytes:
    return message(b"C", command + b"\0") + message(b"Z", b"I")


def refusal(sqlstate: bytes, status: bytes = b"I") -> bytes:
    fields = (b"SERROR", b"VERROR", b"C" + sqlstate, b"Mrefused by the door", b"")
    return message(b"E", b"\0".join(fields) + b"\0") + message(b"Z", status)


class Door:
    """`fault` is what is wrong now, or None."""

    def __init__(self, entrance: socket.socket, connect: Connect) -> None:
        self.connect = connect
        self._entrance = entrance
        self._fault: Fault = Fault()
        self._lines: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    @contextlib.contextmanager
    def misbehaving(self, fault: Fault) -> Iterator[None]:
        """When it is over, what hung is cut, and what comes then passes."""
        self._fault = fault
        if fault.refuses:
            self._put_out()
        try:
            yield
        finally:
            self._fault = Fault()
            self._put_out()

    @contextlib.contextmanager
    def leading_to(self, connect: Connect) -> Iterator[None]:
        """Another server answers behind it meanwhile."""
        before, self.connect = self.connect, connect
        self._put_out()
        try:
            yield
        finally:
            self.connect = before
            self._put_out()

    def _put_out(self) -> None:
        for line in list(self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the door was shut
            while True:
                client, _ = self._entrance.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        if self._fault.refuses:
            client.close()
            return
        with client, contextlib.suppress(OSError, Shut), self.connect() as server:
            self._lines.add(client)
            try:
                self._pass_on(Line(client, server))
            finally:
                self._lines.discard(client)

    def _pass_on(self, line: Line) -> None:
        while True:
            for ready in select.select([line.client, line.server], [], [])[0]:
                block = ready.recv(_BLOCK)
                if not block:
                    return
                if ready is line.client:
                    self._fault.ask(line, block)
                else:
                    self._fault.answer(line, block)


def to_socket(path: Path) -> Connect:
    def connect() -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(path))
        return server

    return connect


def to_port(port: int) -> Connect:
    return lambda: socket.create_connection(("127.0.0.1", port))


def socket_of(folder: Path | str, port: int) -> Connect:
    """Of a PostgreSQL server."""
    return to_socket(Path(folder) / f".s.PGSQL.{port}")


def open_to_all(place: Path) -> None:
    """A socket and its folder, as a server's are: the client tools run as another user."""
    place.parent.chmod(0o755)
    place.chmod(0o777)


@contextlib.contextmanager
def door_of_postgres(folder: Path | str, port: int) -> Iterator[tuple[Door, str]]:
    """Before a server's socket; and the folder that is its `host` through the door."""
    with tempfile.TemporaryDirectory(prefix="dor-") as host, socket.socket(socket.AF_UNIX) as at:
        place = Path(host) / f".s.PGSQL.{port}"
        at.bind(str(place))
        open_to_all(place)
        at.listen(32)
        yield Door(at, socket_of(folder, port)), host
        at.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def door_of_tcp(connect: Connect) -> Iterator[tuple[Door, int]]:
    """A port on this machine's loopback, before whatever `connect` leads to."""
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        at.listen(32)
        yield Door(at, connect), at.getsockname()[1]
        at.shutdown(socket.SHUT_RDWR)
