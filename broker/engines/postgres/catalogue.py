"""Reads what a PostgreSQL database is made of: names, types, rules and sizes, never a row (G1).

What must stay true: pg_catalog alone is asked, by names that only PostgreSQL's own objects can
answer, so no code of the tenant's runs; and equal databases give equal catalogues, for a plan is
approved by its digest. A reader that must not see the shape change holds locks on the tables:
the catalogue follows other sessions' changes even under an exported snapshot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import tuple_row

from broker.engines import Catalogue, Column, Constraint, Literal, Table
from broker.engines.postgres import catalogue_sql as ask
from broker.errors import Invalid

OLDEST_VERSION = 140000  # older ones get no security fixes

_Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks one question of the chosen schemas."""

    cursor: psycopg.Cursor[tuple[Any, ...]]
    schemas: list[str]

    def rows(self, question: LiteralString) -> _Rows:
        return self.cursor.execute(question, {"schemas": self.schemas}).fetchall()


def read_catalogue(
    connection: psycopg.Connection[tuple[Any, ...]], schemas: Sequence[str] | None = None
) -> Catalogue:
    """Read the catalogue of the connection's database, all schemas of the tenant's unless named.

    Runs inside the caller's transaction if one is open (as a savepoint), else in its own. From then
    on that transaction has the search path that `connect` gives. Raises Invalid when a named schema
    is not there or is not the tenant's, and when the server is too old.
    """
    version = connection.info.server_version
    if version < OLDEST_VERSION:
        raise Invalid("the server is older than PostgreSQL 14; update it before it is registered")
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SET LOCAL search_path TO pg_catalog, pg_temp")
        asker = _Asker(cursor, _choose(cursor, schemas))
        relations = asker.rows(ask.RELATIONS)
        return Catalogue(
            server_version=version,
            tables=_read_tables(asker),
            views=tuple(sorted(name for kind, name in relations if kind != "S")),
            sequences=tuple(sorted(name for kind, name in relations if kind == "S")),
            extensions=tuple(sorted(name for (name,) in cursor.execute(ask.EXTENSIONS))),
            obstacles=tuple(sorted(sentence for (sentence,) in asker.rows(ask.OBSTACLES))),
            literals=tuple(
                Literal(*row)
                for row in sorted(
                    (kind, where, text or "") for kind, where, text in asker.rows(ask.LITERALS)
                )
            ),
        )


def _choose(cursor: psycopg.Cursor[tuple[Any, ...]], wanted: Sequence[str] | None) -> list[str]:
    present = sorted(name for (name,) in cursor.execute(ask.SCHEMAS))
    if wanted is None:
        return present
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise Invalid(f"there is no schema of the tenant's named {', '.join(missing)}")
    return sorted(set(wanted))


def _read_tables(asker: _Asker) -> tuple[Table, ...]:
    columns: dict[int, list[Column]] = defaultdict(list)
    for relation, *fields in asker.rows(ask.COLUMNS):
        columns[relation].append(Column(*fields))
    constraints: dict[int, list[Constraint]] = defaultdict(list)
    for relation, *fields in asker.rows(ask.CONSTRAINTS) + asker.rows(ask.UNIQUE_INDEXES):
        names = tuple(column.name for column in columns[relation])
        constraints[relation].append(_to_constraint(fields, names))
    tables = []
    for oid, schema, name, kind, above_schema, above, key, rows, size, *more in asker.rows(
        ask.TABLES
    ):
        tables.append(
            Table(
                schema=schema,
                name=name,
                kind=kind,
                columns=tuple(columns[oid]),
                constraints=tuple(sorted(constraints[oid], key=lambda c: (c.name, c.kind))),
                parent=None if above is None else (above_schema, above),
                partition_key=tuple(key),
                estimated_rows=rows,
                size_bytes=size,
                row_security=more[0],
                parts_elsewhere=more[1],
            )
        )
    return tuple(sorted(tables, key=lambda table: (table.schema, table.name)))


def _to_constraint(fields: Sequence[Any], names: tuple[str, ...]) -> Constraint:
    name, kind, columns, target_schema, target, target_columns, expression = fields
    if expression and not columns:
        columns = names  # an index on the whole row depends on no single column
    return Constraint(
        name=name,
        kind=kind,
        columns=tuple(columns),
        target=None if target is None else (target_schema, target),
        target_columns=tuple(target_columns),
        expression=expression,
    )
