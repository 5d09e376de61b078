"""Rows on their way: out of the tenant's server masked, into the sandbox and the seal, undecoded.

`psql` reads and libpq writes, joined by a pipe: Python moves blocks of 1 MiB, never rows. What must
stay true: a table is committed only when its reader ended well, so a copy has all rows or none;
every reader stands on the exporter's snapshot; and the masking key passes as a start-up option in a
service file in memory, never in an argument, a statement or the environment.

The SELECT is an argument of `psql -c`, which everybody on this machine may see while it runs: it
may hold ids that choose rows, but no secret. It is not fed as a script, because a hostile server
could, by the encoding that it announces, make psql find its own commands inside a quoted name.
`-c` goes to the server unparsed when it does not begin with a backslash.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from broker.engines import Target
from broker.engines.postgres.connect import connect, tool_connection
from broker.engines.postgres.copying import CopyFailed, SourceBusy
from broker.engines.postgres.copying.exporter import READER_OPTIONS
from broker.engines.postgres.copying.tools import BLOCK_BYTES, tool
from broker.secret import Secret

Connection = psycopg.Connection[tuple[Any, ...]]
Expected = Callable[[], int] | None
Load = Callable[[Iterable[bytes], "RowTarget", Expected], int]
_KINDS = """
    SELECT n.nspname::text, c.relname::text, c.relkind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]))
      AS wanted (schema, name)
      ON wanted.schema = n.nspname AND wanted.name = c.relname"""
# Linux takes 128 KiB in one argument; a longer statement goes through libpq here, row by row.
MAX_ARGUMENT_BYTES = 120_000
_SNAPSHOT_ID = re.compile(r"[0-9A-F]+-[0-9A-F]+-[0-9]+")
_SQLSTATE = re.compile(r"^(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5})$", re.MULTILINE)
_LOCK_NOT_AVAILABLE = "55P03"
_LOST = "the connection to the tenant's server broke while rows were read, or the reader was killed"
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True, slots=True)
class RowSource:
    """What is read: `select` in the tenant's database, under the exporter's snapshot.

    `options` are session options, e.g. the masking key and `Exporter.reader_options`. A `session`
    (see `reading_session`) saves a small table the start of a child.
    """

    target: Target
    snapshot_id: str
    select: sql.Composed
    options: Mapping[str, str | Secret[str]]
    session: Connection | None = None


@dataclass(frozen=True, slots=True)
class RowTarget:
    """Where rows go: `table` as (schema, name), in the sandbox, through its owner's connection.

    `columns` in the order of the SELECT, without generated ones; empty for a table without columns.
    `binary` is the form in which the rows come, see `binary.can_be_binary`; else it is text.
    """

    connection: Connection
    table: tuple[str, str]
    columns: Sequence[str]
    binary: bool = False

    def form(self) -> sql.Composable:
        """The options of COPY that say so, the same on both sides."""
        if self.binary:
            return sql.SQL("FORMAT binary")
        # The text of values is in this encoding.
        return sql.SQL("ENCODING {}").format(sql.Literal(_encoding(self.connection)))


@dataclass(frozen=True, slots=True)
class CopiedRows:
    rows: int
    bytes: int  # in the form in which they came


def copy_rows(
    source: RowSource,
    into: RowTarget,
    *,
    tee: Callable[[bytes], None] | None = None,
    checkpoint: Callable[[int], None] = lambda _: None,
    load: Load | None = None,
) -> CopiedRows:
    """Copy a table's rows; `tee` gets each block too (to seal it).

    `load` is one of `loading`, for a table among several; else it is a transaction of its own.
    `checkpoint` is called with the bytes so far before each block, and may raise to cancel.
    Through a session both servers count; unless they agree, and whatever is raised, the reader is
    ended and nothing is left in the table. Raises CopyFailed, or SourceBusy when the copy stands in
    the tenant's way.
    """
    total = 0

    def watched(blocks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal total
        for block in blocks:
            checkpoint(total)
            if tee is not None:
                tee(block)
            total += len(block)
            yield block
        checkpoint(total)

    statement = sql.SQL("COPY ({}) TO STDOUT WITH ({})").format(source.select, into.form())
    with _read(source, statement, into.connection) as reading:
        rows = (load or load_rows)(watched(reading.blocks), into, reading.rows)
    return CopiedRows(rows, total)


def load_rows(blocks: Iterable[bytes], into: RowTarget, expected: Expected = None) -> int:
    """Fill one table, see `loading`; return the number of rows, by the server's count."""
    with loading([into]) as load:
        return load(blocks, into, expected)


