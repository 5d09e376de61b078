"""Masks as SQL: they run inside the tenant's database, in the query that reads (G4).

What must stay true: no function, operator or cast of the tenant's own runs in what is built here,
for it would run in our session and could read the key. So every function and operator is named
with `pg_catalog`, a value becomes text by its output function (`format('%s', …)`, which asks no
cast), and nothing but a literal of our own is ever cast. A column without a fate is refused (G5);
NULL stays NULL, so that who has a value is still seen, and a value never becomes NULL save by
`null`.

The keyed digest is RFC 2104 with SHA-256 over `label`, a zero byte and the value's text in UTF-8;
its two pads are computed here, so that the server needs `sha256(bytea)` alone. The session's client
encoding must be UTF8, for `textsend` speaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from broker.engines import Column, Fate, Table
from broker.engines.postgres.constants import find_constant
from broker.errors import Invalid
from broker.secret import Secret

_BLOCK_BYTES = 64  # SHA-256's block, the length of both pads
_TOKEN_CHARS = 32
_TOKEN_MIN_CHARS = 24  # 96 bits: no two of a thousand million values collide
_EMAIL_CHARS = 33
_NAME_CHARS = 63  # of type `name`
_FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit "
_FILLER_MAX = 4096
_SPOT_LABEL = "spot"
_TEXT_TYPES = frozenset({"text", "character varying", "character", "name"})
_TIME_TYPES = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
_INTEGER_TYPES = frozenset({"integer", "bigint"})


@dataclass(frozen=True, slots=True)
class Mask:
    """`injective` up to the collisions of a hash; `hides` is false where the value itself stays."""

    name: str
    summary: str
    keeps: str
    needs_key: bool = False
    keeps_join: bool = False
    injective: bool = False
    hides: bool = True


MASKS: Mapping[str, Mask] = {
    mask.name: mask
    for mask in (
        Mask(
            "keep",
            "The value is left as it is.",
            "everything",
            keeps_join=True,
            injective=True,
            hides=False,
        ),
        Mask("null", "The value is removed.", "nothing"),
        Mask(
            "constant",
            "Every value becomes the same one of its type, such as an empty text or zero.",
            "whether there was a value",
        ),
        Mask(
            "token",
            "The value becomes a code that says nothing; equal values get equal codes.",
            "which values are equal",
            needs_key=True,
            keeps_join=True,
            injective=True,
        ),
        Mask(
            "email",
            "The value becomes an address that reaches nobody; equal values get equal addresses.",
            "which values are equal, and the form of an address",
            needs_key=True,
            keeps_join=True,
            injective=True,
        ),
        Mask(
            "filler",
            "The text becomes filler, of a length rounded up to a power of two.",
            "roughly how long the text was",
        ),
        Mask("year", "The date becomes 1 January of its year.", "the year"),
    )
}


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a select finds the pads: a one-row relation `k` with bytea columns `i` and `o`."""

    relation: sql.Composable


# OFFSET 0 keeps the planner from decoding the pads again for every row.
SESSION_KEY = KeySource(
    sql.SQL(
        "(SELECT pg_catalog.decode(pg_catalog.current_setting('broker.i'), 'hex') AS i,"
        " pg_catalog.decode(pg_catalog.current_setting('broker.o'), 'hex') AS o OFFSET 0) AS k"
    )
)


def table_key(schema: str) -> KeySource:
    """The pads in `<schema>.masking_key`, which only the owner of a scope's views may read."""
    return KeySource(sql.SQL("{} AS k").format(sql.Identifier(schema, "masking_key")))


def session_options(key: Secret[bytes]) -> dict[str, Secret[str]]:
    """Options that give a session the pads of `key` (32 to 64 bytes), for `SESSION_KEY`."""
    value = key.reveal()
    if not _BLOCK_BYTES // 2 <= len(value) <= _BLOCK_BYTES:
        raise Invalid("a masking key has 32 to 64 bytes")
    block = value.ljust(_BLOCK_BYTES, b"\0")
    return {
        "broker.i": Secret(bytes(byte ^ 0x36 for byte in block).hex()),
        "broker.o": Secret(bytes(byte ^ 0x5C for byte in block).hex()),
    }


def find_obstacle(mask: str, column: Column, table: Table) -> str | None:
    """Why `mask` can't be used on `column` of `table`, as a sentence; None when it can.

    Judges one table. That both ends of a foreign key have the same mask and label is for the plan.
    Where a rule can't be seen through (a CHECK, an index's expression) the answer is no: the load
    would fail at its end. A generated column is computed by the sandbox, no rule binds its mask.
    Raises Invalid for a mask that does not exist.
    """
    _get_mask(mask)
    if mask == "keep":
        return None
    obstacle = _find_type_obstacle(mask, column)
    if obstacle is not None or column.generated:
        return obstacle
    if mask == "null" and column.not_null:
        return "the column may not be NULL"
    if column.domain_checks:
        return f"its domain {column.domain} has rules that the masked value may break"
    if column.name in table.partition_key:
        return "rows are divided among partitions by it: the masked row may belong nowhere"
    return _find_constraint_obstacle(MASKS[mask], column, table)


