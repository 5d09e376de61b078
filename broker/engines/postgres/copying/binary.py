"""Which rows may pass in COPY's binary form, which both servers write and read in half the time.

The form of a type is its own affair, and a value of one type can't be read as another's. What must
stay true: rows pass so only if every column that is read has the very type of the column it fills,
or one of the same bytes, among types whose form has been the same since PostgreSQL 14; and only
from UTF-8 to UTF-8, for texts would be converted on their way. All else passes as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql
from psycopg.postgres import types
from psycopg.rows import TupleRow

_TEXTS = ("text", "varchar", "bpchar")
# By `Column.base_type`, the type of a column without its domains; values are names in pg_type.
_FORMS: Mapping[str, Sequence[str]] = {
    "text": _TEXTS,
    "character varying": _TEXTS,
    "character": _TEXTS,
    "boolean": ("bool",),
    "smallint": ("int2",),
    "integer": ("int4",),
    "bigint": ("int8",),
    "real": ("float4",),
    "double precision": ("float8",),
    "numeric": ("numeric",),
    "bytea": ("bytea",),
    "date": ("date",),
    "timestamp without time zone": ("timestamp",),
    "timestamp with time zone": ("timestamptz",),
    "uuid": ("uuid",),
    "json": ("json",),
    "jsonb": ("jsonb",),
}
_OIDS = {base: frozenset(types[name].oid for name in names) for base, names in _FORMS.items()}


def can_be_binary(
    reader: psycopg.Connection[TupleRow],
    select: sql.Composed,
    into: psycopg.Connection[TupleRow],
    base_types: Sequence[str],
) -> bool:
    """Whether the rows of `select`, as `reader` gives them, fit columns of these base types.

    Asks the source for the types, which reads no row. Raises what psycopg raises.
    """
    if not base_types or not (_is_utf8(reader) and _is_utf8(into)):
        return False
    empty = sql.SQL("SELECT * FROM ({}) AS q LIMIT 0").format(select).as_string(into)
    cursor = reader.execute(empty.encode())
    given = [column.type_code for column in cursor.description or ()]
    return len(given) == len(base_types) and all(
        oid in _OIDS.get(base, ()) for oid, base in zip(given, base_types, strict=True)
    )


def _is_utf8(connection: psycopg.Connection[TupleRow]) -> bool:
    status = connection.info.parameter_status
    return status("server_encoding") == "UTF8" == status("client_encoding")
