"""Canaries: real values, known by digest alone, that must not be found in what was loaded.

Inside the tenant's server some values of each hidden column, from rows chosen at random, are turned
into keyed digests; in the sandbox the whole column is searched for them. What must stay true: no
value leaves the tenant's server, and no value that an honest copy may hold is a canary.

A keyed digest of every loaded value would cost more than the copy. So a digest is made only where
12 bits of a cheap hash agree, which say nothing of a value: a hundredth of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from broker.engines import Column, Fate, Table
from broker.engines.postgres.expressions import (
    as_text,
    call,
    canonical_text,
    hmac_hex,
    literal,
    operate,
)
from broker.engines.postgres.mask import Mask
from broker.engines.postgres.masks import (
    MASKS,
    SPOT_LABEL,
    KeySource,
    check_fates,
    copied,
    masked,
    relation,
)
from broker.errors import Invalid

PER_COLUMN = 50
_BUCKETS = 4096
_PAGES = 64  # that are read to choose rows from
_PAGE_BYTES = 8192
_CHOSEN_FROM = 5000  # of another tenant's rows' neighbours: no page is then only this tenant's


@dataclass(frozen=True, slots=True)
class Canary:
    """A value's digest, 64 hexadecimal digits, and 12 bits of another hash of it."""

    digest: str
    bucket: int

    def __post_init__(self) -> None:
        if len(self.digest) != 64 or set(self.digest) - set("0123456789abcdef"):
            raise Invalid("a digest is 64 hexadecimal digits")
        if not 0 <= self.bucket < _BUCKETS:
            raise Invalid("a bucket has 12 bits")


def take_canaries(
    table: Table,
    fates: Mapping[str, Fate],
    key: KeySource,
    where: sql.Composable | None = None,
) -> sql.Composed | None:
    """For the source: rows of (column, digest, bucket), up to PER_COLUMN for each column that a
    mask hides; None when there is no such column.

    `where` chooses the rows that are copied. A value that its mask leaves as it is (an empty text,
    1 January, the constant itself) proves nothing and is left out, and so is one that the mask may
    give to another row. Masks without a key give the same for what they gave, so no canary can
    stand in an honest copy, save by a number's chance collision.
    """
    check_fates(table, copied(table), fates)
    takes = [
        _take(column, fates[column.name], _chosen(table, key, where))
        for column in copied(table)
        if _can_tell(MASKS[fates[column.name].mask], column)
    ]
    return sql.SQL(" UNION ALL ").join(takes) if takes else None


def _can_tell(mask: Mask, column: Column) -> bool:
    """A token of an integer has 28 bits: of millions of rows one would meet a canary by chance."""
    if mask.name == "token" and column.base_type == "integer":
        return False
    return mask.hides and (not mask.may_coincide or bool(mask.outputs))


def _chosen(table: Table, key: KeySource, where: sql.Composable | None) -> sql.Composed:
    """Whole pages at random, of a table that is one tenant's; else the first of its rows."""
    if where is not None:
        inner = sql.SQL("SELECT t.* {} WHERE {} LIMIT {}").format(
            relation(table, None), where, sql.Literal(_CHOSEN_FROM)
        )
        return sql.SQL("FROM ({}) AS t CROSS JOIN {}").format(inner, key.relation)
    return sql.SQL("{} TABLESAMPLE pg_catalog.system ({}) CROSS JOIN {}").format(
        relation(table, None), _share(table), key.relation
    )


def _share(table: Table) -> sql.Composed:
    """The percentage of its pages that _PAGES are; what lies in TOAST does not count."""
    name = sql.Identifier(table.schema, table.name).as_string(None)
    size = call("float8", call("pg_relation_size", literal(name, "regclass")))
    wanted = literal(str(100 * _PAGES * _PAGE_BYTES), "float8")
    share = operate(wanted, "/", sql.SQL("GREATEST({}, 1)").format(size))
    return sql.SQL("LEAST({}, 100)").format(share)


def _take(column: Column, fate: Fate, chosen: sql.Composed) -> sql.Composed:
    text = canonical_text(column)
    conditions = [
        operate(text, "<>", literal("", "text")),
        operate(text, "<>", as_text(masked(column, fate))),
    ]
    if outputs := MASKS[fate.mask].outputs:
        conditions.append(sql.SQL("NOT {}").format(operate(text, "~", literal(outputs, "text"))))
    return sql.SQL(
        "(SELECT DISTINCT {name} AS name, s.digest, s.bucket FROM ("
        "SELECT {digest} AS digest, {bucket} AS bucket {chosen} WHERE {conditions}"
        " ORDER BY {random} LIMIT {limit}) AS s)"
    ).format(
        name=literal(column.name, "text"),
        digest=hmac_hex(SPOT_LABEL, text),
        bucket=_bucket(text),
        chosen=chosen,
        conditions=sql.SQL(" AND ").join(conditions),
        random=call("random"),
        limit=sql.Literal(PER_COLUMN),
    )


def _bucket(text: sql.Composable) -> sql.Composed:
    exact = sql.SQL('({} COLLATE pg_catalog."C")').format(text)
    hashed = call("hashtextextended", exact, literal("0", "int8"))
    return call("int8and", hashed, literal(str(_BUCKETS - 1), "int8"))


def count_canaries(
    table: Table, canaries: Mapping[str, Sequence[Canary]], key: KeySource
) -> sql.Composed:
    """For the sandbox: one row, for each column of `canaries` how many values are one of them."""
    columns = {column.name: column for column in table.columns}
    counts = [_count(columns[name], wanted) for name, wanted in canaries.items()]
    return sql.SQL("SELECT {} {}").format(sql.SQL(", ").join(counts), relation(table, key))


def _count(column: Column, wanted: Sequence[Canary]) -> sql.Composed:
    """CASE, so that the digest is made only where the bucket agrees."""
    text = canonical_text(column)
    buckets = ",".join(str(bucket) for bucket in sorted({one.bucket for one in wanted}))
    digests = ",".join(one.digest for one in wanted)
    return sql.SQL(
        "pg_catalog.count(*) FILTER (WHERE CASE"
        " WHEN {bucket} OPERATOR(pg_catalog.=) ANY ({buckets})"
        " THEN {digest} OPERATOR(pg_catalog.=) ANY ({digests}) END)"
    ).format(
        bucket=_bucket(text),
        buckets=literal("{" + buckets + "}", "int8[]"),
        digest=hmac_hex(SPOT_LABEL, text),
        digests=literal("{" + digests + "}", "text[]"),
    )


# A hash of PostgreSQL's own is the same on all machines of one byte order; where it is not, a
# canary would be looked for in the wrong place.
PROBE = sql.SQL("SELECT {}").format(_bucket(literal("canary", "text")))
