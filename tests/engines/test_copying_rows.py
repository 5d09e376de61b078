"""Rows arrive whole or not at all, and nothing secret is seen on their way."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from broker.embedded import EmbeddedServer
from broker.engines import Target
from broker.engines.postgres.connect import connect
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.binary import can_be_binary
from broker.engines.postgres.copying.exporter import READER_OPTIONS, Exporter
from broker.engines.postgres.copying.rows import RowSource, RowTarget, copy_rows, load_rows
from broker.secret import Secret
from tests.conftest import new_database, superuser
from tests.engines.copying_world import opened_sandbox

TABLE = ("public", "t")
KEY = "k3y-of-this-copy"
MANY = 300_000


class Cancelled(Exception):
    pass


@pytest.fixture
def source(live_server: EmbeddedServer) -> Target:
    return superuser(live_server, new_database(live_server))


@pytest.fixture
def into(test_server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """A sandbox with a table that holds one row from before."""
    with opened_sandbox(test_server) as sandbox, sandbox.connect() as connection:
        connection.execute("CREATE TABLE public.t (n int, what text)")
        connection.execute("INSERT INTO public.t VALUES (0, 'before')")
        yield connection


@contextlib.contextmanager
def reading(source: Target, select: str) -> Iterator[RowSource]:
    with Exporter(source, []) as exporter:
        options = {**exporter.reader_options, "sab.key": Secret(KEY)}
        yield RowSource(source, exporter.snapshot_id, sql.Composed([sql.SQL(select)]), options)


def rows_select(count: int = MANY) -> str:
    return f"SELECT n, 'row ' || n FROM generate_series(1, {count}) n"


def children() -> list[Path]:
    """Processes that this one started, by their stat file (the parent stands after the name)."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text() if entry.name.isdigit() else ""
            after = stat.rpartition(")")[2].split()
            ours = after and after[1] == str(os.getpid())
            if ours and ("(psql)" in stat or "(bwrap)" in stat):  # in its cell, if there is one
                found.append(entry)
    return found


def only_the_row_from_before(into: psycopg.Connection) -> bool:
    return into.execute("SELECT * FROM public.t").fetchall() == [(0, "before")]


def test_every_block_is_teed_and_the_tee_fills_the_table_again(
    source: Target, into: psycopg.Connection
) -> None:
    blocks: list[bytes] = []
    target = RowTarget(into, TABLE, ["n", "what"])
    with reading(source, rows_select()) as rows:
        copied = copy_rows(rows, target, tee=blocks.append)
    assert copied.rows == MANY
    assert copied.bytes == sum(map(len, blocks))
    assert len(blocks) > 2
    digest = "SELECT count(*), sum(hashtext(t::text)) FROM public.t"
    first = into.execute(digest).fetchone()
    assert load_rows(blocks, target) == MANY
    assert into.execute(digest).fetchone() == first


def test_a_reader_that_fails_in_the_middle_leaves_nothing_and_tells_no_value(
    source: Target, into: psycopg.Connection
) -> None:
    select = f"SELECT n, 'x' || ('secret' || n)::text || CASE WHEN n = {MANY} THEN ('secret' || n)::int END FROM generate_series(1, {MANY}) n"  # noqa: E501  # one statement
    with reading(source, select) as rows, pytest.raises(CopyFailed) as caught:
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]))
    assert "22P02" in caught.value.message
    assert "secret" not in caught.value.message
    assert only_the_row_from_before(into)


def test_a_reader_that_is_killed_leaves_nothing(source: Target, into: psycopg.Connection) -> None:
    def kill(so_far: int) -> None:
        for child in children() if so_far else []:
            os.kill(int(child.name), signal.SIGKILL)

    with reading(source, rows_select(2 * MANY)) as rows, pytest.raises(CopyFailed):
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]), checkpoint=kill)
    assert only_the_row_from_before(into)


def test_a_cancelled_copy_leaves_nothing_and_no_child(
    source: Target, into: psycopg.Connection
) -> None:
    def cancel(so_far: int) -> None:
        if so_far:
            raise Cancelled

    with reading(source, rows_select()) as rows, pytest.raises(Cancelled):
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]), checkpoint=cancel)
    assert only_the_row_from_before(into)
    assert children() == []


def test_a_seal_that_fails_leaves_nothing(source: Target, into: psycopg.Connection) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "no space left")

    with reading(source, rows_select(5)) as rows, pytest.raises(OSError, match="no space"):
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]), tee=full)
    assert only_the_row_from_before(into)


def test_the_key_reaches_the_query_and_is_in_no_argument_and_no_environment(
    source: Target, into: psycopg.Connection
) -> None:
    seen: list[bytes] = []

    def look(so_far: int) -> None:
        for child in children() if so_far == 0 else []:
            seen.extend((child / name).read_bytes() for name in ("cmdline", "environ"))

    select = f"SELECT n, current_setting('sab.key') FROM generate_series(1, {MANY}) n"
    with reading(source, select) as rows:
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]), checkpoint=look)
    assert into.execute("SELECT DISTINCT what FROM public.t").fetchall() == [(KEY,)]
    assert any(b"COPY (SELECT" in text for text in seen)  # we did look at the reader
    for text in seen:
        assert KEY.encode() not in text
        assert source.password.reveal().encode() not in text


