"""A database copied by the broker, nothing masked, and by `pg_dump | pg_restore`, to compare.

Both copies stand on the same test server, each restored by an owner who owns nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.ownership import find_owned
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect, tool_connection
from broker.engines.postgres.copying.archive import Archive
from broker.engines.postgres.copying.tools import tool
from broker.engines.postgres.masks import find_obstacle
from broker.engines.postgres.scram import new_password
from broker.grants.plan import make_plan
from broker.grants.policy import Policy, Rule
from broker.ids import new_id
from broker.sealing import new_data_key
from broker.secret import Secret
from broker.snapshots import loading
from broker.snapshots.model import Snapshot
from broker.snapshots.places import Places
from broker.snapshots.progress import Watch
from broker.stores.folder import FolderStore
from broker.tenancy import Tenancy
from tests.conftest import admin, superuser

Contents = Mapping[tuple[str, str], object]
KEEP_ALL = Policy(1, (Rule("all", "compared byte for byte", ("keep",)),), {"*": ("null",)})
_NAMES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = ANY (%s) AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%%'
    ORDER BY 1, 2"""
_ROWS = sql.SQL(
    "SELECT count(*), md5(string_agg(the_row::text, E'\\n' ORDER BY the_row::text COLLATE \"C\"))"
    " FROM {}{} AS the_row"
)
# As an unprivileged owner restores: none of these is a copy's matter.
_LEFT_OUT = ("--no-owner", "--no-acl", "--no-comments", "--no-publications", "--no-subscriptions")


class Unwatched(Watch):
    """Progress of a copy that no control database knows."""

    def __init__(self) -> None:
        super().__init__(None, None, "", 0)  # type: ignore[arg-type]  # tick() asks neither

    def tick(self) -> None:
        pass


def copied(source: Target, account: Target, folder: Path) -> Places:
    """The broker's own copy, nothing masked."""
    with connect(source) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'"
        schemas = tuple(name for (name,) in connection.execute(query))
        owned = find_owned(read_catalogue(connection, schemas), Tenancy(), schemas)
    plan = make_plan(
        KEEP_ALL, owned.catalogue, find_obstacle, whose=owned.whose, tenancy=Tenancy().digest()
    )
    assert all(table.rows for table in plan.tables), [t.note for t in plan.tables]
    snapshot = Snapshot(id=new_id("snp"), ends_at=datetime.now(UTC) + timedelta(hours=1))
    places = Places(snapshot, account, Secret(bytes(32)))
    store, key = FolderStore.create_folder(folder / snapshot.id), new_data_key()
    loading.fill(
        loading.Job(
            places,
            plan,
            KEEP_ALL,
            source,
            schemas,
            Tenancy(),
            store,
            key,
            Unwatched(),
            lambda _: None,
        )
    )
    return places


def dumped(target: Target, *arguments: str) -> Archive:
    archive = Archive()
    with (
        tool_connection(target) as connection,
        tool(
            "pg_dump",
            [*_LEFT_OUT, *arguments, f"--dbname={connection.dsn}"],
            connection=connection,
            stdout=archive.fd,
        ) as child,
    ):
        child.check_ended_well()
    return archive


@contextmanager
def peer(source: Target, server: EmbeddedServer) -> Iterator[str]:
    """The database that pg_dump and pg_restore make, through an owner who is nobody else."""
    name, password = f"peer_{secrets.token_hex(6)}", new_password()
    with admin(server) as connection:
        role = sql.Identifier(name)
        secret = sql.Literal(password.reveal())
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, secret))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(role, role)
        )
    try:
        target = replace(superuser(server, name), user=name, password=password)
        with (
            dumped(source, "--format=custom", "--no-large-objects") as archive,
            tool_connection(target) as connection,
            tool(
                "pg_restore",
                ["--no-owner", "--no-acl", "--exit-on-error", f"--dbname={connection.dsn}",
                 archive.path],
                connection=connection,
                fds=[archive.fd],
            ) as child,
        ):  # fmt: skip
            child.check_ended_well()
        yield name
    finally:
        with admin(server) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def definitions(target: Target) -> list[str]:
    with dumped(target, "--schema-only") as archive:
        lines = archive.read_bytes().decode().split("\n")
    return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


def contents(target: Target) -> Contents:
    """Rows of each table and materialised view by number and digest; sequences by their state."""
    with connect(target, options={"row_security": "off"}) as connection:
        return {
            **{name: _rows(connection, name, "ONLY ") for name in _names(connection, "r")},
            **{name: _rows(connection, name, "") for name in _names(connection, "m")},
            **{name: _state(connection, name) for name in _names(connection, "S")},
        }


def _names(connection: psycopg.Connection, kind: str) -> list[tuple[str, str]]:
    return connection.execute(_NAMES, [[kind]]).fetchall()


def _rows(connection: psycopg.Connection, name: tuple[str, str], only: str) -> object:
    query = _ROWS.format(sql.SQL(only), sql.Identifier(*name))  # type: ignore[arg-type]
    try:
        return connection.execute(query).fetchone()
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return "not populated"


def _state(connection: psycopg.Connection, name: tuple[str, str]) -> object:
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(*name))
    return connection.execute(query).fetchone()
