r"""JSON by path: what the policy names is kept or masked, and of all else only its kind stays.

What must stay true: a key is a value unless the policy names it; what stands in a place that was
not foreseen (an object where a string was named) loses its content; and no document is an error.
Of `json` some functions read every escape on their way and fail on `\u0000` or half a surrogate,
which PostgreSQL takes in all the same: of such a document the kind alone stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from broker.engines import Column
from broker.engines.json_paths import Node, read_paths
from broker.engines.postgres.expressions import (
    as_text,
    call,
    hmac_hex,
    literal,
    operate,
    value_of,
)
from broker.engines.postgres.mask import Mask

KEEP = "keep"
TextMask = Callable[[str, Column, str], sql.Composed]  # mask, column, label
_EMPTY: Mapping[str, str] = {
    "object": "{}", "array": "[]", "string": '""', "number": "0", "boolean": "false",
}  # fmt: skip
_TEXT = Column("v", "text", "text")
_KEY_CHARS = 16
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UNREADABLE = r"\\u(0000|[dD][89a-fA-F])"


def json_kind(column: Column, label: str) -> sql.Composed:
    del label
    return _by_kind(column.base_type, value_of(column), {})


def by_path(
    column: Column, label: str, paths: Sequence[tuple[str, str]], text_mask: TextMask
) -> sql.Composed:
    """`paths` as in `json_paths`, each with `keep` or a mask for text; a label for each of them is
    made of `label`. Raises Invalid.
    """
    made = _Projection(column.base_type, label, text_mask)
    node = made.of(value_of(column), read_paths(paths), (), 0)
    if column.base_type == "jsonb":
        return node
    rest = call(
        "regexp_replace", as_text(value_of(column)),
        literal(_PAIR, "text"), literal("", "text"), literal("g", "text"),
    )  # fmt: skip
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        operate(rest, "~", literal(_UNREADABLE, "text")), json_kind(column, label), node
    )


def _by_kind(name: str, value: sql.Composable, made: Mapping[str, sql.Composable]) -> sql.Composed:
    """A case for each kind of JSON: what is `made` of it, or what is empty in that kind."""
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(
            literal(kind, "text"), made.get(kind, literal(empty, name))
        )
        for kind, empty in _EMPTY.items()
    )
    return sql.SQL("CASE {} {} ELSE {} END").format(
        call(f"{name}_typeof", value), cases, literal("null", name)
    )


@dataclass(frozen=True, slots=True)
class _Projection:
    """`name` is json or jsonb. Aliases `j1`, `j2` … hold the values on the way down, as `v`."""

    name: str
    label: str
    text_mask: TextMask

    def of(
        self, value: sql.Composable, node: Node, path: tuple[str, ...], depth: int
    ) -> sql.Composed:
        made: dict[str, sql.Composable] = {}
        if node.fields or node.others:
            made["object"] = self._object(value, node, path, depth + 1)
        if node.items:
            made["array"] = self._array(value, node.items, path, depth + 1)
        if node.mask == KEEP:
            made |= dict.fromkeys(("string", "number", "boolean"), value)
        elif node.mask is not None:
            made["string"] = self._masked(value, node.mask, path)
        return _by_kind(self.name, value, made)

    def _object(
        self, value: sql.Composable, node: Node, path: tuple[str, ...], depth: int
    ) -> sql.Composed:
        alias = f"j{depth}"
        here = sql.Identifier(alias, "v")
        members = [
            sql.SQL(
                "SELECT {key} AS k, {made} AS v FROM (SELECT {found} AS v OFFSET 0) AS {alias}"
                " WHERE {here} IS NOT NULL"
            ).format(
                key=literal(key, "text"),
                made=self.of(here, child, (*path, key), depth),
                found=call(f"{self.name}_object_field", value, literal(key, "text")),
                alias=sql.Identifier(alias),
                here=here,
            )
            for key, child in node.fields.items()
        ]
        if node.others is not None:
            members.append(self._others(value, node, (*path, "*"), depth))
        return sql.SQL("(SELECT COALESCE({}, {}) FROM ({}) AS p)").format(
            call(f"{self.name}_object_agg", sql.Identifier("p", "k"), sql.Identifier("p", "v")),
            literal("{}", self.name),
            sql.SQL(" UNION ALL ").join(members),
        )

    def _others(
        self, value: sql.Composable, node: Node, path: tuple[str, ...], depth: int
    ) -> sql.Composed:
        """Keys that nobody named are data: each becomes a code."""
        alias = f"j{depth}"
        key = sql.Identifier(alias, "k")
        code = call("substr", hmac_hex(self._label(path, "key"), key), *_ends(_KEY_CHARS))
        named = [operate(key, "<>", literal(name, "text")) for name in node.fields]
        return sql.SQL("SELECT {} AS k, {} AS v FROM {} AS {} (k, v) WHERE {}").format(
            code,
            self.of(sql.Identifier(alias, "v"), node.others or Node(), path, depth),
            call(f"{self.name}_each", value),
            sql.Identifier(alias),
            sql.SQL(" AND ").join(named) if named else sql.SQL("true"),
        )

    def _array(
        self, value: sql.Composable, items: Node, path: tuple[str, ...], depth: int
    ) -> sql.Composed:
        alias = f"j{depth}"
        made = self.of(sql.Identifier(alias, "v"), items, (*path, "[]"), depth)
        return sql.SQL(
            "(SELECT COALESCE({}({} ORDER BY {}), {}) FROM {} WITH ORDINALITY AS {} (v, o))"
        ).format(
            sql.Identifier("pg_catalog", f"{self.name}_agg"),
            made,
            sql.Identifier(alias, "o"),
            literal("[]", self.name),
            call(f"{self.name}_array_elements", value),
            sql.Identifier(alias),
        )

    def _masked(self, value: sql.Composable, mask: str, path: tuple[str, ...]) -> sql.Composed:
        """The mask sees the string as the column `v` of a row `t`."""
        text = sql.SQL("({} OPERATOR(pg_catalog.#>>) {})").format(value, literal("{}", "text[]"))
        masked = sql.SQL("(SELECT {} FROM (SELECT {} AS v OFFSET 0) AS t)").format(
            self.text_mask(mask, _TEXT, self._label(path, "value")), text
        )
        return call(f"to_{self.name}", masked)

    def _label(self, path: tuple[str, ...], what: str) -> str:
        return f"{self.label} {what} {'/'.join(path)}"


def _ends(length: int) -> tuple[sql.Composable, sql.Composable]:
    return sql.Literal(1), sql.Literal(length)


def _fits(column: Column) -> bool:
    return column.base_type in {"json", "jsonb"}


MASKS: tuple[Mask, ...] = (
    Mask(
        "json_kind", "An object becomes {}, an array [], and so on: no key and no value stays.",
        "what kind of JSON it was", "code that wants a key finds none",
        _fits, json_kind,
    ),
    Mask(
        "json_paths", "What the policy names by path is kept or masked; nothing else stays.",
        "the named keys, and which masked values are equal",
        "a string under a named path may hold what its name does not say",
        _fits, json_kind,
    ),
)  # fmt: skip