def _get_mask(name: str) -> Mask:
    if name not in MASKS:
        raise Invalid(f"there is no mask {name!r}; there are {', '.join(MASKS)}")
    return MASKS[name]


def _is_text(column: Column) -> bool:
    return column.base_type in _TEXT_TYPES or _is_citext(column)


def _is_citext(column: Column) -> bool:
    return column.base_type.endswith(".citext") and not column.enum


def _room(column: Column) -> int | None:
    return _NAME_CHARS if column.base_type == "name" else column.max_length


def _find_type_obstacle(mask: str, column: Column) -> str | None:
    text = _is_text(column)
    supported = {
        "keep": True,
        "null": True,
        "constant": find_constant(column) is not None,
        "token": text or column.base_type in {"uuid", *_INTEGER_TYPES},
        "email": text,
        "filler": text,
        "year": column.base_type in _TIME_TYPES,
    }
    if not supported[mask]:
        return f"{mask} is not made for type {column.type}"
    room, needed = _room(column), {"token": _TOKEN_MIN_CHARS, "email": _EMAIL_CHARS}.get(mask, 0)
    if text and room is not None and room < needed:
        return f"{mask} needs at least {needed} characters; {column.type} holds {room}"
    return None


def _find_constraint_obstacle(mask: Mask, column: Column, table: Table) -> str | None:
    # 28 or 52 bits collide; and what a foreign key points at is unique, so can't be masked so.
    short = mask.name == "token" and column.base_type in _INTEGER_TYPES
    for constraint in table.constraints:
        if column.name not in constraint.columns:
            continue
        name = constraint.name
        if constraint.kind == "check":
            return f"the CHECK {name} reads it: the masked value may break it"
        if constraint.kind == "foreign":
            # A composite MATCH FULL key may not be NULL in part.
            removed = mask.name == "null" and len(constraint.columns) == 1
            if short or not (mask.keeps_join or removed):
                return f"the foreign key {name} would point at rows that are not there"
        elif constraint.expression:
            return f"the index {name} computes with it: masked rows may collide"
        elif mask.name == "null":
            continue  # NULLs are distinct, and an exclusion lets them pass
        elif constraint.kind == "exclusion":
            return f"two rows would conflict under the exclusion constraint {name}"
        elif short or not mask.injective:
            return f"two rows would collide under the unique constraint {name}"
    return None


def _call(function: str, *arguments: sql.Composable) -> sql.Composed:
    return sql.SQL("{}({})").format(
        sql.Identifier("pg_catalog", function), sql.SQL(", ").join(arguments)
    )


def _operate(left: sql.Composable, operator: str, right: sql.Composable) -> sql.Composed:
    sign = sql.SQL({"||": "||", "<>": "<>", "<": "<", ">=": ">="}[operator])
    return sql.SQL("({} OPERATOR(pg_catalog.{}) {})").format(left, sign, right)


def _constant(text: str, type_name: str) -> sql.Composed:
    """A literal of our own, read by the input function of a built-in type (`text`, `int4[]`)."""
    element, array = type_name.removesuffix("[]"), type_name.endswith("[]")
    return sql.SQL("CAST({} AS {}{})").format(
        sql.Literal(text), sql.Identifier("pg_catalog", element), sql.SQL("[]" if array else "")
    )


def _value(column: Column) -> sql.Composed:
    return sql.SQL("{}").format(sql.Identifier("t", column.name))


def _text(value: sql.Composable) -> sql.Composed:
    return _call("format", sql.Literal("%s"), value)


def _canonical(column: Column) -> sql.Composed:
    """The value's text, the same for values that are equal: joins hold across char and varchar.

    Numbers, collations and other types that are equal in different bytes are no joins of texts.
    """
    text = _text(_value(column))
    if column.base_type == "character":
        return _call("rtrim", text, _constant(" ", "text"))
    return _call("lower", text) if _is_citext(column) else text


def _digest(label: str, text: sql.Composable) -> sql.Composed:
    """HMAC-SHA-256 of the label, a zero byte and the text, as 64 hexadecimal digits."""
    if "\0" in label:
        raise Invalid("a mask's label holds a zero byte")
    prefix = _call("decode", sql.Literal(label.encode().hex() + "00"), sql.Literal("hex"))
    message = _operate(prefix, "||", _call("textsend", text))
    inner = _call("sha256", _operate(sql.SQL("k.i"), "||", message))
    outer = _call("sha256", _operate(sql.SQL("k.o"), "||", inner))
    return _call("encode", outer, sql.Literal("hex"))


