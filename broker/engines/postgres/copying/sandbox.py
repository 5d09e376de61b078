"""Sandbox databases on a test server: made, opened for a load, given out, dropped, found again.

Two roles share a sandbox. The broker's account (NOSUPERUSER CREATEDB CREATEROLE, in
`pg_signal_backend`, best also in `pg_checkpoint`) owns the *database*. A throw-away owner owns
every *object* in it and nothing else, for the tenant's code runs as that owner. What must stay
true: that code can't touch the label, the connection rights or the existence of its database (the
database's owner could), and the owner can log in only while a load runs.

Whether files of a dropped database are really gone can't be seen from here: an unprivileged account
can't list the server's folders. The dedicated reaper beside the server looks there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql

from broker.engines import Target
from broker.engines.postgres.account import MARK
from broker.engines.postgres.connect import connect, run
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.line import bounded
from broker.engines.postgres.scram import check_verifier
from broker.errors import Invalid

Connection = psycopg.Connection[tuple[Any, ...]]
_NAME = re.compile(r"sab_[a-z0-9_]{1,59}")
_LOAD_CONNECTIONS = 16  # rows in parallel and pg_restore's jobs
_END_MS = 5000
_INVALID = -2  # datconnlimit of a database whose DROP was cut short
_ENCODINGS = (
    "SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database"
    " WHERE datname = 'template0'"
)
_USE: dict[str, LiteralString] = {
    "schema": "GRANT USAGE ON SCHEMA {} TO {}",
    "table": "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {}",
    "sequence": "GRANT USAGE, SELECT ON SEQUENCE {} TO {}",
}
# Of what the owner makes from now on: an engineer who develops, and the tenant's own code.
_USE_LATER: tuple[LiteralString, ...] = (
    "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {}",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}",
    "ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO {}",
)
_OWNED = """
    SELECT 'schema', nspname, NULL FROM pg_catalog.pg_namespace
    WHERE nspowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND nspname NOT LIKE 'pg\\_%'
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, nspname, relname
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND relkind IN ('r', 'p', 'v', 'm', 'S') AND nspname NOT LIKE 'pg\\_%'"""
_LEFTOVERS = """
    SELECT DISTINCT d.datname
    FROM pg_catalog.pg_shdepend s
    JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
    JOIN pg_catalog.pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      AND r.rolname = %s AND d.datallowconn"""
_FOUND = """
    SELECT datname, pg_catalog.shobj_description(oid, 'pg_database')
    FROM pg_catalog.pg_database
    WHERE NOT datistemplate AND datname <> 'postgres'
    ORDER BY datname"""


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """Names begin with `sab_`. A label is bound to its place, so database and owner have each one.

    `encoding` is the source's, e.g. `UTF8`; another than the test server's own sorts by bytes.
    """

    name: str
    label: str
    owner: str
    owner_label: str
    encoding: str = "UTF8"


@dataclass(frozen=True, slots=True)
class Found:
    """A database on a test server: `label_text` is its comment."""

    name: str
    label_text: str | None


def create_sandbox(server: Target, new: NewSandbox) -> None:
    """Make an empty, labelled database and its owner, who can't log in yet.

    A name that is taken is an error: drop what is there first. Raises CopyFailed.
    """
    _check_ours(new.name, new.owner)
    with _session(server) as connection:
        create_role(server, new.owner, new.owner_label)
        connection.execute(_create_statement(connection, new))
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        connection.execute(comment.format(sql.Identifier(new.name), sql.Literal(new.label)))
        run(connection, "REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC", name=new.name)
        # CREATE is for schemas and trusted extensions.
        run(
            connection,
            "GRANT CONNECT, TEMPORARY, CREATE ON DATABASE {name} TO {owner}",
            name=new.name,
            owner=new.owner,
        )
    with _session(replace(server, dbname=new.name)) as connection:
        run(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        run(connection, "GRANT USAGE, CREATE ON SCHEMA public TO {owner}", owner=new.owner)


def _create_statement(connection: Connection, new: NewSandbox) -> sql.Composed:
    row = connection.execute(_ENCODINGS).fetchone()
    locale = "" if row and row[0] == new.encoding else " LOCALE 'C'"
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {}" + locale).format(
        sql.Identifier(new.name), sql.Literal(new.encoding)
    )


def create_role(server: Target, role: str, label: str) -> None:
    """Make a role that can't log in, labelled, and a member of the mark where that exists."""
    _check_ours(role)
    with _session(server) as connection, connection.transaction():
        run(
            connection,
            "CREATE ROLE {role} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            " NOBYPASSRLS NOINHERIT",
            role=role,
        )
        comment = sql.SQL("COMMENT ON ROLE {} IS {}")
        connection.execute(comment.format(sql.Identifier(role), sql.Literal(label)))
        if _exists(connection, MARK):
            run(connection, "GRANT {mark} TO {role}", mark=MARK, role=role)