@contextlib.contextmanager
def loading(targets: Sequence[RowTarget]) -> Iterator[Load]:
    """Fill tables with blocks of COPY's format, all in one transaction on one connection.

    Tables are emptied and filled in one transaction, so that their rows are frozen and (with
    `wal_level=minimal`) those of large ones never enter the WAL. A partitioned root allows neither;
    it is added to. `expected` tells, once a table's blocks are at their end, how many rows they
    should have been. Raises CopyFailed; whatever is raised, nothing of the blocks is left.
    """
    connection = targets[0].connection
    if connection.info.transaction_status != TransactionStatus.IDLE:
        msg = "rows are loaded in a transaction of their own; the connection is in another"
        raise ValueError(msg)
    tables = [target.table for target in targets]
    with _sandbox_errors(tables), connection.transaction(), connection.cursor() as cursor:
        # As the tenant's application does: a CHECK may call functions by unqualified names. It is
        # safe because this login owns nothing but the sandbox's objects.
        cursor.execute(
            "SET LOCAL search_path = public;"
            " SET LOCAL synchronous_commit = off;"  # see `archive`
            " SET LOCAL lc_monetary = 'C'"
        )
        roots = _find_partitioned_roots(cursor, tables)
        emptied = [sql.Identifier(*table) for table in tables if table not in roots]
        if emptied:
            only = sql.SQL(", ONLY ").join(emptied)
            cursor.execute(sql.SQL("TRUNCATE ONLY {}").format(only))

        def load(blocks: Iterable[bytes], into: RowTarget, expected: Expected) -> int:
            with _sandbox_errors([into.table]):
                with cursor.copy(_copy_from(into, frozen=into.table not in roots)) as copy:
                    for block in blocks:
                        copy.write(block)
                _check_count(into.table, expected, cursor.rowcount)
                return cursor.rowcount

        yield load


def _copy_from(into: RowTarget, *, frozen: bool) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, into.columns))
    return sql.SQL("COPY {} {} FROM STDIN WITH ({}{})").format(
        sql.Identifier(*into.table),
        sql.SQL("({})").format(columns) if into.columns else sql.SQL(""),
        into.form(),
        sql.SQL(", FREEZE" if frozen else ""),
    )


def _check_count(table: tuple[str, str], expected: Expected, rows: int) -> None:
    if expected is not None and (wanted := expected()) != rows:
        raise CopyFailed(f"the sandbox took {rows} rows of {'.'.join(table)}, {wanted} were read")


def _encoding(connection: Connection) -> str:
    return connection.info.parameter_status("server_encoding") or "UTF8"


