"""An independent look at a whole database: it reads the catalogue, and knows no list of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

ID = re.compile(r"psn_[a-z2-7]{26}")
MARK = re.compile(r"zq\d{5}[a-z]{8}")  # in a person's name and address, and nowhere else
_COLUMNS = """
    SELECT c.relname, a.attname, a.atttypid::regtype::text,
           coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum
"""
_TEXTS = {"text", "jsonb", "json", "character varying", "text[]", "jsonb[]"}


@dataclass(frozen=True)
class Hit:
    """`what` is an id or a mark of somebody, in one column of the row with that key."""

    table: str
    key: str
    column: str
    what: str


def scan(connection: psycopg.Connection) -> Iterator[Hit]:
    """Every id and mark of a person in every text and JSON column of every table."""
    tables: dict[str, list[tuple[str, str, int]]] = {}
    for table, column, kind, place in connection.execute(_COLUMNS).fetchall():
        tables.setdefault(table, []).append((column, kind, place))
    for table, columns in tables.items():
        keys = [c for c, _, place in sorted(columns, key=lambda item: item[2]) if place]
        texts = [c for c, kind, _ in columns if kind in _TEXTS]
        if not texts:
            continue
        query = sql.SQL("SELECT concat_ws(' ', {}), {} FROM {}").format(
            sql.SQL(", ").join(
                sql.SQL("{}::text").format(sql.Identifier(k)) for k in keys or ["ctid"]
            ),
            sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c)) for c in texts),
            sql.Identifier(table),
        )
        for key, *values in connection.execute(query):
            for column, value in zip(texts, values, strict=True):
                found = {*ID.findall(value or ""), *MARK.findall(value or "")}
                yield from (Hit(table, key, column, what) for what in found)


def fill_every_table(connection: psycopg.Connection, people: dict[str, str]) -> None:
    """Rows that refer to each person, in every table that can: made from the schema alone.

    `people` are marks by id. Without triggers and checks: what they keep is not what is looked for.
    """
    connection.execute("SET session_replication_role = replica")
    for table, name in connection.execute(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint c JOIN pg_namespace n "
        "ON n.oid = c.connamespace AND n.nspname = 'public' WHERE contype = 'c'"
    ).fetchall():
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for table, named in list_referring(connection).items():
        if table not in {"person", "membership", "erasure"}:  # made as the product does
            for number, who in enumerate(people.items()):
                _insert(connection, table, named, who, number)
    connection.execute("UPDATE lease SET state = 'revoked'")
    connection.execute("RESET session_replication_role")


def list_referring(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Tables with the columns that refer to a person, by their foreign keys."""
    rows = connection.execute(
        "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c "
        "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) "
        "WHERE c.contype = 'f' AND c.confrelid = 'person'::regclass AND a.attname <> 'side' "
        "ORDER BY 1, 2"
    ).fetchall()
    found: dict[str, list[str]] = {}
    for table, column in rows:
        found.setdefault(table, []).append(column)
    return found


_WRITTEN = {
    "reason",
    "note",
    "title",
    "text",
    "subject",
    "said",
    "answer",
    "authority_order",
    "value",
}


def _insert(
    connection: psycopg.Connection, table: str, named: list[str], who: tuple[str, str], number: int
) -> None:
    columns, values = [], []
    for column, kind, identity in connection.execute(
        "SELECT attname, atttypid::regtype::text, attidentity FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [table],
    ).fetchall():
        if identity == "a":
            continue
        columns.append(sql.Identifier(column))
        values.append(_value(column, kind, f"{table}-{number}", named, who))
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(columns),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        ),
        values,
    )


def _value(column: str, kind: str, unique: str, named: list[str], who: tuple[str, str]) -> object:
    person_id, mark = who
    if column in named:
        return person_id
    if column in _WRITTEN and kind == "text":
        return f'"about Person {mark}"'
    made: dict[str, object] = {
        "jsonb": f'{{"approvals": 1, "approvers": ["{person_id}"]}}',
        "timestamp with time zone": "2026-01-01T00:00:00Z",
        "bigint": abs(hash(unique)) % 10**12,
        "smallint": 1,
        "boolean": True,
        "text[]": "{}",
        "bytea": unique.encode(),
    }
    return made.get(kind, f"x-{unique}")
