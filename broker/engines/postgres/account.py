"""The broker's own account on a server of others: what the DBA runs once, and what it rests on.

Three roles. `sab_managed` is a mark without rights: every role of ours is a member, so that a look
at the server alone finds them. `sab_reader` may read the application's tables; owners of masked
views inherit it, and so does the broker, which copies. The broker's login may make roles and end
sessions, and is no superuser. What must stay true: it can grant nothing but what stands here, and
no password in clear is in the text that the DBA runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from broker.engines import ServerUnavailable
from broker.engines.postgres.scram import check_verifier
from broker.errors import Invalid

MARK = "sab_managed"
READER = "sab_reader"
BACKUP = "sab_backup"  # what logins of backups share, for pg_hba.conf; where the tenant has some
OLDEST_VERSION = 150000
_OPTIONS_SINCE = 160000  # GRANT … WITH INHERIT, SET


class ServerTooOld(ServerUnavailable):
    """No work is done on a PostgreSQL before 15."""

    type = "server-too-old"


def check_version(server_version: int) -> None:
    """Raise ServerTooOld before PostgreSQL 15 (`server_version` as libpq gives it)."""
    if server_version < OLDEST_VERSION:
        raise ServerTooOld(
            f"PostgreSQL {server_version // 10000} is too old; support access needs 15 or newer, "
            "and 16 or newer is advised"
        )


def grant_role(
    connection: psycopg.Connection[tuple[Any, ...]],
    role: str,
    to: str,
    *,
    inherit: bool = False,
    settable: bool = False,
) -> None:
    """Make `to` a member of `role`; idempotent."""
    options = membership(connection.info.server_version, inherit=inherit, settable=settable)
    connection.execute(
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(to)) + options
    )


def membership(
    server_version: int, *, inherit: bool, settable: bool, admin: bool = False
) -> sql.SQL:
    """The options of a GRANT of membership.

    PostgreSQL 15 knows only ADMIN: every member may `SET ROLE` there, and a session that did keeps
    reading after REVOKE. Revoking ends every session before it looks, which closes this too.
    """
    if server_version < _OPTIONS_SINCE:
        return sql.SQL(" WITH ADMIN OPTION" if admin else "")
    words: LiteralString = " WITH ADMIN TRUE" if admin else " WITH ADMIN FALSE"
    words += ", INHERIT TRUE" if inherit else ", INHERIT FALSE"
    words += ", SET TRUE" if settable else ", SET FALSE"
    return sql.SQL(words)


def setup_sql(
    dbname: str,
    user: str,
    verifier: str,
    schemas: Sequence[str],
    *,
    app_roles: Sequence[str] = (),
    server_version: int = 170000,
) -> str:
    """What the tenant's DBA runs, connected to `dbname`, to register it. It may be run again.

    `schemas` are the application's, `app_roles` the roles that connect to the database or own its
    tables: PUBLIC loses CONNECT and TEMPORARY there, and they get both back by name.
    Raises Invalid if `verifier` is none, or nothing is named in `schemas`.
    """
    check_version(server_version)
    if not schemas:
        raise Invalid("name at least one schema of the application")
    login, database = sql.Identifier(user), sql.Identifier(dbname)
    lines = [
        *_login(user, verifier, sql.SQL("NOCREATEDB"), server_version),
        _role_unless_there(READER),
        _grant(READER, login, membership(server_version, inherit=True, settable=False, admin=True)),
        sql.SQL("GRANT pg_read_all_stats TO {}").format(login),
        # CONNECT with the grant option: each scope gets it, and loses it when it is dropped.
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {} WITH GRANT OPTION").format(database, login),
        sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, login),
    ]
    lines += [
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
            database, sql.Identifier(role)
        )
        for role in app_roles
    ]
    lines.append(
        sql.SQL("REVOKE CREATE, CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(database)
    )
    for schema in schemas:
        lines += _reading(schema, app_roles)
    return _script(lines)


def backup_setup_sql(user: str, host: str | None, *, server_version: int = 170000) -> str:
    """What the DBA runs once, after the setup, where backups are to be made with our logins.

    The lines for pg_hba.conf make the server itself refuse such a login from any other machine;
    `host` (an address with its prefix) is None for the server's own, by its socket.
    """
    options = membership(server_version, inherit=False, settable=False, admin=True)
    let_in = "local all {who}" if host is None else "hostssl all {who} {host}"
    lines = [
        "In pg_hba.conf, above any broader line:",
        f"{let_in.format(who='+' + BACKUP, host=host)} scram-sha-256",
        *([] if host is None else [f"local all +{BACKUP} reject"]),
        f"host all +{BACKUP} all reject",
    ]
    told = "".join(f"-- {line}\n" for line in lines)
    granted = _grant(BACKUP, sql.Identifier(user), options)
    return told + _script([_role_unless_there(BACKUP), granted])


def setup_test_server_sql(user: str, verifier: str, *, server_version: int = 170000) -> str:
    """What the operator of an internal test server runs once. It may be run again.

    PUBLIC loses the databases that every server has: a sandbox's logins reach their own only.
    """
    check_version(server_version)
    login = sql.Identifier(user)
    lines = _login(user, verifier, sql.SQL("CREATEDB"), server_version)
    lines += [
        sql.SQL("GRANT pg_checkpoint, pg_read_all_stats TO {}").format(login),
        sql.SQL("GRANT CONNECT ON DATABASE postgres TO {}").format(login),
        sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC"),
    ]
    return _script(lines)


def _login(
    user: str, verifier: str, createdb: sql.SQL, server_version: int
) -> list[sql.Composable]:
    check_verifier(verifier)
    login = sql.Identifier(user)
    return [
        _role_unless_there(MARK),
        _role_unless_there(user),
        sql.SQL("ALTER ROLE {} LOGIN INHERIT CREATEROLE NOSUPERUSER {} PASSWORD {}").format(
            login, createdb, sql.Literal(verifier)
        ),
        _grant(MARK, login, membership(server_version, inherit=False, settable=False, admin=True)),
        sql.SQL("GRANT pg_signal_backend TO {}").format(login),
    ]


def _reading(schema: str, app_roles: Sequence[str]) -> list[sql.Composable]:
    where, reader = sql.Identifier(schema), sql.Identifier(READER)
    lines: list[sql.Composable] = [
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(where, reader),
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(where, reader),
        sql.SQL("GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}").format(where, reader),
    ]
    # Default privileges belong to the role that makes the table: one line for each.
    makers = [sql.SQL(""), *(sql.SQL(" FOR ROLE {}").format(sql.Identifier(r)) for r in app_roles)]
    for maker in makers:
        for kind in (sql.SQL("TABLES"), sql.SQL("SEQUENCES")):
            lines.append(  # noqa: PERF401  # two nested comprehensions read worse
                sql.SQL("ALTER DEFAULT PRIVILEGES{} IN SCHEMA {} GRANT SELECT ON {} TO {}").format(
                    maker, where, kind, reader
                )
            )
    return lines


def _role_unless_there(name: str) -> sql.Composed:
    create = sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)).as_string()
    body = f"BEGIN {create}; EXCEPTION WHEN duplicate_object THEN NULL; END"
    return sql.SQL("DO {}").format(sql.Literal(body))


def _grant(role: str, to: sql.Identifier, options: sql.SQL) -> sql.Composed:
    return sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), to) + options


def _script(lines: Sequence[sql.Composable]) -> str:
    return "".join(
        f"{line.as_string()};\n" for line in [sql.SQL("BEGIN"), *lines, sql.SQL("COMMIT")]
    )
