"""The way to a database's server: straight, or through a host by the user's own ssh.

Through ssh the server keeps its name, so that TLS still checks its certificate: libpq connects to
PGHOSTADDR and verifies PGHOST.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from broker.cli.session import is_loopback
from broker.errors import Invalid, Unavailable

_LOOPBACK = "127.0.0.1"
_UP_WITHIN_S = 60  # a person may have to unlock a key
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach a server. `address` differs from `host` in a tunnel; `verified`: TLS must be."""

    host: str
    port: int
    address: str | None = None
    verified: bool = False


def is_here(host: str) -> bool:
    """A socket's folder, or an address of the machine itself: no network to listen on."""
    return host.startswith(("/", "@")) or is_loopback(host)


def straight(host: str, port: int) -> Way:
    return Way(host, port, verified=not is_here(host))


def tunnelled(host: str, local_port: int) -> Way:
    """A socket or loopback address is the far host's own: ssh carries all the way to it."""
    if is_here(host):
        return Way("localhost", local_port, _LOOPBACK)
    return Way(host, local_port, _LOOPBACK, verified=True)


def ssh_command(via: str, local_port: int, host: str, port: int) -> list[str]:
    """`ssh` that forwards a local port and does nothing else. Raises Invalid."""
    if via.startswith("-") or not via.isprintable() or " " in via:
        raise Invalid(f"{via!r} is no host for ssh")
    if host.startswith("/"):
        target = f"{host}/.s.PGSQL.{port}"
    else:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    forward = f"{_LOOPBACK}:{local_port}:{target}"
    return ["ssh", "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-L", forward, "--", via]


@contextlib.contextmanager
def open_way(host: str, port: int, via: str | None) -> Iterator[Way]:
    """Raises Unavailable when ssh does not come up."""
    if via is None:
        yield straight(host, port)
        return
    local_port = _free_port()
    command = ssh_command(via, local_port, host, port)
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        raise Unavailable(f"ssh can't be run: {error.strerror}") from None
    try:
        _wait_until_up(process, local_port)
        yield tunnelled(host, local_port)
    finally:
        process.terminate()
        process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], local_port: int) -> None:
    deadline = time.monotonic() + _UP_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, local_port), 1):
            return
        time.sleep(_POLL_S)
    raise Unavailable("ssh did not open the way to the server")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port
