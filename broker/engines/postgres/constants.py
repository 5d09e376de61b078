"""One harmless value for each built-in type: what the mask `constant` puts in every row.

What must stay true: each text is accepted by its type's input function, under any setting, and a
value that stands for nobody. An enum, a composite or a type of an extension has none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.engines import Column


@dataclass(frozen=True, slots=True)
class Constant:
    """`text` as the type writes it; `type_name` is the type's name in pg_catalog, or with `[]`."""

    text: str
    type_name: str


_CONSTANTS: Mapping[str, Constant] = {
    "text": Constant("", "text"),
    "character varying": Constant("", "varchar"),
    "character": Constant("", "bpchar"),
    "name": Constant("", "name"),
    '"char"': Constant("", "char"),
    "boolean": Constant("false", "bool"),
    "smallint": Constant("0", "int2"),
    "integer": Constant("0", "int4"),
    "bigint": Constant("0", "int8"),
    "numeric": Constant("0", "numeric"),
    "real": Constant("0", "float4"),
    "double precision": Constant("0", "float8"),
    "money": Constant("0", "money"),
    "oid": Constant("0", "oid"),
    "date": Constant("1970-01-01", "date"),
    "timestamp without time zone": Constant("1970-01-01 00:00:00", "timestamp"),
    "timestamp with time zone": Constant("1970-01-01 00:00:00+00", "timestamptz"),
    "time without time zone": Constant("00:00:00", "time"),
    "time with time zone": Constant("00:00:00+00", "timetz"),
    "interval": Constant("0", "interval"),
    "uuid": Constant("00000000-0000-0000-0000-000000000000", "uuid"),
    "bytea": Constant("", "bytea"),
    "bit varying": Constant("", "varbit"),
    "json": Constant("{}", "json"),
    "jsonb": Constant("{}", "jsonb"),
    "jsonpath": Constant("$", "jsonpath"),
    "xml": Constant("<masked/>", "xml"),
    "inet": Constant("0.0.0.0", "inet"),  # noqa: S104  # a value, nothing listens there
    "cidr": Constant("0.0.0.0/0", "cidr"),
    "macaddr": Constant("00:00:00:00:00:00", "macaddr"),
    "macaddr8": Constant("00:00:00:00:00:00:00:00", "macaddr8"),
    "tsvector": Constant("", "tsvector"),
    "tsquery": Constant("", "tsquery"),
    "point": Constant("(0,0)", "point"),
    "line": Constant("{1,0,0}", "line"),
    "lseg": Constant("[(0,0),(0,0)]", "lseg"),
    "box": Constant("(0,0),(0,0)", "box"),
    "path": Constant("((0,0))", "path"),
    "polygon": Constant("((0,0))", "polygon"),
    "circle": Constant("<(0,0),0>", "circle"),
    "int4range": Constant("empty", "int4range"),
    "int8range": Constant("empty", "int8range"),
    "numrange": Constant("empty", "numrange"),
    "daterange": Constant("empty", "daterange"),
    "tsrange": Constant("empty", "tsrange"),
    "tstzrange": Constant("empty", "tstzrange"),
    "int4multirange": Constant("{}", "int4multirange"),
    "int8multirange": Constant("{}", "int8multirange"),
    "nummultirange": Constant("{}", "nummultirange"),
    "datemultirange": Constant("{}", "datemultirange"),
    "tsmultirange": Constant("{}", "tsmultirange"),
    "tstzmultirange": Constant("{}", "tstzmultirange"),
}


def find_constant(column: Column) -> Constant | None:
    """The constant of the column's base type; an empty array for arrays of anything."""
    if column.base_type.endswith("[]"):
        element = _CONSTANTS.get(column.base_type.removesuffix("[]"))
        return Constant("{}", f"{element.type_name}[]" if element else "text")
    if column.base_type.endswith(".citext") and not column.enum:
        return Constant("", "text")
    return _CONSTANTS.get(column.base_type)


def list_types() -> tuple[str, ...]:
    """Base types that have a constant."""
    return tuple(_CONSTANTS)
