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
from typing import LiteralString

from psycopg import sql

from broker.engines import Column
from broker.engines.postgres.constants import find_constant
from broker.errors import Invalid

TOKEN_MIN_CHARS = 24  # 96 bits: no two of a thousand million values collide
EMAIL_CHARS = 33
INTEGER_TYPES = frozenset({"integer", "bigint"})
_TOKEN_CHARS = 32
_NAME_CHARS = 63  # of type `name`
_PLAIN_TEXTS = frozenset({"text", "character varying"})
_TEXT_TYPES = _PLAIN_TEXTS | {"character", "name"}
_OPERATORS: Mapping[str, LiteralString] = {
    sign: sign for sign in ("||", "<>", "<", "<=", ">=", "=", "+", "-", "*", "/", "#", "~")
}
_FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit curabitur"
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
    sign = sql.SQL(_OPERATORS[operator])
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

    A varchar is read as text without a cast that runs code, and so is a domain over either.
    """
    value = value_of(column)
    if column.base_type in _PLAIN_TEXTS:
        return value
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
    exact = sql.SQL('({} COLLATE pg_catalog."C")').format(text)
    escaped = call("replace", exact, literal("\\", "text"), literal("\\\\", "text"))
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


def once(name: LiteralString, value: sql.Composable, used: sql.Composable) -> sql.Composed:
    """`used`, in which `h.<name>` is `value`, computed once per row: the planner would else write
    it out at each use, and OFFSET 0 keeps it from that.
    """
    return sql.SQL("(SELECT {} FROM (SELECT {} AS {} OFFSET 0) AS h)").format(
        used, value, sql.Identifier(name)
    )


def keyed(column: Column, label: str, used: sql.Composable) -> sql.Composed:
    """`used`, in which `h.h` is the value's digest, 64 hexadecimal digits."""
    return once("h", hmac_hex(label, canonical_text(column)), used)


DIGEST = sql.SQL("h.h")  # as `keyed` names it


def number(start: int, digits: int = 12, of: sql.Composable = DIGEST) -> sql.Composed:
    """Hexadecimal digits `start` (from 1) on of a digest, as a bigint that is never negative."""
    piece = call("substr", of, sql.Literal(start), sql.Literal(digits))
    bits = operate(literal("x", "text"), "||", piece)
    size = (sql.Literal("0"), sql.Literal(str(4 * digits)))
    return call("int8", call("bit_in", call("textout", bits), *size))


def below(limit: int, start: int, digits: int = 12) -> sql.Composed:
    """A number from 0 to `limit` - 1, drawn from the digest."""
    return call("mod", number(start, digits), literal(str(limit), "int8"))


def padded(value: sql.Composable, width: int) -> sql.Composed:
    return call("lpad", as_text(value), sql.Literal(width), literal("0", "text"))


def join(*parts: str | sql.Composable) -> sql.Composed:
    """Texts one behind the other; a `str` is a literal of our own."""
    texts = [literal(part, "text") if isinstance(part, str) else part for part in parts]
    whole = sql.SQL("{}").format(texts[0])
    for text in texts[1:]:
        whole = operate(whole, "||", text)
    return whole


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


def bucket(length: sql.Composable, most: int) -> sql.Composed:
    """2^n, n counted by the bounds 2, 3, 5, 9 … that `length` passed; `most` at the most."""
    bounds = [2**n + 1 for n in range(most.bit_length() - 1)]
    array = literal("{" + ",".join(map(str, bounds)) + "}", "int4[]")
    return call("int4shl", sql.Literal(1), call("width_bucket", length, array))


def _filler(column: Column, label: str) -> sql.Composed:
    """Empty stays empty. Short ones are kept in a list and long ones are repeated: `rpad` would
    count every character of each.
    """
    del label
    size = call("length", canonical_text(column))
    unit, room = len(_FILLER), max_chars(column)
    short = _listed(size, unit, room)
    if room is not None and room <= unit:
        return short
    long = call(
        "repeat",
        literal(_FILLER, "text"),
        call("int4shl", sql.Literal(1), _passed(size, unit, _FILLER_MAX)),
    )
    if room is not None and room < _FILLER_MAX:
        long = call("left", long, sql.Literal(room))
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        operate(size, "<=", sql.Literal(unit)), short, long
    )


def _listed(size: sql.Composable, most: int, room: int | None) -> sql.Composed:
    """Filler for `size` characters, `most` at the most: nothing, or 1, 2, 4 … of them."""
    lengths = [0, *(2**n for n in range(most.bit_length()))]
    texts = ",".join(f'"{_FILLER[: min(length, room or length)]}"' for length in lengths)
    place = operate(_passed(size, 0, most), "+", sql.Literal(1))
    return sql.SQL("({})[{}]").format(literal("{" + texts + "}", "text[]"), place)


def _passed(size: sql.Composable, start: int, most: int) -> sql.Composed:
    """How many of the powers of two from `start` on, below `most`, `size` is greater than."""
    powers = [0] * (start == 0) + [2**n for n in range(most.bit_length() - 1) if 2**n >= start]
    bounds = ",".join(str(power + 1) for power in powers)
    return call("width_bucket", size, literal("{" + bounds + "}", "int4[]"))


def _year(column: Column, label: str) -> sql.Composed:
    del label
    return truncated(column, "year")


TIME_NAMES = {"date": "date", "timestamp without time zone": "timestamp"}


def truncated(column: Column, unit: str) -> sql.Composed:
    """The first instant of the year, month or day; what no timestamp can name is clipped.

    That is 4714 BC and what comes after 294276, which a date reaches. An error would end the copy,
    and the server's words would name the value.
    """
    value, text = value_of(column), literal(unit, "text")
    name = TIME_NAMES.get(column.base_type, "timestamptz")
    cut = call("date_trunc", text, value)
    if name == "date":
        cut = call("date", call("date_trunc", text, call("timestamp", value)))
    elif name == "timestamptz":
        cut = call("date_trunc", text, value, literal("UTC", "text"))
    return between(column, ("4713-01-01 BC", "294276-01-01"), cut)


def between(column: Column, bounds: tuple[str, str], expression: sql.Composable) -> sql.Composed:
    """`expression` for instants within the bounds; others become the bound, infinity stays."""
    value = value_of(column)
    name = TIME_NAMES.get(column.base_type, "timestamptz")
    first, last = (literal(text, name) for text in bounds)
    return sql.SQL(
        "CASE WHEN NOT {finite} THEN {value} WHEN {early} THEN {first} WHEN {late} THEN {last}"
        " ELSE {expression} END"
    ).format(
        finite=call("isfinite", value),
        value=value,
        early=operate(value, "<", first),
        first=first,
        late=operate(value, ">=", last),
        last=last,
        expression=expression,
    )


EXPRESSIONS: Mapping[str, Callable[[Column, str], sql.Composed]] = {
    "null": _null,
    "constant": _same,
    "token": _token,
    "email": _email,
    "filler": _filler,
    "year": _year,
}
