"""Each mask as an SQL expression over core functions, and the keyed digest they are made of.

What must stay true: no function, operator or cast of the tenant's own runs in what is built here,
for it would run in our session and could read the key. So every function and operator is named
with `pg_catalog`, a value becomes text by its output function (`format('%s', …)`, which asks no
cast), and nothing but a literal of our own is ever cast. A row is the alias `t`, the key `k`.

The keyed digest is RFC 2104 with SHA-256 over `label`, a zero byte and the value's text in the
database's encoding; its two pads are computed by us, so the server needs `sha256(bytea)` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from psycopg import sql

from broker.engines import Column
from broker.engines.postgres.constants import find_constant
from broker.errors import Invalid

TOKEN_MIN_CHARS = 24  # 96 bits: no two of a thousand million values collide
EMAIL_CHARS = 33
INTEGER_TYPES = frozenset({"integer", "bigint"})
_TOKEN_CHARS = 32
_NAME_CHARS = 63  # of type `name`
_TEXT_TYPES = frozenset({"text", "character varying", "character", "name"})
_FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit "
_FILLER_MAX = 4096


def is_text(column: Column) -> bool:
    return column.base_type in _TEXT_TYPES or _is_citext(column)


def _is_citext(column: Column) -> bool:
    return column.base_type.endswith(".citext") and not column.enum


def max_chars(column: Column) -> int | None:
    return _NAME_CHARS if column.base_type == "name" else column.max_length


def call(function: str, *arguments: sql.Composable) -> sql.Composed:
    return sql.SQL("{}({})").format(
        sql.Identifier("pg_catalog", function), sql.SQL(", ").join(arguments)
    )


def operate(left: sql.Composable, operator: str, right: sql.Composable) -> sql.Composed:
    sign = sql.SQL({"||": "||", "<>": "<>", "<": "<", ">=": ">="}[operator])
    return sql.SQL("({} OPERATOR(pg_catalog.{}) {})").format(left, sign, right)


def literal(text: str, type_name: str) -> sql.Composed:
    """A literal of our own, read by the input function of a built-in type (`text`, `int4[]`)."""
    return _cast(sql.Literal(text), type_name)


def _cast(literal: sql.Composable, type_name: str) -> sql.Composed:
    element = sql.Identifier("pg_catalog", type_name.removesuffix("[]"))
    array = sql.SQL("[]" if type_name.endswith("[]") else "")
    return sql.SQL("CAST({} AS {}{})").format(literal, element, array)


def value_of(column: Column) -> sql.Composed:
    return sql.SQL("{}").format(sql.Identifier("t", column.name))


def as_text(value: sql.Composable) -> sql.Composed:
    return call("format", sql.Literal("%s"), value)


def canonical_text(column: Column) -> sql.Composed:
    """The value's text, the same whatever length or scale its column declares, so that joins hold
    across char and varchar. Other types and collations that call different texts equal (numbers
    apart from `numeric`, intervals, …) are not made the same.
    """
    value = value_of(column)
    if column.base_type == "character":
        return call("rtrim", as_text(value), literal(" ", "text"))
    if column.base_type == "numeric":
        return as_text(call("trim_scale", value))
    return call("lower", as_text(value)) if _is_citext(column) else as_text(value)


def _bytes_of(text: sql.Composable) -> sql.Composed:
    """The text's own bytes. `textsend` would follow the client encoding, which whoever reads a live
    view may set: it gives another digest, or an error that names a character of the hidden value.
    `convert_to` fails on a database without encoding.
    """
    escaped = call("replace", text, literal("\\", "text"), literal("\\\\", "text"))
    return call("decode", escaped, sql.Literal("escape"))


def hmac_hex(label: str, text: sql.Composable) -> sql.Composed:
    """HMAC-SHA-256 of the label, a zero byte and the text, as 64 hexadecimal digits."""
    if "\0" in label:
        raise Invalid("a mask's label holds a zero byte")
    prefix = call("decode", sql.Literal(label.encode().hex() + "00"), sql.Literal("hex"))
    message = operate(prefix, "||", _bytes_of(text))
    inner = call("sha256", operate(sql.SQL("k.i"), "||", message))
    outer = call("sha256", operate(sql.SQL("k.o"), "||", inner))
    return call("encode", outer, sql.Literal("hex"))


def _cut(text: sql.Composable, length: int) -> sql.Composed:
    return call("substr", text, sql.Literal(1), sql.Literal(length))


def _null(column: Column, label: str) -> sql.Composed:
    del label
    constant = find_constant(column)
    return _cast(sql.NULL, "text" if constant is None else constant.type_name)


def _same(column: Column, label: str) -> sql.Composed:
    del label
    constant = find_constant(column)
    if constant is None:
        raise Invalid(f"no constant is known for type {column.type}")
    return literal(constant.text, constant.type_name)


def _token(column: Column, label: str) -> sql.Composed:
    digest = hmac_hex(label, canonical_text(column))
    if column.base_type in INTEGER_TYPES:
        # 52 bits are safe in JSON's numbers; never negative.
        digits, function = (7, "int4") if column.base_type == "integer" else (13, "int8")
        bits = operate(literal("x", "text"), "||", _cut(digest, digits))
        size = (sql.Literal("0"), sql.Literal(str(4 * digits)))
        return call(function, call("bit_in", call("textout", bits), *size))
    if column.base_type == "uuid":
        return call("uuid_in", call("textout", _cut(digest, 32)))
    return _cut(digest, min(_TOKEN_CHARS, max_chars(column) or _TOKEN_CHARS))


def _email(column: Column, label: str) -> sql.Composed:
    local = operate(literal("u", "text"), "||", _cut(hmac_hex(label, canonical_text(column)), 16))
    return operate(local, "||", literal("@example.invalid", "text"))  # RFC 2606


def _filler(column: Column, label: str) -> sql.Composed:
    """Empty stays empty; else 2^n characters, n counted by the bounds 2, 3, 5, 9 … passed."""
    del label
    text = canonical_text(column)
    bounds = [2**n + 1 for n in range(_FILLER_MAX.bit_length() - 1)]
    passed = call(
        "width_bucket",
        call("length", text),
        literal("{" + ",".join(map(str, bounds)) + "}", "int4[]"),
    )
    size = call("int4shl", sql.Literal(1), passed)
    room = max_chars(column)
    if room is not None:
        size = sql.SQL("LEAST({}, {})").format(size, sql.Literal(room))
    filler = call("rpad", literal("", "text"), size, literal(_FILLER, "text"))
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        operate(text, "<>", literal("", "text")), filler, literal("", "text")
    )


def _year(column: Column, label: str) -> sql.Composed:
    """1 January of the year; years whose 1 January no timestamp can name are clipped.

    They are 4714 BC and those after 294276, which a date reaches. An error would end the copy, and
    the server's words would name the value.
    """
    del label
    value, year = value_of(column), literal("year", "text")
    name = {"date": "date", "timestamp without time zone": "timestamp"}.get(
        column.base_type, "timestamptz"
    )
    first, last = (literal(text, name) for text in ("4713-01-01 BC", "294276-01-01"))
    truncated = call("date_trunc", year, value)
    if name == "date":
        truncated = call("date", call("date_trunc", year, call("timestamp", value)))
    elif name == "timestamptz":
        truncated = call("date_trunc", year, value, literal("UTC", "text"))
    return sql.SQL(
        "CASE WHEN NOT {finite} THEN {value} WHEN {early} THEN {first} WHEN {late} THEN {last}"
        " ELSE {truncated} END"
    ).format(
        finite=call("isfinite", value),
        value=value,
        early=operate(value, "<", first),
        first=first,
        late=operate(value, ">=", last),
        last=last,
        truncated=truncated,
    )


EXPRESSIONS: Mapping[str, Callable[[Column, str], sql.Composed]] = {
    "null": _null,
    "constant": _same,
    "token": _token,
    "email": _email,
    "filler": _filler,
    "year": _year,
}
