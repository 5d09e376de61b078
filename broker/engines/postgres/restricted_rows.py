"""The rows that a decision left of a table, as a condition over an alias.

What must stay true: as in `tenant_rows`, no operator, cast or function of the tenant's own runs in
it; in a live view no value stands in its text, and none is asked of the planner's statistics. A
column that is gone, or of another type now, gives no row rather than all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from broker.engines import Column, Table
from broker.engines.postgres.expressions import as_text, call, literal, operate
from broker.engines.postgres.tenant_rows import ReadKey, equals, literal_key
from broker.restricting import Restriction, by_label, find_fault
from broker.tenancy import KeyValue


@dataclass(frozen=True, slots=True)
class Reading:
    """How values are read, and the instant so many days ago, as a timestamptz."""

    key: ReadKey
    since: Callable[[int], sql.Composable]


def of_live(read_key: ReadKey) -> Reading:
    """For a view: by the clock of the server that reads, whenever it reads."""

    def since(days: int) -> sql.Composed:
        number = call("int4", read_key(KeyValue("integer", str(days))))
        none = sql.Literal(0)
        length = call("make_interval", none, none, none, number)
        return operate(call("statement_timestamp"), "-", length)

    return Reading(read_key, since)


def of_copy(now: datetime) -> Reading:
    """For what nobody but us reads; `now` is one instant for the whole copy."""

    def since(days: int) -> sql.Composed:
        return literal((now - timedelta(days=days)).isoformat(), "timestamptz")

    return Reading(literal_key, since)


def condition(
    table: Table, only: Sequence[Restriction], reading: Reading, alias: str = "t"
) -> sql.Composed | None:
    """None when no row is left out."""
    if not only:
        return None
    columns = {column.name: column for column in table.columns}
    return sql.SQL("({})").format(
        sql.SQL(" AND ").join(_one(columns.get(one.column), one, reading, alias) for one in only)
    )


def both(*conditions: sql.Composed | None) -> sql.Composed | None:
    """All that there are; None when there is none."""
    there = [one for one in conditions if one is not None]
    return sql.SQL(" AND ").join(there) if there else None


def fits(table: Table, only: Sequence[Restriction]) -> bool:
    """Whether each of them can be asked of the table as it is now."""
    columns = {column.name: column for column in table.columns}
    return all(one.column in columns and not find_fault(one, columns[one.column]) for one in only)


def _one(
    column: Column | None, restriction: Restriction, reading: Reading, alias: str
) -> sql.Composed:
    if column is None or find_fault(restriction, column) is not None:
        return sql.SQL("{}").format(sql.SQL("false"))
    value = sql.Identifier(alias, column.name)
    if restriction.days:
        return operate(value, ">=", _as_type(reading.since(restriction.days), column))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(_equal(value, column, restriction, reading)))


def _equal(
    value: sql.Composable, column: Column, restriction: Restriction, reading: Reading
) -> Iterator[sql.Composed]:
    for key in restriction.keys(column):
        if by_label(column):
            yield _has_label(value, reading.key(key))
        else:
            yield equals(value, reading.key(key), key)


def _has_label(value: sql.Composable, label: sql.Composable) -> sql.Composed:
    """By the text of the value, which its output function writes: the enum's own operators, which
    the tenant may have made, are not asked, nor the statistics of the column.
    """
    written = sql.SQL('{} COLLATE pg_catalog."C"').format(as_text(value))
    return call("texteq", written, label)


def _as_type(instant: sql.Composable, column: Column) -> sql.Composable:
    """As the column's own type, in UTC: the reader's session has no say in it."""
    if column.base_type == "timestamp with time zone":
        return instant
    in_utc = call("timezone", literal("UTC", "text"), instant)
    return in_utc if column.base_type != "date" else call("date", in_utc)