def test_a_statement_too_long_for_an_argument_is_read_all_the_same(
    source: Target, into: psycopg.Connection
) -> None:
    select = f"SELECT n, 'row ' || n /* {'-' * 200_000} */ FROM generate_series(1, 9) n"
    with reading(source, select) as rows:
        assert copy_rows(rows, RowTarget(into, TABLE, ["n", "what"])).rows == 9
    assert into.execute("SELECT max(what) FROM public.t").fetchone() == ("row 9",)


def test_a_long_statement_that_fails_leaves_nothing(
    source: Target, into: psycopg.Connection
) -> None:
    select = f"SELECT 1 / (n - 5), 'x' /* {'-' * 200_000} */ FROM generate_series(1, 9) n"
    with reading(source, select) as rows, pytest.raises(CopyFailed, match="22012"):
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]))
    assert only_the_row_from_before(into)


def test_rows_that_the_sandbox_refuses_are_not_quoted(
    source: Target, into: psycopg.Connection
) -> None:
    with reading(source, "SELECT 'hunter2', 'x'") as rows, pytest.raises(CopyFailed) as caught:
        copy_rows(rows, RowTarget(into, TABLE, ["n", "what"]))
    assert "22P02" in caught.value.message
    assert "hunter2" not in caught.value.message
    assert only_the_row_from_before(into)


def test_a_partitioned_root_is_added_to_and_its_leaf_is_emptied_first(
    source: Target, into: psycopg.Connection
) -> None:
    into.execute("CREATE TABLE public.p (n int, what text) PARTITION BY LIST (n)")
    into.execute("CREATE TABLE public.p1 PARTITION OF public.p DEFAULT")
    with reading(source, rows_select(1000)) as rows:
        for table in ("p1", "p1", "p"):
            copy_rows(rows, RowTarget(into, ("public", table), ["n", "what"]))
    assert into.execute("SELECT count(*) FROM public.p1").fetchone() == (2000,)


def test_rows_are_not_loaded_into_a_transaction_of_somebody_else(
    into: psycopg.Connection,
) -> None:
    into.execute("BEGIN")
    with pytest.raises(ValueError, match="transaction of their own"):
        load_rows([], RowTarget(into, TABLE, ["n", "what"]))


def test_a_snapshot_id_that_is_none_is_refused(source: Target, into: psycopg.Connection) -> None:
    rows = RowSource(source, "0'; DROP TABLE t; --", sql.Composed([sql.SQL("SELECT 1")]), {})
    with pytest.raises(ValueError, match="no id"):
        copy_rows(rows, RowTarget(into, TABLE, ["n"]))


EXTREMES = """
    CREATE DOMAIN public.word AS varchar(40);
    CREATE TABLE public.all_forms (
      a text, b varchar(9), c char(4), d boolean, e smallint, f int, g bigint, h real,
      i double precision, j numeric(20, 4), k numeric, l bytea, m date, n timestamp,
      o timestamptz, p uuid, q json, r jsonb, s public.word)"""
FILL = """
    INSERT INTO public.all_forms VALUES
      (E'tab\\t, \\\\N and é', '', 'é', true, -32768, 2147483647, -9223372036854775808, 'NaN',
       '-0', -0.0001, 'Infinity', '\\x00ff', '4714-11-24 BC', 'infinity',
       '294276-12-31 23:59:59+00',
       '12345678-1234-5678-1234-567812345678', '{"b": 1,  "b": 2}', '{"b": [1.0, null]}', 'dømain'),
      (NULL, NULL, NULL, NULL, NULL, NULL, NULL, '1e-45', '5e-324', 1e15, 1e-50, '', '-infinity',
       '4714-11-24 00:00:00 BC', '-infinity', NULL, 'null', '"\\u00e9"', '')"""
FORMS = [
    *("text", "character varying", "character", "boolean", "smallint", "integer", "bigint", "real"),
    *("double precision", "numeric", "numeric", "bytea", "date", "timestamp without time zone"),
    *("timestamp with time zone", "uuid", "json", "jsonb", "character varying"),
]


def test_values_that_pass_in_binary_arrive_as_they_were(
    source: Target, into: psycopg.Connection
) -> None:
    with connect(source, options=READER_OPTIONS) as there:
        there.execute(EXTREMES)
        there.execute(FILL)
        into.execute(EXTREMES)
        select = sql.SQL("SELECT t.* FROM public.all_forms AS t")
        assert can_be_binary(there, sql.Composed([select]), into, FORMS)
        with reading(source, select.as_string(into)) as rows:
            columns = [chr(ord("a") + place) for place in range(len(FORMS))]
            target = RowTarget(into, ("public", "all_forms"), columns, binary=True)
            assert copy_rows(rows, target).rows == 2
        shown = "SELECT t::text FROM public.all_forms t ORDER BY 1"
        assert into.execute(shown).fetchall() == there.execute(shown).fetchall()


@pytest.mark.parametrize(
    ("select", "base_type"),
    [
        ("SELECT 'x'::text", "integer"),
        ("SELECT 1::bigint", "integer"),
        ("SELECT 1::int", "bigint"),
        ("SELECT 1.0::numeric", "double precision"),
        ("SELECT now()", "timestamp without time zone"),
        ("SELECT 'red'", "public.colour"),
        ("SELECT ARRAY['x']", "text[]"),
        ("SELECT 1, 2", "integer"),
    ],
)
def test_what_could_be_read_as_another_value_passes_as_text(
    source: Target, into: psycopg.Connection, select: str, base_type: str
) -> None:
    with connect(source, options=READER_OPTIONS) as there:
        composed = sql.Composed([sql.SQL(select)])
        assert not can_be_binary(there, composed, into, [base_type])
