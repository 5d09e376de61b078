"""What arrived, compared with what there was: a copy with something missing is no success.

Read-only looks at two catalogues, and a count of the rows. What must stay true: everything that the
source has is found in the sandbox, is in the list of what was left out on purpose, or is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from broker.engines.postgres.copying import ObjectId

Connection = psycopg.Connection[tuple[Any, ...]]
# Each look gives: catalogue, oid, name of schema, further names, and whether it is good (a valid
# index or constraint, a populated view). Only plain columns are read, which stand under the
# snapshot; functions like pg_get_constraintdef() would show a later state.
_LOOKS: dict[str, LiteralString] = {
    "relation": """
        SELECT o.tableoid, o.oid, n.nspname, o.relname || '', o.relispopulated
        FROM pg_catalog.pg_class o JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
        WHERE o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')""",
    "index": """
        SELECT o.tableoid, o.oid, n.nspname, o.relname || '', i.indisvalid
        FROM pg_catalog.pg_class o JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
        JOIN pg_catalog.pg_index i ON i.indexrelid = o.oid
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
          WHERE c.conindid = o.oid AND c.contype IN ('p', 'u', 'x'))""",
    "constraint": """
        SELECT o.tableoid, o.oid, n.nspname, COALESCE(r.relname, t.typname) || '.' || o.conname,
          o.convalidated AND COALESCE(i.indisvalid, true)
        FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_namespace n ON n.oid = o.connamespace
        LEFT JOIN pg_catalog.pg_class r ON r.oid = o.conrelid
        LEFT JOIN pg_catalog.pg_type t ON t.oid = o.contypid
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = o.conindid AND o.contype <> 'f'
        WHERE o.contype <> 't' AND o.conparentid = 0""",
    "trigger": """
        SELECT o.tableoid, o.oid, n.nspname, r.relname || '.' || o.tgname, true
        FROM pg_catalog.pg_trigger o JOIN pg_catalog.pg_class r ON r.oid = o.tgrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        WHERE NOT o.tgisinternal AND o.tgparentid = 0""",
    "policy": """
        SELECT o.tableoid, o.oid, n.nspname, r.relname || '.' || o.polname, true
        FROM pg_catalog.pg_policy o JOIN pg_catalog.pg_class r ON r.oid = o.polrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        WHERE true""",
    "type": """
        SELECT o.tableoid, o.oid, n.nspname, o.typname || '', true
        FROM pg_catalog.pg_type o JOIN pg_catalog.pg_namespace n ON n.oid = o.typnamespace
        LEFT JOIN pg_catalog.pg_class r ON r.oid = o.typrelid
        WHERE o.typtype IN ('d', 'e', 'r') OR (o.typtype = 'c' AND r.relkind = 'c')""",
    "function": """
        SELECT o.tableoid, o.oid, n.nspname, o.proname || '/' || o.pronargs, true
        FROM pg_catalog.pg_proc o JOIN pg_catalog.pg_namespace n ON n.oid = o.pronamespace
        WHERE true""",
}
_OURS_TO_COMPARE: LiteralString = """
      AND n.nspname <> 'information_schema'
      AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT LIKE 'sab\\_s\\_%'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
        AND (d.classid, d.objid) IN ((o.tableoid, o.oid), {parent}))"""
_GOOD = {
    "relation": "populated",
    "index": "valid",
    "constraint": "valid",
}
_HAS_TABLE = frozenset({"constraint", "trigger", "policy"})
_KINDS = """
    SELECT n.nspname::text, c.relname::text, c.relkind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[]))
      AS wanted (schema, name)
      ON wanted.schema = n.nspname AND wanted.name = c.relname"""
_AT_ONCE = 200  # tables that one statement counts


def check_copy(
    source: Connection,
    sandbox: Connection,
    rows: Mapping[tuple[str, str], int],
    skipped: Collection[ObjectId],
    schemas: Collection[str] | None = None,
) -> list[str]:
    """Return what is wrong with a finished copy, a sentence each; nothing means that it is whole.

    `source` is the exporter's connection, `sandbox` the owner's. `rows` are the rows that were
    copied, by (schema, table); for a partitioned root all rows below it. `skipped` are the ids of
    entries that a restore left out; `schemas` are those that were copied, None for all.
    """
    problems: list[str] = []
    for noun in _LOOKS:
        there, here = _look(source, noun, schemas), _look(sandbox, noun, schemas)
        for name, (identity, good) in sorted(there.items()):
            if identity in skipped:
                continue
            if name not in here:
                problems.append(f"the {noun} {name} is missing")
            elif good and not here[name][1]:
                problems.append(f"the {noun} {name} is there but not {_GOOD.get(noun, 'good')}")
    return problems + _count_problems(sandbox, rows)


def _look(
    connection: Connection, noun: str, schemas: Collection[str] | None
) -> dict[str, tuple[ObjectId, bool]]:
    """Objects by their full name. Functions of one name and arity count once."""
    parent: LiteralString = (
        "('pg_catalog.pg_class'::pg_catalog.regclass, r.oid)" if noun in _HAS_TABLE else "(0, 0)"
    )
    statement = _LOOKS[noun] + _OURS_TO_COMPARE.replace("{parent}", parent)
    return {
        f"{schema}.{name}": (ObjectId(catalogue, oid), bool(good))
        for catalogue, oid, schema, name, good in connection.execute(statement)
        if schemas is None or schema in schemas
    }


def _count_problems(sandbox: Connection, rows: Mapping[tuple[str, str], int]) -> list[str]:
    """A table that is missing is reported as such, and not counted."""
    tables = sorted(rows)
    found = sandbox.execute(_KINDS, [[t[0] for t in tables], [t[1] for t in tables]]).fetchall()
    roots = {(schema, name): kind == "p" for schema, name, kind in found}
    counted: dict[tuple[str, str], int | None] = {}
    present = sorted(roots)
    for start in range(0, len(present), _AT_ONCE):
        counted |= _count(sandbox, present[start : start + _AT_ONCE], roots)
    problems: list[str] = []
    for table, count in counted.items():
        if count is None:
            problems.append(f"the rows of {'.'.join(table)} can't be counted (row security)")
        elif count != rows[table]:
            problems.append(f"{'.'.join(table)} has {count} rows, {rows[table]} were copied")
    return problems


def _count(
    sandbox: Connection, tables: Sequence[tuple[str, str]], roots: Mapping[tuple[str, str], bool]
) -> dict[tuple[str, str], int | None]:
    """Rows of each, in one statement; None where row security is in the way."""
    counts = [
        sql.SQL("(SELECT pg_catalog.count(*) FROM {}{})").format(
            sql.SQL("" if roots[table] else "ONLY "), sql.Identifier(*table)
        )
        for table in tables
    ]
    try:
        row = sandbox.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(counts))).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        if len(tables) == 1:
            return {tables[0]: None}
        return {k: v for table in tables for k, v in _count(sandbox, [table], roots).items()}
    return dict(zip(tables, row or (), strict=True))
