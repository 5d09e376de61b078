"""Sequences and statistics: what follows the rows.

Sequences are not part of a snapshot. What must stay true: they are read after the last row was
copied, so that they stand at or beyond every copied id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from broker.engines.postgres.copying import CopyFailed

Connection = psycopg.Connection[tuple[Any, ...]]
_SEQUENCES = """
    SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND c.relpersistence <> 't'"""
_SET = """
    SELECT pg_catalog.setval(
      pg_catalog.format('%%I.%%I', %s::text, %s::text)::pg_catalog.regclass, %s, %s)"""


class SequenceState(NamedTuple):
    """Where a sequence stands."""

    schema: str
    name: str
    last_value: int
    is_called: bool


def set_sequences(source: Connection, sandbox_owner: Connection) -> list[SequenceState]:
    """Put every sequence of the sandbox where the source's stands now, and return where that is.

    Raises CopyFailed.
    """
    states: list[SequenceState] = []
    for schema, name in sandbox_owner.execute(_SEQUENCES).fetchall():
        read = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
        try:
            state = source.execute(read).fetchone()
        except psycopg.Error as error:
            raise CopyFailed(
                f"the sequence {schema}.{name} can't be read: SQLSTATE {error.sqlstate}",
                sqlstate=error.sqlstate,
            ) from None
        if state is not None:
            states.append(SequenceState(schema, name, *state))
    put_sequences(sandbox_owner, states)
    return states


_OWNED = """
    SELECT n.nspname, c.relname, tn.nspname, t.relname, a.attname, s.seqmax
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid AND s.seqincrement > 0
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
    WHERE a.atttypid IN ('pg_catalog.int2'::pg_catalog.regtype,
      'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype)"""


def set_sequences_by_rows(sandbox_owner: Connection) -> list[SequenceState]:
    """For a part of a database: put each sequence that belongs to a column beyond that column's
    rows in the sandbox, and return where that is. The others begin anew.
    """
    states: list[SequenceState] = []
    for schema, name, table_schema, table, column, most in sandbox_owner.execute(_OWNED).fetchall():
        highest = sql.SQL("SELECT pg_catalog.max({}) FROM {}").format(
            sql.Identifier(column), sql.Identifier(table_schema, table)
        )
        row = sandbox_owner.execute(highest).fetchone()
        if row is not None and row[0] is not None and 0 < row[0] <= most:
            states.append(SequenceState(schema, name, row[0], True))  # noqa: FBT003
    put_sequences(sandbox_owner, states)
    return states


def put_sequences(sandbox_owner: Connection, states: Sequence[SequenceState]) -> None:
    for state in states:
        sandbox_owner.execute(_SET, state)


def analyze(sandbox_owner: Connection) -> None:
    """Compute statistics from the masked rows; the tenant's own hold values and stay there."""
    sandbox_owner.execute("SET client_min_messages = error")  # catalogues that are not the owner's
    sandbox_owner.execute("ANALYZE")