def open_owner(server: Target, owner: str, verifier: str, valid_until: datetime) -> None:
    """Let the owner log in until then; `verifier` is SCRAM's, never a password in clear."""
    _check_ours(owner)
    check_verifier(verifier)
    statement = sql.SQL("ALTER ROLE {} LOGIN CONNECTION LIMIT {} PASSWORD {} VALID UNTIL {}")
    with _session(server) as connection:
        connection.execute(
            statement.format(
                sql.Identifier(owner),
                sql.Literal(_LOAD_CONNECTIONS),
                sql.Literal(verifier),
                sql.Literal(valid_until.astimezone(UTC).isoformat()),
            )
        )


def close_owner(server: Target, owner: str) -> None:
    """Shut the owner out and end its sessions. Raises CopyFailed while one is left."""
    _check_ours(owner)
    with _session(server) as connection:
        if _exists(connection, owner):
            _shut_out(connection, owner)


def _shut_out(connection: Connection, role: str) -> None:
    run(connection, "ALTER ROLE {role} NOLOGIN PASSWORD NULL", role=role)
    # To end another role's sessions one must be a member of it, or of pg_signal_backend.
    for _ in range(2):  # a login that was under way when the role was shut
        connection.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid, %s) FROM pg_catalog.pg_stat_activity"
            " WHERE usename = %s",
            [_END_MS, role],
        )
    left = connection.execute(
        "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE usename = %s", [role]
    ).fetchone()
    if left is not None:
        raise CopyFailed(f"a session of {role} on the test server does not end")


def grant_connect(server: Target, name: str, role: str) -> None:
    """Let a template role's members into the sandbox: the owner can't, it does not own it."""
    _check_ours(name, role)
    with _session(server) as connection:
        run(connection, "GRANT CONNECT ON DATABASE {name} TO {role}", name=name, role=role)


def grant_use(owner_connection: Connection, template_role: str) -> None:
    """Give a template role the owner's tables to read and write, and the sequences to draw from."""
    _check_ours(template_role)
    role = sql.Identifier(template_role)
    owned: dict[str, list[sql.Composable]] = {"schema": [], "table": [], "sequence": []}
    for kind, schema, name in owner_connection.execute(_OWNED).fetchall():
        owned[kind].append(sql.Identifier(schema, name) if name else sql.Identifier(schema))
    for kind, rights in _USE.items():
        if owned[kind]:
            names = sql.SQL(", ").join(owned[kind])
            owner_connection.execute(sql.SQL(rights).format(names, role))
    for rights in _USE_LATER:
        owner_connection.execute(sql.SQL(rights).format(role))


def drop_sandbox(
    server: Target,
    name: str,
    roles: Sequence[str],
    is_part: Callable[[Found], bool] = lambda _: False,
) -> None:
    """Drop a sandbox, also a half-dropped one, and its roles; idempotent.

    With it goes every other database of which `is_part` says so: an engineer's clone, or the
    sandbox under another name. A CHECKPOINT follows where the account may, so that no file waits
    for the next. Raises CopyFailed with what stands in the way: call again.
    """
    _check_ours(name, *roles)
    with _session(server) as connection:
        present = [role for role in roles if _exists(connection, role)]
        for role in present:
            run(connection, "GRANT {role} TO CURRENT_USER", role=role)  # to end what it runs
            _shut_out(connection, role)
        names = [found.name for found in list_sandboxes_in(connection) if is_part(found)]
        for one in dict.fromkeys([name, *names]):
            _drop_database(connection, one)
        for role in present:
            _drop_role(server, connection, role)
        with contextlib.suppress(errors.InsufficientPrivilege):
            connection.execute("CHECKPOINT")


def _drop_database(connection: Connection, name: str) -> None:
    _check_ours(name)
    limit = connection.execute(
        "SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = %s", [name]
    ).fetchone()
    if limit is not None:
        if limit[0] != _INVALID:
            run(connection, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=name)
        run(connection, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name)


def _drop_role(server: Target, connection: Connection, role: str) -> None:
    """The tenant's code may have left something of its owner's in a database open to everybody."""
    places = [row[0] for row in connection.execute(_LEFTOVERS, [role])]
    for place in places:
        with _session(replace(server, dbname=place)) as there:
            run(there, "DROP OWNED BY {role}", role=role)
    run(connection, "DROP ROLE IF EXISTS {role}", role=role)


def list_sandboxes(server: Target) -> list[Found]:
    """Every database that is neither a template nor `postgres`, ours or not: look at the labels."""
    with _session(server) as connection:
        return list_sandboxes_in(connection)


def list_sandboxes_in(connection: Connection) -> list[Found]:
    return [Found(*row) for row in connection.execute(_FOUND)]


def _check_ours(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is not the name of a sandbox or a role of ours")


def _exists(connection: Connection, role: str) -> bool:
    found = connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", [role])
    return found.fetchone() is not None


@contextlib.contextmanager
def _session(server: Target) -> Iterator[Connection]:
    with contextlib.closing(connect(server)) as connection:
        try:
            with bounded(connection):
                yield connection
        except psycopg.Error as error:
            raise CopyFailed(
                f"the test server refused: {error.diag.message_primary or 'no answer'}",
                sqlstate=error.sqlstate,
            ) from None