def _cut(text: sql.Composable, length: int) -> sql.Composed:
    return _call("substr", text, sql.Literal(1), sql.Literal(length))


def _null(column: Column, label: str) -> sql.Composed:
    del label
    constant = find_constant(column)
    type_name = "text" if constant is None else constant.type_name
    element = sql.Identifier("pg_catalog", type_name.removesuffix("[]"))
    array = sql.SQL("[]" if type_name.endswith("[]") else "")
    return sql.SQL("CAST(NULL AS {}{})").format(element, array)


def _same(column: Column, label: str) -> sql.Composed:
    del label
    constant = find_constant(column)
    if constant is None:
        raise Invalid(f"no constant is known for type {column.type}")
    return _constant(constant.text, constant.type_name)


def _token(column: Column, label: str) -> sql.Composed:
    digest = _digest(label, _canonical(column))
    if column.base_type in _INTEGER_TYPES:
        # 52 bits are safe in JSON's numbers; never negative.
        digits, function = (7, "int4") if column.base_type == "integer" else (13, "int8")
        bits = _operate(_constant("x", "text"), "||", _cut(digest, digits))
        size = (sql.Literal("0"), sql.Literal(str(4 * digits)))
        return _call(function, _call("bit_in", _call("textout", bits), *size))
    if column.base_type == "uuid":
        return _call("uuid_in", _call("textout", _cut(digest, 32)))
    return _cut(digest, min(_TOKEN_CHARS, _room(column) or _TOKEN_CHARS))


def _email(column: Column, label: str) -> sql.Composed:
    local = _operate(_constant("u", "text"), "||", _cut(_digest(label, _canonical(column)), 16))
    return _operate(local, "||", _constant("@example.invalid", "text"))  # RFC 2606


def _filler(column: Column, label: str) -> sql.Composed:
    """Empty stays empty; else 2^n characters, n counted by the bounds 2, 3, 5, 9 … passed."""
    del label
    text = _canonical(column)
    bounds = [2**n + 1 for n in range(_FILLER_MAX.bit_length() - 1)]
    passed = _call(
        "width_bucket",
        _call("length", text),
        _constant("{" + ",".join(map(str, bounds)) + "}", "int4[]"),
    )
    size = _call("int4shl", sql.Literal(1), passed)
    room = _room(column)
    if room is not None:
        size = sql.SQL("LEAST({}, {})").format(size, sql.Literal(room))
    filler = _call("rpad", _constant("", "text"), size, _constant(_FILLER, "text"))
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        _operate(text, "<>", _constant("", "text")), filler, _constant("", "text")
    )


def _year(column: Column, label: str) -> sql.Composed:
    """Total: years that no timestamp can name (a date may be later, 4714 BC began earlier than any)
    are clipped, for an error here would end the copy and name the value.
    """
    del label
    value, year = _value(column), _constant("year", "text")
    name = {"date": "date", "timestamp without time zone": "timestamp"}.get(
        column.base_type, "timestamptz"
    )
    first, last = (_constant(text, name) for text in ("4713-01-01 BC", "294276-01-01"))
    truncated = _call("date_trunc", year, value)
    if name == "date":
        truncated = _call("date", _call("date_trunc", year, _call("timestamp", value)))
    elif name == "timestamptz":
        truncated = _call("date_trunc", year, value, _constant("UTC", "text"))
    return sql.SQL(
        "CASE WHEN NOT {finite} THEN {value} WHEN {early} THEN {first} WHEN {late} THEN {last}"
        " ELSE {truncated} END"
    ).format(
        finite=_call("isfinite", value),
        value=value,
        early=_operate(value, "<", first),
        first=first,
        late=_operate(value, ">=", last),
        last=last,
        truncated=truncated,
    )


_EXPRESSIONS: Mapping[str, Callable[[Column, str], sql.Composed]] = {
    "null": _null,
    "constant": _same,
    "token": _token,
    "email": _email,
    "filler": _filler,
    "year": _year,
}


def _is_null(column: Column) -> sql.Composed:
    # `IS NULL` is also true of a composite whose fields are all NULL; this form is not, and looks
    # up no operator.
    return sql.SQL("{} IS NOT DISTINCT FROM NULL").format(_value(column))


