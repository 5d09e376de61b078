"""The one connection that holds a snapshot open for all readers of a copy.

What must stay true: the tables are locked before the snapshot is taken. `LOCK TABLE` takes no
snapshot, so whatever was committed before the last lock is seen, and no TRUNCATE or rewriting ALTER
can run afterwards: without the locks it would leave importers with no rows and no error. A table
that changed between the look before and the look after was not the one that was planned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import errors, sql

from broker.engines import Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed, ObjectId, SourceBusy, SourceChanged

# The same text for the same value whatever the tenant set for our role or database; no helper
# processes on the tenant's server; a scan that starts where it starts.
READER_OPTIONS: Mapping[str, str] = {
    "client_encoding": "UTF8",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "xmloption": "content",
    "lc_monetary": "C",
    "idle_session_timeout": "0",
}

_STATE = """
    SELECT n.nspname, c.relname, c.oid, c.relfilenode, c.relkind
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]))
      AS wanted (schema, name)
      ON wanted.schema = n.nspname AND wanted.name = c.relname
    ORDER BY c.oid"""
_CONSTRAINTS = """
    SELECT n.nspname, r.relname, c.conname, c.tableoid, c.oid
    FROM pg_catalog.pg_constraint c
    JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace"""
_RELATIONS = """
    SELECT n.nspname, c.relname, c.tableoid, c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""


class Exporter:
    """`with Exporter(target, tables) as exporter:`, tables as (schema, name).

    Raises SourceChanged (start over), SourceBusy (a lock was not had in 5 s), CopyFailed, or
    ServerUnavailable. Leaving the block ends the snapshot: readers that imported it live on.
    """

    connection: psycopg.Connection[tuple[Any, ...]]
    snapshot_id: str

    def __init__(self, target: Target, tables: Sequence[tuple[str, str]]) -> None:
        self._target = target
        self._tables = list(tables)

    def __enter__(self) -> Self:
        self.connection = connect(self._target, options=READER_OPTIONS)
        try:
            self._take_snapshot()
        except BaseException:
            self.connection.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()  # the server rolls back: there is nothing to keep

    def _take_snapshot(self) -> None:
        if "transaction_timeout" in self.reader_options:
            self.connection.execute("SET transaction_timeout = 0")
        before = self._state()
        if len(before) != len(set(self._tables)):
            raise SourceChanged("a table of the plan is not there (any more); plan again")
        self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with _lock_errors():
            self._lock()
        row = self.connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
        self.snapshot_id = str(row[0]) if row else ""
        if self._state() != before:
            raise SourceChanged("a table changed while the snapshot was taken; start over")

    def _lock(self) -> None:
        if not self._tables:
            return
        names = sql.SQL(", ").join(sql.Identifier(*table) for table in self._tables)
        self.connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(names))

    def _state(self) -> list[tuple[Any, ...]]:
        schemas, names = [t[0] for t in self._tables], [t[1] for t in self._tables]
        return self.connection.execute(_STATE, [schemas, names]).fetchall()

    @property
    def reader_options(self) -> Mapping[str, str]:
        """Session options for every reader of this snapshot; the caller adds a masking key."""
        if self.connection.info.server_version >= 170000:
            return {**READER_OPTIONS, "transaction_timeout": "0"}
        return READER_OPTIONS

    def constraint_oids(self) -> dict[tuple[str, str, str], ObjectId]:
        """Ids of table constraints by (schema, table, name), as an archive's entries carry them."""
        rows = self.connection.execute(_CONSTRAINTS)
        return {(s, t, name): ObjectId(cat, oid) for s, t, name, cat, oid in rows}

    def relation_oids(self) -> dict[tuple[str, str], ObjectId]:
        """Ids of tables, views, sequences and indexes by (schema, name)."""
        rows = self.connection.execute(_RELATIONS)
        return {(schema, name): ObjectId(cat, oid) for schema, name, cat, oid in rows}


@contextlib.contextmanager
def _lock_errors() -> Iterator[None]:
    try:
        yield
    except errors.LockNotAvailable:
        raise SourceBusy(
            "a table in scope is locked by the tenant's own work (a migration?); try again later"
        ) from None
    except errors.UndefinedTable:
        raise SourceChanged("a table of the plan was dropped or renamed; plan again") from None
    except errors.InsufficientPrivilege:
        raise CopyFailed(
            "our login may not read every table of the plan; grant it SELECT"
        ) from None
    except errors.OutOfMemory:
        raise CopyFailed(
            "the tenant's server has too few lock slots for the tables of the plan; raise "
            "max_locks_per_transaction there"
        ) from None
