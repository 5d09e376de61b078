"""A source, a test server's account and a whole copy, for the tests of the copy engine."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.account import MARK
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying.archive import dump_definitions, restore
from broker.engines.postgres.copying.checks import check_copy
from broker.engines.postgres.copying.exporter import Exporter
from broker.engines.postgres.copying.rows import RowSource, RowTarget, copy_rows
from broker.engines.postgres.copying.sandbox import (
    NewSandbox,
    create_sandbox,
    drop_sandbox,
    open_owner,
)
from broker.engines.postgres.copying.sequences import analyze, set_sequences
from broker.engines.postgres.copying.toc import Skipped
from broker.engines.postgres.scram import make_verifier, new_password
from tests.conftest import admin

TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
    ORDER BY 1, 2"""
COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0
    AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""


@dataclass
class Sandbox:
    """An empty sandbox that its owner may enter: `owner` is that login."""

    account: Target
    new: NewSandbox
    owner: Target

    def connect(self) -> psycopg.Connection:
        return connect(self.owner)


def make_account(server: EmbeddedServer) -> Target:
    """The broker's account on a test server: no superuser."""
    name, password = f"broker_{secrets.token_hex(4)}", new_password()
    with admin(server) as connection:
        connection.execute(
            f"CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD '{make_verifier(password)}'"
        )
        connection.execute(f"GRANT pg_signal_backend, pg_checkpoint TO {name}")
        connection.execute(f"GRANT CONNECT ON DATABASE postgres TO {name}")
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [MARK]).fetchone():
            connection.execute(f"GRANT {MARK} TO {name} WITH ADMIN OPTION")
    return Target(server.host, server.port, "postgres", name, password)


@contextlib.contextmanager
def opened_sandbox(server: EmbeddedServer, encoding: str = "UTF8") -> Iterator[Sandbox]:
    account, mark, password = make_account(server), secrets.token_hex(6), new_password()
    new = NewSandbox(f"sab_x_{mark}", "sab1 here", f"sab_o_{mark}", "sab1 owner", encoding)
    create_sandbox(account, new)
    try:
        end = datetime.now(UTC) + timedelta(hours=1)
        open_owner(account, new.owner, make_verifier(password), end)
        owner = replace(account, dbname=new.name, user=new.owner, password=password)
        yield Sandbox(account, new, owner)
    finally:
        drop_sandbox(account, new.name, [new.owner])


def list_tables(target: Target) -> list[tuple[str, str]]:
    with connect(target) as connection:
        return [(schema, name) for schema, name in connection.execute(TABLES)]


def list_columns(connection: psycopg.Connection, table: tuple[str, str]) -> list[str]:
    name = sql.Identifier(*table).as_string(connection)
    return [row[0] for row in connection.execute(COLUMNS, [name])]


def plain_select(columns: Sequence[str], table: tuple[str, str]) -> sql.Composed:
    return sql.SQL("SELECT {} FROM ONLY {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(*table)
    )


@dataclass
class WholeCopy:
    """What a whole copy did; `problems` as the check gave them."""

    skipped: list[Skipped] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def copy_all(
    source: Target,
    sandbox: Sandbox,
    *,
    selects: Mapping[tuple[str, str], sql.Composed] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> WholeCopy:
    """Everything in order; `meanwhile` runs once after the snapshot was taken."""
    done, rows = WholeCopy(), {}
    with (
        Exporter(source, list_tables(source)) as exporter,
        sandbox.connect() as into,
        dump_definitions(source, exporter.snapshot_id) as archive,
    ):
        meanwhile()
        done.skipped += restore(archive, sandbox.owner, "pre-data")
        for table in list_tables(source):
            columns = list_columns(exporter.connection, table)
            select = (selects or {}).get(table, plain_select(columns, table))
            reading = RowSource(source, exporter.snapshot_id, select, exporter.reader_options)
            rows[table] = copy_rows(reading, RowTarget(into, table, columns)).rows
        set_sequences(exporter.connection, into)
        done.skipped += restore(archive, sandbox.owner, "post-data", jobs=2)
        analyze(into)
        skipped = {entry.entry.id for entry in done.skipped}
        done.problems = check_copy(exporter.connection, into, rows, skipped)
    return done


def all_rows(target: Target, table: tuple[str, str]) -> list[tuple[object, ...]]:
    with connect(target) as connection:
        name = sql.Identifier(*table)
        rows = connection.execute(sql.SQL("SELECT t.*::text FROM {} t").format(name))
        return sorted(rows.fetchall(), key=repr)