def _masked(column: Column, fate: Fate) -> sql.Composed:
    _get_mask(fate.mask)
    if fate.mask == "keep":
        return _value(column)
    obstacle = _find_type_obstacle(fate.mask, column)
    if obstacle is not None:
        raise Invalid(f"column {column.name}: {obstacle}")
    if fate.label == _SPOT_LABEL:
        raise Invalid(f"the label {_SPOT_LABEL!r} is taken by the spot check")
    expression = _EXPRESSIONS[fate.mask](column, fate.label)
    if fate.mask == "null":
        return expression
    return sql.SQL("CASE WHEN {} THEN NULL ELSE {} END").format(_is_null(column), expression)


def _from(table: Table, key: KeySource | None) -> sql.Composed:
    # A root has no rows of its own; elsewhere ONLY, or rows of inheriting tables come twice.
    only = sql.SQL("" if table.kind == "partitioned" else "ONLY ")
    source = sql.SQL("FROM {}{} AS t").format(only, sql.Identifier(table.schema, table.name))
    return source if key is None else sql.SQL("{} CROSS JOIN {}").format(source, key.relation)


def _select(
    table: Table,
    columns: Sequence[Column],
    fates: Mapping[str, Fate],
    key: KeySource,
    where: sql.Composable | None,
) -> tuple[sql.Composed, tuple[str, ...]]:
    missing = [column.name for column in columns if column.name not in fates]
    if missing:
        raise Invalid(f"{table.full_name} has columns without a fate: {', '.join(missing)}")
    outputs = [
        sql.SQL("{} AS {}").format(_masked(column, fates[column.name]), sql.Identifier(column.name))
        for column in columns
    ]
    keyed = any(MASKS[fates[column.name].mask].needs_key for column in columns)
    select = sql.SQL("SELECT {} {}").format(
        sql.SQL(", ").join(outputs), _from(table, key if keyed else None)
    )
    if where is not None:
        select = sql.SQL("{} WHERE {}").format(select, where)
    return select, tuple(column.name for column in columns)


def masked_select(
    table: Table,
    fates: Mapping[str, Fate],
    key: KeySource,
    where: sql.Composable | None = None,
) -> tuple[sql.Composed, tuple[str, ...]]:
    """The select that a copy reads, and the names of its columns; generated ones are left out.

    `where` is a condition over the alias `t`. The statement takes no parameters (it holds a `%`).
    Raises Invalid when a column has no fate, or a mask that is not made for its type.
    """
    columns = [column for column in table.columns if not column.generated]
    return _select(table, columns, fates, key, where)


def live_select(
    table: Table,
    fates: Mapping[str, Fate],
    key: KeySource,
    where: sql.Composable | None = None,
) -> tuple[sql.Composed, tuple[str, ...]]:
    """As `masked_select`, for a view of a live scope: generated columns too, which repeat others'
    values and so need a fate of their own.
    """
    return _select(table, table.columns, fates, key, where)


def spot_sample(
    table: Table, fates: Mapping[str, Fate], key: KeySource, limit: int
) -> sql.Composed | None:
    """For the source: rows of (column, digests as text[]) of up to `limit` values of each column
    that a mask hides; None when there is no such column.

    A value that its mask leaves as it is (an empty text, 1 January, the constant itself) proves
    nothing and is left out. Masks without a key give the same for what they gave, so no sampled
    value can stand in an honest copy, save by a number's chance collision.
    """
    samples = [
        sql.SQL(
            "SELECT {name} AS name, ARRAY(SELECT DISTINCT s.digest FROM (SELECT {digest} AS digest"
            " {source} WHERE {filled} AND {changed} LIMIT {limit}) AS s) AS digests"
        ).format(
            name=_constant(column.name, "text"),
            digest=_digest(_SPOT_LABEL, _text(_value(column))),
            source=_from(table, key),
            filled=_operate(_text(_value(column)), "<>", _constant("", "text")),
            changed=_operate(
                _text(_value(column)), "<>", _text(_masked(column, fates[column.name]))
            ),
            limit=sql.Literal(limit),
        )
        for column in table.columns
        if not column.generated and MASKS[fates[column.name].mask].hides
    ]
    return sql.SQL(" UNION ALL ").join(samples) if samples else None


def spot_count(
    table: Table, column: Column, digests: Sequence[str], key: KeySource
) -> sql.Composed:
    """For the sandbox: how many rows of `column` have a value with one of these digests."""
    if any(len(digest) != 64 or set(digest) - set("0123456789abcdef") for digest in digests):
        raise Invalid("a digest is 64 hexadecimal digits")
    return sql.SQL("SELECT pg_catalog.count(*) {} WHERE {} OPERATOR(pg_catalog.=) ANY ({})").format(
        _from(table, key),
        _digest(_SPOT_LABEL, _text(_value(column))),
        _constant("{" + ",".join(digests) + "}", "text[]"),
    )
