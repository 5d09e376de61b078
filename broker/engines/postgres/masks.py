"""Masks: what each does, on which columns it can be used, and the selects that apply them.

They run inside the tenant's database, in the query that reads (G4). What must stay true: a column
without a fate is refused (G5); NULL stays NULL, so that who has a value is still seen, and a value
never becomes NULL save by `null`. How no code of the tenant's runs in them: see `expressions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from broker.engines import Column, Fate, Table
from broker.engines.postgres import masks_json, masks_numbers, masks_people, masks_structure
from broker.engines.postgres.constants import find_constant
from broker.engines.postgres.expressions import (
    EMAIL_CHARS,
    EXPRESSIONS,
    INTEGER_TYPES,
    TOKEN_MIN_CHARS,
    is_text,
    max_chars,
    value_of,
)
from broker.engines.postgres.mask import TIME_TYPES, Mask
from broker.errors import Invalid
from broker.secret import Secret

_BLOCK_BYTES = 64  # SHA-256's block, the length of both pads
SPOT_LABEL = "spot"


def _fits_all(column: Column) -> bool:
    del column
    return True


def _keep(column: Column, label: str) -> sql.Composed:
    del label
    return value_of(column)


_BASIC = (
    Mask(
        "keep", "The value is left as it is.", "everything", "it is in the copy",
        _fits_all, _keep, keeps_join=True, injective=True, hides=False,
    ),
    Mask(
        "null", "The value is removed.", "nothing", "none", _fits_all, EXPRESSIONS["null"],
    ),
    Mask(
        "constant",
        "Every value becomes the same one of its type, such as an empty text or zero.",
        "whether there was a value", "none",
        lambda column: find_constant(column) is not None, EXPRESSIONS["constant"],
    ),
    Mask(
        "token",
        "The value becomes a code that says nothing; equal values get equal codes.",
        "which values are equal", "how often a value occurs still shows",
        lambda column: is_text(column) or column.base_type in {"uuid", *INTEGER_TYPES},
        EXPRESSIONS["token"],
        chars=TOKEN_MIN_CHARS, needs_key=True, keeps_join=True, injective=True,
    ),
    Mask(
        "email",
        "The value becomes an address that reaches nobody; equal values get equal addresses.",
        "which values are equal, and the form of an address",
        "how often a value occurs still shows",
        is_text, EXPRESSIONS["email"],
        chars=EMAIL_CHARS, needs_key=True, keeps_join=True, injective=True,
    ),
    Mask(
        "filler",
        "The text becomes filler, of a length rounded up to a power of two.",
        "roughly how long the text was", "a very long text is still known by its length",
        is_text, EXPRESSIONS["filler"],
    ),
    Mask(
        "year", "The date becomes 1 January of its year.", "the year",
        "an event of which a year saw one is still known",
        lambda column: column.base_type in TIME_TYPES, EXPRESSIONS["year"],
    ),
)  # fmt: skip
MASKS: Mapping[str, Mask] = {
    mask.name: mask
    for mask in (
        *(*_BASIC, *masks_people.MASKS, *masks_numbers.MASKS, *masks_structure.MASKS),
        *masks_json.MASKS,
    )
}
_TEXT = Column("v", "text", "text")
# For strings in JSON: `null` would take the key with it.
TEXT_MASKS = frozenset(
    name for name, mask in MASKS.items() if mask.fits(_TEXT) and name not in {"keep", "null"}
)


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


def _find_type_obstacle(mask: str, column: Column) -> str | None:
    made = MASKS[mask]
    if not made.fits(column):
        return f"{mask} is not made for type {column.type}"
    room = max_chars(column)
    if is_text(column) and room is not None and room < made.chars:
        return f"{mask} needs at least {made.chars} characters; {column.type} holds {room}"
    return None


def _find_constraint_obstacle(mask: Mask, column: Column, table: Table) -> str | None:
    # 28 or 52 bits collide; and what a foreign key points at is unique, so can't be masked so.
    short = mask.name == "token" and column.base_type in INTEGER_TYPES
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


def masked(column: Column, fate: Fate) -> sql.Composed:
    _get_mask(fate.mask)
    if fate.mask == "keep":
        return value_of(column)
    obstacle = _find_type_obstacle(fate.mask, column)
    if obstacle is not None:
        raise Invalid(f"column {column.name}: {obstacle}")
    if fate.label == SPOT_LABEL:
        raise Invalid(f"the label {SPOT_LABEL!r} is taken by the look for canaries")
    if fate.mask == "shift":
        expression = _shifted(column, fate)
    elif fate.paths:
        expression = masks_json.by_path(column, fate.label, fate.paths, _mask_text)
    else:
        expression = MASKS[fate.mask].expression(column, fate.label)
    if fate.mask == "null":
        return expression
    return sql.SQL("CASE WHEN {} IS NULL THEN NULL ELSE {} END").format(
        value_of(column), expression
    )


def _shifted(column: Column, fate: Fate) -> sql.Composed:
    if not fate.subject:
        raise Invalid(f"column {column.name}: a shift wants the column that says whose a row is")
    return masks_numbers.shifted(column, fate.label, sql.Identifier("t", fate.subject))


def _mask_text(mask: str, column: Column, label: str) -> sql.Composed:
    if mask not in TEXT_MASKS:
        raise Invalid(f"{mask!r} can't mask a string in JSON")
    return MASKS[mask].expression(column, label)


def relation(table: Table, key: KeySource | None) -> sql.Composed:
    # A root has no rows of its own; elsewhere ONLY, or rows of inheriting tables come twice.
    only = sql.SQL("" if table.kind == "partitioned" else "ONLY ")
    source = sql.SQL("FROM {}{} AS t").format(only, sql.Identifier(table.schema, table.name))
    return source if key is None else sql.SQL("{} CROSS JOIN {}").format(source, key.relation)


def copied(table: Table) -> list[Column]:
    return [column for column in table.columns if not column.generated]


def check_fates(table: Table, columns: Sequence[Column], fates: Mapping[str, Fate]) -> None:
    missing = [column.name for column in columns if column.name not in fates]
    if missing:
        raise Invalid(f"{table.full_name} has columns without a fate: {', '.join(missing)}")


def _select(
    table: Table,
    columns: Sequence[Column],
    fates: Mapping[str, Fate],
    key: KeySource,
    where: sql.Composable | None,
) -> tuple[sql.Composed, tuple[str, ...]]:
    check_fates(table, columns, fates)
    outputs = [
        sql.SQL("{} AS {}").format(masked(column, fates[column.name]), sql.Identifier(column.name))
        for column in columns
    ]
    used = [fates[column.name] for column in columns]
    keyed = any(MASKS[fate.mask].needs_key or fate.paths for fate in used)
    select = sql.SQL("SELECT {} {}").format(
        sql.SQL(", ").join(outputs), relation(table, key if keyed else None)
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
    return _select(table, copied(table), fates, key, where)


def live_select(
    table: Table,
    fates: Mapping[str, Fate],
    key: KeySource,
    where: sql.Composable | None = None,
) -> tuple[sql.Composed, tuple[str, ...]]:
    """As `masked_select`, for a view of a live scope: generated columns too, which repeat others'
    values and so need a fate of their own.

    With `where` the rows of others stand in the same table. OFFSET 0 then keeps every condition of
    the reader's outside: a leakproof one would else be pushed in, and EXPLAIN would estimate it by
    the statistics of all rows, from which values can be searched out.
    """
    select, names = _select(table, table.columns, fates, key, where)
    return (select if where is None else sql.SQL("{} OFFSET 0").format(select)), names
