"""Whose the rows of each table are, by the tenancy that was registered. Pure: a catalogue in.

In `rows`, a table with the tenant key has the tenant's rows itself. One without is reached through
its foreign keys: its rows are those that point at the tenant's rows, by every foreign key to such a
table (in a circle of tables, by those towards the key), NULL aside, and by at least one. What no
foreign key reaches is refused; what is named as shared is read whole.

What must stay true: a tenant sees of the catalogue only what is its own (G12). No name of another
tenant's schema or partition, and no size, number or literal of what tenants share, leaves here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from broker.engines import Catalogue, Column, Constraint, Table
from broker.tenancy import DATABASE, ROWS, SCHEMA, KeyValue, Tenancy

FullName = tuple[str, str]
_TEXTS = frozenset({"text", "character varying"})
_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_TYPES: Mapping[str, frozenset[str]] = {
    "integer": _INTEGERS,
    "uuid": frozenset({"uuid"}),
    "text": _TEXTS,
}
# Types of foreign keys that are compared by PostgreSQL's own operators.
_FAMILIES = (*_TYPES.values(), frozenset({"numeric"}), frozenset({"date"}))
_SCHEMA_OF_TYPE = re.compile(r'("(?:[^"]|"")+"|[^".]+)\.')
SHARED = "the same rows for every customer"  # the sentence of a table that all have in common
_CONCEALED = "another_schema."


@dataclass(frozen=True, slots=True)
class Path:
    """A foreign key to a table whose rows are the tenant's. `nullable` are those of `columns` that
    may be NULL: such a row points nowhere.
    """

    columns: tuple[str, ...]
    target: FullName
    target_columns: tuple[str, ...]
    nullable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Whose:
    """How a table's rows are known for the tenant's: by `column` and `key`, or by all `paths`.

    Neither: every row. `refusal` says why none is. `sentence` is for the plan, without values.
    """

    column: Column | None = None
    key: KeyValue | None = None
    paths: tuple[Path, ...] = ()
    refusal: str = ""

    @property
    def is_part(self) -> bool:
        return self.column is not None or bool(self.paths)

    @property
    def sentence(self) -> str:
        if self.column is not None:
            return f"rows with this customer's {self.column.name}"
        if self.paths:
            ways = (f"{'.'.join(p.target)} by {', '.join(p.columns)}" for p in self.paths)
            return f"rows that belong to this customer's rows of {' and of '.join(ways)}"
        return "" if self.refusal else SHARED


@dataclass(frozen=True, slots=True)
class Owned:
    """The part of a catalogue that is a tenant's. `whose` has every table in the form `rows`; in
    the others only those of which no row is read.
    """

    catalogue: Catalogue
    whose: Mapping[FullName, Whose]
    form: str = DATABASE


def find_owned(catalogue: Catalogue, tenancy: Tenancy, schemas: Collection[str]) -> Owned:
    """What of the registered schemas' catalogue is the tenant's."""
    if tenancy.form == SCHEMA:
        split = {_name(t): _ELSEWHERE for t in catalogue.tables if t.parts_elsewhere}
        return Owned(_conceal_others(catalogue, set(schemas)), split, SCHEMA)
    if tenancy.form == ROWS:
        shown = _conceal_shared(catalogue)
        return Owned(shown, _find_whose(shown.tables, tenancy), ROWS)
    return Owned(catalogue, {})


# Schemas of several tenants.


_ELSEWHERE = Whose(refusal="a part of it lies in a schema that is not registered here")


def _conceal_others(catalogue: Catalogue, own: set[str]) -> Catalogue:
    """Nothing that names another schema: where a key points, what a part is of, a type's home."""
    tables = tuple(_conceal_in(table, own) for table in catalogue.tables)
    own_names = tuple(f"{schema}." for schema in own)
    kept = tuple(s for s in catalogue.obstacles if s.startswith(own_names))
    return replace(catalogue, tables=tables, obstacles=kept)


def _conceal_in(table: Table, own: set[str]) -> Table:
    elsewhere = table.parent is not None and table.parent[0] not in own
    return replace(
        table,
        kind="table" if elsewhere and table.kind == "partition" else table.kind,
        parent=None if elsewhere else table.parent,
        columns=tuple(_conceal_type(column, own) for column in table.columns),
        constraints=tuple(c for c in table.constraints if c.target is None or c.target[0] in own),
    )


def _conceal_type(column: Column, own: set[str]) -> Column:
    def concealed(name: str) -> str:
        home = _SCHEMA_OF_TYPE.match(name)
        if home is None or home[1].strip('"').replace('""', '"') in own:
            return name
        return _CONCEALED + name[home.end() :]

    return replace(
        column,
        type=concealed(column.type),
        base_type=concealed(column.base_type),
        domain=concealed(column.domain) if column.domain else column.domain,
    )


# Rows of several tenants.


def _conceal_shared(catalogue: Catalogue) -> Catalogue:
    """Partitions are read through their root, for they may be named for tenants; definitions hold
    literals of all of them, and other objects may be named for one.
    """
    # A root within a root is a part too.
    tables = tuple(t for t in catalogue.tables if t.kind != "partition" and t.parent is None)
    own = tuple(sign for t in tables for sign in (f"{t.full_name} ", f"{t.full_name}."))
    kept = tuple(s for s in catalogue.obstacles if s.startswith(own))
    return replace(catalogue, tables=tables, views=(), sequences=(), obstacles=kept, literals=())


