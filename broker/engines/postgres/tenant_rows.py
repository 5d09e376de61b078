"""Which rows of a table are the tenant's, as a condition over the alias `t`.

What must stay true: no operator, cast or function of the tenant's own runs in it (see
`expressions`), and it compares exactly. In a live view the key stands in a table that only the
scope's owner may read, for every login of the database reads every view's text; and it is compared
in a way for which the planner asks no statistics of the column, for EXPLAIN shows its estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from psycopg import sql

from broker.engines import Table
from broker.engines.ownership import FullName, Path, Whose
from broker.engines.postgres.expressions import call, literal, operate
from broker.tenancy import KeyValue

KEY_TABLE = "tenant_key"
TYPE_NAMES: Mapping[str, str] = {"integer": "int8", "uuid": "uuid", "text": "text"}
ReadKey = Callable[[KeyValue], sql.Composable]
Given = Callable[[Table, str], sql.Composed | None]  # the rows given of a table, under an alias


def literal_key(key: KeyValue) -> sql.Composed:
    """The key itself, for what nobody but us reads."""
    return literal(key.value, TYPE_NAMES[key.type])


def table_keys(schema: str, keys: Sequence[KeyValue]) -> ReadKey:
    """The key as it stands in `<schema>.tenant_key`, numbered as in `keys`."""
    relation = sql.Identifier(schema, KEY_TABLE)

    def read(key: KeyValue) -> sql.Composed:
        return sql.SQL("(SELECT k.{} FROM {} AS k WHERE {})").format(
            sql.Identifier(f"as_{key.type}"),
            relation,
            operate(sql.SQL("k.n"), "=", sql.Literal(keys.index(key) + 1)),
        )

    return read


def _every_row(table: Table, alias: str) -> sql.Composed | None:
    del table, alias
    return None


def condition(
    table: Table,
    whose: Mapping[FullName, Whose],
    tables: Mapping[FullName, Table],
    read_key: ReadKey,
) -> sql.Composed | None:
    """None when every row is the tenant's to see. `tables` are those that paths may lead to."""
    return _Rows(whose, tables, read_key).of(table, "t", 0)


def points_elsewhere(
    table: Table,
    path: Path,
    whose: Mapping[FullName, Whose],
    tables: Mapping[FullName, Table],
    read_key: ReadKey,
    given: Given = _every_row,
) -> sql.Composed:
    """A SELECT of whether one of the tenant's rows points, by `path`, at a row that is not; or one
    that is `given` at one that is not.
    """
    rows = _Rows(whose, tables, read_key)
    parts = [one for one in (rows.of(table, "t", 0), given(table, "t")) if one is not None]
    mine = sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")
    target = given(tables[path.target], "r1")
    return sql.SQL("SELECT EXISTS (SELECT 1 FROM {} WHERE {} AND {} AND NOT {})").format(
        relation(table, "t"),
        mine,
        sql.SQL(" AND ").join(_is_set(name, "t") for name in path.columns),
        rows.is_there(path, "t", 0, target),
    )


def relation(table: Table, alias: str) -> sql.Composed:
    """A root is read with its parts; elsewhere ONLY, for rows of inheriting tables are theirs."""
    only = sql.SQL("" if table.kind == "partitioned" else "ONLY ")
    name = sql.Identifier(table.schema, table.name)
    return sql.SQL("{}{} AS {}").format(only, name, sql.Identifier(alias))


class _Rows:
    """Conditions one within the other, each with an alias of its own."""

    def __init__(
        self,
        whose: Mapping[FullName, Whose],
        tables: Mapping[FullName, Table],
        read_key: ReadKey,
    ) -> None:
        self._whose, self._tables, self._read_key = whose, tables, read_key

    def of(self, table: Table, alias: str, depth: int) -> sql.Composed | None:
        whose = self._whose.get((table.schema, table.name))
        if whose is None:
            return None
        if whose.refusal:
            return sql.SQL("{}").format(sql.SQL("false"))
        if whose.column is not None and whose.key is not None:
            return equals(
                sql.Identifier(alias, whose.column.name), self._read_key(whose.key), whose.key
            )
        if not whose.paths:
            return None
        return sql.SQL("({})").format(
            sql.SQL(" AND ").join(self._follow(whose.paths, alias, depth))
        )

    def _follow(self, paths: Sequence[Path], alias: str, depth: int) -> list[sql.Composable]:
        """Every path holds or is not set; and one that may not be NULL, or any, is set."""
        parts: list[sql.Composable] = []
        for path in paths:
            there = self.is_there(path, alias, depth)
            unset = [sql.SQL("{} IS NULL").format(_column(name, alias)) for name in path.nullable]
            parts.append(sql.SQL("({})").format(sql.SQL(" OR ").join([*unset, there])))
        if all(path.nullable for path in paths):
            set_ones = [
                sql.SQL("({})").format(
                    sql.SQL(" AND ").join(_is_set(name, alias) for name in path.nullable)
                )
                for path in paths
            ]
            parts.append(sql.SQL("({})").format(sql.SQL(" OR ").join(set_ones)))
        return parts

    def is_there(
        self, path: Path, alias: str, depth: int, besides: sql.Composed | None = None
    ) -> sql.Composed:
        """The row that `path` points at, `r<depth + 1>`, is there, the tenant's and `besides`."""
        target, inner = self._tables[path.target], f"r{depth + 1}"
        parts: list[sql.Composable] = [
            operate(_column(theirs, inner), "=", _column(mine, alias))
            for mine, theirs in zip(path.columns, path.target_columns, strict=True)
        ]
        owned = self.of(target, inner, depth + 1)
        parts += [one for one in (owned, besides) if one is not None]
        return sql.SQL("EXISTS (SELECT 1 FROM {} WHERE {})").format(
            relation(target, inner), sql.SQL(" AND ").join(parts)
        )


def _column(name: str, alias: str) -> sql.Composed:
    return sql.SQL("{}").format(sql.Identifier(alias, name))


def _is_set(name: str, alias: str) -> sql.Composed:
    return sql.SQL("{} IS NOT NULL").format(_column(name, alias))


def equals(column: sql.Composable, value: sql.Composable, key: KeyValue) -> sql.Composed:
    """Between the value and itself: an index serves it, and the planner takes a constant share.

    A text is compared by its bytes too, for a collation may call different keys equal.
    """
    parts = [operate(column, ">=", value), operate(column, "<=", value)]
    if key.type == "text":
        exact = sql.SQL('{} COLLATE pg_catalog."C"').format(column)
        parts.append(call("texteq", exact, value))
    return sql.SQL("({})").format(sql.SQL(" AND ").join(parts))
