"""Which part of a database is a tenant's, as it was registered: data, checked, without I/O.

    database   all that the registered schemas hold
    schema     the same, of a database in which other schemas are other tenants'
    rows       of the registered schemas the rows with this tenant's key; see `engines.ownership`

What must stay true: a tenancy never changes after registration. A plan carries its digest, so that
what was approved for one tenant's rows is never carried out for another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import rfc8785

from broker.errors import Invalid

DATABASE, SCHEMA, ROWS = "database", "schema", "rows"
FORMS = (DATABASE, SCHEMA, ROWS)
TYPES = ("integer", "uuid", "text")
_MAX_DIGITS = 19  # of what a bigint holds
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True, order=True)
class KeyValue:
    """A tenant's key, as text that every PostgreSQL reads the same: `type` is one of TYPES."""

    type: str
    value: str

    def __post_init__(self) -> None:
        problem = find_problem(self.type, self.value)
        if problem is not None:
            raise Invalid(f"the tenant key can't be used: {problem}", fields={"value": problem})


@dataclass(frozen=True, slots=True)
class TableKey:
    """Where one table (`schema.table`) keeps the key, if not in a column of the usual name."""

    table: str
    column: str
    key: KeyValue


@dataclass(frozen=True, slots=True)
class Tenancy:
    """`columns` are names of the key's column, the first that a table has counts; `shared` are
    tables (`schema.table`) whose rows are the same for every tenant.
    """

    form: str = DATABASE
    columns: tuple[str, ...] = ()
    key: KeyValue | None = None
    tables: tuple[TableKey, ...] = ()
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    @property
    def is_shared(self) -> bool:
        """Whether others than this tenant have a part of the database."""
        return self.form != DATABASE

    def values(self) -> tuple[KeyValue, ...]:
        """Every key that is used, each once, in order."""
        keys = {table.key for table in self.tables} | ({self.key} if self.key else set())
        return tuple(sorted(keys))

    def document(self) -> dict[str, Any]:
        """JSON for storing and showing; `from_document` is its inverse."""
        if self.form != ROWS or self.key is None:
            return {"form": self.form}
        return {
            "form": self.form,
            "columns": list(self.columns),
            "type": self.key.type,
            "value": self.key.value,
            "tables": [
                {"table": t.table, "column": t.column, "type": t.key.type, "value": t.key.value}
                for t in self.tables
            ],
            "shared": list(self.shared),
        }

    def digest(self) -> str:
        """SHA-256, in hex, of the document in canonical JSON; empty for a database of its own."""
        if self.form == DATABASE:
            return ""
        return hashlib.sha256(rfc8785.dumps(self.document())).hexdigest()


def from_document(document: Mapping[str, Any]) -> Tenancy:
    """Raises Invalid with the fields that are wrong. A table's type and value may be left out."""
    if document.get("form") != ROWS:
        _check_bare(document)
        return Tenancy(str(document.get("form")))
    usual = KeyValue(str(document.get("type")), str(document.get("value")))
    tables = tuple(
        TableKey(
            item["table"],
            item["column"],
            KeyValue(item.get("type") or usual.type, item.get("value") or usual.value),
        )
        for item in document.get("tables") or ()
    )
    return Tenancy(
        form=ROWS,
        columns=tuple(document.get("columns") or ()),
        key=usual,
        tables=tables,
        shared=tuple(document.get("shared") or ()),
    )


def overlap(one: tuple[Tenancy, set[str]], two: tuple[Tenancy, set[str]]) -> bool:
    """Whether two registrations of one database, each with its schemas, name the same rows."""
    if not one[1] & two[1]:
        return DATABASE in (one[0].form, two[0].form)
    if one[0].form != ROWS or two[0].form != ROWS:
        return True
    return bool(set(one[0].values()) & set(two[0].values()))


def _check_bare(document: Mapping[str, Any]) -> None:
    extra = sorted(k for k in ("columns", "type", "value", "tables", "shared") if document.get(k))
    if extra:
        problem = f"only the form {ROWS!r} takes it"
        raise Invalid("this tenancy has no key", fields=dict.fromkeys(extra, problem))


def _check(tenancy: Tenancy) -> None:
    if tenancy.form not in FORMS:
        raise Invalid("there is no such form", fields={"form": f"one of {', '.join(FORMS)}"})
    if tenancy.form != ROWS:
        return
    fields = dict(_problems(tenancy))
    if tenancy.key is None or fields:
        raise Invalid("the tenancy can't be registered like this", fields=fields)


def _problems(tenancy: Tenancy) -> Iterator[tuple[str, str]]:
    if not tenancy.columns and not tenancy.tables:
        yield "columns", "name the column that holds the tenant key"
    if len(set(tenancy.columns)) != len(tenancy.columns):
        yield "columns", "each name once"
    named = [table.table for table in tenancy.tables]
    if len(set(named)) != len(named):
        yield "tables", "each table once"
    if set(named) & set(tenancy.shared):
        yield "shared", "a table is shared or has a key, not both"
    if any("." not in name for name in (*named, *tenancy.shared)):
        yield "tables", "name a table with its schema: schema.table"


def find_problem(kind: str, value: str) -> str | None:
    """A value must be in its type's one form, so that equal keys are equal texts."""
    if kind == "integer":
        return None if _is_integer(value) else "a whole number in digits, as the column holds it"
    if kind == "uuid":
        return None if _format_uuid(value) == value else "a UUID in lower case, with its dashes"
    if kind == "text":
        good = 1 <= len(value) <= _MAX_TEXT and "\0" not in value
        return None if good else f"1 to {_MAX_TEXT} characters"
    return f"its type is one of {', '.join(TYPES)}"


def _is_integer(value: str) -> bool:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        return False
    return -(2**63) <= int(value) < 2**63 and str(int(value)) == value


def _format_uuid(value: str) -> str | None:
    try:
        return str(UUID(value))
    except ValueError:
        return None