def _find_partitioned_roots(
    cursor: psycopg.Cursor[tuple[Any, ...]], tables: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    rows = cursor.execute(_KINDS, [[t[0] for t in tables], [t[1] for t in tables]]).fetchall()
    kinds = {(schema, name): kind for schema, name, kind in rows}
    for table in tables:
        if table not in kinds:
            raise CopyFailed(f"the table {'.'.join(table)} is not in the sandbox")
    return {table for table, kind in kinds.items() if kind == "p"}


@contextlib.contextmanager
def _sandbox_errors(tables: Sequence[tuple[str, str]]) -> Iterator[None]:
    """A server's message may quote a value: only its code and the names of things are kept."""
    where = ", ".join(map(".".join, tables[:3])) + (" and others" if len(tables) > 3 else "")
    try:
        yield
    except psycopg.Error as error:
        named = (error.diag.constraint_name, error.diag.column_name, error.diag.datatype_name)
        about = ", ".join(name for name in named if name)
        raise CopyFailed(
            f"the sandbox refused rows of {where}: SQLSTATE {error.sqlstate or 'none'}"
            + (f" ({about})" if about else ""),
            sqlstate=error.sqlstate,
        ) from None


@contextlib.contextmanager
def reading_session(
    target: Target, snapshot_id: str, options: Mapping[str, str | Secret[str]]
) -> Iterator[Connection]:
    """A session of our own that stands on the snapshot, for many tables one after the other."""
    begin = [_BEGIN, f"SET TRANSACTION SNAPSHOT '{_checked(snapshot_id)}'"]
    opened = connect(target, options={**READER_OPTIONS, **options})
    with contextlib.closing(opened) as connection, source_errors():
        for statement in begin:
            connection.execute(statement.encode())
        yield connection


def _checked(snapshot_id: str) -> str:
    if not _SNAPSHOT_ID.fullmatch(snapshot_id):
        msg = "this is no id of an exported snapshot"
        raise ValueError(msg)
    return snapshot_id


@dataclass(frozen=True, slots=True)
class _Reading:
    """Blocks of what a COPY statement gives, of which the last raises unless the reader ended well;
    and then the number of rows, as the source counted them (psql keeps that to itself).
    """

    blocks: Iterator[bytes]
    rows: Callable[[], int] | None


@contextlib.contextmanager
def _read(source: RowSource, statement: sql.Composed, quoting: Connection) -> Iterator[_Reading]:
    text = statement.as_string(quoting).encode()
    options = {**READER_OPTIONS, **source.options}
    if source.session is not None:
        with source_errors():
            yield _read_by_session(source.session, text)
    elif len(text) <= MAX_ARGUMENT_BYTES:
        with _read_by_psql(source, text, options) as reading:
            yield reading
    else:
        with reading_session(source.target, source.snapshot_id, options) as connection:
            yield _read_by_session(connection, text)


@contextlib.contextmanager
def _read_by_psql(
    source: RowSource, statement: bytes, options: Mapping[str, str | Secret[str]]
) -> Iterator[_Reading]:
    arguments: list[str | bytes] = [
        *("--no-psqlrc", "--quiet", "--no-password"),
        # Of an error only the code: its message may quote a value.
        *("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate"),
        "--command=" + _BEGIN,
        f"--command=SET TRANSACTION SNAPSHOT '{_checked(source.snapshot_id)}'",
        b"--command=" + statement,
    ]
    with (
        tool_connection(source.target, options=options) as connection,
        tool("psql", [*arguments, f"--dbname={connection.dsn}"], connection=connection) as child,
    ):

        def blocks() -> Iterator[bytes]:
            while block := child.stdout.read(BLOCK_BYTES):
                yield block
            try:
                child.check_ended_well()
            except CopyFailed:
                code = _SQLSTATE.search(child.complaints())
                raise (_refused(code[1]) if code else CopyFailed(_LOST)) from None

        yield _Reading(blocks(), None)


def _read_by_session(connection: Connection, statement: bytes) -> _Reading:
    """Without a child: for small tables, and for statements that no argument can hold.

    For large tables about half as fast, for here each row passes through Python.
    """
    counted = -1

    def blocks() -> Iterator[bytes]:
        nonlocal counted
        with connection.cursor() as cursor:
            held = bytearray()
            with cursor.copy(statement) as copy:
                for row in copy:
                    held += row
                    if len(held) >= BLOCK_BYTES:
                        yield bytes(held)
                        held.clear()
            counted = cursor.rowcount
        if held:
            yield bytes(held)

    return _Reading(blocks(), lambda: counted)


@contextlib.contextmanager
def source_errors() -> Iterator[None]:
    """The source's refusals as CopyFailed or SourceBusy, without its own words."""
    try:
        yield
    except psycopg.Error as error:
        raise (_refused(error.sqlstate) if error.sqlstate else CopyFailed(_LOST)) from None


def _refused(sqlstate: str) -> CopyFailed | SourceBusy:
    """A reader that starts while somebody waits for the exporter's lock queues behind them."""
    if sqlstate == _LOCK_NOT_AVAILABLE:
        return SourceBusy(
            "the tenant's own work (a migration?) waits for a table that is being copied; let it "
            "pass and start over"
        )
    return CopyFailed(
        f"the tenant's server refused to give rows: SQLSTATE {sqlstate}", sqlstate=sqlstate
    )
