"""Which rows of a table are given, where a decision gives fewer: a safe form, and never SQL. Pure.

    crm.orders.status = open, late        rows in which the column is one of these
    crm.orders.placed_at last 30 days     rows of so many days until now, and later ones

NULL is neither. Several of one table must all hold. What must stay true: a value is compared by an
operator of PostgreSQL's own, so only types of its own are taken, and enums by their label's text;
and it stands in no view's text, for every login of the database reads these (see
`engines.postgres.restricted_rows`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from broker.errors import Invalid
from broker.tenancy import KeyValue, find_problem

MAX_VALUES, MAX_DAYS, MAX_OF_A_TABLE = 100, 3650, 10
_TIMES = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
_KINDS = {"smallint": "integer", "integer": "integer", "bigint": "integer", "uuid": "uuid"}
_KINDS |= {"text": "text", "character varying": "text"}
_TRUTHS = ("false", "true")
_LENGTH = re.compile(r"\(\d+\)")
_LINE = re.compile(
    r"(?P<table>[^\s=]+\.[^\s=]+)\.(?P<column>[^.\s=]+)\s*(?:=(?P<values>.*)|(?P<last>.*))"
)
_DAYS = re.compile(r"\s*last ([1-9][0-9]{0,3}) days?\s*")
_FORM = "say TABLE.COLUMN = VALUE, VALUE or TABLE.COLUMN last N days, with the schema in TABLE"


class Typed(Protocol):
    """A column as a plan or a catalogue knows it: `type` as format_type() gives it."""

    @property
    def type(self) -> str: ...
    @property
    def enum(self) -> bool: ...


@dataclass(frozen=True, slots=True, order=True)
class Restriction:
    """Of one table: rows whose `column` is one of `values`; or is an instant of the last `days`."""

    column: str
    values: tuple[str, ...] = ()
    days: int = 0

    @property
    def sentence(self) -> str:
        if self.days:
            return f"{self.column} of the last {self.days} days"
        return f"{self.column} = {' or '.join(self.values)}"

    def keys(self, column: Typed) -> tuple[KeyValue, ...]:
        """The values as keys of the column's kind; the days as a number. Raises Invalid.

        A truth as PostgreSQL writes it, `t` or `f`.
        """
        if self.days:
            return (KeyValue("integer", str(self.days)),)
        if is_truth(column.type):
            return tuple(KeyValue("text", value[0]) for value in self.values)
        return tuple(KeyValue(find_kind(column) or "", value) for value in self.values)


@dataclass(frozen=True, slots=True, order=True)
class RowsOnly:
    """What a person says: of `table`, by its full name, only such rows."""

    table: str
    restriction: Restriction


def find_kind(column: Typed) -> str | None:
    """Of `tenancy.TYPES`; None for a type that is not compared.

    A type of the tenant's own brings operators that are code. An enum too, but its label becomes a
    text by PostgreSQL's own output function alone.
    """
    return "text" if by_label(column) else _KINDS.get(_LENGTH.sub("", column.type))


def by_label(column: Typed) -> bool:
    """Whether its values are compared by the text that PostgreSQL writes for them."""
    return column.enum or is_truth(column.type)


def is_truth(column_type: str) -> bool:
    return column_type == "boolean"


def is_time(column_type: str) -> bool:
    return _LENGTH.sub("", column_type) in _TIMES


def find_fault(restriction: Restriction, column: Typed) -> str | None:
    """Why rows can't be chosen so by this column, or None."""
    if bool(restriction.values) == bool(restriction.days):
        return "name values, or a number of days; one of the two"
    if restriction.days:
        if not is_time(column.type):
            return f"{restriction.column} is no date or time: name values"
        return None if 0 < restriction.days <= MAX_DAYS else f"1 to {MAX_DAYS} days"
    kind = find_kind(column)
    if kind is None:
        return (
            f"{restriction.column} is {column.type}; rows are chosen by whole numbers, UUIDs, "
            "texts, enums, true and false, or by days of a date or time"
        )
    if len(restriction.values) > MAX_VALUES:
        return f"{MAX_VALUES} values at most"
    problems = (_find_problem(column, kind, value) for value in restriction.values)
    return next((f"{restriction.column}: {problem}" for problem in problems if problem), None)


def _find_problem(column: Typed, kind: str, value: str) -> str | None:
    if is_truth(column.type):
        return None if value in _TRUTHS else "true or false"
    return find_problem(kind, value)


def parse(text: str) -> frozenset[RowsOnly]:
    """One a line, as above; values with a comma stand in double quotes. Raises Invalid."""
    lines = (line.strip() for line in text.splitlines())
    return frozenset(_parse_line(line) for line in lines if line)


def _parse_line(line: str) -> RowsOnly:
    found = _LINE.fullmatch(line)
    if found is None:
        raise Invalid(f"{line!r} says no rows", fields={"rows": _FORM})
    if found["values"] is not None:
        values = [
            value.strip()
            for value in next(csv.reader([found["values"]], skipinitialspace=True), [])
        ]
        return rows_only(found["table"], found["column"], values)
    days = _DAYS.fullmatch(found["last"])
    if days is None:
        raise Invalid(f"{line!r} says no rows", fields={"rows": _FORM})
    return rows_only(found["table"], found["column"], days=int(days[1]))


def rows_only(
    table: str, column: str, values: Iterable[str] = (), *, days: int | None = None
) -> RowsOnly:
    """Values each once, in order: the same choice has one form, and so one digest."""
    return RowsOnly(table, Restriction(column, tuple(sorted(set(values))), days or 0))


def say(restrictions: Iterable[Restriction]) -> str:
    return ", and ".join(one.sentence for one in restrictions)
