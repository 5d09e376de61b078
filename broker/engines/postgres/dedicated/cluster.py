"""The PostgreSQL server of one copy: its cluster, its process, and the broker's account in it.

It outlives the worker that started it, and dies with its volume. Its superuser has a password for
as long as the account is being made, and then may not log in any more.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from broker.embedded import BASE_SETTINGS, TEST_SERVER_SETTINGS
from broker.engines import Target
from broker.engines.postgres.account import setup_test_server_sql
from broker.engines.postgres.connect import connect, is_local
from broker.engines.postgres.dedicated import HostUnavailable, NewServer
from broker.engines.postgres.dedicated.seen import list_processes, wait_until
from broker.secret import Secret

_SUPERUSER = "postgres"
_WITHIN_S = 60
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
# One copy alone is on it, and at a crash of the host it is made again.
_SETTINGS = {
    **BASE_SETTINGS,
    **TEST_SERVER_SETTINGS,
    "max_connections": "60",
    "fsync": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Files that the server's user can read; the key by that user alone."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Cluster:
    """`data` and `log` are on the volume, `sockets` is a folder beside it, which holds no byte of a
    copy. `install` is a PostgreSQL's folder. `user` runs it, where we are root.
    """

    data: str
    sockets: str
    install: Path
    user: str
    tls: Tls | None = None

    def make(self, new: NewServer) -> None:
        """Raises HostUnavailable."""
        password = Secret(secrets.token_urlsafe(24))
        self._init(password)
        self.start(new.host, new.port)
        self._set_up(new, password)

    def start(self, host: str, port: int) -> None:
        """Raises HostUnavailable; idempotent."""
        if list_processes(self.data):
            return
        with contextlib.suppress(FileNotFoundError):  # of a server that the host's end took
            Path(self.data, "postmaster.pid").unlink()
        command = [str(self.install / "bin" / "postgres"), "-D", self.data]
        settings = {**_SETTINGS, **self._ways(host), "port": str(port)}
        command += [f"-c{name}={value}" for name, value in settings.items()]
        with open(f"{self.data}.log", "ab") as out:  # noqa: PTH123  # beside it, on the volume
            process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,  # it outlives this worker: its end is the copy's
                **self._as_user(),
            )
        wait_until(
            lambda: process.poll() is not None or self._is_ready(port),
            "a dedicated server does not start",
        )
        if process.poll() is not None:
            raise HostUnavailable("a dedicated server ended at once: see that its port is free")

    def stop(self) -> None:
        """End every process, at once: nothing that it could still write is wanted. Idempotent."""
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for pid in list_processes(self.data):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(HostUnavailable):
                wait_until(lambda: not list_processes(self.data), "")
                return
        raise HostUnavailable("a dedicated server does not end")

    def _ways(self, host: str) -> dict[str, str]:
        if host.startswith("/"):
            return {"unix_socket_directories": f"{self.sockets},{host}"}
        ways = {"unix_socket_directories": self.sockets, "listen_addresses": host}
        if self.tls is not None:
            files = {"ssl_cert_file": str(self.tls.certificate), "ssl_key_file": str(self.tls.key)}
            return ways | {"ssl": "on"} | files
        if not is_local(host):
            raise HostUnavailable(
                f"a dedicated server at {host} needs TLS; set BROKER_HOST__TLS_CERT and TLS_KEY"
            )
        return ways

    def _init(self, password: Secret[str]) -> None:
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, password.reveal().encode() + b"\n")
            os.close(write_end)
            if (ids := self.ids) is not None:
                os.fchown(read_end, *ids)
            done = subprocess.run(  # type: ignore[call-overload]
                [
                    str(self.install / "bin" / "initdb"),
                    *("-D", self.data, "-U", _SUPERUSER, "-A", "scram-sha-256"),
                    *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
                    f"--pwfile=/dev/fd/{read_end}",
                ],
                check=False,
                capture_output=True,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=[read_end],
                timeout=_WITHIN_S,
                **self._as_user(),
            )
        finally:
            os.close(read_end)
        if done.returncode != 0:
            raise HostUnavailable("initdb failed on a new volume; see that the disk has room")

    def _set_up(self, new: NewServer, password: Secret[str]) -> None:
        """The broker's account; then nobody is a superuser who can log in."""
        target = Target(self.sockets, new.port, "postgres", _SUPERUSER, password)
        with contextlib.closing(connect(target)) as connection:
            version = connection.info.server_version
            text = setup_test_server_sql(new.login, new.verifier, server_version=version)
            try:
                connection.execute(text.encode())
                connection.execute(f"ALTER ROLE {_SUPERUSER} NOLOGIN PASSWORD NULL".encode())
            except psycopg.Error as error:
                raise HostUnavailable(
                    f"a dedicated server was not set up: SQLSTATE {error.sqlstate}"
                ) from None

    def _is_ready(self, port: int) -> bool:
        probe: Sequence[str] = (
            *(str(self.install / "bin" / "pg_isready"), "-q"),
            *("-h", self.sockets, "-p", str(port)),
        )
        return subprocess.run(probe, check=False, cwd="/", env=_ENVIRONMENT).returncode == 0

    @property
    def ids(self) -> tuple[int, int] | None:
        return user_ids(self.user)

    def _as_user(self) -> dict[str, object]:
        if (ids := self.ids) is None:
            return {}
        return {"user": ids[0], "group": ids[1], "extra_groups": []}


def user_ids(user: str) -> tuple[int, int] | None:
    """Of the server's user where we are root; None where it is ourselves. Raises HostUnavailable"""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise HostUnavailable(f"there is no user {user}; run: useradd --system {user}") from None
    return found.pw_uid, found.pw_gid