def _find_whose(tables: tuple[Table, ...], tenancy: Tenancy) -> dict[FullName, Whose]:
    """First the tables with a key, then those that foreign keys lead from to one of them."""
    by_name = {_name(table): table for table in tables}
    found = {_name(table): whose for table in tables if (whose := _find_own(table, tenancy))}
    found |= _check_shared(tables, found)
    steps = {name: list(_paths(by_name[name], by_name)) for name in by_name if name not in found}
    distance = _measure(steps, {name for name, whose in found.items() if whose.is_part})
    for name, paths in steps.items():
        leading = tuple(path for path in paths if _leads(name, path, steps, distance))
        found[name] = Whose(paths=leading) if leading else _UNREACHED
    return found


_Steps = Mapping[FullName, Sequence[Path]]  # of the tables without a key of their own


def _measure(steps: _Steps, keyed: set[FullName]) -> dict[FullName, int]:
    """How many foreign keys each table is away from a tenant key; without those that none reach."""
    distance = dict.fromkeys(keyed, 0)
    for away in range(1, len(steps) + 1):
        near = [
            name
            for name, paths in steps.items()
            if name not in distance and any(path.target in distance for path in paths)
        ]
        if not near:
            break
        distance |= dict.fromkeys(near, away)
    return distance


def _leads(name: FullName, path: Path, steps: _Steps, distance: Mapping[FullName, int]) -> bool:
    """Whether a path is taken: to every owned table, but in a circle only towards the key."""
    if path.target not in distance:
        return False
    return distance[path.target] < distance[name] or name not in _reachable(path.target, steps)


def _reachable(start: FullName, steps: _Steps) -> set[FullName]:
    seen, ahead = {start}, [start]
    while ahead:
        targets = {path.target for path in steps.get(ahead.pop(), ())} - seen
        seen |= targets
        ahead += targets
    return seen


_UNREACHED = Whose(
    refusal="no tenant key and no foreign key says whose its rows are; they stay out"
)


def _name(table: Table) -> FullName:
    return table.schema, table.name


def _find_own(table: Table, tenancy: Tenancy) -> Whose | None:
    """By the table's own key, or as a shared one; None when neither says anything."""
    if table.full_name in tenancy.shared:
        return Whose()
    special = next((t for t in tenancy.tables if t.table == table.full_name), None)
    columns = {column.name: column for column in table.columns}
    usual = next((name for name in tenancy.columns if name in columns), None)
    name, key = (special.column, special.key) if special else (usual, tenancy.key)
    if name is None or key is None:
        return None
    if name not in columns:
        return Whose(refusal=f"it has no column {name}, which was registered as its tenant key")
    column = columns[name]
    if column.base_type not in _TYPES[key.type]:
        return Whose(refusal=f"its {name} is no {key.type}, as which the tenant key was registered")
    return Whose(column, key)


def _check_shared(
    tables: tuple[Table, ...], found: Mapping[FullName, Whose]
) -> Mapping[FullName, Whose]:
    """A shared table that points at tenants' rows would show whose they are."""
    refused = {}
    for table in tables:
        whose = found.get(_name(table))
        if whose is None or whose.is_part or whose.refusal:
            continue
        others = [c.target for c in _foreign(table) if not _is_shared(c.target, found)]
        if others:
            name = ".".join(others[0] or ())
            why = f"it was registered as shared, but points at {name}, which is not"
            refused[_name(table)] = Whose(refusal=why)
    return refused


def _is_shared(name: FullName | None, found: Mapping[FullName, Whose]) -> bool:
    whose = found.get(name) if name else None
    return whose is not None and not whose.is_part and not whose.refusal


def _foreign(table: Table) -> Iterator[Constraint]:
    """Its foreign keys to other tables."""
    for constraint in table.constraints:
        if constraint.kind == "foreign" and constraint.target not in {None, _name(table)}:
            yield constraint


def _paths(table: Table, tables: Mapping[FullName, Table]) -> Iterator[Path]:
    for constraint in _foreign(table):
        target = tables.get(constraint.target) if constraint.target else None
        path = find_path(table, constraint, target) if target is not None else None
        if path is not None:
            yield path


def find_path(table: Table, constraint: Constraint, target: Table) -> Path | None:
    """The foreign key as a way to the target's rows; None where its types are not ours to compare.

    A type of the tenant's brings its own operators, which are code (see `expressions`).
    """
    mine = {column.name: column for column in table.columns}
    theirs = {column.name: column for column in target.columns}
    pairs = zip(constraint.columns, constraint.target_columns, strict=True)
    if not all(_comparable(mine[one], theirs[two]) for one, two in pairs):
        return None
    return Path(
        columns=constraint.columns,
        target=_name(target),
        target_columns=constraint.target_columns,
        nullable=tuple(name for name in constraint.columns if not mine[name].not_null),
    )


def _comparable(one: Column, two: Column) -> bool:
    return any({one.base_type, two.base_type} <= family for family in _FAMILIES)
